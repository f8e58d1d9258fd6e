"""The Prefect server: whether it answers us, in our version, with our login, by our clock."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from dagsverk.doctor.finding import ANSWER_S, Finding, Installation, fine, shown, warn, wrong
from dagsverk.doctor.store import skew
from dagsverk.doctor.versions import SQLITE_COST
from dagsverk.login import DoorsError, login_from

MOST = 200  # rows that Prefect gives at a time


class NoAnswer(Exception):
    """What the checks that follow need is not there, as one before has said."""


@functools.lru_cache(maxsize=4)
def _client(url: str, login: tuple[str, str] | None, key: str) -> httpx.Client:
    bearer = {"Authorization": f"Bearer {key}"} if key and not login else {}
    return httpx.Client(base_url=url, auth=login, headers=bearer, timeout=ANSWER_S)


def client(here: Installation) -> httpx.Client:
    """Who asks Prefect, with the login that is set. Raises NoAnswer when there is no server to ask."""
    if not here.api_url:
        raise NoAnswer
    pair = here.environ.get("PREFECT_API_AUTH_STRING", "")
    try:
        if found := login_from(here.environ):
            pair = found.pair
    except DoorsError:
        pass  # told by the check of the settings
    user, colon, password = pair.partition(":")
    return _client(
        here.api_url.rstrip("/"),
        (user, password) if colon else None,
        here.environ.get("PREFECT_API_KEY", ""),
    )


def ask(here: Installation, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """What Prefect answers to a question. Raises NoAnswer."""
    try:
        answer = client(here).post(path, json=dict(body or {}))
        return answer.raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoAnswer(f"{path}: {type(error).__name__}") from error


def answers(here: Installation) -> Iterator[Finding]:
    """Whether there is a server that is ready. Raises NoAnswer when there is none."""
    if not here.api_url:
        yield warn("no Prefect server runs here: nothing is started by schedule", "make up")
        raise NoAnswer
    where = shown(here.api_url).removesuffix("/api")
    log = f"see {here.logs / 'server.log'}; stop the launcher, then make up"
    remedy = log if here.in_use else "start it (make up), or correct PREFECT_API_URL"
    try:
        answer = client(here).get("/ready")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        yield wrong(f"Prefect at {where} does not answer ({type(error).__name__})", remedy)
        raise NoAnswer from error
    yield from skew("the Prefect server", answer, here.clock())
    if not answer.is_success:
        yield wrong(f"Prefect at {where} is not ready ({answer.status_code}): its database?", remedy)
        raise NoAnswer
    yield from _lets_in(here, where)


def _lets_in(here: Installation, where: str) -> Iterator[Finding]:
    answer = client(here).get("/admin/version")
    if answer.status_code in (401, 403):
        yield wrong(
            f"Prefect at {where} asks for another login than is set here",
            "set DAGSVERK_LOGIN (or DAGSVERK_LOGIN_FILE) as the server has it",
        )
        raise NoAnswer
    if answer.status_code == 421:
        yield wrong(
            f"Prefect does not go by the name in {where}",
            "add the name to DAGSVERK_HOSTS of the server, or use 127.0.0.1",
        )
        raise NoAnswer
    if not answer.is_success or not answer.headers.get("content-type", "").startswith("application/json"):
        yield wrong(f"what answers at {where} is no Prefect server", "correct PREFECT_API_URL")
        raise NoAnswer
    yield fine(f"Prefect at {where} is ready")
    yield from _same_version(str(answer.json()))


def _same_version(theirs: str) -> Iterator[Finding]:
    try:
        ours = version("prefect")
    except PackageNotFoundError:
        return  # told by the check of the requirements
    if ours != theirs:
        yield wrong(
            f"the Prefect server is {theirs}, here is {ours}: they refuse each other's requests",
            "the same on both: make setup, then start server and workers again",
        )


def elsewhere(here: Installation) -> Iterator[Finding]:
    """A shell that talks to another server than the one that runs here."""
    told = str(here.launcher().get("api_url") or "") if here.in_use else ""
    given = here.environ.get("PREFECT_API_URL", "")
    if told and given and told.rstrip("/") != given.rstrip("/"):
        yield warn(
            f"PREFECT_API_URL names {shown(given)}, the launcher here serves {shown(told)}",
            f"export PREFECT_API_URL={shown(told)}",
        )


def database(here: Installation) -> Iterator[Finding]:
    """SQLite under a server elsewhere, as far as it says so; ours is checked in the state folder."""
    answer = client(here).get("/admin/settings")
    if answer.is_success:
        found = (answer.json().get("server") or {}).get("database") or {}
        if "sqlite" in str(found.get("driver")):
            yield warn(f"the Prefect server uses SQLite: {SQLITE_COST}", "give it PostgreSQL")
