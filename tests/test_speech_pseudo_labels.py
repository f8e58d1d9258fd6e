"""Recordings without texts: what a model wrote of them, as far as it is good enough to learn from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speech_clips import tone

from dagsverk.records import last_report, write
from dagsverk.speech.audio.waveform import encode_wav, read_samples
from dagsverk.speech.config import CorpusConfig, PrepareConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.features import preparation
from dagsverk.speech.languages import language
from dagsverk.speech.transcription import pseudo_labels, results, spoken_language, work
from dagsverk.speech.transcription.pseudo_config import PseudoLabelConfig, PseudoLabels, summary
from dagsverk.speech.transcription.results import KeptSegment, Recording, Text
from dagsverk.store import Store, open_store

SWEDISH = language("sv")
FIRST, SECOND = "whisper_swedish-1", "other"
GOOD = KeptSegment(
    start_s=1.0, end_s=4.0, text="Hej på dig, du.", mean_log_probability=-0.1, no_speech_probability=0.0
)


def config(folder: Path, **changes) -> PseudoLabelConfig:
    folders = {"source": str(folder / "recordings"), "output": str(folder / "labels")}
    return PseudoLabelConfig(**{**folders, **changes})


@pytest.mark.parametrize(
    "changes, other, why",
    [
        ({}, None, ""),
        ({}, "hej på dig du", ""),  # case and signs do not count
        ({}, "hej på dej du", "the models differ"),  # one word of four
        ({}, "", "the models differ"),
        ({"text": " ... "}, "hej", "no words"),
        ({"end_s": 1.5}, None, "too short"),
        ({"end_s": 31.5, "text": "Hej på dig, du. " * 2}, None, "too long"),
        ({"text": "tack " * 12}, None, "says the same again and again"),
        ({"no_speech_probability": 0.9}, None, "likely no speech"),
        ({"mean_log_probability": -0.9}, None, "the model is unsure"),
        ({"mean_log_probability": float("nan")}, None, "the model is unsure"),
        ({"text": "Hej"}, None, "more, or less, than anybody says in that time"),
        ({"text": "abcdefghijklmnop " * 7}, None, "says the same again and again"),
    ],
)
def test_a_segment_is_judged_by_what_is_known_of_it(changes, other, why, tmp_path):
    asked = config(tmp_path)
    assert pseudo_labels.judge(replace(GOOD, **changes), other, "sv", asked)[0] == why


def test_what_the_other_model_wrote_of_the_same_time_is_by_the_middle_of_its_segments():
    def at(start, end, text):
        return replace(GOOD, start_s=start, end_s=end, text=text)

    others = [at(0, 1.8, "before"), at(1.0, 2.4, "hej"), at(2.5, 4.2, "du"), at(4.0, 6.0, "behind")]
    assert pseudo_labels.of_the_same_time(GOOD, others) == "hej du"


# ------------------------------------------------------------------ a folder


def kept(store: Store, plan: work.Plan, recording: Recording, model: str, *segments: KeptSegment) -> None:
    text = Text(
        path=recording.path, stamp=recording.stamp, language="sv", task="transcribe", text="",
        segments=segments, audio_s=12.0, took_s=1.0, notes=(), model=model, version=None, at="",
    )  # fmt: skip
    write(store, results.record_path(results.root(SWEDISH, plan.place), recording, model), text)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(encode_wav(tone(12.0, pitch_hz=200 + 50 * number)))
    store = open_store(str(tmp_path / "store"))
    asked = config(tmp_path, second="some/other")
    plans = [
        work.plan(store, SWEDISH, asked.written_by(second=second), model)[1]
        for second, model in ((False, FIRST), (True, SECOND))
    ]
    return store, asked, plans


def write_texts(store, plans, disagree="Något helt annat var det"):
    first, second = plans
    later = replace(GOOD, start_s=5.0, end_s=9.0, text="Vi ses i morgon då")
    for number, recording in enumerate(first.recordings[:2]):
        kept(store, first, recording, FIRST, GOOD, later)
        kept(store, second, recording, SECOND, GOOD, replace(later, text=disagree if number else later.text))


def test_what_both_models_wrote_becomes_a_corpus_that_is_prepared_for_train_alone(place, tmp_path):
    store, asked, (first, second) = place
    write_texts(store, (first, second))
    made = pseudo_labels.select(store, SWEDISH, first, second, asked)
    assert (made.recordings, made.segments, made.kept, made.kept_s) == (3, 4, 3, 10.0)
    assert made.rejected == {"the models differ": 1} and made.unread == {pseudo_labels.UNWRITTEN: 1}
    assert (made.model, made.second, made.asked["max_disagreement"]) == (FIRST, SECOND, 0.2)
    assert last_report(store, "swedish", pseudo_labels.REPORT, PseudoLabels) == made
    assert summary(made).startswith(
        "3 of 4 segments of 3 recordings, 0.2 min, 71% of what was written; not kept"
    )
    rows = [json.loads(line) for line in (tmp_path / "labels/metadata.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train"} and rows[0]["disagreement"] == 0.0
    assert len(read_samples((tmp_path / "labels" / rows[0]["file"]).read_bytes())) == 48_000
    corpus = open_corpus(CorpusConfig(source=str(tmp_path / "labels")), "sv")
    set_id = preparation.plan(store, corpus, "sv", PrepareConfig(train_only=True), "labels")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    assert preparation.complete(store, set_id).splits["train"].clips == 3


def test_a_repeat_writes_the_same(place, tmp_path):
    store, asked, (first, second) = place
    write_texts(store, (first, second))
    files = []
    for _ in range(2):
        pseudo_labels.select(store, SWEDISH, first, second, asked)
        files.append(
            {one.name: one.read_bytes() for one in (tmp_path / "labels").rglob("*") if one.is_file()}
        )
    assert files[0] == files[1] and len(files[0]) == 4


def test_nothing_good_enough_is_an_error_that_names_the_reasons_and_leaves_no_table(place, tmp_path):
    store, asked, (first, second) = place
    kept(store, first, first.recordings[0], FIRST, replace(GOOD, mean_log_probability=-2.0))
    kept(store, second, first.recordings[0], SECOND, GOOD)
    with pytest.raises(SpeechError, match=r"no segment is good enough .*1 the model is unsure"):
        pseudo_labels.select(store, SWEDISH, first, second, asked)
    assert not (tmp_path / "labels" / "metadata.jsonl").exists()


def test_an_output_below_the_source_is_refused(place, tmp_path):
    store, asked, (first, _) = place
    inside = replace(asked, output=str(tmp_path / "recordings" / "labels"))
    with pytest.raises(SpeechError, match=r"is below the source"):
        pseudo_labels.select(store, SWEDISH, first, None, inside)
    assert not (tmp_path / "recordings" / "labels").exists()


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"output": ""}, "no output"),
        ({"output": "s3://bucket/x"}, "a folder of the worker's machine"),
        ({"second": "a/b", "model": "a/b"}, "of course they agree"),
        ({"second": "nano"}, "want a hub name"),
        ({"min_log_probability": 0.1}, "min_log_probability of 0 or less"),
        ({"min_log_probability": float("nan")}, "must be a number"),
        ({"max_disagreement": 1.5}, "max_disagreement in"),
        ({"min_clip_s": 5.0, "max_clip_s": 4.0}, "min_clip_s < max_clip_s"),
        ({"max_clip_s": 31.0}, "min_clip_s < max_clip_s"),
        ({"min_language": 1.5}, "a share in"),
        ({"min_language": float("nan")}, "a share in"),
    ],
)
def test_nonsense_is_refused(tmp_path, wrong, words):
    with pytest.raises(ValueError, match=words):
        config(tmp_path, **wrong)


def test_without_a_source_or_a_second_model_nothing_is_asked_for():
    none = PseudoLabelConfig()
    assert none.written_by(second=False).source == none.written_by(second=True).source == ""


def teller(*answers):
    """A model that is asked once for each half minute, and answers in turn."""
    waiting, asked_s = iter(answers), []

    def shares(audio):
        asked_s.append(len(audio) / 16_000)
        return next(waiting)

    return spoken_language.Teller("published 1", shares), asked_s


def test_what_is_spoken_in_another_language_becomes_no_clip_and_is_counted(place):
    store, asked, (first, second) = place
    write_texts(store, (first, second), disagree="Vi ses i morgon då")
    tell, asked_s = teller({"en": 0.9, "sv": 0.1}, {"sv": 0.6, "en": 0.4})
    made = pseudo_labels.select(store, SWEDISH, first, second, asked, tell)
    assert (made.kept, made.rejected) == (2, {pseudo_labels.ANOTHER: 2})
    assert (made.told_by, made.spoken) == ("published 1", {"English": 2})
    assert asked_s == pytest.approx([7.8, 7.8])  # both segments of a recording together, with pauses
    assert summary(made).endswith("; spoken instead: English 2")
    assert last_report(store, "swedish", pseudo_labels.REPORT, PseudoLabels) == made


def test_half_a_minute_of_a_recording_is_heard_at_a_time():
    parts = [np.zeros(12 * 16_000, np.float32)] * 5
    tell, asked_s = teller({"sv": 0.9}, {"en": 0.9}, {"sv": 0.9})
    heard = [next(iter(shares)) for _, shares in spoken_language.spoken(iter(parts), tell)]
    assert heard == ["sv", "sv", "en", "en", "sv"] and asked_s == pytest.approx([24.8, 24.8, 12.4])
    assert [len(shares) for _, shares in spoken_language.spoken(parts, None)] == [0] * 5


@pytest.mark.parametrize(
    "shares, instead",
    [
        ({}, ""),  # nothing is said: other rules see to that
        ({"sv": 0.5}, ""),
        ({"sv": 0.49, "no": 0.48}, "unclear"),
        ({"de": 0.6, "sv": 0.4}, "German"),
        ({"zz": 1.0}, "zz"),
    ],
)
def test_a_language_is_believed_from_a_share_on(shares, instead):
    assert spoken_language.other(shares, SWEDISH, 0.5) == instead


def test_norwegian_of_either_kind_is_norwegian():
    assert spoken_language.other({"nn": 0.4, "no": 0.3, "sv": 0.3}, language("no"), 0.5) == ""


def test_where_no_model_tells_languages_the_report_says_so(place):
    store, asked, (first, second) = place
    write_texts(store, (first, second))
    assert spoken_language.teller(store, SWEDISH, replace(asked, second="")) is None
    assert spoken_language.teller(store, SWEDISH, replace(asked, min_language=0.0)) is None
    assert "nobody told whether" in summary(pseudo_labels.select(store, SWEDISH, first, second, asked))
    silent = pseudo_labels.select(store, SWEDISH, first, second, replace(asked, min_language=0.0))
    assert "nobody told" not in summary(silent)
