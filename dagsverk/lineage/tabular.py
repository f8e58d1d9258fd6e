"""Tables: from a prediction back to the source of its row and of its model's rows, and forward again."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dagsverk import markup
from dagsverk.lineage.cards import MOST, NOT_RECORDED, Card, Chain, NotTraced, Ref, Trace, listed, missing
from dagsverk.lineage.common import (
    Notes,
    at_ms,
    decision_card,
    gone_version,
    made_facts,
    resolvable,
    successors,
    the_version,
    version_card,
)
from dagsverk.report.common import recorded
from dagsverk.store import Commit, Model, NotFound, Store, StoreError, Table, Unavailable
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import features_table, predictions_table
from dagsverk.words import counted, last_part, spaced

READ = 100_000  # predictions of one row that are looked through for the newest
CHANGES = 6  # newest commits that changed rows, looked at for changes of one row


def trace_row(store: Store, system: System, row_id: str) -> Trace:
    """A row: the commits that brought and changed it, versions that learned from it, its predictions."""
    notes, ref = Notes(), Ref("row", system.name, row_id)
    rows = states(store, system, row_id)
    if rows.empty:
        raise NotTraced(f"{system.name} has no row {row_id[:80]!r}")
    newest = rows.iloc[0].to_dict()
    return Trace(
        ref=ref,
        title=f"{system.row_name.capitalize()} {markup.short(row_id)}",
        before=(_arrivals(store, system, newest, notes),),
        card=_row_card(system, rows),
        after=(_learners(store, system, newest, notes), _predictions_of_row(store, system, row_id)),
        notes=tuple(notes),
    )


def states(store: Store, system: System, row_id: str) -> pd.DataFrame:
    """The rows of that id, one for each time that it was, newest first."""
    try:
        rows = store.lookup(features_table(system), {"row_id": row_id})
    except NotFound:
        return pd.DataFrame()
    return rows.sort_values("event_time", ascending=False, ignore_index=True)


def _row_card(system: System, rows: pd.DataFrame) -> Card:
    row = rows.iloc[0]
    facts = [("Of", f"{row['event_time']:%Y-%m-%d %H:%M} UTC"), ("Origin", _origin(row))]
    facts += [(column.description, markup.entered(column, row[column.name])) for column in system.columns]
    label = row[system.label.name]
    facts.append(("Outcome", "not known yet" if markup.is_missing(label) else system.label.words(label)))
    several = (
        f"{counted(len(rows), 'time')} of this id are stored; this is the newest" if len(rows) > 1 else ""
    )
    return Card(
        title=system.row_name.capitalize(),
        ref=Ref("row", system.name, str(row["row_id"])),
        id=str(row["row_id"]),
        facts=tuple(facts),
        words=several,
    )


def _origin(row: Any) -> str:
    generator = row["generator"]
    if row["origin"] == "historic":
        return "real, brought by a source" if generator == "source" else "real, of the system's own facts"
    return f"invented by {markup.short(generator, 40)}"


def _arrivals(
    store: Store, system: System, row: Mapping[Any, Any], notes: Notes, predicted: int | None = None
) -> Chain:
    """The commit that brought a row as it stands by its identity, and those that changed it.

    Args: predicted: the commit of a prediction; what changed the row after it, it did not know.
    """
    table = features_table(system)
    where = {"row_id": row["row_id"], "event_time": row["event_time"]}
    first = notes.read("what the table was before", lambda: store.writer_of(table, where))
    if first is None:
        nothing = missing("Commit", "which commit brought it cannot be told any more")
        return Chain(title="Where it comes from", cards=(nothing,))
    later = [one for one in store.commits(table) if one.id > first.id and one.updated]
    looked, before, cards = later[-CHANGES:], None, [commit_card(system, table, first)]
    for commit in looked:
        before = before if before is not None else _values(store, table, where, commit.id - 1)
        now = _values(store, table, where, commit.id)
        if before is not None and now is not None and now != before:
            later_on = predicted is not None and commit.id > predicted
            when = " after this prediction" if later_on else ""
            cards.append(commit_card(system, table, commit, f"changed it{when}: {_difference(before, now)}"))
        before = now
    some = f"of {len(later)} later commits that changed rows, the newest {len(looked)} were looked at"
    return Chain(title="Where it comes from", cards=tuple(cards), words=some if len(later) > CHANGES else "")


def _values(store: Store, table: Table, where: Mapping[str, Any], commit: int) -> dict[str, str] | None:
    row = _as_of(store, table, where, commit)
    return None if row is None else {str(name): str(value) for name, value in row.items()}


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [f"{spaced(name)} {before[name]} → {now[name]}" for name in now if now[name] != before[name]]
    return markup.short(", ".join(changed), 300)


def commit_card(system: System, table: Table, commit: Commit, words: str = "") -> Card:
    """One write of rows: its step, source and run, as far as they were noted with it."""
    about = commit.about
    facts = [("At", at_ms(commit.id)), ("Rows", f"{commit.inserted:,} new, {commit.updated:,} changed")]
    facts += [("Step", about["step"])] if about.get("step") else [("Step", NOT_RECORDED)]
    names = ("source", "rows_in", "set_aside", "generator", "seed", "date", "model_version", "unseen")
    facts += [(spaced(name).capitalize(), last_part(about[name])) for name in names if about.get(name)]
    return Card(
        title=f"Commit of {spaced(table.name.removeprefix(f'{system.name}_'))}",
        ref=Ref("commit", system.name, f"{table.name}/{commit.id}"),
        id=f"{table.name}, commit {commit.id}",
        facts=(*facts, *made_facts(about)),
        words=words,
    )


def _learners(store: Store, system: System, row: Mapping[Any, Any], notes: Notes) -> Chain:
    """The versions that were fitted on the row, newest first."""
    models = store.models(system.name)
    promotions = store.champions(system.name)
    table = features_table(system)
    where = {"row_id": row["row_id"], "event_time": row["event_time"]}
    seen = functools.cache(lambda commit: _as_of(store, table, where, commit))
    cards = []
    for model in models[: -MOST - 1 : -1]:
        origins, commit = taught(model)
        if commit is None:
            notes.append(f"version {model.version} did not keep which rows it was fitted on")
            continue
        then = seen(commit)
        if then is not None and then["origin"] in origins and not markup.is_missing(then[system.label.name]):
            cards.append(version_card(model, promotions))
    some = listed(len(models), MOST, "versions")
    words = (some and f"{some.replace('are listed', 'were looked at')}; ") + (
        "" if cards else "No version was fitted on it."
    )
    return Chain(title="What learned from it", cards=tuple(cards), words=words)


def taught(model: Model) -> tuple[Sequence[str], int | None]:
    """(origins of the rows, data commit) that a version was fitted on."""
    lineage = model.info.get("lineage")
    kept = lineage if isinstance(lineage, Mapping) else {}
    commit, origins = kept.get("data_commit"), kept.get("origins")
    if not isinstance(commit, int) or not isinstance(origins, list):
        return (), None
    return origins, commit


def _as_of(store: Store, table: Table, where: Mapping[str, Any], commit: int) -> dict[Any, Any] | None:
    try:
        rows = store.lookup(table, where, as_of=commit)
    except Unavailable:
        raise
    except StoreError:
        return None
    return rows.iloc[0].to_dict() if len(rows) else None


def _predictions_of_row(store: Store, system: System, row_id: str) -> Chain:
    table, where = predictions_table(system), {"row_id": row_id}
    try:
        count = store.count(table, where)
        rows = store.lookup(table, where, most=READ)
    except NotFound:
        count, rows = 0, pd.DataFrame()
    if not count:
        return Chain(title="What was predicted from it", cards=(), words="No version has predicted it.")
    rows = rows.sort_values(["predicted_at", "model_version"], ascending=False)
    cards = tuple(_prediction_card(system, row) for row in rows.head(MOST).to_dict("records"))
    words = listed(count, len(cards), "predictions")
    return Chain(title="What was predicted from it", cards=cards, words=words)


def prediction_ref(system: System, row: Mapping[Any, Any]) -> Ref:
    """The name of a row of the predictions table."""
    time = pd.Timestamp(row["event_time"]).isoformat()
    return Ref("prediction", system.name, f"{row['model_version']}/{time}/{row['row_id']}")


def _prediction_card(system: System, row: Mapping[Any, Any]) -> Card:
    seen = "yes: it does not count for accuracy" if row["seen_in_training"] else "no"
    return Card(
        title=f"Prediction by version {row['model_version']}",
        ref=prediction_ref(system, row),
        id=f"{system.label.words(row['prediction'])}, {markup.percent(row['probability'], 1)}",
        facts=(
            ("Of", str(row["row_id"])),
            ("Predicted", markup.moment(row["predicted_at"])),
            ("Row seen in training", seen),
        ),
    )


def trace_prediction(store: Store, system: System, name: str) -> Trace:
    """A prediction: its row and where that came from; its version and where that came from."""
    notes, ref = Notes(), Ref("prediction", system.name, name)
    row = _prediction(store, system, name)
    table = predictions_table(system)
    rows = states(store, system, str(row["row_id"]))
    same = rows[rows["event_time"] == row["event_time"]] if len(rows) else rows
    where = {name: row[name] for name in ("row_id", "model_version", "event_time")}
    writer = notes.read("which commit wrote it", lambda: store.writer_of(table, where))
    chains = [
        _of_row(store, system, same, notes, writer.id if writer else None),
        _of_model(store, system, int(row["model_version"]), notes),
    ]
    card = _prediction_card(system, row)
    written = (
        () if writer is None else (("the commit that wrote it", commit_card(system, table, writer).ref),)
    )
    label = same.iloc[0][system.label.name] if len(same) else None
    outcome = "not known yet" if markup.is_missing(label) else system.label.words(label)
    facts = (*card.facts, ("Outcome, as it is known now", outcome))
    if writer is not None:
        facts = (*facts, *made_facts(writer.about))
    links = tuple((words, to) for words, to in written if to is not None)
    others = _predictions_of_row(store, system, str(row["row_id"]))
    return Trace(
        ref=ref,
        title=f"Prediction of {markup.short(row['row_id'])} by version {row['model_version']}",
        before=tuple(chains),
        card=Card(title=card.title, ref=ref, id=card.id, facts=facts, links=links),
        after=(
            Chain(
                title="All predictions of this row",
                cards=tuple(one for one in others.cards if one.ref != ref),
                words=others.words or ("" if len(others.cards) > 1 else "This is the only one."),
            ),
        ),
        notes=tuple(notes),
    )


def _prediction(store: Store, system: System, name: str) -> Mapping[Any, Any]:
    version, _, rest = name.partition("/")
    time, _, row_id = rest.partition("/")
    try:
        where = {"row_id": row_id, "model_version": int(version), "event_time": time}
        rows = store.lookup(predictions_table(system), where)
    except Unavailable:
        raise
    except (ValueError, StoreError):
        rows = pd.DataFrame()
    if rows.empty:
        raise NotTraced(f"{system.name} has no prediction {name[:80]!r}; want version/time/row id")
    record: Mapping[Any, Any] = rows.iloc[0].to_dict()
    return record


def _of_row(store: Store, system: System, rows: pd.DataFrame, notes: Notes, predicted: int | None) -> Chain:
    if rows.empty:
        nothing = missing("Row", "the row is not in the features table: it was removed from outside")
        return Chain(title="The row", cards=(nothing,))
    arrivals = _arrivals(store, system, rows.iloc[0].to_dict(), notes, predicted)
    return Chain(title="The row", cards=(*arrivals.cards, _row_card(system, rows)), words=arrivals.words)


def _of_model(store: Store, system: System, version: int, notes: Notes) -> Chain:
    models, promotions = store.models(system.name), store.champions(system.name)
    model = next((one for one in models if one.version == version), None)
    if model is None:
        return Chain(title="The model", cards=(gone_version(system.name, version),))
    cards = (*_made_of(store, system, model, notes), version_card(model, promotions))
    return Chain(title="The model", cards=_linked(cards, models))


def _linked(cards: Sequence[Card], models: Sequence[Model]) -> tuple[Card, ...]:
    return tuple(Card(**{**vars(card), "links": resolvable(card.links, models)}) for card in cards)


def trace_version(store: Store, system: System, ref: Ref) -> Trace:
    """A version: its rows, its training, the decision; what replaced it and what it predicted."""
    notes, model = Notes(), the_version(store, ref)
    models, promotions = store.models(system.name), store.champions(system.name)
    cards = _linked(_made_of(store, system, model, notes), models)
    return Trace(
        ref=ref,
        title=f"{system.title}: version {model.version}",
        before=(Chain(title="Where it comes from", cards=cards),),
        card=version_card(model, promotions, own=True),
        after=(successors(model, models, promotions), _predicted_by(store, system, model)),
        notes=tuple(notes),
    )


def _predicted_by(store: Store, system: System, model: Model) -> Chain:
    table, where = predictions_table(system), {"model_version": model.version}
    try:
        count, rows = store.count(table, where), store.lookup(table, where, most=MOST)
    except NotFound:
        count, rows = 0, pd.DataFrame()
    cards = tuple(_prediction_card(system, row) for row in rows.to_dict("records"))
    some = f"{len(cards)} of {count:,} predictions are listed" if count > len(cards) else ""
    return Chain(
        title="What it predicted", cards=cards, words=some or ("" if cards else "It has predicted no row.")
    )


def _made_of(store: Store, system: System, model: Model, notes: Notes) -> list[Card]:
    """Data commit, training, decision: in this order."""
    lineage = model.info.get("lineage")
    kept = lineage if isinstance(lineage, Mapping) else {}
    promotions = store.champions(system.name)
    return [
        _data_card(store, system, kept, notes),
        _training_card(model, kept),
        decision_card(model, promotions, notes),
    ]


def _data_card(store: Store, system: System, kept: Mapping[str, Any], notes: Notes) -> Card:
    commit, table = kept.get("data_commit"), features_table(system)
    if not isinstance(commit, int):
        return missing("Data commit", "on which rows it was fitted was not recorded")
    commits = notes.read("the features table", lambda: store.commits(table)) or []
    at = next((one for one in commits if one.id == commit), None)
    if at is None:
        return missing("Data commit", f"commit {commit} is not in the history of {table.name} any more")
    origins = kept.get("origins")
    which = ", ".join(map(str, origins)) if isinstance(origins, list) else NOT_RECORDED
    return commit_card(
        system, table, at, f"fitted on the table as it stood after this commit: rows of origin {which}"
    )


def _training_card(model: Model, kept: Mapping[str, Any]) -> Card:
    info = model.info
    compared = info.get("compared")
    facts = [
        ("Model class", spaced(str(info.get("model_class") or NOT_RECORDED))),
        ("Chosen from", counted(len(compared), "class", "classes") if isinstance(compared, list) else "–"),
        ("Code", recorded(kept.get("code"))),
    ]
    return Card(
        title="Training",
        id=str(info.get("training_key") or NOT_RECORDED),
        facts=(*facts, *made_facts(kept.get("made"))),
        words="" if info.get("training_key") else "its training key was not recorded",
    )
