"""What is costly is computed once for the same inputs."""

import pandas as pd
import pytest

from dagsverk.records import digest, remembered
from dagsverk.store import open_store


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def test_a_result_is_computed_once_and_then_read(store):
    calls = []
    for _ in range(3):
        result = remembered(store, "a/b.json", dict, lambda: calls.append(1) or {"x": 1.5})
    assert (result, len(calls)) == ({"x": 1.5}, 1)


def test_a_failed_computation_leaves_nothing_behind(store):
    with pytest.raises(ZeroDivisionError):
        remembered(store, "a/b.json", dict, lambda: {"x": 1 / 0})
    assert store.list("a") == []


def test_of_two_who_compute_at_once_the_first_result_counts_for_both(store):
    def late():
        store.put("a/b.json", b'{"x": "first"}')
        return {"x": "second"}

    assert remembered(store, "a/b.json", dict, late) == {"x": "first"}


def test_the_digest_ignores_the_order_of_rows_and_nothing_else():
    rows = pd.DataFrame({"a": [1.0, 2.0, None], "b": ["x", "y", None]})
    assert digest(rows) == digest(rows.iloc[::-1])
    others = [
        digest(rows, {"k": 1}),
        digest(rows.assign(a=[1.0, 2.0, 3.0])),
        digest(rows.iloc[:2]),
        digest(rows.rename(columns={"a": "c"})),
        digest(pd.concat([rows, rows.iloc[:1]])),
    ]
    assert len({digest(rows), *others}) == 6
