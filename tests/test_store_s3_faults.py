"""What a store on S3 withstands: answers of 503, dropped connections, lost answers, silence."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from deltalake.exceptions import DeltaError
from faulty_proxy import KINDS, FaultyProxy, faulty_proxy
from s3_server import KEYS, make_bucket, s3_server
from s3_settings import BUCKET, aws, days, works
from store_writer import TABLE

from dagsverk.store import Store, StoreError, Unavailable, open_store, s3
from dagsverk.store.delta import delta_errors

__all__ = ["aws"]

FIRST_ONLY = 4  # with this seed and probability 0.5 the first request meets a fault, the second does not


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        make_bucket(address, BUCKET)
        yield address


@pytest.fixture
def at_server(server: str, aws) -> str:
    aws({**KEYS, "AWS_ENDPOINT_URL": server})
    return server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "4")


def test_a_few_answers_of_503_are_survived_by_files_and_tables(at_server: str, aws) -> None:
    with faulty_proxy(at_server, seed=1, probability=0.2, kinds=["503"]) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        works("busy")
        assert proxy.counts()["503"] >= 2


@pytest.mark.parametrize("server", ["silent", "dead"])
def test_a_server_that_does_not_answer_is_unavailable_after_the_patience(aws, impatient, server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if server == "silent" else 9
        aws({**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
        start = time.monotonic()
        with pytest.raises(Unavailable, match="check AWS_ENDPOINT_URL"):
            open_store(f"s3://{BUCKET}/x")
        assert time.monotonic() - start < 4 + 7 + 2  # the patience, the pauses, a slow machine


def test_a_server_that_falls_silent_is_unavailable_to_files_and_tables(
    at_server: str, aws, impatient
) -> None:
    with faulty_proxy(at_server, seed=1, probability=1, kinds=["stall"], stall_s=600) as proxy:
        proxy.switch_off()
        aws({"AWS_ENDPOINT_URL": proxy.address})
        store = works("silent")
        proxy.switch_on()
        start = time.monotonic()
        with ThreadPoolExecutor(3) as threads:
            acts = (
                lambda: store.get("a"),
                lambda: store.read(TABLE),
                lambda: store.upsert(TABLE, days(2)),
            )
            for answer in [threads.submit(act) for act in acts]:
                with pytest.raises(Unavailable):
                    answer.result()
        assert time.monotonic() - start < 4 + 7 + 4


def test_a_body_that_breaks_off_is_read_on(at_server: str, aws, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    open_store(f"s3://{BUCKET}/broken").put("a", data)
    with faulty_proxy(at_server, seed=2, probability=0.6, kinds=["cut"]) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        store = open_store(f"s3://{BUCKET}/broken")
        assert [store.get("a") == data for _ in range(3)] == [True] * 3
        assert proxy.counts()["cut"] >= 3


def test_a_server_without_conditional_writes_is_refused_when_a_store_is_opened(at_server: str, aws) -> None:
    open_store(f"s3://{BUCKET}/unconditional")  # proven through another door does not count
    with faulty_proxy(at_server, seed=1, probability=0, without="If-None-Match") as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        for place in ("unconditional", "unconditional/new"):
            with pytest.raises(
                StoreError, match=r"ignores If-None-Match.*use a server with conditional writes"
            ):
                open_store(f"s3://{BUCKET}/{place}")
        open_store(f"s3://{BUCKET}/unconditional", create=False)  # nothing is lost by reading


def test_conditional_writes_are_tried_once_per_process(at_server: str, aws) -> None:
    with faulty_proxy(at_server, seed=1, probability=0) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        open_store(f"s3://{BUCKET}/once")
        before = proxy.counts()["pass"]
        open_store(f"s3://{BUCKET}/once")
        assert proxy.counts()["pass"] - before == 2  # the bucket, and the marker of our store


# ------------------------------------------------------------------ lost answers


def test_a_file_created_although_its_answer_was_lost_counts_as_created(at_server: str, aws) -> None:
    with faulty_proxy(at_server, seed=1, probability=0.5, kinds=["late drop", "late 503"]) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        proxy.switch_off()
        files = s3.S3Files(f"{BUCKET}/lost")
        proxy.switch_on()
        answers = []
        for i in range(12):
            try:
                answers.append(files.create(f"f{i}", b"1"))
            except Unavailable:
                answers.append(None)
        proxy.switch_off()
        assert True in answers and False not in answers
        assert files.create("f0", b"1") is False  # the same bytes, another writer


def test_of_many_that_create_the_same_file_with_the_same_bytes_one_is_first(at_server: str) -> None:
    files = s3.S3Files(f"{BUCKET}/first")
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: files.create("a", b"1"), range(8))) == 1


def test_a_large_file_whose_last_answer_was_lost_is_stored(
    at_server: str, aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    (tmp_path / "large").write_bytes(os.urandom(12 << 20))
    lost = {"seed": FIRST_ONLY, "probability": 0.5, "kinds": ["late drop"], "only": "POST .*uploadId="}
    with faulty_proxy(at_server, **lost) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        store = open_store(f"s3://{BUCKET}/large")
        store.put_file("a", tmp_path / "large")
        assert proxy.counts()["late drop"] == 1
        assert store.fetch("a", tmp_path / "cache").read_bytes() == (tmp_path / "large").read_bytes()


# ------------------------------------------------------------------ everything at once


def batch(number: int) -> pd.DataFrame:
    """40 rows of each of two writers; every second batch rewrites the rows of the one before."""
    rows = [days(number, 40).assign(writer=name) for name in (f"w{number // 2}", "shared")]
    return pd.concat(rows, ignore_index=True)


def calls(store: Store, folder: Path) -> list[Callable[[], object]]:
    """Calls that may each be repeated until they succeed."""
    upserts = [lambda number=number: store.upsert(TABLE, batch(number)) for number in range(4)]
    files = [lambda name=name: store.put_file(f"files/{name}", folder / name) for name in ("large", "small")]
    small = [lambda i=i: store.put(f"small/{i}", bytes([i]) * 100, overwrite=True) for i in range(3)]

    def promoted(number: int) -> None:
        model = store.save_model("m", folder / f"model{number}", metrics={"x": number}, info={"n": number})
        champion = store.champion("m")
        store.promote("m", model.version, reason=f"r{number}", expected=champion and champion.version)

    models = [lambda number=number: promoted(number) for number in range(2)]
    return [*upserts[:2], *files, models[0], *small, *upserts[2:], models[1]]


def make_sources(folder: Path, chance: random.Random) -> None:
    (folder / "large").write_bytes(chance.randbytes(11 << 20))
    (folder / "small").write_bytes(chance.randbytes(50_000))
    for number in range(2):
        (folder / f"model{number}").mkdir()
        for name in ("a.bin", "b.bin"):
            (folder / f"model{number}" / name).write_bytes(chance.randbytes(200_000))


def until_done(call: Callable[[], object], proxy: FaultyProxy) -> None:
    """Repeat the call while a StoreError refuses it, at last without faults. Nothing else may be raised."""
    for _ in range(4):
        try:
            call()
        except StoreError:
            continue
        return
    proxy.switch_off()
    try:
        call()
    finally:
        proxy.switch_on()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def check(store: Store, folder: Path, out: Path) -> None:
    """Exactly the rows, models and files of all calls, each once."""
    wanted = pd.concat([batch(number) for number in range(4)])
    wanted = wanted.drop_duplicates(["writer", "n"], keep="last").sort_values(["writer", "n"])
    columns = ["writer", "n", "turn"]
    stored = store.read(TABLE).sort_values(["writer", "n"])
    assert stored[columns].to_numpy().tolist() == wanted[columns].to_numpy().tolist()
    for name in ("large", "small"):
        assert store.fetch(f"files/{name}", out / "cache").read_bytes() == (folder / name).read_bytes()
    assert [store.get(f"small/{i}") for i in range(3)] == [bytes([i]) * 100 for i in range(3)]
    assert [model.info["n"] for model in store.models("m")] == [0, 1]
    for model in store.models("m"):
        copy = store.download(model, out / f"copy{model.version}")
        assert contents(copy) == contents(folder / f"model{model.info['n']}")
    assert [promotion["version"] for promotion in store.champions("m")] == [1, 2]


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_lost_on_the_way_repeats_make_everything_right(
    at_server: str, aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("DAGSVERK_S3_PATIENCE_S", "3")
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    make_sources(tmp_path, random.Random(seed))
    with faulty_proxy(at_server, seed=seed, probability=0.25, stall_s=1.0) as proxy:
        proxy.switch_off()
        aws({"AWS_ENDPOINT_URL": proxy.address})
        store = open_store(f"s3://{BUCKET}/seed{seed}")
        store.ensure(TABLE)
        proxy.switch_on()
        for call in calls(store, tmp_path):
            until_done(call, proxy)
        proxy.switch_off()
        assert set(KINDS) < set(proxy.counts())
        check(store, tmp_path, tmp_path)


def test_an_upsert_whose_commit_lost_its_answer_tells_what_it_wrote(at_server: str, aws) -> None:
    store = works("counts")
    with faulty_proxy(
        at_server, seed=FIRST_ONLY, probability=0.5, kinds=["late 503"], only="PUT .*_delta_log"
    ) as proxy:
        aws({"AWS_ENDPOINT_URL": proxy.address})
        store = open_store(store.url)
        commit = store.upsert(TABLE, days(1).assign(writer="other"))
        assert proxy.counts()["late 503"] == 1
        assert len(store.commits(TABLE)) == 2 and (commit.inserted, commit.updated) == (4, 0)


def test_a_list_that_broke_off_during_a_commit_is_unavailable() -> None:
    seen = (
        "Generic DeltaTable error: Error interacting with object store: Generic S3 error: Error getting list "
        "response body: HTTP error: request or response body error"
    )
    with pytest.raises(Unavailable), delta_errors(TABLE, "s3://bucket/x"):
        raise DeltaError(seen)
