"""The work of a trial: days of both families, what the server says of them, and what the store holds after.

Everything is asked over REST with short patience: the server is one of the things that are killed.
"""

from __future__ import annotations

import datetime as dt
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

COMMIT = re.compile(r"\b[0-9a-f]{40}\b(-dirty)?")  # SHA-256 digests have 64
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
TRAINING = {"model_classes": ["lda", "xgboost"], "folds": 3, "repeats": 1}
CORPUS = {"train_clips": 24, "dev_clips": 4, "test_clips": 4}
SPEECH = {
    "corpus": CORPUS,
    "preparation": {"shard_clips": 6},
    "finetune": {"steps": 6, "evaluate_every": 3, "checkpoint_every": 1, "dev_clips": 4},
    "evaluation": {"worst": 2, "resamples": 100},
}
SYSTEMS, LANGUAGE = ("iris", "titanic"), "swedish"
Trigger = tuple[str, dict[str, Any]]  # deployment, parameters


LIGHTER = {**TRAINING, "model_classes": ["lda"]}


WORK: Sequence[Trigger] = (
    (f"speech-day/{LANGUAGE}", SPEECH),
    ("day/iris", {"date": "2026-11-18", "training": TRAINING, "synthesis": {"count": 5}}),
    (
        "backfill/iris",
        {"first": "2026-11-10", "last": "2026-11-11", "training": TRAINING, "synthesis": {"count": 5}},
    ),
    ("day/titanic", {"date": "2026-11-20", "training": LIGHTER, "synthesis": {"count": 5}}),
)


class Server:
    """What a person does in the Prefect UI, patiently."""

    def __init__(self, address: Callable[[], str]) -> None:
        self.address = address

    def ask(self, path: str, body: object = None, patience_s: float = 90.0) -> Any:
        """POST with a body, GET without; again while nobody answers. Raises httpx.HTTPError at the end."""
        deadline = time.monotonic() + patience_s
        while True:
            try:
                method = "GET" if body is None else "POST"
                answer = httpx.request(method, self.address() + path, json=body, timeout=10)
                answer.raise_for_status()
                return answer.json()
            except httpx.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def pages(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while page := self.ask(path, {**body, "limit": 200, "offset": len(items)}):
            items += page
            if len(page) < 200:
                break
        return items

    def trigger(self, work: Sequence[Trigger]) -> list[str]:
        """Run ids. A key for each, as an answer may be lost."""
        runs = []
        for number, (name, parameters) in enumerate(work):
            deployment = self.ask(f"/deployments/name/{name}")["id"]
            body = {
                "parameters": parameters,
                "state": {"type": "SCHEDULED"},
                "idempotency_key": f"trial {number}",
            }
            runs.append(self.ask(f"/deployments/{deployment}/create_flow_run", body)["id"])
        return runs

    def runs(self) -> list[dict[str, Any]]:
        """All but what the crons have scheduled."""
        runs = self.pages("/flow_runs/filter", {"sort": "ID_DESC"})
        return [run for run in runs if not run["auto_scheduled"]]

    def open_runs(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["state_type"] not in FINAL]

    def history(self, run_id: str) -> list[tuple[str, dt.datetime]]:
        states = self.ask(f"/flow_run_states/?flow_run_id={run_id}")
        return sorted(
            ((s["type"], dt.datetime.fromisoformat(s["timestamp"])) for s in states), key=lambda s: s[1]
        )

    def unfinished_tasks(self) -> list[str]:
        tasks = self.pages("/task_runs/filter", {"sort": "ID_DESC"})
        return [f"{t['name']} {t['state_type']}" for t in tasks if t["state_type"] not in FINAL]

    def places_taken(self) -> dict[str, int]:
        """Limits that somebody still holds."""
        limits = self.pages("/v2/concurrency_limits/filter", {})
        return {limit["name"]: limit["active_slots"] for limit in limits if limit["active_slots"]}


def quiet(
    server: Server, restart: Callable[[], object], limit_s: float, idle: Callable[[], bool] = lambda: False
) -> float:
    """Wait until every run is final, or nothing moves any more; the seconds that took. At most `limit_s`."""
    begun = time.monotonic()
    while time.monotonic() - begun < limit_s and not idle():
        restart()
        try:
            states = {run["state_type"] for run in server.runs()}
            if states == {"COMPLETED"} or (states <= FINAL and settled(server)):
                break
        except httpx.HTTPError:
            pass
        time.sleep(1.0)
    return time.monotonic() - begun


def settled(server: Server) -> bool:
    """All runs are final, and stay so for as long as a crashed one may take to be resumed."""
    for _ in range(15):
        time.sleep(2.0)
        if server.open_runs():
            return False
    return True


def held(state: Path) -> dict[str, Any]:
    """Every table, model and artefact below a state folder."""
    from days_on_stores import artefacts, models, store_at, tables

    with (
        tempfile.TemporaryDirectory(prefix="trials-cache-") as room,
        store_at(str(state / "store"), Path(room)),
    ):
        return {"tables": tables(SYSTEMS), "models": models(), "artefacts": artefacts()}


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Where a store differs from an undisturbed one in more than what passes: moments, speeds, commits."""
    from days_on_stores import differences as compare

    differing = []
    for name, rows in expected["tables"].items():
        here = actual["tables"].get(name)
        if here is None or not rows.equals(here):
            differing.append(f"table {name}: {None if here is None else len(here)} rows, wanted {len(rows)}")
    for what in ("models", "artefacts"):
        differing += compare(comparable(expected[what]), comparable(actual[what]), what)
    return differing


def comparable(content: Any) -> Any:
    """Without commits, and without the date of a report that the last of two runs wrote: either may be it."""
    kept = without_commits(content)
    for name in [name for name in kept if name.endswith("/synthesis.json") and "date" in kept[name]]:
        kept[name] = {key: value for key, value in kept[name].items() if key != "date"}
    return kept


def without_commits(content: Any) -> Any:
    """The same, without the commit of our code that made it: the undisturbed run may be of another one."""
    if isinstance(content, dict):
        return {key: without_commits(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [without_commits(value) for value in content]
    return COMMIT.sub("*", content) if isinstance(content, str) else content
