"""What a page may send to its functions: plain values, and files that its own visitor sent in before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
EVENT = re.compile(r"[A-Za-z0-9_-]{1,64}")
Owns = Callable[[object], bool]


class BadCall(ValueError):
    """What was sent is nothing that our pages send; the message is for who sent it."""

    status = 422


class ForeignFile(BadCall):
    """A file is named that this visitor did not send in."""

    status = 403


class NoFile(BadCall):
    """A file that was sent in is gone."""

    status = 404


class NoRoom(BadCall):
    """A file cannot be kept."""

    status = 507


def join_call(body: bytes, inputs: Mapping[int, int], owns: Owns) -> bytes:
    """The body of a call, made anew from those parts of it that are known to be harmless.

    Args: inputs: how many values each function takes, by its number. owns: whether a path is the visitor's.
    Raises: BadCall.
    """
    sent = _object(body)
    function, trigger = sent.get("fn_index"), sent.get("trigger_id")
    if not isinstance(function, int) or isinstance(function, bool) or function not in inputs:
        raise BadCall(f"want fn_index, the number of a function of these pages; found {_short(function)}")
    if not (trigger is None or isinstance(trigger, int)):
        raise BadCall(f"want trigger_id, a number or null; found {_short(trigger)}")
    data = sent.get("data")
    if not isinstance(data, list) or len(data) != inputs[function]:
        raise BadCall(f"want data, a list of {inputs[function]} values; found {_short(data)}")
    call = {
        "data": [_value(value, owns) for value in data],
        "event_data": None,
        "fn_index": function,
        "trigger_id": trigger,
        "session_hash": _named(sent, "session_hash", SESSION),
    }
    return json.dumps(call).encode()


def cancel_call(body: bytes) -> bytes:
    """The body of a call that ends another one. Raises BadCall."""
    sent = _object(body)
    if not isinstance(sent.get("fn_index"), int):
        raise BadCall(f"want fn_index, a number; found {_short(sent.get('fn_index'))}")
    call = {
        "session_hash": _named(sent, "session_hash", SESSION),
        "event_id": _named(sent, "event_id", EVENT),
        "fn_index": sent["fn_index"],
    }
    return json.dumps(call).encode()


def _object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body."""
    try:
        sent = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        json.dumps(sent, ensure_ascii=False).encode("utf-8")  # half a surrogate pair has no UTF-8
    except (ValueError, RecursionError) as error:  # of a deep nest the parser says the latter
        raise BadCall("want JSON in UTF-8 with finite numbers, as these pages send it") from error
    if not isinstance(sent, dict):
        raise BadCall(f"want a JSON object; found {_short(sent)}")
    return sent


def _value(value: object, owns: Owns) -> object:
    """A plain value as it is; of a file nothing but its path, when it is the visitor's."""
    if value is None or isinstance(value, str | int | float):
        return value
    if not isinstance(value, dict) or "path" not in value:
        raise BadCall(f"want plain values and files; found {_short(value)}")
    if not owns(value["path"]):
        raise ForeignFile("this browser did not send in that file, or it was too long ago: give it again")
    return {"path": value["path"], "meta": {"_type": "gradio.FileData"}}


def _named(sent: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = sent.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise BadCall(f"want {name}, letters and digits; found {_short(value)}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _short(value: object) -> str:
    """What kind of thing was found: never its content, which may be long."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, dict) else "text" if isinstance(value, str) else "a number"
