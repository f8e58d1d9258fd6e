"""A model is heard once, and its report says what is true of it."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, sounds, taught_model

from dagsverk.records import plain, write_json
from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig
from dagsverk.speech.corpora.corpus import RejectedClip
from dagsverk.speech.errors import CorpusError
from dagsverk.speech.evaluation.comparison import compare
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.evaluation import evaluate
from dagsverk.speech.evaluation.playback import keep_audio
from dagsverk.speech.evaluation.report import Cut
from dagsverk.speech.languages import language
from dagsverk.speech.model import precision
from dagsverk.speech.runs import TrainingPoint, run_folder
from dagsverk.speech.serving.repetition import loops
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.store import open_store

SWEDISH = language("sv")
RUN = "sv-0123456789abcdef"
CONFIG = EvaluationConfig(resamples=100, min_group_clips=3, worst=4)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def clips(store, tmp_path):
    return prepared_sounds(store, tmp_path / "cache", SoundCorpus(wrong=[2]))


def test_a_report_says_what_the_model_heard(store, clips):
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    rows = results.clip_rows(store, report)
    right, wrong = rows[rows["speaker"] != "test voice 2"], rows[rows["speaker"] == "test voice 2"]
    assert (right["hypothesis"] == right["text"]).all()
    assert set(wrong["hypothesis"]) == {sound.text for sound in sounds()}
    spoken = 3 * sum(len(sound.text.split()) for sound in sounds())
    assert report.scores.normalised.hits == 2 * spoken / 3
    assert (report.clips, report.speakers, report.split, report.cut) == (9, 3, "test", None)
    assert report == results.report(store, SWEDISH, report.key)


def test_the_same_model_is_heard_once_on_the_same_clips(store, clips):
    ticks = []
    first = evaluate(store, SWEDISH, taught_model(), clips, CONFIG, tick=lambda *n: ticks.append(n))
    again = evaluate(store, SWEDISH, taught_model(), clips, CONFIG, tick=lambda *n: ticks.append(n))
    assert ticks == [(9, 9)]
    assert first == again


def test_another_question_is_answered_from_what_was_heard(store, clips):
    ticks = []
    first = evaluate(store, SWEDISH, taught_model(), clips, CONFIG, tick=lambda *n: ticks.append(n))
    other = evaluate(
        store,
        SWEDISH,
        taught_model(),
        clips,
        replace(CONFIG, resamples=300, worst=1),
        tick=lambda *n: ticks.append(n),
    )
    assert len(ticks) == 1
    assert other.key != first.key
    assert (len(first.worst), len(other.worst)) == (3, 1)
    assert other.decoding == first.decoding


def test_beams_and_weights_are_heard_anew(store, clips):
    reports = [
        evaluate(store, SWEDISH, taught_model(), clips, CONFIG),
        evaluate(store, SWEDISH, taught_model(), clips, replace(CONFIG, beams=2)),
        evaluate(store, SWEDISH, small_model(), clips, CONFIG),
    ]
    assert len({report.key for report in reports}) == 3
    assert len(store.list("speech/swedish/transcripts")) == 3
    assert results.reports(store, SWEDISH) == sorted(reports, key=lambda r: r.at)


def test_what_was_decoded_in_two_precisions_is_kept_apart(store, clips, monkeypatch):
    reports = [evaluate(store, SWEDISH, taught_model(), clips, CONFIG)]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    monkeypatch.setattr(precision, "LEAST_WIDTH", 1)
    precision._processor_multiplies_bf16.cache_clear()
    reports.append(evaluate(store, SWEDISH, taught_model(), clips, CONFIG))
    precision._processor_multiplies_bf16.cache_clear()
    assert [report.decoding.precision for report in reports] == ["fp32", "bf16"]
    assert reports[0].key != reports[1].key
    assert len(store.list("speech/swedish/transcripts")) == 2
    assert reports[0].scores == reports[1].scores  # it knows the sounds by heart


def test_a_taught_model_is_told_from_an_untaught_one_on_the_same_clips(store, clips):
    taught = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    untaught = evaluate(store, SWEDISH, small_model(), clips, CONFIG)
    comparison = compare(store, taught, untaught)
    assert comparison.wer.value < 0
    assert (comparison.first, comparison.second, comparison.clips) == (taught.key, untaught.key, 9)


def test_scores_are_of_what_is_served_and_loops_are_counted_all_the_same(store, clips):
    report = evaluate(store, SWEDISH, small_model(), clips, CONFIG)
    rows = results.clip_rows(store, report)
    looping = rows["first"].map(loops)
    assert looping.any()
    assert not rows["hypothesis"].map(loops).any()
    assert report.loops == looping.sum()
    transcriber = Transcriber(TorchEngine(small_model()), "sv")
    served = {sound.text: transcriber.transcribe(sound.audio).text for sound in sounds()}
    right = rows[rows["text"].isin(served)]
    assert [served[text] for text in right["text"]] == right["hypothesis"].tolist()


def test_what_a_loop_would_have_cost_is_said_beside_the_rate():
    about = dict.fromkeys(("audio", "speaker", "gender", "age", "accent"), "")
    texts = {"text": ["otto", "nove dieci"], "hypothesis": ["otto", "nove dieci"]}
    clips = pd.DataFrame({"clip_id": ["a", "b"], **about, **texts, "duration_s": 1.0, "finished": True})
    rows = score_clips(clips.assign(first=["otto " * 10, "nove dieci"]), "it")
    described = describe(rows, CONFIG)
    assert (described.scores.normalised.wer.value, described.loops) == (0.0, 1)
    assert described.first_wer is not None
    assert described.first_wer.value == pytest.approx(9 / 3)


def test_a_model_that_was_never_doubted_has_one_rate(store, clips):
    assert evaluate(store, SWEDISH, taught_model(), clips, CONFIG).first_wer is None


def test_reports_of_other_clips_are_not_compared(store, clips, tmp_path):
    others = prepared_sounds(store, tmp_path / "cache", SoundCorpus())
    first, second = (evaluate(store, SWEDISH, taught_model(), c, CONFIG) for c in (clips, others))
    with pytest.raises(ValueError, match=r"set is sv-.* and sv-.*; evaluate both models on the same set"):
        compare(store, first, second)


def test_a_cut_test_split_is_flagged(store, tmp_path):
    clips = prepared_sounds(store, tmp_path / "cache", SoundCorpus(cut=True))
    assert evaluate(store, SWEDISH, taught_model(), clips, CONFIG).cut == Cut(9, 300)


def test_clips_of_several_splits_are_refused(store, clips):
    mixed = replace(clips, rows=clips.rows.assign(split=["dev"] + ["test"] * 8))
    with pytest.raises(ValueError, match="want clips of one split, got dev and test"):
        evaluate(store, SWEDISH, taught_model(), mixed, CONFIG)


def test_the_worst_clips_can_be_played(store, clips):
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    silent = results.worst_clips(store, SWEDISH, report)
    assert [(clip.sound, clip.why_silent) for clip in silent] == [(None, "its audio was not kept")] * 3
    kept = keep_audio(store, SWEDISH, report, SoundCorpus(wrong=[2]))
    assert kept.missing == {}
    for clip in results.worst_clips(store, SWEDISH, report):
        assert clip.speaker == "test voice 2"
        assert store.get(clip.sound)[:4] == b"RIFF"


def test_sentences_that_are_read_in_train_are_told_from_new_ones(store, clips):
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    assert (report.unseen.clips, report.unseen.of) == (3, 9)  # of the voice that says something else
    assert report.unseen.wer.value > 0
    assert report.unseen.gap.value == pytest.approx(report.unseen.wer.value)  # the others are right
    assert report.scores.whisper.wer.value == pytest.approx(report.scores.normalised.wer.value)


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


def test_an_evaluation_killed_after_hearing_is_finished_without_hearing_again(store, clips, monkeypatch):
    ticks, put = [], type(store).put

    def killed(self, path, *args, **options):
        if path.endswith("report.json"):
            raise Killed
        put(self, path, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "put", killed)
        with pytest.raises(Killed):
            evaluate(store, SWEDISH, taught_model(), clips, CONFIG, tick=lambda *n: ticks.append(n))
    assert results.reports(store, SWEDISH) == []
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG, tick=lambda *n: ticks.append(n))
    assert len(ticks) == 1
    assert results.reports(store, SWEDISH) == [report]
    assert len([path for path in store.list("speech/swedish/evaluations") if "/clips-" in path]) == 1


class BrokenCorpus(SoundCorpus):
    def read(self, clips):
        yield clips[0], RejectedClip(clip=clips[0].id, reason="missing file", detail=clips[0].audio)
        yield clips[1], b"no audio"
        raise CorpusError("the archive is cut short")


def test_a_corpus_that_cannot_be_read_here_only_leaves_its_clips_silent(store, clips):
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    kept = keep_audio(store, SWEDISH, report, BrokenCorpus())
    assert kept.clips == {}
    reasons = kept.missing.values()
    assert any(why.startswith("missing file: ") for why in reasons)
    assert any("sounds cannot be read here: the archive is cut short" in why for why in reasons)
    assert [clip.sound for clip in results.worst_clips(store, SWEDISH, report)] == [None] * 3


def test_what_the_store_holds_is_found_and_a_change_is_seen(store, clips):
    versions = [results.results_version(store, SWEDISH)]
    report = evaluate(store, SWEDISH, taught_model(), clips, CONFIG)
    versions.append(results.results_version(store, SWEDISH))
    keep_audio(store, SWEDISH, report, SoundCorpus())
    versions.append(results.results_version(store, SWEDISH))
    first = TrainingPoint(step=1, loss=2.0, learning_rate=1e-3)
    second = TrainingPoint(step=2, loss=1.0, learning_rate=1e-3)
    write_json(store, f"{run_folder(RUN)}/config.json", {"set": "of another version"})
    write_json(store, f"{run_folder(RUN)}/curve.json", [plain(first)])
    store.put(f"{run_folder(RUN)}/checkpoints/10/model.safetensors", b"")
    versions.append(results.results_version(store, SWEDISH))
    write_json(store, f"{run_folder(RUN)}/curve.json", [plain(second)])
    versions.append(results.results_version(store, SWEDISH))
    assert len(set(versions)) == 5
    assert versions[-1] == results.results_version(store, SWEDISH)
    assert results.speech_languages(store) == [SWEDISH]
    assert results.runs(store, SWEDISH) == [
        results.Run(run=RUN, config=None, curve=(second,), checkpoints=(10,))
    ]
