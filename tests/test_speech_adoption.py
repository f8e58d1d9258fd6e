"""A published model is used as it is where there is none; the first trained one is judged against it."""

import shutil
from pathlib import Path

import pytest
import torch
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, taught_model
from training_runs import make_model

from dagsverk.speech import results
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig
from dagsverk.speech.errors import ModelError
from dagsverk.speech.evaluation.assessment import Candidate, assess
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import load_model, save_model_folder
from dagsverk.speech.registry import adoption
from dagsverk.speech.registry.registration import register
from dagsverk.speech.runs import CheckpointRef
from dagsverk.speech.serving.champions import load_champion
from dagsverk.store import open_store
from tasks.speech import adopt
from ui.speech import sentences, who_listens
from ui.speech.desk import SpeechDesk
from ui.speech.sections import named_reports

SWEDISH = language("sv")
CONFIG = EvaluationConfig(resamples=200, min_group_clips=2)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def published(tmp_path):
    """A folder such as others publish."""
    return make_model(tmp_path / "published")


def test_the_first_model_of_a_language_is_in_use_at_once_and_transcribes(store, published, tmp_path):
    registration = adoption.adopt(store, SWEDISH, published)
    assert registration.new and registration.promoted and registration.in_use
    assert "published as published: Swedish had no model" in registration.reason
    champion = load_champion(store, SWEDISH, tmp_path / "cache")
    assert champion.model.version == 1
    assert champion.model.info["translates"] is True
    assert "not trained here and not scored here" in card(store, tmp_path)


def test_pages_list_a_language_that_has_nothing_but_a_published_model(store, published):
    adoption.adopt(store, language("da"), published)
    desk = SpeechDesk(store.url)
    assert [of.code for of in desk.languages()] == ["sv", "it", "da"]
    assert "Ready for Danish" in who_listens.welcome(desk, "da")
    other = who_listens.welcome(desk, "fo")
    assert "Faroese has no model of its own: published as published listens" in other
    assert "speech-adopt/italian --param language=fo" in other
    assert "Danish. What is in another language" in who_listens.welcome(desk, "auto")


def test_detection_without_any_model_says_how_to_get_one(store):
    assert "No model is in use yet" in who_listens.welcome(SpeechDesk(store.url), "auto")


def card(store, tmp_path):
    folder = store.download(store.champion(SWEDISH.model_name), tmp_path / "files")
    return (folder / "README.md").read_text()


def test_the_card_names_no_folder_of_the_machine(store, published, tmp_path):
    adoption.adopt(store, SWEDISH, published)
    words = card(store, tmp_path)
    assert str(tmp_path) not in words
    assert "base model" in words


def test_the_same_weights_are_saved_once_and_weights_that_changed_are_another_version(store, published):
    first, again = (adoption.adopt(store, SWEDISH, published) for _ in range(2))
    assert (again.new, again.version) == (False, first.version)
    model = load_model(published)
    with torch.no_grad():
        model.model.model.decoder.layer_norm.bias += 1
    shutil.rmtree(published)
    Path(published).mkdir()
    save_model_folder(model, Path(published), language="sv")
    changed = adoption.adopt(store, SWEDISH, published)
    assert (changed.new, changed.version, changed.promoted) == (True, 2, False)
    assert "version 1 is in use" in changed.reason
    assert store.champion(SWEDISH.model_name).version == 1


def test_a_promotion_that_was_killed_is_finished_by_the_next_adoption(store, published, monkeypatch):
    def killed(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "promote", killed)
        with pytest.raises(KeyboardInterrupt):
            adoption.adopt(store, SWEDISH, published)
    assert store.champion(SWEDISH.model_name) is None
    finished = adoption.adopt(store, SWEDISH, published)
    assert (finished.new, finished.version, finished.in_use) == (False, 1, True)


@pytest.mark.parametrize("name", ["nano", "", " ", "https://user:key@host/model"])
def test_what_cannot_be_adopted_is_refused_before_anything_is_loaded(store, name):
    with pytest.raises(ValueError, match="want a hub name") as refused:
        adoption.adopt(store, SWEDISH, name)
    assert "key@" not in str(refused.value)
    assert store.models(SWEDISH.model_name) == []


def test_a_folder_without_weights_is_refused_by_name(store, tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(ModelError, match="has no configuration"):
        adoption.adopt(store, SWEDISH, str(tmp_path / "half"))


def test_the_task_says_what_it_did(store, published, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", store.url)
    ref = adopt.fn("sv", published)
    assert (ref.name, ref.version) == (SWEDISH.model_name, 1)


def test_the_first_trained_model_is_judged_against_the_published_one_and_pages_show_both(
    store, published, tmp_path
):
    adoption.adopt(store, SWEDISH, published)
    desk = SpeechDesk(store.url)
    assert desk.tests_of(SWEDISH, desk.champion(SWEDISH)) == (None, None)
    clips = prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=4))
    candidate = Candidate(ref=CheckpointRef("run1", 80), model=taught_model(), base=small_model(1))
    verdict = assess(store, candidate, clips, CONFIG, tmp_path / "models")
    assert verdict.champion_version == 1
    assert verdict.problems == ()
    champion = results.report(store, SWEDISH, verdict.champion)
    assert champion.model.fingerprint == load_model(published).fingerprint()

    view = desk.view(SWEDISH)  # before the candidate is registered
    assert view.shown.key == verdict.champion
    assert [name for name, *_ in named_reports(view)][-1] == "Version 1, in use"
    words = sentences.promise(SWEDISH, view.champion, *desk.tests_of(SWEDISH, view.champion))
    assert "It is published as published; it was not trained here. Its test was of" in words

    step = register(
        store, SWEDISH, verdict, candidate.model, manifest=manifest(store, clips.set_id),
        config=FinetuneConfig(model=published),
    )  # fmt: skip
    assert (step.version, step.champion) == (2, 2)
