"""Speech: versions, sets, runs and evaluations, each from its recordings on to what came of it."""

from __future__ import annotations

from dagsverk.lineage.cards import MOST, PART, Card, Chain, NotTraced, Ref, Trace, listed
from dagsverk.lineage.clips import planned
from dagsverk.lineage.common import (
    FAULTS,
    Notes,
    resolvable,
    successors,
    the_version,
    version_card,
)
from dagsverk.lineage.speech_cards import (
    corpus_card,
    evaluation_card,
    made_of,
    name_of,
    reports_of,
    run_card,
    run_configs,
    set_card,
    set_cards,
    sets_of,
)
from dagsverk.lineage.texts import texts_by
from dagsverk.markup import short
from dagsverk.speech import results, runs
from dagsverk.speech.features import shards
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.languages import Language
from dagsverk.store import Store, Unavailable
from dagsverk.words import last_part


def trace_version(store: Store, of: Language, ref: Ref) -> Trace:
    """A version: recordings, clips, run, scores and decision; what replaced it and what it wrote down."""
    notes, model = Notes(), the_version(store, ref)
    models, promotions = store.models(model.name), store.champions(model.name)
    cards = made_of(store, of, model, notes)
    linked = tuple(Card(**{**vars(card), "links": resolvable(card.links, models)}) for card in cards)
    after = [successors(model, models, promotions), texts_by(store, of, model)]
    return Trace(
        ref=ref,
        title=f"{of.title}: version {model.version}",
        before=(Chain(title="Where it comes from", cards=linked),),
        card=version_card(model, promotions, own=True),
        after=tuple(after),
        notes=tuple(notes),
    )


def trace_set(store: Store, of: Language, set_id: str) -> Trace:
    """A set of clips: its recordings; the runs on it, and the evaluations."""
    about = _the_set(store, of, set_id)
    notes = Notes()
    trained = [run for run in run_configs(store, of, notes) if set_id in sets_of(run)]
    reports = [one for one in reports_of(store, of, notes) if one.set == set_id]
    origin = [corpus_card(about), *_parents(store, about, notes)]
    run_cards = tuple(run_card(store, run.run, notes) for run in trained[: -MOST - 1 : -1])
    scored = tuple(evaluation_card(of, one) for one in reports[: -MOST - 1 : -1])
    return Trace(
        ref=Ref("set", of.name, set_id),
        title=f"{of.title}: set {set_id}",
        before=(Chain(title="Where it comes from", cards=tuple(origin)),),
        card=set_card(about),
        after=(
            Chain(title="What was trained on it", cards=run_cards,
                  words=listed(len(trained), len(run_cards), "runs") or ("" if run_cards else "No run.")),
            Chain(title="What was scored on it", cards=scored,
                  words=listed(len(reports), len(scored), "evaluations") or ("" if scored else "No model.")),
        ),
        notes=tuple(notes),
    )  # fmt: skip


def _parents(store: Store, about: Manifest, notes: Notes) -> list[Card]:
    """The set that this one was made of by hand."""
    by_hand = getattr(about, "by_hand", None)
    return set_cards(store, str(by_hand.parent), notes)[1:] if by_hand is not None else []


def _the_set(store: Store, of: Language, set_id: str) -> Manifest:
    try:
        about = shards.manifest(store, set_id) if PART.fullmatch(set_id) else None
        if about is not None and name_of(about.language) == of.name:
            return about
    except Unavailable:
        raise
    except FAULTS:
        pass
    raise NotTraced(f"{of.title} has no whole set {set_id[:40]!r}")


def trace_run(store: Store, of: Language, run: str) -> Trace:
    """A training run: its clips and the model before it; the versions that it came to."""
    notes = Notes()
    try:
        made = runs.run_config(store, run)
    except Unavailable:
        raise
    except FAULTS as error:
        raise NotTraced(f"{of.title} has no run {run[:40]!r} that can be read") from error
    if name_of(made.language) != of.name:
        raise NotTraced(f"{of.title} has no run {run[:40]!r}")
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    versions = [model for model in models if model.info.get("run") == run]
    cards = [*set_cards(store, made.set_id, notes)]
    for other in sorted(sets_of(made) - {made.set_id}):
        cards += [
            Card(**{**vars(card), "words": "clips of it were mixed in"})
            for card in set_cards(store, other, notes)[1:]
        ]
    cards.append(
        Card(
            title="Model before training",
            id=last_part(made.finetune.model),
            facts=(("Fingerprint", made.fingerprint),),
        )
    )
    shown = tuple(version_card(model, promotions) for model in versions[: -MOST - 1 : -1])
    return Trace(
        ref=Ref("run", of.name, run),
        title=f"{of.title}: run {run}",
        before=(Chain(title="Where it comes from", cards=tuple(cards)),),
        card=run_card(store, run, notes),
        after=(
            Chain(
                title="What came of it",
                cards=shown,
                words="" if shown else "No version was registered of it.",
            ),
        ),
        notes=tuple(notes),
    )


def trace_evaluation(store: Store, of: Language, key: str) -> Trace:
    """Scores of a model on clips: the clips, the worst of them, and the versions decided by them."""
    notes = Notes()
    if not PART.fullmatch(key):
        raise NotTraced(f"{of.title} has no evaluation {key[:40]!r}")
    try:
        report = results.report(store, of, key)
    except Unavailable:
        raise
    except FAULTS as error:
        raise NotTraced(f"{of.title} has no evaluation {key[:40]!r} that can be read") from error
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    decided = tuple(version_card(one, promotions) for one in models if one.info.get("evaluation") == key)
    worst = tuple(
        Card(title="Clip", ref=Ref("clip", of.name, one.clip), id=short(one.clip),
             facts=(("Said", short(one.text, 200)), ("Heard", short(one.hypothesis, 200) or "nothing")))
        for one in report.worst[:MOST]
    )  # fmt: skip
    in_plan = {card.ref.id for card in worst if card.ref and planned(store, report.set, card.ref.id)}
    worst = tuple(
        card if card.ref and card.ref.id in in_plan else Card(**{**vars(card), "ref": None}) for card in worst
    )
    return Trace(
        ref=Ref("evaluation", of.name, key),
        title=f"{of.title}: evaluation {key}",
        before=(Chain(title="Where it comes from", cards=tuple(set_cards(store, report.set, notes))),),
        card=evaluation_card(of, report),
        after=(
            Chain(
                title="What was decided by it", cards=decided, words="" if decided else "No version is of it."
            ),
            Chain(title="Its worst clips", cards=worst, words="" if worst else "No clip has a wrong word."),
        ),
        notes=tuple(notes),
    )
