"""Which language is spoken, and who writes down one that has no model of its own."""

import datetime as dt

import numpy as np
import pytest
from speech_models import small_model, sounds, taught_model, telling_model

from dagsverk.records import parse, plain
from dagsverk.speech.audio.samples import SamplesFile
from dagsverk.speech.audio.waveform import encode_wav
from dagsverk.speech.errors import AudioError
from dagsverk.speech.languages import language
from dagsverk.speech.model.models import save_model_folder
from dagsverk.speech.registry.adoption import adopt
from dagsverk.speech.serving import answering, champions, detection, live_sessions, service
from dagsverk.speech.serving.answering import Listener, Order
from dagsverk.speech.serving.before_training import NoModelBefore
from dagsverk.speech.serving.champions import NoSpeechModel, writer_of
from dagsverk.speech.serving.job_files import Job, Kept
from dagsverk.store import open_store
from dagsverk.turns import go_on

SWEDISH, ITALIAN, DANISH = (language(code) for code in ("sv", "it", "da"))
LOW, RISING, NOISE = sounds()
SPOKEN = {"sv": LOW, "it": RISING, "da": NOISE}  # what `telling_model` takes them for


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    save_model_folder(telling_model(), folder, language="sv")
    return str(folder)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def tuned(store, of, tmp_path, model):
    """A model in use that was trained here."""
    save_model_folder(model, tmp_path / of.code, language=of.code)
    saved = store.save_model(of.model_name, tmp_path / of.code, metrics={}, info={"run": "a"})
    before = store.champion(of.model_name)
    expected = before.version if before else None
    store.promote(of.model_name, saved.version, reason="better", expected=expected)


class Silent(Listener):
    def loading(self, model): ...
    def begins(self, tasks): ...
    def progress(self, done_s, total_s): ...
    def segments(self, task, segments): ...


def written(store, tmp_path, sound, of=None, *, times=1):
    audio = np.concatenate([np.concatenate([np.zeros(24_000, np.float32), sound.audio])] * times)
    return written_of(store, tmp_path, audio, of)


def written_of(store, tmp_path, audio, of=None):
    audio.astype(np.float32).tofile(tmp_path / "samples")
    with (tmp_path / "samples").open("rb") as file:
        samples = SamplesFile(file, len(audio))
        order = Order(tasks=("transcribe",), words=False)
        return answering.write_down(store, tmp_path / "cache", of, order, samples, Silent(), go_on)


def text(answer):
    return " ".join(segment.text for segment in answer.transcripts[0].segments)


