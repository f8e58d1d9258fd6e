"""The loop of a fine-tuning run: steps, validations, checkpoints; in one process or as one of several."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from accelerate import Accelerator

from dagsverk.cache import cache_folder
from dagsverk.records import write
from dagsverk.speech.config import NANO, FinetuneConfig
from dagsverk.speech.errors import Interrupted, Untrainable
from dagsverk.speech.mixtures import MixedSet
from dagsverk.speech.model.models import SpeechModel
from dagsverk.speech.runs import (
    CheckpointRef,
    Cost,
    Finish,
    RunConfig,
    TrainingPoint,
    ValidationPoint,
    run_folder,
)
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.averaging import SHARES, average, choose_share, start_of
from dagsverk.speech.training.batches import Batch, Position, Sampler
from dagsverk.speech.training.checkpoints import Best, State
from dagsverk.speech.training.defaults import full_window_share
from dagsverk.speech.training.examples import Example, Examples
from dagsverk.speech.training.learner import Learner, learning_rate, make_optimiser, take_step, trained
from dagsverk.speech.training.mixing import of_epoch
from dagsverk.speech.training.progress import Progress
from dagsverk.speech.training.validation import Validator
from dagsverk.store import Store
from dagsverk.version import kind_of_machine

CURVE_POINTS = 200  # of the training loss


@dataclass(frozen=True)
class Step:
    """What this process has to do in a step; made ready while the step before is computed."""

    examples: list[tuple[int, Example]]  # each with its place among the batches of all processes
    weight: float  # of a token's loss: 1 / the tokens of all processes; 0: only keeps the others company
    clips: list[str]  # of all processes, in order
    seen: tuple[int, ...]  # how many of them are the run's own, and of each other set
    position: Position  # after it


@dataclass(frozen=True)
class Inputs:
    """What a run works with, in one process."""

    model: SpeechModel  # the one that learns, in a form that decodes
    learner: Learner  # around the same model
    train: Examples
    dev: Examples
    mixed: tuple[MixedSet, ...] = ()  # what is drawn from other sets of the language


class Loop:
    """A run on its way. Each process of the run makes one; the main process writes and tells.

    Args:
        settings: what the run was begun with.
        stop: set when the process is told to stop.
        until: a step at which there is a checkpoint, and the run pauses; None: it goes to its end.
    """

    def __init__(
        self,
        store: Store,
        settings: RunConfig,
        inputs: Inputs,
        progress: Progress,
        stop: threading.Event,
        until: int | None = None,
    ) -> None:
        self._until = until
        self._store, self._run, self._config = store, settings.run, settings.finetune
        self._groups_per_step = settings.groups_per_step
        self._set_id, self._mixed = settings.set_id, settings.mixed
        self._learner, self._train = inputs.learner, inputs.train
        self._progress, self._stop = progress, stop
        self._total, self._evaluate_every, self._checkpoint_every = _intervals(self._config)
        self._accelerator = Accelerator(mixed_precision="bf16" if self._config.precision == "bf16" else "no")
        self._validator = Validator(inputs.learner, inputs.model, inputs.dev, self._config, self._accelerator)
        self._main = self._accelerator.is_main_process
        self._sampler = make_sampler(inputs.train, self._config)
        self._weights = trained(inputs.learner)
        self._optimiser = make_optimiser(self._weights, self._config)
        self._start = start_of(self._weights) if self._config.average_with_base else {}
        self._state = self._resume()
        self._network = self._accelerator.prepare_model(inputs.learner)
        self._step_began = self._counted_from = time.perf_counter()

    def run(self) -> CheckpointRef:
        """Take the steps that are left, or those until its pause. Raises Interrupted, Untrainable."""
        first = self._state.step
        if self._main:
            self._progress.started(self._run, self._total, first)
        if first and self._validation_is_due() and not self._validated():  # stopped before it could
            self._validate()
            self._save()
        if self._pauses():
            return CheckpointRef(self._run, first)
        self._learner.train()
        self._step_began = time.perf_counter()
        with closing(self._steps()) as steps:
            for step in steps:
                stop = self._advance(step)
                if stop and self._state.step < self._total:
                    self._save()
                    raise Interrupted(
                        f"{self._run} was told to stop after step {self._state.step} of {self._total}; that "
                        "is saved: start it again, and it goes on from there"
                    )
                better = self._validation_is_due() and self._validate()
                if better or self._checkpoint_is_due():
                    self._save()
                    self._step_began = time.perf_counter()
                if self._pauses():
                    return CheckpointRef(self._run, self._state.step)
        return self._finish()

    def _pauses(self) -> bool:
        return self._until is not None and self._until <= self._state.step < self._total

    def _advance(self, step: Step) -> bool:
        """One step, and the state after it. Returns whether any process was told to stop."""
        before = self._state
        rate = learning_rate(before.step, self._config)
        try:
            loss, stop = self._learn(step, rate)
        except torch.OutOfMemoryError as error:
            raise Untrainable(
                f"{self._run}: step {before.step + 1} does not fit into the GPU's memory; start a "
                f"run with batch_s below {self._config.batch_s}, or with gradient_checkpointing"
            ) from error
        clips_per_s = len(step.clips) / (time.perf_counter() - self._step_began)
        self._step_began = time.perf_counter()
        self._state = replace(
            before,
            step=before.step + 1,
            position=step.position,
            trail=hashlib.sha256("\n".join([before.trail, *step.clips]).encode()).hexdigest(),
            recent=(*before.recent, loss),
            seen=_added(before, step.seen),
        )
        if self._state.step % max(1, self._total // CURVE_POINTS) == 0:
            self._add_training_point(rate, clips_per_s)
        if self._main:
            self._progress.step(self._state.step, loss, rate, clips_per_s)
        return stop

    def _add_training_point(self, rate: float, clips_per_s: float) -> None:
        state = self._state
        point = TrainingPoint(
            step=state.step,
            loss=sum(state.recent) / len(state.recent),
            learning_rate=rate,
            clips_per_s=round(clips_per_s, 1),
        )
        self._state = replace(state, curve=(*state.curve, point), recent=())
        self._write_curve()

    def _learn(self, step: Step, rate: float) -> tuple[float, bool]:
        """Move the weights. Returns the loss per token, and whether any process was told to stop."""
        accelerator = self._accelerator
        processes = accelerator.num_processes
        total = torch.zeros((), device=accelerator.device)
        for place, example in step.examples:
            torch.manual_seed(_seed(self._config.seed, self._state.step, place))  # dropout
            waits = place != step.examples[-1][0]  # gradients go to the others with the last batch
            with accelerator.no_sync(self._network) if waits else nullcontext():
                loss = self._network(example)
                accelerator.backward(loss * (step.weight * processes))  # averaged over processes
            total += loss.detach() * step.weight
        norm = torch.nn.utils.clip_grad_norm_(self._weights.values(), self._config.max_grad_norm)
        stops = torch.full((), float(self._stop.is_set()), device=accelerator.device)  # a copy would wait
        sums = accelerator.reduce(torch.stack([total, stops]), reduction="sum")
        mean, stop, length = take_step(self._optimiser, torch.cat([sums, norm.reshape(1)]), rate)
        if not (math.isfinite(mean) and math.isfinite(length)):
            raise Untrainable(
                f"{self._run}: in step {self._state.step + 1} the loss is {mean} and its gradient's "
                f"length {length}, want numbers; start a run with a learning_rate below "
                f"{self._config.learning_rate}, a longer warm-up, or precision fp32"
            )
        return mean, stop > 0

    def _steps(self) -> Generator[Step, None, None]:
        """The steps that are left, each made ready in the background."""
        plan = self._sampler.steps(self._state.position, self._groups_per_step)
        waiting: Future[Step] | None = None
        with ThreadPoolExecutor(1, "dagsverk-batches") as pool:
            for number in range(self._state.step, self._total):
                batches, position = next(plan)
                following = pool.submit(self._prepare, number, batches, position)
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

    def _prepare(self, number: int, batches: Sequence[Batch], position: Position) -> Step:
        first, processes = self._accelerator.process_index, self._accelerator.num_processes
        mine = range(first, len(batches), processes)
        tokens = sum(self._train.targets(batch) for batch in batches)
        examples = [(place, self._example(number, place, batches[place])) for place in mine or [0]]
        ids = self._train.rows["id"]
        clips = [str(ids.iat[int(clip)]) for batch in batches for clip in batch.clips]
        seen = self._train.counted(np.concatenate([batch.clips for batch in batches]))
        return Step(examples, 1 / tokens if mine else 0.0, clips, seen, position)

    def _example(self, number: int, place: int, batch: Batch) -> Example:
        mask = None
        if self._config.spec_augment:
            mask = torch.Generator().manual_seed(_seed(self._config.seed, number, place, "mask"))
        example = self._train.batch(batch, slack_s=self._config.slack_s, mask=mask)
        return example.to(self._accelerator.device)

    def _resume(self) -> State:
        """The newest whole checkpoint, loaded; else the beginning."""
        newest = checkpoints.newest(self._store, self._run, cache_folder())
        if newest is None:
            return State()
        state, files = newest
        checkpoints.load_weights(files[checkpoints.MODEL], self._weights)
        checkpoints.load_optimiser(files[checkpoints.OPTIMISER], self._weights, self._optimiser)
        return state

    def _validation_is_due(self) -> bool:
        return self._state.step % self._evaluate_every == 0 or self._state.step == self._total

    def _checkpoint_is_due(self) -> bool:
        return self._state.step % self._checkpoint_every == 0 or self._state.step == self._total

    def _validated(self) -> bool:
        return any(
            isinstance(point, ValidationPoint) and point.step == self._state.step
            for point in self._state.curve
        )

    def _validate(self) -> bool:
        """Validate on dev. Returns whether the result is better than ever."""
        validation, state = self._validator.validate(), self._state
        self._state = replace(state, curve=(*state.curve, validation.point(state.step)))
        self._write_curve()
        if self._main:
            rates = validation.dev_wer, validation.dev_cer
            self._progress.validated(state.step, validation.dev_loss, *rates)
        if state.best is not None and validation.rank() >= state.best.rank():
            return False
        best = Best(state.step, rank_wer=validation.rank()[0], dev_loss=validation.dev_loss)
        self._state = replace(self._state, best=best)
        return True

    def _write_curve(self) -> None:
        if self._main:
            write(self._store, f"{run_folder(self._run)}/curve.json", self._state.curve)

    def _spent_s(self) -> float:
        """Seconds at work until now; what a killed attempt did after its checkpoint is not in it."""
        return round(self._state.seconds + time.perf_counter() - self._counted_from, 1)

    def _save(self) -> None:
        self._state = replace(self._state, seconds=self._spent_s())
        self._counted_from = time.perf_counter()
        if self._main:
            checkpoints.save(self._store, self._run, self._state, self._weights, self._optimiser)
            best = self._state.best.step if self._state.best else None
            checkpoints.prune(self._store, self._run, keep=self._config.keep_checkpoints, best=best)
        self._accelerator.wait_for_everyone()

    def _finish(self) -> CheckpointRef:
        best = self._state.best.step if self._state.best else self._total
        rates = self._average(best) if self._config.average_with_base else {}
        if self._main:
            self._write_curve()
            share = choose_share(rates) if rates else 1.0
            trail = self._state.trail
            tried = tuple((each, None if math.isnan(wer) else wer) for each, wer in rates.items())
            sets = (self._set_id, *(one.set for one in self._mixed), *self._config.replay_sets)
            seen = dict(zip(sets, self._state.seen, strict=False))
            finish = Finish(
                step=best, steps=self._total, trail=trail, tuned_share=share, averaged=tried, seen=seen
            )
            spent = Cost(seconds=self._spent_s(), device=self._device(), machine=kind_of_machine())
            write(self._store, f"{run_folder(self._run)}/cost.json", spent)
            write(self._store, f"{run_folder(self._run)}/finished.json", finish)
            self._progress.finished(best)
        self._accelerator.wait_for_everyone()
        return CheckpointRef(self._run, best)

    def _device(self) -> str:
        """What it was computed on: "cpu", or the name of the GPU."""
        device = self._accelerator.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device.type)

    def _average(self, step: int) -> dict[float, float]:
        """The WER on dev of means of a checkpoint and the start, by the checkpoint's share."""
        saved = checkpoints.whole(self._store, self._run, step, cache_folder())[checkpoints.MODEL]
        rates = {}
        for share in (*SHARES, 1.0):
            checkpoints.load_weights(saved, self._weights)
            average(self._weights, self._start, share)
            rates[share] = self._validator.validate().dev_wer
        return rates


