"""One store into another, with all that refers to anything: commits keep their ids, versions their numbers.

What refers to something is listed first and written last: promotions name model versions, and these name
commits and artefacts. So the target never holds a reference to what it lacks, not after a kill and not
while the source is being written to.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagsverk.store.moving.equality import digest_of_rows
from dagsverk.store.moving.history import written
from dagsverk.store.moving.journal import Journal, open_journal
from dagsverk.store.moving.progress import Progress, amount
from dagsverk.store.moving.sending import Sending
from dagsverk.store.protocol import Commit, Conflict, Model, NotFound, Store, StoreError, Table


@dataclass(frozen=True)
class _Named:
    """A model's versions and promotions in the source."""

    name: str
    promotions: Sequence[Mapping[str, Any]]
    versions: Sequence[Model]


@dataclass(frozen=True)
class _Facing:
    """A table, with its commits in source and target."""

    table: Table
    ours: Sequence[Commit]
    there: Sequence[Commit]

    @property
    def title(self) -> str:
        return f"table       {self.table.name} {self.table.version}"


def copy(
    source: Store, target: Store, say: Callable[[str], None], *, read_back: bool = False
) -> Mapping[str, int]:
    """Bring everything of the source into the target that is not there yet, and compare.

    Args:
        target: empty, or the target of an earlier copy of the same source, unchanged since.
        say: takes a line for each table, model and folder of artefacts.
        read_back: also read all artefacts and model files from the target again. Without it, what the target
            told when it stored them is compared: their SHA-256.
    Returns: how many "commits", "versions", "promotions", "artefacts" and "bytes" were missing.
    Raises: Conflict, with nothing written, if the target holds anything that the source has not. StoreError
        if something of the source is damaged, or has not arrived. What has arrived stays; a repeat goes on.
    """
    progress = Progress(say)
    journal = open_journal(source, target)
    promotions = {name: source.champions(name) for name in source.model_names()}
    models = [_Named(name, promotions.get(name, ()), source.models(name)) for name in source.model_names()]
    _refuse_other_models(models, target)
    sending = Sending(source, target, journal, progress)
    planned = sending.plan()
    tables = _facing(source, target)
    sending.send(planned)
    for facing in tables:
        _copy_table(source, target, facing, journal, progress)
    for model in models:
        _copy_versions(source, target, model, progress)
        _copy_promotions(target, model, progress)
    if read_back:
        sending.read_back()
        _read_models_back(target, progress)
    return progress.counts


def _refuse_other_models(models: Sequence[_Named], target: Store) -> None:
    """Raises Conflict if the target has a version or a promotion that the source has not."""
    ours = {model.name: model for model in models}
    for name in target.model_names():
        own = ours.get(name) or _Named(name, (), ())
        for version in target.models(name):
            if version not in own.versions:
                raise _strange(target, f"version {version.version} of model {name!r}")
        promoted = [dict(promotion) for promotion in target.champions(name)]
        if promoted != [dict(promotion) for promotion in own.promotions][: len(promoted)]:
            raise _strange(target, f"a promotion of model {name!r}")


def _facing(source: Store, target: Store) -> list[_Facing]:
    """The source's tables. Raises Conflict if the target has a table or a commit that the source has not."""
    tables, there = source.tables(), target.tables()
    if strange := [table for table in there if table not in tables]:
        raise _strange(target, f"the table {strange[0].name} version {strange[0].version}")
    pairs = []
    for table in tables:
        facing = _Facing(table, _commits(source, table), _commits(target, table) if table in there else ())
        first = facing.ours[0].id if facing.ours else 0  # older ones: the source's log was cut since
        if strangers := {commit.id for commit in facing.there if commit.id >= first} - _ids(facing.ours):
            raise _strange(target, f"the commit {min(strangers)} of the table {table.name}")
        pairs.append(facing)
    return pairs


def _copy_table(source: Store, target: Store, facing: _Facing, journal: Journal, progress: Progress) -> None:
    """Restore the commits that the target lacks. Raises StoreError if the tables then differ."""
    table, copied, size = facing.table, list(facing.there), 0
    target.ensure(table)
    for commit, rows in written(source, table, copied[-1].id if copied else None):
        target.restore(table, rows, commit)
        copied.append(commit)
        size += rows.nbytes
        progress.now_and_then(f"{facing.title}: {len(copied)} of {len(facing.ours)} commits, {amount(size)}")
    new = len(copied) - len(facing.there)
    if new and _commits(target, table) != copied:
        raise StoreError(
            f"table {table.name} version {table.version} in {target.url} lacks commits that it was "
            "sent; let no other copy or writer work on it, and copy into an empty place"
        )
    if copied:
        _compare(source, target, table, copied[-1], journal)
    lost = _ids(facing.ours) - _ids(copied)
    gap = (
        f"; {len(lost)} up to {max(lost)} are lost: files of theirs are gone in {source.url}" if lost else ""
    )
    summary = f"{len(copied)} commits, {new} copied, {amount(size)}, equal{gap}"
    progress.line(f"{facing.title}: {summary}", bytes=size, commits=new)


def _compare(source: Store, target: Store, table: Table, newest: Commit, journal: Journal) -> None:
    """Compare the rows as of a commit, unless they were found equal before. Raises StoreError."""
    key = f"{table.name} {table.version}"
    if journal.checked.get(key) == newest.id:
        return
    wanted, copied = (digest_of_rows(store, table, newest) for store in (source, target))
    if wanted != copied:
        raise StoreError(
            f"table {table.name} version {table.version} as of {newest.id}: {copied[0]} rows in "
            f"{target.url}, {wanted[0]} in {source.url}, and they differ; copy into an empty place"
        )
    journal.checked[key] = newest.id
    journal.save()


def _copy_versions(source: Store, target: Store, model: _Named, progress: Progress) -> None:
    there = {version.version for version in target.models(model.name)}
    missing, size = [version for version in model.versions if version.version not in there], 0
    for number, version in enumerate(missing, 1):
        with tempfile.TemporaryDirectory() as temporary:
            folder = source.download(version, Path(temporary) / "files")
            target.restore_model(version, folder)
            size += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        progress.now_and_then(
            f"model       {model.name}: {number} of {len(missing)} versions, {amount(size)}"
        )
    summary = f"{len(model.versions)} versions, {len(missing)} copied, {amount(size)}"
    progress.line(f"model       {model.name}: {summary}", bytes=size, versions=len(missing))


def _copy_promotions(target: Store, model: _Named, progress: Progress) -> None:
    missing = len(model.promotions) - len(target.champions(model.name))
    if missing > 0:
        target.restore_promotions(model.name, model.promotions)
    if model.promotions:
        summary = f"{len(model.promotions)} promotions, {missing} copied"
        progress.line(f"model       {model.name}: {summary}", promotions=missing)


def _read_models_back(target: Store, progress: Progress) -> None:
    """Raises StoreError naming a file that is not the one of its version."""
    for name in target.model_names():
        versions = target.models(name)
        for version in versions:
            with tempfile.TemporaryDirectory() as temporary:
                target.download(version, Path(temporary) / "files")
        progress.line(f"model       {name}: all {len(versions)} versions read back, equal")


def _commits(store: Store, table: Table) -> list[Commit]:
    try:
        return store.commits(table)
    except NotFound:  # its maker was killed between the definition and the table
        return []


def _ids(commits: Sequence[Commit]) -> set[int]:
    return {commit.id for commit in commits}


def _strange(target: Store, what: str) -> Conflict:
    return Conflict(
        f"{target.url} holds {what}, which was written there since it was copied; copy into an empty place"
    )
