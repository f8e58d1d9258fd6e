"""Being told to stop, and sums that come out the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Within, SIGTERM sets the event and does nothing else. In threads but the main one: as before."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    before = signal.signal(signal.SIGTERM, lambda *_: requested.set())
    try:
        yield requested
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def repeatable(threads: int) -> Iterator[None]:
    """Within, the CPU computes the same from the same: with so many threads, and in a fixed order."""
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # costs time, and we read no such memory
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict, warn_only=warned)
        settings.fill_uninitialized_memory = filled
