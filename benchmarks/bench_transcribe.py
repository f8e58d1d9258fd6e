"""How fast recordings become text: our engines beside other tools, the same weights, in one run.

    python benchmarks/bench_transcribe.py --weights FOLDER --prompts FOLDER [--others PYTHON] [--clips 40]

Each way runs in a process of its own, so its memory is its own, and one after the other. FOLDER of weights: a
whole Whisper that `transformers` loads; it is converted to int8 and float16 first. FOLDER of prompts: with
`metadata.jsonl` (file, text). PYTHON: of an environment with `faster-whisper` and, if you like,
`openai-whisper`: neither is a dependency of ours.

Clips one by one, then one recording made of them with pauses between. WER is by the product's own rules.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

from dagsverk.speech.audio.waveform import samples_file
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, total

ROOT = Path(__file__).resolve().parents[1]
PAUSE_S = 1.2

COMMON = """
import json, sys, time, wave
from pathlib import Path
import numpy as np
asked = json.loads(sys.argv[1])
def read(path):
    with wave.open(path) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
def peak_mb():  # of this program: what getrusage says is no less than its parent's when it was started
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
clips, recording = [read(path) for path in asked["clips"]], read(asked["recording"])
start = time.perf_counter()
"""
TIMED = """
loaded_s = time.perf_counter() - start
one(clips[0])
start = time.perf_counter()
texts = [one(clip) for clip in clips]
clips_s = time.perf_counter() - start
start = time.perf_counter()
long = whole(recording)
print(json.dumps({"texts": texts, "long": long, "load_s": loaded_s, "clips_s": clips_s,
    "recording_s": time.perf_counter() - start,
    "peak_mb": peak_mb()}))
"""
OURS = """
from dagsverk.speech.serving.{module} import load_engine
from dagsverk.speech.serving.transcriber import Transcriber
engine = load_engine(Path(asked["{folder}"]), "x", language=asked["language"])
transcriber = Transcriber(engine, asked["language"])
one = whole = lambda audio: " ".join(transcriber.transcribe(audio).text.split())
"""
FASTER = """
from faster_whisper import BatchedInferencePipeline, WhisperModel
model = WhisperModel(asked["int8"], compute_type="int8", cpu_threads=asked["threads"])
batched = BatchedInferencePipeline(model)
say = lambda segments: " ".join(segment.text.strip() for segment in segments)
one = lambda audio: say(model.transcribe(audio, language=asked["language"], beam_size=1)[0])
whole = lambda audio: say(batched.transcribe(audio, language=asked["language"], beam_size=1, batch_size=8)[0])
"""
PIPELINE = """
from transformers import pipeline
made = pipeline("automatic-speech-recognition", asked["weights"], chunk_length_s=30, batch_size=4)
kind = {"language": asked["language"], "task": "transcribe", "num_beams": 1}
one = whole = lambda audio: made({"raw": audio, "sampling_rate": 16000}, generate_kwargs=kind)["text"]
"""
WAYS = {
    "ours, CTranslate2 int8": OURS.format(module="ctranslate_engine", folder="int8"),
    "ours, CTranslate2 float16": OURS.format(module="ctranslate_engine", folder="float16"),
    "ours, torch": OURS.format(module="torch_engine", folder="weights"),
    "faster-whisper int8 (recording: batched, 8)": FASTER,
    "transformers pipeline": PIPELINE,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--language", default="it")
    parser.add_argument("--others", type=Path, help="python with faster-whisper")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="words of the ways to run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dagsverk-bench-") as path:
        about, texts, lengths = _material(asked, Path(path))
        print(f"{len(texts)} clips of {sum(lengths):.0f} s, one recording of {about['recording_s']:.0f} s")
        for name, code in WAYS.items():
            if asked.only and not any(word in name for word in asked.only):
                continue
            _show(name, _run(name, code, about, asked), about, texts, lengths)


def _material(asked: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[str], list[float]]:
    """WAV files at 16 kHz, the converted weights, and the texts of the clips."""
    from dagsverk.speech.export.conversion import convert
    from dagsverk.speech.model.models import load_model

    rows = [json.loads(line) for line in (asked.prompts / "metadata.jsonl").read_text().splitlines()]
    step = max(1, len(rows) // asked.clips)
    chosen = rows[::step][: asked.clips]
    audio = [_samples(asked.prompts / row["file"]) for row in chosen]
    pause = np.zeros(round(PAUSE_S * 16_000), np.float32)
    recording = np.concatenate([part for one in audio for part in (one, pause)])
    about: dict[str, Any] = {
        "clips": [_write(folder / f"{i}.wav", one) for i, one in enumerate(audio)],
        "recording": _write(folder / "recording.wav", recording),
        "recording_s": len(recording) / 16_000,
        "weights": str(asked.weights),
        "language": asked.language,
        "threads": asked.threads,
    }
    model = load_model(str(asked.weights), language=asked.language)
    for form in ("int8", "float16"):
        convert(model, asked.weights, form, folder / form)
        about[form] = str(folder / form)
    return about, [row["text"] for row in chosen], [len(one) / 16_000 for one in audio]


def _samples(path: Path) -> np.ndarray:
    file = samples_file(path)
    try:
        return np.concatenate(list(file.blocks(30.0)))
    finally:
        file.close()


def _write(path: Path, audio: np.ndarray) -> str:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((audio * 32767).clip(-32768, 32767).astype(np.int16).tobytes())
    return str(path)


def _run(name: str, code: str, about: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any] | str:
    python = asked.others if "faster" in name else Path(sys.executable)
    if python is None:
        return "left out: no --others"
    program = COMMON + code + TIMED
    done = subprocess.run(
        [str(python), "-c", program, json.dumps(about)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(asked.threads), "OMP_WAIT_POLICY": "PASSIVE"},
    )
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _show(
    name: str, result: dict[str, Any] | str, about: dict[str, Any], texts: list[str], lengths: list[float]
) -> None:
    if isinstance(result, str):
        print(f"{name:45} {result}", flush=True)
        return
    wer = total(count_errors(texts, result["texts"], about["language"], forms=(NORMALISED,))).wer
    long = total(
        count_errors([" ".join(texts)], [result["long"]], about["language"], forms=(NORMALISED,))
    ).wer
    print(
        f"{name:45} load {result['load_s']:5.1f} s | clips {result['clips_s']:6.1f} s = "
        f"{sum(lengths) / result['clips_s']:5.1f} x, WER {100 * wer:5.1f} % | recording "
        f"{result['recording_s']:6.1f} s = {about['recording_s'] / result['recording_s']:5.1f} x, "
        f"WER {100 * long:5.1f} % | peak {result['peak_mb']:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
