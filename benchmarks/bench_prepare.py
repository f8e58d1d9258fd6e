"""Preparation against the usual recipe and against the floor, on one core; all processes counted.

Run from the root: python benchmarks/bench_prepare.py [--clips 300] [--mean-s 3.96] [--formats all]

"recipe" is what the public fine-tuning examples do: `dataset.map(prepare_dataset)` with
`WhisperFeatureExtractor`, which pads every clip to 30 s and keeps float32. The decoder of `datasets` needs
torchcodec, so the recipe decodes through PyAV: the same FFmpeg, and FFmpeg's resampler, as torchcodec uses.

"floor" is the least that any preparation has to do with the same libraries: FFmpeg decodes the file
("decode") and resamples it to mono at 16 kHz ("and resample"), all frames at once where that is cheaper than
one by one; nothing is checked, transformed or written. "frame by frame" is the usual way to do the same.

The clips have the lengths of Common Voice 11 (lognormal, mean of sv-SE 3.96 s, it 5.36 s, sigma 0.35): speech
of espeak-ng with noise 35 dB below it (pure synthetic speech would compress too well), cut or repeated. MP3
has 48 kbit/s, as theirs. All sides run on one core, get the same clips, and write to the same disk.
"prepare" is all of ours: plan, shards, manifest; its decoder's process is counted, but for its start.
Of three rounds, in which the sides take turns, the best is shown.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # one core is compared with one core

import av
import datasets
import numpy as np
import psutil
import torch
from transformers import WhisperFeatureExtractor

from dagsverk import threads
from dagsverk.speech.audio import sandbox, waveform
from dagsverk.speech.config import PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip
from dagsverk.speech.corpora.spoken import SpokenCorpus
from dagsverk.speech.features import log_mel, preparation
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.speech.model.tokens import build_byte_tokenizer
from dagsverk.store import open_store

RATE_HZ = 16_000
MP3_BITS_PER_S = 48_000
SIGMA = 0.35  # of the lengths' logarithm: nine in ten clips between 2.1 and 6.6 s
NOISE_DB = -35.0
QUICKLY = {"max_probe_packets": "1"}  # else FFmpeg looks 20 ms for DTS in each stereo WAV file


@dataclass
class Recorded:
    """A corpus in memory, so that neither side is charged for reading files."""

    clips: Sequence[Clip]
    encoded: Sequence[bytes]
    fingerprint: str
    name: str = "bench"
    sequential: bool = False

    def listing(self) -> Listing:
        return Listing(clips=self.clips, rejected=[], fingerprint=self.fingerprint)

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        at = {clip.id: i for i, clip in enumerate(self.clips)}
        return ((clip, self.encoded[at[clip.id]]) for clip in clips)


def record(count: int, mean_s: float, seed: int, encode: Callable[[np.ndarray], bytes]) -> Recorded:
    """Clips as Common Voice has them; the last two are dev and test."""
    chance = np.random.default_rng(seed)
    spoken = SpokenCorpus("sv", train_clips=200, dev_clips=1, test_clips=1, seed=seed)
    sentences = [
        waveform.read_samples(sound)
        for _, sound in spoken.read(spoken.listing().clips)
        if isinstance(sound, bytes)
    ]
    lengths_s = np.clip(chance.lognormal(np.log(mean_s) - SIGMA**2 / 2, SIGMA, count), 1, 15)
    encoded = []
    for i, seconds in enumerate(lengths_s):
        speech = np.resize(
            np.concatenate([sentences[i % len(sentences)], sentences[(i + 1) % len(sentences)]]),
            round(seconds * RATE_HZ),
        )
        noise = chance.standard_normal(len(speech)) * speech.std() * 10 ** (NOISE_DB / 20)
        encoded.append(encode((speech + noise).astype(np.float32)))
    splits = {count - 2: "dev", count - 1: "test"}
    rows = [{"id": f"{i}", "audio": f"{i}.mp3", "split": splits.get(i, "train")} for i in range(count)]
    clips = [Clip(text=f"Det här är klipp {row['id']}.", language="sv", **row) for row in rows]  # type: ignore[arg-type]
    return Recorded(clips, encoded, hashlib.sha256(b"".join(encoded)).hexdigest())


@dataclass(frozen=True)
class Format:
    """How clips are stored."""

    container: str
    codec: str
    rate_hz: int
    channels: int = 1
    bits_per_s: int | None = None
    sample_format: str = "s16"

    def encode(self, samples: np.ndarray) -> bytes:
        """Mono at 16 kHz -> a file."""
        target = io.BytesIO()
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        layout = "stereo" if self.channels == 2 else "mono"
        with av.open(target, "w", format=self.container) as file:
            stream = file.add_stream(self.codec, rate=self.rate_hz, layout=layout)
            stream.codec_context.format = self.sample_format
            if self.bits_per_s:
                stream.bit_rate = self.bits_per_s
            stream.codec_context.open()
            resampler = av.AudioResampler(
                self.sample_format, layout, self.rate_hz, stream.codec_context.frame_size or 4096
            )
            for piece in (*resampler.resample(frame), *resampler.resample(None), None):
                file.mux(stream.encode(piece))
        return target.getvalue()


FORMATS = {
    "mp3-48k": Format("mp3", "libmp3lame", 48_000, 1, MP3_BITS_PER_S, "fltp"),
    "mp3-44k1": Format("mp3", "libmp3lame", 44_100, 1, MP3_BITS_PER_S, "fltp"),
    "mp3-32k": Format("mp3", "libmp3lame", 32_000, 1, MP3_BITS_PER_S, "fltp"),
    "wav-16k": Format("wav", "pcm_s16le", 16_000),
    "wav-44k1-stereo": Format("wav", "pcm_s16le", 44_100, 2),
    "flac-48k": Format("flac", "flac", 48_000),
    "opus-48k": Format("ogg", "libopus", 48_000, 1, 32_000),
}


def decode_alone(encoded: bytes) -> None:
    """FFmpeg's decoder; its frames are dropped."""
    with av.open(io.BytesIO(encoded), options=QUICKLY) as file:
        for _ in file.decode(audio=0):
            pass


