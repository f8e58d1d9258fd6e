"""Small files of a store in the file system of a Hopsworks project (HopsFS, over REST).

REST can neither replace a file in one step nor create one only if it is absent: an upload deletes first, and
appears before it is whole. What is atomic is a rename, which never replaces. So a file is kept as generations
beside each other, `report~1.json`, `report~2.json`: each is uploaded aside and renamed to the next number;
the greatest is the file. A reader sees the old one or the new one; of two writers one takes the next number.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import re
from pathlib import Path

from dagsverk.store.files import ABANDONED_S, TEMPORARY, appearing, hashed_copy
from dagsverk.store.hopsworks.connection import Connection
from dagsverk.store.hopsworks.hopsfs import Entry, HopsFS, local_folder, new_name
from dagsverk.store.protocol import Conflict, NotFound, StoreError

ATTEMPTS = 40
KEPT = 2  # generations: a reader that has just listed finds the one before too
REMEMBERED_BYTES = 1 << 16
STAMP = "%Y%m%dT%H%M%SZ"
GENERATION = re.compile(r"(?P<stem>[^~]*)~(?P<number>\d+)(?P<suffix>\.[^.~]*)?")
PLAIN = re.compile(r"[A-Za-z0-9._-]")


class HopsworksFiles:
    """Files below a folder of a project."""

    def __init__(self, connection: Connection, root: str) -> None:
        self._fs, self._root = HopsFS(connection), root
        self.url = f"{connection.address.url}/{root}"
        self._made: set[str] = set()
        self._remembered = functools.lru_cache(512)(lambda entry: self._fs.content(entry.path))

    def read(self, path: str) -> bytes:
        for _ in range(ATTEMPTS):
            newest = self._newest(path)
            try:
                if newest.size > REMEMBERED_BYTES:
                    return self._fs.content(newest.path)
                return self._remembered(newest)
            except NotFound:  # replaced twice since it was listed
                continue
        raise Conflict(f"{self.url}/{path} is replaced faster than it can be read; try again")

    def write(self, path: str, data: bytes) -> None:
        with local_folder() as folder:
            local = Path(folder) / _temporary_name()
            local.write_bytes(data)
            self._place(path, local, only_first=False)

    def create(self, path: str, data: bytes) -> bool:
        if self._generations(path):
            return False
        with local_folder() as folder:
            local = Path(folder) / _temporary_name()
            local.write_bytes(data)
            return self._place(path, local, only_first=True)

    def paths(self, folder: str) -> list[str]:
        return sorted(self.stamps(folder))

    def stamps(self, folder: str) -> dict[str, str]:
        newest: dict[str, tuple[int, str]] = {}
        for entry in self._fs.files(self._at(folder)):
            if match := GENERATION.fullmatch(entry.name):
                path = decoded(_unnumbered(entry.path.removeprefix(f"{self._root}/")))
                stamp = int(match["number"]), f"{match['number']} {entry.size} {entry.modified}"
                newest[path] = max(stamp, newest.get(path, stamp))
        return {path: stamp for path, (_, stamp) in newest.items()}

    def upload(self, source: Path, path: str) -> str:
        with local_folder() as folder:
            local = Path(folder) / _temporary_name()
            try:
                with source.open("rb") as read, local.open("wb") as write:
                    digest = hashed_copy(
                        read, write
                    )  # the source may change: what is sent is what was hashed
            except OSError as error:
                raise StoreError(f"cannot write {self.url}/{path}: {error.strerror or error}") from error
            self._place(path, local, only_first=False)
            return digest

    def download(self, path: str, target: Path) -> str:
        return self._fs.download(self._newest(path).path, target)

    def fetch(self, path: str, cache: Path) -> Path:
        """A copy in a folder named by address, generation and moment: another file never takes its place."""
        newest = self._newest(path)
        key = f"{self.url}/{path} {newest.name} {newest.modified} {newest.size}"
        copy = cache / hashlib.sha256(key.encode()).hexdigest()[:32] / path.rsplit("/", 1)[-1]
        if not (copy.is_file() and copy.stat().st_size == newest.size):
            with appearing(copy) as temporary:
                self._fs.download(newest.path, temporary)
        return copy

    def remove(self, folder: str) -> None:
        at = self._at(folder)
        entry = self._fs.entry(at)
        if entry is not None and entry.folder:
            self._fs.remove(at)
        self._made = {made for made in self._made if not f"{made}/".startswith(f"{at}/")}

    def foreign(self) -> list[str]:
        return [entry.name for entry in self._fs.entries(self._root) if entry.name != TEMPORARY][:5]

    def sweep(self) -> None:
        oldest = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ABANDONED_S)).strftime(STAMP)
        for entry in self._fs.entries(f"{self._root}/{TEMPORARY}"):
            if entry.name < oldest:
                self._fs.remove(entry.path)

    def prove(self) -> None:
        """Nothing to do: HopsFS creates a name once."""

    def _at(self, path: str) -> str:
        return f"{self._root}/{encoded(path)}"

    def _generations(self, path: str) -> list[tuple[int, Entry]]:
        """The file's generations, oldest first."""
        folder, _, name = self._at(path).rpartition("/")
        matches = ((GENERATION.fullmatch(entry.name), entry) for entry in self._fs.entries(folder))
        return sorted(
            (int(match["number"]), entry)
            for match, entry in matches
            if match and not entry.folder and match["stem"] + (match["suffix"] or "") == name
        )

    def _newest(self, path: str) -> Entry:
        generations = self._generations(path)
        if not generations:
            raise NotFound(f"cannot read {self.url}/{path}: there is no such file")
        return generations[-1][1]

    def _place(self, path: str, local: Path, *, only_first: bool) -> bool:
        """Make the local file the next generation; False if it was to be the first and is not."""
        aside = f"{self._root}/{TEMPORARY}"
        self._make(aside)
        sent = self._fs.upload(local, aside)
        folder, _, name = self._at(path).rpartition("/")
        self._make(folder)
        for _ in range(ATTEMPTS):
            before = [] if only_first else self._generations(path)
            number = before[-1][0] + 1 if before else 1
            if self._take(sent, f"{folder}/{_numbered(name, number)}", folder):
                for _, old in before[: 1 - KEPT]:
                    self._fs.remove(old.path)
                return True
            if only_first:
                self._fs.remove(sent)
                return False
        self._fs.remove(sent)
        raise Conflict(f"{self.url}/{path} is replaced by others all the time; try again")

    def _take(self, sent: str, target: str, folder: str) -> bool:
        try:
            return self._fs.move(sent, target)
        except NotFound:  # the folder was removed since it was made
            if self._fs.entry(sent) is None:
                raise
            self._made.discard(folder)
            self._make(folder)
            return self._fs.move(sent, target)

    def _make(self, folder: str) -> None:
        if folder not in self._made:
            self._fs.make(folder)
            self._made.add(folder)


def _temporary_name() -> str:
    return f"{dt.datetime.now(dt.UTC).strftime(STAMP)}-{new_name()}"


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    return f"{path.stem}~{number}{path.suffix}"


def encoded(path: str) -> str:
    """The path with letters that HopsFS takes everywhere; others as =XX, by byte."""
    return "".join(
        letter
        if letter == "/" or PLAIN.fullmatch(letter)
        else "".join(f"={byte:02X}" for byte in letter.encode())
        for letter in path
    )


def decoded(path: str) -> str:
    """What `encoded` was given."""
    return re.sub(
        r"(?:=[0-9A-F]{2})+", lambda escaped: bytes.fromhex(escaped[0].replace("=", "")).decode(), path
    )


def _unnumbered(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    match = GENERATION.fullmatch(name)
    return f"{folder}{slash}{match['stem']}{match['suffix'] or ''}" if match else path
