"""The store: whether it answers, can be written, keeps its promises, and holds nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import ssl
import uuid
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

import httpx

from dagsverk.doctor.finding import ANSWER_S, Finding, Installation, fine, shown, some, warn, wrong
from dagsverk.doctor.machine import nearest

if TYPE_CHECKING:
    from dagsverk.store.files import Files

# Names that the store has on disk. Importing it takes seconds, which a store in a folder need not cost.
MARKER, FORMAT, TEMPORARY = "dagsverk-store.json", 1, ".tmp"
LEFT_S = 3600.0  # a file that is being written for longer was left by a writer that was killed
AWAY_S = 60.0  # that clocks may differ
KEY, TRUSTED = "HOPSWORKS_API_KEY", "HOPSWORKS_TRUST_STORE_PATH"
INSIDE = "REST_ENDPOINT"  # set in Hopsworks' own containers
AMAZON = "https://s3.amazonaws.com"
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def place(here: Installation) -> Iterator[Finding]:
    """The store, whatever it is."""
    scheme, mark, rest = here.store.partition("://")
    if not mark or scheme == "file":
        folder = Path(unquote(rest.removeprefix("localhost"))) if mark else Path(here.store).expanduser()
        yield from _folder(folder.absolute(), here.clock())
    elif "@" in rest or (scheme == "s3" and re.search("[?#]", rest)):
        yield wrong(
            "DAGSVERK_STORE holds a user, password or query (not shown)",
            "give the bare address; keys belong in AWS_* variables or HOPSWORKS_API_KEY",
        )
    elif scheme == "s3":
        yield from _bucket(here)
    elif scheme == "hopsworks":
        yield from _project(here)
    else:
        what = f"DAGSVERK_STORE is {shown(here.store)}"
        yield wrong(what, "name a folder, s3://bucket/prefix or hopsworks://host/project")


def _folder(root: Path, now: float) -> Iterator[Finding]:
    existing = nearest(root)
    if not (existing.is_dir() and os.access(existing, os.R_OK | os.W_OK | os.X_OK)):
        yield wrong(
            f"the store {root}: this user ({os.geteuid()}) may not write in {existing}", f"chown {existing}"
        )
    elif existing != root:
        yield fine(f"no store yet at {root}: the first run makes it")
    elif problem := _unusable(root):
        yield problem
    else:
        yield from _written_folder(root)
        yield from _half_written(root, now)
        yield from _unclaimed(root, now)


def _unusable(root: Path) -> Finding | None:
    """Why a folder is no store of ours; None if it is one."""
    remedy = "restore it from a copy, or name an empty folder as DAGSVERK_STORE"
    try:
        store_format = json.loads((root / MARKER).read_bytes())["format"]
    except FileNotFoundError:
        others = sorted(path.name for path in root.iterdir() if path.name != TEMPORARY)
        return (
            wrong(f"{root} is no store: it has no {MARKER}, but {some(others)}", remedy) if others else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return wrong(f"{root / MARKER} is damaged", remedy)
    if store_format != FORMAT:
        return wrong(
            f"{root} has store format {store_format!r}, this version reads {FORMAT}", "upgrade dagsverk"
        )
    return None


def _written_folder(root: Path) -> Iterator[Finding]:
    """Write, link and remove a probe, as the store does to be seen whole or not at all."""
    probe = root / TEMPORARY / f"doctor-{uuid.uuid4().hex}"
    linked = probe.with_suffix(".link")
    try:
        probe.parent.mkdir(exist_ok=True)
        probe.write_bytes(b"probe")
        os.link(probe, linked)
    except OSError as error:
        yield wrong(
            f"the store {root} cannot be written: {error.strerror}",
            "make room and give this user the folder; the file system must have hard links",
        )
    else:
        yield fine(f"the store {root} can be written")
    finally:
        for path in (probe, linked):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _half_written(root: Path, now: float) -> Iterator[Finding]:
    ages = []
    with contextlib.suppress(OSError):
        for path in (root / TEMPORARY).iterdir():
            with contextlib.suppress(FileNotFoundError):  # its writer has finished
                ages.append(now - path.stat().st_mtime)
    if old := sum(age > LEFT_S for age in ages):
        yield warn(
            f"half-written files in {root / TEMPORARY}, older than an hour: {old}",
            "harmless: who opens the store removes them after a day",
        )


def _unclaimed(root: Path, now: float) -> Iterator[Finding]:
    """What is damaged or unfinished among models and tables, as far as names tell."""
    for name in _damaged(root):
        yield wrong(f"{root / name} is damaged", "restore it from a copy of the store")
    absent = [
        path.stem for path in root.glob("tables/*.json") if not (path.with_suffix("") / "_delta_log").is_dir()
    ]
    if absent:
        yield warn(f"tables that are defined and not made: {some(absent)}", "the next run makes them")
    left = [path for path in root.glob("models/*/uploads/*") if now - path.stat().st_mtime > LEFT_S]
    named = {upload for path in root.glob("models/*/versions/*.json") for upload in _uploads(path)}
    if lost := [path.name for path in left if path.name not in named]:
        yield warn(
            f"uploads of models that became no version, their writers were killed: {len(lost)}",
            "harmless: the next save of the model removes those older than a day",
        )


def _damaged(root: Path) -> Iterator[str]:
    """Records that are no JSON: of versions, promotions and tables."""
    for pattern in ("models/*/versions/*.json", "models/*/promotions/*.json", "tables/*.json"):
        for path in root.glob(pattern):
            try:
                json.loads(path.read_bytes())
            except (OSError, ValueError):
                yield str(path.relative_to(root))


def _uploads(version: Path) -> Iterator[str]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        yield Path(json.loads(version.read_bytes())["upload"]).name


def _bucket(here: Installation) -> Iterator[Finding]:
    yield _keys(here)
    endpoint = next((here.environ[name] for name in ENDPOINTS if here.environ.get(name)), AMAZON)
    try:
        answer = httpx.head(endpoint, timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
        yield wrong(
            f"no S3 server answers at {shown(endpoint)} ({type(error).__name__})",
            "check AWS_ENDPOINT_URL and the network",
        )
        return
    yield from skew("the S3 server", answer, here.clock())
    from dagsverk.store import StoreError
    from dagsverk.store.s3 import S3Files

    try:
        yield from _conditional(S3Files(here.store.removeprefix("s3://")))
    except StoreError as error:
        yield wrong(str(error), "check keys, region, bucket and rights: docs/how-to/s3.md")


def _keys(here: Installation) -> Finding:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION")
    return fine(", ".join(f"{name} {'set' if here.environ.get(name) else 'not set'}" for name in names))


def _conditional(files: Files) -> Iterator[Finding]:
    """Create a probe twice: on a server that takes the second, commits of others would be lost."""
    folder = f"{TEMPORARY}/doctor-{uuid.uuid4().hex}"
    try:
        first, second = files.create(f"{folder}/probe", b"1"), files.create(f"{folder}/probe", b"2")
    finally:
        files.remove(folder)
    if first and not second:
        yield fine(f"the store {files.url} can be written, with conditional writes")
    else:
        yield wrong(
            f"{files.url}: the server has no conditional writes, so commits of two writers get lost",
            "use a server that has them (docs/how-to/s3.md)",
        )


def _project(here: Installation) -> Iterator[Finding]:
    """The server, the key and the project, by the request with which the SDK logs in."""
    key, trusted = here.environ.get(KEY, "").strip(), here.environ.get(TRUSTED)
    if INSIDE in here.environ:
        yield fine("inside Hopsworks, where its own token opens the project")
        return
    if not key:
        yield wrong(f"{KEY} is not set", f"set it: the key of {shown(here.store)}")
        return
    if trusted and not Path(trusted).is_file():
        yield wrong(f"{TRUSTED} is {trusted}, and there is no such file", "name the authority's certificate")
        return
    parts = urlsplit(here.store)
    name = parts.path.strip("/").split("/")[0]
    url = f"https://{parts.netloc.rpartition('@')[2]}/hopsworks-api/api/project/getProjectInfo/{quote(name)}"
    try:
        secure = ssl.create_default_context(cafile=trusted) if trusted else True
        answer = httpx.get(url, headers={"Authorization": f"ApiKey {key}"}, verify=secure, timeout=ANSWER_S)
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
        unknown = "CERTIFICATE_VERIFY_FAILED" in str(error)
        remedy = f"name the authority's certificate in {TRUSTED}" if unknown else "check address and network"
        why = "its certificate is not trusted" if unknown else type(error).__name__
        yield wrong(f"{shown(here.store)} cannot be reached: {why}", remedy)
        return
    yield from skew("Hopsworks", answer, here.clock())
    if answer.is_success:
        yield fine(
            f"{shown(here.store)} knows the key ({KEY} set, {TRUSTED} {'set' if trusted else 'not set'})"
        )
    elif answer.status_code in (401, 403):
        yield wrong(f"{shown(here.store)} does not accept the key", f"make one, and set {KEY}")
    else:
        yield wrong(
            f"{shown(here.store)} answers {answer.status_code}",
            "check project and key: docs/how-to/hopsworks.md",
        )


def skew(whose: str, answer: httpx.Response, now: float) -> Iterator[Finding]:
    """How far a server's clock is from ours, by the Date of its answer."""
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return
    if abs(theirs - now) > AWAY_S:
        ahead = "behind" if theirs < now else "ahead of"
        yield wrong(
            f"the clock of {whose} is {abs(theirs - now):.0f} s {ahead} this machine's",
            "set both (timedatectl set-ntp true): keys, schedules and days go by them",
        )
