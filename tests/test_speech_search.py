"""A search for settings of fine-tuning: what it draws, what it trains once, and what it says at the end."""

import errno
import html
import math
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from speech_models import small_model
from training_runs import make_model, make_set, tiny_config

from dagsverk import studies
from dagsverk.cache import cache_folder
from dagsverk.records import keep_report
from dagsverk.speech import runs, searching
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.report import Interval
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.search import conclusion, space, study
from dagsverk.speech.search.training import train
from dagsverk.speech.searched_words import searched_words
from dagsverk.speech.searching import (
    STEP,
    Plan,
    Result,
    SearchedSpeech,
    SpeechCost,
    SpeechSearchConfig,
    training_of,
)
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.progress import quiet
from dagsverk.store import open_store
from dagsverk.suggesting.speech import searched as suggested
from ui.speech import searched as searched_card
from ui.speech.desk import SpeechDesk

SWEDISH = language("sv")
DEFAULT = space.start_of(
    FinetuneConfig(
        model="openai/whisper-base", steps=96, learning_rate=2.5e-5, batch_s=30.0, full_window_share=0.01,
        spec_augment=True, replay_share=0.0, processes=1,
    )
)  # fmt: skip
PLAN = Plan(search="speech-x", language="sv", set="sv-1", asked=DEFAULT, settings=DEFAULT, model="m")
CONFIG = SpeechSearchConfig(trials=8)


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    return tmp_path


def searched(plan=PLAN, config=CONFIG, *, until=8):
    """So many trials, whose loss is how far their rate is from the default's."""
    drawn = []
    for number in range(until):
        settings = study.draw(plan, config, number)
        drawn.append(settings)
        study.tell(plan, number, Result(dev_loss=abs(math.log(settings.learning_rate / 2e-5))))
    return drawn


def test_the_first_trial_is_the_default_and_a_draw_is_given_again_as_it_was():
    drawn = searched()
    assert drawn[0] == DEFAULT
    assert [study.draw(PLAN, CONFIG, number) for number in range(8)] == drawn
    assert len(set(map(repr, drawn))) == 8


def test_a_study_that_begins_anew_draws_the_same(monkeypatch, tmp_path):
    before = searched()
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "another machine"))
    assert searched() == before


def test_a_drawer_killed_in_the_middle_of_a_draw_leaves_nothing(monkeypatch):
    searched(until=3)
    with studies.opened(PLAN.search) as opened:
        opened.ask()  # and dies before it says which trial that is
    undisturbed = study.draw(PLAN, CONFIG, 3)
    monkeypatch.setenv("DAGSVERK_CACHE", str(cache_folder() / "other"))
    searched(until=3)
    assert study.draw(PLAN, CONFIG, 3) == undisturbed


def test_every_draw_is_a_valid_setting_of_as_much_audio_as_the_default():
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(60):
        drawn = space.suggested(asked.ask(), DEFAULT)
        assert not (drawn.freeze_encoder and drawn.lora_rank)
        assert drawn.batch_s <= DEFAULT.batch_s
        audio_s = drawn.steps * drawn.batch_s * drawn.accumulate
        assert audio_s == pytest.approx(96 * 30, rel=0.02)
        assert drawn.evaluate_every == drawn.checkpoint_every == drawn.steps // 8
        factor = drawn.learning_rate / DEFAULT.learning_rate / (10 if drawn.lora_rank else 1)
        assert 0.249 < factor < 4.01


@pytest.mark.parametrize(
    "changed, absent",
    [
        ({"model": "nano"}, {"trained", "lora_rank", "full_window_share"}),
        ({"freeze_encoder": True, "lora_rank": 4}, {"trained", "lora_rank"}),
        ({"windows": "full"}, {"full_window_share"}),
        ({"lora_rank": 4}, set()),
    ],
)
def test_the_space_follows_what_is_asked_for(changed, absent):
    default = replace(DEFAULT, **changed)
    parameters = space.default_parameters(default)
    assert not absent & set(parameters)
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    asked.enqueue_trial(parameters)
    trial = asked.ask()
    drawn = space.suggested(trial, default)
    assert trial.params == parameters
    assert replace(drawn, learning_rate=default.learning_rate) == default


