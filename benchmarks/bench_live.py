"""Words while one speaks: how long after they are spoken they are shown and settled, at the pace of speech.

    python benchmarks/bench_live.py --weights FOLDER --prompts FOLDER [--language it] [--seconds 60]

FOLDER of weights and of prompts: as for `bench_transcribe.py`. Prompts with pauses between them are given in
blocks of a quarter of a second as fast as they are spoken, once to each engine; the model is loaded before.
When a word was spoken is what the whole recording, transcribed at once, says of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

import numpy as np
from bench_transcribe import PAUSE_S, filled, prompts_of, wer

from dagsverk.speech.audio.samples import RATE_HZ, Audio
from dagsverk.speech.serving.live_sessions import Voice
from dagsverk.speech.serving.transcriber import Transcriber
from dagsverk.speech.subtitles.cues import Word, words_in
from dagsverk.turns import Check

BLOCK_S = 0.25
LOOK_S = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--language", default="it")
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    rows = filled(prompts_of(asked.prompts), asked.seconds)
    pause = np.zeros(round(PAUSE_S * RATE_HZ), np.float32)
    audio = np.concatenate([part for row in rows for part in (row["audio"], pause)])
    text = [{"text": " ".join(row["text"] for row in rows)}]
    with tempfile.TemporaryDirectory(prefix="dagsverk-bench-") as folder:
        for name, transcriber in _engines(asked.weights, asked.language, Path(folder)):
            whole = transcriber.transcribe(audio, words=True)
            spoken = words_in(whole.segments)
            seen, answers_s = _speak(transcriber, audio)
            live = " ".join(word.text for word in seen[-1][1])
            print(f"{name}: {len(audio) / RATE_HZ:.0f} s of speech, {len(spoken)} words")
            print(f"  WER {100 * wer(text, [live], asked.language):.1f} %, of the whole recording at once "
                  f"{100 * wer(text, [whole.text], asked.language):.1f} %")  # fmt: skip
            print(f"  an answer takes {median(answers_s):.2f} s (median), {max(answers_s):.2f} at most")
            _show("shown", [len(settled) + len(rest) for _, settled, rest in seen], seen, spoken)
            _show("settled", [len(settled) for _, settled, _ in seen], seen, spoken)


def _engines(weights: Path, language: str, folder: Path) -> list[tuple[str, Transcriber]]:
    from dagsverk.speech.export.conversion import convert
    from dagsverk.speech.model.models import load_model
    from dagsverk.speech.serving import ctranslate_engine, torch_engine

    convert(load_model(str(weights), language=language), weights, "int8", folder / "int8")
    engines = {
        "CTranslate2 int8": ctranslate_engine.load_engine(folder / "int8", "x", language=language),
        "torch": torch_engine.load_engine(weights, "x", language=language),
    }
    return [(name, Transcriber(engine, language)) for name, engine in engines.items()]


Seen = list[tuple[float, tuple[Word, ...], tuple[Word, ...]]]


def _speak(transcriber: Transcriber, audio: Audio) -> tuple[Seen, list[float]]:
    """What was to be seen and when, in seconds from the first sample; and what answers took, in seconds."""
    answers_s: list[float] = []

    def made(check: Check) -> object:
        def listen(part: Audio) -> list[Word]:
            start = time.perf_counter()
            words = words_in(transcriber.transcribe(part, words=True, check=check).segments)
            answers_s.append(time.perf_counter() - start)
            return words

        return listen

    voice = Voice("one", made)  # type: ignore[arg-type]
    samples = (audio * 32767).clip(-32768, 32767).astype("<i2")
    step = round(BLOCK_S * RATE_HZ)
    seen: Seen = []
    start, number, over = time.perf_counter(), 0, False
    while not over:
        at_s = time.perf_counter() - start
        while number * BLOCK_S + BLOCK_S <= at_s and number * step < len(samples):
            voice.take(number, samples[number * step : (number + 1) * step].tobytes())
            number += 1
            if number * step >= len(samples):
                voice.finish()
        state = voice.state()
        if not seen or (state.settled, state.unsettled) != seen[-1][1:]:
            seen.append((at_s, state.settled, state.unsettled))
        over = state.over
        time.sleep(LOOK_S)
    if voice.state().why:
        sys.exit(voice.state().why)
    return seen, answers_s


def _show(what: str, counts: list[int], seen: Seen, spoken: list[Word]) -> None:
    """How long after its beginning each word is there: the n-th written for the n-th spoken."""
    late_s = []
    for place, word in enumerate(spoken):
        at_s = next((when for (when, *_), count in zip(seen, counts, strict=True) if count > place), None)
        if at_s is not None:
            late_s.append(at_s - word.start_s)
    if len(late_s) > 1:
        print(f"  {what}: the first word {late_s[0]:.2f} s after it begins, median {median(late_s):.2f} s, "
              f"90 % {quantiles(late_s, n=10)[-1]:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
