"""A .tar or .tar.gz, local or in an S3 bucket, read where it lies: nothing is unpacked."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import itertools
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from dagsverk.speech.corpora.places import Entry, connect, open_object, s3_errors
from dagsverk.speech.errors import CorpusError

BLOCK_BYTES = 1 << 20
FIRST = 100  # members that tell what an archive holds
TABLES = (".tsv", ".csv", ".jsonl", ".txt")
NOT_NEEDED = ("validated.tsv", "invalidated.tsv", "other.tsv", "reported.tsv")  # large, and not read here
END = 1024  # zero bytes end every tar file


class ArchivePlace:
    """The regular files of an archive. `files` reads it once from end to end, and checks that it is whole."""

    def __init__(self, source: str) -> None:
        self.url = source
        self.name = (
            source.rstrip("/")
            .rsplit("/", 1)[-1]
            .removesuffix(".gz")
            .removesuffix(".tgz")
            .removesuffix(".tar")
        )
        self._s3: Any = connect(source) if source.startswith("s3://") else None
        with self._errors(), contextlib.closing(self._open()) as file:
            self._compressed = file.read(2) == b"\x1f\x8b"
        self.sequential = self._compressed or self._s3 is not None
        self._files: dict[str, Entry] = {}
        self._tables: dict[str, bytes] = {}
        self._offsets: dict[str, int] = {}
        self.sha256 = ""

    def near(self) -> set[str]:
        first: list[str] = []
        try:
            first.extend(name for name, _, _ in itertools.islice(self._members(), FIRST))
        except CorpusError:  # cut short: listing tells how much of it is there
            if not first:
                raise
        clips = {f"{name.rpartition('/')[0]}/" for name in first if name.rpartition("/")[0].endswith("clips")}
        return set(first) | clips

    def files(self) -> dict[str, Entry]:
        if not self.sha256:
            self._survey()
        return self._files

    def table(self, path: str) -> bytes:
        self.files()
        return self._tables[path]

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        if not self.sequential:
            yield from self._pick(paths)
            return
        wanted = set(paths)
        for name, _, content in self._members():
            if not wanted:
                return
            if name in wanted:
                wanted.discard(name)
                yield name, content.read()

    def _pick(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        files = self.files()
        with self._errors(), Path(self.url).open("rb") as file:
            for path in paths:
                if path in files:
                    file.seek(self._offsets[path])
                    yield path, file.read(files[path].size)

    def _survey(self) -> None:
        """One pass: names, sizes, tables, and the SHA-256 of all bytes."""
        with self._errors(), contextlib.closing(Hashing(self._open())) as raw:
            with contextlib.closing(Tail(self._plain(raw))) as plain:
                for name, member, content in self._walk(plain):
                    if name in self._files:
                        continue  # of equal names the first counts, here and in `read`
                    self._files[name] = Entry(member.size, str(member.size))
                    self._offsets[name] = member.offset_data
                    if name.endswith(TABLES) and not name.endswith(NOT_NEEDED):
                        self._tables[name] = content.read()
                plain.drain()
                if plain.tail != bytes(END):
                    raise self._cut_short(raw.count)
            raw.drain()
            self.sha256 = raw.digest.hexdigest()

    def _members(self) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
        with self._errors(), contextlib.closing(self._open()) as raw:
            yield from self._walk(self._plain(raw))

    def _walk(self, plain: Any) -> Iterator[tuple[str, tarfile.TarInfo, IO[bytes]]]:
        """Regular files in order, each as a stream. Links, devices and names that lead out are left out."""
        with tarfile.open(fileobj=plain, mode="r|", bufsize=BLOCK_BYTES) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
                name = member.name.removeprefix("./")
                parts = name.split("/")
                if member.isreg() and "" not in parts and not any(part.startswith(".") for part in parts):
                    yield name, member, cast(IO[bytes], archive.extractfile(member))

    def _open(self) -> BinaryIO:
        if self._s3 is not None:
            return open_object(self._s3, self.url)
        return Path(self.url).open("rb")

    def _plain(self, raw: Any) -> BinaryIO:
        return cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if self._compressed else raw

    def _cut_short(self, position: int) -> CorpusError:
        clips = sum(not name.endswith(TABLES) for name in self._files)
        return CorpusError(
            f"the archive {self.url} is cut short: it ends after {position:,} bytes, {clips:,} recordings; "
            "the download is incomplete: continue or repeat it, and compare its checksum with the publisher's"
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        with s3_errors("read", self.url) if self._s3 is not None else contextlib.nullcontext():
            try:
                yield
            except EOFError as error:
                raise self._cut_short(self._length()) from error
            except (tarfile.ReadError, zlib.error, gzip.BadGzipFile) as error:
                if "unexpected end of data" in str(error):
                    raise self._cut_short(self._length()) from error
                raise CorpusError(
                    f"{self.url} is damaged or no .tar or .tar.gz archive ({error}); download it again"
                ) from error
            except OSError as error:
                if self._s3 is not None:
                    raise
                raise CorpusError(f"cannot read {self.url}: {error.strerror}; check the path") from error

    def _length(self) -> int:
        with contextlib.closing(self._open()) as file:
            return file.seek(0, io.SEEK_END)


class Hashing(io.RawIOBase):
    """A stream that knows how many bytes went by, and their SHA-256."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.count = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self.count += len(block)
        self.digest.update(block)
        return block

    def drain(self) -> None:
        while self.read(BLOCK_BYTES):
            pass

    def close(self) -> None:
        self._source.close()
        super().close()


class Tail(io.RawIOBase):
    """A stream that remembers the last bytes that went by."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        if block:
            self.tail = (self.tail + block[-END:])[-END:]
        return block

    def drain(self) -> None:
        while self.read(BLOCK_BYTES):
            pass