def test_sixteen_trials_cost_no_more_than_three_full_runs():
    for steps in (16, 60, 96, 100, 119, 4000):
        default = space.start_of(replace(DEFAULT, steps=steps))
        first, second = (training_of(PLAN, default, stage).until for stage in (0, 1))
        config = SpeechSearchConfig()
        assert config.trials * first + config.promoted * (second - first) <= 3 * steps


def test_a_full_run_that_cannot_be_cut_into_stages_is_refused():
    with pytest.raises(SpeechError, match="more steps"):
        space.start_of(replace(DEFAULT, steps=15))


def test_one_that_cannot_be_trained_is_told_apart_from_one_that_was_lost():
    searched(until=2)
    for number, result in ((2, Result(reason="no number")), (3, Result(reason="lost: x", lost=True))):
        study.draw(PLAN, CONFIG, number)
        study.tell(PLAN, number, result)
        study.tell(PLAN, number, result)
    with studies.opened(PLAN.search) as opened:
        assert [t.state.name for t in opened.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]


def seeds(*rates, clips=40, words=10):
    return np.array([[rate * words] * clips for rate in rates], dtype=float)


@pytest.mark.parametrize(
    "default, best, better",
    [
        (seeds(0.20, 0.21, 0.19), seeds(0.10, 0.11, 0.09), True),
        (seeds(0.20, 0.10, 0.30), seeds(0.10, 0.20, 0.15), False),  # the seeds differ more than the settings
        (seeds(0.20, 0.21, 0.19), seeds(0.20, 0.19, 0.21), False),
    ],
)
def test_better_is_what_neither_clips_nor_seeds_explain(default, best, better):
    gain = conclusion.difference(default, best, np.full(40, 10.0), [""] * 40)
    assert (gain.low > 0) is better


def test_one_speaker_gives_no_interval_and_nothing_is_better():
    gain = conclusion.difference(seeds(0.2, 0.2, 0.2), seeds(0.1, 0.1, 0.1), np.full(40, 10.0), ["a"] * 40)
    assert gain.value == pytest.approx(0.1)
    assert gain.low is None


# a search on real parts: sixteen tones, a model of one narrow layer


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    store = open_store(str(folder / "store"))
    return store, make_set(store), make_model(folder / "model")


def plan_of(parts):
    store, set_id, model = parts
    asked = tiny_config(model, steps=16, evaluate_every=None, checkpoint_every=None, translate_share=0.0)
    name = searching.plan_name(set_id, asked, CONFIG.seed)
    begun = searching.Training(search=name, set=set_id, settings=asked, until=0)
    made = runs.run_config(store, train(store, SWEDISH, begun, cache_folder(), quiet).run)
    settings = space.start_of(made.finetune)
    return Plan(
        search=name, language="sv", set=set_id, asked=asked, settings=settings, model=made.fingerprint
    )


def test_a_training_that_pauses_and_goes_on_is_the_training_that_never_paused(parts):
    store, plan = parts[0], plan_of(parts)
    settings = replace(plan.settings, seed=7)
    until = training_of(plan, settings, 0).until
    train(store, SWEDISH, training_of(plan, settings, 0), cache_folder(), quiet)
    paused = train(store, SWEDISH, training_of(plan, settings, 1), cache_folder(), quiet)
    before = runs.curve(store, paused.run)
    assert checkpoints.steps(store, paused.run)[-1] == 3 * until
    other = open_store(str(cache_folder() / "store"))
    set_id = make_set(other)
    whole = replace(training_of(plan, settings, 1), set=set_id)
    straight = train(other, SWEDISH, whole, cache_folder(), quiet)
    losses = [(p.step, p.dev_loss) for p in before if hasattr(p, "dev_loss")]
    assert losses == [(p.step, p.dev_loss) for p in runs.curve(other, straight.run) if hasattr(p, "dev_loss")]


