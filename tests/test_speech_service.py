"""A recording's text and its English, as pages, REST and tasks ask for them; work for both is done once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from speech_clips import wav
from speech_models import sounds, taught_model

from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.errors import AudioError
from dagsverk.speech.features import log_mel
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.serving import answering, champions, service, windows
from dagsverk.store import Store, open_store

pytestmark = pytest.mark.usefixtures("own_cache")
SWEDISH, ITALIAN = language("sv"), language("it")
TEXTS = [sound.text for sound in sounds()]


def store_with_champion(folder: Path, *, translates: bool) -> Store:
    store = open_store(str(folder / "store"))
    save_model_folder(taught_model(), folder / "model", language="sv")
    info = {"translates": translates}
    saved = store.save_model(SWEDISH.model_name, folder / "model", metrics={"wer": 0.1}, info=info)
    store.promote(SWEDISH.model_name, saved.version, reason="the first", expected=None)
    return store


@pytest.fixture(scope="module")
def translating(tmp_path_factory) -> Store:
    return store_with_champion(tmp_path_factory.mktemp("translating"), translates=True)


@pytest.fixture(scope="module")
def transcribing(tmp_path_factory) -> Store:
    return store_with_champion(tmp_path_factory.mktemp("transcribing"), translates=False)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    parts = [part for sound in sounds() for part in (np.zeros(24_000, np.float32), sound.audio)]
    (tmp_path / "three.wav").write_bytes(encode_wav(np.concatenate(parts)))
    return tmp_path / "three.wav"


def both(store: Store, source: Path) -> service.Both:
    *_, last = service.transcribe_and_translate(store, SWEDISH, source)
    assert isinstance(last, service.Both)
    return last


@pytest.fixture
def times(monkeypatch) -> Counter[str]:
    """How often each part of the work is done, all of it in this process."""
    monkeypatch.setattr(service, "WRITER", answering.write_down)
    counted: Counter[str] = Counter()

    def count(holder, name):
        work = getattr(holder, name)

        def counting(*args, **options):
            counted[name] += 1
            return work(*args, **options)

        monkeypatch.setattr(holder, name, counting)

    count(service.Sandbox, "open")
    count(SamplesFile, "blocks")
    count(windows, "levels")
    count(log_mel, "log_mel")
    return counted


def test_text_and_english_cost_one_decoding_one_pass_of_levels_and_a_spectrum_per_window(
    translating, recording, times
):
    answer = both(translating, recording)
    assert answer.english is not None
    assert times == {"open": 1, "blocks": 2, "levels": 1, "log_mel": len(TEXTS)}


def test_text_and_english_are_what_each_task_gives_by_itself(translating, recording):
    answer = both(translating, recording)
    text = service.transcribe(translating, SWEDISH, recording, "transcribe")
    english = service.transcribe(translating, SWEDISH, recording, "translate")
    assert [segment.text for segment in text.transcript.segments] == TEXTS
    assert answer.original.transcript == text.transcript
    assert answer.english is not None and answer.english.transcript == english.transcript
    assert english.transcript.task == "translate"


def test_stages_go_from_waiting_to_all_of_the_recording_for_both_tasks(translating, recording):
    *stages, _ = service.transcribe_and_translate(translating, SWEDISH, recording)
    progress = [stage for stage in stages if isinstance(stage, service.Transcribing)]
    assert {stage.tasks for stage in progress} == {("transcribe", "translate")}
    done = [stage.done_s for stage in progress]
    assert done == sorted(done)
    assert done[-1] == progress[-1].total_s
    kinds = list(dict.fromkeys(type(stage) for stage in stages))
    order = [service.Waiting, service.Decoding, service.Loading, service.Transcribing]
    assert kinds == [kind for kind in order if kind in kinds]


def test_without_words_there_is_no_english(translating, tmp_path):
    (tmp_path / "silence.wav").write_bytes(encode_wav(np.zeros(16_000, np.float32)))
    answer = both(translating, tmp_path / "silence.wav")
    assert (answer.original.transcript.text, answer.english, answer.why_no_english) == ("", None, "")


def test_a_model_that_was_not_taught_gives_the_text_and_says_why_there_is_no_english(transcribing, recording):
    answer = both(transcribing, recording)
    assert answer.original.transcript.text == "\n".join(TEXTS)
    assert answer.english is None
    assert "was not taught to translate" in answer.why_no_english
    with pytest.raises(service.CannotTranslate, match="not taught to translate"):
        service.transcribe(transcribing, SWEDISH, recording, "translate")


def test_an_answer_in_json_says_how_sure_the_model_is_of_each_segment(transcribing, recording):
    content = service.transcribe(transcribing, SWEDISH, recording, "transcribe").to_dict()
    assert (content["language"], content["task"]) == ("sv", "transcribe")
    assert content["model"] == {"name": "whisper_swedish", "version": 1}
    for segment in content["segments"]:
        assert segment.keys() == {
            "start_s", "end_s", "text", "mean_log_probability", "no_speech_probability", "words",
        }  # fmt: skip
        assert [word["text"] for word in segment["words"]] == segment["text"].split()
        assert segment["mean_log_probability"] <= 0
        assert 0 <= segment["no_speech_probability"] <= 1


def test_without_a_champion_nothing_is_decoded(transcribing, recording, times):
    with pytest.raises(champions.NoSpeechModel, match="speech-day/italian"):
        service.transcribe_and_translate(transcribing, ITALIAN, recording)
    assert times["open"] == 0


def test_a_check_that_raises_ends_the_work_and_frees_the_place(transcribing, recording):
    def leave() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        service.transcribe(transcribing, SWEDISH, recording, "transcribe", leave)
    assert service.transcribe(transcribing, SWEDISH, recording, "transcribe").transcript.text


def test_what_is_no_recording_is_refused(transcribing, tmp_path):
    (tmp_path / "cut.wav").write_bytes(wav()[:2000])
    with pytest.raises(AudioError, match="undecodable"):
        service.transcribe(transcribing, SWEDISH, tmp_path / "cut.wav", "transcribe")
