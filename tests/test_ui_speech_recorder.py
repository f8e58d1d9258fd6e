"""The recorder: what it keeps, what it refuses, and that training reads it."""

import itertools
import json
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from speech_models import sounds
from speech_site import wav

from dagsverk.speech.config import CorpusConfig
from dagsverk.speech.corpora.opening import open_corpus
from dagsverk.speech.corpora.recordings import Recordings
from dagsverk.speech.languages import language
from ui.speech import recorder

ROOT = Path(__file__).resolve().parents[1]
LOW_TONE = wav(sounds()[0].audio)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The folder in which recordings are kept."""
    monkeypatch.setenv("DAGSVERK_RECORDINGS", str(tmp_path / "recordings"))
    return tmp_path / "recordings"


def keep(text="Hej på dig", speaker="anna", audio=LOW_TONE, name="mine"):
    return Recordings(name).keep(audio, 0.8, text=text, language="sv", speaker=speaker, translation="Hello")


def test_kept_clips_are_a_corpus_that_training_reads(mine):
    for i in range(40):
        keep(text=f"mening nummer {i}", audio=wav(sounds()[i % 3].audio))
    corpus = open_corpus(CorpusConfig(source=str(mine / "mine")), "sv")
    listing = corpus.listing()
    assert listing.rejected == []
    assert {clip.split for clip in listing.clips} == {"train", "dev", "test"}
    assert sorted(clip.text for clip in listing.clips) == sorted(f"mening nummer {i}" for i in range(40))
    clip, audio = next(iter(corpus.read(listing.clips[:1])))
    assert isinstance(audio, bytes)
    assert clip.translation == "Hello"
    assert clip.duration_s == 0.8


def test_keeping_the_same_clip_again_changes_nothing_and_undo_removes_it(mine):
    first, again = keep(), keep()
    assert first == again == Recordings("mine").clips()[0]
    assert len(Recordings("mine").clips()) == 1
    assert Recordings("mine").undo() == first
    assert Recordings("mine").clips() == []
    assert not (mine / "mine" / first.file_name).exists()
    assert Recordings("mine").undo() is None


def test_many_hands_lose_no_clip(mine):
    keepers = [threading.Thread(target=keep, kwargs={"text": f"mening {i}"}) for i in range(12)]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert sorted(clip.text for clip in Recordings("mine").clips()) == sorted(
        f"mening {i}" for i in range(12)
    )


def test_a_writer_killed_at_any_moment_leaves_a_whole_data_set(mine):
    code = (
        "import itertools, sys; from dagsverk.speech.corpora.recordings import Recordings\n"
        "for i in itertools.count():\n"
        "    Recordings('mine').keep(\n"
        "        b'RIFF' + bytes(5000), 1.0, text=f'mening {i}', language='sv', speaker='a')\n"
        "    print(i, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        told = [int(line) for line in itertools.islice(writer.stdout, 8)]
        writer.kill()
    clips = Recordings("mine").clips()
    assert [clip.text for clip in clips][: len(told)] == [f"mening {i}" for i in told]
    assert all((mine / "mine" / clip.file_name).stat().st_size == 5004 for clip in clips)
    keep(text="och en till")


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "UPPER", "-x", "a" * 41, "å", "a\0b", "a b"])
def test_a_name_that_could_lead_elsewhere_is_refused(mine, name):
    with pytest.raises(ValueError, match="name is of 1 to 40 small letters"):
        Recordings(name)
    said = recorder.another(name, "sv", "")
    assert "This data set cannot be used." in said[1]


def sound_file(tmp_path, audio):
    path = tmp_path / "recorded.wav"
    path.write_bytes(wav(audio))
    return str(path)


@pytest.mark.parametrize(
    "audio, words",
    [
        (np.zeros(100), "too short"),
        (np.zeros(16_000), "silence"),
        (np.sign(np.sin(np.arange(16_000) / 9)), "clipped"),
        (np.tile(sounds()[0].audio, 40), "too long"),
    ],
)
def test_a_recording_that_training_would_set_aside_is_not_kept(mine, tmp_path, audio, words):
    path = sound_file(tmp_path, audio)
    assert words in recorder.listen(path)
    prompt = {"text": "Hej", "english": "", "skipped": []}
    *_, said = recorder.keep_one("mine", "sv", "", "anna", True, path, prompt)
    assert words in said
    assert Recordings("mine").clips() == []


@pytest.mark.parametrize(
    "speaker, consent, recorded, words",
    [
        (None, True, True, "Say who speaks"),
        ("a", False, True, "has to agree"),
        ("a", True, False, "Press Record"),
    ],
)
def test_nothing_is_kept_without_speaker_consent_and_sound(mine, tmp_path, speaker, consent, recorded, words):
    path = sound_file(tmp_path, sounds()[0].audio) if recorded else None
    prompt = {"text": "Hej", "english": "", "skipped": []}
    *_, said = recorder.keep_one("mine", "sv", None, speaker, consent, path, prompt)
    assert words in said
    assert Recordings("mine").clips() == []


def test_ones_own_sentences_come_in_their_order_each_until_it_is_kept(mine, tmp_path):
    own = " Först. \n\nSedan <b>.\nSist."
    prompt, box, _ = recorder.another("mine", "sv", own)
    assert prompt["text"] == "Först."
    skipped, box, _ = recorder.skip_one("mine", "sv", own, prompt)
    assert "Sedan &lt;b&gt;." in box
    path = sound_file(tmp_path, sounds()[0].audio)
    for wanted in ("Sist.", "Först.", None):
        skipped, *_ = recorder.keep_one("mine", "sv", own, "anna", True, path, skipped)
        assert (skipped and skipped["text"]) == wanted
    assert len(Recordings("mine").clips()) == 3


@pytest.mark.parametrize("code", ["sv", "it"])
def test_a_sentence_of_the_grammar_comes_with_its_english(mine, code):
    prompt, box, _ = recorder.another("mine", code, None)
    assert prompt["english"]
    assert f'lang="{code}"' in box


def test_the_page_says_how_to_train_on_what_is_kept(mine):
    keep()
    command = recorder.training_command(Recordings("mine"), language("sv"))
    words = shlex.split(command)
    assert words[:4] == ["prefect", "deployment", "run", "speech-day/swedish"]
    corpus = CorpusConfig(**json.loads(words[-1].removeprefix("corpus=")))
    assert open_corpus(corpus, "sv").corpus.place.url == str(mine / "mine")
