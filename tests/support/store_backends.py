"""The backends that the store's contract runs on, and its rows. One more backend is one entry of BACKENDS."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.util
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
from hopsworks_project import project_url
from s3_server import KEYS, make_bucket, shared_s3_server

from dagsverk.store import Store, Table, open_store

S3 = "DAGSVERK_TEST_S3"  # s3://bucket, with AWS_* set: that server; unset: moto


def embedded_folder(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def embedded_s3(tmp_path: Path) -> Store:
    """A fresh prefix in a bucket."""
    return open_store(f"{_bucket()}/{uuid.uuid4().hex}")


@functools.cache
def _bucket() -> str:
    if given := os.environ.get(S3):
        return given.rstrip("/")
    address = shared_s3_server()
    make_bucket(address, "contract")
    os.environ.update({**KEYS, "AWS_ENDPOINT_URL": address})
    return "s3://contract"


def hopsworks(tmp_path: Path) -> Store:
    """A fresh prefix in a project."""
    return open_store(project_url())


# Each makes a store that is fresh and empty at each call
BACKENDS: dict[str, Callable[[Path], Store]] = {"folder": embedded_folder, "s3": embedded_s3}
if importlib.util.find_spec("hopsworks"):  # the extra is installed
    BACKENDS["hopsworks"] = hopsworks

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
