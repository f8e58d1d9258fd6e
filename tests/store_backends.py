"""The backends that the store's contract runs on, and its rows. One more backend is one entry of BACKENDS."""

from __future__ import annotations

import atexit
import datetime as dt
import functools
import os
import subprocess
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from dagsverk.store import Store, Table, open_store

S3 = os.environ.get("DAGSVERK_TEST_S3", "")  # s3://bucket with AWS_* set, or "moto" to start moto_server


def embedded_folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def embedded_s3(tmp_path: Path) -> Store:
    """A fresh prefix in the bucket of DAGSVERK_TEST_S3."""
    bucket = _moto_bucket() if S3 == "moto" else S3
    return open_store(f"{bucket}/{uuid.uuid4().hex}")


@functools.cache
def _moto_bucket() -> str:
    """Start moto in its own process (inside ours it can deadlock with delta-rs) and make a bucket."""
    server = subprocess.Popen(
        ["moto_server", "-H", "127.0.0.1", "-p", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    atexit.register(server.kill)
    assert server.stderr is not None
    address = next(line for line in server.stderr if "Running on" in line).split()[-1]
    threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop the server
    os.environ.update(
        AWS_ENDPOINT_URL=address,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_REGION="us-east-1",
    )
    import s3fs

    s3fs.S3FileSystem(use_listings_cache=False).mkdir("contract")
    return "s3://contract"


BACKENDS: dict[str, Callable[[Path], Store]] = {"folder": embedded_folder}
if S3:
    BACKENDS["s3"] = embedded_s3

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("ts", pa.timestamp("us")),
        ("value", pa.float64()),
        ("n", pa.int64()),
        ("ok", pa.bool_()),
        ("vector", pa.list_(pa.float64())),
        ("note", pa.string()),
        ("day", pa.date32()),
        ("raw", pa.binary()),
        ("small", pa.int32()),
    ]
)
TABLE = Table("rows", 1, SCHEMA, ("id",), "ts")
TABLE = Table("rows", 1, SCHEMA, ("id",), "ts")


def rows(ids: list[str], value: float = 1.0, first_day: int = 1) -> pd.DataFrame:
    """Row i lies on day first_day + i of January 2026."""
    return pd.DataFrame(
        {
            "id": ids,
            "ts": [pd.Timestamp(2026, 1, first_day + i) for i in range(len(ids))],
            "value": value,
            "n": range(len(ids)),
            "ok": True,
            "vector": [[0.25, 0.75]] * len(ids),
            "note": "a",
            "day": dt.date(2026, 1, 1),
            "raw": b"\x00\xff",
            "small": 7,
        }
    )
