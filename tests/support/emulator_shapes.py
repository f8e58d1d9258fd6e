"""What a client and a server said to each other, without what they said: methods, paths, types, key names.

    recorder = Recorder(folder)
    recorder.attach(session)            # the requests.Session that the SDK uses
    ...                                 # one folder from a real cluster, one from the emulator
    print(problems(from_cluster, from_emulator))

A recording is fit to be shown to strangers. It holds no value, name, key, header or query value; of
numbers only HTTP statuses and error codes of Hopsworks, which are the same for everybody.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests

# What follows one of these is somebody's name, whatever it looks like.
NAMED = {
    "getProjectInfo",
    "variables",
    "featuregroups",
    "featureview",
    "storageconnectors",
    "models",
    "tags",
    "users",
}
WORDS = NAMED | {
    "hopsworks-api",
    "api",
    "project",
    "credentials",
    "featurestores",
    "query",
    "batch",
    "version",
    "versions",
    "trainingdatasets",
    "statistics",
    "expectationsuite",
    "commits",
    "clear",
    "provenance",
    "links",
    "modelregistries",
    "data_source",
    "transformationfunctions",
}
VERBS = {"create", "listing", "move", "copy", "stat", "zip", "unzip"}
FREE_KEYS = {"metrics", "environment", "arguments"}  # their keys are names that users chose
Shape = dict[str, Any]


class Recorder:
    """Writes DIR/<n>.json for each exchange of the sessions that it is attached to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._lock = folder, threading.Lock()
        self._next = len(list(folder.glob("*.json"))) + 1

    def attach(self, session: requests.Session) -> None:
        session.hooks["response"].append(self._note)

    def detach(self, session: requests.Session) -> None:
        session.hooks["response"].remove(self._note)

    def _note(self, response: requests.Response, **_: object) -> None:
        exchange = described(response)
        with self._lock:
            path = self.folder / f"{self._next:05}.json"
            self._next += 1
        path.write_text(json.dumps(exchange, indent=1, sort_keys=True))


def described(response: requests.Response) -> dict[str, Any]:
    """One exchange as it is written down."""
    request = response.request
    url = urlsplit(request.url or "")
    path = normalised(url.path, url.query)
    told: dict[str, Any] = {"method": request.method, "path": path, "status": response.status_code}
    told["query"] = sorted({name for name, _ in parse_qsl(url.query, keep_blank_values=True)})
    told["request"] = shape_of_json(request.body)
    a_file = "download" in path  # somebody's content, even where it is JSON
    is_json = response.headers.get("Content-Type", "").startswith("application/json")
    content = response.content if is_json and not a_file else None
    told["answer"] = shape_of_json(content)
    told["error_code"] = error_code(content) if response.status_code >= 400 else None
    return told


def normalised(path: str, query: str = "") -> str:
    """`/hopsworks-api/api/project/{id}/featuregroups/{name}`; a path in HopsFS becomes {path}."""
    parts: list[str] = []
    for segment in path.strip("/").split("/"):
        text = unquote(segment)
        if parts and parts[-1] == "dataset":
            if text not in ("upload", "download"):
                parts.append("{path}")
                break
            parts += [text, "{path}"]
            break
        if parts and parts[-1] in NAMED:
            parts.append("{id}" if text.isdigit() else "{name}")
        elif text in WORDS or text == "dataset":
            parts.append(text)
        else:
            parts.append("{id}" if text.isdigit() else "{name}")
    action = dict(parse_qsl(query)).get("action", "").lower()
    return "/" + "/".join(parts) + (f" ({action})" if action in VERBS else "")


def shape_of_json(content: bytes | str | None) -> Shape | None:
    """The shape of a JSON document; None for no body and for bodies that are not JSON."""
    if not content or not isinstance(content, bytes | str):
        return None
    try:
        return shape(json.loads(content))
    except ValueError:
        return None


def error_code(content: bytes | None) -> int | None:
    try:
        return int(json.loads(content or b"{}").get("errorCode"))
    except (ValueError, TypeError, AttributeError):
        return None


def shape(value: Any, free: bool = False) -> Shape:
    """Types, and key names unless `free`: {"types": [...], "keys": {...}, "items": ...}."""
    if isinstance(value, dict):
        keys: dict[str, Shape] = {}
        for name, inner in value.items():
            told = "{name}" if free else name
            keys[told] = merged([keys.get(told), shape(inner, name in FREE_KEYS)])
        return {"types": ["object"], "keys": keys}
    if isinstance(value, list):
        return {"types": ["list"], "items": merged([shape(one, free) for one in value])}
    names = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
    return {"types": [names[type(value)]]}


def merged(shapes: Iterable[Shape | None]) -> Shape:
    """One shape that allows all of them."""
    known = [one for one in shapes if one]
    whole: Shape = {"types": sorted({name for one in known for name in one["types"]})}
    keys = {name for one in known for name in one.get("keys", {})}
    if keys:
        whole["keys"] = {
            name: merged(one.get("keys", {}).get(name) for one in known) for name in sorted(keys)
        }
    items = [one["items"] for one in known if one.get("items")]
    return whole | ({"items": merged(items)} if items else {})


def problems(recorded_dir: Path, emulated_dir: Path) -> list[str]:
    """Where the emulator's answers differ from those recorded: exchanges, keys and types that lack.

    Null agrees with every type: a recording rarely has every field filled.
    """
    recorded, emulated = _answers(recorded_dir), _answers(emulated_dir)
    found = []
    for exchange, expected in sorted(recorded.items(), key=str):
        title = " ".join(str(part) for part in exchange if part is not None)
        if exchange not in emulated:
            found.append(f"{title}: the emulator never answered so")
        else:
            found += [f"{title}: {one}" for one in _differences(expected, emulated[exchange], "answer")]
    return found


def _answers(folder: Path) -> dict[tuple[Any, ...], Shape]:
    """Merged answers by method, path, status and error code."""
    found: dict[tuple[Any, ...], Shape] = {}
    for path in sorted(folder.glob("*.json")):
        one = json.loads(path.read_text())
        exchange = (one["method"], one["path"], one["status"], one["error_code"])
        found[exchange] = merged([found.get(exchange), one["answer"]])
    return found


def _differences(expected: Shape, found: Shape, where: str) -> list[str]:
    wanted, got = (set(one["types"]) - {"null"} for one in (expected, found))
    if wanted and got and not wanted & got:
        return [f"{where} is {' or '.join(sorted(got))}, recorded as {' or '.join(sorted(wanted))}"]
    if not got:
        return []
    told = []
    for name, inner in expected.get("keys", {}).items():
        if name not in found.get("keys", {}):
            told.append(f"{where}.{name} is missing")
        else:
            told += _differences(inner, found["keys"][name], f"{where}.{name}")
    if expected.get("items") and found.get("items"):
        told += _differences(expected["items"], found["items"], f"{where}[]")
    return told
