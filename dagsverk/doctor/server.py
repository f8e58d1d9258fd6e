"""The Prefect server: whether it answers us, in our version, with our login, by our clock."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from dagsverk.doctor.finding import ANSWER_S, Finding, Installation, fine, shown, warn, wrong
from dagsverk.doctor.store import skew
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
        if login := login_from(here.environ):
            pair = login.pair
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
    """Whether there is a server that is ready, and that lets us in. Raises NoAnswer when there is none."""
    if not here.api_url:
        yield warn("no Prefect server runs here: nothing is started by schedule", "make up")
        raise NoAnswer
    where = shown(here.api_url).removesuffix("/api")
    log = f"see {here.logs / 'server.log'}; stop the launcher, then make up"
    try:
        ready, version = client(here).get("/ready"), client(here).get("/admin/version")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        remedy = log if here.in_use else "start it (make up), or correct PREFECT_API_URL"
        yield wrong(f"Prefect at {where} does not answer ({type(error).__name__})", remedy)
        raise NoAnswer from error
    yield from skew("the Prefect server", ready, here.clock())
    if refusal := _refusal(ready.status_code, version):
        what, remedy = refusal
        yield wrong(f"{what.format(where)} ({version.status_code})", remedy)
        raise NoAnswer
    yield fine(f"Prefect at {where} is ready")
    yield from _same_version(str(version.json()))


def _refusal(ready: int, answer: httpx.Response) -> tuple[str, str] | None:
    """What keeps us from asking more, and the remedy; None if nothing does."""
    if 421 in (ready, answer.status_code):
        return "Prefect does not go by the name in {}", "add the name to the server's DAGSVERK_HOSTS"
    if answer.status_code in (401, 403):
        return (
            "Prefect at {} wants another login",
            "set DAGSVERK_LOGIN or DAGSVERK_LOGIN_FILE as the server has it",
        )
    if ready >= 500:
        return "Prefect at {} is not ready", "its database does not answer: see the server's log"
    if answer.status_code != httpx.codes.OK or "json" not in answer.headers.get("content-type", ""):
        return "what answers at {} is no Prefect server", "correct PREFECT_API_URL"
    return None


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
    served = str(here.launcher().get("api_url") or "") if here.in_use else ""
    given = here.environ.get("PREFECT_API_URL", "")
    if served and given and served.rstrip("/") != given.rstrip("/"):
        yield warn(
            f"PREFECT_API_URL names {shown(given)}, the launcher here serves {shown(served)}",
            f"export PREFECT_API_URL={shown(served)}",
        )
