"""Small days of every system on any store, and all that a store holds and shows after them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import hashlib
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub.constants  # noqa: F401  before the pages, whose import sets HF_HUB_OFFLINE
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from dagsverk.lineage import tracing
from dagsverk.speech.config import CorpusConfig, EvaluationConfig, FinetuneConfig, PrepareConfig
from dagsverk.speech.languages import language
from dagsverk.speech.summary import speech_summary
from dagsverk.store import Model, Store, open_store
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.summary import day_summary
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table, rejects_table
from tasks import speech, tabular
from ui.api import build_api
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

DATE = dt.date(2026, 1, 31)
TRAINING = TrainingConfig(model_classes=("lda", "xgboost"), folds=3, repeats=1)
CORPUS = CorpusConfig(train_clips=24, dev_clips=4, test_clips=6)
PREPARATION = PrepareConfig(shard_clips=12)
FINETUNE = FinetuneConfig(steps=4, evaluate_every=2, dev_clips=4)
EVALUATION = EvaluationConfig(worst=2, resamples=100)
ROWS = {
    "titanic": {"pclass": 1, "sex": "female", "age": 30.0, "sibsp": 0, "parch": 0, "fare": 80.0},
    "iris": {"sepal_length_cm": 5.1, "sepal_width_cm": 3.5, "petal_length_cm": 1.4, "petal_width_cm": 0.2},
}
SYSTEMS = tuple(ROWS)

# What differs between two runs of one day on one store too: moments, commits (which are moments), how long it
# took, and files that hold these; a model.skops names objects by where they lay in memory
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00|Z)?|\b1[78]\d{11}\b")
PASSING = re.compile(r".*_per_s|seconds|.*_at|at|created|data_commit|sha256|state\.json|.*\.skops")
# What the last attempt at a step did: nothing any more, where one before it was cut off after its write
NEWS = re.compile(r"inserted|updated|predicted|unseen|new|.*summary.*")
SPEED = re.compile(r"[\d.]+ clips/s|-dirty")  # a tree that is being worked on


def once(task: Callable[..., Any], *arguments: Any) -> Any:
    return task(*arguments)


def tabular_day(system: str, do: Callable[..., Any] = once) -> None:
    """The steps of the flow `day`. `do` calls a task with its arguments."""
    rows = do(tabular.ingest.fn, system)
    classes = TRAINING.model_classes
    scores = [do(tabular.cross_validate.fn, system, rows, name, TRAINING) for name in classes]
    do(tabular.register_best.fn, system, rows, scores, TRAINING)
    do(tabular.synthesize.fn, system, DATE, SynthesisConfig(count=10))
    do(tabular.predict.fn, system)
    do(tabular.monitor.fn, system)


def speech_day(do: Callable[..., Any] = once) -> None:
    """The steps of the flows of a speech day."""
    work = do(speech.list_clips.fn, "sv", CORPUS, PREPARATION)
    for numbers in work.groups:
        do(speech.prepare_shards.fn, numbers, work.set_id, "sv", CORPUS)
    do(speech.complete_shards.fn, "sv", work.set_id)
    checkpoint = do(speech.finetune.fn, "sv", work.set_id, FINETUNE)
    verdict = do(speech.score_checkpoint.fn, "sv", checkpoint, EVALUATION)
    do(speech.keep_worst_clips.fn, "sv", verdict, CORPUS)
    do(speech.register.fn, "sv", checkpoint, verdict)


@contextlib.contextmanager
def store_at(url: str, room: Path) -> Iterator[None]:
    """Tasks work on this store, with a cache of its own, as runs of one machine do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSVERK_STORE", url)
        patched.setenv("DAGSVERK_CACHE", str(room / "cache"))
        yield


def shown(systems: Sequence[str] = SYSTEMS) -> dict[str, Any]:
    """All of the store that DAGSVERK_STORE names."""
    return {
        "tables": tables(systems),
        "models": models(),
        "artefacts": artefacts(),
        "pages": pages(systems),
    }


