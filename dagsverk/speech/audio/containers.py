"""A sound or video file of any kind -> its samples as they are stored, mono, many at a time.

FFmpeg reads what strangers send. It may use the given bytes only, of the formats and codecs named here; what
the file says of itself is checked before memory is taken for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
import av.error
import av.logging
import numpy as np
from numpy.typing import NDArray

from dagsverk.speech.audio import pages, wholeness
from dagsverk.speech.audio.local_files import open_file
from dagsverk.speech.audio.structure import TAGS, Structure
from dagsverk.speech.audio.views import View
from dagsverk.speech.errors import AudioError

MIN_RATE_HZ, MAX_RATE_HZ = (
    1_000,
    384_000,
)  # outside, no sound was ever recorded; 1 Hz would take 16,000 times the memory
MAX_CHANNELS = 32
MAX_STREAMS = 32
NO_MEMORY = "it wants more memory than a recording is given"
LOUDEST = 100.0  # 40 dB above full scale is no sound, but damage in a file of floats
PART_SAMPLES = 1 << 18  # of all channels, at the file's own rate, joined before they are resampled

# Demuxers for sound and video. Playlists and subtitles are left out: they name other files, or are text.
FORMATS = (
    "aac,aiff,alaw,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,eac3,ac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,rm,tta,voc,w64,wav,wv"
)
# Decoders of sound. Those of pictures and subtitles are left out: they would run to look a film over.
CODECS = (
    "aac,aac_fixed,aac_latm,ac3,ac3_fixed,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,alac,amrnb,"
    "amrwb,ape,cook,dca,dsd_lsbf,dsd_lsbf_planar,dsd_msbf,dsd_msbf_planar,eac3,flac,g722,g723_1,g726,g726le,g729,"
    "gsm,gsm_ms,mlp,mp1,mp1float,mp2,mp2float,mp3,mp3float,mpc7,mpc8,nellymoser,opus,pcm_alaw,pcm_bluray,pcm_dvd,"
    "pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16be_planar,pcm_s16le,"
    "pcm_s16le_planar,pcm_s24be,pcm_s24le,pcm_s24le_planar,pcm_s32be,pcm_s32le,pcm_s32le_planar,pcm_s64be,"
    "pcm_s64le,pcm_s8,pcm_s8_planar,pcm_u16be,pcm_u16le,pcm_u24be,pcm_u24le,pcm_u32be,pcm_u32le,pcm_u8,real_144,"
    "real_288,sipr,speex,truehd,truespeech,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)
STATES_ITS_LENGTH = (
    "flac",
    "ogg",
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "tta",
    "wv",
    "ape",
    "dsf",
)  # others guess it from the bit rate
OPTIONS = {
    "format_whitelist": FORMATS,
    "codec_whitelist": CODECS,
    "protocol_whitelist": "none",  # nothing but the given bytes is read
    "max_streams": str(MAX_STREAMS),
    "max_probe_packets": "1",  # else 30 ms go by for each stereo WAV file, looking for DTS in it
}

Audio: TypeAlias = NDArray[np.float32]
Source: TypeAlias = bytes | Path | BinaryIO

av.logging.set_level(None)  # FFmpeg would tell stderr about every odd header


def parts(source: Source, max_s: float | None = None) -> Iterator[tuple[int, Audio]]:
    """(sample rate in Hz, mono float32 samples), many frames at a time.

    Args: max_s: a file that states more than this is refused before it is decoded.
    Raises: AudioError, and whatever PyAV does; see `every_fault_an_audio_error`.
    """
    with closing(_open_bytes(source)) as file:
        size = file.seek(0, io.SEEK_END)
        if not size:
            raise AudioError("empty file", "0 bytes")
        structure = wholeness.look(file)
        with _open_container(file, size, structure) as container:
            stream = _sound_of(container, structure.codec)
            stated_s = _stated_s(container, stream)
            if max_s is not None and stated_s is not None and stated_s > max_s:
                raise AudioError("too long", f"want at most {max_s:g} s of audio, found {stated_s:,.0f} s")
            seconds = 0.0
            for frame in _gathered(_frames(container, stream)):
                rate = frame.sample_rate
                seconds += frame.samples / rate
                yield rate, _mean_of_channels(frame)
        wholeness.check_length(structure, seconds, stated_s)


@contextmanager
def every_fault_an_audio_error() -> Iterator[None]:
    """A damaged file makes PyAV raise nearly anything: ValueError, OSError, OverflowError, MemoryError ..."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        raise AudioError("undecodable", _cause(error)) from error


