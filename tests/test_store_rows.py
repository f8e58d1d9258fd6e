"""The last of each identity, and moments: the two rules of a row that do not need a store."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.store import SchemaError, Table
from dagsverk.store.rows import moment, normalise, to_frame

PAIRS = Table("pairs", 1, pa.schema([("a", pa.string()), ("b", pa.int64()), ("x", pa.float64())]), ("a", "b"))


@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 2), st.floats(allow_nan=False)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_normalised_rows_are_the_last_of_each_identity(given_rows: list[tuple[str, int, float]]) -> None:
    rows = pd.DataFrame(given_rows, columns=["a", "b", "x"])
    kept = normalise(PAIRS, rows).to_pylist()
    assert {(row["a"], row["b"]): row["x"] for row in kept} == {(a, b): x for a, b, x in given_rows}
    assert len(kept) == len({(a, b) for a, b, _ in given_rows})


@given(
    st.lists(
        st.tuples(
            st.text(max_size=3),
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
        ),
        max_size=8,
        unique_by=lambda row: row[:2],
    )
)
@settings(max_examples=60, deadline=None)
def test_normalising_twice_changes_nothing(given_rows: list[tuple[str, int, float | None]]) -> None:
    rows = pa.table(
        dict(zip("abx", (list(column) for column in zip(*given_rows, strict=True)), strict=False))
        or {"a": [], "b": [], "x": []},
        schema=PAIRS.schema,
    )
    once = normalise(PAIRS, rows)
    assert normalise(PAIRS, once).equals(once) and normalise(PAIRS, to_frame(once)).equals(once)


def test_a_slice_of_lists_loses_its_nan_and_nothing_else() -> None:
    table = Table("lists", 1, pa.schema([("id", pa.int64()), ("p", pa.list_(pa.float64()))]), ("id",))
    whole = pa.table({"id": [0, 1, 2, 3], "p": [[9.0], [float("nan"), 1.0], None, []]})
    assert normalise(table, whole.slice(1)).column("p").to_pylist() == [[None, 1.0], None, []]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.int64()), pa.list_(pa.float64(), 2)], ids=str
)
def test_lists_of_other_numbers_become_the_tables(kind: pa.DataType) -> None:
    table = Table("lists", 1, pa.schema([("id", pa.int64()), ("p", pa.list_(pa.float64()))]), ("id",))
    given_rows = pa.table({"id": [1], "p": pa.array([[1, 2]], kind)})
    assert normalise(table, given_rows).column("p").to_pylist() == [[1.0, 2.0]]


def test_a_column_that_must_be_filled_may_not_be_empty() -> None:
    schema = pa.schema([pa.field("id", pa.int64()), pa.field("x", pa.float64(), nullable=False)])
    with pytest.raises(SchemaError, match="empty in 1 of 2 rows"):
        normalise(Table("t", 1, schema, ("id",)), pd.DataFrame({"id": [1, 2], "x": [1.0, float("nan")]}))


def test_a_column_named_twice_is_refused() -> None:
    rows = pd.DataFrame([["p", 1, 1.0, 2.0]], columns=["a", "b", "x", "x"])
    with pytest.raises(SchemaError, match="twice"):
        normalise(PAIRS, rows)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02", pd.Timestamp(2026, 1, 2)),
        ("2026-07-01T01:00+02:00", pd.Timestamp(2026, 6, 30, 23)),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), pd.Timestamp(2026, 1, 1)),
        (pd.Timestamp("2026-01-01 00:00:00.000001999"), pd.Timestamp("2026-01-01 00:00:00.000001")),
    ],
)
def test_a_moment_is_utc_in_microseconds(value: object, expected: pd.Timestamp) -> None:
    assert moment(value) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["yesterday", "", None, pd.NaT, object()])
def test_what_is_no_moment_is_refused(value: object) -> None:
    with pytest.raises(SchemaError, match="not a moment"):
        moment(value)  # type: ignore[arg-type]
