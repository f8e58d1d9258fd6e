"""Small recordings and corpora, made when a test asks for them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pyarrow

from dagsverk.speech.audio.waveform import encode_wav

COLUMNS = ("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age",
           "gender", "accents", "variant", "locale", "segment")  # fmt: skip
RELEASE = "cv-corpus-21.0-2025-03-14/sv-SE"


def tone(seconds: float, rate_hz: int = 16_000, pitch_hz: float = 220.0, level: float = 0.3) -> np.ndarray:
    """A tone, float32, shape (samples,)."""
    return (level * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype("f4")


def encode(
    channels: list[np.ndarray],
    rate_hz: int,
    container: str,
    codec: str,
    *,
    picture: bool = False,
    **options: str,
) -> bytes:
    """Encoded audio of one or two channels, with a moving picture if wanted."""
    layout = "mono" if len(channels) == 1 else "stereo"
    target = io.BytesIO()
    with av.open(target, "w", format=container, options=options) as file:
        film = file.add_stream("mpeg4", rate=25) if picture else None
        if film:
            film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        sound = file.add_stream(codec, rate=rate_hz, layout=layout)
        sound.codec_context.open()
        frame = av.AudioFrame.from_ndarray(np.stack(channels).astype("f4"), format="fltp", layout=layout)
        frame.sample_rate = rate_hz
        size = sound.codec_context.frame_size or 1024
        fitting = av.AudioResampler(sound.codec_context.format, layout, rate_hz, size)
        for part in [*fitting.resample(frame), *fitting.resample(None)]:
            file.mux(sound.encode(part))
        file.mux(sound.encode(None))
        if film:
            for _ in range(25):
                file.mux(film.encode(av.VideoFrame(32, 32, "yuv420p")))
            file.mux(film.encode(None))
    return target.getvalue()


def wav(seconds: float = 0.5, pitch_hz: float = 220.0) -> bytes:
    return encode_wav(tone(seconds, pitch_hz=pitch_hz))


def mp3(seconds: float = 0.5, pitch_hz: float = 220.0) -> bytes:
    return encode([tone(seconds, 48_000, pitch_hz)], 48_000, "mp3", "libmp3lame")


def row(speaker: str, number: int, sentence: str = "", **more: str) -> dict[str, str]:
    """A row of a table of Common Voice."""
    told = {"client_id": speaker, "path": f"common_voice_sv-SE_{number}.mp3", "locale": "sv-SE"}
    return {**told, "sentence": sentence or f"Mening nummer {number}.", **more}


def table(rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> bytes:
    lines = ["\t".join(columns), *("\t".join(one.get(name, "") for name in columns) for one in rows)]
    return ("\n".join(lines) + "\n").encode()


def release(splits: dict[str, list[dict[str, str]]], folder: str = RELEASE) -> dict[str, bytes]:
    """path -> content of a release with these rows; each clip is a recording of its own pitch."""
    files = {f"{folder}/{split}.tsv": table(rows) for split, rows in splits.items()}
    names = sorted({one["path"] for rows in splits.values() for one in rows})
    clips = {name: mp3(0.3, 200 + 10 * number) for number, name in enumerate(names)}
    lengths = "\n".join(["clip\tduration[ms]", *(f"{name}\t300" for name in names)])
    return {
        **files,
        f"{folder}/clip_durations.tsv": lengths.encode(),
        **{f"{folder}/clips/{name}": content for name, content in clips.items()},
    }


def small_release() -> dict[str, bytes]:
    """Six clips of train, two of dev, two of test; ten speakers."""
    return release(
        {
            "train": [row(f"a{i}", i, gender="male_masculine", age="twenties") for i in range(6)],
            "dev": [row(f"b{i}", 10 + i, gender="female_feminine") for i in range(2)],
            "test": [row(f"c{i}", 20 + i, accents="Skåne") for i in range(2)],
        }
    )


def lay_out(files: dict[str, bytes], folder: Path) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def pack(files: dict[str, bytes], archive: Path, links: dict[str, str] | None = None) -> Path:
    """A tar (plain, .gz, .bz2, .xz or .zst) or a .zip, by its name; `links` are symbolic links in it."""
    if archive.name.endswith("zip"):
        return pack_zip(files, archive, links)
    kind = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "xz": "xz"}.get(archive.name.rpartition(".")[2], "")
    with tarfile.open(archive, f"w:{kind}") as file:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for path, to in (links or {}).items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname = tarfile.SYMTYPE, to
            file.addfile(member)
    if archive.name.endswith("zst"):
        archive.write_bytes(zstandard(archive.read_bytes()))
    return archive


def zstandard(content: bytes) -> bytes:
    target = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(target, "zstd") as file:
        file.write(content)
    return bytes(target.getvalue().to_pybytes())


def pack_zip(files: dict[str, bytes], archive: Path, links: dict[str, str] | None = None) -> Path:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in files.items():
            file.writestr(path, content)
        for path, to in (links or {}).items():
            member = zipfile.ZipInfo(path)
            member.external_attr = 0o120777 << 16
            file.writestr(member, to)
    return archive


def json_lines(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows).encode()
