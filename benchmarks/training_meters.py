"""How the steps of a training are timed and looked into, from within its process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

PROFILED = "profile:"
PROFILED_STEPS = 3
SHOWN = 15


def uncounted() -> int:
    """Steps at the beginning that do not count: memory is laid out, kernels are chosen, and on a GPU loaded.

    On an H100 steps of 16 minutes took 278 ms after two such steps and 205 ms after twenty.
    """
    return 20 if torch.cuda.is_available() else 2


class Enough(BaseException):
    """The steps that were asked for are done."""


@dataclass
class Meter:
    """When steps ended."""

    steps: int
    ends: list[float]

    def tick(self) -> None:
        """A step is done. Raises Enough after the last."""
        if torch.cuda.is_available() and len(self.ends) + 1 in (uncounted(), self.steps):
            torch.cuda.synchronize()  # only where the clock is read: in between, steps may overlap
        self.ends.append(time.perf_counter())
        if len(self.ends) >= self.steps:
            raise Enough

    @property
    def last(self) -> bool:
        """Whether only one step is left to time."""
        return len(self.ends) + 1 >= self.steps

    def seconds(self) -> float:
        return self.ends[self.steps - 1] - self.ends[uncounted() - 1]


class Profiled:
    """After the steps that are timed: a few under the profiler, then the end."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.profiler: torch.profiler.profile | None = None
        self.steps = 0

    def step(self) -> None:
        """A step is done, timed or looked into."""
        if not self.meter.last and self.profiler is None:
            self.meter.tick()
            return
        if self.profiler is None:
            try:
                self.meter.tick()
            except Enough:
                activities = [torch.profiler.ProfilerActivity.CPU]
                activities += [torch.profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
                self.profiler = torch.profiler.profile(activities=activities)
                self.profiler.start()
            return
        self.steps += 1
        if self.steps == PROFILED_STEPS:
            self.profiler.stop()
            self._report(self.profiler)
            raise Enough

    def _report(self, profiler: torch.profiler.profile) -> None:
        cuda = torch.cuda.is_available()
        events = [event for event in profiler.key_averages() if not cuda or _is_a_kernel(event)]
        field = "self_device_time_total" if cuda else "self_cpu_time_total"
        total = sum(getattr(event, field) for event in events) or 1
        calls = sum(event.count for event in events if getattr(event, field) > 0) / PROFILED_STEPS
        what = "kernels and copies" if cuda else "operators"
        wall_s = self.meter.seconds() / (self.meter.steps - uncounted())
        print(
            f"{PROFILED} {calls:,.0f} {what} and {total / PROFILED_STEPS / 1e3:,.1f} ms of the device a step"
            f", {1e3 * wall_s:,.1f} by the clock"
        )
        for event in sorted(events, key=lambda one: -getattr(one, field))[:SHOWN]:
            share = 100 * getattr(event, field) / total
            print(f"{PROFILED} {share:5.1f} %  {event.count / PROFILED_STEPS:7.1f} a step  {event.key[:90]}")


def _is_a_kernel(event: Any) -> bool:
    """Whether it ran on the GPU itself; an operator is given the time of its kernels once more."""
    annotated = event.is_user_annotation or event.key.startswith("Optimizer.")
    return event.device_type == torch.autograd.DeviceType.CUDA and not annotated
