"""When each row was: texts of a source -> moments in UTC, each of one meaning, none in the future."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dagsverk.tabular.spellings import Cells, is_missing

WANTED = "a time such as 2026-01-31 or 2026-01-31T08:30+01:00"
FIRST_YEAR, LAST_YEAR = 1700, 2200  # what every library here can say in nanoseconds, with room
_CLOCK = (
    r"(?:[T ]+(?P<clock>\d{1,2}:\d{2}(?::\d{2})?)(?:[.,](?P<part>\d{1,9}))?"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?)?"
)
_FORMS = (
    re.compile(
        rf"(?P<y>\d{{4}})(?P<mark>[-/.])(?P<m>\d{{1,2}})(?P=mark)(?P<d>\d{{1,2}}){_CLOCK}", re.IGNORECASE
    ),
    re.compile(rf"(?P<d>\d{{1,2}})\.(?P<m>\d{{1,2}})\.(?P<y>\d{{4}}),?{_CLOCK}", re.IGNORECASE),
)
_SLASHED = re.compile(rf"(?P<a>\d{{1,2}})/(?P<b>\d{{1,2}})/(?P<y>\d{{4}}),?{_CLOCK}", re.IGNORECASE)
UNZONED = re.compile(r":\d{2}(?:[.,]\d+)?$(?<![+-]\d{2}:\d{2})")


def moments(
    name: str, cells: Cells, zone: str, now: pd.Timestamp
) -> tuple[NDArray[np.datetime64], dict[int, str], str]:
    """Every row's moment in UTC (NaT: none); what was wanted of texts that give none; what was guessed.

    A day without a time of day is its midnight. A time without an offset is one of the zone.

    Args: name: of the column. zone: a name of the IANA database. now: with a time zone.
    """
    cells.drop(is_missing)
    used = list(cells.used())
    day_first, place = _day_first(used), ZoneInfo(zone)
    values, wanted = np.full(len(cells.texts) + 1, "NaT", dtype="datetime64[us]"), dict[int, str]()
    for code, text in enumerate(cells.texts):
        if text in cells.missing:
            continue
        try:
            values[code] = _moment(text, place, day_first, now.to_pydatetime())
        except ValueError as error:
            wanted[code] = str(error)
    return values[cells.codes], wanted, _guess(name, used, day_first, zone)


def _guess(name: str, texts: list[str], day_first: bool | None, zone: str) -> str:
    """What was found out, in words."""
    guesses = []
    if day_first is not None:
        order = "day/month/year" if day_first else "month/day/year"
        guesses.append(f"{name}: dates with / are read as {order}")
    if bare := next((text for text in texts if UNZONED.search(text)), ""):
        guesses.append(f"{name}: times without an offset, such as {bare!r}, are of {zone}")
    return "; ".join(guesses)


def _day_first(texts: Iterable[str]) -> bool | None:
    """Whether dates with slashes begin with the day; None where none of them can tell, or they disagree."""
    slashed = [match for text in texts if (match := _SLASHED.fullmatch(text))]
    day_first = any(int(match["a"]) > 12 for match in slashed)
    month_first = any(int(match["b"]) > 12 for match in slashed)
    return None if day_first == month_first else day_first


def _parts(text: str, day_first: bool | None) -> dict[str, str | None] | None:
    """Year, month, day, clock and zone of a text; None where it has no form that is known."""
    for form in _FORMS:
        if match := form.fullmatch(text):
            return match.groupdict()
    if (match := _SLASHED.fullmatch(text)) is None:
        return None
    if day_first is None:
        raise ValueError(f"{WANTED}, for {match['a']}/{match['b']} may be two days")
    day, month = ("a", "b") if day_first else ("b", "a")
    return {**match.groupdict(), "d": match[day], "m": match[month]}


def _moment(text: str, zone: ZoneInfo, day_first: bool | None, now: dt.datetime) -> np.datetime64:
    """Raises ValueError, whose message is what was wanted."""
    if (parts := _parts(text, day_first)) is None:
        raise ValueError(WANTED)
    hour, minute, second, *_ = (*map(int, (parts["clock"] or "0:00").split(":")), 0)
    micro_s = int((parts.get("part") or "0").ljust(6, "0")[:6])
    try:
        day = dt.date(int(parts["y"] or 0), int(parts["m"] or 0), int(parts["d"] or 0))
        local = dt.datetime.combine(day, dt.time(hour, minute, second, micro_s))
    except ValueError as error:
        raise ValueError("a day and a time that there are") from error
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        raise ValueError(f"a time from {FIRST_YEAR} on")
    moment = _placed(local, parts["zone"], zone)
    if moment > now:
        raise ValueError("a time that has been")
    return np.datetime64(moment.astimezone(dt.UTC).replace(tzinfo=None), "us")


def _placed(local: dt.datetime, offset: str | None, zone: ZoneInfo) -> dt.datetime:
    """The local time with its offset, or in the zone. Raises ValueError where clocks skip or repeat it."""
    if offset:
        return local.replace(tzinfo=_offset(offset))
    early, late = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() == late.utcoffset():
        return early
    if early.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise ValueError(f"a time that clocks of {zone.key} have shown")
    raise ValueError(f"a time that clocks of {zone.key} have shown once; give its offset")


def _offset(words: str) -> dt.tzinfo:
    if words.upper() in ("Z", "UTC"):
        return dt.UTC
    sign = -1 if words[0] == "-" else 1
    digits = words[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 14 or minutes > 59:
        raise ValueError("an offset from UTC of at most 14 hours")
    return dt.timezone(sign * dt.timedelta(hours=hours, minutes=minutes))
