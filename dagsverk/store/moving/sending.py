"""Artefacts from one store to another: what is missing there, or is another one by now."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from dagsverk.store.moving.journal import Journal, own_artefacts
from dagsverk.store.moving.progress import Progress, amount
from dagsverk.store.protocol import Conflict, NotFound, Store, StoreError

WORKERS = 4  # of one artefact most of the time is waiting for an answer, or for the disk
ATTEMPTS = 3  # at an artefact that is replaced while it is read


@dataclass(frozen=True)
class Plan:
    """What the source lists, with stamps, and which of it is to be sent."""

    listed: list[str]
    stamps: Mapping[str, str]
    missing: frozenset[str]


@dataclass(frozen=True)
class Sending:
    """The artefacts' part of a copy."""

    source: Store
    target: Store
    journal: Journal
    progress: Progress

    def plan(self) -> Plan:
        """Find what is to be sent; nothing is written but stamps in the journal.

        Raises: Conflict if the target holds an artefact that no copy put there, or changed one since."""
        there = set(own_artefacts(self.target))
        if strange := sorted(there - self.journal.artefacts.keys()):
            raise Conflict(
                f"{self.target.url} holds the artefact {strange[0]!r}, which was written there since it was "
                "copied; copy into an empty place"
            )
        stamps, listed = self.source.stamps(), own_artefacts(self.source)
        missing, unsure = set(), []
        for path in listed:
            digest, stamp = self.journal.artefacts.get(path, ("", ""))
            if not digest or path not in there:
                missing.add(path)
            elif not stamp or stamp != stamps.get(path):
                unsure.append(path)
        return Plan(listed, stamps, frozenset(missing | self._changed(unsure, stamps)))

    def send(self, planned: Plan) -> None:
        """Send what is missing, a line for each folder at the top. Raises StoreError if it does not land."""
        gone: set[str] = set()
        if planned.missing:
            self.journal.begin(planned.missing)
        try:
            for top, paths in groupby(planned.listed, _top):
                gone |= self._send_folder(planned, top, list(paths))
        finally:
            if planned.missing:
                self.journal.save()
        if lost := sorted(set(planned.listed) - gone - set(self.target.list(""))):
            raise StoreError(
                f"{self.target.url} does not list the artefact {lost[0]!r}, which is there; copy again"
            )

    def read_back(self) -> None:
        """Read every artefact that was sent. Raises StoreError naming one that is not what was sent."""
        sent = {path: digest for path, (digest, _) in self.journal.artefacts.items() if digest}
        for number, (path, digest) in enumerate(_digests(self.target, list(sent)), 1):
            if digest != sent[path]:
                fault = "is gone" if digest is None else "is another one"
                raise StoreError(
                    f"artefact {path!r} in {self.target.url} {fault}, though it was copied whole; "
                    "copy into an empty place"
                )
            self.progress.now_and_then(f"artefacts   {number} of {len(sent)} read back")
        if sent:
            self.progress.line(f"artefacts   all {len(sent)} read back, equal")

    def _changed(self, paths: list[str], stamps: Mapping[str, str]) -> set[str]:
        """Those that the source has replaced since they were sent. Raises Conflict if the target has too."""
        changed = set()
        for path, digest in _digests(self.source, paths):
            sent = self.journal.artefacts[path][0]
            if digest == sent:
                self.journal.done(path, sent, stamps.get(path, ""))
            elif digest is not None:
                if _digest(self.target, path) not in (sent, None):
                    raise Conflict(
                        f"artefact {path!r} was replaced both in {self.source.url} and in {self.target.url} "
                        "since it was copied; copy into an empty place"
                    )
                changed.add(path)
        return changed

    def _send_folder(self, planned: Plan, top: str, paths: list[str]) -> set[str]:
        """Send a folder's missing files. Returns those that the source lost meanwhile."""
        missing = [path for path in paths if path in planned.missing]
        gone, sent, size = set(), 0, 0
        for path, arrived in _sent(self.source, self.target, missing):
            if arrived is None:
                gone.add(path)
                continue
            self.journal.done(path, arrived[0], planned.stamps.get(path, ""))
            sent, size = sent + 1, size + arrived[1]
            self.progress.now_and_then(f"artefacts   {top}: {sent} of {len(missing)} sent, {amount(size)}")
        summary = f"{len(paths) - len(gone)} files, {sent} copied, {amount(size)}"
        self.progress.line(f"artefacts   {top}: {summary}", bytes=size, artefacts=sent)
        return gone


def _sent(source: Store, target: Store, paths: list[str]) -> Iterator[tuple[str, tuple[str, int] | None]]:
    """Each path with what arrived. Leaving the loop early waits for the files that are on their way."""
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from zip(paths, pool.map(partial(_send_one, source, target), paths), strict=True)


def _send_one(source: Store, target: Store, path: str) -> tuple[str, int] | None:
    """SHA-256 and bytes of what arrived; None if the source has no such artefact any more."""
    for _ in range(ATTEMPTS):
        with tempfile.TemporaryDirectory() as cache:
            try:
                local = source.fetch(path, Path(cache))
            except NotFound:
                return None
            try:
                with local.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                size = local.stat().st_size
                if target.put_file(path, local) == digest:
                    return digest, size
            except (StoreError, FileNotFoundError):
                if local.is_file():
                    raise
    raise StoreError(
        f"artefact {path!r} did not come to {target.url} as it was read in {source.url}, {ATTEMPTS} times; "
        "stop what writes it, and copy again"
    )


def _digests(store: Store, paths: list[str]) -> Iterator[tuple[str, str | None]]:
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from zip(paths, pool.map(partial(_digest, store), paths), strict=True)


def _digest(store: Store, path: str) -> str | None:
    """SHA-256 of an artefact, None if there is none (any more)."""
    with tempfile.TemporaryDirectory() as cache:
        try:
            with store.fetch(path, Path(cache)).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (NotFound, FileNotFoundError):
            return None


def _top(path: str) -> str:
    return path.split("/", maxsplit=1)[0] if "/" in path else "(no folder)"
