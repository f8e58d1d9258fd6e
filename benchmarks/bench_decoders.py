"""Our decoder against the library's, at equal lengths: the same weights, encoder outputs, limits and rules.

Run from the root: python benchmarks/bench_decoders.py [--model nano] [--clips 60] [--bf16]
With real weights and recordings: --model FOLDER --prompts FOLDER --language it   (metadata.jsonl: file, text)

"ours" is what `decode` uses: `CachedDecoder` with `follow` (greedy) or `search` (beams). "generate" is
`GenerationMixin.generate(encoder_outputs=...)` without Whisper's own loop around it, which cuts windows.
Whisper's decoder takes no mask for the encoder's outputs, so padded ones would be attended to: `generate` is
given clips of one length at a time, as many as a batch has of it, while ours takes a batch of all lengths.
Both get the encoder's outputs ready-made, at true length if the model was trained so (--full: 30 s windows).

"equal" is the share of clips with the very same tokens as ours with as many beams. Times are of the processor
on a CPU (other work hardly disturbs them), of the clock on a GPU. Of clips of noise all have --tokens.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench_evaluate import draw_mels
from transformers import GenerationConfig, WhisperForConditionalGeneration
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from dagsverk.speech.audio.sandbox import Sandbox
from dagsverk.speech.errors import AudioError
from dagsverk.speech.evaluation.scoring import NORMALISED, count_errors, word_errors
from dagsverk.speech.features import log_mel
from dagsverk.speech.model import decoding, lengths
from dagsverk.speech.model.beam_search import Rules
from dagsverk.speech.model.models import SpeechModel, load_model, random_model
from dagsverk.speech.model.tokens import decode_text, prompt
from dagsverk.turns import go_on

Tokens = list[int]


@dataclass(frozen=True)
class Batch:
    """Clips by their place, and what the encoder makes of each."""

    clips: list[int]
    states: list[torch.Tensor]


@dataclass(frozen=True)
class Work:
    """All that both sides are given."""

    network: WhisperForConditionalGeneration
    batches: list[Batch]
    start: list[int]
    rules: Rules
    limits: list[int]


def ours(work: Work, batch: Batch, beams: int) -> list[Tokens]:
    limits = [work.limits[clip] for clip in batch.clips]
    paths, _ = decoding._best_paths(work.network, batch.states, work.start, work.rules, limits, beams, go_on)
    return [list(path.tokens) for path in paths]


def library(work: Work, batch: Batch, beams: int, cache: str | None) -> list[Tokens]:
    """The same through `generate`, clips of one length at a time."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, state in enumerate(batch.states):
        by_length[len(state)].append(place)
    texts: dict[int, Tokens] = {}
    for places in by_length.values():
        limits = [work.limits[batch.clips[place]] for place in places]
        rows = GenerationMixin.generate(
            work.network,
            encoder_outputs=BaseModelOutput(torch.stack([batch.states[place] for place in places])),
            decoder_input_ids=torch.tensor([work.start] * len(places), device=work.network.device),
            generation_config=generation(work, max(limits), beams, cache),
        ).tolist()
        for place, row, limit in zip(places, rows, limits, strict=True):
            said = row[len(work.start) :]
            ended = said.index(work.rules.end) if work.rules.end in said else len(said)
            texts[place] = said[: min(ended, limit)]
    return [texts[place] for place in range(len(batch.states))]


def generation(work: Work, tokens: int, beams: int, cache: str | None) -> GenerationConfig:
    end = work.rules.end
    return GenerationConfig(
        max_new_tokens=tokens,
        max_length=None,
        num_beams=beams,
        do_sample=False,
        use_cache=True,
        cache_implementation=cache,
        decoder_start_token_id=work.start[0],
        eos_token_id=end,
        bos_token_id=end,
        pad_token_id=end,
        suppress_tokens=work.rules.always.isinf().nonzero().flatten().tolist(),
        begin_suppress_tokens=work.rules.at_first.isinf().nonzero().flatten().tolist(),
    )


def read_prompts(folder: Path, most: int, n_mels: int) -> tuple[list[np.ndarray], list[str]]:
    """Every fifth recording of the folder, up to so many, and what is said in it."""
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()][::5]
    box, mels, texts = Sandbox(1, reuse=True), [], []
    for row in rows:
        if len(mels) == most:
            break
        try:
            audio = box.read_samples(folder / row["file"], max_s=30)
        except AudioError:
            continue
        mels.append(log_mel.log_mel(audio, n_mels))
        texts.append(row["text"])
    box.close()
    return mels, texts