def decode_joined(encoded: bytes) -> list[Any]:
    """FFmpeg's decoder, and its resampler once over all frames; nothing is checked."""
    queue, resampler = av.AudioFifo(), av.AudioResampler("flt", "mono", RATE_HZ)
    with av.open(io.BytesIO(encoded), options=QUICKLY) as file:
        for frame in file.decode(audio=0):
            frame.pts = None
            queue.write(frame)
    return [*resampler.resample(queue.read()), *resampler.resample(None)]


def decode_as_torchcodec(encoded: bytes) -> np.ndarray:
    """FFmpeg's decoder and resampler, frame by frame; nothing is checked."""
    resampler = av.AudioResampler("flt", "mono", RATE_HZ)
    with av.open(io.BytesIO(encoded), options=QUICKLY) as file:
        parts = [out.to_ndarray()[0] for frame in file.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([*parts, *(out.to_ndarray()[0] for out in resampler.resample(None))])


def over_all(decode: Callable[[bytes], object]) -> Callable[[Recorded, Path, int], int]:
    """A floor: every clip is decoded, and that is all."""

    def work(corpus: Recorded, _folder: Path, _n_mels: int) -> int:
        for encoded in corpus.encoded:
            decode(encoded)
        return 0

    return work


def prepare(corpus: Recorded, folder: Path, n_mels: int) -> int:
    """Ours. Returns: bytes written."""
    store = open_store(str(folder / "store"))
    config = PrepareConfig(n_mels=n_mels)  # type: ignore[arg-type]
    set_id = preparation.plan(store, corpus, "sv", config, "bench")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return size(folder)


def recipe(corpus: Recorded, folder: Path, n_mels: int) -> int:
    """The usual one. Returns: bytes written."""
    extractor, tokenizer = WhisperFeatureExtractor(feature_size=n_mels), build_byte_tokenizer()

    def prepare_dataset(batch: dict[str, Any]) -> dict[str, Any]:
        samples = decode_as_torchcodec(batch["audio"]["bytes"])
        batch["input_features"] = extractor(samples, sampling_rate=RATE_HZ).input_features[0]
        batch["labels"] = tokenizer(batch["sentence"]).input_ids
        return batch

    rows = {
        "audio": [{"bytes": one, "path": None} for one in corpus.encoded],
        "sentence": [clip.text for clip in corpus.clips],
    }
    given = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    folder.mkdir(parents=True)
    given.map(
        prepare_dataset,
        remove_columns=given.column_names,
        cache_file_name=str(folder / "recipe.arrow"),
        num_proc=None,
    )
    return size(folder)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Cost:
    wall_s: float
    cpu_s: float
    result: int

    @classmethod
    def best(cls, costs: Sequence[Cost]) -> Cost:
        return cls(min(one.wall_s for one in costs), min(one.cpu_s for one in costs), costs[0].result)

    def clips_per_s(self, clips: int) -> str:
        return f"{clips / self.wall_s:.1f} ({clips / self.cpu_s:.1f})"


def measured(work: Callable[[], int]) -> Cost:
    os.sync()
    wall, cpu = time.perf_counter(), processor_s()
    result = work()
    return Cost(time.perf_counter() - wall, processor_s() - cpu, result)


def processor_s() -> float:
    """Processor time so far of this process, and of all that it started, whether they run or not."""
    own = os.times()
    ended = own.children_user + own.children_system
    running = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return time.process_time() + ended + sum(times.user + times.system for times in running)


def fastest(work: Callable[[], object], times: int) -> float:
    """Milliseconds of processor time of the fastest of several runs."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return 1000 * min(taken)


def alone(n_mels: int) -> tuple[float, float]:
    """Milliseconds of one clip of 4 s: (the extractor, ours with quantisation)."""
    clip = np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=n_mels)
    theirs = fastest(lambda: extractor(clip, sampling_rate=RATE_HZ), 20)
    return theirs, fastest(lambda: log_mel.quantise(log_mel.log_mel(clip, n_mels)), 60)


def read_all(clips: PreparedClips) -> int:
    return sum(len(clips.mel(i)) for i in range(len(clips)))


SIDES: dict[str, Callable[[Recorded, Path, int], int]] = {
    "decode": over_all(decode_alone),
    "and resample": over_all(decode_joined),
    "frame by frame": over_all(decode_as_torchcodec),
    "recipe": recipe,
    "prepare": prepare,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--mean-s", type=float, default=3.96)
    parser.add_argument("--n-mels", type=int, default=80, choices=(80, 128))
    parser.add_argument("--formats", nargs="+", default=["mp3-48k"], choices=[*FORMATS, "all"])
    parser.add_argument("--without-recipe", action="store_true", help="it takes most of the time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep the tables here, too")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    names = list(FORMATS) if "all" in asked.formats else asked.formats
    sides = {side: work for side, work in SIDES.items() if side != "recipe" or not asked.without_recipe}
    print(f"starting the decoder's process: {started_s():.2f} s of a processor, once\n")
    costs, tables = {}, {}
    for name in names:
        corpus = record(asked.clips, asked.mean_s, asked.seed, FORMATS[name].encode)
        warm = record(20, asked.mean_s, asked.seed + 1, FORMATS[name].encode)
        costs[name], tables[name] = compare(name, corpus, warm, sides, asked.rounds, asked.n_mels)
        print("\n".join([*tables[name], *floors({name: costs[name]}, asked.clips), ""]), flush=True)
    tables["floors"] = floors(costs, asked.clips)
    print("\n".join(tables["floors"]))
    if asked.json:
        table = [line for part in tables.values() for line in (*part, "")]
        figures = {"clips": asked.clips, "mean_s": asked.mean_s, "table": table}
        asked.json.write_text(json.dumps(figures, indent=1))


def started_s() -> float:
    """Processor time of the decoder's start, which a whole preparation pays once."""
    before = processor_s()
    sandbox.CLIPS.read_samples(waveform.encode_wav(np.zeros(RATE_HZ, np.float32)), max_s=30)
    return processor_s() - before


def compare(
    name: str,
    corpus: Recorded,
    warm: Recorded,
    sides: dict[str, Callable[[Recorded, Path, int], int]],
    rounds: int,
    n_mels: int,
) -> tuple[dict[str, Cost], list[str]]:
    """What each side costs, and the table of sizes and speeds."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["DAGSVERK_CACHE"] = str(folder / "cache")
        costs: dict[str, list[Cost]] = {side: [] for side in sides}
        for number in range(rounds + 1):  # in turn, so that what else the machine does hits all
            for side, work in sides.items():
                shutil.rmtree(folder / side, ignore_errors=True)
                given = corpus if number else warm
                cost = measured(functools.partial(work, given, folder / side, n_mels))
                costs[side] += [cost] if number else []
        store = open_store(str(folder / "prepare" / "store"))
        (set_id,) = {path.split("/")[3] for path in store.list("speech/swedish/shards")}
        clips = open_prepared(store, set_id, ("train", "dev", "test"), folder / "cache")
        read_all(clips)
        reading_ms = fastest(lambda: read_all(clips), 3)
        best = {side: Cost.best(of_side) for side, of_side in costs.items()}
        if "recipe" not in best:
            return best, []
        pair = [best["recipe"], best["prepare"]]
        return best, [f"{name}:\n", *report(corpus, clips, pair, alone(n_mels), reading_ms)]


def floors(costs: dict[str, dict[str, Cost]], clips: int) -> list[str]:
    """Lines of a table in Markdown: milliseconds of processor time per clip."""
    sides = [side for side in SIDES if all(side in of_format for of_format in costs.values())]
    lines = [f"| ms of processor time per clip | {' | '.join(sides)} | prepare / floor |"]
    lines += ["| --- |" + " ---: |" * (len(sides) + 1)]
    for name, of_format in costs.items():
        each = " | ".join(f"{1000 * of_format[side].cpu_s / clips:.2f}" for side in sides)
        floor = min(of_format[side].cpu_s for side in ("and resample", "frame by frame"))
        lines.append(f"| {name} | {each} | {of_format['prepare'].cpu_s / floor:.2f} |")
    return lines


def report(
    corpus: Recorded,
    clips: PreparedClips,
    costs: Sequence[Cost],
    mel_ms: tuple[float, float],
    reading_ms: float,
) -> list[str]:
    """Lines of a table in Markdown."""
    theirs, ours = costs
    count, hours = len(corpus.clips), clips.rows["duration_s"].sum() / 3600
    given_mb = sum(map(len, corpus.encoded)) / 1e6 / hours
    mb = [cost.result / 1e6 / hours for cost in costs]
    mean_s = hours * 3600 / count
    print(f"{count} clips, {hours * 60:.1f} min, mean {mean_s:.2f} s, {clips.n_mels} bins; one core\n")
    rows = [
        f"MB per hour of audio (encoded: {given_mb:.1f}) | {mb[1]:.1f} | {mb[0]:.0f} | {mb[0] / mb[1]:.0f}"
    ]
    ratio = f"{theirs.wall_s / ours.wall_s:.1f} ({theirs.cpu_s / ours.cpu_s:.1f})"
    rows += [
        "clips per second, decoding included: of wall time (of processor time) "
        f"| {ours.clips_per_s(count)} | {theirs.clips_per_s(count)} | {ratio}",
        f"log-mel alone, a clip of 4 s, ms of processor time | {mel_ms[1]:.2f} | {mel_ms[0]:.2f} "
        f"| {mel_ms[0] / mel_ms[1]:.1f}",
        f"prepared clips read per second | {1000 * count / reading_ms:.0f} | |",
    ]
    return ["| | prepare | recipe | ratio |", "| --- | ---: | ---: | ---: |", *(f"| {row} |" for row in rows)]


if __name__ == "__main__":
    if not set(threads.KEEP_MEMORY) <= set(os.environ):  # as a worker starts its flows; for all sides
        threads.prepare_environment()
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  this program again
    main()
