"""Recordings of any length written down, by any model and by a language's champion."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_models import Sound, seconds, small_model, sounds, taught_model

from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.errors import AudioError, ModelError
from dagsverk.speech.features.log_mel import log_mel
from dagsverk.speech.languages import language
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.encoder import encode
from dagsverk.speech.model.models import SpeechModel, save_model_folder
from dagsverk.speech.model.tokens import prompt
from dagsverk.speech.serving import windows
from dagsverk.speech.serving.champions import is_loaded, load_champion
from dagsverk.speech.serving.repetition import loops
from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Segment, Transcriber, _parted
from dagsverk.speech.serving.windows import Window
from dagsverk.speech.subtitles.cues import Word
from dagsverk.store import Model, NotFound, Store, open_store

SWEDISH = language("sv")
TEXTS = [sound.text for sound in sounds()]


def silence(duration_s: float) -> np.ndarray:
    return np.zeros(seconds(duration_s), np.float32)


def recording(repeats: int = 1, pause_s: float = 1.5) -> np.ndarray:
    """The three sounds, with silence around each, several times over."""
    parts = [part for sound in sounds() for part in (silence(pause_s), sound.audio)]
    return np.concatenate([*parts * repeats, silence(pause_s)])


@pytest.fixture(scope="module")
def transcriber() -> Transcriber:
    return Transcriber(TorchEngine(taught_model()), "sv")


def test_each_sound_is_written_down_with_the_times_of_its_window(transcriber):
    transcript = transcriber.transcribe(recording())
    assert [segment.text for segment in transcript.segments] == TEXTS
    assert transcript.text == "\n".join(TEXTS)
    starts_s = [1.5, 1.5 + 0.8 + 1.5, 1.5 + 0.8 + 1.5 + 1.2 + 1.5]
    for segment, start_s, sound in zip(transcript.segments, starts_s, sounds(), strict=True):
        assert segment.start_s == pytest.approx(start_s - 0.2, abs=0.05)
        assert segment.end_s == pytest.approx(start_s + len(sound.audio) / 16_000 + 0.2, abs=0.25)
    assert transcript.duration_s == pytest.approx(len(recording()) / 16_000)
    assert (transcript.language, transcript.task) == ("sv", "transcribe")


OTHER_ENGINE = """
import sys
import numpy as np
from dagsverk.speech.model.decoded import Decoded
from dagsverk.speech.serving.transcriber import Segment, Transcriber, _parted
from dagsverk.speech.serving.windows import Window
from dagsverk.speech.subtitles.cues import Word
from dagsverk.speech.subtitles.cues import spread, Word

class Engine:
    name, n_mels, batch_s, word_times, windows = "other", 80, 30.0, "spread", "true_length"
    def decode(self, mels, *, language, task="transcribe", beams=1, prompt="", check=None):
        return [Decoded(f"{language} {task} {mel.shape[1]} bins", (), -0.5, 0.25, True) for mel in mels]
    def align(self, mels, decoded, *, language, task="transcribe", check=None):
        return [tuple(spread([Word(one.text, 0.0, len(mel) / 100)])) for mel, one in zip(mels, decoded)]
    def languages(self, mels, *, check=None):
        return [{"sv": 1.0} for _ in mels]

