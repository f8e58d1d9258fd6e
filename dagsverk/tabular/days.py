"""What one day of synthetic rows is: its settings, its date and its rows' names. No heavy import."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import Field

from dagsverk.form import CLOSED
from dagsverk.tabular.config import MAX_SEED

Method = Literal["cart", "copula", "fitted", "class_conditional", "shared_uniform", "columns"]
METHODS: tuple[Method, ...] = get_args(Method)
MAX_COUNT = 10_000_000  # seven digits in a row id; at 1 ms a row they also stay inside their day


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """All that one day's new rows depend on, besides the system, its real rows and the date."""

    __pydantic_config__ = CLOSED

    method: Method = "cart"
    count: Annotated[int, Field(ge=0, le=MAX_COUNT)] = 10  # rows a day; 0: none are invented
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 42
    # class -> share, sum 1; None: the method's own shares
    label_shares: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)] | None = None

    def __post_init__(self) -> None:
        check_method(self.method)
        check_count(self.count)
        check_seed(self.seed)
        if self.label_shares is not None:
            check_shares(self.label_shares)


def check_method(method: str) -> str:
    """The method's name. Raises ValueError naming the known ones."""
    if method not in METHODS:
        raise ValueError(f"no generator {method!r}; known: {', '.join(METHODS)}")
    return method


def check_count(count: int) -> int:
    """The number of rows, 0 to MAX_COUNT. Raises ValueError."""
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_COUNT:
        raise ValueError(f"count must be a whole number of rows from 0 to {MAX_COUNT}, got {count!r}")
    return count


def check_seed(seed: int) -> int:
    """The seed, 0 to MAX_SEED. Raises ValueError."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise ValueError(f"seed must be a whole number from 0 to {MAX_SEED}, got {seed!r}")
    return seed


def check_shares(shares: Mapping[str, float], classes: tuple[str, ...] = ()) -> None:
    """Refuse shares that are no distribution or, when `classes` is given, name an unknown class.

    Raises: ValueError.
    """
    values = list(shares.values())
    if not all(math.isfinite(v) and v >= 0 for v in values) or abs(sum(values) - 1) > 1e-6:
        raise ValueError(f"label_shares must be shares from 0 to 1 whose sum is 1, got {dict(shares)}")
    if classes and (unknown := sorted(set(shares) - set(classes))):
        raise ValueError(f"label_shares name no known class: {unknown}; known: {', '.join(classes)}")


def check_date(date: dt.date, today: dt.date) -> dt.date:
    """The day to synthesise, not after `today` (both in UTC).

    Raises: ValueError for a later day: its rows would be newer than every real event.
    """
    if isinstance(date, dt.datetime) or not isinstance(date, dt.date):
        raise ValueError(f"a day is a date without a time, such as 2026-01-31, got {date!r}")  # noqa: TRY004
    if date > today:
        raise ValueError(f"{date} is in the future (today is {today} UTC): choose that day or an earlier one")
    return date


def day_prefix(
    system_name: str, date: dt.date, method: str, seed: int, label_shares: Mapping[str, float] | None = None
) -> str:
    """What all row ids of a day begin with.

    Requested label shares enter as a short hash: rows drawn at other shares are other rows,
    and must not overwrite those that a prediction has already been made for.
    """
    prefix = f"{system_name}-{date.isoformat()}-{method}-s{seed}"
    if label_shares is None:
        return prefix
    shares = json.dumps({k: float(v) for k, v in label_shares.items() if v}, sort_keys=True)
    return f"{prefix}-p{hashlib.sha256(shares.encode()).hexdigest()[:8]}"


def row_id(prefix: str, index: int) -> str:
    """Name of row number `index`, from 0, of the day with that prefix."""
    return f"{prefix}-{index:07d}"