def make_sampler(train: Examples, config: FinetuneConfig) -> Sampler:
    """The batches of a run. Takes a configuration that has a `batch_s`."""
    share = full_window_share(config)
    batch_s = float(config.batch_s or 0)
    return Sampler(
        train.frames,
        batch_s,
        config.slack_s,
        share,
        config.seed,
        shortest_first=config.model == NANO,  # where in them is what, is learnt there sooner
        pools=train.pools,
        replay_share=config.replay_share or 0.0,
        mixed=of_epoch(config, train.pools),
    )


def _added(before: State, seen: tuple[int, ...]) -> tuple[int, ...]:
    """Clips of each pool up to now; nothing where a version began that did not count."""
    if not before.step:
        return seen
    return tuple(a + b for a, b in zip(before.seen, seen, strict=True)) if before.seen else ()


def _intervals(config: FinetuneConfig) -> tuple[int, int, int]:
    """Steps, steps between validations, steps between checkpoints; `resolve` has filled them in."""
    steps, evaluate_every, checkpoint_every = config.steps, config.evaluate_every, config.checkpoint_every
    if steps is None or evaluate_every is None or checkpoint_every is None:
        raise ValueError("the configuration has gaps; fill them in with `defaults.resolve`")
    return steps, evaluate_every, checkpoint_every


def _seed(*parts: object) -> int:
    """A seed that follows from the parts alone."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
