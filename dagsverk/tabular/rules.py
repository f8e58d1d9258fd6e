"""What is wrong with the description of a system, said when its file is read and not after a day's work."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dagsverk.store.protocol import NAME

if TYPE_CHECKING:
    from dagsverk.tabular.system import Column, System

MAX_CATEGORIES = 200  # a model of 891 rows learns nothing from rarer ones, and pages list them all
MAX_NAME = 63 - len("_predictions")  # of a system: its tables are named after it
# Columns of our own in the tables of features and predictions.
RESERVED = (
    *("row_id", "event_time", "origin", "generator", "model_version", "predicted_at", "prediction"),
    *("probability", "probabilities", "seen_in_training"),
)


def fold(name: object) -> str:
    """What of a column's name counts: letters and digits, without case. `Sepal-Length`: sepallength."""
    text = unicodedata.normalize("NFKC", str(name)).casefold()
    return "".join(letter for letter in text if letter.isalnum())


def check_column(column: Column) -> None:
    """Raises ValueError with all that makes no sense."""
    _raise(f"column {column.name}", _column_faults(column))


def check_system(system: System) -> None:
    """Raises ValueError with all that makes no sense."""
    _raise(f"system {system.name}", _system_faults(system))


def _raise(what: str, faults: Iterable[str]) -> None:
    if sentences := list(faults):
        raise ValueError(f"{what}: {'; '.join(sentences)}")


def _column_faults(column: Column) -> Iterator[str]:
    if (column.kind == "category") != bool(column.categories):
        yield "categories are for, and needed by, kind 'category'"
    if column.kind not in ("number", "integer", "category"):
        yield f"kind must be number, integer or category, got {column.kind!r} (text and times are none)"
    if column.minimum is not None and column.maximum is not None and column.minimum > column.maximum:
        yield f"minimum {column.minimum} > maximum {column.maximum}"
    yield from _category_faults(column)
    yield from _word_faults(column)


def _category_faults(column: Column) -> Iterator[str]:
    names = column.categories
    if not names:
        return
    if isinstance(names, str) or not all(isinstance(one, str) and one.strip() == one != "" for one in names):
        yield f"categories must be words, ('0', '1') rather than (0, 1), with no spaces around; got {names!r}"
    elif len(set(names)) != len(names):
        yield f"categories repeat: {', '.join(sorted({name for name in names if names.count(name) > 1}))}"
    elif len(names) == 1:
        yield f"one category, {names[0]}: nothing can be learned from it"
    elif len(names) > MAX_CATEGORIES:
        yield (
            f"{len(names):,} categories, the limit is {MAX_CATEGORIES}: keep the commonest, and give the "
            "others one name by aliases"
        )


def _word_faults(column: Column) -> Iterator[str]:
    if column.kind == "category":
        if strange := [value for value in column.aliases.values() if value not in column.categories]:
            yield f"aliases lead to no category: {', '.join(map(str, strange[:5]))}"
        if column.example is not None and column.example not in column.categories:
            yield f"the example {column.example!r} is no category"
        return
    if strange := [value for value in column.aliases.values() if not _is_number(value)]:
        yield f"aliases lead to no number: {', '.join(map(str, strange[:5]))}"
    if column.example is not None and not (
        _is_number(column.example)
        and (column.minimum is None or float(column.example) >= column.minimum)
        and (column.maximum is None or float(column.example) <= column.maximum)
    ):
        yield f"the example {column.example!r} is outside its limits"


def _is_number(value: object) -> bool:
    return re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", str(value)) is not None


def _system_faults(system: System) -> Iterator[str]:
    if system.label.kind != "category" or len(system.label.categories) < 2:
        yield (
            "the label must be a category with two classes or more; a quantity (regression) cannot be "
            "predicted, but the range that it is in can"
        )
    if system.event_time.tzinfo is None:
        yield "event_time needs a time zone"
    if not system.columns:
        yield "there are no columns to predict from"
    yield from _name_faults(system)
    yield from _twice(system)


def _name_faults(system: System) -> Iterator[str]:
    if not NAME.fullmatch(system.name) or len(system.name) > MAX_NAME:
        yield f"its name must match {NAME.pattern} and have at most {MAX_NAME} letters"
    for name in (*system.inputs, system.label.name, *system.derived):
        if not NAME.fullmatch(name):
            yield (
                f"the store cannot have a column {name!r}: want {NAME.pattern}; what a source calls it is "
                "one of its synonyms"
            )
        elif name in RESERVED:
            yield f"{name} is a column of our own; call it otherwise, and give {name!r} as a synonym"


def _twice(system: System) -> Iterator[str]:
    """Names that mean two things: no source could be told apart by them."""
    owners: dict[str, str] = {}
    own = [(system.id_column, (system.id_column, *system.id_synonyms)), *_named(system)]
    for owner, names in own:
        for key in {fold(name) for name in names}:
            if owners.setdefault(key, owner) != owner:
                yield f"the names of {owners[key]} and {owner} are the same but for case and signs"
    columns = [*system.inputs, system.label.name, *system.derived]
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        yield f"{name} is described more than once"
    if left_out := {fold(name) for name in system.unused} & set(owners):
        yield f"unused names what is used: {', '.join(sorted(owners[key] for key in left_out))}"


def _named(system: System) -> Iterator[tuple[str, tuple[str, ...]]]:
    for column in (*system.columns, system.label):
        yield column.name, (column.name, *column.synonyms)
