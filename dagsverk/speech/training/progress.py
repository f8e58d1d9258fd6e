"""Who follows a training: nobody, TensorBoard, another process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

LOGS_VARIABLE = "DAGSVERK_LOGS"
LOGS_FOLDER = Path(".dagsverk/logs")


class Progress(Protocol):
    """Told by the main process of a run as it goes."""

    def started(self, run: str, total_steps: int, resumed_from: int) -> None:
        """The run begins, or goes on after step `resumed_from`."""

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        """A step is done; called at every one. Loss: nats per token."""

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None:
        """A validation on dev is done. Rates are in [0, inf), NaN if there was nothing to score."""

    def finished(self, step: int) -> None:
        """The run is at its end; `step` made the best checkpoint."""


class Quiet:
    """Tells nobody."""

    def started(self, run: str, total_steps: int, resumed_from: int) -> None: ...

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None: ...

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None: ...

    def finished(self, step: int) -> None: ...


quiet = Quiet()


class Several:
    """Tells each of several."""

    def __init__(self, *others: Progress) -> None:
        self._others = others

    def started(self, run: str, total_steps: int, resumed_from: int) -> None:
        for other in self._others:
            other.started(run, total_steps, resumed_from)

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        for other in self._others:
            other.step(step, loss, learning_rate, clips_per_s)

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None:
        for other in self._others:
            other.validated(step, dev_loss, dev_wer, dev_cer)

    def finished(self, step: int) -> None:
        for other in self._others:
            other.finished(step)


class Throttled(Several):
    """Tells another of steps at most every so many seconds, of all else at once."""

    def __init__(self, other: Progress, every_s: float = 2.0) -> None:
        super().__init__(other)
        self._every_s = every_s
        self._last_s = -float("inf")

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        if time.monotonic() - self._last_s >= self._every_s:
            self._last_s = time.monotonic()
            super().step(step, loss, learning_rate, clips_per_s)


class TensorBoard(Quiet):
    """Curves for TensorBoard, below `folder`; else `tensorboard` in DAGSVERK_LOGS or `.dagsverk/logs`."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(os.environ.get(LOGS_VARIABLE) or LOGS_FOLDER) / "tensorboard"
        self._writer: Any = None

    def started(self, run: str, total_steps: int, resumed_from: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # a second that only those who look need

        make: Any = SummaryWriter
        self._writer = make(str(self._folder / run), purge_step=resumed_from + 1)
        self._writer.add_text("run", f"{total_steps} steps, from {resumed_from} on", resumed_from)

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        values = {"loss/train": loss, "learning_rate": learning_rate, "clips_per_s": clips_per_s}
        self._write(step, values)

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None:
        self._write(step, {"loss/dev": dev_loss, "dev/wer": dev_wer, "dev/cer": dev_cer})
        self._writer.flush()

    def finished(self, step: int) -> None:
        self._writer.add_text("best", f"step {step}", step)
        self._writer.close()

    def _write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)


class EventWriter:
    """Writes each event to a file, a line each, for `EventReader` in another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def started(self, run: str, total_steps: int, resumed_from: int) -> None:
        self._write("started", run, total_steps, resumed_from)

    def step(self, step: int, loss: float, learning_rate: float, clips_per_s: float) -> None:
        self._write("step", step, loss, learning_rate, clips_per_s)

    def validated(self, step: int, dev_loss: float, dev_wer: float, dev_cer: float) -> None:
        self._write("validated", step, dev_loss, dev_wer, dev_cer)

    def finished(self, step: int) -> None:
        self._write("finished", step)

    def _write(self, *event: Any) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(event) + "\n")


class EventReader:
    """Tells a Progress what an `EventWriter` wrote since the last time."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._read = 0

    def relay(self) -> None:
        """Pass on all whole lines that are new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            name, *values = json.loads(line)
            getattr(self._progress, name)(*values)