def prepare(model: SpeechModel, mels: Sequence[np.ndarray], asked: argparse.Namespace) -> Work:
    network = model.model.to(torch.bfloat16) if asked.bf16 else model.model  # type: ignore[call-arg]
    network.train(False)
    start = prompt(model.tokenizer, asked.language)
    full = asked.full or model.full_windows
    floors = [log_mel.floor(float(mel.max())) for mel in mels]
    padded = [lengths.grid_frames(len(mel), 10, full=full) for mel in mels]
    room = network.config.max_target_positions - len(start)
    limits = [asked.tokens or min(room, max(lengths.MIN_TOKENS, len(mel) // 2)) for mel in mels]
    batches = [
        Batch(clips, decoding.encoder_states(network, mels, floors, padded, clips))
        for clips in decoding._batches(padded, asked.batch_s * 100)
    ]
    return Work(network, batches, start, decoding._rules(model, network), limits)


def timed(work: Work, side: Callable[[Work, Batch], list[Tokens]]) -> tuple[float, list[Tokens]]:
    """Seconds, and the tokens of each clip."""
    cuda = work.network.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    last = work.batches[-1]
    side(work, last if cuda else Batch(last.clips[-1:], last.states[-1:]))  # warm
    if cuda:
        torch.cuda.synchronize()
    begun, texts = clock(), {}
    for batch in work.batches:
        texts.update(zip(batch.clips, side(work, batch), strict=True))
    if cuda:
        torch.cuda.synchronize()
    return clock() - begun, [texts[clip] for clip in range(len(texts))]


SIDES: dict[str, tuple[int, Callable[[Work, Batch], list[Tokens]]]] = {
    "ours, greedy": (1, lambda work, batch: ours(work, batch, 1)),
    "generate, greedy": (1, lambda work, batch: library(work, batch, 1, None)),
    "generate, greedy, static cache": (1, lambda work, batch: library(work, batch, 1, "static")),
    "ours, 5 beams": (5, lambda work, batch: ours(work, batch, 5)),
    "generate, 5 beams": (5, lambda work, batch: library(work, batch, 5, None)),
}


def wer(texts: Sequence[str], hypotheses: Sequence[str], language: str) -> str:
    if not texts:
        return "-"
    counts = count_errors(texts, hypotheses, language, (NORMALISED,))
    return f"{100 * word_errors(counts).sum() / counts['words'].sum():.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description="Our decoder against the library's generate.")
    parser.add_argument("--model", default="nano", help="a size, with random weights; or a folder")
    parser.add_argument("--prompts", type=Path, help="a folder of recordings with metadata.jsonl")
    parser.add_argument("--language", default="sv")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--mean-s", type=float, default=3.96, help="of clips of noise")
    parser.add_argument("--tokens", type=int, help="the limit of every clip (default: by its length)")
    parser.add_argument("--batch-s", type=float, default=240.0)
    parser.add_argument("--full", action="store_true", help="30 s windows")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--without", default="", help="leave out the sides with this in their name")
    asked = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    model = load_model(asked.model) if Path(asked.model).is_dir() else random_model(asked.model)
    if torch.cuda.is_available():
        torch.nn.Module.to(model.model, "cuda")
    if asked.prompts:
        mels, texts = read_prompts(asked.prompts, asked.clips, model.n_mels)
    else:
        mels, texts = draw_mels(asked.clips, asked.mean_s, model.n_mels, 0), []
        asked.tokens = asked.tokens or 20
    with torch.inference_mode():
        compare(prepare(model, mels, asked), model, texts, asked)


def compare(work: Work, model: SpeechModel, texts: Sequence[str], asked: argparse.Namespace) -> None:
    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads"
    )
    print(f"{Path(asked.model).name}, {len(work.limits)} clips, {work.network.dtype}, {device}")
    print(f"{'':<32}{'seconds':>9}{'clips/s':>9}{'ratio':>7}{'tokens':>8}{'equal':>8}{'WER':>9}")
    first: dict[int, tuple[float, list[Tokens]]] = {}  # ours, by beams
    for name, (beams, side) in SIDES.items():
        if asked.without and asked.without in name:
            continue
        seconds, said = timed(work, side)
        base_s, base = first.setdefault(beams, (seconds, said))
        equal = sum(one == other for one, other in zip(said, base, strict=True)) / len(said)
        hypotheses = [decode_text(model.tokenizer, tokens).strip() for tokens in said]
        print(
            f"{name:<32}{seconds:>9.2f}{len(said) / seconds:>9.2f}{seconds / base_s:>7.2f}"
            f"{sum(map(len, said)):>8}{equal:>8.3f}{wer(texts, hypotheses, asked.language):>9}",
            flush=True,
        )


if __name__ == "__main__":
    main()
