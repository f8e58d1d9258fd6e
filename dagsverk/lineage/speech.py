"""Speech: from a text back to its recordings, from a clip on to what learned from it and what was heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from dagsverk import records
from dagsverk.lineage.cards import MOST, NOT_RECORDED, Card, Chain, NotTraced, Ref, Trace, listed, missing
from dagsverk.lineage.common import (
    Notes,
    decision_card,
    gone_version,
    made_facts,
    resolvable,
    successors,
    the_version,
    version_card,
)
from dagsverk.markup import percent, short
from dagsverk.report.common import moment, recorded, without_folders
from dagsverk.speech import results, runs
from dagsverk.speech.evaluation.report import EvaluationReport
from dagsverk.speech.features import plans, shards
from dagsverk.speech.features.shards import Manifest, ShardRecord
from dagsverk.speech.languages import Language
from dagsverk.speech.runs import RunConfig
from dagsverk.speech.transcription import results as written
from dagsverk.speech.transcription.results import Recording, Text
from dagsverk.store import Model, Store, StoreError, Unavailable
from dagsverk.words import counted, last_part


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Of a plan of a place, the recordings that were there."""

    recordings: tuple[Recording, ...]


def trace_version(store: Store, of: Language, ref: Ref) -> Trace:
    """A version: recordings, clips, run, scores and decision; what replaced it and what it wrote down."""
    notes, model = Notes(), the_version(store, ref)
    models, promotions = store.models(model.name), store.champions(model.name)
    cards = _made_of(store, of, model, notes)
    linked = tuple(Card(**{**vars(card), "links": resolvable(card.links, models)}) for card in cards)
    after = [successors(model, models, promotions), _texts_by(store, of, model)]
    return Trace(
        ref=ref,
        title=f"{of.title}: version {model.version}",
        before=(Chain(title="Where it comes from", cards=linked),),
        card=version_card(model, promotions, own=True),
        after=tuple(after),
        notes=tuple(notes),
    )


def _made_of(store: Store, of: Language, model: Model, notes: Notes) -> list[Card]:
    """Recordings, clips, model before, run, scores, decision: in this order."""
    info = model.info
    kept = info["lineage"] if isinstance(info.get("lineage"), Mapping) else {}
    base = last_part(info.get("base_model") or kept.get("base_model") or NOT_RECORDED)
    decision = decision_card(model, store.champions(model.name), notes)
    if not info.get("run"):
        published = Card(title="Published model", id=base, words="not trained here")
        return [published, decision]
    run, set_id = str(info["run"]), str(info.get("set") or kept.get("set") or "")
    return [
        *_set_cards(store, set_id, notes),
        Card(title="Model before training", id=base),
        _run_card(store, run, notes, step=info.get("step")),
        *_score_cards(store, of, str(info.get("evaluation") or ""), notes),
        Card(**{**vars(decision), "facts": (*decision.facts, ("Code", recorded(kept.get("code"))))}),
    ]


def _set_cards(store: Store, set_id: str, notes: Notes) -> list[Card]:
    if not set_id:
        return [missing("Set of clips", "on which clips it was trained was not recorded")]
    about = notes.read(f"the set {set_id}", lambda: shards.manifest(store, set_id))
    if about is None:
        return [missing("Set of clips", f"the set {set_id} is not in the store any more")]
    return [_corpus_card(about), _set_card(about)]


def _corpus_card(about: Manifest) -> Card:
    return Card(
        title="Recordings",
        id=short(about.fingerprint),
        facts=(("Corpus", short(about.corpus)), ("From", last_part(about.source))),
    )


def _set_card(about: Manifest) -> Card:
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
    return Card(
        title="Set of clips", ref=Ref("set", _name(about.language), about.id), id=about.id, facts=tuple(facts)
    )


def _name(code: str) -> str:
    from dagsverk.speech.languages import language

    return language(code).name


def _run_card(store: Store, run: str, notes: Notes, step: object = None) -> Card:
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
    if made.replayed:
        facts.append(
            ("Clips of other sets", ", ".join(f"{n:,} of {name}" for name, n in made.replayed.items()))
        )
    facts.append(("Code", f"dagsverk {made.version}"))
    return Card(
        title="Training run",
        ref=Ref("run", _name(made.language), run),
        id=run,
        facts=(*facts, *made_facts(runs.cost(store, run))),
        words=f"from {last_part(settings.model)}",
    )


