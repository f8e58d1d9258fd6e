"""Runs on real weights and human voices: prepare, tune, score, compare; what `bench_real.py` is made of.

    prepare        a folder of prompts -> a set of the product's, split by what is said
    tune           a set and an arm -> a checkpoint, by the product's own `fit`
    score          a model and clips -> hypotheses in one mode, and their report by the product's evaluation
    paired         two sides over several languages -> the difference with its interval

One voice speaks each language here, so the unit that is resampled is the sentence: every clip's "speaker" is
the digest of its text. Intervals speak of other sentences of that voice, not of other voices.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from dagsverk.cache import cache_folder
from dagsverk.speech.config import EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.corpora.corpus import Clip, Listing, RejectedClip, Split
from dagsverk.speech.corpora.folder import FolderCorpus
from dagsverk.speech.corpora.places import LocalPlace
from dagsverk.speech.evaluation.comparison import difference
from dagsverk.speech.evaluation.description import describe, score_clips
from dagsverk.speech.evaluation.normaliser import normalise
from dagsverk.speech.evaluation.report import Difference, Scores
from dagsverk.speech.features import preparation
from dagsverk.speech.features.prepared import PreparedClips, open_prepared
from dagsverk.speech.model.decoding import decode
from dagsverk.speech.model.encoder import encode, encode_with
from dagsverk.speech.model.models import SpeechModel, load_model, save_model_folder
from dagsverk.speech.model.precision import as_kept
from dagsverk.speech.runs import CheckpointRef, curve, run_folder
from dagsverk.speech.training import fit as fitting
from dagsverk.speech.training.batches import Batch, Position, Sampler
from dagsverk.speech.training.defaults import default_learning_rate
from dagsverk.speech.training.examples import Examples
from dagsverk.speech.training.learner import Learner, make_learner
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import Store

TEST_PERCENT, DEV_PERCENT = 20, 8  # of texts
BATCH_S = 30.0  # the default on a CPU
WINDOWS_AT_ONCE = 4  # of 30 s, in a batch of full windows: what fits into little memory
RESAMPLES = EvaluationConfig(resamples=2000, worst=0)
MODES = {"true_length": False, "windows": True}  # -> whether clips are padded to 30 s
TEACHING_BATCH_S, TEACHING_RATE = 10.0, 1e-4


@dataclass(frozen=True)
class Prompts:
    """A folder of prompts, split by what is said: no text is in two splits, however it is typed."""

    corpus: FolderCorpus
    seed: int
    name: str = "human prompts"
    sequential: bool = False

    def listing(self) -> Listing:
        listing = self.corpus.listing()
        return replace(listing, clips=[self._placed(clip) for clip in listing.clips])

    def read(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, bytes | RejectedClip]]:
        return self.corpus.read(clips)

    def _placed(self, clip: Clip) -> Clip:
        said = normalise(clip.text, clip.language)
        place = int(hashlib.sha256(f"{self.seed} {said}".encode()).hexdigest()[:12], 16) % 100
        limit = TEST_PERCENT + DEV_PERCENT
        split: Split = "test" if place < TEST_PERCENT else "dev" if place < limit else "train"
        return replace(clip, split=split, speaker=hashlib.sha256(said.encode()).hexdigest()[:12])


def prepare(store: Store, folder: Path, language: str, weights: str, split_seed: int = 0) -> str:
    """The set of a folder of prompts; its id. Found, if it was made before."""
    corpus = Prompts(FolderCorpus(LocalPlace(folder), language), split_seed)
    config = PrepareConfig(tokenizer=weights)
    set_id = preparation.plan(store, corpus, language, config, "prompts")
    preparation.prepare_all(store, set_id, corpus, preparation.pending(store, set_id))
    preparation.complete(store, set_id)
    return set_id


def clips_of(store: Store, set_id: str, split: Split = "test") -> PreparedClips:
    """The clips of a split."""
    return open_prepared(store, set_id, (split,), cache_folder())


@dataclass(frozen=True)
class Arm:
    """One way to fine-tune. What it does not name is as the product has it."""

    changes: Mapping[str, Any] = field(default_factory=dict)  # of FinetuneConfig
    rate: float = 1.0  # times the default learning rate
    freeze_decoder: bool = False
    encoder_first: int = 0  # steps in which the encoder alone learns what it gave in 30 s windows


ARMS: dict[str, Arm] = {
    "tuned": Arm(),
    "full-windows": Arm({"windows": "full"}),
    **{f"rate-{factor:g}": Arm(rate=factor) for factor in (0.25, 0.5, 2.0, 4.0, 8.0)},
    "warmup-0": Arm({"warmup_share": 0.0}),
    "warmup-0.3": Arm({"warmup_share": 0.3}),
    "rate-2-warmup-0.3": Arm({"warmup_share": 0.3}, rate=2.0),
    "cosine": Arm({"decay": "cosine"}),
    "no-masks": Arm({"spec_augment": False}),
    "share-0": Arm({"full_window_share": 0.0}),
    "share-0.1": Arm({"full_window_share": 0.1}),
    "slack-0.5": Arm({"slack_s": 0.5}),
    "slack-1": Arm({"slack_s": 1.0}),
    "freeze-encoder": Arm({"freeze_encoder": True}),
    "freeze-decoder": Arm(freeze_decoder=True),
    "lora": Arm({"lora_rank": 32}),
    "lora-rate-3": Arm({"lora_rank": 32}, rate=3.0),
    "encoder-first-30": Arm(encoder_first=30),
    "encoder-first-60": Arm(encoder_first=60),
}


def configured(
    arm: Arm, weights: str, *, steps: int, seed: int, precision: str, **changes: Any
) -> FinetuneConfig:
    """The product's configuration of an arm; dev is looked at once, after the last step."""
    config = FinetuneConfig(
        **{
            "model": weights,
            "steps": steps,
            "seed": seed,
            "precision": precision,
            "batch_s": BATCH_S,
            "evaluate_every": steps,
            "checkpoint_every": max(1, min(steps, 50)),
            "keep_checkpoints": 1,
            "dev_clips": 16,  # test is what counts here
            "replay_share": 0.0,  # what is in the store besides changes no arm
            "processes": 1,
            **arm.changes,
            **changes,
        }
    )
    if arm.rate == 1.0:
        return config
    width = load_model(weights).model.config
    return replace(config, learning_rate=arm.rate * default_learning_rate(config, width))


