"""A scored checkpoint becomes a version that others can use, once, and champion only by the gate's word."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from sound_corpus import SoundCorpus, prepared_sounds
from speech_models import small_model, taught_model
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from dagsverk.speech import results, steps
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.evaluation.assessment import Candidate, assess
from dagsverk.speech.features.shards import manifest
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import load_model
from dagsverk.speech.registry.registration import register
from dagsverk.speech.runs import CheckpointRef, ValidationPoint
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


def assessed(store, clips, tmp_path, model=None, base=None, *, run="run1", step=80, curve=()):
    candidate = Candidate(
        ref=CheckpointRef(run, step),
        model=model or taught_model(),
        base=base or small_model(),
        curve=curve,
    )
    return assess(store, candidate, clips, CONFIG, tmp_path / "models"), candidate.model


def registered(store, clips, tmp_path, *args, config=NANO, **options):
    verdict, model = assessed(store, clips, tmp_path, *args, **options)
    return register(store, SWEDISH, verdict, model, manifest=manifest(store, clips.set_id), config=config)


def champion_of(store):
    return store.champion(SWEDISH.model_name)


def test_a_better_checkpoint_is_registered_whole_and_becomes_champion(store, clips, tmp_path):
    step = registered(store, clips, tmp_path)
    assert (step.version, step.new, step.promoted, step.champion) == (1, True, True, 1)
    champion = champion_of(store)
    assert champion.metrics["wer"] == step.candidate.wer.value == 0
    assert champion.metrics["base_wer"] == step.base.wer.value > 0.5
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
    folder = store.download(champion_of(store), tmp_path / "champion")
    model = WhisperForConditionalGeneration.from_pretrained(folder)
    processor = WhisperProcessor.from_pretrained(folder)
    assert model.generation_config.language == "sv"
    assert processor.tokenizer.convert_tokens_to_ids("<|sv|>") == model.generation_config.lang_to_id["<|sv|>"]


def test_the_card_has_data_settings_scores_with_intervals_groups_and_limits(store, clips, tmp_path):
    registered(store, clips, tmp_path)
    card = (store.download(champion_of(store), tmp_path / "m") / "README.md").read_text()
    header = dict(line.split(": ", 1) for line in card.split("---")[1].strip().splitlines())
    assert json.loads(header["language"]) == "sv"
    metrics = json.loads(header["model-index"])[0]["results"][0]["metrics"]
    assert {m["type"]: m["value"] for m in metrics if "normalised" in m["name"]} == {"wer": 0.0, "cer": 0.0}
    for part in ("Decision", "Scores", "Groups", "What it knew before", "Limits", "Data", "Settings", "Use"):
        assert f"## {part}" in card
    assert "| this model | 0.0 % (0.0 to " in card
    assert "| before fine-tuning |" in card
    assert f"- set: {clips.set_id}" in card
    assert "- steps: 80" in card


def test_a_repeated_registration_makes_no_second_version(store, clips, tmp_path):
    first = registered(store, clips, tmp_path)
    again = registered(store, clips, tmp_path)
    assert (again.version, again.new, again.champion) == (1, False, 1)
    assert again.reason == "nothing new, this checkpoint is version 1"
    assert again.decision == first.decision
    assert len(store.models(SWEDISH.model_name)) == len(store.champions(SWEDISH.model_name)) == 1


def test_a_registration_killed_before_promotion_is_finished_by_the_next(store, clips, tmp_path, monkeypatch):
    def killed(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "promote", killed)
        with pytest.raises(Killed):
            registered(store, clips, tmp_path)
    assert champion_of(store) is None
    step = registered(store, clips, tmp_path)
    assert (step.version, step.new, step.champion) == (1, False, 1)


def test_a_model_no_better_than_before_training_is_registered_but_not_promoted(store, clips, tmp_path):
    step = registered(store, clips, tmp_path, small_model(1), small_model())
    assert (step.version, step.promoted, step.champion) == (1, False, None)
    assert "is not below 0 beyond chance" in step.reason


@pytest.mark.slow
def test_the_champion_stays_where_the_next_is_no_better_and_was_scored_on_the_same_clips(
    store, clips, tmp_path
):
    registered(store, clips, tmp_path)
    step = registered(store, clips, tmp_path, small_model(2), run="run2")
    assert (step.version, step.promoted, step.champion) == (2, False, 1)
    assert step.champion_row.wer.value == 0
    verdict = results.verdicts(store, SWEDISH)[-1]
    assert (verdict.run, verdict.champion_version) == ("run2", 1)
    assert verdict.against_champion.wer.value > 0


@pytest.mark.slow
def test_the_champion_is_evaluated_on_new_clips_before_its_successor_is_scored(store, clips, tmp_path):
    registered(store, clips, tmp_path)
    others = prepared_sounds(store, tmp_path / "cache", SoundCorpus(voices=5))
    verdict, _ = assessed(store, others, tmp_path, small_model(2), run="run2")
    report = results.report(store, SWEDISH, verdict.champion)
    assert report.set == others.set_id
    assert report.model.fingerprint == taught_model().fingerprint()


def test_a_champion_that_cannot_be_loaded_does_not_block_its_successors(store, clips, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "note.txt").write_text("no model")
    old = store.save_model(SWEDISH.model_name, folder, metrics={"wer": 0.5}, info={"evaluation": "gone"})
    store.promote(SWEDISH.model_name, old.version, reason="by hand", expected=None)
    step = registered(store, clips, tmp_path)
    assert (step.version, step.champion) == (2, 2)
    assert any("the champion, version 1, could not be compared" in warning for warning in step.warnings)


def test_checks_are_kept_with_the_version_and_a_curve_that_rises_while_its_loss_falls_fails_one(
    store, clips, tmp_path
):
    curve = [
        ValidationPoint(step=40, dev_loss=1.0, dev_wer=0.1, dev_cer=0.1),
        ValidationPoint(step=80, dev_loss=0.5, dev_wer=0.9, dev_cer=0.9),
    ]
    step = registered(store, clips, tmp_path, curve=curve)
    passed = {check.name: check.passed for check in step.checks}
    assert passed["language and task are saved"]
    assert not passed["errors fall with the loss"]
    assert any("the word error rate from 10.0% to 90.0%" in warning for warning in step.warnings)
    card = (store.download(champion_of(store), tmp_path / "m") / "README.md").read_text()
    assert "- errors fall with the loss: **failed**" in card


def test_a_push_that_fails_loses_neither_version_nor_promotion(store, clips, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(SpeechError, match="cannot push to me/swedish: HF_TOKEN is not set"):
        registered(store, clips, tmp_path, config=replace(NANO, push_to_hub="me/swedish"))
    assert champion_of(store).version == 1
    assert registered(store, clips, tmp_path).pushed == ""
    assert len(store.models(SWEDISH.model_name)) == 1


def test_a_model_from_nothing_that_was_taught_to_translate_is_said_to_translate(store, clips, tmp_path):
    from_nothing = replace(small_model(), name="nano")
    step = registered(store, clips, tmp_path, base=from_nothing, config=replace(NANO, translate_share=0.2))
    assert store.model(SWEDISH.model_name, step.version).info["translates"]


def test_the_day_is_told_in_a_few_lines(store, clips, tmp_path):
    assert speech_summary(store, SWEDISH) == "swedish: no step has run yet"
    preparation = steps.prepared(manifest(store, clips.set_id), new=True)
    training = steps.Finetuned(
        run="run1",
        step=60,
        steps=80,
        model="nano",
        set=clips.set_id,
        dev_wer=0.0712,
        dev_cer=None,
        clips_per_s=31.25,
        set_aside={},
        new=True,
    )
    steps.keep(store, SWEDISH, replace(preparation, audio_s=7200.0, set_aside={"silence": 2, "clipped": 1}))
    steps.keep(store, SWEDISH, training)
    steps.keep(store, SWEDISH, registered(store, clips, tmp_path))
    lines = speech_summary(store, SWEDISH).splitlines()
    assert lines[0] == (
        "  clips in         36 from sounds (2.0 h, 12 speakers), 3 set aside (1 clipped, 2 silence); "
        "test voices unheard in training"
    )
    assert lines[1] == "  fine-tuned       nano, 80 steps, 31.2 clips/s, dev WER 0.071 at step 60"
    assert lines[2].startswith("  test             WER 0.000 [0.000, 0.")
    assert lines[3].endswith("before fine-tuning")
    assert lines[4].startswith("  champion         version 1: Promoted: word error rate 0.0 % (0.0 to ")


def test_the_card_names_the_licences_of_clips_of_other_languages_that_were_replayed(store, clips, tmp_path):
    gone = "en-0123456789abcdef"
    replayed = replace(NANO, replay_share=0.1, replay_sets=(clips.set_id, gone))
    registered(store, clips, tmp_path, config=replayed)
    version = champion_of(store)
    told = version.info["lineage"]["replayed"]
    assert told[clips.set_id]["licences"] == {
        "not stated": sum(manifest(store, clips.set_id).licences.values())
    }
    assert told[gone] == "not in the store any more"
    card = (store.download(version, tmp_path / "m") / "README.md").read_text()
    assert all(name in card for name in replayed.replay_sets)
