"""Two modes, true length and 30 s windows: which is better, which is refused, and in which one is served."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, sounds, taught_model

from dagsverk.records import parse, plain
from dagsverk.speech import results, steps
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig
from dagsverk.speech.errors import ModelError
from dagsverk.speech.evaluation.assessment import Candidate, assess
from dagsverk.speech.evaluation.evaluation import evaluate, evaluate_draw
from dagsverk.speech.evaluation.modes import NAMES, OTHER, choose, refusal
from dagsverk.speech.evaluation.report import (
    Check,
    Cut,
    DecodingSpeed,
    Interval,
    ModeScore,
    TwoModes,
    Verdict,
)
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import SpeechModel, load_model
from dagsverk.speech.registry.registration import register
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.serving.champions import load_champion
from dagsverk.speech.serving.torch_engine import TorchEngine, load_engine
from dagsverk.speech.summary import speech_summary
from dagsverk.store import open_store
from ui.speech import modes, sections
from ui.speech.desk import SpeechDesk

SWEDISH = language("sv")
CONFIG = EvaluationConfig(resamples=100, min_group_clips=3, worst=4, retention_clips=0)
SPEED = DecodingSpeed(seconds=1.0, clips_per_s=9.0, audio_s_per_s=20.0, device="cpu", beams=1)
NO_ENGLISH = Check("the right language", passed=False, refuses=True, detail="9 of 9 texts are English")


def score(wer: float | None, *, refused: str | None = None) -> ModeScore:
    nothing = Interval(None)
    return ModeScore(
        report=f"report-{wer}", clips=9, cut=None, wer=Interval(wer), cer=Interval(wer),
        against_base=nothing, decoding=SPEED, refused=refused,
    )  # fmt: skip


def chosen(true, full, difference, *, trained="true_length", refused=()):
    scores = {
        mode: score(wer, refused="it is worse" if mode in refused else None)
        for mode, wer in (("true_length", true), ("full", full))
    }
    return choose(scores, difference, trained, None)


DIFFERENCES = [  # true length minus 30 s windows, and the mode that follows
    (Interval(0.10, 0.05, 0.15), "full"),
    (Interval(0.10, -0.05, 0.25), "true_length"),  # chance explains it: the fast one
    (Interval(0.0, 0.0, 0.0), "true_length"),
    (Interval(-0.10, -0.15, -0.05), "true_length"),
    (Interval(0.10), "full"),  # one voice: nobody knows what chance explains
    (Interval(0.0), "true_length"),
    (Interval(-0.10), "true_length"),
]


@pytest.mark.parametrize("difference, served", DIFFERENCES)
def test_the_better_mode_is_served_and_of_equals_the_fast_one(difference, served):
    assert chosen(0.2, 0.2 - difference.value, difference).served == served


@pytest.mark.parametrize("difference, _", DIFFERENCES)
@pytest.mark.parametrize("refused", ["true_length", "full"])
def test_a_refused_mode_is_not_served_where_the_other_is_not_refused(difference, _, refused):
    both = chosen(0.2, 0.2 - difference.value, difference, refused=[refused])
    assert both.served == OTHER[refused]
    assert f"{NAMES[refused]} it is refused: it is worse" in both.reason


@pytest.mark.parametrize("difference, served", DIFFERENCES)
def test_of_two_refused_modes_the_better_one_is_named(difference, served):
    both = chosen(0.2, 0.2 - difference.value, difference, refused=["true_length", "full"])
    assert both.served == served


@pytest.mark.parametrize("trained", ["true_length", "full"])
def test_where_there_is_nothing_to_score_it_is_served_as_it_was_trained(trained):
    assert chosen(None, None, Interval(None), trained=trained).served == trained


points = st.floats(-1, 1, allow_nan=False)
intervals = st.builds(
    lambda value, ends: Interval(value, value - ends, value + ends), points, st.floats(0, 0.5)
) | st.builds(Interval, points)


@given(intervals, st.lists(st.booleans(), min_size=2, max_size=2), st.sampled_from(["true_length", "full"]))
def test_in_every_combination_the_served_mode_is_allowed_if_any_is_and_full_windows_have_to_prove_themselves(
    difference, refusals, trained
):
    refused = [mode for mode, is_so in zip(("true_length", "full"), refusals, strict=True) if is_so]
    both = chosen(0.5, 0.5, difference, trained=trained, refused=refused)
    if len(refused) == 1:
        assert both.served not in refused
    else:
        least = difference.value if difference.low is None else difference.low
        assert both.served == ("full" if least > 0 else "true_length")
    assert NAMES[both.served] in both.reason
    assert parse(plain(both), TwoModes) == both


@pytest.mark.parametrize(
    "against_base, is_refused",
    [
        (Interval(-0.1, -0.2, -0.05), False),
        (Interval(0.1, -0.05, 0.25), False),  # chance explains it
        (Interval(0.1, 0.05, 0.15), True),
        (Interval(0.1), True),  # nobody can say that it is chance
        (Interval(-0.1), False),
        (Interval(None), False),
    ],
)
def test_a_mode_is_refused_where_training_made_it_worse_beyond_chance(against_base, is_refused):
    reason = refusal(Interval(0.5), Interval(0.4), against_base, [])
    assert (reason is not None) == is_refused
    assert not is_refused or "its word error rate is 50.0 %" in reason


def test_a_mode_is_refused_where_a_check_that_refuses_fails_in_it():
    better = Interval(-0.1, -0.2, -0.05)
    reason = refusal(Interval(0.5), Interval(0.6), better, [NO_ENGLISH])
    assert reason == "a check failed: 9 of 9 texts are English"
    assert refusal(Interval(0.5), Interval(0.6), better, [replace(NO_ENGLISH, refuses=False)]) is None


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def clips(store, tmp_path):
    return prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=4))


def published() -> SpeechModel:
    """An untaught one that, as every published Whisper, is to be given 30 s windows."""
    return small_model().served("full")


def deaf_in_windows() -> SpeechModel:
    """One that knows the sounds at true length, and says nonsense of a padded one."""
    taught = copied(taught_model())
    encoder = taught.model.model.encoder
    positions = len(encoder.embed_positions.weight)
    encoder.embed_positions.weight.data[-1] += 1e-6  # other weights: what the taught one said is not its own
    encoder.layer_norm.register_forward_hook(
        lambda _module, _given, states: -states if states.shape[1] == positions else states
    )
    return taught


def verdict_on(store, clips, tmp_path, model=None, base=None, *, trained="true_length", config=CONFIG):
    candidate = Candidate(
        ref=CheckpointRef("run1", 80),
        model=(model or deaf_in_windows()).served(trained),
        base=base or published(),
    )
    return assess(store, candidate, clips, config, tmp_path / "models"), candidate.model


def registered(store, clips, verdict, model):
    config = FinetuneConfig(model="their/whisper", steps=80)
    step = register(store, SWEDISH, verdict, model, manifest=manifest(store, clips.set_id), config=config)
    return step, store.model(SWEDISH.model_name, step.version)


def test_a_checkpoint_of_a_published_model_is_heard_once_in_both_modes_and_the_base_in_its_own(
    store, clips, tmp_path
):
    first, _ = verdict_on(store, clips, tmp_path, copied(taught_model()))
    again, _ = verdict_on(store, clips, tmp_path, copied(taught_model()))
    assert first.modes == again.modes
    assert set(first.modes.scores) == {"true_length", "full"}
    assert len(store.list("speech/swedish/transcripts")) == 3
    reports = {mode: results.report(store, SWEDISH, one.report) for mode, one in first.modes.scores.items()}
    assert {mode: one.model.full_windows for mode, one in reports.items()} == {
        "true_length": False, "full": True,
    }  # fmt: skip
    assert results.report(store, SWEDISH, first.base).model.full_windows
    assert first.modes.served == "true_length"  # it knows the sounds in both, and this one is fast
    assert first.candidate == first.modes.scores["true_length"].report
    assert all(one.decoding.audio_s_per_s > 0 for one in first.modes.scores.values())


def copied(model: SpeechModel) -> SpeechModel:
    return replace(model, model=copy.deepcopy(model.model))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


@pytest.mark.parametrize("reports", [1, 2])
def test_an_assessment_killed_between_two_scorings_goes_on_without_hearing_again(
    store, clips, tmp_path, monkeypatch, reports
):
    put, heard_once = type(store).put, []

    def killed(self, path, *args, **options):
        if path.endswith("report.json") and len(heard_once) == reports:
            raise Killed
        put(self, path, *args, **options)
        heard_once.extend([path] * path.endswith("report.json"))

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "put", killed)
        with pytest.raises(Killed):
            verdict_on(store, clips, tmp_path)
    before = {path: store.get(path) for path in store.list("speech/swedish/transcripts")}
    verdict, _ = verdict_on(store, clips, tmp_path)
    assert len(before) == reports + 1
    assert {path: store.get(path) for path in before} == before
    assert len(verdict.modes.scores) == 2
    assert len(results.reports(store, SWEDISH)) == 3


def test_a_mode_in_which_it_is_worse_than_its_base_is_refused_everywhere(store, clips, tmp_path):
    base = copied(taught_model()).served("full")
    verdict, model = verdict_on(store, clips, tmp_path, deaf_in_windows(), base)
    assert verdict.modes.served == "true_length"
    assert "more than chance explains" in verdict.modes.scores["full"].refused
    step, version = registered(store, clips, verdict, model)
    assert version.info["windows"] == "true_length"
    assert version.info["modes"]["true_length"]["allowed"]
    assert not version.info["modes"]["full"]["allowed"]
    assert any(words.startswith("it must not be used in 30 s windows: ") for words in step.warnings)
    folder = store.download(version, tmp_path / "files")
    assert load_model(str(folder)).refused_windows == ("full",)
    assert load_engine(folder, "it", language="sv").windows == "true_length"
    with pytest.raises(ModelError, match="it is refused for 'full' windows"):
        load_engine(folder, "it", language="sv", windows="full")
    card = (folder / "README.md").read_text()
    assert "**do not use it so.** In 30 s windows it is refused" in card
    assert "from transformers import pipeline" not in card


def test_an_allowed_mode_is_on_the_card_with_what_other_programs_may_expect(store, clips, tmp_path):
    verdict, model = verdict_on(store, clips, tmp_path, copied(taught_model()))
    step, version = registered(store, clips, verdict, model)
    assert step.promoted
    assert "Served at true length: word error rate 0.0 %" in step.reason
    assert "chance explains the difference" in step.reason
    card = (store.download(version, tmp_path / "files") / "README.md").read_text()
    assert "| this model, at true length | 0.0 %" in card
    assert "| this model, in 30 s windows | 0.0 %" in card
    assert "pad every clip to 30 s: expect the word error rate that it has in 30 s windows, 0.0 %" in card
    assert '"WER (normalised, in 30 s windows), %"' in card
    assert "from transformers import pipeline" in card
    engine = load_engine(tmp_path / "files", "it", language="sv", windows="full")
    assert engine.decode([sounds()[0].mel], language="sv")[0].text == sounds()[0].text


def test_the_champion_is_served_in_the_mode_that_its_record_names(store, clips, tmp_path):
    verdict, model = verdict_on(store, clips, tmp_path, deaf_in_windows(), trained="full")
    assert verdict.modes.served == "true_length"  # though it was trained for the other
    _, version = registered(store, clips, verdict, model)
    assert model.windows == "full"  # what is in memory is as it was
    assert version.info["windows"] == "true_length"
    champion = load_champion(store, SWEDISH, tmp_path / "cache")
    assert champion.transcriber.transcribe(sounds()[0].audio).text == sounds()[0].text
    next_one, _ = verdict_on(store, clips, tmp_path, copied(taught_model()))
    assert next_one.champion == verdict.candidate  # it is judged in that mode, and not heard again


def test_a_long_test_set_is_cut_for_the_other_mode_and_says_so(store, clips, tmp_path):
    config = replace(CONFIG, other_mode_clips=5)
    verdict, model = verdict_on(store, clips, tmp_path, copied(taught_model()), config=config)
    scores = verdict.modes.scores
    assert (scores["true_length"].clips, scores["true_length"].cut) == (12, None)
    assert (scores["full"].clips, scores["full"].cut) == (5, Cut(5, 12))
    _, version = registered(store, clips, verdict, model)
    card = (store.download(version, tmp_path / "files") / "README.md").read_text()
    assert "| this model, in 30 s windows (5 of 12 clips, drawn by speaker) |" in card


def test_where_the_other_mode_is_better_its_cut_is_completed_before_it_is_served(store, clips, tmp_path):
    config = replace(CONFIG, other_mode_clips=5)
    verdict, _ = verdict_on(store, clips, tmp_path, deaf_in_windows(), trained="full", config=config)
    assert verdict.modes.served == "true_length"
    assert {one.clips for one in verdict.modes.scores.values()} == {12}
    assert {one.cut for one in verdict.modes.scores.values()} == {None}


def test_clips_of_a_draw_are_not_heard_again_when_it_is_completed(store, clips):
    ticks, model = [], copied(taught_model())
    options = {"windows": "full", "tick": lambda *counts: ticks.append(counts)}
    drawn = evaluate_draw(store, SWEDISH, model, clips, CONFIG, count=5, **options)
    whole = evaluate(store, SWEDISH, model, clips, CONFIG, drawn_before=5, **options)
    again = evaluate(store, SWEDISH, model, clips, CONFIG, **options)
    assert ticks == [(5, 5), (7, 7)]
    assert (drawn.clips, drawn.speakers, whole.clips) == (5, 4, 12)
    assert again == whole
    rows = results.clip_rows(store, whole)
    assert (rows["hypothesis"] == rows["text"]).all()
    assert list(rows["clip_id"]) == list(clips.rows["id"])


def test_a_model_that_learnt_from_nothing_is_scored_in_its_own_mode_alone_and_the_record_says_so(
    store, clips, tmp_path
):
    verdict, model = verdict_on(store, clips, tmp_path, copied(taught_model()), small_model())
    assert set(verdict.modes.scores) == {"true_length"}
    assert verdict.modes.left_out.startswith("In 30 s windows it was not scored: it learnt from nothing")
    assert len(store.list("speech/swedish/transcripts")) == 2
    step, version = registered(store, clips, verdict, model)
    assert step.promoted
    assert set(version.info["modes"]) == {"true_length"}
    card = (store.download(version, tmp_path / "files") / "README.md").read_text()
    assert "what this model says there is not known" in card


def test_a_verdict_of_before_is_registered_and_served_as_it_was_trained(store, clips, tmp_path):
    verdict, model = verdict_on(store, clips, tmp_path, copied(taught_model()))
    before = plain(verdict)
    del before["modes"]
    _, version = registered(store, clips, parse(before, Verdict), model)
    assert "modes" not in version.info
    folder = store.download(version, tmp_path / "files")
    assert TorchEngine(load_model(str(folder))).windows == "true_length"
    assert "from transformers import pipeline" in (folder / "README.md").read_text()


def test_the_monitor_shows_both_modes_and_names_the_other_one_in_the_comparison(store, clips, tmp_path):
    config = replace(CONFIG, other_mode_clips=11)
    base = copied(taught_model()).served("full")
    verdict, model = verdict_on(store, clips, tmp_path, deaf_in_windows(), base, config=config)
    step, version = registered(store, clips, verdict, model)
    store.promote(SWEDISH.model_name, version.version, reason="by hand", expected=None)
    steps.keep(store, SWEDISH, step)
    view = SpeechDesk(store.url).view(SWEDISH)
    card = modes.card(view)
    assert "refused ✗" in card and "served ✓" in card
    assert "11 clips, a cut" in card
    assert [name for name, *_ in sections.named_reports(view)] == [
        "their/whisper, before", "Version 1, in use", "Version 1, 30 s windows, a cut",
    ]  # fmt: skip
    assert "at true length; refused in 30 s windows" in sections.champion(view)
    lines = speech_summary(store, SWEDISH).splitlines()
    assert lines[0].endswith("at true length")
    assert "in 30 s windows, on a CUT of test: 11 of 12 clips: REFUSED, its word error rate is" in lines[1]


def test_the_monitor_says_where_a_model_was_not_scored_in_both(store, clips, tmp_path):
    verdict, model = verdict_on(store, clips, tmp_path, copied(taught_model()), small_model())
    registered(store, clips, verdict, model)
    view = SpeechDesk(store.url).view(SWEDISH)
    assert "In 30 s windows it was not scored" in modes.card(view)
    assert [role for _, role, _ in sections.named_reports(view)] == ["before fine-tuning", "in use"]
