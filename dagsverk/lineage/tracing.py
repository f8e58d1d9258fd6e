"""A name -> its trace; words -> the things of the store that they may mean. Loads no learning library."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import pyarrow.compute as pc
import pyarrow.parquet as pq

from dagsverk.lineage import clips, commits, generic, speech, tabular, texts
from dagsverk.lineage.cards import LONGEST, MOST, PART, NotTraced, Ref, Trace, parse_ref
from dagsverk.lineage.common import FAULTS
from dagsverk.report.making import PREFIX
from dagsverk.speech import results, runs
from dagsverk.speech.features import plans
from dagsverk.speech.languages import Language, language
from dagsverk.speech.serving.champions import owners
from dagsverk.store import NotFound, Store, StoreError, Unavailable
from dagsverk.store.protocol import MODEL_NAME
from dagsverk.tabular.system import System, load_system, usable_systems
from dagsverk.tabular.tables import features_table, predictions_table, rejects_table

VERSION = re.compile(r"([A-Za-z0-9_]{1,64})(?:\s+|/|,\s*version\s+|\s+version\s+|\s+v)([1-9]\d{0,8})")
REPORT = re.compile(r"([A-Za-z0-9_]{1,64})-([1-9]\d{0,8})\.html")  # as the file of a report is called


def trace(store: Store, ref: Ref) -> Trace:
    """What a thing came from and what was made of it.

    Raises: NotTraced if the store has no such thing; Unavailable while it does not answer.
    """
    if ref.kind == "version":
        return _version(store, ref)
    of_table: dict[str, Callable[[Store, System, str], Trace]] = {
        "row": tabular.trace_row,
        "prediction": tabular.trace_prediction,
        "commit": commits.trace_commit,
        "aside": commits.trace_aside,
    }
    of_speech: dict[str, Callable[[Store, Language, str], Trace]] = {
        "run": speech.trace_run,
        "set": speech.trace_set,
        "clip": clips.trace_clip,
        "text": texts.trace_text,
        "evaluation": speech.trace_evaluation,
    }
    try:
        if ref.kind in of_table:
            return of_table[ref.kind](store, load_system(ref.of), ref.id)
        return of_speech[ref.kind](store, language(ref.of), ref.id)
    except Unavailable:
        raise
    except FAULTS as error:
        raise NotTraced(f"no {ref.kind} {ref.id[:80]!r} of {ref.of[:40]!r}: {str(error)[:300]}") from error


def _version(store: Store, ref: Ref) -> Trace:
    if not MODEL_NAME.fullmatch(ref.of):
        raise NotTraced(f"no model is named {ref.of[:64]!r}")
    spoken = _spoken(ref.of)
    if spoken is not None:
        return speech.trace_version(store, spoken, ref)
    with suppress(ValueError):
        return tabular.trace_version(store, load_system(ref.of), ref)
    return generic.trace_version(store, ref)


def _spoken(name: str) -> Language | None:
    if not name.startswith(PREFIX):
        return None
    try:
        of = language(name.removeprefix(PREFIX))
    except ValueError:
        return None
    return of if of.model_name == name else None


def search(store: Store, words: str) -> list[Ref]:
    """The things that the words name: exactly, else those whose names begin so; at most a few of each kind.

    Never an error for what the words are; Unavailable while the store does not answer.
    """
    wanted = words.strip()
    if not wanted or len(wanted) > LONGEST or not wanted.isprintable():
        return []
    named = parse_ref(wanted)
    if named is not None and _is_there(store, named):
        return [named]
    exact = list(dict.fromkeys(_exact(store, wanted)))
    return exact or list(dict.fromkeys(_beginning(store, wanted)))


def starts(store: Store) -> list[Ref]:
    """Where to begin: every model's version in use, else its newest; each system's newest prediction."""
    refs = []
    for name in store.model_names():
        model = store.champion(name) or store.models(name)[-1]
        refs.append(Ref("version", name, str(model.version)))
    for system in usable_systems():
        with suppress(NotFound):
            rows = store.latest(predictions_table(system), 1)
            refs += [tabular.prediction_ref(system, row) for row in rows.to_dict("records")]
    return refs


def _is_there(store: Store, ref: Ref) -> bool:
    try:
        trace(store, ref)
    except NotTraced:
        return False
    return True


def _exact(store: Store, words: str) -> Iterator[Ref]:
    yield from _versions(store, words)
    spoken = _languages(store)
    for of in spoken:
        if runs.RUN.fullmatch(words):
            yield from _there(
                store, Ref("run", of.name, words), f"{results.folder(of)}/runs/{words}/config.json"
            )
        for kind, path in (
            ("set", f"{results.folder(of)}/shards/{words}/manifest.json"),
            ("evaluation", f"{results.folder(of)}/evaluations/{words}/report.json"),
        ):
            if PART.fullmatch(words):
                yield from _there(store, Ref(kind, of.name, words), path)  # type: ignore[arg-type]
    for system in usable_systems():
        yield from _rows(store, system, words, prefix=False)
        yield from _commits(store, system, words)
    for of in spoken:
        yield from _clips(store, of, words, prefix=False)
        yield from _recordings(store, of, words)


def _beginning(store: Store, words: str) -> Iterator[Ref]:
    for system in usable_systems():
        yield from _rows(store, system, words, prefix=True)
    for of in _languages(store):
        for kind, folder, mark in (
            ("run", "runs", "config"),
            ("set", "shards", "manifest"),
            ("evaluation", "evaluations", "report"),
        ):
            root = f"{results.folder(of)}/{folder}/"
            names = sorted(
                path.removeprefix(root).split("/")[0]
                for path in store.list(root.removesuffix("/"))
                if path.endswith(f"/{mark}.json")
            )
            yield from (Ref(kind, of.name, name) for name in [n for n in names if n.startswith(words)][:MOST])  # type: ignore[arg-type]
        yield from _clips(store, of, words, prefix=True)


def _languages(store: Store) -> list[Language]:
    names = {of.name: of for of in (*results.speech_languages(store), *owners(store))}
    return [names[name] for name in sorted(names)]


def _there(store: Store, ref: Ref, path: str) -> Iterator[Ref]:
    try:
        store.get(path)
    except Unavailable:
        raise
    except FAULTS:
        return
    yield ref


def _versions(store: Store, words: str) -> Iterator[Ref]:
    """ "titanic 3", "titanic/3", "titanic-3.html", a name alone, or a training's key."""
    names = store.model_names()
    match = VERSION.fullmatch(words) or REPORT.fullmatch(words)
    wanted, number = (match[1], match[2]) if match else (words, "")
    with suppress(ValueError):
        wanted = language(wanted).model_name
    for name in names:
        models = store.models(name)
        if name == wanted:
            numbers = [str(model.version) for model in models]
            yield from (Ref("version", name, one) for one in reversed(numbers[-MOST:]) if number in ("", one))
        for model in models:
            keys = (model.info.get(key) for key in ("training_key", "registration_key", "adoption_key"))
            if words in keys:
                yield Ref("version", name, str(model.version))


