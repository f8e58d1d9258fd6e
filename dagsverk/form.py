"""What a parameter's form says of it, as JSON Schema: the Prefect server refuses a run that does not fit.

The server checks patterns and limits and no `format`, and a dataclass is open unless it says otherwise.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import ConfigDict, Field

CLOSED = ConfigDict(extra="forbid")  # `__pydantic_config__` of a config: a misspelt field is refused

# (?!\n): in Python, "$" also matches before a newline at the end
NOT_BLANK = r"\S"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?!\n)$"
NO_DAY = (
    r"^(?:0000-|....-(?:00|1[3-9]|[2-9])|.{8}(?:00|3[2-9]|[4-9])|....-(?:0[2469]|11)-31|....-02-30"
    r"|(?!(?:..(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-)....-02-29)"
)

Day = Annotated[
    dt.date,
    Field(
        json_schema_extra={"pattern": DAY, "not": {"title": "a day that no calendar has", "pattern": NO_DAY}},
        examples=["2026-01-31"],
    ),
]
