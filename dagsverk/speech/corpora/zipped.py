"""A .zip, local or in an S3 bucket, read where it lies: its list of files first, then each file by itself."""

from __future__ import annotations

import contextlib
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from dagsverk.reading import NotRegular, TooLarge, open_regular, read_at_most
from dagsverk.speech.corpora.places import (
    MAX_CLIP_BYTES,
    MAX_FILES,
    MAX_TABLE_BYTES,
    Entry,
    folders_of_clips,
    local_trouble,
    name_below,
    unreadable,
)
from dagsverk.speech.corpora.unpacking import FREE_BYTES, MAX_TIMES, WANTED, bare_name
from dagsverk.speech.errors import CorpusError
from dagsverk.unpacking import CutShort, Growth, open_member, zip_list_bytes

MAX_LIST_BYTES = 128 << 20  # of the list of files, about 100 a file; in memory it is some ten times as large
SLACK_BYTES = 512  # a file's own header may be so much longer than its entry in the list
UTF8 = 0x800  # the flag of a name in UTF-8
UNICODE_PATH = 0x7075  # the field in which Info-ZIP keeps a name in UTF-8
METHODS = {
    zipfile.ZIP_STORED: "stored",
    zipfile.ZIP_DEFLATED: "deflate",
    zipfile.ZIP_BZIP2: "bzip2",
    zipfile.ZIP_LZMA: "lzma",
}
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


class ZipPlace:
    """The regular files of a zip. Nothing is unpacked on the disk; sizes are counted while reading."""

    sequential = False

    def __init__(self, source: str) -> None:
        """Raises CorpusError."""
        self.url, self.name = source, bare_name(source)
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._files: dict[str, Entry] = {}
        with self._errors():
            self._raw = _opened(source)
            self._archive = self._open()
            self._list()

    def near(self) -> set[str]:
        return set(self._files) | folders_of_clips(self._files)

    def files(self) -> dict[str, Entry]:
        return self._files

    def table(self, path: str) -> bytes:
        where = f"{self.url}/{path}"
        if (entry := self._files.get(path)) is not None and entry.fault:
            raise unreadable(where, NotRegular(entry.fault))
        try:
            return self._content(path, MAX_TABLE_BYTES)
        except (KeyError, TooLarge) as error:
            raise unreadable(where, TooLarge(MAX_TABLE_BYTES)) from error

    def read(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for path in paths:
            if path in self._members and not self._files[path].fault:
                with contextlib.suppress(TooLarge):
                    yield path, self._content(path, MAX_CLIP_BYTES)

    def pieces(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What the list of files tells of their bytes: it tells most of them apart, and nothing is read."""
        for path in paths:
            yield path, f"{self._members[path].CRC}".encode()

    def _content(self, path: str, most: int) -> bytes:
        member = self._members[path]
        if member.file_size > most:
            raise TooLarge(most)
        with self._errors():
            if hasattr(self._raw, "ahead"):
                length = len(member.orig_filename) * 4 + len(member.extra) + SLACK_BYTES
                self._raw.ahead(member.header_offset, min(member.compress_size, most) + length)
            with open_member(self._archive, member) as file:
                return read_at_most(file, most)

    def _open(self) -> zipfile.ZipFile:
        """The archive, after a look at the size of its list: the library reads that whole."""
        try:
            size = zip_list_bytes(cast(IO[bytes], self._raw))
        except CutShort as error:
            raise CorpusError(
                f"the archive {self.url} is cut short: {error}; the download is incomplete, or it is a "
                "part of several: repeat it, or unpack it whole"
            ) from error
        if size > MAX_LIST_BYTES:
            raise CorpusError(
                f"{self.url} has a list of files of {size:,} bytes; want at most {MAX_LIST_BYTES:,}: "
                "divide it, or give a .tar"
            )
        return zipfile.ZipFile(cast(IO[bytes], self._raw))

    def _list(self) -> None:
        total = 0
        for member in sorted(self._archive.infolist(), key=lambda one: one.header_offset):
            name = name_below(_name(member))
            total += member.file_size
            if not name or member.is_dir() or name in self._files:  # of equal names the first counts
                continue
            if len(self._files) == MAX_FILES:
                raise CorpusError(f"{self.url} holds more than {MAX_FILES:,} files; divide it")
            self._members[name] = member
            self._files[name] = self._entry(member)
        Growth(MAX_TIMES, FREE_BYTES).check(total, self._raw.seek(0, 2))

    def _entry(self, member: zipfile.ZipInfo) -> Entry:
        mode = member.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            return Entry(0, "", "a link" if stat.S_ISLNK(mode) else "no regular file")
        if member.flag_bits & 1:
            raise CorpusError(
                f"{self.url} is encrypted ({member.filename!r}); unpack it with its password, give the folder"
            )
        if member.compress_type not in METHODS:
            raise CorpusError(
                f"{self.url} is packed by method {member.compress_type} ({member.filename!r}), which is not "
                f"read; want {', '.join(METHODS.values())}: unpack it and give the folder"
            )
        return Entry(member.file_size, f"{member.file_size}-{member.CRC:08x}")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except NotRegular as error:
            raise CorpusError(f"{self.url} is {error}; want a folder, or a regular file: {WANTED}") from error
        except DAMAGED as error:
            raise CorpusError(f"{self.url} is damaged ({error}); download it again") from error
        except OSError as error:
            raise local_trouble(f"cannot read {self.url}", error) from error


def _opened(source: str) -> Any:
    if not source.startswith("s3://"):
        return open_regular(Path(source))
    from dagsverk.speech.corpora.bucket import S3Object  # botocore takes half a second to import

    return S3Object(source).anywhere()


def _name(member: zipfile.ZipInfo) -> str:
    """The name that was meant. Without a flag it may be of the old DOS or, by macOS and others, in UTF-8."""
    name = member.orig_filename
    if not member.flag_bits & UTF8 and not name.isascii():
        raw = name.encode("cp437")  # as the library read it
        with contextlib.suppress(UnicodeDecodeError):
            name = raw.decode()
        name = _unicode_path(member.extra, raw) or name
    return name if "/" in name else name.replace("\\", "/")


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The name in Info-ZIP's field, if it is of this raw name; else ""."""
    while len(extra) >= 4:
        kind, size = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and field[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return field[5:].decode("utf-8", "replace")
    return ""
