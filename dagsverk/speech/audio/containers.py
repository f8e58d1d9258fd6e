"""A sound or video file of any kind, opened by FFmpeg within limits.

FFmpeg reads what strangers send. It may use the given bytes only, of the formats and codecs named here; what
the file says of itself is checked before memory is taken for it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
import av.error
import av.logging

from dagsverk.speech.audio.local_files import open_file
from dagsverk.speech.audio.structure import Structure
from dagsverk.speech.audio.views import View
from dagsverk.speech.errors import AudioError

MIN_RATE_HZ, MAX_RATE_HZ = (
    1_000,
    384_000,
)  # outside, no sound was ever recorded; 1 Hz would take 16,000 times the memory
MAX_CHANNELS = 32
MAX_STREAMS = 32
NO_MEMORY = "it wants more memory than a recording is given"

# Demuxers for sound and video. Playlists and subtitles are left out: they name other files, or are text.
FORMATS = (
    "aac,aiff,alaw,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,eac3,ac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpc,mpc8,mpeg,mpegts,nut,ogg,rm,tta,voc,w64,wav,wv"
)
# Decoders of sound. Those of pictures and subtitles are left out: they would run to look a film over.
_CODECS = (
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
    "codec_whitelist": _CODECS,
    "protocol_whitelist": "none",  # nothing but the given bytes is read
    "max_streams": str(MAX_STREAMS),
    "max_probe_packets": "1",  # else 30 ms go by for each stereo WAV file, looking for DTS in it
}

CODECS = frozenset(_CODECS.split(","))
Source: TypeAlias = bytes | Path | BinaryIO

av.logging.set_level(None)  # FFmpeg would tell stderr about every odd header


@contextmanager
def every_fault_an_audio_error() -> Iterator[None]:
    """A damaged file makes PyAV raise nearly anything: ValueError, OSError, OverflowError, MemoryError ..."""
    try:
        yield
    except AudioError:
        raise
    except Exception as error:
        raise AudioError("undecodable", cause_of(error)) from error


def open_bytes(source: Source) -> BinaryIO:
    """FFmpeg sees no name: a text called .mp3 is not taken for one."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return open_file(source) if isinstance(source, Path) else source


def open_container(file: BinaryIO, size: int, structure: Structure) -> Any:
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
    raise AudioError(
        "not audio", f"no sound or video format that FFmpeg knows ({cause_of(cause)})"
    ) from cause


def check_form(rate_hz: int, channels: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        wanted = f"want {MIN_RATE_HZ:,} to {MAX_RATE_HZ:,} samples per second"
        raise AudioError("undecodable", f"{wanted}, found {rate_hz:,}")
    if channels > MAX_CHANNELS:
        raise AudioError("undecodable", f"want at most {MAX_CHANNELS} channels, found {channels:,}")


def stated_s(container: Any, stream: Any) -> float | None:
    """The length that the file states, where it is no guess."""
    if container.format.name not in STATES_ITS_LENGTH:
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1  # a film's picture may be longer than its sound
    return container.duration / av.time_base if container.duration and alone else None


def cause_of(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return NO_MEMORY
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
