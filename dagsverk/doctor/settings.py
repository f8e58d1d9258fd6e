"""Whether the settings name things that are there, and keep secrets to themselves."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from dagsverk.doctor.finding import Finding, Installation, fine, some, warn, wrong
from dagsverk.doors import proxy_options
from dagsverk.login import LOGIN_FILE, DoorsError, login_from

KNOWN = (
    "DAGSVERK_ALLOW_PRIVATE_URLS", "DAGSVERK_CACHE", "DAGSVERK_DATABASE", "DAGSVERK_HOSTS", "DAGSVERK_LOGIN",
    "DAGSVERK_LOGIN_FILE", "DAGSVERK_LOGS", "DAGSVERK_MEDIA_SITES", "DAGSVERK_PROGRAM_KEYS",
    "DAGSVERK_PROXIES", "DAGSVERK_RECORD",
    "DAGSVERK_RECORDINGS",
    "DAGSVERK_REQUIRE_BROWSER", "DAGSVERK_ROOT", "DAGSVERK_S3_PATIENCE_S", "DAGSVERK_SEARCH_STORAGE",
    "DAGSVERK_STORE", "DAGSVERK_TASK_RUNNER",
    "DAGSVERK_TEST_HOPSWORKS", "DAGSVERK_TEST_PROMPTS", "DAGSVERK_TEST_S3", "DAGSVERK_TEST_WHISPER",
    "DAGSVERK_VOICE_CHECK", "DAGSVERK_WORKER_PID",
)  # fmt: skip
FOLDERS = ("DAGSVERK_CACHE", "DAGSVERK_LOGS", "DAGSVERK_RECORDINGS", "DAGSVERK_ROOT")
FILES = ("HOPSWORKS_TRUST_STORE_PATH", "AWS_CA_BUNDLE", "SSL_CERT_FILE")
DATABASES = ("postgresql", "postgres", "postgresql+asyncpg")


def names(here: Installation) -> Iterator[Finding]:
    """Variables that nothing reads: most are spelt wrongly."""
    given = sorted(name for name in here.environ if name.startswith("DAGSVERK_"))
    for name in (name for name in given if name not in KNOWN):
        near = difflib.get_close_matches(name, KNOWN, 1)
        yield warn(f"{name} is set, and nothing reads it", f"{near[0]} is meant?" if near else "unset it")
    if used := [name for name in given if name in KNOWN]:
        yield fine(f"set: {some(used, 8)}")


def things(here: Installation) -> Iterator[Finding]:
    """Folders and files that variables name."""
    for name in (*FOLDERS, *FILES):
        value = here.environ.get(name)
        if value and not Path(value).expanduser().exists():
            yield warn(f"{name} is {value}, which is not there", f"unset {name}, or make it")


def values(here: Installation) -> Iterator[Finding]:
    """Values that whoever reads them would refuse."""
    scheme, mark, rest = here.environ.get("DAGSVERK_DATABASE", "").partition("://")
    if scheme and not (scheme == "sqlite" and not mark) and not (scheme in DATABASES and rest):
        yield wrong(
            "DAGSVERK_DATABASE is neither an address of PostgreSQL nor sqlite (not shown)",
            "unset it, or give postgresql+asyncpg://USER@HOST/DATABASE",
        )
    scheme, _, rest = here.environ.get("DAGSVERK_SEARCH_STORAGE", "").partition("://")
    if scheme and not (scheme in (*DATABASES, "postgresql+pg8000") and "/" in rest):
        yield wrong(
            "DAGSVERK_SEARCH_STORAGE is no address of a PostgreSQL database (not shown)",
            "unset it, or give postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    patience = here.environ.get("DAGSVERK_S3_PATIENCE_S", "60")
    if not (patience.replace(".", "", 1).isdigit() and 0.1 <= float(patience) <= 3600):
        yield wrong(f"DAGSVERK_S3_PATIENCE_S is {patience!r}", "give seconds from 0.1 to 3600, or unset it")


def doors(here: Installation) -> Iterator[Finding]:
    """Whether the proxies that are believed are named as the servers want them."""
    try:
        proxy_options(here.environ)
    except DoorsError as error:
        yield wrong(str(error), "mend it: neither pages nor Prefect start with it")


def login(here: Installation) -> Iterator[Finding]:
    """Whether the login can be used, and its file is read by us alone."""
    try:
        login = login_from(here.environ)
    except DoorsError as error:
        yield wrong(str(error), "mend it: without it nothing that listens to others starts")
        return
    file = here.environ.get(LOGIN_FILE)
    if file and (mode := Path(file).stat().st_mode & 0o077):
        yield warn(f"others may read or change {file} (mode {mode:03o} for them)", f"chmod 600 {file}")
    elif login:
        yield fine("a login is set (not shown)")
