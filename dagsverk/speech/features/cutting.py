"""Parts of long recordings: each recording is decoded once, whole, and its clips are cut out of it.

Whole, for what is heard of it (track, channels) must not depend on which of its parts are wanted together.
What counts is that a part is all there: damage behind it, or a missing end, costs only the parts that it
touches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from dagsverk.speech.audio import sandbox
from dagsverk.speech.audio.samples import RATE_HZ, Audio, SamplesFile
from dagsverk.speech.audio.structure import MISSING_S
from dagsverk.speech.corpora.corpus import Clip, RejectedClip
from dagsverk.speech.corpora.parts import Part, part_of
from dagsverk.speech.errors import AudioError

LONGEST_RECORDING_S = 3 * 3600.0  # 691 MB of samples, on disk while its parts are cut

Read: TypeAlias = bytes | RejectedClip
Cut: TypeAlias = bytes | Audio | RejectedClip


def cut(clips: Iterable[tuple[Clip, Read]], max_s: float) -> Iterator[tuple[Clip, Cut]]:
    """Clips as a corpus reads them; those that are parts with their samples.

    Args: max_s: of a clip; longer ones are rejected without being brought into memory.
    """
    recording: _Recording | None = None
    try:
        for clip, content in clips:
            part = part_of(clip.audio)
            if part is None or isinstance(content, RejectedClip):
                yield clip, content
                continue
            if recording is None or recording.content is not content:
                if recording is not None:
                    recording.close()
                recording = _Recording(content, clip.language)
            try:
                yield clip, recording.part(part, max_s)
            except AudioError as error:
                yield clip, RejectedClip(clip=clip.id, reason=error.reason, detail=error.detail)
    finally:
        if recording is not None:
            recording.close()


class _Recording:
    """A recording as far as it can be decoded."""

    def __init__(self, content: bytes, language: str) -> None:
        self.content = content
        self._faults: list[str] = []
        self._error: AudioError | None = None
        self._samples: SamplesFile | None = None
        try:
            self._samples = sandbox.CLIPS.open(
                content, max_s=LONGEST_RECORDING_S, language=language, faults=self._faults
            )
        except AudioError as error:
            self._error = error

    def part(self, part: Part, max_s: float) -> Audio:
        """Raises AudioError: the recording's own; "too long"; "beyond the end"; "undecodable", of a part that
        is not all there."""
        if self._samples is None:
            raise self._error or AudioError("undecodable", "it has no samples")
        length_s = self._samples.samples / RATE_HZ
        end_s = min(part.end_s, length_s)
        to = "its end" if math.isinf(part.end_s) else f"{part.end_s:.2f} s"
        if self._faults and part.end_s > length_s:
            raise AudioError("undecodable", f"{self._faults[0]}; what can be read ends at {length_s:.2f} s")
        if part.start_s >= length_s or MISSING_S < part.end_s - length_s < math.inf:
            where = f"it is from {part.start_s:.2f} s to {to} of a recording of {length_s:.2f} s"
            raise AudioError("beyond the end", where)
        if end_s - part.start_s > max_s:
            raise AudioError("too long", f"want at most {max_s:g} s, found {end_s - part.start_s:.2f} s")
        return self._samples.part(round(part.start_s * RATE_HZ), round(end_s * RATE_HZ))

    def close(self) -> None:
        if self._samples is not None:
            self._samples.close()
