"""A store in Hopsworks after a history of faults is the store that had none: a folder, step for step."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import store_sequence
from emulator_process import Emulator
from faulty_proxy import faulty_proxy
from hopsworks_project import emulator, project_url, sdk, wait_for_request
from store_sequence import TABLE, persist, run, state

pytest.importorskip("dagsverk.store.hopsworks.store", reason="the extra hopsworks is not installed")
__all__ = ["emulator"]

from dagsverk.store import Store, open_store
from dagsverk.store.delta import commit_of, wrote
from dagsverk.store.hopsworks import models
from dagsverk.store.hopsworks.hopsfs import HopsFS

KINDS = ("status", "status_after", "drop", "drop_after", "stall")
PROBABILITY = 0.025  # of each kind, of each request


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a folder shows after the same steps."""
    store = open_store(str(tmp_path_factory.mktemp("folder") / "store"))
    run(store)
    return state(store)


def spoil(emulator: Emulator, seed: int) -> None:
    for number, kind in enumerate(KINDS):
        emulator.fault(
            "*",
            "/hopsworks-api/",
            kind,
            code=random.Random(seed).choice([500, 502, 503, 504]),
            seconds=0.02,
            times=None,
            probability=PROBABILITY,
            seed=100 * seed + number,
        )


def check(store: Store, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows what the folder shows; and so does Hopsworks, once a save has swept."""
    assert state(store) == expected
    store_sequence.upsert(store, "a", 3.0)  # changes nothing
    assert_commits_are_registered(store)
    monkeypatch.setattr(models, "ABANDONED_S", -1.0)
    store_sequence.save(store, "third")
    name = f"{prefix_of(store)}__m"
    versions = [model.version for model in store.models("m")]
    assert sorted(model.version for model in sdk().models.get_models(name)) == versions
    folders = [entry.name for entry in HopsFS(sdk()).entries(f"Models/{name}")]
    assert sorted(map(int, folders)) == versions
    views = sdk().features.get_feature_views(name)
    assert {tuple(feature.name for feature in view.features) for view in views} == {("id", "size")}


def assert_commits_are_registered(store: Store) -> None:
    group = sdk().features.get_feature_group(f"{prefix_of(store)}__{TABLE.name}", 1)
    listed = {
        int(at): (one["rowsInserted"], one["rowsUpdated"]) for at, one in group.commit_details().items()
    }
    log = [entry for entry in store._open(TABLE).history() if wrote(entry)]
    assert listed == {
        entry["timestamp"]: (commit_of(entry).inserted, commit_of(entry).updated) for entry in log
    }


def prefix_of(store: Store) -> str:
    return urlsplit(store.url).path.split("/")[-1]


@pytest.mark.parametrize("seed", range(4))
def test_after_any_faults_everything_is_as_in_a_folder(
    emulator: Emulator, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    url = project_url()
    spoil(emulator, seed)
    store = persist(lambda: open_store(url))
    run(store)
    emulator.clear_faults()
    check(store, expected, monkeypatch)


@pytest.mark.parametrize("seed", range(2))
def test_after_a_server_was_killed_and_came_back_everything_is_as_in_a_folder(
    emulator: Emulator, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    store = open_store(project_url())
    with kills(emulator, seed) as killed:
        run(store)
    assert killed
    check(store, expected, monkeypatch)


@contextlib.contextmanager
def kills(emulator: Emulator, seed: int) -> Iterator[list[int]]:
    """Kill the server and start it again after a number of requests, three times at most."""
    chance, over, killed = random.Random(seed), threading.Event(), []

    def act() -> None:
        for _ in range(3):
            if not wait_for_request(emulator, "", lambda: not over.is_set(), after=chance.randrange(90)):
                return
            killed.append(emulator.pid)
            emulator.restart()  # its list of requests begins anew

    emulator.forget_requests()
    killer = threading.Thread(target=act)
    killer.start()
    try:
        yield killed
    finally:
        over.set()
        killer.join()


@pytest.mark.parametrize("seed", range(2))
def test_after_a_writer_was_killed_again_and_again_everything_is_as_in_a_folder(
    emulator: Emulator, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    store, chance = open_store(project_url()), random.Random(seed)
    command = [sys.executable, store_sequence.__file__, store.url]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for _ in range(2):
        emulator.forget_requests()
        process = subprocess.Popen(command, env=environment)
        alive = functools.partial(lambda running: running.poll() is None, process)
        wait_for_request(emulator, "", alive, after=chance.randrange(40, 180))
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(store)
    check(store, expected, monkeypatch)


@pytest.mark.parametrize("seed", range(2))
def test_after_faults_of_the_bucket_too_everything_is_as_in_a_folder(
    emulator: Emulator, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    store = open_store(project_url())
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "4")
    spoil(emulator, seed)
    address = os.environ["AWS_ENDPOINT_URL"]
    with faulty_proxy(address, seed=seed, probability=0.1, stall_s=0.1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        run(store)
        assert proxy.counts().keys() > {"pass"}
    emulator.clear_faults()
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    check(store, expected, monkeypatch)
