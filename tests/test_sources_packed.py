"""Tables in other wrappings: packed, as Parquet, or as something that is no table."""

import bz2
import decimal
import gzip
import io
import lzma
import zipfile

import pandas as pd
import pyarrow as pa
import pytest
from written_tables import HEADER, ROW, said, taken

from dagsverk.tabular import sources
from dagsverk.tabular.errors import SourceError


@pytest.fixture
def take(tmp_path):
    return lambda content, name="rows.csv", system="titanic": taken(tmp_path / name, content, system)


def zipped(data, *names):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return made.getvalue()


PACKED = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": lambda data: zipped(data, "rows.csv", "__MACOSX/._rows.csv"),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_a_packed_table_is_unpacked_whole_or_refused(take, monkeypatch, suffix):
    packed = PACKED[suffix]((HEADER + ROW * 50).encode())
    checked = take(packed, f"ROWS.CSV.{suffix.upper()}")
    assert checked.rows_in == 50
    assert "unpacked" in said(checked)
    with pytest.raises(SourceError, match="cut short"):
        take(packed[: len(packed) * 2 // 3], f"rows.csv.{suffix}")
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    with pytest.raises(SourceError, match="unpacks to more than 1 MiB"):
        take(PACKED[suffix](b"x" * (2 << 20)), f"rows.{suffix}")


def test_parquet_inside_gzip_inside_zip_is_still_a_table(take, tmp_path):
    frame().to_parquet(tmp_path / "made")
    packed = gzip.compress((tmp_path / "made").read_bytes())
    assert len(take(zipped(packed, "rows.gz"), "rows").rows) == 3


@pytest.mark.parametrize(
    "content, name, complaint",
    [
        (
            zipped(b"", "train.csv", "test.csv"),
            "titanic.zip",
            r"holds 2 files \(train.csv, test.csv\), want one",
        ),
        (zipped(b"", "[Content_Types].xml", "xl/workbook.xml"), "rows", "is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 99, "rows.csv", "is a spreadsheet"),
        (b"\n<!DOCTYPE html><html>", "train.csv", "is a web page"),
        (b'{"rows": []}', "rows.csv", "is JSON"),
        (b"% Titanic\n@RELATION titanic\n", "rows.txt", "is ARFF"),
        (b"", "rows.sav", "of a statistics program"),
        (b"\x00\x01\x02" * 99, "rows.csv", "is not text"),
    ],
)
def test_what_is_no_table_is_named_with_the_next_move(take, content, name, complaint):
    with pytest.raises(SourceError, match=complaint):
        take(content, name)


@pytest.fixture
def parquet(take, tmp_path):
    def parquet(frame, **kwargs):
        frame.to_parquet(tmp_path / "made", **kwargs)
        return take((tmp_path / "made").read_bytes(), "rows.pq")

    return parquet


def frame(**columns):
    usual = dict(zip(HEADER.strip().split(","), ROW.strip().split(","), strict=True))
    rows = len(next(iter(columns.values()))) if columns else 3
    names = {"passenger_id": [str(n) for n in range(1, rows + 1)]}
    return pd.DataFrame({**{name: [value] * rows for name, value in usual.items()}, **names, **columns})


@pytest.mark.parametrize(
    "columns",
    [
        {"survived": [0.0, 1.0, None]},
        {"survived": pd.array([False, True, None], dtype="boolean")},
        {"survived": pd.Categorical(["0", "1", None])},
        {"survived": [decimal.Decimal("0.00"), decimal.Decimal("1.00"), None]},
        {"survived": [b"0", b"1", None]},
        {"survived": [" No", "YES ", "n/a"]},
        {"survived": pd.array([0, 1, None], dtype="UInt8")},
    ],
)
def test_an_outcome_in_parquet_is_understood_whatever_its_type(parquet, columns):
    rows = parquet(frame(**columns)).rows
    assert rows["survived"].fillna("").tolist() == ["died", "survived", ""]


def test_cells_of_parquet_are_cleaned_as_those_of_csv(parquet):
    age = [" 22 ", "?", "31,5"]
    checked = parquet(frame(age=age, sex=["Male", " female", "M"]).rename(columns={"sex": "Sex"}))
    assert checked.rows["age"].fillna(-1).tolist() == [22, -1, 31.5]
    assert checked.rows["sex"].tolist() == ["male", "female", "male"]
    assert "'?' in age (1)" in said(checked)


@pytest.mark.parametrize(
    "ids, names",
    [
        ([9000.0, 9001.0, None], ["9000", "9001"]),
        ([2**60 + 1, 2**60, 7], [str(2**60 + 1), str(2**60), "7"]),
        (["007", "7", "1e5"], ["007", "7", "1e5"]),
        ([decimal.Decimal("7.00"), decimal.Decimal("8.00"), None], ["7", "8"]),
    ],
)
@pytest.mark.parametrize("as_index", [False, True])
def test_an_identity_in_parquet_is_exact_also_as_index(parquet, ids, names, as_index):
    table = frame(passenger_id=pd.Series(ids, dtype=object if isinstance(ids[0], decimal.Decimal) else None))
    checked = parquet(table.set_index("passenger_id") if as_index else table)
    assert checked.rows["row_id"].tolist() == [f"titanic-{name}" for name in names]
    assert checked.rows_in == 3


def test_an_index_that_only_counts_is_read_where_it_has_a_name_and_left_out_where_not(parquet):
    table = frame().drop(columns="passenger_id")
    assert "named by their content" in said(parquet(table.iloc[::-1]))
    numbered = table.set_axis(pd.RangeIndex(5, 8, name="Passenger Id"))
    assert parquet(numbered).rows["row_id"].tolist() == ["titanic-5", "titanic-6", "titanic-7"]


def test_lists_in_parquet_are_refused_by_name_only_where_they_are_used(parquet):
    assert len(parquet(frame(name=[["a"], ["b"], []])).rows) == 3
    with pytest.raises(SourceError, match=r"age of rows.pq holds list"):
        parquet(frame(age=[[1.0], [2.0], []]))
