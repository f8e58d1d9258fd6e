"""A judged checkpoint becomes a version that others can use, once, and champion only by the gate's word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, taught_model
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from dagsverk.records import keep_report
from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.judging import judge
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import load_model
from dagsverk.speech.registry.registration import register
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.summary import speech_summary
from dagsverk.store import open_store

SWEDISH = language("sv")
CONFIG = EvaluationConfig(resamples=100, min_group_clips=3, worst=4)
NANO = FinetuneConfig(steps=80)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def clips(store, tmp_path):
    return prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=4))


def judged(store, clips, tmp_path, model=None, base=None, *, run="run1", step=80, curve=()):
    ref = CheckpointRef(run, step)
    chosen = model or taught_model()
    verdict = judge(
        store,
        SWEDISH,
        ref,
        chosen,
        base or small_model(),
        clips,
        CONFIG,
        curve=curve,
        cache=tmp_path / "models",
    )
    return ref, verdict, chosen


def registered(store, clips, tmp_path, *args, config=NANO, **options):
    ref, verdict, model = judged(store, clips, tmp_path, *args, **options)
    return register(
        store, SWEDISH, ref, verdict, model, manifest=manifest(store, clips.set_id), config=config
    )


def test_a_better_checkpoint_is_registered_whole_and_becomes_champion(store, clips, tmp_path):
    facts = registered(store, clips, tmp_path)
    assert (facts["version"], facts["new"], facts["promoted"], facts["champion"]) == (1, True, True, 1)
    champion = results.champion(store, SWEDISH)
    assert champion.metrics["wer"] == facts["candidate"]["wer"]["value"] == 0
    assert champion.metrics["base_wer"] == facts["base"]["wer"]["value"] > 0.5
    assert champion.info["lineage"]["set"] == clips.set_id
    assert champion.info["lineage"]["weights"] == taught_model().fingerprint()
    assert (champion.info["run"], champion.info["step"], champion.info["translates"]) == ("run1", 80, False)
    assert set(champion.files) >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "preprocessor_config.json",
        "generation_config.json",
        "README.md",
        "evaluation.json",
    }
    folder = store.download(champion, tmp_path / "champion")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["language"], generation["task"]) == ("sv", "transcribe")
    assert load_model(str(folder)).fingerprint() == taught_model().fingerprint()


@pytest.mark.slow
def test_the_registered_folder_serves_others_without_our_code(store, clips, tmp_path):
    registered(store, clips, tmp_path)
    folder = store.download(results.champion(store, SWEDISH), tmp_path / "champion")
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    processor = WhisperProcessor.from_pretrained(folder)
    assert model.generation_config.language == "sv"
    assert processor.tokenizer.convert_tokens_to_ids("<|sv|>") == model.generation_config.lang_to_id["<|sv|>"]


def test_the_card_has_data_settings_scores_with_intervals_groups_and_limits(store, clips, tmp_path):
    registered(store, clips, tmp_path)
    card = (store.download(results.champion(store, SWEDISH), tmp_path / "m") / "README.md").read_text()
    header = dict(line.split(": ", 1) for line in card.split("---")[1].strip().splitlines())
    assert json.loads(header["language"]) == "sv"
    metrics = json.loads(header["model-index"])[0]["results"][0]["metrics"]
    assert {m["type"]: m["value"] for m in metrics if "normalised" in m["name"]} == {"wer": 0.0, "cer": 0.0}
    for part in ("## Decision", "## Scores", "## Groups", "## Limits", "## Data", "## Settings", "## Use"):
        assert part in card
    assert "| this model | 0.0 % (0.0 to " in card
    assert "| before fine-tuning |" in card
    assert f"- set: {clips.set_id}" in card
    assert "- steps: 80" in card


def test_a_repeated_registration_makes_no_second_version(store, clips, tmp_path):
    first = registered(store, clips, tmp_path)
    again = registered(store, clips, tmp_path)
    assert (again["version"], again["new"], again["champion"]) == (1, False, 1)
    assert again["reason"] == "nothing new, this checkpoint is version 1"
    assert again["decision"] == first["decision"]
    assert len(store.models(SWEDISH.model_name)) == len(results.promotions(store, SWEDISH)) == 1


def test_a_registration_killed_before_promotion_is_finished_by_the_next(store, clips, tmp_path, monkeypatch):
    def killed(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "promote", killed)
        with pytest.raises(Killed):
            registered(store, clips, tmp_path)
    assert results.champion(store, SWEDISH) is None
    facts = registered(store, clips, tmp_path)
    assert (facts["version"], facts["new"], facts["champion"]) == (1, False, 1)


def test_a_model_no_better_than_before_training_is_registered_but_not_promoted(store, clips, tmp_path):
    facts = registered(store, clips, tmp_path, small_model(1), small_model())
    assert (facts["version"], facts["promoted"], facts["champion"]) == (1, False, None)
    assert "is not below 0 beyond chance" in facts["reason"]


@pytest.mark.slow
def test_the_champion_stays_where_the_next_is_no_better_and_was_heard_on_the_same_clips(
    store, clips, tmp_path
):
    registered(store, clips, tmp_path)
    facts = registered(store, clips, tmp_path, small_model(2), run="run2")
    assert (facts["version"], facts["promoted"], facts["champion"]) == (2, False, 1)
    assert facts["champion_row"]["wer"]["value"] == 0
    verdict = results.verdicts(store, SWEDISH)[-1]
    assert (verdict["run"], verdict["champion_version"]) == ("run2", 1)
    assert verdict["against_champion"]["wer"]["value"] > 0


@pytest.mark.slow
def test_the_champion_is_evaluated_on_new_clips_before_its_successor_is_judged(store, clips, tmp_path):
    registered(store, clips, tmp_path)
    others = prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=5))
    _, verdict, _ = judged(store, others, tmp_path, small_model(2), run="run2")
    found = results.report(store, SWEDISH, verdict["champion"])
    assert found["set"] == others.set_id
    assert found["model"]["fingerprint"] == taught_model().fingerprint()


def test_a_champion_that_cannot_be_loaded_does_not_block_its_successors(store, clips, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "note.txt").write_text("no model")
    old = store.save_model(SWEDISH.model_name, folder, metrics={"wer": 0.5}, info={"evaluation": "gone"})
    store.promote(SWEDISH.model_name, old.version, reason="by hand", expected=None)
    facts = registered(store, clips, tmp_path)
    assert (facts["version"], facts["champion"]) == (2, 2)
    assert any("the champion, version 1, could not be compared" in warning for warning in facts["warnings"])


def test_traps_are_told_with_the_version_and_a_curve_that_rises_while_its_loss_falls_is_one(
    store, clips, tmp_path
):
    curve = [
        {"step": 40, "dev_loss": 1.0, "dev_wer": 0.1, "dev_cer": 0.1},
        {"step": 80, "dev_loss": 0.5, "dev_wer": 0.9, "dev_cer": 0.9},
    ]
    facts = registered(store, clips, tmp_path, curve=curve)
    found = {trap["name"]: trap["passed"] for trap in facts["traps"]}
    assert found["language and task are saved"]
    assert not found["errors fall with the loss"]
    assert any("the word error rate from 10.0% to 90.0%" in warning for warning in facts["warnings"])
    card = (store.download(results.champion(store, SWEDISH), tmp_path / "m") / "README.md").read_text()
    assert "- errors fall with the loss: **failed**" in card


def test_a_push_that_fails_loses_neither_version_nor_promotion(store, clips, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(SpeechError, match="cannot push to me/swedish: HF_TOKEN is not set"):
        registered(store, clips, tmp_path, config=replace(NANO, push_to_hub="me/swedish"))
    assert results.champion(store, SWEDISH).version == 1
    assert registered(store, clips, tmp_path)["pushed"] == ""
    assert len(store.models(SWEDISH.model_name)) == 1


def test_a_translating_base_is_said_to_translate(store, clips, tmp_path):
    facts = registered(store, clips, tmp_path, config=replace(NANO, translate_share=0.2))
    assert store.model(SWEDISH.model_name, facts["version"]).info["translates"]


def test_the_day_is_told_in_a_few_lines(store, clips, tmp_path):
    assert speech_summary(store, SWEDISH) == "swedish: no step has run yet"
    preparation = {
        "set": clips.set_id,
        "corpus": "sounds",
        "new": True,
        "clips": 36,
        "audio_s": 7200.0,
        "speakers": 12,
        "splits": {},
        "set_aside": {"silence": 2, "clipped": 1},
        "cut": {},
        "notes": [],
        "heard_test_speakers": 0,
        "bytes": 1,
    }
    training = {
        "run": "run1",
        "step": 60,
        "steps": 80,
        "model": "nano",
        "dev_wer": 0.0712,
        "dev_cer": None,
        "clips_per_s": 31.25,
        "new": True,
    }
    keep_report(store, "swedish", "preparation", preparation)
    keep_report(store, "swedish", "training", training)
    keep_report(store, "swedish", "evaluation", registered(store, clips, tmp_path))
    lines = speech_summary(store, SWEDISH).splitlines()
    assert lines[0] == (
        "  clips in         36 from sounds (2.0 h, 12 speakers), 3 set aside (1 clipped, 2 silence); "
        "test voices unheard in training"
    )
    assert lines[1] == "  fine-tuned       nano, 80 steps, 31.2 clips/s, dev WER 0.071 at step 60"
    assert lines[2].startswith("  test             WER 0.000 [0.000, 0.")
    assert lines[3].endswith("before fine-tuning")
    assert lines[4].startswith("  champion         version 1: Promoted: word error rate 0.0 % (0.0 to ")
