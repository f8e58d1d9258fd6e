"""AWS_* variables of one test, and a store that is used with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from store_writer import TABLE

from dagsverk.store import Store, open_store

BUCKET = "dagsverk"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Mapping[str, str]], None]:
    """Sets AWS_* variables; no other is set, nor is a profile of this machine seen."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    own = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}
    for name, file in own.items():
        monkeypatch.setenv(name, str(tmp_path / file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def set_variables(variables: Mapping[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


def days(turn: int, count: int = 4) -> pd.DataFrame:
    return pd.DataFrame({"writer": "w", "n": range(count), "ts": pd.Timestamp("2026-01-01"), "turn": turn})


def works(prefix: str, turn: int = 1) -> Store:
    """The store, after a file and a table were written and read in it: by s3fs and by delta-rs."""
    store = open_store(f"s3://{BUCKET}/{prefix}")
    store.put("a", b"1", overwrite=True)
    assert store.get("a") == b"1"
    store.ensure(TABLE)
    store.upsert(TABLE, days(turn))
    assert store.read(TABLE).turn.tolist() == [turn] * 4
    return store
