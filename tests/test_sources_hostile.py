"""Sources made to do harm: nothing hangs, and nothing grows beyond its limits."""

import os
import resource
import socket

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from s3_server import KEYS, s3_server

from dagsverk.reading import TooLarge
from dagsverk.s3 import read_object, read_objects
from dagsverk.tabular import parquet, sources
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import load_system

SYSTEM = load_system("iris")
HEADER = b"flower_id,sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
ROWS = HEADER + b"1,5.1,3.5,1.4,0.2,setosa\n"


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket", "link to a pipe"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_no_regular_file_is_refused_and_nobody_waits(tmp_path, kind, suffix):
    path = tmp_path / f"rows.{suffix}"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to("pipe")
    with pytest.raises(SourceError, match=r"is a \w+; want a regular file"):
        read_source(SYSTEM, str(path))


def test_a_file_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    (tmp_path / "rows.csv").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(SourceError, match="more than 1 MiB"):
        read_source(SYSTEM, str(tmp_path / "rows.csv"))


@pytest.mark.parametrize(
    "content, complaint",
    [
        (b"x" * (1 << 20), "longer than 524,288 characters"),
        (b"a," * 5000 + b"a\n", "5,001 columns, the limit is 2,000"),
        (b"a," * (21 << 20), "cells, the limit is 20,000,000"),
        (b"\n" * (21 << 20), "cells, the limit is 20,000,000"),
        (HEADER + b'"' + b"x\n" * (1 << 20), "more than 100,000 lines"),
    ],
    ids=["one endless field", "endless columns", "endless cells", "endless lines", "an open quote"],
)
def test_a_csv_without_end_is_refused_and_takes_no_memory_to_speak_of(tmp_path, content, complaint):
    (tmp_path / "rows.csv").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=complaint):
        read_source(SYSTEM, str(tmp_path / "rows.csv"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def many_rows(path):
    pq.write_table(pa.table({"a": pa.nulls(30_000_000, pa.int8())}), path)


def many_bytes(path):
    """A long text a thousand times: in the file it stands once."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * (8 << 20)]))
    pq.write_table(
        pa.table({"a": texts}),
        path,
        store_schema=False,
        dictionary_pagesize_limit=1 << 30,
        compression="zstd",
    )


@pytest.mark.parametrize("write", [many_rows, many_bytes])
def test_a_parquet_file_that_unpacks_without_end_is_refused(tmp_path, monkeypatch, write):
    monkeypatch.setattr(parquet, "MEMORY_BYTES", 1 << 30)
    path = tmp_path / "rows.parquet"
    write(path)
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=r"rows\.parquet unpacks to more than"):
        read_source(SYSTEM, str(path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10


def test_a_parquet_file_that_takes_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "TIME_S", 0)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "rows.parquet")
    with pytest.raises(SourceError, match="unpacks to more than"):
        read_source(SYSTEM, str(tmp_path / "rows.parquet"))


def test_damaged_parquet_files_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    whole = path.read_bytes()
    for content in (whole[:-20], whole[:40] + b"\xff" * 200 + whole[240:], b"PAR1" + b"\xff" * 400 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"not a whole Parquet file|unpacks to more than"):
            read_source(SYSTEM, str(path))


# ------------------------------------------------------------------ buckets


@pytest.fixture
def bucket(monkeypatch):
    with s3_server() as address:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        client = s3fs.S3FileSystem(use_listings_cache=False)
        client.mkdir("rows")
        yield client
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_object_is_counted_as_it_is_read_whatever_its_header_says(bucket, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 20)
    bucket.pipe_file("rows/large.csv", b"x" * (2 << 20))
    bucket.pipe_file("rows/good.csv", ROWS)
    assert len(read_source(SYSTEM, "s3://rows/good.csv").rows) == 1
    with pytest.raises(SourceError, match="more than 1 MiB"):
        read_source(SYSTEM, "s3://rows/large.csv")
    with pytest.raises(SourceError, match="there is no such bucket or object"):
        read_source(SYSTEM, "s3://rows/none.csv")


def test_objects_that_do_not_fit_together_are_fetched_one_by_one(bucket):
    paths = [f"rows/{number}" for number in range(6)]
    for number, path in enumerate(paths):
        bucket.pipe_file(path, bytes([number]) * 400)
    contents = list(read_objects(bucket, [*paths, "rows/none"], 1000))
    assert [content[0] for content in contents[:-1]] == list(range(6))
    assert isinstance(contents[-1], FileNotFoundError)
    with pytest.raises(TooLarge):
        read_object(bucket, paths[0], 399)
