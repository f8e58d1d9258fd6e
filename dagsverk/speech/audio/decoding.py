"""A sound or video file of any kind -> its samples, mono, many at a time; silence where stamps have gaps.

Which track is heard, and how several channels become one, may only be known at the end: the file is then
decoded once more.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, TypeAlias

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from dagsverk.speech.audio import pages, tracks, wholeness
from dagsverk.speech.audio.channels import DIFFERENCE, MEAN, SOUND_DBFS, Loudness
from dagsverk.speech.audio.containers import (
    CODECS,
    MIN_RATE_HZ,
    cause_of,
    check_form,
    open_container,
    stated_s,
)
from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.audio.structure import MISSING_S, TAGS
from dagsverk.speech.audio.timeline import STAMPED, Timeline
from dagsverk.speech.errors import AudioError

LOUDEST = 100.0  # 40 dB above full scale is no sound, but damage in a file of floats
PART_SAMPLES = 1 << 18  # of all channels, at the file's own rate, joined before they are made one
MONO_PART_SAMPLES = 1 << 15  # of one channel, before they are resampled: what stays in the processor's cache
FLOATS = ("flt", "fltp")  # of 32 bits, as FFmpeg calls them
LONGEST_SILENCE_S = 2 * 3600.0  # before or between sound, where no longest length is asked for

Part: TypeAlias = tuple[
    int, Any
]  # sample rate in Hz; mono samples, or FFmpeg's frame of one channel of floats


class Recording:
    """A file that is decoded as often as it takes to choose what is heard of it.

    Args:
        max_s: a file that states more than this is refused before it is decoded.
        tags: how the language asked for is tagged in files; empty: any.
        partly: decode what is there of a file that was cut short, before that is raised.
    Raises: AudioError, and whatever PyAV does; see `every_fault_an_audio_error`.
    """

    def __init__(
        self,
        file: BinaryIO,
        max_s: float | None = None,
        tags: Collection[str] = (),
        *,
        partly: bool = False,
    ) -> None:
        self._file, self._size = file, file.seek(0, io.SEEK_END)
        if not self._size:
            raise AudioError("empty file", "0 bytes")
        self.max_s, self.tags = max_s, tags
        self.structure = wholeness.look(file, partly=partly)
        self.origin_s: float | None = None  # where a film starts, on the clock of its stamps
        self.notes: list[str] = []
        self._is_new = True

    def attempts(self) -> Iterator[Iterator[Part]]:
        """The sound, from its beginning each time. The last one counts; each is to be taken to its end."""
        best = last = self._attempt(0, MEAN)
        yield last.parts()
        for place in range(1, min(best.decoded_tracks, tracks.MOST_TRACKS)):
            if best.loudness.loudest_dbfs >= SOUND_DBFS:
                break
            last = self._attempt(place, MEAN)
            yield last.parts()
            best = max(best, last, key=lambda one: one.loudness.loudest_dbfs)
        way = best.loudness.choice()
        if best is not last or way != MEAN:
            best = self._attempt(best.place, way)
            yield best.parts()
        self.notes = best.notes()

    def _attempt(self, place: int, way: int) -> _Attempt:
        container = self._opened()
        try:
            if self._is_new and len(tracks.of_film(container)) > 1:
                with container:
                    self.origin_s = tracks.film_starts_s(container)
                container = self._opened()
            self._is_new = False
            return _Attempt(container, self, place, way)
        except BaseException:
            container.close()
            raise

    def _opened(self) -> Any:
        return open_container(self._file, self._size, self.structure)


class _Attempt:
    """One track, decoded once, its channels made one in one way."""

    def __init__(self, container: Any, recording: Recording, place: int, way: int) -> None:
        ranked = tracks.ranked(container, CODECS, recording.tags)
        if not ranked:
            raise _why_none(container, recording.structure.codec)
        self.place, self.decoded_tracks, self.loudness = place, len(ranked), Loudness()
        self._container, self._recording, self._way, self._channels = container, recording, way, 0
        self._structure, self._max_s = recording.structure, recording.max_s
        self._stream = stream = ranked[min(place, len(ranked) - 1)]
        context = stream.codec_context
        rate_hz = context.sample_rate or MIN_RATE_HZ  # 0: the first frame says
        check_form(rate_hz, context.layout.nb_channels)
        stream.thread_type = "NONE"
        self._stated_s = stated_s(container, stream)
        indices = [one.index for one in container.streams.audio]  # all is asked while the container is open
        self._number, self._count = 1 + indices.index(stream.index), len(indices)
        self._is_asked_for = tracks.is_in(stream, recording.tags)
        self._format = container.format.name.split(",")[0]
        self._is_stamped = self._format in STAMPED
        self._timeline = Timeline(
            recording.origin_s,
            may_jump=bool(container.format.flags & av.format.Flags.ts_discont.value),
        )

    @property
    def _stated(self) -> float | None:
        stated = self._structure.stated_s
        return self._stated_s if stated is None else stated

    def parts(self) -> Iterator[Part]:
        """The sound, from the start of the film. Raises AudioError."""
        if self._max_s is not None and self._stated is not None and self._stated > self._max_s:
            raise AudioError(
                "too long", f"want at most {self._max_s:g} s of audio, found {self._stated:,.0f} s"
            )
        with self._container:
            for piece in self._joined():
                if isinstance(piece, float):
                    yield from self._silence(piece)
                else:
                    yield piece.sample_rate, self._mono(piece)
        timeline = self._timeline
        length_s = timeline.at_s - timeline.lead_s + (timeline.first_s if self._format == "matroska" else 0)
        wholeness.check_length(self._structure, length_s, self._stated_s)

    def _joined(self) -> Iterator[Any]:
        """Frames joined into large ones, since each costs more than its samples do; or seconds of silence."""
        queue, base_s, form = av.AudioFifo(), 0.0, None
        timeline, full = self._timeline, MONO_PART_SAMPLES
        for frame in self._frames():  # several hundred a clip: what is asked of each counts
            rate_hz = frame.sample_rate
            silence_s, length_s = 0.0, frame.samples / rate_hz
            if self._is_stamped:
                base_s = base_s or float(frame.time_base)
                stamp_s = None if frame.pts is None else frame.pts * base_s
                silence_s = timeline.silence_before(stamp_s, length_s)
            else:
                timeline.at_s += length_s
            frame.pts = None
            if silence_s:
                yield from _emptied(queue)
                yield silence_s
            before, form = form, (frame.format.name, frame.layout, rate_hz)
            if form != before:  # a file that was joined to another; the queue would read behind the frame
                yield from _emptied(queue)
                queue = av.AudioFifo()
                channels = frame.layout.nb_channels
                full = -(-PART_SAMPLES // channels) if channels > 1 else MONO_PART_SAMPLES
            queue.write(frame)
            if queue.samples >= full:
                yield queue.read()
        yield from _emptied(queue)

    def _frames(self) -> Iterator[Any]:
        """Decoded frames. Only what is behind the stated length may be damaged; or the last packet, for
        encoders that are stopped leave half of one."""
        damage: Exception | None = None
        last: Any = None
        form: tuple[int, Any] | None = None
        for packet in self._packets():
            if packet.size:
                if damage and not self._is_all_there():
                    raise AudioError("undecodable", f"damaged inside ({cause_of(damage)})") from damage
                last = packet
            try:
                for frame in packet.decode():
                    before, form = form, (frame.sample_rate, frame.layout)
                    if form != before:
                        check_form(frame.sample_rate, frame.layout.nb_channels)
                    yield frame
            except av.error.FFmpegError as error:
                if not bytes(packet).startswith(TAGS):  # of a file that was joined to another
                    damage = error
        if form is None:
            what = cause_of(damage) if damage else "no frame"
            raise AudioError("undecodable", f"no sound in it ({what})")
        if last is not None and not pages.last_frame_is_whole(self._format, bytes(last)):
            raise AudioError("undecodable", "cut short: it ends inside a frame")

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
        except av.error.BlockingIOError:  # some formats say so where nothing but zeros follows
            return
        except av.error.FFmpegError:
            if not self._is_all_there():  # else it is what stands behind the end
                raise

    def _is_all_there(self) -> bool:
        return self._stated is not None and self._timeline.at_s >= self._stated - MISSING_S

    def _silence(self, seconds: float) -> Iterator[Part]:
        longest_s = LONGEST_SILENCE_S if self._max_s is None else self._max_s
        if seconds > longest_s:
            what = (
                f"want at most {longest_s:g} s of audio, found a gap of {seconds:,.0f} s in its time stamps"
            )
            raise AudioError("too long", what)
        left = round(seconds * RATE_HZ)
        while left > 0:
            yield RATE_HZ, np.zeros(min(left, PART_SAMPLES), np.float32)
            left -= PART_SAMPLES

    def _mono(self, frame: Any) -> Any:
        """Mono samples; or the frame as it is where it is that already, for each copy costs time."""
        if frame.layout.name == "mono" and self.decoded_tracks == 1 and frame.format.name in FLOATS:
            self._channels = 1
            _check_loudest(samples_of(frame))
            return frame
        raw = frame.to_ndarray()  # planar: (channels, samples); packed: (1, samples * channels)
        channels = raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T
        offset, full = _zero_and_full_scale(raw.dtype)
        self._channels = len(channels)
        if self._way == MEAN and (self.decoded_tracks > 1 or self._channels > 1):
            self.loudness.add(channels, frame.sample_rate, float(full))
        mono = _one_of(channels, self._way, offset, full)
        if raw.dtype.kind == "f":
            _check_loudest(mono)
        return mono

    def notes(self) -> list[str]:
        """What was chosen, and what is missing, as sentences."""
        notes = []
        if self._count > 1:
            notes.append(f"Track {self._number} of {self._count} is heard: {self._why()}.")
        if self._way != MEAN:
            way = (
                "their difference"
                if self._way == DIFFERENCE
                else f"number {self._way + 1} of {self._channels}"
            )
            notes.append(f"Its channels cancel each other out in their mean: {way} is heard.")
        if self._timeline.lead_s:
            notes.append(f"Its sound begins {self._timeline.lead_s:.1f} s after the film does.")
        if gaps := self._timeline.gaps_s:
            where = "one place" if len(gaps) == 1 else f"{len(gaps):,} places"
            notes.append(
                f"By its time stamps {sum(gaps):.1f} s are missing in {where}: they count as silence."
            )
        return notes

    def _why(self) -> str:
        if self._is_asked_for:
            return "it is marked as of the language asked for"
        unmarked = "none is marked as of the language asked for, and " if self._recording.tags else ""
        if self.place:
            return f"{unmarked}those before it have no sound"
        return f"{unmarked}it is the main one"


def _why_none(container: Any, code: str) -> AudioError:
    """Why nothing of a file can be heard."""
    stream = next(iter(container.streams.audio), None)
    if stream is None:
        return AudioError("not audio", f"a {container.format.long_name} file without an audio stream")
    name = tracks.codec_of(stream) or code
    where = f"in this {container.format.name.split(',')[0].upper()} file"
    what = f"no decoder for the codec{' ' * bool(name)}{name} {where}"
    return AudioError("unknown codec", f"{what}: convert it to WAV, FLAC or MP3")


def _emptied(queue: Any) -> Iterator[Any]:
    if queue.samples:
        yield queue.read()


def samples_of(frame: Any) -> Audio:
    """The samples of a frame of one channel of floats: no copy, so they live as long as it does."""
    return np.frombuffer(frame.planes[0], np.float32, frame.samples)


def _one_of(channels: NDArray[Any], way: int, offset: np.float32, full: np.float32) -> Audio:
    """One channel of all. The mean where there are fewer than the way was chosen for."""
    mono: Audio = channels[way if 0 <= way < len(channels) else 0].astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # seen by `_check_loudest`
        if way == DIFFERENCE and len(channels) == 2:
            mono -= channels[1]
            mono /= np.float32(2)
            mono += offset
        elif way < 0 and len(channels) > 1:
            for channel in channels[1:]:  # several times as fast as mean(axis=0) over interleaved samples
                mono += channel
            mono /= np.float32(len(channels))
        if offset:
            mono -= offset
        if full != 1:
            mono *= np.float32(1) / full  # a power of two: exact
    return mono


def _check_loudest(mono: Audio) -> None:
    if not (mono.max(initial=0) <= LOUDEST and mono.min(initial=0) >= -LOUDEST):  # NaN is not, either
        raise AudioError("undecodable", "some samples are no numbers, or far beyond full scale")


def _zero_and_full_scale(kind: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    if kind.kind == "f":
        return np.float32(0), np.float32(1)
    full = np.float32(1 << (8 * kind.itemsize - 1))
    return (full if kind.kind == "u" else np.float32(0)), full
