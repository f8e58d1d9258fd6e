"""Sentences with numbers on the speech pages say no more than the report and its set do."""

import dataclasses

import pandas as pd
import pytest
from speech_site import SWEDISH

from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.corpora.limited import UNKNOWN_VOICES
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.report import Cut, DecodingSpeed, EvaluationReport, ScoredModel, UnseenScores
from dagsverk.speech.features.shards import Example, Suspicion
from dagsverk.speech.serving.stages import Transcribing
from dagsverk.speech.steps import Prepared, SplitCounts
from dagsverk.store import Model
from ui.speech import sentences, texts

CONFIG = EvaluationConfig(resamples=200, min_group_clips=2)
MODEL = Model(name="whisper_swedish", version=3, metrics={}, description="", created=None)


def report_of(speakers, texts=None, cut=None):
    """What the product says of as many clips as there are speakers; every second one has a wrong word."""
    n = len(speakers)
    texts = texts or ["en låg ton"] * n
    clips = pd.DataFrame(
        {
            "clip_id": [f"clip-{i}" for i in range(n)],
            "audio": [f"clip-{i}.wav" for i in range(n)],
            "speaker": speakers,
            "gender": "", "age": "", "accent": "",
            "duration_s": 2.0,
            "text": texts,
            "hypothesis": ["en hög ton" if i % 2 else text for i, text in enumerate(texts)],
            "finished": True,
        }
    )  # fmt: skip
    description = describe(score_clips(clips, "sv"), CONFIG)
    return EvaluationReport(
        **{field.name: getattr(description, field.name) for field in dataclasses.fields(description)},
        key="key", at="2026-03-01T00:00:00+00:00", language="sv",
        model=ScoredModel(fingerprint="0", name="nano"), set="set", split="test", cut=cut, config=CONFIG,
        normaliser=1, decoding=DecodingSpeed(
            seconds=1.0, clips_per_s=1.0, audio_s_per_s=1.0, device="cpu", beams=1
        ), rows="rows",
    )  # fmt: skip


def set_of(in_training=0, name="set", **rejected):
    """The set that a report is of; `in_training`: test speakers who are there, too; None: nobody knows."""
    return Prepared(
        set=name, corpus="a corpus", new=True, clips=5, audio_s=10.0, speakers=2,
        splits={}, set_aside=rejected, cut={}, notes=() if in_training == 0 else (UNKNOWN_VOICES,),
        heard_test_speakers=in_training, bytes=1,
    )  # fmt: skip


NAMED, ONE, NOBODY, MIXED = ["a", "a", "b", "b"], ["a"] * 4, [""] * 4, ["a", "a", "b", ""]


@pytest.mark.parametrize(
    "speakers, words",
    [
        (NAMED, "4 clips of 2 voices"),
        (ONE, "4 clips of 1 voice"),
        (NOBODY, "4 clips of unnamed speakers"),
        (MIXED, "4 clips (2 voices and 1 clip of unnamed speakers)"),
        (["a"], "1 clip of 1 voice"),
    ],
)
def test_clips_are_of_as_many_voices_as_are_known(speakers, words):
    assert sentences.clips_and_voices(report_of(speakers)) == words
    assert "0 voices" not in sentences.tested_on(report_of(speakers))


@pytest.mark.parametrize(
    "speakers, tested, words",
    [
        (NAMED, set_of(), "none of which it had heard"),
        (NAMED, set_of(1), "some of which it had heard"),
        (NAMED, set_of(None), "it is not known whether it had heard"),
        (NAMED, set_of(name="another set"), "it is not known whether it had heard"),
        (NAMED, None, "it is not known whether it had heard"),
        (NOBODY, set_of(), "it is not known whether it had heard"),
        (MIXED, set_of(), "it is not known whether it had heard"),
    ],
)
def test_a_promise_calls_voices_new_only_where_the_set_says_so(speakers, tested, words):
    promise = sentences.promise(SWEDISH, MODEL, report_of(speakers), tested)
    assert words in promise
    assert promise.startswith("Version 3 of the Swedish model listens here. Its test was of 4 clips")


def test_a_promise_says_of_nano_that_other_speech_comes_out_as_nonsense():
    nano = dataclasses.replace(MODEL, info={"base_model": "nano", "run": "run1"})
    assert "other speech comes out as nonsense. Its test was" in sentences.promise(
        SWEDISH, nano, report_of(NAMED), set_of()
    )


def test_a_promise_without_a_report_names_the_version_alone():
    assert sentences.promise(SWEDISH, MODEL, None, None) == ("Version 3 of the Swedish model listens here. ")


@pytest.mark.parametrize(
    "speakers, interval, whiskers",
    [
        (NAMED, "(95% interval ", "speakers being drawn."),
        (NOBODY, "(95% interval ", "for their speakers are not named."),
        (MIXED, "(95% interval ", "speakers being drawn, and each clip of an unnamed one."),
        (ONE, "(no interval)", "for which one speaker is too few."),
    ],
)
def test_an_interval_is_told_where_there_is_one_and_of_what_was_drawn(speakers, interval, whiskers):
    report = report_of(speakers)
    assert f"its word error rate was 16.7% {interval}" in sentences.promise(SWEDISH, MODEL, report, None)
    assert whiskers.replace(".", "") in sentences.compared(report)


