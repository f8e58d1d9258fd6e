"""Runs, and who is to work for them: what Prefect's server says, beside what lives on this machine."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import yaml

from dagsverk.doctor.finding import Finding, Installation, fine, some, warn, wrong
from dagsverk.doctor.server import MOST, ask
from dagsverk.file_locks import is_locked

SOON = dt.timedelta(days=1)
RECENT = dt.timedelta(days=7)
LATE_S = 60.0
SETTLES_S = 60.0  # a worker settles what it sees within seconds
LOST_S, LOST_PENDING_S = 120.0, 300.0  # as deployments.reconcile: without a sign of life; a slow start
TOGETHER = 10
STARTED = ("RUNNING", "PENDING", "CANCELLING")
WAITS = "AwaitingConcurrencySlot"  # for its turn, however long

Run = Mapping[str, Any]


def workers(here: Installation) -> Iterator[Finding]:
    """Whether somebody serves each pool that has runs to start."""
    soon = {"state": {"type": {"any_": ["SCHEDULED"]}}}
    soon["expected_start_time"] = {"before_": (here.now() + SOON).isoformat()}  # type: ignore[dict-item]
    for pool in ask(here, "/work_pools/filter"):
        name = pool["name"]
        workers = ask(here, f"/work_pools/{name}/workers/filter")
        online = [worker["name"] for worker in workers if worker["status"] == "ONLINE"]
        count = ask(here, "/flow_runs/count", {"flow_runs": soon, "work_pools": {"name": {"any_": [name]}}})
        yield _pool(pool, online, count)


def _pool(pool: Mapping[str, Any], online: list[str], count: int) -> Finding:
    name, start = pool["name"], f"make up, or python -m deployments.worker --pool {pool['name']}"
    if pool["is_paused"]:
        what = f"pool {name} is paused; due by tomorrow: {count}"
        return warn(what, f"prefect work-pool resume {name}")
    if online:
        return fine(f"pool {name}: {some(online)}")
    if count:
        return wrong(f"no worker serves pool {name}; due by tomorrow: {count}", start)
    return fine(f"no worker serves pool {name}; nothing is due by tomorrow")


def late(here: Installation) -> Iterator[Finding]:
    """Runs whose time has come, and which nobody has started."""
    due = (here.now() - dt.timedelta(seconds=LATE_S)).isoformat()
    due_runs = _runs(
        here, state={"type": {"any_": ["SCHEDULED"]}}, next_scheduled_start_time={"before_": due}
    )
    waiting = [run for run in due_runs if run["state_name"] == WAITS]
    names = [f"{r['name']} (due {r['next_scheduled_start_time'][:16]})" for r in due_runs if r not in waiting]
    if names:
        yield warn(
            f"nobody has started what was due: {some(names)}",
            "an online worker takes them within seconds, up to its limit; cancel those that nobody wants",
        )
    if waiting:
        yield fine(f"waiting for their turn: {some([run['name'] for run in waiting])}")


def stuck(here: Installation) -> Iterator[Finding]:
    """Runs that are shown as started, and for which nothing seems to work."""
    started = _runs(here, state={"type": {"any_": list(STARTED)}})
    beats = _heartbeats(here, started)
    dead = [f"{run['name']} ({why})" for run in started if (why := lost(here, run, beats.get(run["id"])))]
    if dead:
        yield wrong(
            f"shown as started, and nothing works for it: {some(dead)}",
            "any worker settles them within minutes: make up",
        )
    elif started:
        yield fine(f"in flight: {some([run['name'] for run in started])}")


def lost(here: Installation, run: Run, beat: str | None) -> str | None:
    """Why a started run seems dead; None if it need not be."""
    claim = here.logs / "runs" / f"{run['id']}.claim"
    quiet_s = (here.now() - _moment(run["state"]["timestamp"])).total_seconds()
    if is_locked(claim) or run["parent_task_run_id"]:
        return None
    if run["deployment_id"] is None and beat is None:
        return None  # somebody called a function, and it sends no heartbeat
    minutes = f"{run['state_name']} for {quiet_s / 60:.0f} min"
    if claim.exists() and quiet_s > SETTLES_S:
        return f"{minutes}, its process has ended here"
    if run["state_type"] == "PENDING":
        return minutes if quiet_s > LOST_PENDING_S else None
    silent_s = min(quiet_s, (here.now() - _moment(beat)).total_seconds()) if beat else quiet_s
    return f"{minutes}, without a heartbeat for {silent_s / 60:.0f}" if silent_s > LOST_S else None


def _heartbeats(here: Installation, runs: list[Run]) -> dict[str, str]:
    """When each run was last heard of. Asked for a few at a time: one answer holds 50 events."""
    newest: dict[str, str] = {}
    for first in range(0, len(runs), TOGETHER):
        wanted = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run['id']}" for run in runs[first : first + TOGETHER]]},
            "order": "DESC",
        }
        for event in ask(here, "/events/filter", {"filter": wanted, "limit": 50})["events"]:
            of_run = event["resource"]["prefect.resource.id"].rpartition(".")[2]
            newest.setdefault(of_run, event["occurred"])
    return newest


def crashed(here: Installation) -> Iterator[Finding]:
    """Runs that could go on, and that nobody has put back."""
    crashed = _runs(
        here,
        state={"type": {"any_": ["CRASHED"]}},
        tags={"all_": ["resumable"]},
        expected_start_time={"after_": (here.now() - RECENT).isoformat()},
    )
    before = here.now() - dt.timedelta(seconds=SETTLES_S)
    names = [run["name"] for run in crashed if _moment(run["state"]["timestamp"]) < before]
    if names:
        yield warn(
            f"crashed, and nobody resumes it: {some(names)}",
            "any worker does: make up; or delete them in the Prefect UI",
        )


def limits(here: Installation) -> Iterator[Finding]:
    """Places in limits that no started run holds: whoever waits for them waits in vain."""
    limits = ask(here, "/v2/concurrency_limits/filter", {"limit": MOST})
    taken = [one for one in limits if one["active_slots"] and not one["slot_decay_per_second"]]
    if not taken:
        return
    started = {run["id"] for run in _runs(here, state={"type": {"any_": list(STARTED)}})}
    if started and not here.serves:
        return  # the server elsewhere does not say which run holds what
    held = _held(here, started)
    for one in taken:
        if one["active_slots"] > held[one["id"]]:
            yield warn(
                f"limit {one['name']}: places taken {one['active_slots']}, by started runs {held[one['id']]}",
                "a place is freed a minute after its run was killed; one that stays: start the server anew",
            )


def _held(here: Installation, started: set[str]) -> Counter[str]:
    """Places per limit that runs of `started` and others than runs hold, by the files of our server."""
    held: Counter[str] = Counter()
    for path in (here.state / "prefect" / "concurrency_leases").glob("*.json"):
        with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
            lease = json.loads(path.read_text())
            about = lease.get("metadata") or {}
            holder = about.get("holder") or {}
            if holder.get("type") != "flow_run" or holder.get("id") in started:
                for limit in lease["resource_ids"]:
                    held[limit] += about.get("slots", 0)
    return held


def schedules(here: Installation) -> Iterator[Finding]:
    """Schedules that somebody has paused; those that prefect.yaml leaves inactive are meant so."""
    meant = {
        (entry["entrypoint"], entry["name"], schedule.get("slug"))
        for entry in _entries(here)
        for schedule in entry.get("schedules") or []
        if schedule.get("active") is False
    }
    paused = [
        f"{one['entrypoint'].rpartition('.')[2]}/{one['name']}"
        for one in _deployments(here)
        for each in one["schedules"]
        if (one["paused"] or not each["active"])
        and (one["entrypoint"], one["name"], each.get("slug")) not in meant
    ]
    if paused:
        what = f"paused schedules: {some(paused)}"
        yield warn(what, "resume them in the Prefect UI, if that is not meant")


def deployments(here: Installation) -> Iterator[Finding]:
    """Whether all that prefect.yaml describes is on the server."""
    entries = _entries(here)
    registered = {(one["entrypoint"], one["name"]) for one in _deployments(here)}
    absent = [
        f"{e['entrypoint']} {e['name']}" for e in entries if (e["entrypoint"], e["name"]) not in registered
    ]
    if absent:
        yield warn(
            f"in prefect.yaml, and not on the server: {some(absent)}",
            "make up, or python -m deployments.register",
        )
    elif entries:
        yield fine(f"deployments registered: {len(entries)}")


def _entries(here: Installation) -> list[dict[str, Any]]:
    with suppress(OSError, yaml.YAMLError, AttributeError):
        entries: list[dict[str, Any]] = yaml.safe_load((here.root / "prefect.yaml").read_text())[
            "deployments"
        ]
        return entries
    return []


def _deployments(here: Installation) -> list[dict[str, Any]]:
    deployments: list[dict[str, Any]] = []
    while page := ask(here, "/deployments/filter", {"limit": MOST, "offset": len(deployments)}):
        deployments += page
        if len(page) < MOST:
            break
    return deployments


def _runs(here: Installation, **wanted: Any) -> list[Run]:
    """The first 200 runs: a few are named, and more would be told in the same way."""
    runs: list[Run] = ask(here, "/flow_runs/filter", {"flow_runs": wanted, "limit": MOST})
    return runs


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
