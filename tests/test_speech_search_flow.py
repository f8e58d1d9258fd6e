"""The flow of a search: its parts in order, a lost trial, and that it changes nothing but its report."""

import threading

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from training_runs import make_model, make_set, tiny_config

from dagsverk.cache import cache_folder
from dagsverk.records import last_report, parse
from dagsverk.speech import results, steps
from dagsverk.speech.languages import language
from dagsverk.speech.search.training import train
from dagsverk.speech.searching import STEP, SearchedSpeech, SpeechSearchConfig, Training
from dagsverk.speech.training.progress import quiet
from dagsverk.store import open_store
from flows.speech_search import speech_search
from tasks import speech_search as searches
from tasks.children import ChildFailed

SWEDISH = language("sv")


@pytest.fixture
def children(prefect_server, tmp_path, monkeypatch):
    """Child runs as this process makes them; those whose part begins with one of `fail` end badly."""
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    made, fail, one_by_one = [], [], threading.Lock()

    def run(deployment, parameters, part):
        assert deployment == "speech-trial/swedish"
        made.append(part)
        if any(f"-{one}" in part for one in fail):
            raise ChildFailed(f"{part} crashed")
        with one_by_one:  # transformers does not load two models at once in one process
            train(open_store(), SWEDISH, parse(parameters["training"], Training), cache_folder(), quiet)

    monkeypatch.setattr(searches, "run_child", run)
    settings = {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with temporary_settings(settings):
        yield made, fail


def test_a_search_ends_without_a_lost_trial_and_changes_nothing_but_its_report(children, tmp_path):
    made, fail = children
    store = open_store()
    make_set(store)
    finetune = tiny_config(
        make_model(tmp_path / "model"),
        steps=16,
        evaluate_every=None,
        checkpoint_every=None,
        translate_share=0.0,
    )
    config = SpeechSearchConfig(trials=4, at_once=2)
    fail.append("2-0-0")  # trial 2, first stage
    state = speech_search("sv", finetune, config, return_state=True)
    report = last_report(store, SWEDISH.name, STEP, SearchedSpeech)
    assert state.result() == report.verdict
    assert (report.cost.finished, report.cost.lost, report.cost.failed) == (3, 1, 0)
    assert report.cost.trials_steps == pytest.approx(3 / 8 + 2 * 2 / 8, abs=0.2)
    assert "crashed" in report.cost.reasons[0]
    assert steps.kept(store, SWEDISH, steps.Finetuned) is None  # nothing that an evaluation would take up
    left = {path.split("/")[3] for path in store.list("speech/swedish/runs") if "/checkpoints/" in path}
    assert len(left) <= 1, "checkpoints are left of the best at most"
    assert (store.champion(SWEDISH.model_name), results.runs(store, SWEDISH)) == (None, [])
    before = len(made)
    assert speech_search("sv", finetune, config) == report.verdict
    assert len(made) == before, "a repeat finds all that is done"


def test_a_search_whose_default_is_lost_fails_with_its_reason(children, tmp_path):
    _, fail = children
    make_set(open_store())
    fail.append("0-0-0")
    state = speech_search(
        "sv",
        tiny_config(make_model(tmp_path / "model"), steps=16, translate_share=0.0),
        SpeechSearchConfig(trials=4),
        return_state=True,
    )
    assert state.is_failed()
    assert "crashed" in state.message