def like_clips_per_step(store: Store, set_id: str, config: FinetuneConfig) -> FinetuneConfig:
    """Full windows, as many clips in a step as a step at true length has on average."""
    examples = Examples(clips_of(store, set_id, "train"), load_model(config.model).tokenizer)
    groups = Sampler(examples.frames, BATCH_S, config.slack_s, 0.0, config.seed).epoch(0)
    accumulate = max(1, round(len(examples) / len(groups) / WINDOWS_AT_ONCE))
    return replace(config, batch_s=30.0 * WINDOWS_AT_ONCE, accumulate=accumulate)


@dataclass
class Meter(Quiet):
    """Processor seconds of steps. Those after a pause (start, validation, checkpoint) are not counted."""

    pause_every: int
    counted: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)  # by step
    first: int = 0
    _last: float | None = None

    def started(self, _run: str, _total_steps: int, resumed_from: int) -> None:
        self.first = resumed_from

    def step(self, step: int, loss: float, *_: float) -> None:
        now = time.process_time()
        if self._last is not None:
            self.counted.append(now - self._last)
        self.losses.append(loss)
        self._last = None if step % self.pause_every == 0 else now

    def step_cpu_s(self) -> float:
        """Processor seconds of a mean step; NaN if there was hardly one."""
        return float(np.mean(self.counted)) if self.counted else float("nan")