def _rows(store: Store, system: System, words: str, *, prefix: bool) -> Iterator[Ref]:
    table = features_table(system)
    try:
        names = [words] if prefix else [words, f"{system.name}-{words}"]
        for name in names:
            rows = store.lookup(table, {"row_id": name}, prefix=prefix, most=MOST)
            yield from (Ref("row", system.name, one) for one in sorted(set(rows["row_id"])))
        if prefix:
            return
        aside = store.lookup(rejects_table(system), {"source": words.partition("@")[2] or words}, most=MOST)
        lines = {(int(one["line"]), str(one["source"])) for one in aside.to_dict("records")}
        yield from (Ref("aside", system.name, f"{line}@{source}") for line, source in sorted(lines))
    except Unavailable:
        raise
    except StoreError:
        return


def _commits(store: Store, system: System, words: str) -> Iterator[Ref]:
    if not words.isascii() or not words.isdigit():
        return
    for table in (features_table(system), predictions_table(system)):
        with suppress(NotFound):
            if any(str(one.id) == words for one in store.commits(table)):
                yield Ref("commit", system.name, f"{table.name}/{words}")


def _clips(store: Store, of: Language, words: str, *, prefix: bool) -> Iterator[Ref]:
    """Clips of the newest sets."""
    names = dict[str, None]()
    for about in clips.sets(store, of)[:MOST]:
        try:
            file = plans._file(store, about.id)
            if prefix:
                column = pq.read_table(file, columns=["id"])["id"]
                column = column.filter(pc.starts_with(column, pattern=words))
            else:
                column = pq.read_table(file, columns=["id"], filters=[("id", "==", words)])["id"]
        except Unavailable:
            raise
        except FAULTS:
            continue
        names |= dict.fromkeys(column.slice(0, MOST).to_pylist())
        if not prefix and not names and clips.rejected_in(store, about.id, words):
            names[words] = None
    yield from (Ref("clip", of.name, name) for name in islice(names, MOST))


def _recordings(store: Store, of: Language, words: str) -> Iterator[Ref]:
    """Texts of recordings of that path, or of that file name."""
    yield from islice((Ref("text", of.name, name) for name in texts.texts_of(store, of, words)), MOST)