time_s = np.arange(32_000) / 16_000
tone = np.sin(2 * np.pi * 300 * time_s) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * time_s))
audio = np.concatenate([np.zeros(16_000), 0.3 * tone, np.zeros(16_000)]).astype(np.float32)
(segment,) = Transcriber(Engine(), "sv").transcribe(audio, words=True).segments
assert [word.text for word in segment.words] == segment.text.split()
assert segment.words[0].start_s < 1.1 and segment.words[-1].end_s > 2.9
assert (segment.mean_log_probability, segment.no_speech_probability) == (-0.5, 0.25)
assert not {"torch", "transformers"} & sys.modules.keys()
print(segment.text)
"""


def test_any_engine_that_keeps_the_protocol_transcribes_without_a_learning_library():
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", OTHER_ENGINE], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout == "sv transcribe 80 bins\n"


class Counts:
    """An engine that pads to 30 s and writes a word for each sound that it hears."""

    name, n_mels, batch_s, word_times, windows = "counts", 80, 60.0, "alignment heads", "full"

    def __init__(self):
        self.lengths_s = []

    def decode(self, mels, **_):
        self.lengths_s += [len(mel) / 100 for mel in mels]
        texts = [" ".join(word.text for word in self._sounds(mel)) for mel in mels]
        return [Decoded(text, tuple(range(text.count(" ") + 1)), -0.1, 0.0, True) for text in texts]

    def align(self, mels, *_, **__):
        return [self._sounds(mel) for mel in mels]

    def _sounds(self, mel):
        loud = mel.max(axis=1) > mel.max() - 1
        edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(int))) / 100
        return tuple(Word(f"{i},", start_s, end_s) for i, (start_s, end_s) in enumerate(edges.reshape(-1, 2)))


def test_an_engine_that_hears_30_s_is_given_them_full_and_each_stretch_of_speech_is_a_segment():
    steady = [0.3 * np.sin(2 * np.pi * 300 * np.arange(seconds(length_s)) / 16_000) for length_s in (2, 1, 3)]
    wobble = [one * np.linspace(0.6, 1, len(one)) for one in steady]  # what is steady is no speech
    parts = [part for one in wobble for part in (silence(1.5), one)]
    audio = np.concatenate([*parts, silence(7), wobble[0], silence(1)]).astype(np.float32)
    engine = Counts()
    transcript = Transcriber(engine, "sv").transcribe(audio, words=True)
    assert [round(length_s) for length_s in engine.lengths_s] == [9, 2]  # 7 s of silence are left out
    assert [one.text for one in transcript.segments] == ["0,", "1,", "2,", "0,"]
    starts_s = [1.5, 5, 7.5, 17.5]
    for segment, start_s in zip(transcript.segments, starts_s, strict=True):
        (word,) = segment.words
        assert segment.start_s == pytest.approx(start_s - 0.2, abs=0.05)
        assert segment.start_s <= word.start_s <= word.end_s <= segment.end_s
    (whole, last) = Transcriber(engine, "sv").transcribe(audio).segments  # without times of words
    assert (whole.text, last.text) == ("0, 1, 2,", "0,")


def test_segments_of_parts_say_what_the_whole_says_in_scripts_without_spaces_too():
    words = [
        Word("你", 0, 1),
        Word("好。", 1, 1.4),
        Word("再", 3.1, 3.3),
        Word("见", 2.9, 3.6),
        Word("x", 6, 6),
    ]
    segment = Segment(0, 6.5, "你好。再见 x", -0.1, 0.0, tuple(words), tokens=(5, 6, 7))
    parts = [Window(seconds(at), seconds(to)) for at, to in ((0, 1.6), (3, 4), (5, 6.5), (8, 9))]
    pieces = _parted(segment, parts)
    assert [one.text for one in pieces] == ["你好。", "再见", "x"]
    assert [token for one in pieces for token in one.tokens] == [5, 6, 7]
    for piece, part in zip(pieces, parts, strict=False):
        assert (piece.start_s, piece.end_s) == (part.start_s, part.end_s)
        assert all(part.start_s <= word.start_s <= word.end_s <= part.end_s for word in piece.words)
    assert [word.text for one in pieces for word in one.words] == [word.text for word in words]
    assert _parted(segment, parts[:1]) == [segment]


def test_bytes_files_and_samples_give_the_same_transcript(transcriber, tmp_path):
    wav = encode_wav(recording())
    (tmp_path / "a.wav").write_bytes(wav)
    of_bytes, of_samples = transcriber.transcribe(wav), transcriber.transcribe(recording())
    assert transcriber.transcribe(tmp_path / "a.wav") == of_bytes
    assert of_bytes.text == of_samples.text
    assert [segment.end_s for segment in of_bytes.segments] == [s.end_s for s in of_samples.segments]


def test_nothing_is_written_of_silence_or_steady_noise(transcriber, monkeypatch):
    noise = np.random.default_rng(0).normal(0, 0.05, seconds(5)).astype(np.float32)
    for sound in (silence(5), noise, silence(0)):
        assert transcriber.transcribe(sound).segments == ()
    monkeypatch.setattr(windows, "STEADY_RANGE_DB", 0.0)  # shown noise, this model always says something
    assert transcriber.transcribe(noise).segments != ()


def test_what_the_model_takes_for_no_speech_and_is_unsure_of_is_not_written():
    clip = sounds()[1]
    model = small_model(seed=3)
    assert Transcriber(TorchEngine(model), "sv").transcribe(clip.audio).segments != ()
    _make_say_no_speech(model, clip)
    (decoded,) = decode(model, [clip.mel], [clip.floor], language="sv", max_tokens=[20])
    assert decoded.no_speech_probability > 0.6
    assert decoded.mean_log_probability < -1
    assert Transcriber(TorchEngine(model), "sv").transcribe(clip.audio).segments == ()


def _make_say_no_speech(model: SpeechModel, clip: Sound) -> None:
    """Turn the token's weights towards what the decoder has in mind after the start."""
    network = model.model
    start = prompt(model.tokenizer, "sv")
    with torch.no_grad():
        states = encode(network, torch.from_numpy(clip.mel.T.copy())[None])
        tokens = torch.tensor([start[:1]])
        hidden = network.model.decoder(input_ids=tokens, encoder_hidden_states=states).last_hidden_state[0, 0]
        network.proj_out.weight[start[-1] - 1] = 20 * hidden / hidden.norm()


