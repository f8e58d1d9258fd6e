"""Numbers as people write them: decimal point or comma, thousands in groups, and what stays unclear.

`7,25` can only be 7.25 and `1.234.567` only 1234567; `1,234` may be 1.234 or 1234. Such a one is read as the
clear ones of its column are written, else as those of the whole source; where they do not tell, it is
refused. `1.234` is 1.234 unless the clear ones write a decimal comma.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass

SPACES = " \u00a0\u2009\u202f'’"  # between thousands
PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
COMMA = re.compile(r"[-+]?(\d+,\d*|,\d+)([eE][-+]?\d+)?")
SPACED = re.compile(rf"[-+]?\d{{1,3}}([{SPACES}]\d{{3}})+([.,]\d+)?")
GROUPED_COMMA = re.compile(r"[-+]?\d{1,3}(,\d{3})+\.\d+|[-+]?\d{1,3}(,\d{3}){2,}")
GROUPED_POINT = re.compile(r"[-+]?\d{1,3}(\.\d{3})+,\d+|[-+]?\d{1,3}(\.\d{3}){2,}")
EITHER_POINT = r"^[-+]?[1-9][0-9]{0,2}\.[0-9]{3}$"
EITHER = re.compile(r"[-+]?[1-9]\d{0,2}([.,])\d{3}")  # a number of thousands, or with three decimals


@dataclass(frozen=True)
class Marks:
    """How the clear numbers among some texts are written."""

    point: bool = False  # a decimal point
    comma: bool = False  # a decimal comma
    groups_of_comma: bool = False  # thousands, as in 1,234.5
    groups_of_point: bool = False

    def __bool__(self) -> bool:
        return self.point or self.comma

    def __or__(self, other: Marks) -> Marks:
        return Marks(*(one or two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def or_those_of(self, all_of: Marks) -> Marks:
        """Its own, or where it has none those of the whole source."""
        return self if self else all_of


def marks_of(texts: Iterable[str]) -> Marks:
    """What the clear numbers show."""
    point = comma = by_comma = by_point = False
    for text in map(_bare, texts):
        if ("," not in text and "." not in text) or EITHER.fullmatch(text):
            continue
        if GROUPED_COMMA.fullmatch(text):
            by_comma = point = True
        elif GROUPED_POINT.fullmatch(text):
            by_point = comma = True
        elif PLAIN.fullmatch(text) or (SPACED.fullmatch(text) and "." in text):
            point = True
        elif COMMA.fullmatch(text) or SPACED.fullmatch(text):
            comma = True
    return Marks(point, comma, by_comma, by_point)


def number(text: str, marks: Marks = Marks()) -> float | None:
    """The number; None where it is none, or may be two. See `unclear`."""
    text = _bare(text)
    if (either := EITHER.fullmatch(text)) is not None:
        return _one_of_two(text, either[1], marks)
    if PLAIN.fullmatch(text):
        return float(text)
    if GROUPED_COMMA.fullmatch(text):
        return float(text.replace(",", ""))
    if GROUPED_POINT.fullmatch(text):
        return float(text.replace(".", "").replace(",", "."))
    if SPACED.fullmatch(text):
        return float(re.sub(f"[{SPACES}]", "", text).replace(",", "."))
    return float(text.replace(",", ".")) if COMMA.fullmatch(text) else None


def unclear(text: str) -> str:
    """The two numbers that it may be, in words; "" where it is not of that kind."""
    text = _bare(text)
    if (either := EITHER.fullmatch(text)) is None:
        return ""
    return f"{text.replace(either[1], '')} or {text.replace(either[1], '.')}"


def _one_of_two(text: str, mark: str, marks: Marks) -> float | None:
    decimals, thousands = float(text.replace(mark, ".")), float(text.replace(mark, ""))
    if mark == ",":
        if marks.comma != marks.point:
            return decimals if marks.comma else thousands if marks.groups_of_comma else None
        return None
    if marks.comma and not marks.point:
        return thousands if marks.groups_of_point else None
    return decimals


def _bare(text: str) -> str:
    return text.strip().replace("\u2212", "-")  # the minus sign of typesetters