def _score_cards(store: Store, of: Language, key: str, notes: Notes) -> list[Card]:
    if not key:
        return [missing("Evaluation", "its scores were not recorded")]
    report = notes.read(f"the evaluation {key}", lambda: results.report(store, of, key))
    if report is None:
        return [missing("Evaluation", f"the evaluation {key} is not in the store any more")]
    return [_evaluation_card(of, report)]


def _evaluation_card(of: Language, report: EvaluationReport) -> Card:
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


def _texts_by(store: Store, of: Language, model: Model) -> Chain:
    record = written.model_key(model.name, model.version)
    names = [name for name in _texts(store, of) if name.endswith(f"/{record}")]
    cards = [card for name in names[:MOST] if (card := _text_card(store, of, name)) is not None]
    words = f"{len(cards)} of {len(names):,} texts are listed" if len(names) > len(cards) else ""
    return Chain(
        title="What it wrote down",
        cards=tuple(cards),
        words=words or ("" if cards else "No recording of a place."),
    )


def _texts(store: Store, of: Language) -> Iterator[str]:
    """place/recording/record of every text that is kept."""
    root = f"transcriptions/{of.name}"
    for path in store.list(root):
        parts = path.removeprefix(f"{root}/").split("/")
        if len(parts) == 4 and parts[1] == "results" and parts[3].endswith(".json"):
            record = parts[3].removesuffix(".json")
            if record not in (written.FAILED, written.UNREAD):
                yield f"{parts[0]}/{parts[2]}/{record}"


def _read_text(store: Store, of: Language, name: str) -> Text | None:
    place, _, rest = name.partition("/")
    key, _, record = rest.partition("/")
    if not (place and key and record) or "/" in record:
        return None
    try:
        return records.read(store, f"transcriptions/{of.name}/{place}/results/{key}/{record}.json", Text)
    except Unavailable:
        raise
    except StoreError:
        return None


def _text_card(store: Store, of: Language, name: str) -> Card | None:
    text = _read_text(store, of, name)
    if text is None:
        return None
    by = last_part(text.model) + (f", version {text.version}" if text.version is not None else "")
    return Card(
        title="Text of a recording",
        ref=Ref("text", of.name, name),
        id=last_part(text.path),
        facts=(("By", by), ("Length", f"{text.audio_s:.1f} s"), ("Written", moment(text.at))),
        words=short(text.text, 300),
    )


def trace_text(store: Store, of: Language, name: str) -> Trace:
    """A recording's text: by which version, and where that comes from; other texts of the recording."""
    card, text, notes = _text_card(store, of, name), _read_text(store, of, name), Notes()
    if card is None or text is None:
        raise NotTraced(f"{of.title} has no text {name[:80]!r}; want place/recording/record")
    cards: list[Card] = []
    if text.version is None:
        cards.append(Card(title="Model", id=last_part(text.model), words="no model of the store wrote it"))
    else:
        models = {model.version: model for model in store.models(text.model)}
        model = models.get(text.version)
        if model is None:
            cards.append(gone_version(text.model, text.version))
        else:
            promotions = store.champions(model.name)
            cards += [*_made_of(store, of, model, notes), version_card(model, promotions)]
            cards = [
                Card(**{**vars(one), "links": resolvable(one.links, [*models.values()])}) for one in cards
            ]
    stem = name.rpartition("/")[0]
    others = [one for one in _texts(store, of) if one.startswith(f"{stem}/") and one != name]
    beside = tuple(one for other in others[:MOST] if (one := _text_card(store, of, other)) is not None)
    facts = (*card.facts, ("Notes", "; ".join(map(without_folders, text.notes)) or "none"))
    return Trace(
        ref=Ref("text", of.name, name),
        title=f"Text of {short(last_part(text.path))}",
        before=(Chain(title="The model", cards=tuple(cards)),),
        card=Card(**{**vars(card), "facts": facts}),
        after=(
            Chain(
                title="Other texts of this recording", cards=beside, words="" if beside else "There is none."
            ),
        ),
        notes=tuple(notes),
    )


