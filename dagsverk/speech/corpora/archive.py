"""A tar of any usual packing, local or in an S3 bucket, read where it lies: nothing is unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

from dagsverk.reading import NotRegular, TooLarge, open_regular, read_at_most
from dagsverk.speech.corpora.places import (
    MAX_CLIP_BYTES,
    MAX_FILES,
    MAX_TABLE_BYTES,
    Entry,
    Place,
    folders_of_clips,
    local_trouble,
    name_below,
    unreadable,
)
from dagsverk.speech.corpora.unpacking import END, WANTED, Hashing, Tail, Unpacked, bare_name, packing
from dagsverk.speech.corpora.zipped import ZipPlace
from dagsverk.speech.errors import CorpusError
from dagsverk.unpacking import BLOCK_BYTES, FIRST_BYTES

if TYPE_CHECKING:
    from dagsverk.speech.corpora.bucket import S3Object

FIRST = 100  # members that tell what an archive holds
TABLES = (".tsv", ".csv", ".jsonl", ".json", ".txt", ".lab", "wav.scp", "text", "utt2spk", "segments")
SELDOM = ("validated.tsv", "invalidated.tsv", "other.tsv", "reported.tsv")  # large: kept by nobody, read anew
MAX_TABLES_BYTES = 1 << 30  # of all tables and texts of one archive: they are kept in memory
MAX_HEADER_BYTES = 1 << 16  # of a long name, or of other facts about one member: tarfile reads them whole
MAX_HEADERS = 1000  # that hold for all members
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
DAMAGED = (tarfile.TarError, ValueError, OverflowError, RecursionError)

Member: TypeAlias = tuple[str, tarfile.TarInfo, IO[bytes] | None]


class ArchivePlace:
    """The regular files of an archive. `files` reads it once from end to end, and checks that it is whole."""

    def __init__(self, source: str) -> None:
        """Raises CorpusError."""
        self.url, self.name = source, bare_name(source)
        self._object = _object(source) if source.startswith("s3://") else None
        with self._errors(), contextlib.closing(self._open()) as file:
            self.packed = packing(file.read(FIRST_BYTES), source)
        self.sequential = bool(self.packed) or self._object is not None
        self._files: dict[str, Entry] = {}
        self._tables: dict[str, bytes] = {}
        self._room = MAX_TABLES_BYTES
        self._offsets: dict[str, int] = {}
        self.sha256 = ""

    def near(self) -> set[str]:
        first: list[str] = []
        try:
            first.extend(name for name, _, _ in itertools.islice(self._members(), FIRST))
        except CorpusError:  # cut short: listing tells how much of it is there
            if not first:
                raise
        return set(first) | folders_of_clips(first)

    def files(self) -> dict[str, Entry]:
        if not self.sha256:
            self._survey()
        return self._files

    def table(self, path: str) -> bytes:
        entry = self.files().get(path)
        if path in self._tables:
            return self._tables[path]
        where = f"{self.url}/{path}"
        if entry is not None and entry.fault:
            raise unreadable(where, NotRegular(entry.fault))
        if entry is not None and path.endswith(SELDOM) and entry.size <= MAX_TABLE_BYTES:
            return next(self._table(path))
        raise unreadable(where, TooLarge(min(MAX_TABLE_BYTES, self._room)))

    def _table(self, path: str) -> Iterator[bytes]:
        for name, _, content in self._members():
            if name == path and content is not None:
                yield read_at_most(content, MAX_TABLE_BYTES)

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
                if content is not None:
                    with contextlib.suppress(TooLarge):
                        yield name, read_at_most(content, MAX_CLIP_BYTES)

    def _pick(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        files = self.files()
        with self._errors(), open_regular(Path(self.url)) as file:
            for path in paths:
                if path in self._offsets and files[path].size <= MAX_CLIP_BYTES:
                    file.seek(self._offsets[path])
                    yield path, file.read(files[path].size)

    def _survey(self) -> None:
        """One pass: names, sizes, tables, and the SHA-256 of all bytes."""
        with self._errors(), contextlib.closing(Hashing(self._open())) as raw:
            with contextlib.closing(Tail(self._plain(raw))) as plain:
                for name, member, content in self._walk(plain):
                    if name not in self._files:  # of equal names the first counts, here and in `read`
                        self._note(name, member, content)
                plain.drain()
                if plain.tail != bytes(END):
                    raise self._cut_short(raw.count)
            raw.drain()
            self.sha256 = raw.digest.hexdigest()

    def _note(self, name: str, member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if len(self._files) == MAX_FILES:
            raise CorpusError(f"{self.url} holds more than {MAX_FILES:,} files; divide it")
        if content is None:
            link, device = member.issym() or member.islnk(), member.isdev()
            kind = "a link" if link else "a device or pipe" if device else "no regular file"
            self._files[name] = Entry(0, "", kind)
            return
        self._offsets[name] = member.offset_data
        wanted = name.endswith(TABLES) and not name.endswith(SELDOM)
        if wanted and member.size <= min(MAX_TABLE_BYTES, self._room):
            self._tables[name] = read_at_most(content, member.size)
            self._room -= member.size
            digest = hashlib.blake2b(self._tables[name], digest_size=16)
        else:
            digest = hashlib.blake2b(digest_size=16)
            while block := content.read(BLOCK_BYTES):
                digest.update(block)
        self._files[name] = Entry(member.size, str(member.size), digest=digest.hexdigest())

    def _members(self) -> Iterator[Member]:
        with self._errors(), contextlib.closing(self._open()) as raw:
            yield from self._walk(self._plain(raw))

    def _walk(self, plain: Any) -> Iterator[Member]:
        """Files in order, a regular one with its stream. Folders and names that lead out are left out."""
        with tarfile.open(fileobj=plain, mode="r|", bufsize=BLOCK_BYTES, tarinfo=PlainMember) as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
                if member.size < 0:
                    raise tarfile.ReadError(f"a member of {member.size:,} bytes")
                if len(archive.pax_headers) > MAX_HEADERS:
                    raise tarfile.ReadError(f"more than {MAX_HEADERS:,} headers")
                name = name_below(member.name)
                if name and not member.isdir():
                    yield name, member, archive.extractfile(member) if member.isreg() else None

    def _open(self) -> BinaryIO:
        return self._object.open() if self._object else open_regular(Path(self.url))

    def _plain(self, raw: Any) -> BinaryIO:
        return cast(BinaryIO, Unpacked(raw, self.packed))

    def _cut_short(self, position: int) -> CorpusError:
        clips = sum(not name.endswith(TABLES) for name in self._files)
        return CorpusError(
            f"the archive {self.url} is cut short: it ends after {position:,} bytes, {clips:,} recordings; "
            "the download is incomplete: continue or repeat it, and compare its checksum with the publisher's"
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except EOFError as error:
            raise self._cut_short(self._length()) from error
        except NotRegular as error:
            raise CorpusError(f"{self.url} is {error}; want a folder, or a regular file: {WANTED}") from error
        except DAMAGED as error:
            if "unexpected end of data" in str(error):
                raise self._cut_short(self._length()) from error
            raise CorpusError(
                f"{self.url} is damaged or no archive ({error}); want {WANTED}, or download it again"
            ) from error
        except OSError as error:
            raise local_trouble(f"cannot read {self.url}", error) from error

    def _length(self) -> int:
        return self._object.size() if self._object else Path(self.url).stat().st_size


def open_archive(source: str) -> Place:
    """What an archive holds, by what it is, not by its name. Raises CorpusError."""
    place = ArchivePlace(source)
    return ZipPlace(source) if place.packed == "zip" else place


def _object(url: str) -> S3Object:
    from dagsverk.speech.corpora.bucket import S3Object  # botocore takes half a second to import

    return S3Object(url)


class PlainMember(tarfile.TarInfo):
    """A member with a header of a usual size, and no sparse file: a small one may claim to be of any size."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # where tarfile wants to be extended
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._refuse_sparse()
        if self.size < 0 or (self.type in HEADERS and self.size > MAX_HEADER_BYTES):
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return cast(tarfile.TarInfo, super()._proc_member(archive))  # type: ignore[misc]

    def _refuse_sparse(self, *_: Any) -> None:
        raise tarfile.ReadError("a sparse file: pack it without --sparse")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse
