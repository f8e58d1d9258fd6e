"""A corpus in an S3 bucket: objects below a prefix, or one object that is an archive."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, cast

from dagsverk import s3
from dagsverk.reading import TooLarge
from dagsverk.speech.corpora.places import (
    MADE_BY_SYSTEMS,
    MAX_CLIP_BYTES,
    MAX_NAME_LETTERS,
    MAX_TABLE_BYTES,
    Entry,
    name_below,
    unreadable,
    walk_near,
)
from dagsverk.speech.errors import CorpusError, CorpusUnavailable

TOGETHER = 32  # objects fetched at the same time
PART_BYTES = 1 << 16  # of an object, asked for at least
NO_PATH = f"a key that is no path (a//b, ./a), or of more than {MAX_NAME_LETTERS} letters: rename it"
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
        return {path: entry for path, entry in self.objects().items() if not entry.fault}

    def objects(self) -> dict[str, Entry]:
        """As `files`, and beside them what is left out there without being hidden; each with its fault."""
        with s3_errors("list", self.url):
            objects = sorted(s3.keys_below(self._s3, self._bucket, self._prefix), key=lambda one: one["Key"])
        below = {one["Key"].removeprefix(self._prefix): one for one in objects}
        return {
            path: _entry(one) if name_below(path) == path else Entry(0, "", NO_PATH)
            for path, one in below.items()
            if not path.endswith("/") and not _is_hidden(path)
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

    def blocks(self, path: str, tag: str) -> Iterator[bytes]:
        """An object of any size, of the version with this ETag. Raises CorpusError."""
        with s3_errors("read", f"{self.url}/{path}"):
            yield from s3.blocks(self._s3, self._address(path), f'"{tag}"')

    def stamp(self, path: str) -> str:
        """The ETag of the version that is there; "" for none. Raises CorpusError."""
        bucket, _, key = self._address(path).partition("/")
        with s3_errors("open", f"{self.url}/{path}"):
            try:
                return str(self._s3.call_s3("head_object", Bucket=bucket, Key=key)["ETag"]).strip('"')
            except FileNotFoundError:
                return ""

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

    def anywhere(self) -> S3Parts:
        """As a file in which one may move. Raises CorpusError."""
        head = self._head()
        return S3Parts(self._s3, self._address, head["ETag"], int(head["ContentLength"]))

    def size(self) -> int:
        """Bytes. Raises CorpusError."""
        return int(self._head()["ContentLength"])

    def _head(self) -> dict[str, Any]:
        bucket, _, key = self._address.partition("/")
        with s3_errors("open", self._url):
            return cast("dict[str, Any]", self._s3.call_s3("head_object", Bucket=bucket, Key=key))


class S3Parts(io.RawIOBase):
    """One version of an object as a file in which one may move: what is read is asked for then."""

    def __init__(self, client: Any, address: str, tag: str, size: int) -> None:
        self._s3, self._address, self._tag, self._size = client, address, tag, size
        self._place = self._start = 0
        self._held = b""  # bytes from _start on

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        from_where = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if from_where + offset < 0:
            raise OSError(errno.EINVAL, "a place before the first byte")
        self._place = from_where + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Fewer bytes than asked for only at the end. Raises CorpusError."""
        stop = self._size if size < 0 else min(self._place + size, self._size)
        if stop <= self._place:
            return b""
        if not self._start <= self._place <= stop <= self._start + len(self._held):
            self.ahead(self._place, max(stop - self._place, PART_BYTES))
        part = self._held[self._place - self._start : stop - self._start]
        self._place = stop
        return part

    def ahead(self, start: int, size: int) -> None:
        """Hold these bytes, to be read in small pieces. Raises CorpusError."""
        stop = min(start + size, self._size)
        if start < stop:
            with s3_errors("read", f"s3://{self._address}"):
                self._held = s3.read_part(self._s3, self._address, self._tag, start, stop)
            self._start = start


def _entry(one: dict[str, Any]) -> Entry:
    tag = one["ETag"].strip('"')
    return Entry(int(one["Size"]), tag, digest=tag)


def _is_hidden(path: str) -> bool:
    parts = [part for part in path.split("/") if part not in (".", "..")]
    return any(part.startswith(".") or part in MADE_BY_SYSTEMS for part in parts)


def is_object(url: str) -> bool:
    """Whether there is an object of this very name. Raises CorpusError where that is not told."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    with s3_errors("open", url):
        try:
            connect(url).call_s3("head_object", Bucket=bucket, Key=key)
        except FileNotFoundError:
            return False
    return True


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
