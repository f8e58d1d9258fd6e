"""How fast recordings become text: our engines beside other tools, the same weights, in one run.

    python benchmarks/bench_transcribe.py --weights FOLDER --prompts FOLDER [--others PYTHON] [--clips 60]
    python benchmarks/bench_transcribe.py ... --nothing-said-s 3600    # instead: words made up from no speech

Each way runs in a process of its own, so its memory is its own, and one after the other. FOLDER of weights: a
whole Whisper that `transformers` loads; it is converted to int8 and float16 first. FOLDER of prompts: with
`metadata.jsonl` (file, text). PYTHON: of an environment with `faster-whisper`, `openai-whisper` and
`safetensors`: none of them is a dependency of ours.

Clips of 2 to 6 s one by one, then a recording of many prompts with pauses between. All decode greedily, in
the language that they are told. WER is by the product's own rules.
"""

from __future__ import annotations

import argparse
import json
import os
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
start = time.perf_counter()
"""
TIMED = """
loaded_s = time.perf_counter() - start
took, texts = {}, {}
one(read(asked["warm_up"]))
for name, say, files in (("clips", one, asked["clips"]), ("recording", whole, asked["recordings"])):
    audio = [read(path) for path in files]
    start, cpu = time.perf_counter(), time.process_time()
    texts[name] = [say(each) for each in audio]
    took[name] = [time.perf_counter() - start, time.process_time() - cpu]
print(json.dumps({"texts": texts, "load_s": loaded_s, "took": took, "peak_mb": peak_mb()}))
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
text = lambda segments: " ".join(segment.text.strip() for segment in segments)
how = {"language": asked["language"], "beam_size": 1}
one = lambda audio: text(model.transcribe(audio, **how)[0])
whole = lambda audio: text(batched.transcribe(audio, batch_size=8, **how)[0])
"""
FASTER_ONE = FASTER.replace("batched.transcribe(audio, batch_size=8,", "model.transcribe(audio,")
FASTER_THREAD = FASTER_ONE.replace('asked["threads"]', "1")
FASTER_VOICES = FASTER_ONE.replace("(audio, **how)", "(audio, vad_filter=True, **how)")
PIPELINE = """
from transformers import pipeline
made = pipeline("automatic-speech-recognition", asked["weights"], chunk_length_s=30, batch_size=4)
kind = {"language": asked["language"], "task": "transcribe", "num_beams": 1}
one = whole = lambda audio: made({"raw": audio, "sampling_rate": 16000}, generate_kwargs=kind)["text"]
"""
OPENAI = """
import re, whisper
from safetensors.torch import load_file
config = json.loads((Path(asked["weights"]) / "config.json").read_text())
sizes = [config[name] for name in ("num_mel_bins", "max_source_positions", "d_model",
    "encoder_attention_heads", "encoder_layers", "vocab_size", "max_target_positions", "d_model",
    "decoder_attention_heads", "decoder_layers")]
names = [("^model.", ""), (r"layers[.](\\d+)", r"blocks.\\1"), ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("final_layer_norm", "mlp_ln"), ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"),
    ("out_proj", "out"), ("fc1", "mlp.0"), ("fc2", "mlp.2"), ("embed_tokens", "token_embedding"),
    ("embed_positions.weight", "positional_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln")]
def renamed(key):
    for old, new in names:
        key = re.sub(old, new, key)
    return key
model = whisper.model.Whisper(whisper.model.ModelDimensions(*sizes))
weights = load_file(Path(asked["weights"]) / "model.safetensors")
own = {renamed(key): value for key, value in weights.items() if not key.startswith("proj_out")}
model.load_state_dict(own)
model.eval()
how = {"language": asked["language"], "fp16": False, "beam_size": None}
one = whole = lambda audio: model.transcribe(audio, **how)["text"]
"""
WAYS = {
    "ours, torch": OURS.format(module="torch_engine", folder="weights"),
    "ours, CTranslate2 int8": OURS.format(module="ctranslate_engine", folder="int8"),
    "ours, CTranslate2 float16": OURS.format(module="ctranslate_engine", folder="float16"),
    "faster-whisper int8, batched (8)": FASTER,
    "faster-whisper int8, one by one": FASTER_ONE,
    "faster-whisper int8, one by one, one thread": FASTER_THREAD,
    "faster-whisper int8, one by one, Silero": FASTER_VOICES,
    "openai-whisper": OPENAI,
    "transformers pipeline": PIPELINE,
}
OTHERS = ("faster-whisper", "openai-whisper")  # in the other environment
PASSED_ON = "ONEDNN_MAX_CPU_ISA", "PATH"  # of the caller; the first takes AMX or AVX-512 away from torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--language", default="it")
    parser.add_argument("--others", type=Path, help="python with faster-whisper")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--recording-s", type=float, default=600)
    parser.add_argument("--nothing-said-s", type=float, help="silence, noise, hum and music, each so long")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="words of the ways to run")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dagsverk-bench-") as path:
        about, clips, recording = _material(asked, Path(path))
        for name, code in WAYS.items():
            if asked.only and not any(word in name for word in asked.only):
                continue
            result = _run(name, code, about, asked)
            if isinstance(result, str):
                print(f"{name:44} {result}", flush=True)
            elif asked.nothing_said_s:
                _show_invented(name, result, about)
            else:
                _show(name, result, about, clips, recording)


Rows = list[dict[str, Any]]


def _material(asked: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Rows, Rows]:
    """WAV files at 16 kHz, the converted weights, and the rows of the clips and of the recording."""
    from dagsverk.speech.export.conversion import convert
    from dagsverk.speech.model.models import load_model

    rows = prompts_of(asked.prompts)
    right = [row for row in rows if 2 <= len(row["audio"]) / 16_000 <= 6]
    clips = right[:: max(1, len(right) // asked.clips)][: asked.clips]
    about: dict[str, Any] = {
        "warm_up": _write(folder / "warm.wav", clips[0]["audio"]),
        "weights": str(asked.weights),
        "language": asked.language,
        "threads": asked.threads,
        "clips": [],
    }
    recording = filled(rows, asked.recording_s)
    if asked.nothing_said_s:
        sounds = _nothing_said(asked.nothing_said_s)
        about["sounds"] = list(sounds)
        about["recordings"] = [_write(folder / f"{name}.wav", audio) for name, audio in sounds.items()]
    else:
        pause = np.zeros(round(PAUSE_S * 16_000), np.float32)
        whole = np.concatenate([part for row in recording for part in (row["audio"], pause)])
        about["clips"] = [_write(folder / f"{i}.wav", row["audio"]) for i, row in enumerate(clips)]
        about["recordings"] = [_write(folder / "recording.wav", whole)]
        clips_s = sum(len(row["audio"]) for row in clips) / 16_000
        about["seconds"] = {"clips": clips_s, "recording": len(whole) / 16_000}
        print(f"{len(clips)} clips of {clips_s:.0f} s, a recording of {len(recording)} prompts", flush=True)
    model = load_model(str(asked.weights), language=asked.language)
    for form in ("int8", "float16"):
        convert(model, asked.weights, form, folder / form)
        about[form] = str(folder / form)
    return about, clips, recording


def prompts_of(folder: Path) -> Rows:
    """Their `text` and, at 16 kHz, their `audio`."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    return [{"text": row["text"], "audio": _samples(folder / row["file"])} for row in rows]