def trace_set(store: Store, of: Language, set_id: str) -> Trace:
    """A set of clips: its recordings; the runs on it, and the evaluations."""
    about = _the_set(store, of, set_id)
    notes = Notes()
    trained = [run for run in _runs(store, of, notes) if run.set_id == set_id or set_id in run.replayed]
    reports = [one for one in _reports(store, of, notes) if one.set == set_id]
    run_cards = tuple(_run_card(store, run.run, notes) for run in trained[: -MOST - 1 : -1])
    scored = tuple(_evaluation_card(of, one) for one in reports[: -MOST - 1 : -1])
    return Trace(
        ref=Ref("set", of.name, set_id),
        title=f"{of.title}: set {set_id}",
        before=(Chain(title="Where it comes from", cards=(_corpus_card(about),)),),
        card=_set_card(about),
        after=(
            Chain(title="What was trained on it", cards=run_cards,
                  words=listed(len(trained), len(run_cards), "runs") or ("" if run_cards else "No run.")),
            Chain(title="What was scored on it", cards=scored,
                  words=listed(len(reports), len(scored), "evaluations") or ("" if scored else "No model.")),
        ),
        notes=tuple(notes),
    )  # fmt: skip


def _the_set(store: Store, of: Language, set_id: str) -> Manifest:
    try:
        about = shards.manifest(store, set_id)
        if _name(about.language) == of.name:
            return about
    except Unavailable:
        raise
    except (StoreError, ValueError):
        pass
    raise NotTraced(f"{of.title} has no whole set {set_id[:40]!r}")


def _runs(store: Store, of: Language, notes: Notes) -> list[RunConfig]:
    """Settings of every run that this version can read, by name."""
    root = f"{results.folder(of)}/runs/"
    names = {path.removeprefix(root).split("/")[0] for path in store.list(root.removesuffix("/"))}
    made = (
        notes.read(f"the settings of run {name}", lambda name=name: runs.run_config(store, name))
        for name in sorted(names)
    )
    return [one for one in made if one is not None]


def _reports(store: Store, of: Language, notes: Notes) -> list[EvaluationReport]:
    return notes.read("an evaluation", lambda: results.reports(store, of)) or []


