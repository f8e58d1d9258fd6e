"""What the store knows of trainings, as other tools take it: settings, and numbers by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagsverk.report.common import PLACES
from dagsverk.speech import results, runs
from dagsverk.speech.errors import SpeechError
from dagsverk.speech.runs import Curve, TrainingPoint
from dagsverk.store import Model, NotFound, Store, StoreError, Unavailable
from dagsverk.tabular.system import systems
from dagsverk.words import last_part

Setting = str | float | int | bool


@dataclass(frozen=True, kw_only=True)
class Point:
    """Numbers at one step."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """A training: a run of speech, or a version of a table."""

    id: str  # the same again: the same training; also a folder's name
    settings: Mapping[str, Setting]
    points: tuple[Point, ...]


def trainings(store: Store, unreadable: list[str]) -> Iterator[Tracked]:
    """Every run of speech and every version of a table, one at a time.

    Args: unreadable: is given a sentence for each that cannot be read; the others come all the same.
    """
    for of in results.speech_languages(store):
        root = f"{results.folder(of)}/runs/"
        names = {path.removeprefix(root).split("/")[0] for path in store.list(root.removesuffix("/"))}
        for name in sorted(names):
            try:
                yield _run(store, of.name, name)
            except Unavailable:
                raise
            except (StoreError, SpeechError, ValueError) as error:
                unreadable.append(f"run {name}: {error}")
    for name in sorted(set(systems()) & set(store.model_names())):
        yield from (_version(model) for model in store.models(name))


def _run(store: Store, language: str, name: str) -> Tracked:
    try:
        settings = _flat(runs.run_config(store, name).finetune.to_dict())
    except NotFound:
        settings = {}
    return Tracked(id=f"{language}/{name}", settings=settings, points=_points(runs.curve(store, name)))


def _points(curve: Curve) -> tuple[Point, ...]:
    listed = []
    for point in curve:
        names = {"loss/train": "loss", "learning_rate": "learning_rate", "clips_per_s": "clips_per_s"}
        if not isinstance(point, TrainingPoint):
            names = {"loss/dev": "dev_loss", "dev/wer": "dev_wer", "dev/cer": "dev_cer"}
        values = {name: getattr(point, field) for name, field in names.items()}
        kept = {name: float(value) for name, value in values.items() if value is not None}
        listed.append(Point(step=point.step, values=kept))
    return tuple(listed)


def _version(model: Model) -> Tracked:
    info = model.info
    settings: dict[str, Setting] = {"model_class": str(info.get("model_class") or "")}
    chosen = info.get("parameters")
    settings |= _flat(chosen if isinstance(chosen, Mapping) else {})
    lineage = info.get("lineage")
    if isinstance(lineage, Mapping) and lineage.get("data_commit") is not None:
        settings["data_commit"] = str(lineage["data_commit"])
    values = {f"cross-validation/{name}": float(value) for name, value in model.metrics.items()}
    points = (Point(step=model.version, values=values),) if values else ()
    return Tracked(id=f"{model.name}/version-{model.version}", settings=settings, points=points)


def _flat(settings: Mapping[str, Any]) -> dict[str, Setting]:
    """Settings as plain values; of folders and addresses their last part, what is unset left out."""
    flat: dict[str, Setting] = {}
    for name, value in settings.items():
        if value is None:
            continue
        if isinstance(value, bool | int | float):
            flat[name] = value
        else:
            flat[name] = last_part(value) if name in PLACES else str(value)[:200]
    return flat
