"""Both kinds of day, on servers that fail, stall, die and come back at random, end as in a quiet folder."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pytest
from days_on_stores import differences, models, shown, speech_day, store_at, tabular_day, without_news
from faulty_proxy import FaultyProxy, faulty_proxy
from hopsworks_project import emulator, project_url
from s3_server import KEYS, make_bucket, shared_s3_server
from store_backends import embedded_folder
from test_store_hopsworks_faults import spoil

from dagsverk.store import open_store
from tasks.policies import PASSING

__all__ = ["emulator"]

SEEDS, SYSTEM = range(2), "iris"
SHARE = 0.03  # of requests to S3 that meet a fault
TRIES = 100  # a task has fewer, with minutes between them
THERE = threading.Event()  # the server that comes and goes: between two tries it comes back
THERE.set()


@pytest.fixture(scope="module")
def quiet(tmp_path_factory) -> dict[str, Any]:
    """What a folder holds after undisturbed days."""
    room = tmp_path_factory.mktemp("quiet")
    with store_at(embedded_folder(room).url, room):
        days()
        return shown([SYSTEM])


def days(do: Callable[..., Any] | None = None) -> None:
    for day in (lambda **how: tabular_day(SYSTEM, **how), speech_day):
        day(**({"do": do} if do else {}))


def persistently(task: Callable[..., Any], *arguments: Any) -> Any:
    """Call a task again for what its policy calls passing trouble, and for nothing else."""
    for _ in range(TRIES):
        try:
            return task(*arguments)
        except PASSING as error:
            last = error
            THERE.wait()
    raise last


@contextmanager
def comes_and_goes(seed: int, away: Callable[[], None], back: Callable[[], None]) -> Iterator[None]:
    """A server that dies and comes back at random moments, until the block ends; then it is there."""
    over, chance = threading.Event(), random.Random(seed)

    def trouble() -> None:
        while not over.wait(chance.uniform(0.5, 2.0)):
            THERE.clear()
            try:
                away()
                over.wait(chance.uniform(0.0, 0.5))
                back()
            finally:
                THERE.set()

    thread = threading.Thread(target=trouble)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def faulty_s3(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[FaultyProxy]:
    address = shared_s3_server()
    make_bucket(address, "faulty")
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "3")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with faulty_proxy(address, seed=seed, probability=SHARE, stall_s=0.5) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


@pytest.mark.parametrize("seed", SEEDS)
def test_on_s3_nothing_is_lost_doubled_or_half_there(quiet, tmp_path, monkeypatch, seed):
    with faulty_s3(monkeypatch, seed) as proxy:
        proxy.switch_off()
        with store_at(open_store(f"s3://faulty/seed{seed}").url, tmp_path):
            proxy.switch_on()
            with comes_and_goes(seed, proxy.go_away, proxy.come_back):
                days(persistently)
            proxy.switch_off()
            assert sum(proxy.counts().values()) - proxy.counts()["pass"] > 5
            loud = shown([SYSTEM])
    for what in ("models", "artefacts", "pages"):
        assert differences(without_news(quiet[what]), without_news(loud[what])) == []
    assert_same_rows(quiet["tables"], loud["tables"])


@pytest.mark.parametrize("seed", SEEDS)
def test_on_hopsworks_nothing_is_lost_doubled_or_half_there(quiet, tmp_path, monkeypatch, emulator, seed):
    with faulty_s3(monkeypatch, seed) as proxy:
        proxy.switch_off()
        with store_at(open_store(project_url()).url, tmp_path):
            proxy.switch_on()
            spoil(emulator, seed)

            def back() -> None:
                emulator.start()
                spoil(emulator, seed)

            with comes_and_goes(seed, emulator.kill, back):
                days(persistently)
            proxy.switch_off()
            emulator.clear_faults()
            loud = {**shown([SYSTEM]), "models": ranked(models())}
    assert_same_rows(quiet["tables"], loud["tables"])
    assert differences(ranked(quiet["models"]), loud["models"]) == []
    assert list(quiet["artefacts"]) == list(loud["artefacts"])


def ranked(registered: dict[str, Any]) -> dict[str, Any]:
    """Versions by their order: on Hopsworks a number that a failed save had claimed is not used again."""
    names = {}
    for name, (versions, promotions) in registered.items():
        rank = {version["version"]: n for n, version in enumerate(versions, 1)}
        kept = [{**version, "version": rank[version["version"]]} for version in versions]
        names[name] = [kept, [rank[promotion["version"]] for promotion in promotions]]
    return names


def assert_same_rows(quiet: dict[str, pd.DataFrame], loud: dict[str, pd.DataFrame]) -> None:
    for name, expected in quiet.items():
        rows = loud[name]
        if "model_version" in rows:
            rows = rows.assign(model_version=rows["model_version"].rank(method="dense").astype(int))
        pd.testing.assert_frame_equal(rows, expected, check_exact=True, obj=name)
