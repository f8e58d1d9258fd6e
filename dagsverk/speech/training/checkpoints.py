"""Checkpoints of a run in the store: written whole or not at all, the newest few and the best one kept.

Layout below `speech/<language name>/runs/<run>/checkpoints/<step, six digits>/`:
    model.safetensors       the weights that learn, by name (the others are those of the start model)
    optimiser.safetensors   the optimiser's memory, "<weight's name>/<what>"
    state.json              step, position among the batches, best validation, curve
    complete.json           SHA-256 of each file; written last, and the first to go when it is removed

There is no state of random numbers and no schedule to keep: both follow from the seed and the step.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from dagsverk.records import from_bytes, read, to_bytes, write
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.runs import Curve, run_folder
from dagsverk.speech.training.batches import Position
from dagsverk.store import Store, StoreError, Unavailable

MODEL, OPTIMISER, STATE, COMPLETE = (
    "model.safetensors",
    "optimiser.safetensors",
    "state.json",
    "complete.json",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Best:
    """The validation with the lowest WER so far, of equals with the lowest loss."""

    step: int
    rank_wer: float  # infinite if there was nothing to score
    dev_loss: float

    def rank(self) -> tuple[float, float]:
        return self.rank_wer, self.dev_loss


@dataclass(frozen=True)
class State:
    """Where a run is, weights aside."""

    step: int = 0
    position: Position = field(default_factory=Position)
    trail: str = ""  # SHA-256 over all clips trained on, in order: equal trails, the same batches
    curve: Curve = ()
    recent: tuple[float, ...] = ()  # losses since the last point of the curve
    best: Best | None = None
    seen: tuple[int, ...] = ()  # clips of each pool, each as often as it was trained on; (): not counted
    seconds: float = field(default=0.0, compare=False)  # at work until here; what was lost is not in it


@dataclass(frozen=True)
class Complete:
    """The record of a whole checkpoint."""

    files: Mapping[str, str]  # name -> SHA-256


def save(
    store: Store,
    run: str,
    state: State,
    weights: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint; a repeated write of the same step replaces it with the same."""
    folder = _folder(run, state.step)
    with TemporaryDirectory(prefix="dagsverk-checkpoint-") as temporary:
        local = Path(temporary)
        save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, local / MODEL)
        save_file(_memory(weights, optimiser), local / OPTIMISER)
        (local / STATE).write_bytes(to_bytes(state))
        names = (MODEL, OPTIMISER, STATE)
        digests = {name: store.put_file(f"{folder}/{name}", local / name) for name in names}
    write(store, f"{folder}/{COMPLETE}", Complete(digests))


def newest(store: Store, run: str, cache: Path) -> tuple[State, dict[str, Path]] | None:
    """The newest whole checkpoint and its files; None if there is none. A damaged one is named in the log and
    passed over."""
    for step in sorted(steps(store, run), reverse=True):
        try:
            files = whole(store, run, step, cache)
            where = f"{_folder(run, step)}/{STATE} in {store.url}"
            return from_bytes(files[STATE].read_bytes(), State, where), files
        except SpeechError as error:
            logger.warning("%s; going back to the one before it", error)
    return None


def whole(store: Store, run: str, step: int, cache: Path) -> dict[str, Path]:
    """Local copies of a checkpoint's files, each compared with its SHA-256.

    Raises SpeechError naming the first that is missing or damaged.
    """
    folder = _folder(run, step)
    files = {}
    try:
        for name, wanted in read(store, f"{folder}/{COMPLETE}", Complete).files.items():
            files[name] = store.fetch(f"{folder}/{name}", cache)
            with files[name].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != wanted:
                raise SpeechError(
                    f"checkpoint {folder} in {store.url} is damaged: {name} has SHA-256 {digest[:12]}…, "
                    f"its complete.json says {wanted[:12]}…"
                )
    except Unavailable:
        raise  # nothing says that the checkpoint is not whole
    except StoreError as error:
        raise SpeechError(f"checkpoint {folder} in {store.url} is not whole: {error}") from error
    return files


def steps(store: Store, run: str) -> list[int]:
    """The steps of a run that have a checkpoint, ascending."""
    paths = store.list(f"{run_folder(run)}/checkpoints")
    return sorted(int(path.split("/")[-2]) for path in paths if path.endswith(f"/{COMPLETE}"))


def load_weights(file: Path, weights: Mapping[str, nn.Parameter]) -> None:
    """Copy saved weights into place. Raises SpeechError if they are of another model."""
    saved = _tensors(file)
    if set(saved) != set(weights):
        odd = sorted(set(saved) ^ set(weights))
        raise SpeechError(f"{file} is of another model: only one of the two has {', '.join(odd[:3])}")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(saved[name])


def load_optimiser(file: Path, weights: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> None:
    """Give an optimiser over the same weights the memory that was saved."""
    saved = _tensors(file)
    index = {id(weight): place for place, weight in enumerate(_members(optimiser))}
    memory: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in saved.items():
        owner, _, what = name.rpartition("/")
        memory.setdefault(index[id(weights[owner])], {})[what] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": memory})


def prune(store: Store, run: str, *, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the newest `keep` and the best, and what a killed writer left."""
    prefix = f"{run_folder(run)}/checkpoints"
    complete = steps(store, run)
    kept = {*complete[-keep:], *([best] if best is not None else [])}
    folders = {path.removeprefix(f"{prefix}/").split("/")[0] for path in store.list(prefix)}
    for folder in sorted(folders):
        if int(folder) not in kept and int(folder) <= max(complete, default=-1):
            store.remove(f"{prefix}/{folder}")


def _folder(run: str, step: int) -> str:
    return f"{run_folder(run)}/checkpoints/{step:06d}"


def _members(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _memory(weights: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{what}": tensor.detach().contiguous()
        for name, weight in weights.items()
        for what, tensor in optimiser.state[weight].items()
    }


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise SpeechError(f"{file} cannot be read: {error}") from error