class Full:
    """A store on a disk that is full when a checkpoint's files are written."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_file(self, *_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_is_no_fault_of_the_settings_and_the_trial_is_made_when_there_is_room(parts):
    store, plan = parts[0], plan_of(parts)
    training = training_of(plan, replace(plan.settings, seed=11), 0)
    with pytest.raises(OSError, match="No space left"):
        train(Full(store), SWEDISH, training, cache_folder(), quiet)
    assert searching.kept_result(store, SWEDISH, training) is None
    assert train(store, SWEDISH, training, cache_folder(), quiet).dev_loss is not None


def test_three_clips_of_dev_are_enough_to_search_on(parts):
    plan = plan_of(parts)
    few = replace(plan.settings, dev_clips=3)
    result = train(parts[0], SWEDISH, training_of(plan, few, 0), cache_folder(), quiet)
    assert result.dev_loss > 0
    assert runs.run_config(parts[0], result.run).dev_clips == 3


def test_what_is_trained_is_not_trained_again_even_without_its_checkpoints(parts):
    store, plan = parts[0], plan_of(parts)
    training = training_of(plan, plan.settings, 0)
    first = train(store, SWEDISH, training, cache_folder(), quiet)
    store.remove(f"{runs.run_folder(first.run)}/checkpoints")
    assert train(store, SWEDISH, training, cache_folder(), quiet) == first


def test_settings_that_diverge_are_a_result_and_not_an_error(parts, tmp_path):
    store, plan = parts[0], plan_of(parts)
    broken = small_model()
    torch.nn.init.constant_(broken.model.model.decoder.layers[0].fc1.weight, 1e38)
    save_model_folder(broken, tmp_path / "broken", language="sv")
    wild = replace(plan.settings, model=str(tmp_path / "broken"))
    result = train(store, SWEDISH, training_of(plan, wild, 0), cache_folder(), quiet)
    assert "in step 1 the loss is nan" in result.reason
    assert result.dev_loss is None


REPORT = SearchedSpeech(
    search="speech-x", language="sv", set="sv-1", model="m", trials=16, steps=96, default=DEFAULT,
    best=replace(DEFAULT, learning_rate=5e-5), changes={"learning_rate": 5e-5},
    dev=((0, 1.0, 0.9), (1, 0.8, 0.5), (2, None, None)), default_wer=0.2, best_wer=0.15,
    by_seed=((0.2, 0.15),) * 3, gain=Interval(0.05, 0.01, 0.09), capped=Interval(0.05, 0.02, 0.08),
    better=True, test_clips=59, dev_clips=47, importances={"rate_factor": 0.8},
    cost=SpeechCost(2.9, 5.2, 900.0, 15, 4, 1, 0, 11, ("in step 1 the loss is nan",)),
)  # fmt: skip


def test_the_monitor_and_the_suggestions_show_what_the_last_search_came_to(room):
    store = open_store(str(room / "store"))
    desk = SpeechDesk(store.url)
    assert "speech-search/swedish" in searched_card.card(desk.view(SWEDISH))
    assert list(suggested(store, SWEDISH)) == []
    before = desk.version(SWEDISH)
    keep_report(store, SWEDISH.name, STEP, REPORT)
    assert desk.version(SWEDISH) != before
    shown = html.unescape(searched_card.card(desk.view(SWEDISH)))
    assert REPORT.verdict in shown
    assert '{"learning_rate": 5e-05}' in shown
    (suggestion,) = suggested(store, SWEDISH)
    assert suggestion.shown
    assert "openai/whisper-base" in suggestion.command


@pytest.mark.parametrize(
    "changed, words",
    [
        ({}, "is better than the default: +5.0 points of WER (+1.0 to +9.0"),
        ({"better": False, "gain": Interval(0.05, -0.01, 0.11)}, "No better settings were shown"),
        ({"better": False, "gain": Interval(-0.05, -0.09, -0.01)}, "worse than the default"),
        ({"better": False, "gain": Interval(0.05)}, "give no interval"),
        (
            {"better": False, "best": None, "gain": Interval(None)},
            "Nothing was better than the default on dev",
        ),
        ({"better": False, "trouble": "the loss is nan"}, "could not be trained whole: the loss is nan"),
    ],
)
def test_the_verdict_says_what_was_shown_and_no_more(changed, words):
    report = replace(REPORT, **changed)
    assert words in report.verdict
    assert report.better or "eep the default" in report.verdict
    assert report.verdict in searched_words(report)