def tables(systems: Sequence[str]) -> dict[str, pd.DataFrame]:
    store, found = open_store(), {}
    for system in map(load_system, systems):
        for table in (features_table(system), predictions_table(system), rejects_table(system)):
            found[table.name] = store.read(table).drop(columns=["predicted_at", "found_at"], errors="ignore")
    return found


def models() -> dict[str, object]:
    """Every version with its files, and the promotions."""
    store = open_store()
    return {
        name: [list(map(told, store.models(name))), store.champions(name)] for name in store.model_names()
    }


def told(model: Model) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as room:
        folder = open_store().download(model, Path(room) / "files")
        files = {path: content(path, (folder / path).read_bytes()) for path in sorted(model.files)}
    return dataclasses.asdict(model) | {"files": files}


def artefacts() -> dict[str, object]:
    store = open_store()
    return {path: content(path, store.get(path)) for path in store.list("")}


def pages(systems: Sequence[str]) -> dict[str, object]:
    """What the pages draw, and what REST answers."""
    desk, store = TabularDesk(), open_store()
    heard = SpeechDesk(desk.opened)
    client = TestClient(build_api(desk, heard))
    found: dict[str, object] = {"health": client.get("/healthz").json()}
    for name in systems:
        answer = client.post(f"/api/predict/{name}", json=ROWS[name], params={"effects": True})
        assert answer.status_code == 200, answer.text
        view = desk.view(load_system(name))
        found[f"predict {name}"] = answer.json()
        found[f"monitor {name}"] = client.get(f"/api/monitor/{name}").json()
        found[f"training {name}"] = [
            view.rows,
            view.card,
            view.card_problem,
            view.training,
            view.rows_set_aside,
        ]
        found[f"summary {name}"] = day_summary(store, name)
    shown = dataclasses.asdict(heard.view(language("sv")))
    for name in systems:  # on Hopsworks a number that a failed save had claimed is not used again
        row = store.read(features_table(load_system(name)))["row_id"].min()
        found[f"lineage of a row of {name}"] = chain(store, row)
    for name in store.model_names():
        found[f"lineage of a version of {name}"] = chain(store, f"{name} {store.models(name)[0].version}")
    found["speech"] = {
        name: what for name, what in shown.items() if name not in ("version", "champion", "models")
    }
    found["speech summary"] = speech_summary(store, language("sv"))
    return found


def without_news(found: object) -> object:
    """All but what the last attempt at a step did itself, and the summaries, which say that in words."""
    if dataclasses.is_dataclass(found):
        found = vars(found)
    if isinstance(found, Mapping):
        kept = (key for key in found if not NEWS.fullmatch(str(key)))
        return {key: without_news(found[key]) for key in kept}
    return list(map(without_news, found)) if isinstance(found, (list, tuple)) else found


def content(path: str, data: bytes) -> object:
    if path.endswith(".json"):
        return json.loads(data)
    if "/transcripts/" in path:  # their metadata say how fast it went
        return pd.read_parquet(io.BytesIO(data)).to_dict("list")
    return data.decode() if path.endswith(".md") else hashlib.sha256(data).hexdigest()


def differences(here: object, there: object, where: str = "") -> list[str]:
    """Where two things differ in more than what passes."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        if list(here) != list(there):
            return [f"{where}: {sorted(here)} and {sorted(there)}"]
        kept = [key for key in here if not PASSING.fullmatch(str(key))]
        return [line for key in kept for line in differences(here[key], there[key], f"{where} / {key}")]
    if isinstance(here, (list, tuple)) and isinstance(there, (list, tuple)) and len(here) == len(there):
        pairs = enumerate(zip(here, there, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where} / {i}")]
    if isinstance(here, str) and isinstance(there, str):
        here, there = (SPEED.sub("*", MOMENT.sub("*", text)) for text in (here, there))
    return [] if here == there else [f"{where}: {here!r} and {there!r}"]


def chain(store: Store, name: str) -> list[list[str]]:
    """The cards that the page of lineage shows for what is of that name, and for nothing else."""
    (ref,) = tracing.search(store, name)
    return [[card.title, str(card.ref)] for card in tracing.trace(store, ref).cards()]
