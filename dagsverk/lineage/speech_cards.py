"""Cards of what a speech version is made of: recordings, clips, run, scores."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dagsverk.lineage.cards import NOT_RECORDED, Card, Ref, missing
from dagsverk.lineage.common import (
    Notes,
    decision_card,
    made_facts,
)
from dagsverk.markup import percent, short
from dagsverk.report.common import moment, recorded
from dagsverk.speech import results, runs
from dagsverk.speech.evaluation.report import EvaluationReport
from dagsverk.speech.features import shards
from dagsverk.speech.features.shards import Manifest
from dagsverk.speech.languages import Language
from dagsverk.speech.runs import RunConfig
from dagsverk.store import Model, Store
from dagsverk.words import counted, last_part


def made_of(store: Store, of: Language, model: Model, notes: Notes) -> list[Card]:
    """Recordings, clips, model before, run, scores, decision: in this order."""
    info = model.info
    kept = info["lineage"] if isinstance(info.get("lineage"), Mapping) else {}
    base = last_part(info.get("base_model") or kept.get("base_model") or NOT_RECORDED)
    decision = decision_card(model, store.champions(model.name), notes)
    if not info.get("run"):
        published = Card(title="Published model", id=base, words="not trained here")
        return [published, decision]
    run, set_id = str(info["run"]), str(info.get("set") or kept.get("set") or "")
    facts = (*decision.facts, ("Code", recorded(kept.get("code"))), *made_facts(info.get("made")))
    return [
        *set_cards(store, set_id, notes),
        Card(title="Model before training", id=base),
        run_card(store, run, notes, step=info.get("step")),
        *score_cards(store, of, str(info.get("evaluation") or ""), notes),
        Card(**{**vars(decision), "facts": facts}),
    ]


def set_cards(store: Store, set_id: str, notes: Notes) -> list[Card]:
    if not set_id:
        return [missing("Set of clips", "on which clips it was trained was not recorded")]
    about = notes.read(f"the set {set_id}", lambda: shards.manifest(store, set_id))
    if about is None:
        return [missing("Set of clips", f"the set {set_id} is not in the store any more")]
    return [corpus_card(about), set_card(about)]


def corpus_card(about: Manifest) -> Card:
    return Card(
        title="Recordings",
        id=short(about.fingerprint),
        facts=(("Corpus", short(about.corpus)), ("From", last_part(about.source))),
    )


def set_card(about: Manifest) -> Card:
    facts = [
        (f"Clips of {name}", f"{one.clips:,}, {one.seconds / 60:.1f} min")
        for name, one in about.splits.items()
    ]
    aside = ", ".join(f"{one.clips:,} {reason}" for reason, one in about.rejected.items())
    facts.append(("Set aside", aside or "none"))
    if about.suspicious:
        suspicious = ", ".join(f"{one.clips:,} {kind}" for kind, one in about.suspicious.items())
        facts.append(("Suspicious texts", suspicious))
    facts.append(("Made", moment(about.created)))
    by_hand = getattr(about, "by_hand", None)  # of sets that people mended
    if by_hand is not None:
        facts.append(("Mended by hand", str(by_hand.words)))
    if about.copies is not None:
        facts.append(("Changed copies", f"{about.copies.clips:,}"))
    return Card(
        title="Set of clips",
        ref=Ref("set", name_of(about.language), about.id),
        id=about.id,
        facts=tuple(facts),
    )


def name_of(code: str) -> str:
    from dagsverk.speech.languages import language

    return language(code).name


def sets_of(made: RunConfig) -> set[str]:
    """Every set that a run drew clips from."""
    mixed = getattr(made, "mixed", ())  # other sets of the language, by weight
    return {made.set_id, *made.replayed, *(str(one.set) for one in mixed)}


def run_card(store: Store, run: str, notes: Notes, step: object = None) -> Card:
    made = notes.read(f"the settings of run {run}", lambda: runs.run_config(store, run))
    if made is None:
        return missing(
            "Training run", f"the run {short(run)} is not in the store any more, or of another version"
        )
    settings, facts = made.finetune, list[tuple[str, str]]()
    facts.append(("Trained on", f"{counted(made.clips, 'clip')}, {settings.steps or 0:,} steps"))
    if step is not None:
        facts.append(("Chosen on dev", f"step {step}"))
    facts += [("Peak learning rate", f"{settings.learning_rate:g}"), ("Seed", str(settings.seed))]
    if made.search:
        facts.append(("Made for the search", short(made.search)))
    if made.replayed:
        facts.append(
            ("Clips of other sets", ", ".join(f"{n:,} of {name}" for name, n in made.replayed.items()))
        )
    facts.append(("Code", f"dagsverk {made.version}"))
    return Card(
        title="Training run",
        ref=Ref("run", name_of(made.language), run),
        id=run,
        facts=(*facts, *made_facts(runs.cost(store, run))),
        words=f"from {last_part(settings.model)}",
    )


def score_cards(store: Store, of: Language, key: str, notes: Notes) -> list[Card]:
    if not key:
        return [missing("Evaluation", "its scores were not recorded")]
    report = notes.read(f"the evaluation {key}", lambda: results.report(store, of, key))
    if report is None:
        return [missing("Evaluation", f"the evaluation {key} is not in the store any more")]
    return [evaluation_card(of, report)]


def evaluation_card(of: Language, report: EvaluationReport) -> Card:
    wer = report.scores.normalised.wer
    ends = (
        "" if wer.low is None or wer.high is None else f" ({percent(wer.low, 1)} to {percent(wer.high, 1)})"
    )
    return Card(
        title="Evaluation",
        ref=Ref("evaluation", of.name, report.key),
        id=report.key,
        facts=(
            ("Model", short(report.model.name)),
            ("Words wrong", f"{percent(wer.value, 1)}{ends}"),
            ("On", f"{counted(report.clips, 'clip')} of {report.split}, {report.set}"),
            ("At", moment(report.at)),
        ),
    )


def run_configs(store: Store, of: Language, notes: Notes) -> list[RunConfig]:
    """Settings of every run that this version can read, by name."""
    root = f"{results.folder(of)}/runs/"
    names = {path.removeprefix(root).split("/")[0] for path in store.list(root.removesuffix("/"))}
    made = (
        notes.read(f"the settings of run {name}", partial(runs.run_config, store, name))
        for name in sorted(names)
    )
    return [one for one in made if one is not None]


def reports_of(store: Store, of: Language, notes: Notes) -> list[EvaluationReport]:
    return notes.read("an evaluation", lambda: results.reports(store, of)) or []
