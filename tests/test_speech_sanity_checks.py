"""The known ways to go wrong: each check passes a sound model, and fails one that went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from speech_models import sounds, taught_model
from transformers import WhisperForConditionalGeneration

from dagsverk.records import plain
from dagsverk.speech.audio.waveform import loudness_dbfs
from dagsverk.speech.evaluation.sanity_checks import (
    NOISE_DBFS,
    check_curve,
    check_folder,
    check_language,
    check_loops,
    check_model,
    check_silence,
    silence_and_noise,
)
from dagsverk.speech.model import tokens
from dagsverk.speech.model.encoder import collate
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.runs import CurvePoint, TrainingPoint, ValidationPoint
from dagsverk.speech.serving import windows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model_folder(taught_model(), tmp_path / "model", language="sv")
    return tmp_path / "model"


def change(folder: Path, **entries: object) -> None:
    """Rewrite entries of the generation config; None removes one."""
    path = folder / "generation_config.json"
    config = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


def test_a_saved_model_has_its_language_and_task(folder):
    check = check_folder(folder, "sv")
    assert check.passed, check.detail
    assert check.refuses


def test_a_saved_model_transcribes_its_language_for_whoever_loads_it(folder):
    loaded = WhisperForConditionalGeneration.from_pretrained(folder)
    clips = sounds()
    batch = collate([c.mel for c in clips], [c.floor for c in clips], slack_frames=0, full=True)
    with torch.inference_mode():
        rows = loaded.generate(batch).tolist()
    tokenizer = taught_model().tokenizer
    assert [tokens.decode_text(tokenizer, row) for row in rows] == [clip.text for clip in clips]


@pytest.mark.parametrize(
    "entries, detail",
    [
        ({"language": None}, "'language': None"),
        ({"task": None}, "'task': None"),
        ({"language": "it"}, "'language': 'it'"),
        ({"task": "translate"}, "'task': 'translate'"),
        ({"language": "elvish"}, "'language': 'elvish'"),
        ({"lang_to_id": {"<|sv|>": 300}}, "the library prompts the saved model with"),
        ({"lang_to_id": None}, "the saved folder cannot be used"),
        ({"no_timestamps_token_id": None}, "the library prompts the saved model with"),
    ],
)
def test_a_saved_model_without_them_is_caught(folder, entries, detail):
    change(folder, **entries)
    check = check_folder(folder, "sv")
    assert not check.passed
    assert detail in check.detail


@pytest.mark.parametrize("saved", ["sv", "swedish", "<|sv|>"])
def test_a_language_may_be_saved_in_any_of_the_library_s_ways(folder, saved):
    change(folder, language=saved)
    assert check_folder(folder, "sv").passed


@pytest.mark.parametrize("content", [None, "{", "[]"], ids=["absent", "cut short", "a list"])
def test_a_saved_model_without_a_generation_config_is_caught(folder, content):
    path = folder / "generation_config.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert not check_folder(folder, "sv").passed


def validated(*pairs: tuple[float, float]) -> list[CurvePoint]:
    """A run's curve: losses of each step, and (dev loss, dev WER) at every tenth."""
    return [
        *(TrainingPoint(step=step, loss=3.0 / step, learning_rate=1e-3) for step in range(1, 10)),
        *(
            ValidationPoint(step=10 * place, dev_loss=loss, dev_wer=wer, dev_cer=wer / 2)
            for place, (loss, wer) in enumerate(pairs, start=1)
        ),
    ]


@pytest.mark.parametrize(
    "curve, passed",
    [
        (validated((1.0, 0.8), (0.5, 0.4), (0.3, 0.2)), True),  # as it should be
        (validated((1.0, 0.3), (0.5, 0.5), (0.3, 0.9)), False),  # the fault
        (validated((1.0, 1.0), (0.6, 1.4), (0.3, 0.2)), True),  # worse for a while
        (validated((1.0, 0.3), (0.8, 0.31)), True),  # by chance
        (validated((0.5, 0.3), (0.9, 0.6)), True),  # over-fitted: the loss says so, too
        (validated((0.5, 0.3)), True),
        ([], True),
    ],
)
def test_a_loss_that_falls_while_errors_rise_is_a_warning(curve, passed):
    check = check_curve(curve)
    assert check.passed == passed
    assert not check.refuses


def test_the_warning_says_how_much_and_where():
    detail = check_curve(validated((1.0, 0.3), (0.5, 0.5))).detail
    assert "from step 10 to 20" in detail
    assert "from 1.000 to 0.500" in detail
    assert "from 30.0% to 50.0%" in detail


def test_loops_are_counted_where_nobody_said_one():
    looping = "och så " * 12
    assert check_loops(["en båt", "ja ja"], ["en båt", "ja ja"]).passed
    assert check_loops([looping], [looping]).passed
    check = check_loops(["en båt", looping], ["en båt", "och så"])
    assert not check.passed
    assert check.detail.startswith("1 of 2 clips")


SPOKEN = ["det var en gång en liten flicka", "hon hade en is i handen", "vi ses i morgon"]


def test_english_where_another_language_is_spoken_is_caught():
    assert check_language(SPOKEN, SPOKEN, "sv").passed
    check = check_language(["once there was a girl and she had it with her", *SPOKEN[1:]], SPOKEN, "sv")
    assert not check.passed
    assert check.refuses
    assert check.detail.startswith("1 of 3 texts")


def test_english_words_of_the_language_itself_are_no_evidence():
    quoted = ["filmen heter the man and the sea", *SPOKEN]
    assert check_language(quoted, quoted, "sv").passed


def test_english_is_right_where_it_is_spoken():
    assert check_language(["it was for you and me"], ["it was for you and me"], "en").passed


def test_two_words_do_not_tell_a_language():
    assert check_language(["the and"], ["det"], "sv").passed


def test_silence_and_noise_are_what_they_are_called():
    silence, *noise = silence_and_noise()
    assert not silence.any()
    assert [loudness_dbfs(sound) for sound in noise] == pytest.approx(NOISE_DBFS, abs=0.1)
    assert all(len(sound) == 160_000 for sound in (silence, *noise))


def test_words_said_of_silence_and_noise_are_counted_and_caught(monkeypatch):
    check = check_silence(taught_model(), "sv")
    assert check.passed
    assert "0 words are written of 40 s" in check.detail
    assert "the model says 0" not in check.detail  # it was never taught to be silent
    monkeypatch.setattr(windows, "STEADY_RANGE_DB", 0.0)
    check = check_silence(taught_model(), "sv")
    assert not check.passed
    assert check.refuses


def test_what_is_looked_for_in_a_checkpoint_fits_in_json():
    checks = check_model(
        taught_model(), "sv", hypotheses=SPOKEN, references=SPOKEN, curve=validated((1.0, 0.3), (0.5, 0.5))
    )
    kept = json.loads(json.dumps([plain(check) for check in checks]))
    assert [set(check) for check in kept] == [{"name", "passed", "refuses", "detail"}] * 4
    assert [check["passed"] for check in kept] == [False, True, True, True]


def test_looking_at_a_folder_leaves_the_random_numbers_alone(folder):
    state = torch.random.get_rng_state()
    check_folder(folder, "sv")
    check_silence(taught_model(), "sv")
    assert torch.equal(torch.random.get_rng_state(), state)
