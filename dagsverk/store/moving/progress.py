"""Lines that tell how far a copy is, for a terminal and for a log alike."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

EVERY_S = 10.0


class Progress:
    """Says a line for each thing done, and one every ten seconds while a thing takes long; adds up."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._last = time.monotonic()
        self.counts: Counter[str] = Counter()

    def line(self, text: str, **counts: int) -> None:
        self._say(text)
        self._last = time.monotonic()
        self.counts.update(counts)

    def now_and_then(self, text: str) -> None:
        if time.monotonic() - self._last > EVERY_S:
            self.line(text)


def amount(size: int) -> str:
    """Bytes in words: "12 bytes", "3.4 MB"."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while value >= 999.95 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.1f} {units[0]}"