def _open_bytes(source: Source) -> BinaryIO:
    """FFmpeg sees no name: a text called .mp3 is not taken for one."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return open_file(source) if isinstance(source, Path) else source


def _open_container(file: BinaryIO, size: int, structure: Structure) -> Any:
    """Opened as it is; if FFmpeg does not take it so, without a tag before it or chunks beside the sound."""
    begin, end = structure.begin, size if structure.end is None else structure.begin + structure.end
    views: list[Any] = [file if end == size else View(file, 0, end)]
    if structure.plain:
        head, start = structure.plain
        views.append(View(file, begin + start, end, head))
    elif begin:
        views.append(View(file, begin, end))
    file.seek(0)
    for view in views:
        try:
            return av.open(view, mode="r", options=OPTIONS, metadata_errors="ignore")
        except (av.error.FFmpegError, ValueError) as error:
            cause = error
    if structure.lacks_share:  # some keep what FFmpeg needs at their end
        share = f"{structure.lacks_share:.0%} of the bytes that it states are missing"
        raise AudioError("undecodable", f"cut short: {share}") from cause
    raise AudioError("not audio", f"no sound or video format that FFmpeg knows ({_cause(cause)})") from cause


def _sound_of(container: Any, code: str) -> Any:
    """The stream of sound that is decoded."""
    stream = container.streams.best("audio") or next(iter(container.streams.audio), None)
    if stream is None:
        raise AudioError("not audio", f"a {container.format.long_name} file without an audio stream")
    context = stream.codec_context
    if context is None or not context.codec.name or context.codec.name not in CODECS.split(","):
        name = context.codec.name if context is not None else code
        where = f"in this {container.format.name.split(',')[0].upper()} file"
        what = f"no decoder for the codec{' ' * bool(name)}{name} {where}"
        raise AudioError("unknown codec", f"{what}: convert it to WAV, FLAC or MP3")
    _check_form(context.sample_rate or MIN_RATE_HZ, context.layout.nb_channels)  # 0 Hz: the first frame says
    stream.thread_type = "NONE"
    return stream


def _check_form(rate_hz: int, channels: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        wanted = f"want {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} samples per second"
        raise AudioError("undecodable", f"{wanted}, found {rate_hz:,}")
    if channels > MAX_CHANNELS:
        raise AudioError("undecodable", f"want at most {MAX_CHANNELS} channels, found {channels:,}")


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames. Only the last packet may be damaged: encoders that are stopped leave half of one."""
    damage: Exception | None = None
    has_sound, last = False, None
    for packet in _packets(container, stream):
        if damage and packet.size:
            raise AudioError("undecodable", f"damaged inside ({_cause(damage)})") from damage
        last = packet if packet.size else last
        try:
            for frame in packet.decode():
                _check_form(frame.sample_rate, frame.layout.nb_channels)
                has_sound = True
                yield frame
        except av.error.FFmpegError as error:
            if not bytes(packet).startswith(TAGS):  # of a file that was joined to another
                damage = error
    if not has_sound:
        raise AudioError("undecodable", f"no sound in it ({_cause(damage) if damage else 'no frame'})")
    if last is not None and not pages.last_frame_is_whole(container.format.name, bytes(last)):
        raise AudioError("undecodable", "cut short: it ends inside a frame")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    with suppress(av.error.BlockingIOError):  # some formats say so where nothing but zeros follows
        yield from container.demux(stream)


def _gathered(frames: Iterable[Any]) -> Iterator[Any]:
    """Frames joined into large ones: what is done to each costs more than its samples do."""
    queue = av.AudioFifo()
    for frame in frames:
        frame.pts = None  # gaps in the time stamps are no gaps in the sound
        try:
            queue.write(frame)
        except ValueError:  # of another rate, layout or format: a chained Ogg file
            if queue.samples:
                yield queue.read()
            queue = av.AudioFifo()
            queue.write(frame)
        if queue.samples * frame.layout.nb_channels >= PART_SAMPLES:
            yield queue.read()
    if queue.samples:
        yield queue.read()


def _mean_of_channels(frame: Any) -> Audio:
    raw = frame.to_ndarray()  # planar: (channels, samples); packed: (1, samples * channels)
    channels = raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T
    offset, full = _zero_and_full_scale(raw.dtype)
    mono = channels[0].astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # seen below
        for channel in channels[1:]:  # several times as fast as mean(axis=0) over interleaved samples
            mono += channel
        mono = (mono / np.float32(len(channels)) - offset) / full
    if not np.abs(mono).max(initial=0) <= LOUDEST:  # NaN is not, either
        raise AudioError("undecodable", "some samples are no numbers, or far beyond full scale")
    return np.asarray(mono, np.float32)


def _zero_and_full_scale(kind: np.dtype[Any]) -> tuple[np.float32, np.float32]:
    if kind.kind == "f":
        return np.float32(0), np.float32(1)
    full = np.float32(1 << (8 * kind.itemsize - 1))
    return (full if kind.kind == "u" else np.float32(0)), full


def _stated_s(container: Any, stream: Any) -> float | None:
    """The length that the file states, where it is no guess."""
    if container.format.name not in STATES_ITS_LENGTH:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1  # a film's picture may be longer than its sound
    return container.duration / av.time_base if container.duration and alone else None


def _cause(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return NO_MEMORY
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