def test_a_loop_is_written_once():
    model, clip = small_model(seed=12), sounds()[1]  # untaught models say a byte or two over and over
    (greedy,) = decode(model, [clip.mel], [clip.floor], language="sv")
    (with_beams,) = decode(model, [clip.mel], [clip.floor], language="sv", beams=5)
    assert loops(greedy.text)
    assert loops(with_beams.text)
    written = Transcriber(TorchEngine(model), "sv").transcribe(clip.audio).text
    assert written
    assert not loops(written)


@pytest.mark.slow
def test_long_recordings_are_written_down_in_bounded_memory(transcriber, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(encode_wav(recording(repeats=8, pause_s=20.0)))  # 9 minutes: 35 MB of samples
    transcriber.transcribe(path)  # what is loaded on first use is no part of it
    tracemalloc.start()
    transcript = transcriber.transcribe(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [segment.text for segment in transcript.segments] == TEXTS * 8
    assert most < transcript.duration_s * 16_000 * 4 / 2  # half of its samples


def test_progress_is_told_from_nothing_to_all(transcriber):
    reports: list[tuple[float, float]] = []
    transcriber.transcribe(recording(repeats=30), on_progress=lambda *progress: reports.append(progress))
    total_s = len(recording(repeats=30)) / 16_000
    done = [done_s for done_s, _ in reports]
    assert {total for _, total in reports} == {total_s}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, total_s)
    assert len(done) > 3


def test_what_progress_raises_ends_the_work_and_the_next_goes_on(transcriber):
    def stop(done_s: float, total_s: float) -> None:
        if done_s:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        transcriber.transcribe(recording(), on_progress=stop)
    assert transcriber.transcribe(recording()).text == "\n".join(TEXTS)


def test_torch_decodes_a_clip_alone_on_one_thread_and_several_on_all(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    engine = TorchEngine(small_model())
    mels = [log_mel(sound.audio, engine.n_mels) for sound in sounds()[:2]]
    before = torch.get_num_threads()
    try:
        for clips in (mels, mels[:1], mels):
            engine.decode(clips, language="sv")
            assert torch.get_num_threads() == len(clips)
    finally:
        torch.set_num_threads(before)


def test_threads_share_a_transcriber(transcriber):
    texts: dict[int, str] = {}

    def work(place: int) -> None:
        texts[place] = transcriber.transcribe(np.concatenate([sounds()[place].audio, silence(1)])).text

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == dict(enumerate(TEXTS))


def test_a_model_that_was_not_taught_to_translate_says_so(transcriber):
    with pytest.raises(ModelError, match=r"not taught to translate.*translate_share"):
        transcriber.transcribe(recording(), task="translate")


def test_a_model_that_was_taught_is_asked_to_translate():
    transcriber = Transcriber(TorchEngine(taught_model()), "sv", can_translate=True)
    assert transcriber.transcribe(recording(), task="translate").task == "translate"


def test_progress_of_two_tasks_is_told_after_each_and_never_goes_back():
    reports: list[tuple[float, float]] = []
    transcriber = Transcriber(TorchEngine(taught_model()), "sv", can_translate=True)
    text, english = transcriber.transcribe_for(
        ["transcribe", "translate"], recording(), lambda *progress: reports.append(progress)
    )
    assert (text.task, english.task) == ("transcribe", "translate")
    done = [done_s for done_s, _ in reports]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, text.duration_s)


def test_what_is_no_audio_is_refused(transcriber):
    with pytest.raises(AudioError, match="not audio"):
        transcriber.transcribe(b"en text, ingen inspelning " * 20)
    with pytest.raises(ValueError, match="mono"):
        transcriber.transcribe(np.zeros((2, 16_000), np.float32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def promoted(store: Store, folder: Path, model: SpeechModel, **info: object) -> Model:
    save_model_folder(model, folder, language="sv")
    saved = store.save_model(SWEDISH.model_name, folder, metrics={"wer": 0.1}, info=info)
    before = store.champion(SWEDISH.model_name)
    store.promote(
        SWEDISH.model_name, saved.version, reason="better", expected=before.version if before else None
    )
    return saved


def test_without_a_champion_the_next_move_is_told(store, tmp_path):
    with pytest.raises(NotFound, match="prefect deployment run speech-day/swedish"):
        load_champion(store, SWEDISH, tmp_path / "cache")


def test_the_champion_writes_down_and_is_loaded_once(store, tmp_path):
    promoted(store, tmp_path / "model", taught_model())
    champion = load_champion(store, SWEDISH, tmp_path / "cache")
    assert champion.model.version == 1
    assert champion.transcriber.transcribe(recording()).text == "\n".join(TEXTS)
    assert not champion.transcriber.can_translate
    assert champion.transcriber.name == "whisper_swedish 1"
    assert is_loaded(champion.model)
    assert load_champion(store, SWEDISH, tmp_path / "cache").transcriber is champion.transcriber


def test_a_new_champion_takes_over(store, tmp_path):
    promoted(store, tmp_path / "first", small_model(seed=1))
    old = load_champion(store, SWEDISH, tmp_path / "cache")
    promoted(store, tmp_path / "second", taught_model(), translates=True)
    new = load_champion(store, SWEDISH, tmp_path / "cache")
    assert not is_loaded(old.model)
    assert new.transcriber is not old.transcriber
    assert new.transcriber.can_translate
    assert new.transcriber.transcribe(recording()).text == "\n".join(TEXTS)


def test_the_same_weights_with_other_settings_are_another_champion(store, tmp_path):
    promoted(store, tmp_path / "first", small_model(seed=1))
    assert not load_champion(store, SWEDISH, tmp_path / "cache").transcriber.can_translate
    promoted(store, tmp_path / "second", small_model(seed=1), translates=True)
    champion = load_champion(store, SWEDISH, tmp_path / "cache")
    assert champion.transcriber.can_translate
    assert champion.transcriber.name == "whisper_swedish 2"


def test_a_changed_copy_in_the_cache_is_fetched_again(store, tmp_path):
    promoted(store, tmp_path / "model", small_model(seed=2))
    load_champion(store, SWEDISH, tmp_path / "cache")
    (config,) = (tmp_path / "cache").rglob("generation_config.json")
    good = config.read_bytes()
    config.write_bytes(b"{}")
    promoted(store, tmp_path / "other", small_model(seed=4))
    load_champion(store, SWEDISH, tmp_path / "cache")  # another takes its place in memory
    store.promote(SWEDISH.model_name, 1, reason="back to it", expected=2)
    load_champion(store, SWEDISH, tmp_path / "cache")
    assert config.read_bytes() == good
