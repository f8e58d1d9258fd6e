"""Where recordings lie that are written down again and again: a folder, or objects below an S3 prefix.

Only regular files below the folder are read, links to them included; nothing is ever written there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from dagsverk.reading import NotRegular, may_pass
from dagsverk.speech.corpora.places import Entry, LocalPlace, check_address, local_path, local_trouble
from dagsverk.speech.corpora.resolving import is_sound
from dagsverk.speech.errors import CorpusError, CorpusUnavailable
from dagsverk.speech.transcription.results import Recording


class Unread(Exception):
    """One recording was not read, and another run may read it. `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class FolderSource:
    """A folder and all below it."""

    def __init__(self, folder: Path) -> None:
        self.place = LocalPlace(folder)
        self.address = os.path.realpath(folder)
        self.denied: list[str] = []  # folders below that may not be read, when it was listed last

    def files(self) -> dict[str, Entry]:
        """As `LocalPlace.files`, of what may be read."""
        self.denied = []
        return self.place.files(self.denied)

    @contextmanager
    def opened(self, recording: Recording) -> Iterator[Path]:
        """A name under which the recording can be opened while this lasts.

        Raises: Unread, also if it is another than was listed, or changes meanwhile; CorpusUnavailable if the
            disk or file server does not answer.
        """
        try:
            file = self.place.open(recording.path)
        except NotRegular as error:
            raise Unread("not a regular file", f"it is {error}") from error
        except OSError as error:
            if may_pass(error):
                raise local_trouble(f"cannot read {self.place.url}", error) from error
            raise Unread("cannot be read", str(error.strerror or error)) from error
        with file:
            _check_same(file.fileno(), recording)
            yield Path(f"/dev/fd/{file.fileno()}")
            _check_same(file.fileno(), recording)


class PrefixSource:
    """Objects below a prefix."""

    def __init__(self, url: str) -> None:
        """Raises CorpusError."""
        from dagsverk.speech.corpora.bucket import S3Place  # botocore takes half a second to import

        self.place = S3Place(url)
        self.address = url
        self.denied: list[str] = []

    def files(self) -> dict[str, Entry]:
        """As `S3Place.objects`: what cannot be read is counted, too."""
        return self.place.objects()

    @contextmanager
    def opened(self, recording: Recording) -> Iterator[Path]:
        """A copy of the object, of the version that was listed, while this lasts. Raises as the other."""
        with NamedTemporaryFile(prefix="dagsverk-recording-") as file:
            try:
                for block in self.place.blocks(recording.path, recording.stamp):
                    file.write(block)
            except CorpusUnavailable as error:
                if recording.stamp != self.place.stamp(recording.path):
                    raise Unread("changed while it was read", "another version is there now") from error
                raise
            except CorpusError as error:
                raise Unread("cannot be read", str(error)) from error
            file.flush()
            yield Path(file.name)


def open_source(address: str) -> FolderSource | PrefixSource:
    """Raises: CorpusError if it is neither folder nor prefix; CorpusUnavailable if it does not answer."""
    source = check_address(address)
    if source.startswith("s3://"):
        return PrefixSource(source)
    folder = local_path(source)
    if not folder.is_dir():
        there = "is a file" if folder.exists() else "is not there"
        raise CorpusError(f"{source} {there}; want a folder of recordings, or s3://bucket/prefix")
    return FolderSource(folder)


def recordings_of(files: Mapping[str, Entry]) -> list[Recording]:
    """Files whose names end as those of recordings do."""
    return [Recording(path, entry.stamp, entry.fault) for path, entry in files.items() if is_sound(path)]


def _check_same(handle: int, recording: Recording) -> None:
    seen = os.fstat(handle)
    if f"{seen.st_size}-{seen.st_mtime_ns}" != recording.stamp:
        raise Unread("changed while it was read", "somebody writes it; the next run reads it again")
