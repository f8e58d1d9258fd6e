"""Cards that both families share: a version, its decision, its use; and reading what may be gone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from dagsverk.lineage.cards import MOST, NOT_RECORDED, Card, Chain, Facts, NotTraced, Ref, listed, missing
from dagsverk.markup import moment as utc
from dagsverk.promotion import Decision
from dagsverk.records import parse
from dagsverk.report.common import moment, recorded, without_folders
from dagsverk.report.making import address
from dagsverk.speech.errors import SpeechError
from dagsverk.store import Model, NotFound, Store, StoreError, Unavailable

T = TypeVar("T")
FAULTS = (StoreError, SpeechError, ValueError, OSError)  # what reading a damaged thing may raise


class Notes(list[str]):
    """What could not be read, in sentences."""

    def read(self, what: str, read: Callable[[], T]) -> T | None:
        """What is read; None, with a sentence that says why, where it is gone or damaged."""
        try:
            return read()
        except Unavailable:
            raise
        except NotFound:
            self.append(f"{what} is not in the store any more")
        except FAULTS as error:
            self.append(f"{what} cannot be read: {without_folders(str(error))[:300]}")
        return None


def version_ref(model: Model) -> Ref:
    return Ref("version", model.name, str(model.version))


def the_version(store: Store, ref: Ref) -> Model:
    """Raises NotTraced."""
    number = ref.id
    models = {str(model.version): model for model in store.models(ref.of)}
    if number not in models:
        raise NotTraced(f"{ref.of} has no version {number[:20]!r}; it has {', '.join(models) or 'none'}")
    return models[number]


def version_card(model: Model, promotions: Sequence[Mapping[str, Any]], *, own: bool = False) -> Card:
    """A version in short. Args: own: it is what is traced, so it says all."""
    facts = [("Registered", utc(model.created)), ("Use", use(model, promotions))]
    if own:
        facts.append(("Files", f"{len(model.files)}, each with its SHA-256"))
    return Card(
        title=f"Version {model.version}",
        ref=version_ref(model),
        id=f"{model.name}, version {model.version}",
        facts=tuple(facts),
        words=without_folders(model.description),
    )


def gone_version(name: str, version: int, why: str = "") -> Card:
    """A version that something names and the store has not."""
    words = why or f"version {version} of {name} is not in the store any more: it was removed from outside"
    return missing(f"Version {version}", words)


def report_of(model: Model) -> str:
    """The address of a version's report on the pages."""
    return address(model.name, model.version)


def use(model: Model, promotions: Sequence[Mapping[str, Any]]) -> str:
    dates = [(p.get("version"), p.get("promoted_at")) for p in promotions]
    places = [i for i, (version, _) in enumerate(dates) if version == model.version]
    if not places:
        return "never in use"
    last = places[-1]
    since = moment(dates[last][1])
    if last == len(dates) - 1:
        return f"in use since {since}"
    return f"in use from {since} to {moment(dates[last + 1][1])}"


def decision_card(model: Model, promotions: Sequence[Mapping[str, Any]], notes: Notes) -> Card:
    """By which rule the version was promoted or not, and what it replaced."""
    content = model.info.get("decision")
    if content is None:
        return missing("Decision", "by which rule it was put to use was not recorded")
    decision = notes.read("the decision", lambda: parse(content, Decision))
    if decision is None:
        return missing("Decision", "its record is damaged")
    facts = [
        ("Verdict", "promoted" if decision.promoted else "not promoted"),
        ("Rule", without_folders(decision.rule) or NOT_RECORDED),
    ]
    facts += [("Warning", without_folders(warning)) for warning in decision.warnings[:3]]
    places = [i for i, p in enumerate(promotions) if p.get("version") == model.version]
    if places:
        facts.append(("Promotion", f"number {places[0] + 1} of {len(promotions)} under this name"))
    links = []
    before = promotions[places[0] - 1].get("version") if places and places[0] else None
    if isinstance(before, int):
        facts.append(("Replaced", f"version {before}"))
        links.append((f"the version that it replaced, {before}", Ref("version", model.name, str(before))))
    return Card(
        title="Decision", facts=tuple(facts), words=without_folders(decision.reason), links=tuple(links)
    )


def resolvable(links: Sequence[tuple[str, Ref]], models: Sequence[Model]) -> tuple[tuple[str, Ref], ...]:
    """The links without those to versions that are gone."""
    there = {str(model.version) for model in models}
    return tuple((words, ref) for words, ref in links if ref.kind != "version" or ref.id in there)


def successors(model: Model, models: Sequence[Model], promotions: Sequence[Mapping[str, Any]]) -> Chain:
    """What was put to use after it."""
    places = [i for i, p in enumerate(promotions) if p.get("version") == model.version]
    following = [p for i in places for p in promotions[i + 1 : i + 2]]
    by_number = {one.version: one for one in models}
    cards = []
    for promotion in following[-MOST:]:
        number = promotion.get("version")
        if number in by_number:
            card = version_card(by_number[number], promotions)
            cards.append(_because(card, str(promotion.get("reason") or "")))
        elif isinstance(number, int):
            cards.append(gone_version(model.name, number))
    some = listed(len(following), len(cards), "promotions after it")
    nothing = "Nothing has." if places else "It was never in use."
    return Chain(title="What replaced it", cards=tuple(cards), words=some or ("" if cards else nothing))


def _because(card: Card, reason: str) -> Card:
    return Card(title=card.title, ref=card.ref, id=card.id, facts=card.facts, words=without_folders(reason))


def made_facts(made: object) -> Facts:
    """Which run made it, where and in how long: of what tasks note with what they write."""
    kept = made if isinstance(made, Mapping) else {}
    names = (
        ("flow_run", "Prefect run"), ("run", "Name of the run"), ("seconds", "Seconds"),
        ("device", "Device"), ("machine", "Machine"),
    )  # fmt: skip
    facts = [(title, recorded(kept[name])) for name, title in names if kept.get(name) not in (None, "")]
    if not any(title == "Prefect run" for title, _ in facts):
        facts.insert(0, ("Prefect run", NOT_RECORDED))
    return tuple(facts)


def at_ms(commit: object) -> str:
    """When a commit was made: its id is the time in ms since 1970."""
    try:
        return utc(dt.datetime.fromtimestamp(int(str(commit)) / 1000, dt.UTC))
    except (OverflowError, ValueError, OSError):
        return NOT_RECORDED
