"""What both families are asked of a learning curve. Light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import Field

SHARES = (0.125, 0.25, 0.5, 1.0)
LEAST_SHARE, MOST_POINTS = 1 / 1024, 12
ShareOfData: TypeAlias = Annotated[
    tuple[Annotated[float, Field(ge=LEAST_SHARE, le=1)], ...],
    Field(min_length=2, max_length=MOST_POINTS, json_schema_extra={"uniqueItems": True}),
]


def check_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Ascending. Raises ValueError for those that are none, come twice, or leave out all of the data."""
    given = tuple(shares)
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in given):
        raise ValueError(f"shares must be numbers, got {list(given)!r}")
    ordered = tuple(sorted(float(one) for one in given))
    if not 2 <= len(ordered) <= MOST_POINTS or len(set(ordered)) != len(ordered):
        raise ValueError(f"shares must be 2 to {MOST_POINTS} different ones, got {list(given)!r}")
    if not all(math.isfinite(one) and LEAST_SHARE <= one <= 1 for one in ordered):
        raise ValueError(f"each of shares must be from {LEAST_SHARE:.4f} to 1, got {list(given)!r}")
    if ordered[-1] != 1:
        raise ValueError(f"shares must hold 1, all the data, from which more is counted; got {list(given)!r}")
    return ordered
