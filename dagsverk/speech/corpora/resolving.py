"""Where the recordings are that a table names: beside it, in a folder of its own, or on another machine.

One place is sought for all rows of a table, so that a row whose recording is missing gets no other one.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dagsverk.speech.corpora.identity import FileNames, tidy_path
from dagsverk.speech.corpora.splits import shared_folder, top_folder
from dagsverk.speech.errors import CorpusError

SOUND = (
    ".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".mp4", ".webm", ".mkv", ".mov", ".aac", ".amr",
    ".wma", ".aif", ".aiff", ".avi", ".3gp", ".sph", ".caf", ".mka",
)  # fmt: skip
SOUND_FOLDERS = ("clips", "wavs", "wav", "audio", "audios", "recordings", "flac")  # beside a table
DRIVE = re.compile(r"[A-Za-z]:[/\\]")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

Moved = tuple[tuple[str, ...], tuple[str, ...]]  # the folder that is named, and the one that it is here


def is_sound(path: str) -> bool:
    return path.lower().endswith(SOUND)


def is_whole_path(stated: str) -> bool:
    """Whether it begins at the root of a machine, which is hardly this one."""
    return stated.startswith(("/", "\\", "~/")) or bool(DRIVE.match(stated))


def below(folder: str, stated: str) -> str:
    """A path that is named in a folder ("" or with `/` at its end), from the top; "" if it leads out."""
    path = posixpath.normpath(f"{folder}{stated}")
    out = path in (".", "..") or path.startswith(("../", "/")) or ADDRESS.match(stated) or "\0" in path
    return "" if out else path


@dataclass
class Recordings:
    """The files of a place, to be found by what tables call them."""

    files: Mapping[str, object]
    where: str
    _bare: dict[str, str] = field(default_factory=dict)  # without its ending -> path; "" for several
    _by_name: dict[str, list[str]] = field(default_factory=dict)  # last part -> paths

    def __post_init__(self) -> None:
        self._names = FileNames(self.files)

    @cached_property
    def root(self) -> str:
        """See `splits.top_folder`."""
        return top_folder(self.files)

    @cached_property
    def shared(self) -> str:
        """See `splits.shared_folder`."""
        return shared_folder(self.files)

    def find(self, path: str) -> str:
        """The file of this path, or of this path with the ending of a recording; "" if there is none."""
        alike = self._names.find(path)
        if len(alike) == 1:
            return alike[0]
        return "" if alike else self._without_ending().get(tidy_path(path), "")

    def resolve(self, stated: Sequence[str], folder: str) -> tuple[list[str], str]:
        """(paths, note): of each name that a table in `folder` states, the path, whether there is a file or
        not; "" for one that leads out. The note says so if names of another machine were understood.

        Raises: CorpusError if the names mean several files each.
        """
        names = [one.replace("\\", "/") for one in stated]
        whole = {one for one in names if is_whole_path(one)}
        relative = {one for one in names if one and one not in whole}
        base = self._base(relative, folder)
        paths = {one: self._below(base, one) for one in relative}
        there = any(path and self.find(path) for path in paths.values())
        moved, note = self._moved(whole if there else whole | {one for one, path in paths.items() if path})
        return [moved.get(one) or paths.get(one, "") for one in names], note

    def named(self, name: str, folder: str) -> str:
        """The recording of this name below a folder: the one beside the table, else the only one; where there
        is none, the path that it would have."""
        if beside := self.find(f"{folder}{name}"):
            return beside
        there = [path for path in self._named(unicodedata.normalize("NFC", name)) if path.startswith(folder)]
        return there[0] if len(there) == 1 else f"{folder}{name}"

    def _below(self, base: str, stated: str) -> str:
        path = below(base, stated)
        return (self.find(path) or path) if path else ""

    def _base(self, relative: set[str], folder: str) -> str:
        """The folder below which most of the names are files: the table's own if it has any of them."""
        above = folder.split("/")[:-1]
        ancestors = ["/".join([*above[:depth], ""]) for depth in range(len(above) - 1, -1, -1)]
        beside = [f"{folder}{name}/" for name in SOUND_FOLDERS]
        relative = {
            one for one in relative if ".." not in one.split("/")
        }  # they count from where the table is
        best, most = folder, 0
        for base in (folder, *beside, *ancestors):
            count = sum(bool((path := below(base, one)) and self.find(path)) for one in relative)
            if count > most:
                best, most = base, count
            if count and (base == folder or count == len(relative)):
                break
        return best

    def _moved(self, names: Collection[str]) -> tuple[dict[str, str], str]:
        """The files that names of another machine mean: by the longest end that they have in common."""
        candidates = {one: self._ends_alike(one) for one in names}
        votes = Counter(move for moves in candidates.values() for move in moves)
        paths: dict[str, str] = {}
        used: dict[Moved, int] = {}
        for move, count in sorted(votes.items(), key=lambda one: (-one[1], one[0])):
            meant = {one: moves[move] for one, moves in candidates.items() if move in moves}
            rivals = [one for one in meant if one in paths]  # other files, by a move of as many names or more
            if rivals and count == max(used.values()):
                raise self._ambiguous(rivals[0], paths[rivals[0]], meant[rivals[0]])
            if not rivals and not set(paths.values()) & set(meant.values()):
                paths |= meant
                used[move] = count
        for one in set(names) - set(paths):  # a file that lacks where the others are is missing, not outside
            bare = one.lstrip("~/")
            for old, new in used:
                start = "".join(f"{part}/" for part in old)
                if bare.startswith(start) and ".." not in bare.split("/"):
                    paths[one] = "".join(f"{part}/" for part in new) + bare.removeprefix(start)
                    break
        return paths, _said(list(used))

    def _ends_alike(self, stated: str) -> dict[Moved, str]:
        """Each way in which the name may have become the path of a file here, of the longest common end."""
        whole, parts = is_whole_path(stated), tuple(stated.lstrip("~/").split("/"))
        name = unicodedata.normalize("NFC", parts[-1])
        best: dict[Moved, str] = {}
        longest = 0
        for path in self._named(name):
            there = tuple(unicodedata.normalize("NFC", path).split("/"))
            alike = 1
            while alike < min(len(parts), len(there)) and parts[-alike - 1] == there[-alike - 1]:
                alike += 1
            if alike > longest:
                best, longest = {}, alike
            if alike == longest:
                move = parts[:-alike], there[:-alike]
                if move[0] and move[1] and not whole:  # another folder: another recording
                    continue
                if move in best:  # they differ in their endings, of which none is named
                    raise self._ambiguous(stated, best[move], path)
                best[move] = path
        return best

    def _named(self, name: str) -> list[str]:
        """The files of this name, and the recordings that have it without their ending."""
        if not self._by_name:
            for path in self.files:
                last = unicodedata.normalize("NFC", path.rpartition("/")[2])
                self._by_name.setdefault(last, []).append(path)
                if is_sound(path):
                    self._by_name.setdefault(last.rpartition(".")[0], []).append(path)
        return self._by_name.get(name, [])

    def _without_ending(self) -> dict[str, str]:
        if not self._bare:
            self._bare[""] = ""
            for path in filter(is_sound, self.files):
                bare = tidy_path(path.rpartition(".")[0])
                self._bare[bare] = "" if bare in self._bare else path
        return self._bare

    def _ambiguous(self, stated: str, first: str, second: str) -> CorpusError:
        return CorpusError(
            f"{self.where} has a table that names {stated!r}, which may be {first!r} or {second!r}; "
            "give the folder that holds one of them"
        )


def _said(used: Sequence[Moved]) -> str:
    named = [
        f"{'/'.join(old) or '/'} is read as {'/'.join(new) or 'the top folder'}" for old, new in used[:3]
    ]
    return f"paths that a table names lie elsewhere here: {'; '.join(named)}" if named else ""
