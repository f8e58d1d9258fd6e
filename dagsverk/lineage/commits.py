"""Commits of tables, and raw rows that were set aside: what they came from, what was made of them."""

from __future__ import annotations

import pandas as pd

from dagsverk import markup
from dagsverk.lineage.cards import MOST, Card, Chain, NotTraced, Ref, Trace, listed, missing
from dagsverk.lineage.common import (
    Notes,
    version_card,
)
from dagsverk.lineage.tabular import commit_card, taught
from dagsverk.report.common import without_folders
from dagsverk.store import Commit, NotFound, Store, StoreError, Unavailable
from dagsverk.tabular.system import System
from dagsverk.tabular.tables import features_table, predictions_table, rejects_table
from dagsverk.words import last_part


def trace_commit(store: Store, system: System, name: str) -> Trace:
    """A commit: what brought its rows, and which versions were fitted on the table as it then stood."""
    wanted, _, number = name.rpartition("/")
    tables = (features_table(system), predictions_table(system))
    table = next((one for one in tables if one.name == wanted), None)
    try:
        commits = store.commits(table) if table else []
    except NotFound:
        commits = []
    commit = next((one for one in commits if str(one.id) == number), None)
    if table is None or commit is None:
        raise NotTraced(
            f"{system.name} has no commit {name[:80]!r}; want table/number, such as {tables[0].name}/17…"
        )
    notes, models, promotions = Notes(), store.models(system.name), store.champions(system.name)
    fitted = [model for model in models if table == tables[0] and taught(model)[1] == commit.id]
    cards = tuple(version_card(model, promotions) for model in fitted[: -MOST - 1 : -1])
    words = listed(len(fitted), len(cards), "versions") or ("" if cards else "No version was.")
    after = [Chain(title="What was fitted on the table as of it", cards=cards, words=words)]
    version = commit.about.get("model_version", "")
    by = [model for model in models if str(model.version) == version]
    before = [Chain(title="Where it comes from", cards=(_source_card(commit),))]
    if table == tables[1]:
        after, before = [], [Chain(title="The model", cards=tuple(version_card(m, promotions) for m in by))]
    return Trace(
        ref=Ref("commit", system.name, name),
        title=f"Commit {commit.id} of {table.name}",
        before=tuple(before),
        card=commit_card(system, table, commit),
        after=tuple(after),
        notes=tuple(notes),
    )


def _source_card(commit: Commit) -> Card:
    about = commit.about
    if about.get("source"):
        return Card(title="Source", id=without_folders(last_part(about["source"])))
    if about.get("generator"):
        return Card(title="Generator", id=about["generator"], words="rows invented for a day")
    return missing("Source", "what brought the rows was not noted with the commit")


def trace_aside(store: Store, system: System, name: str) -> Trace:
    """A raw row that was set aside: by which checks, of what source."""
    line, _, source = name.partition("@")
    try:
        rows = store.lookup(rejects_table(system), {"line": int(line), "source": source})
    except Unavailable:
        raise
    except (ValueError, StoreError):
        rows = pd.DataFrame()
    if rows.empty:
        raise NotTraced(f"{system.name} has no row set aside as {name[:80]!r}; want line@source")
    checks = [
        (f"{one['column'] or 'row'}: {one['check']}", markup.short(one["value"]))
        for one in rows.sort_values("column").to_dict("records")
    ]
    last = rows["found_at"].max()
    words = "Set aside: it is in no commit of features, so nothing was fitted on it or predicted from it."
    return Trace(
        ref=Ref("aside", system.name, name),
        title=f"Line {line} of {markup.short(last_part(source))}",
        before=(Chain(title="Where it comes from", cards=(Card(title="Source", id=last_part(source)),)),),
        card=Card(
            title="Row set aside",
            ref=Ref("aside", system.name, name),
            id=f"line {line}",
            facts=(*checks, ("Last seen", markup.moment(last))),
            words=words,
        ),
        after=(),
    )