def test_nothing_scored_is_told_without_a_number():
    report = report_of(NAMED, texts=["", "", "", ""])
    assert "there was nothing to score" in sentences.promise(SWEDISH, MODEL, report, set_of())
    assert "there was nothing to score" in sentences.compared(report)
    assert "4 clips have no words in their references and are not scored." in sentences.compared(report)


def test_an_empty_reference_is_counted():
    words = sentences.compared(report_of(NAMED, texts=["en ton", "", "en ton", "en ton"]))
    assert "1 clip has no words in its reference and is not scored." in words
    assert "not scored" not in sentences.compared(report_of(NAMED))


@pytest.mark.parametrize(
    "speakers, words", [(NAMED, "72 of 2,009 clips, drawn by speaker. "), (NOBODY, "72 of 2,009 clips. ")]
)
def test_a_cut_is_told_in_every_sentence_of_its_scores(speakers, words):
    report = report_of(speakers, cut=Cut(72, 2009))
    assert f"The test set is a cut: {words}" in sentences.promise(SWEDISH, MODEL, report, None)
    assert f"The test set is a cut: {words}".strip() in sentences.compared(report)
    assert sentences.tested_on(report).endswith(", a cut")
    assert "cut" not in sentences.compared(report_of(speakers))


def test_what_was_learnt_from_is_of_known_voices_or_of_none():
    named, unnamed = (SplitCounts(clips=59, audio_s=60.0, speakers=n) for n in (6, 0))
    assert sentences.learnt_from(named) == "59 clips, 6 voices"
    assert sentences.learnt_from(unnamed) == "59 clips, unnamed speakers"
    assert sentences.learnt_from(None) == "not known"


def test_clips_that_were_not_used_are_counted_with_a_verb_that_agrees():
    assert sentences.not_used(set_of(), "a corpus") == "5 clips of a corpus, and every one could be used."
    assert sentences.not_used(set_of(silence=1), "a corpus") == "1 of 6 clips of a corpus was not used."
    assert sentences.not_used(set_of(silence=2), "a corpus") == "2 of 7 clips of a corpus were not used."


def test_before_the_first_day_nothing_is_promised_of_voices():
    assert "voice" not in sentences.first_day(SWEDISH)


@pytest.mark.parametrize(
    "clips, words",
    [
        (0, "Every sentence of the test is read in training, too"),
        (1, "1 clip of 4 says a sentence not read in training."),
        (3, "3 clips of 4 say sentences not read in training."),
        (4, "No sentence of the test is read in training."),
    ],
)
def test_it_is_told_how_many_sentences_of_the_test_are_new(clips, words):
    report = report_of(NAMED)
    unseen = UnseenScores(clips=clips, speakers=1, of=4, wer=None, gap=None)
    report = dataclasses.replace(report, unseen=unseen)
    assert words in sentences.compared(report)
    promised = "nothing is known of new sentences" in sentences.promise(SWEDISH, MODEL, report, None)
    assert promised == (not clips)


def test_of_new_sentences_and_whispers_rules_nothing_is_told_where_nobody_looked():
    report = report_of(NAMED)
    before = dataclasses.replace(report, scores=dataclasses.replace(report.scores, whisper=None), unseen=None)
    words = sentences.compared(before)
    assert "sentence" not in words
    assert "Whisper" not in words
    assert "Whisper’s own normaliser" in sentences.compared(report)


def test_suspicious_texts_are_shown_those_of_the_test_first_and_escaped():
    test, train = Example(clip="t", detail="<img src=x> (1.0 s)"), Example(clip="a", detail="(hej) (2.0 s)")
    doubt = Suspicion(clips=1200, test_clips=1, examples=(train, test), test_examples=(test,))
    step = dataclasses.replace(set_of(), suspicious={"a direction in brackets": doubt})
    shown = texts.kinds(step, "sv")
    assert shown.index("&lt;img") < shown.index("(hej)")
    assert "<img" not in shown
    assert "1,200" in shown
    assert "clip t, of the test set" in shown
    assert "used all the same" in sentences.suspicious(step)


def test_a_set_without_suspicious_texts_is_told_from_one_that_nobody_looked_at():
    looked_at = dataclasses.replace(set_of(), suspicious={})
    assert sentences.suspicious(looked_at) == "Nothing odd was noticed in the texts of 5 clips."
    assert "did not look" in sentences.suspicious(set_of())


@pytest.mark.parametrize(
    "tasks, remaining_s, words",
    [
        (["transcribe"], None, "Written down: 3:20 of 1:02:03"),
        (["transcribe"], 20.0, "Written down: 3:20 of 1:02:03"),
        (["transcribe"], 70.0, "Written down: 3:20 of 1:02:03, about 1 minute left"),
        (
            ["transcribe", "translate"], 620.0,
            "Written down and put into English: 3:20 of 1:02:03, about 10 minutes left",
        ),
    ],
)  # fmt: skip
def test_a_job_says_how_much_is_written_down_and_how_many_minutes_are_left(tasks, remaining_s, words):
    stage = Transcribing(tasks=tuple(tasks), done_s=200.0, total_s=3723.0, remaining_s=remaining_s)
    assert sentences.progress(stage) == words
