"""Subtitles of a film lie where its picture has the words, whenever its sound begins, pauses or is cut."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from films import Track, film
from speech_models import sounds, taught_model

from dagsverk.speech.serving.torch_engine import TorchEngine
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.transcription.files import content

PAUSE_S = 3.0  # no subtitle is shown so long that it would hold two sounds
TEXTS = [sound.text for sound in sounds()]
CLOCK = re.compile(r"(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)")


def spoken():
    """The three sounds, a pause before and behind each, at 16 kHz."""
    pause = np.zeros(round(16_000 * PAUSE_S), np.float32)
    return np.concatenate([*(part for sound in sounds() for part in (pause, sound.audio)), pause])


def at_48_khz(audio):
    places = np.arange(3 * len(audio)) / 3
    return np.interp(places, np.arange(len(audio)), audio).astype(np.float32)


@pytest.fixture(scope="module")
def subtitles():
    """Subtitles of a recording: from and to, in seconds, and the text."""
    transcriber = Transcriber(TorchEngine(taught_model()), "sv")

    def made(recording):
        text = content(transcriber.transcribe(recording, words=True), "srt")
        blocks = [block.split("\n", 2) for block in text.strip().split("\n\n")]
        return [(*seconds(clock), " ".join(words.split())) for _, clock, words in blocks]

    return made


def seconds(clock):
    match = CLOCK.fullmatch(clock)
    assert match is not None
    h, m, s, ms, *end = map(int, match.groups())
    return h * 3600 + m * 60 + s + ms / 1000, end[0] * 3600 + end[1] * 60 + end[2] + end[3] / 1000


@dataclass(frozen=True)
class Film:
    """How a film is made of the recording, and by how much that moves each of the three sounds."""

    container: str
    codec: str
    shifts_s: tuple[float, float, float]
    at_s: float = 0.0
    moved: Any = None
    picture_at_s: float = 0.0
    options: dict[str, str] = field(default_factory=dict)

    def bytes(self):
        moved = {"moved": self.moved} if self.moved else {}
        track = Track(sound=at_48_khz(spoken()), at_s=self.at_s, **moved)
        more = {"picture_s": 22.0, "picture_at_s": self.picture_at_s, **self.options}
        return film(self.container, track, codec=self.codec, **more)


CUT = {"avoid_negative_ts": "disabled"}  # what lies before 0 is left in the file, and cut by its edit list
FILMS = {
    "late, Matroska": Film("matroska", "libopus", (2.5,) * 3, at_s=2.5),
    "late by an empty edit, MP4": Film("mp4", "aac", (2.5,) * 3, at_s=2.5),
    "late behind a late picture, MOV": Film("mov", "aac", (3.0,) * 3, at_s=4.0, picture_at_s=1.0),
    "cut by an edit list, MP4": Film("mp4", "aac", (-2.2,) * 3, at_s=-2.2, options=CUT),
    "picture cut by an edit list, MP4": Film("mp4", "aac", (0.0,) * 3, picture_at_s=-2.0, options=CUT),
    "a gap, Matroska": Film(
        "matroska", "libopus", (0.0, 4.0, 4.0), moved=lambda stamp_s: stamp_s + (4 if stamp_s > 5 else 0)
    ),
    "a gap, transport stream": Film(
        "mpegts", "mp2", (0.0, 4.0, 4.0), moved=lambda stamp_s: stamp_s + (4 if stamp_s > 5 else 0)
    ),
    "late, and packets lost in a pause, MP4": Film(
        "mp4",
        "aac",
        (2.0,) * 3,
        at_s=2.0,
        moved=lambda stamp_s: None if 6.6 < stamp_s < 7.6 else stamp_s,
    ),
}


@pytest.mark.parametrize("name", FILMS)
def test_subtitles_of_a_film_are_those_of_its_sound_alone_moved_to_where_the_picture_has_it(subtitles, name):
    plain, made = subtitles(spoken()), FILMS[name]
    assert [text for *_, text in plain] == TEXTS
    wanted = [
        (pytest.approx(start + move, abs=0.1), pytest.approx(end + move, abs=0.1), text)
        for (start, end, text), move in zip(plain, made.shifts_s, strict=True)
    ]
    assert subtitles(made.bytes()) == wanted


def test_a_short_word_in_minutes_of_a_quiet_room_is_shown_when_it_is_said(subtitles):
    noise = np.random.default_rng(0).normal(0, 0.0006, 16_000 * 120)  # -64 dBFS: a little above silence
    room = noise.astype(np.float32)
    at_s = [20.0, 63.0, 100.0]
    for second in at_s:
        word = sounds()[0].audio[: round(16_000 * 0.35)]  # less than a hundredth of the minute around it
        room[round(16_000 * second) :][: len(word)] += word
    shown = subtitles(room)
    margin_s = 0.25  # this model's attention was taught nothing of time
    assert [start for start, *_ in shown] == [pytest.approx(second, abs=margin_s) for second in at_s]
