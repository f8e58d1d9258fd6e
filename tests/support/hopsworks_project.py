"""One Hopsworks project for the whole test session: the emulator with an S3 server behind it, or a real one.

DAGSVERK_TEST_HOPSWORKS=hopsworks://HOST/PROJECT?data_source=NAME, with HOPSWORKS_API_KEY set: that project
serves instead. Each store has a fresh prefix, and what has it is removed at the end: feature views, feature
groups, models, and Resources/dagsverk/PREFIX. Tests that need faults are skipped.

DAGSVERK_RECORD=DIR: the shape of every exchange is written to DIR, without any value (`emulator_shapes`). To
see where the emulator differs from a real server, record one run against each and compare:

    problems(Path("from-the-server"), Path("from-the-emulator"))
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import tempfile
import time
import types
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from emulator_process import Emulator, hopsworks_emulator
from s3_server import KEYS, make_bucket, shared_s3_server

REAL = "DAGSVERK_TEST_HOPSWORKS"
RECORD = "DAGSVERK_RECORD"
BUCKET = DATA_SOURCE = "lake"
FEW_LETTERS = 8  # of a prefix: names of feature groups have 63 at most


def project_url(prefix: str | None = None) -> str:
    """The address of a store in the project, fresh and empty unless a prefix is given; the environment is
    set for its client."""
    parts = urlsplit(_project())
    if os.environ.get(REAL) and not _prefixes:
        sdk()  # what is registered later is done earlier: removing needs the connection that the SDK ends
        atexit.register(lambda: [remove_all(sdk(), used) for used in sorted(_prefixes)])
    prefix = prefix or f"t{uuid.uuid4().hex[:FEW_LETTERS]}"
    _prefixes.add(prefix)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{prefix}").geturl()


_prefixes: set[str] = set()


def sdk() -> Any:
    """The connection of this process, for what another program does through the SDK."""
    from dagsverk.store.hopsworks.connection import Address, connect

    parts = urlsplit(_project())
    return connect(Address(parts.hostname or "", parts.port or 443, parts.path.strip("/")))


def shared_emulator() -> Emulator:
    """The emulator behind `project_url`. Skips the test if a real project serves."""
    if os.environ.get(REAL):
        pytest.skip("a real project makes no faults on demand")
    return _emulator()


@functools.cache
def _project() -> str:
    if folder := os.environ.get(RECORD):
        _record(Path(folder))
    given = os.environ.get(REAL)
    if not given:
        return f"{_emulator().url}?data_source={DATA_SOURCE}"
    return given


@functools.cache
def _emulator() -> Emulator:
    stack = ExitStack()
    atexit.register(stack.close)
    address = shared_s3_server()
    make_bucket(address, BUCKET)
    os.environ.update({**KEYS, "AWS_ENDPOINT_URL": address})
    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dagsverk-emulator-")))
    emulator = stack.enter_context(hopsworks_emulator(root, bucket=BUCKET, data_source=DATA_SOURCE))
    os.environ.update(emulator.variables())
    return emulator


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """The shared emulator, with a client that repeats at once; every fault is gone at the end."""
    from hopsworks_common import client
    from hopsworks_common.core import dataset_api

    from dagsverk.store.hopsworks import connection as hopsworks_connection

    found = shared_emulator()
    sdk()  # logs in
    session = client._get_instance()._session
    patient = session.get_adapter("https://")
    monkeypatch.setattr(hopsworks_connection, "PAUSE_S", 0.001)
    monkeypatch.setattr(dataset_api, "time", types.SimpleNamespace(sleep=lambda _: None, time=time.time))
    session.mount("https://", hopsworks_connection.Patience())
    yield found
    session.mount("https://", patient)
    found.clear_faults()
    assert (strange := found.unknown()) == [], strange


def wait_for_request(emulator: Emulator, pattern: str, alive: Callable[[], bool], after: int = 0) -> bool:
    """Until more than `after` requests match; False if their client has ended before."""
    while sum(re.search(pattern, line) is not None for line in emulator.requests()) <= after:
        if not alive():
            return False
        time.sleep(0.01)  # leaves the processor to those that are watched
    return True


def remove_all(connection: Any, prefix: str) -> None:
    """Remove what stores with the prefix have made in the project."""
    from dagsverk.store.hopsworks.hopsfs import HopsFS

    files, features = HopsFS(connection), connection.features
    for entry in files.entries("Models"):
        if entry.name.startswith(f"{prefix}__"):
            for view in features.get_feature_views(entry.name) or []:
                view.delete()
            for model in connection.models.get_models(entry.name):
                model.delete()
            files.remove(entry.path)
    for group in features.get_feature_groups() or []:
        if group.name.startswith(f"{prefix}__"):
            group.delete()
    files.remove(f"Resources/dagsverk/{prefix}")


def _record(folder: Path) -> None:
    """Attach a recorder to the session of the login to come."""
    from emulator_shapes import Recorder

    from dagsverk.store.hopsworks import connection as hopsworks_connection

    recorder, make = Recorder(folder), hopsworks_connection._patient_session

    def recorded() -> Any:
        session = make()
        recorder.attach(session)
        return session

    hopsworks_connection._patient_session = recorded
