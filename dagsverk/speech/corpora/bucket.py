"""A corpus in an S3 bucket: objects below a prefix, or one object that is an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, cast

from dagsverk import s3
from dagsverk.reading import TooLarge
from dagsverk.speech.corpora.places import MAX_CLIP_BYTES, MAX_TABLE_BYTES, Entry, unreadable, walk_near
from dagsverk.speech.errors import CorpusError, CorpusUnavailable

TOGETHER = 32  # objects fetched at the same time
KINDS = s3.Kinds(missing=CorpusError, wrong=CorpusError, unavailable=CorpusUnavailable)


class S3Place:
    """Objects below a prefix. Keys, region and endpoint come from the AWS variables or profile."""

    sequential = False

    def __init__(self, url: str) -> None:
        """Raises CorpusError."""
        self.url = url
        self._bucket, _, self._root = url.removeprefix("s3://").strip("/").partition("/")
        self._prefix = f"{self._root}/" if self._root else ""
        self.name = (self._root or self._bucket).rsplit("/", 1)[-1]
        self._s3 = connect(url)

    def near(self) -> set[str]:
        with s3_errors("list", self.url):
            return walk_near(self._level)

    def _level(self, below: str) -> list[str]:
        """The first thousand: one request."""
        start = f"{self._prefix}{below}"
        page = self._s3.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=start, Delimiter="/")
        keys = [one["Key"] for one in page.get("Contents", [])]
        keys += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
        return [key.removeprefix(self._prefix) for key in keys if key != start]

    def files(self) -> dict[str, Entry]:
        with s3_errors("list", self.url):
            objects = sorted(s3.keys_below(self._s3, self._bucket, self._prefix), key=lambda one: one["Key"])
        return {
            one["Key"].removeprefix(self._prefix): Entry(int(one["Size"]), one["ETag"].strip('"'))
            for one in objects
            if not one["Key"].endswith("/")
        }

    def table(self, path: str) -> bytes:
        where = f"{self.url}/{path}"
        with s3_errors("read", where):
            try:
                return s3.read_object(self._s3, self._address(path), MAX_TABLE_BYTES)
            except TooLarge as error:
                raise unreadable(where, error) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for start in range(0, len(paths), TOGETHER):
            some = paths[start : start + TOGETHER]
            contents = s3.read_objects(self._s3, [self._address(path) for path in some], MAX_CLIP_BYTES)
            for path, content in zip(some, contents, strict=True):
                if isinstance(content, bytes):
                    yield path, content
                elif not isinstance(content, (FileNotFoundError, TooLarge)):
                    with s3_errors("read", f"{self.url}/{path}"):
                        raise content

    def _address(self, path: str) -> str:
        return f"{self._bucket}/{self._prefix}{path}"


class S3Object:
    """One object, read as a stream."""

    def __init__(self, url: str) -> None:
        """Raises CorpusError."""
        self._s3, self._url, self._address = connect(url), url, url.removeprefix("s3://")

    def open(self) -> BinaryIO:
        """From front to end; each read raises CorpusError."""
        return cast(BinaryIO, s3.ObjectStream(self._s3, self._address, KINDS))

    def size(self) -> int:
        """Bytes. Raises CorpusError."""
        bucket, _, key = self._address.partition("/")
        with s3_errors("open", self._url):
            return int(self._s3.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])


def connect(url: str) -> Any:
    """The client, after a look at the bucket. Raises CorpusError."""
    bucket = url.removeprefix("s3://").split("/")[0]
    with s3_errors("open", f"s3://{bucket}"):
        client = s3.client()
        client.call_s3("head_bucket", Bucket=bucket)
        return client


def s3_errors(verb: str, where: str) -> AbstractContextManager[None]:
    """What S3 answers as a CorpusError that says the next move."""
    return s3.errors(verb, where, KINDS)
