"""Recordings that were written down: by which version, and other texts of the same recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from dagsverk import records
from dagsverk.lineage.cards import MOST, PART, Card, Chain, NotTraced, Ref, Trace
from dagsverk.lineage.common import (
    Notes,
    gone_version,
    resolvable,
    version_card,
)
from dagsverk.lineage.speech_cards import made_of
from dagsverk.markup import short
from dagsverk.report.common import moment, without_folders
from dagsverk.speech.languages import Language
from dagsverk.speech.transcription import results as written
from dagsverk.speech.transcription.results import Recording, Text
from dagsverk.store import Model, Store, StoreError, Unavailable
from dagsverk.words import counted, last_part


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Of a plan of a place, the recordings that were there."""

    recordings: tuple[Recording, ...]


def texts_by(store: Store, of: Language, model: Model) -> Chain:
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
    if not all(PART.fullmatch(part) for part in (place, key, record)):
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
        words=counted(len(text.text.split()), "word"),  # what was said there is not for every visitor
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
            cards += [*made_of(store, of, model, notes), version_card(model, promotions)]
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


def texts_of(store: Store, of: Language, path: str) -> Iterator[str]:
    """place/recording/record of every text of recordings at that path, or of that file name."""
    root = f"transcriptions/{of.name}"
    keys: set[tuple[str, str]] = set()
    for plan in store.list(root):
        if "/plans/" in plan and plan.endswith(".json"):
            place = plan.removeprefix(f"{root}/").split("/")[0]
            made = Notes().read(plan, partial(records.read, store, plan, Listed))
            there = made.recordings if made else ()
            keys |= {(place, one.key) for one in there if path in (one.path, one.path.rpartition("/")[2])}
    if keys:
        yield from (name for name in _texts(store, of) if tuple(name.split("/")[:2]) in keys)
