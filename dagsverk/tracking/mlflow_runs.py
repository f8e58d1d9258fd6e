"""Trainings -> runs on an MLflow server, by its REST API: nothing of MLflow's has to be installed here.

A run for each training, in the experiment `dagsverk`. Two tags say which points it has: how many, and a
digest of them, written after them. So the same export again writes nothing, and one that was killed sends
its last batch again, of which a server keeps each point once. Where a run was made anew, its old one is
deleted there (MLflow keeps what is deleted until `mlflow gc`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from dagsverk.addresses import LOCAL, refuse_keys
from dagsverk.store import Store, StoreError
from dagsverk.tracking.exporting import Exported, digest, exported
from dagsverk.tracking.gathering import Point, Tracked
from dagsverk.version import code_version

EXPERIMENT = "dagsverk"
TRAINING, POINTS, DIGEST = "dagsverk.training", "dagsverk.points", "dagsverk.digest"
MOST_METRICS, MOST_PARAMS = 1000, 100  # of one request, by MLflow's own limits
TIMEOUT_S = 60.0
# as MLflow's own client calls them
LOGIN = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
Json = Mapping[str, Any]


def export(store: Store, address: str) -> Exported:
    """Send what the server lacks of every training. Raises StoreError if it does not answer, or refuses."""
    with _server(address) as server:
        experiment = _experiment(server)
        return exported(store, lambda training: _send(server, experiment, training))


@dataclass(frozen=True)
class Server:
    """An MLflow server."""

    address: str
    client: httpx.Client

    def ask(self, method: str, route: str, content: Json, *, absent: bool = False) -> Json:
        """Its answer. `absent`: {} where it has no such thing. Raises StoreError."""
        place = f"{self.address}/api/2.0/mlflow/{route}"
        try:
            if method == "GET":
                answer = self.client.get(place, params=dict(content))
            else:
                answer = self.client.post(place, json=content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StoreError(
                f"no MLflow server answers at {self.address} ({type(error).__name__}); start one, such as: "
                "mlflow server --port 5000"
            ) from error
        try:
            body: Any = answer.json()
        except (ValueError, RecursionError):
            body = None
        if answer.status_code == httpx.codes.OK and isinstance(body, dict):
            return body
        code = body.get("error_code", "") if isinstance(body, dict) else ""
        if absent and code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        words = body.get("message", "") if isinstance(body, dict) else "no JSON: is that MLflow?"
        words = " ".join(str(words).split())[:300]
        raise StoreError(
            f"{self.address} answers {answer.status_code} to {route}: {code} {words}; see the address, and "
            f"{LOGIN[0]}, or {LOGIN[1]} and {LOGIN[2]}, if it wants a login"
        )


@contextmanager
def _server(address: str) -> Iterator[Server]:
    try:
        parts = urlsplit(refuse_keys(address))
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise StoreError(f"the address of the MLflow server: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise StoreError(
            f"want the address of an MLflow server, such as http://127.0.0.1:5000, got {address!r}; for a "
            "folder start one beside it: mlflow server --backend-store-uri sqlite:///FOLDER/mlflow.db"
        )
    bearer, user, word = (os.environ.get(name, "") for name in LOGIN)
    headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
    login = httpx.BasicAuth(user, word) if user and not bearer else None
    if (headers or login) and parts.scheme == "http" and host not in LOCAL:
        raise StoreError(
            f"the login for {host} is not sent over http, where anybody may read it; give an https:// address"
        )
    with httpx.Client(headers=headers, auth=login, timeout=TIMEOUT_S, follow_redirects=False) as client:
        yield Server(address.rstrip("/"), client)


def _experiment(server: Server) -> str:
    name = {"experiment_name": EXPERIMENT}
    there = server.ask("GET", "experiments/get-by-name", name, absent=True)
    if there:
        experiment = there["experiment"]
        if experiment.get("lifecycle_stage") == "deleted":
            server.ask("POST", "experiments/restore", {"experiment_id": experiment["experiment_id"]})
        return str(experiment["experiment_id"])
    return str(server.ask("POST", "experiments/create", {"name": EXPERIMENT})["experiment_id"])


def _send(server: Server, experiment: str, training: Tracked) -> int | None:
    """The number of points sent; None where all was there."""
    run, tags = _run_of(server, experiment, training)
    start = _sent(training, tags)
    if run is not None and start is None:  # other points than those of now: a run of that name was made anew
        server.ask("POST", "runs/delete", {"run_id": run})
        run = None
    new = training.points[start or 0 :]
    if run is not None and not new:
        return None
    if run is None:
        run = _create(server, experiment, training)
        if run is None:
            return None
    params = [{"key": name, "value": str(value)} for name, value in training.settings.items()]
    for batch in _parts(params, MOST_PARAMS):
        server.ask("POST", "runs/log-batch", {"run_id": run, "params": batch})
    for batch in _parts(_metrics(new), MOST_METRICS):
        server.ask("POST", "runs/log-batch", {"run_id": run, "metrics": batch})
    now = {POINTS: str(len(training.points)), DIGEST: digest(training, training.points)}
    written = [{"key": name, "value": value} for name, value in now.items()]
    server.ask("POST", "runs/log-batch", {"run_id": run, "tags": written})
    server.ask("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": _now_ms()})
    return len(new)


def _runs_of(server: Server, experiment: str, training: Tracked) -> list[Json]:
    """Runs of the training, always in the same order."""
    which = {"experiment_ids": [experiment], "filter": f"tags.`{TRAINING}` = '{training.id}'"}
    runs = server.ask("POST", "runs/search", {**which, "max_results": 100}).get("runs", [])
    return sorted(runs, key=lambda one: str(one["info"]["run_id"]))


def _run_of(server: Server, experiment: str, training: Tracked) -> tuple[str | None, dict[str, str]]:
    for run in _runs_of(server, experiment, training):
        tags = {one["key"]: one["value"] for one in run.get("data", {}).get("tags", [])}
        return str(run["info"]["run_id"]), tags
    return None, {}


def _create(server: Server, experiment: str, training: Tracked) -> str | None:
    """A new run; None where another export has made one meanwhile: that one is filled by the other."""
    tags = {TRAINING: training.id, "mlflow.source.name": "dagsverk", "dagsverk.version": code_version()}
    about = {
        "experiment_id": experiment,
        "run_name": training.id,
        "start_time": _now_ms(),
        "tags": [{"key": name, "value": value} for name, value in tags.items()],
    }
    made = str(server.ask("POST", "runs/create", about)["run"]["info"]["run_id"])
    first, _ = _run_of(server, experiment, training)
    if first in (made, None):
        return made
    server.ask("POST", "runs/delete", {"run_id": made})
    return None


def _sent(training: Tracked, tags: Mapping[str, str]) -> int | None:
    """How many points the run has, from the first on; None if they are others."""
    upto = int(tags[POINTS]) if tags.get(POINTS, "").isdecimal() else 0
    if upto == 0:
        return 0 if POINTS not in tags or tags.get(DIGEST) == digest(training, []) else None
    if upto > len(training.points):
        return None
    return upto if tags.get(DIGEST) == digest(training, training.points[:upto]) else None


def _metrics(points: Sequence[Point]) -> list[Json]:
    """A point has no time of its own: its step stands for it, in seconds since 1970."""
    return [
        {"key": name, "value": value, "timestamp": 1000 * point.step, "step": point.step}
        for point in points
        for name, value in point.values.items()
        if math.isfinite(value)  # JSON has no other
    ]


def _parts(listed: Sequence[Json], most: int) -> Iterator[list[Json]]:
    for start in range(0, len(listed), most):
        yield list(listed[start : start + most])


def _now_ms() -> int:
    return round(1000 * time.time())
