"""Clips: their sets, splits and shards; the trainings that saw them; what each model heard in them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pyarrow.parquet as pq

from dagsverk import records
from dagsverk.lineage.cards import MOST, NOT_RECORDED, Card, Chain, NotTraced, Ref, Trace, listed
from dagsverk.lineage.common import (
    FAULTS,
    Notes,
    version_card,
)
from dagsverk.lineage.speech_cards import (
    evaluation_card,
    reports_of,
    run_card,
    run_configs,
    set_card,
    sets_of,
)
from dagsverk.markup import short
from dagsverk.report.common import without_folders
from dagsverk.speech import results
from dagsverk.speech.features import plans, shards
from dagsverk.speech.features.shards import Manifest, ShardRecord
from dagsverk.speech.languages import Language
from dagsverk.store import Store, Unavailable
from dagsverk.words import last_part


def trace_clip(store: Store, of: Language, clip: str) -> Trace:
    """A clip: its sets, splits and shards; the trainings that saw it; what each model heard in it."""
    notes, places, about_it = Notes(), list[tuple[Manifest, str, str]](), dict[str, Any]()
    manifests = sets(store, of)
    for about in manifests[:MOST]:
        plan = planned(store, about.id, clip)
        why = _rejection(store, about.id, clip, plan["shard"] if plan else None)
        if plan or why:
            places.append((about, plan["split"] if plan else "", why))
            about_it = about_it or plan or {}
    if not places:
        raise NotTraced(f"{of.title} has no clip {clip[:80]!r} in its newest {MOST} sets")
    before = tuple(
        Card(**{**vars(set_card(about)), "words": _place_words(split, why)}) for about, split, why in places
    )
    some = listed(len(manifests), MOST, "sets").replace("are listed", "were looked at")
    facts = [("Said", short(about_it.get("text") or NOT_RECORDED, 300))]
    facts += [(title, short(about_it[name])) for title, name in (
        ("Speaker", "speaker"), ("Recording", "audio"), ("Licence", "licence"), ("English", "translation"),
    ) if about_it.get(name)]  # fmt: skip
    facts = [(title, last_part(value) if title == "Recording" else value) for title, value in facts]
    return Trace(
        ref=Ref("clip", of.name, clip),
        title=f"Clip {short(clip)}",
        before=(Chain(title="Where it comes from", cards=before, words=some),),
        card=Card(title="Clip", ref=Ref("clip", of.name, clip), id=short(clip), facts=tuple(facts)),
        after=(_trainings(store, of, places, notes), _hypotheses(store, of, clip, places, notes)),
        notes=tuple(notes),
    )


def _place_words(split: str, why: str) -> str:
    if why:
        return f"it was set aside there: {why}"
    return f"it is in the split {split} there"


def _trainings(store: Store, of: Language, places: list[tuple[Manifest, str, str]], notes: Notes) -> Chain:
    """Runs that had it among their clips to train on, and the versions of these."""
    taught = {about.id for about, split, why in places if split == "train" and not why}
    seen = [run for run in run_configs(store, of, notes) if taught & sets_of(run)]
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    cards: list[Card] = []
    for run in seen[: -MOST - 1 : -1]:
        cards.append(run_card(store, run.run, notes))
        cards += [version_card(model, promotions) for model in models if model.info.get("run") == run.run]
    words = listed(len(seen), MOST, "runs") or ("" if cards else "No training had it among its clips.")
    return Chain(title="What learned from it", cards=tuple(cards), words=words)


def _hypotheses(
    store: Store, of: Language, clip: str, places: list[tuple[Manifest, str, str]], notes: Notes
) -> Chain:
    """What each model wrote for it when it was scored."""
    where = {(about.id, split) for about, split, _ in places}
    reports = [one for one in reports_of(store, of, notes) if (one.set, one.split) in where]
    by_key = {model.info.get("evaluation"): model for model in store.models(of.model_name)}
    cards = []
    for report in reports[: -MOST - 1 : -1]:
        rows = notes.read(f"the texts of {report.key}", partial(results.clip_rows, store, report))
        mine = rows[rows["clip_id"] == clip] if rows is not None else None
        if mine is None or mine.empty:
            continue
        model = by_key.get(report.key)
        links = (("the version", Ref("version", model.name, str(model.version))),) if model else ()
        hypothesis = str(mine.iloc[0]["hypothesis"]) or "nothing"
        card = evaluation_card(of, report)
        facts = (("Model", short(report.model.name)), ("Heard", short(hypothesis, 300)))
        cards.append(Card(title="Heard by", ref=card.ref, id=report.key, facts=facts, links=links))
    words = listed(len(reports), MOST, "evaluations") or ("" if cards else "No model was scored on it.")
    return Chain(title="What was heard in it", cards=tuple(cards), words=words)


def sets(store: Store, of: Language) -> list[Manifest]:
    """Every whole set that can be read, newest first."""
    root, notes = f"{results.folder(of)}/shards/", Notes()
    paths = [path for path in store.list(root.removesuffix("/")) if path.endswith("/manifest.json")]
    names = [path.removeprefix(root).split("/")[0] for path in paths]
    read = (notes.read(name, partial(shards.manifest, store, name)) for name in names)
    return sorted((one for one in read if one is not None), key=lambda one: one.created, reverse=True)


def planned(store: Store, set_id: str, clip: str) -> dict[str, Any] | None:
    """A clip as it was planned for a set; None if it was not, or nobody knows any more."""
    try:
        file = plans._file(store, set_id)
        rows = pq.read_table(file, filters=[("id", "==", clip)]).slice(0, 1).to_pylist()
    except Unavailable:
        raise
    except FAULTS:
        return None
    return rows[0] if rows else None


def _rejection(store: Store, set_id: str, clip: str, shard: int | None) -> str:
    """Why a clip is not used in a set; "" if it is."""
    try:
        rejected: Iterable[Any] = plans.load(store, set_id).rejected
        if shard is not None:
            rejected = [
                *rejected,
                *records.read(store, shards.record_path(set_id, shard), ShardRecord).rejected,
            ]
    except Unavailable:
        raise
    except FAULTS:
        return ""
    return next((f"{one.reason}: {without_folders(one.detail)}" for one in rejected if one.clip == clip), "")


def rejected_in(store: Store, set_id: str, clip: str) -> bool:
    """Whether a clip that was not even planned for a set was set aside there."""
    return bool(_rejection(store, set_id, clip, None))