def test_of_two_champions_the_one_of_the_language_that_is_spoken_writes(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    adopt(store, ITALIAN, published)
    for code in ("sv", "it"):
        answer = written(store, tmp_path, SPOKEN[code])
        assert (answer.language, answer.model.name) == (code, language(code).model_name)
        assert text(answer) == SPOKEN[code].text
        assert next(iter(answer.likely)) == code
        assert f"taken for {language(code).title}" in answer.notes[0]


def test_a_language_without_a_model_is_written_by_the_published_one_of_another_and_the_answer_says_so(
    store, published, tmp_path
):
    adopt(store, SWEDISH, published)
    answer = written(store, tmp_path, NOISE, DANISH)
    assert (answer.language, answer.model.name, text(answer)) == ("da", "whisper_swedish", "brus")
    assert answer.notes == (
        f"Danish has no model of its own: {published_name(published)} as published wrote it.",
    )
    heard = written(store, tmp_path, NOISE, times=6)
    assert (heard.language, text(heard).split()[0], len(heard.notes)) == ("da", "brus", 2)


def published_name(folder):
    return folder.rpartition("/")[2]


def test_a_short_clip_is_not_taken_for_a_language_without_a_model(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    assert written(store, tmp_path, NOISE).language == "sv"


def test_a_published_model_that_is_no_longer_in_use_still_tells_and_writes(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    tuned(store, SWEDISH, tmp_path, taught_model())
    answer = written(store, tmp_path, NOISE, DANISH)
    assert (answer.language, answer.model.name, answer.model.version) == ("da", "whisper_swedish", 1)
    own = written(store, tmp_path, LOW)
    assert (own.language, own.model.version, text(own)) == ("sv", 2, LOW.text)


def test_a_language_that_is_taken_for_one_written_alike_is_written_by_that_one_s_model(store, tmp_path):
    save_model_folder(telling_model(("sv", "it", "nn")), tmp_path / "published", language="sv")
    adopt(store, language("no"), str(tmp_path / "published"))
    adopt(store, SWEDISH, str(tmp_path / "published"))
    answer = written(store, tmp_path, NOISE, times=6)
    assert (answer.language, answer.model.name) == ("no", "whisper_norwegian")


def test_live_words_are_in_the_language_that_is_told_first(store, published, tmp_path, monkeypatch):
    adopt(store, SWEDISH, published)
    adopt(store, ITALIAN, published)
    asked = []

    def noted(store, cache, language, *rest):
        asked.append(language)
        return answering.write_down(store, cache, language, *rest)

    monkeypatch.setattr(service, "WRITER", noted)
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / "cache"))
    listen = live_sessions.champion_listens(store, None)(go_on)
    gap = np.zeros(24_000, np.float32)
    silent, short = np.zeros(90_000, np.float32), np.concatenate([gap, RISING.audio])
    long = np.concatenate([gap, RISING.audio] * 3)
    assert [len(listen(audio)) for audio in (silent, short, long, short)] == [0, 4, 12, 4]
    assert asked == [None, None, None, ITALIAN]


def test_a_tuned_model_writes_no_other_language(store, tmp_path):
    tuned(store, SWEDISH, tmp_path, taught_model())
    with pytest.raises(NoSpeechModel, match=r"no Danish model.*speech-adopt/italian --param language=da"):
        writer_of(store, DANISH)
    with pytest.raises(NoSpeechModel, match="speech-day/italian"):
        written(store, tmp_path, RISING, ITALIAN)


def test_a_published_model_writes_no_language_under_the_token_of_another(store, published):
    adopt(store, ITALIAN, published)
    with pytest.raises(NoSpeechModel, match="rm_as_it"):
        writer_of(store, language("rm_as_it"))


def test_what_is_surely_a_language_without_a_model_is_refused_with_the_way_to_one(store, tmp_path):
    tuned(store, SWEDISH, tmp_path, telling_model())
    with pytest.raises(AudioError, match=r"Danish is spoken in it \(\d+%\).*language=da.*name it") as refused:
        written(store, tmp_path, NOISE, times=6)
    assert refused.value.reason == detection.NO_MODEL
    assert written(store, tmp_path, NOISE, SWEDISH, times=6).language == "sv"  # who names it is believed


def test_of_two_tuned_models_the_one_that_is_surer_of_its_text_is_right(store, tmp_path):
    tuned(store, SWEDISH, tmp_path, taught_model())
    tuned(store, ITALIAN, tmp_path, small_model(seed=3))  # which knows no sound
    assert written(store, tmp_path, LOW).language == "sv"


def test_where_nothing_is_said_nothing_is_told_and_nothing_is_lost(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    answer = written_of(store, tmp_path, np.zeros(48_000))
    assert (answer.language, text(answer), answer.likely) == ("sv", "", {})
    assert "Nothing is said" in answer.notes[0]
    empty = written_of(store, tmp_path, np.zeros(0))
    assert (empty.transcripts[0].duration_s, text(empty)) == (0.0, "")


def test_speech_after_a_long_silence_is_still_listened_to(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    adopt(store, ITALIAN, published)
    late = np.concatenate([np.zeros(16_000 * 700, np.float32), RISING.audio])
    assert written_of(store, tmp_path, late).language == "it"


def test_without_any_model_the_ways_to_one_are_told(store, tmp_path):
    with pytest.raises(NoSpeechModel, match=r"of any language.*speech-day/swedish"):
        written(store, tmp_path, LOW)


def test_one_model_in_memory_serves_all_its_languages(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    swedish, danish = (
        champions.load(store, writer_of(store, of), tmp_path / "cache").transcriber
        for of in (SWEDISH, DANISH)
    )
    assert (swedish.language, danish.language) == ("sv", "da")
    assert swedish._engine is danish._engine and swedish._lock is danish._lock


@pytest.mark.parametrize("adopted_for", [ITALIAN, SWEDISH])
def test_english_that_the_champion_cannot_write_is_by_a_published_model_and_the_answer_says_so(
    store, published, tmp_path, adopted_for
):
    adopt(store, adopted_for, published)
    tuned(store, SWEDISH, tmp_path, taught_model())
    audio = np.concatenate([np.zeros(24_000, np.float32), LOW.audio]).astype(np.float32)
    (tmp_path / "low.wav").write_bytes(encode_wav(audio))
    before = service.WRITER
    service.WRITER = answering.write_down
    try:
        *_, both = service.transcribe_and_translate(store, SWEDISH, tmp_path / "low.wav", words=False)
        alone = service.transcribe(store, SWEDISH, tmp_path / "low.wav", "translate", words=False)
    finally:
        service.WRITER = before
    assert both.original.transcript.text == LOW.text
    assert (both.original.model.name, both.original.model.version) == (
        "whisper_swedish", 2 if adopted_for == SWEDISH else 1,
    )  # fmt: skip
    assert (both.english.model.name, both.english.model.version) == (adopted_for.model_name, 1)
    assert both.why_no_english == ""
    assert both.original.notes[-1].startswith(f"The English is by {published_name(published)} as published")
    assert alone.transcript.text == both.english.transcript.text != ""
    own = store.champion("whisper_swedish")
    assert champions.is_loaded(own)  # the other one did not take its place
    kept = Kept.of(Job(id="a", language="sv", order=Order(tasks=("transcribe", "translate")), visitor="",
                       created=dt.datetime.now(dt.UTC)), [both.original, both.english], "")  # fmt: skip
    assert kept.answers() == [both.original, both.english]
    assert parse(plain(kept), Kept, "a result") == kept


def test_a_comparison_with_the_model_before_asks_no_other_for_english(store, published, tmp_path):
    adopt(store, SWEDISH, published)
    order = Order(tasks=("transcribe", "translate"), only_if_it_can=True, before=1)
    assert champions.translator(store, SWEDISH) is not None
    with pytest.raises(NoModelBefore):
        audio = np.zeros(16_000, np.float32)
        audio.tofile(tmp_path / "samples")
        with (tmp_path / "samples").open("rb") as file:
            samples = SamplesFile(file, len(audio))
            answering.write_down(store, tmp_path / "c", SWEDISH, order, samples, Silent(), go_on)