@dataclass(frozen=True)
class Tuned:
    """What tuning came to, and what it cost."""

    ref: CheckpointRef
    step_cpu_s: float
    cpu_s: float  # of all steps
    first_phase_cpu_s: float
    dev_loss: float | None
    loss: float  # mean of the last fifth of the steps that this process took
    resumed_from: int


def tune(
    store: Store,
    set_id: str,
    language: str,
    arm: Arm,
    config: FinetuneConfig,
    folder: Path,
) -> Tuned:
    """Fine-tune as the arm says, by the product's `fit`; goes on where it was stopped.

    Args: folder: where the model of a first phase is kept.
    """
    first_phase_cpu_s = 0.0
    if arm.encoder_first:
        start = folder / f"encoder-first-{arm.encoder_first}-{set_id}-{config.seed}"
        if not (start / "config.json").exists():
            began = time.process_time()
            taught = teach_encoder(store, set_id, config, arm.encoder_first)
            first_phase_cpu_s = time.process_time() - began
            save_model_folder(taught, start, language=language)
        config = replace(config, model=str(start))
    meter = Meter(config.checkpoint_every or 1)
    with frozen_decoder() if arm.freeze_decoder else contextlib.nullcontext():
        ref = fitting.fit(store, set_id, language, config, meter)
    points = [point for point in curve(store, ref.run) if getattr(point, "dev_loss", None) is not None]
    last = meter.losses[-max(1, len(meter.losses) // 5) :]
    return Tuned(
        ref=ref,
        step_cpu_s=meter.step_cpu_s(),
        cpu_s=meter.step_cpu_s() * (config.steps or 0),
        first_phase_cpu_s=first_phase_cpu_s,
        dev_loss=getattr(points[-1], "dev_loss", None) if points else None,
        loss=float(np.mean(last)) if last else float("nan"),
        resumed_from=meter.first,
    )


def load_tuned(store: Store, arm: Arm, ref: CheckpointRef) -> SpeechModel:
    """The model of an arm's checkpoint."""
    with frozen_decoder() if arm.freeze_decoder else contextlib.nullcontext():
        return fitting.load_checkpoint(store, ref, cache_folder())


def forget(store: Store, ref: CheckpointRef) -> None:
    """Remove a run's checkpoints: near a gigabyte of each run."""
    store.remove(f"{run_folder(ref.run)}/checkpoints")


@contextlib.contextmanager
def frozen_decoder() -> Iterator[None]:
    """Meanwhile learners train their encoder alone."""

    def frozen(model: Any, config: FinetuneConfig) -> Learner:
        learner = make_learner(model, config)
        model.model.decoder.requires_grad_(False)
        return learner

    with mock.patch.object(fitting, "make_learner", frozen):
        yield


def teach_encoder(store: Store, set_id: str, config: FinetuneConfig, steps: int) -> SpeechModel:
    """The encoder learns to give at true length what it gave in a window: the mean squared error of states.

    So does futo-org/whisper-acft, which compares what the decoder makes of them.
    """
    model = load_model(config.model)
    network: Any = model.model
    examples = Examples(clips_of(store, set_id, "train"), model.tokenizer)
    sampler = Sampler(examples.frames, TEACHING_BATCH_S, config.slack_s, 0.0, config.seed)
    teacher = copy.deepcopy(network.get_encoder()).eval().requires_grad_(False)
    weights = [weight for weight in network.get_encoder().parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=TEACHING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    plan = sampler.steps(Position(), 1)
    for number in range(steps):
        (batch,), _ = next(plan)
        for group in optimiser.param_groups:
            group["lr"] = TEACHING_RATE * (1 - number / steps)
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            own = encode(network, examples.batch(batch, slack_s=config.slack_s).to(model.device).mels)
            windows = examples.batch(Batch(batch.clips, True, batch.epoch), slack_s=0.0)
            with torch.no_grad():
                wanted = encode_with(teacher, windows.to(model.device).mels)[:, : own.shape[1]]
        loss = functional.mse_loss(own.float(), wanted.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    return model


@dataclass(frozen=True)
class Scored:
    """A model's hypotheses of clips in one mode."""

    rows: pd.DataFrame = field(repr=False)  # of `score_clips`
    scores: Scores  # normalised
    loops: int
    cpu_s: float


def score(
    model: SpeechModel, clips: PreparedClips, *, full: bool, slack_s: float = 0.1, bf16: bool = False
) -> Scored:
    """Decode and report, greedily. Args: bf16: cast the model for good, as a GPU would."""
    if bf16:
        torch.nn.Module.to(model.model, torch.bfloat16)
    began = time.process_time()
    with as_kept():  # else a processor made for bf16 would take it for fp32 too
        decoded = decode(
            model,
            [clips.mel(i) for i in range(len(clips))],
            [clips.floor(i) for i in range(len(clips))],
            language=clips.language,
            full_windows=full,
            slack_s=slack_s,
            batch_s=240.0,
        )
    cpu_s = time.process_time() - began
    table = pd.DataFrame(
        {
            "clip_id": clips.rows["id"],
            "text": clips.rows["text"],
            "speaker": clips.rows["speaker"],
            "duration_s": clips.rows["duration_s"],
            "hypothesis": [one.text for one in decoded],
            "finished": [one.finished for one in decoded],
        }
    )
    rows = scored_rows(table, clips.language)
    about = describe(rows, RESAMPLES)
    return Scored(rows, about.scores.normalised, about.loops, cpu_s)


def scored_rows(table: pd.DataFrame, language: str) -> pd.DataFrame:
    """The product's counts for (clip_id, text, speaker, duration_s, hypothesis, finished)."""
    blank = dict.fromkeys(("audio", "gender", "age", "accent"), "")
    return score_clips(table.assign(**blank), language)


def losses(model: SpeechModel, examples: Examples, slack_s: float = 0.1) -> tuple[list[float], list[int]]:
    """Of each clip: the loss in nats over its tokens, led by its text at true length; and its tokens."""
    learner = Learner(model.model, FinetuneConfig(model="any")).eval()
    totals, tokens = [], []
    with torch.inference_mode():
        for place in range(len(examples)):
            example = examples.batch(Batch(np.array([place]), False, 0), slack_s=slack_s).to(model.device)
            totals.append(float(learner(example)))
            tokens.append(len(example.targets))
    return totals, tokens


def paired(first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame]) -> Difference:
    """First minus second over all languages together: below 0 the first is better. Clips must be the same."""
    sides = []
    for tables in (first, second):
        marked = [
            table.assign(
                clip_id=[f"{number} {clip}" for clip in table["clip_id"]],
                speaker=[f"{number} {unit}" for unit in table["speaker"]],
            )
            for number, table in enumerate(tables)
        ]
        sides.append(pd.concat(marked, ignore_index=True))
    return difference(sides[0], sides[1], RESAMPLES)


def capped(rows: pd.DataFrame) -> pd.DataFrame:
    """The same with no more errors in a clip than it has words: one loop would outweigh all other clips."""
    errors = rows["substitutions"] + rows["deletions"] + rows["insertions"]
    over = (errors - rows["words"]).clip(lower=0)
    return rows.assign(insertions=rows["insertions"] - over)


def peak_mib() -> float:
    """The most main memory that this process held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def paired_loss(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> str:
    """The difference of losses on test, in nats a token, with twice its standard error over clips."""
    if any("test_losses" not in one for one in (*first, *second)):
        return ""
    gaps = np.concatenate(
        [np.subtract(a["test_losses"], b["test_losses"]) for a, b in zip(first, second, strict=True)]
    )
    tokens = np.concatenate([one["test_tokens"] for one in first])
    mean = float(gaps.sum() / tokens.sum())
    error = float(np.sqrt(((gaps - mean * tokens) ** 2).sum())) / float(tokens.sum())
    return f"{mean:+.3f} ± {2 * error:.3f}"
