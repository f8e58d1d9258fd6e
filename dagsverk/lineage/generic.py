"""Versions of names that are neither a system's nor a language's any more: what their record says."""

from __future__ import annotations

from dagsverk.lineage.cards import Card, Chain, Ref, Trace, missing
from dagsverk.lineage.common import Notes, decision_card, resolvable, successors, the_version, version_card
from dagsverk.store import Store


def trace_version(store: Store, ref: Ref) -> Trace:
    """A version of an unknown kind: its decision and what replaced it."""
    notes, model = Notes(), the_version(store, ref)
    models, promotions = store.models(model.name), store.champions(model.name)
    decision = decision_card(model, promotions, notes)
    decision = Card(**{**vars(decision), "links": resolvable(decision.links, models)})
    unknown = missing("Data", f"{model.name} is no system or language that this version knows")
    return Trace(
        ref=ref,
        title=f"{model.name}: version {model.version}",
        before=(Chain(title="Where it comes from", cards=(unknown, decision)),),
        card=version_card(model, promotions, own=True),
        after=(successors(model, models, promotions),),
        notes=tuple(notes),
    )
