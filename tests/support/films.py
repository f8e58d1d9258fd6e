"""Films whose packets of picture and sound have the time stamps that a test wants."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import av
import numpy as np
from speech_clips import tone


@dataclass(frozen=True, kw_only=True)
class Track:
    """One track of sound."""

    sound: np.ndarray = field(default_factory=lambda: tone(3.0, 48_000))  # mono, or (channels, samples)
    at_s: float = 0.0  # of its first stamp
    moved: Callable[[float], float | None] = lambda stamp_s: (
        stamp_s
    )  # each stamp; None: the packet is left out
    language: str = ""
    title: str = ""
    marks: tuple[str, ...] = ()  # such as "comment"


def film(
    container: str,
    *tracks: Track,
    codec: str = "libopus",
    picture_s: float = 0.0,
    picture_at_s: float = 0.0,
    cover: bool = False,
    **options: str,
) -> bytes:
    """A film of tracks at 48 kHz; with a moving picture of so many seconds, or a cover."""
    target = io.BytesIO()
    with av.open(target, "w", format=container, options=options) as file:
        packets = _picture(file, picture_s, picture_at_s, cover) if picture_s or cover else []
        streams = [file.add_stream(codec, rate=48_000, layout=_layout(track)) for track in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            stream.metadata.update({"language": track.language} if track.language else {})
            stream.metadata.update({"title": track.title} if track.title else {})
            for mark in track.marks:
                stream.disposition = type(stream.disposition)[mark]
            packets += _packets(stream, track)
        file.mux(sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)))
    return target.getvalue()


def _layout(track: Track) -> str:
    return "mono" if track.sound.ndim == 1 else {2: "stereo", 6: "5.1"}[len(track.sound)]


def _packets(stream, track: Track) -> list:
    stream.codec_context.open()
    layout = _layout(track)
    frame = av.AudioFrame.from_ndarray(np.atleast_2d(track.sound).astype("f4"), format="fltp", layout=layout)
    frame.sample_rate, frame.pts = 48_000, 0
    fitting = av.AudioResampler(
        stream.codec_context.format, layout, 48_000, stream.codec_context.frame_size or 1024
    )
    packets = []
    for part in [*fitting.resample(frame), *fitting.resample(None)]:
        packets += stream.encode(part)
    return [one for packet in [*packets, *stream.encode(None)] if (one := _moved(packet, track)) is not None]


def _moved(packet, track: Track):
    stamp_s = track.moved(track.at_s + float(packet.pts * packet.time_base))
    if stamp_s is None:
        return None
    packet.pts = packet.dts = round(stamp_s / packet.time_base)
    return packet


def _picture(file, seconds: float, at_s: float, cover: bool) -> list:
    codec = {"mpegts": "mpeg2video", "flv": "flv"}.get(file.format.name, "mpeg4")
    stream = file.add_stream("mjpeg" if cover else codec, rate=25)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuvj420p" if cover else "yuv420p"
    if cover:
        stream.disposition = type(stream.disposition)["attached_pic"]
    packets = []
    for number in range(1 if cover else round(25 * seconds)):
        frame = av.VideoFrame(32, 32, stream.pix_fmt)
        frame.pts = number
        packets += stream.encode(frame)
    packets += stream.encode(None)
    for packet in packets:
        packet.pts = packet.dts = packet.pts + round(at_s / packet.time_base)
    return packets
