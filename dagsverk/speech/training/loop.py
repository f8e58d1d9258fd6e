"""The loop of a fine-tuning run: steps, looks at dev, checkpoints; in one process or as one of several."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator

from dagsverk.records import write_json
from dagsverk.speech.cache import cache_folder
from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted, SpeechError
from dagsverk.speech.model.models import NANO, SpeechModel
from dagsverk.speech.runs import CheckpointRef, RunConfig, run_folder
from dagsverk.speech.training import checkpoints
from dagsverk.speech.training.batches import Batch, Position, Sampler
from dagsverk.speech.training.checkpoints import State
from dagsverk.speech.training.defaults import full_window_share
from dagsverk.speech.training.examples import Example, Examples
from dagsverk.speech.training.learner import Learner, learning_rate, make_optimiser, trained
from dagsverk.speech.training.progress import Progress
from dagsverk.speech.training.validation import look
from dagsverk.store import Store

CURVE_POINTS = 200  # of the training loss


@dataclass(frozen=True)
class Step:
    """What this process has to do in a step; made ready while the step before is computed."""

    examples: list[tuple[int, Example]]  # each with its place among the batches of all processes
    weight: float  # of a token's loss: 1 / the tokens of all processes; 0: only keeps the others company
    clips: list[str]  # of all processes, in order
    position: Position  # after it


class Loop:
    """A run on its way. Each process of the run makes one; the main process writes and tells."""

    def __init__(
        self,
        store: Store,
        made: RunConfig,
        start: SpeechModel,
        learner: Learner,
        train: Examples,
        dev: Examples,
        progress: Progress,
        asked: threading.Event,
    ) -> None:
        self._store, self._made, self._config = store, made, made.finetune
        self._start, self._learner, self._train, self._dev = start, learner, train, dev
        self._progress, self._asked = progress, asked
        self._total, self._look_every, self._save_every = _numbers(self._config)
        self._accelerator = Accelerator(mixed_precision="bf16" if self._config.precision == "bf16" else "no")
        self._main = self._accelerator.is_main_process
        self._sampler = make_sampler(train, self._config)
        self._weights = trained(learner)
        self._optimiser = make_optimiser(self._weights, self._config)
        self._state = self._resume()
        self._network = self._accelerator.prepare_model(learner)
        self._began = time.perf_counter()  # of the present step

    def run(self) -> CheckpointRef:
        """Take the steps that are left. Raises Interrupted, SpeechError."""
        state = self._state
        if self._main:
            self._progress.started(self._made.run, self._total, state.step)
        if state.step and self._look_is_due() and not self._looked():  # stopped before it could
            self._look()
            self._save()
        self._learner.train()
        self._began = time.perf_counter()
        with closing(self._ahead()) as steps:
            for step in steps:
                stop = self._advance(step)
                if stop and state.step < self._total:
                    self._save()
                    raise Interrupted(
                        f"{self._made.run} was told to stop after step {state.step} of {self._total}; that "
                        "is saved: start it again, and it goes on from there"
                    )
                better = self._look_is_due() and self._look()
                if better or state.step % self._save_every == 0 or state.step == self._total:
                    self._save()
                    self._began = time.perf_counter()
        return self._finish()

    def _advance(self, step: Step) -> bool:
        """One step, and what is known after it. Returns whether any process was told to stop."""
        rate = learning_rate(self._state.step, self._config)
        try:
            loss, stop = self._learn(step, rate)
        except torch.OutOfMemoryError as error:
            raise SpeechError(
                f"{self._made.run}: step {self._state.step + 1} does not fit into the GPU's memory; start a "
                f"run with batch_s below {self._config.batch_s}, or with gradient_checkpointing"
            ) from error
        state = self._state
        state.step, state.position = state.step + 1, step.position
        state.trail = hashlib.sha256("\n".join([state.trail, *step.clips]).encode()).hexdigest()
        state.recent.append(loss)
        clips_per_s = len(step.clips) / (time.perf_counter() - self._began)
        self._began = time.perf_counter()
        if state.step % max(1, self._total // CURVE_POINTS) == 0:
            mean = sum(state.recent) / len(state.recent)
            point = {"loss": mean, "learning_rate": rate, "clips_per_s": round(clips_per_s, 1)}
            state.curve.append({"step": state.step, **point})
            state.recent.clear()
            self._show_curve()
        if self._main:
            self._progress.step(state.step, loss, rate, clips_per_s)
        return stop

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
        asked = torch.tensor(float(self._asked.is_set()), device=accelerator.device)
        seen = accelerator.reduce(torch.stack([total, asked]), reduction="sum")
        mean, stop, length = torch.cat([seen, norm.reshape(1)]).tolist()
        if not (math.isfinite(mean) and math.isfinite(length)):
            raise SpeechError(
                f"{self._made.run}: in step {self._state.step + 1} the loss is {mean} and its gradient's "
                f"length {length}, want numbers; start a run with a learning_rate below "
                f"{self._config.learning_rate}, a longer warm-up, or precision fp32"
            )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return mean, stop > 0

    def _ahead(self) -> Generator[Step, None, None]:
        """The steps that are left, each made ready in the background."""
        plan = self._sampler.steps(self._state.position, self._made.groups_per_step)
        waiting: Future[Step] | None = None
        with ThreadPoolExecutor(1, "dagsverk-batches") as pool:
            for number in range(self._state.step, self._total):
                batches, position = next(plan)
                following = pool.submit(self._ready, number, batches, position)
                if waiting is not None:
                    yield waiting.result()
                waiting = following
            if waiting is not None:
                yield waiting.result()

    def _ready(self, number: int, batches: Sequence[Batch], position: Position) -> Step:
        first, processes = self._accelerator.process_index, self._accelerator.num_processes
        mine = range(first, len(batches), processes)
        tokens = sum(self._train.targets(batch) for batch in batches)
        examples = [(place, self._example(number, place, batches[place])) for place in mine or [0]]
        ids = self._train.rows["id"]
        clips = [str(ids.iat[int(clip)]) for batch in batches for clip in batch.clips]
        return Step(examples, 1 / tokens if mine else 0.0, clips, position)

    def _example(self, number: int, place: int, batch: Batch) -> Example:
        mask = None
        if self._config.spec_augment:
            mask = torch.Generator().manual_seed(_seed(self._config.seed, number, place, "mask"))
        example = self._train.batch(batch, slack_s=self._config.slack_s, mask=mask)
        return example.to(self._accelerator.device)

    def _resume(self) -> State:
        """The newest whole checkpoint, loaded; else the beginning."""
        found = checkpoints.newest(self._store, self._made.run, cache_folder())
        if found is None:
            return State()
        state, files = found
        checkpoints.load_weights(files[checkpoints.MODEL], self._weights)
        checkpoints.load_optimiser(files[checkpoints.OPTIMISER], self._weights, self._optimiser)
        return state

    def _look_is_due(self) -> bool:
        return self._state.step % self._look_every == 0 or self._state.step == self._total

    def _looked(self) -> bool:
        return any(point["step"] == self._state.step and "dev_loss" in point for point in self._state.curve)

    def _look(self) -> bool:
        """Look at dev. Returns whether it is better than ever."""
        state = self._state
        seen = look(self._learner, self._start, self._dev, self._config, self._accelerator)
        point = {name: None if math.isnan(value) else value for name, value in asdict(seen).items()}
        state.curve.append({"step": state.step, **point})
        self._show_curve()
        if self._main:
            self._progress.looked(state.step, seen.dev_loss, seen.dev_wer, seen.dev_cer)
        better = state.best is None or seen.rank() < (state.best["rank_wer"], state.best["dev_loss"])
        if better:
            state.best = {"step": state.step, "rank_wer": seen.rank()[0], "dev_loss": seen.dev_loss}
        return better

    def _show_curve(self) -> None:
        if self._main:
            write_json(self._store, f"{run_folder(self._made.run)}/curve.json", self._state.curve)

    def _save(self) -> None:
        if self._main:
            checkpoints.save(self._store, self._made.run, self._state, self._weights, self._optimiser)
            best = int(self._state.best["step"]) if self._state.best else None
            checkpoints.prune(self._store, self._made.run, keep=self._config.keep_checkpoints, best=best)
        self._accelerator.wait_for_everyone()

    def _finish(self) -> CheckpointRef:
        best = int(self._state.best["step"]) if self._state.best else self._total
        if self._main:
            self._show_curve()
            content = {"step": best, "steps": self._total, "trail": self._state.trail}
            write_json(self._store, f"{run_folder(self._made.run)}/finished.json", content)
            self._progress.finished(best)
        self._accelerator.wait_for_everyone()
        return CheckpointRef(self._made.run, best)


def make_sampler(train: Examples, config: FinetuneConfig) -> Sampler:
    """The batches of a run. Takes a configuration that has a `batch_s`."""
    share = full_window_share(config)
    batch_s = float(config.batch_s or 0)
    from_scratch = config.model == NANO  # short clips first: where in them is what, is learnt there sooner
    return Sampler(train.frames, batch_s, config.slack_s, share, config.seed, shortest_first=from_scratch)


def _numbers(config: FinetuneConfig) -> tuple[int, int, int]:
    """Steps, steps between looks, steps between checkpoints; `resolve` has filled them in."""
    steps, look_every, save_every = config.steps, config.evaluate_every, config.checkpoint_every
    if steps is None or look_every is None or save_every is None:
        raise ValueError("the configuration has gaps; fill them in with `defaults.resolve`")
    return steps, look_every, save_every


def _seed(*parts: object) -> int:
    """A seed that follows from the parts alone."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
