"""What a version before wrote is read, and written again under the same names.

`assets/speech_store_before.json` holds artefacts by path, as the writers of that version made them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagsverk.records import encode, parse, plain, write_json
from dagsverk.speech import results, steps
from dagsverk.speech.evaluation.report import EvaluationReport, KeptAudio, Verdict
from dagsverk.speech.languages import language
from dagsverk.speech.registry.gate import Decision
from dagsverk.speech.runs import RunConfig
from dagsverk.speech.steps import Finetuned, Outcome, Prepared, Registered
from dagsverk.speech.summary import speech_summary
from dagsverk.store import open_store

BEFORE = json.loads((Path(__file__).parent / "assets" / "speech_store_before.json").read_text("utf-8"))
SWEDISH = language("sv")
WHOLE = {"train_share": 1.0, "train_by": "clips"}  # new fields that are never empty
KINDS = {
    "/report.json": EvaluationReport,
    "/audio.json": KeptAudio,
    "verdicts/": Verdict,
    "/config.json": RunConfig,
    "reports/swedish/preparation": Prepared,
    "reports/swedish/training": Finetuned,
    "reports/swedish/evaluation": Registered,
}


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "store"))
    for path, content in BEFORE.items():
        write_json(store, path, content)
    return store


@pytest.mark.parametrize("part, kind", KINDS.items())
def test_an_artefact_of_the_version_before_is_read_and_keeps_its_names_and_values(part, kind):
    contents = [content for path, content in BEFORE.items() if part in path]
    assert contents
    for content in contents:
        again = json.loads(encode(plain(parse(content, kind))))
        assert without_new(again, with_audio_s(content)) == with_audio_s(content)


def without_new(again, content):
    """What is written now, without the fields that came later: where nobody looked, they are empty."""
    if not isinstance(again, dict) or not isinstance(content, dict):
        return again
    assert not any(again[name] for name in again.keys() - content.keys() if again[name] != WHOLE.get(name))
    return {name: without_new(again[name], content[name]) for name in content}


def with_audio_s(content):
    """The one name that changed: seconds of a split's audio are audio_s, as they are everywhere else."""
    if "splits" in content:
        splits = {
            name: {"audio_s" if key == "seconds" else key: value for key, value in split.items()}
            for name, split in content["splits"].items()
        }
        return {**content, "splits": splits}
    return content


def test_what_a_version_was_registered_with_is_read():
    info = BEFORE["models/info.json"]
    assert parse(info["decision"], Decision).promoted
    assert parse(info["told"], Outcome).checks[0].name == "language and task are saved"
    assert without_new(plain(parse(info["told"], Outcome)), info["told"]) == info["told"]


def test_all_that_the_pages_and_the_summary_ask_for_is_there(store):
    verdict = results.verdicts(store, SWEDISH)[0]
    report = results.report(store, SWEDISH, verdict.candidate)
    (run,) = results.runs(store, SWEDISH)
    assert len(results.reports(store, SWEDISH)) == 2
    base = results.report(store, SWEDISH, verdict.base)
    gain = report.scores.normalised.wer.value - base.scores.normalised.wer.value
    assert verdict.against_base.wer.value == pytest.approx(gain)
    assert all(clip.sound for clip in results.worst_clips(store, SWEDISH, report))
    assert run.config.finetune.steps == run.curve[-1].step == 80
    assert steps.kept(store, SWEDISH, Prepared).splits["train"].audio_s > 0
    assert "before fine-tuning" in speech_summary(store, SWEDISH)