def filled(rows: Rows, length_s: float) -> Rows:
    """So many rows, from all over, that with their pauses they last that long."""
    order = np.random.default_rng(0).permutation(len(rows))
    ends = np.cumsum([len(rows[i]["audio"]) / 16_000 + PAUSE_S for i in order])
    return [rows[i] for i in order[: int(np.searchsorted(ends, length_s))]]


def _nothing_said(length_s: float) -> dict[str, np.ndarray]:
    """Sounds without a word: made here, float32 at 16 kHz."""
    rng = np.random.default_rng(0)
    count = round(length_s * 16_000)
    t = np.arange(count, dtype=np.float32) / 16_000
    hum = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in (1, 2, 3, 5)) * 0.05
    noise = rng.standard_normal(count, np.float32)
    brown = np.convolve(noise, np.ones(64, np.float32) / 64, "same")
    return {
        "silence": np.zeros(count, np.float32),
        "white noise": 0.03 * noise,
        "wind (low noise that swells)": brown * (0.6 + 0.4 * np.sin(2 * np.pi * 0.11 * t)).astype(np.float32),
        "hum": hum.astype(np.float32),
        "music": _music(count, rng),
    }


def _music(count: int, rng: np.random.Generator) -> np.ndarray:
    """A melody over chords and a beat: plucked notes of a scale, four chords, 100 beats a minute."""
    beat = 9_600
    t = np.arange(beat * 4, dtype=np.float32) / 16_000
    out = np.zeros(count + len(t), np.float32)
    scale = [0, 2, 4, 5, 7, 9, 11, 12]
    chords = [(0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)]

    def note(semitones: float, octave: int) -> np.ndarray:
        tone = sum(
            np.sin(2 * np.pi * 261.6 * 2 ** (octave + semitones / 12) * k * t) / k**1.5 for k in range(1, 6)
        )
        return np.asarray(tone * np.exp(-3 * t), np.float32)

    melody = {step: note(step, 1) for step in scale}
    harmony = [np.sum([note(step, -1) for step in chord], axis=0) for chord in chords]
    drum = (rng.standard_normal(len(t)) * np.exp(-40 * t)).astype(np.float32)
    for i, at in enumerate(range(0, count, beat)):
        out[at : at + len(t)] += 0.08 * melody[int(rng.choice(scale))] + 0.05 * drum
        if i % 4 == 0:
            out[at : at + len(t)] += 0.06 * harmony[i // 4 % 4]
    return out[:count]


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
    python = asked.others if name.startswith(OTHERS) else Path(sys.executable)
    if python is None:
        return "left out: no --others"
    program = COMMON + code + TIMED
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if name.startswith("ours"):  # the product sets what it needs; others run as they come
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(asked.threads)}
    done = subprocess.run(
        [str(python), "-c", program, json.dumps(about)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def wer(rows: Rows, texts: list[str], language: str) -> float:
    return total(count_errors([row["text"] for row in rows], texts, language, forms=(NORMALISED,))).wer


def _show(name: str, result: dict[str, Any], about: dict[str, Any], clips: Rows, recording: Rows) -> None:
    one = [{"text": " ".join(row["text"] for row in recording)}]
    parts = [f"{name:44} load {result['load_s']:4.1f} s"]
    for kind, rows in (("clips", clips), ("recording", one)):
        wall_s, cpu_s = result["took"][kind]
        rate = wer(rows, result["texts"][kind], about["language"])
        speed = about["seconds"][kind] / wall_s
        parts.append(
            f"{kind} {wall_s:6.1f} s ({cpu_s:6.1f} of cpu) = {speed:5.1f} x, WER {100 * rate:5.1f} %"
        )
    print(" | ".join([*parts, f"peak {result['peak_mb']:.0f} MB"]), flush=True)


def _show_invented(name: str, result: dict[str, Any], about: dict[str, Any]) -> None:
    words = (
        f"{sound} {len(text.split())}"
        for sound, text in zip(about["sounds"], result["texts"]["recording"], strict=True)
    )
    print(f"{name:44} {result['took']['recording'][0]:6.1f} s | words: {', '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