def trace_run(store: Store, of: Language, run: str) -> Trace:
    """A training run: its clips and the model before it; the versions that it came to."""
    notes = Notes()
    try:
        made = runs.run_config(store, run)
    except Unavailable:
        raise
    except (StoreError, ValueError) as error:
        raise NotTraced(f"{of.title} has no run {run[:40]!r} that can be read") from error
    if _name(made.language) != of.name:
        raise NotTraced(f"{of.title} has no run {run[:40]!r}")
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    versions = [model for model in models if model.info.get("run") == run]
    cards = [*_set_cards(store, made.set_id, notes)]
    for other in made.replayed:
        cards += [
            Card(**{**vars(card), "words": "clips of it were mixed in"})
            for card in _set_cards(store, other, notes)[1:]
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
        card=_run_card(store, run, notes),
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
    """Scores of a model on clips: the clips, the worst of them, and the versions that were decided by them."""
    notes = Notes()
    try:
        report = results.report(store, of, key)
    except Unavailable:
        raise
    except (StoreError, ValueError) as error:
        raise NotTraced(f"{of.title} has no evaluation {key[:40]!r} that can be read") from error
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    decided = tuple(version_card(one, promotions) for one in models if one.info.get("evaluation") == key)
    worst = tuple(
        Card(title="Clip", ref=Ref("clip", of.name, one.clip), id=short(one.clip),
             facts=(("Said", short(one.text, 200)), ("Heard", short(one.hypothesis, 200) or "nothing")))
        for one in report.worst[:MOST]
    )  # fmt: skip
    in_plan = {card.ref.id for card in worst if card.ref and _planned(store, report.set, card.ref.id)}
    worst = tuple(
        card if card.ref and card.ref.id in in_plan else Card(**{**vars(card), "ref": None}) for card in worst
    )
    return Trace(
        ref=Ref("evaluation", of.name, key),
        title=f"{of.title}: evaluation {key}",
        before=(Chain(title="Where it comes from", cards=tuple(_set_cards(store, report.set, notes))),),
        card=_evaluation_card(of, report),
        after=(
            Chain(
                title="What was decided by it", cards=decided, words="" if decided else "No version is of it."
            ),
            Chain(title="Its worst clips", cards=worst, words="" if worst else "No clip has a wrong word."),
        ),
        notes=tuple(notes),
    )


def sets(store: Store, of: Language) -> list[Manifest]:
    """Every whole set that can be read, newest first."""
    root, notes = f"{results.folder(of)}/shards/", Notes()
    paths = [path for path in store.list(root.removesuffix("/")) if path.endswith("/manifest.json")]
    names = [path.removeprefix(root).split("/")[0] for path in paths]
    read = (notes.read(name, lambda name=name: shards.manifest(store, name)) for name in names)
    return sorted((one for one in read if one is not None), key=lambda one: one.created, reverse=True)


def _planned(store: Store, set_id: str, clip: str) -> dict[str, Any] | None:
    """A clip as it was planned for a set; None if it was not, or nobody knows any more."""
    try:
        file = plans._file(store, set_id)
        rows = pq.read_table(file, filters=[("id", "==", clip)]).slice(0, 1).to_pylist()
    except Unavailable:
        raise
    except (StoreError, ValueError, OSError):
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
    except (StoreError, ValueError, OSError):
        return ""
    return next((f"{one.reason}: {without_folders(one.detail)}" for one in rejected if one.clip == clip), "")


def rejected_in(store: Store, set_id: str, clip: str) -> bool:
    """Whether a clip that was not even planned for a set was set aside there."""
    return bool(_rejection(store, set_id, clip, None))


def texts_of(store: Store, of: Language, path: str) -> Iterator[str]:
    """place/recording/record of every text of recordings at that path, or of that file name."""
    root = f"transcriptions/{of.name}"
    keys: set[tuple[str, str]] = set()
    for plan in store.list(root):
        if "/plans/" in plan and plan.endswith(".json"):
            place = plan.removeprefix(f"{root}/").split("/")[0]
            made = Notes().read(plan, lambda plan=plan: records.read(store, plan, Listed))
            there = made.recordings if made else ()
            keys |= {(place, one.key) for one in there if path in (one.path, one.path.rpartition("/")[2])}
    if keys:
        yield from (name for name in _texts(store, of) if tuple(name.split("/")[:2]) in keys)


def trace_clip(store: Store, of: Language, clip: str) -> Trace:
    """A clip: its sets, splits and shards; the trainings that saw it; what each model heard in it."""
    notes, places, about_it = Notes(), list[tuple[Manifest, str, str]](), dict[str, Any]()
    manifests = sets(store, of)
    for about in manifests[:MOST]:
        planned = _planned(store, about.id, clip)
        why = _rejection(store, about.id, clip, planned["shard"] if planned else None)
        if planned or why:
            places.append((about, planned["split"] if planned else "", why))
            about_it = about_it or planned or {}
    if not places:
        raise NotTraced(f"{of.title} has no clip {clip[:80]!r} in its newest {MOST} sets")
    before = tuple(
        Card(**{**vars(_set_card(about)), "words": _place_words(split, why)}) for about, split, why in places
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
    seen = [run for run in _runs(store, of, notes) if run.set_id in taught or taught & set(run.replayed)]
    models, promotions = store.models(of.model_name), store.champions(of.model_name)
    cards: list[Card] = []
    for run in seen[: -MOST - 1 : -1]:
        cards.append(_run_card(store, run.run, notes))
        cards += [version_card(model, promotions) for model in models if model.info.get("run") == run.run]
    words = listed(len(seen), MOST, "runs") or ("" if cards else "No training had it among its clips.")
    return Chain(title="What learned from it", cards=tuple(cards), words=words)


def _hypotheses(
    store: Store, of: Language, clip: str, places: list[tuple[Manifest, str, str]], notes: Notes
) -> Chain:
    """What each model wrote for it when it was scored."""
    where = {(about.id, split) for about, split, _ in places}
    reports = [one for one in _reports(store, of, notes) if (one.set, one.split) in where]
    by_key = {model.info.get("evaluation"): model for model in store.models(of.model_name)}
    cards = []
    for report in reports[: -MOST - 1 : -1]:
        rows = notes.read(
            f"the texts of {report.key}", lambda report=report: results.clip_rows(store, report)
        )
        mine = rows[rows["clip_id"] == clip] if rows is not None else None
        if mine is None or mine.empty:
            continue
        model = by_key.get(report.key)
        links = (("the version", Ref("version", model.name, str(model.version))),) if model else ()
        heard = str(mine.iloc[0]["hypothesis"]) or "nothing"
        card = _evaluation_card(of, report)
        facts = (("Model", short(report.model.name)), ("Heard", short(heard, 300)))
        cards.append(Card(title="Heard by", ref=card.ref, id=report.key, facts=facts, links=links))
    words = listed(len(reports), MOST, "evaluations") or ("" if cards else "No model was scored on it.")
    return Chain(title="What was heard in it", cards=tuple(cards), words=words)
