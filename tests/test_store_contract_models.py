"""What every store does with models and artefacts, whatever is behind it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from store_backends import BACKENDS

from dagsverk.store import Conflict, NotFound, SchemaError, Store, StoreError


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return BACKENDS[request.param](tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    (folder / "sub" / "card å.json").write_text("{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_model_comes_back_as_it_was_saved(store: Store, folder: Path, tmp_path: Path) -> None:
    info = {"base": "whisper", "columns": ["x"], "seed": 42}
    saved = store.save_model(
        "m",
        folder,
        metrics={"wer": np.float32(0.5)},
        description="d",
        info=info,
        input_example={"x": 1},
        schema={"x": "double"},
    )
    model = store.model("m", 1)
    assert model == saved and model.version == 1 and model.created.tzinfo is not None
    assert (model.metrics, model.description, model.info) == ({"wer": 0.5}, "d", info)
    assert (model.input_example, model.schema) == ({"x": 1}, {"x": "double"})
    assert set(model.files) == {"weights.bin", "sub/card å.json"}
    target = store.download(model, tmp_path / "a" / "b")
    assert contents(target) == contents(folder)
    assert contents(store.download(model, target)) == contents(folder)  # a retried task asks again


def test_a_download_does_not_overwrite_something_else(store: Store, folder: Path, tmp_path: Path) -> None:
    model = store.save_model("m", folder, metrics={})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    with pytest.raises(Conflict, match="something else"):
        store.download(model, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"diary.txt": b"dear diary"}


def test_saving_the_same_again_gives_the_same_version(store: Store, folder: Path) -> None:
    first = store.save_model("m", folder, metrics={"wer": 0.3})
    other = store.save_model("m", folder, metrics={"wer": 0.2})
    assert store.save_model("m", folder, metrics={"wer": 0.3}) == first
    (folder / "weights.bin").write_bytes(b"")
    changed = store.save_model("m", folder, metrics={"wer": 0.3})
    assert [first.version, other.version, changed.version] == [1, 2, 3]
    assert [model.version for model in store.models("m")] == [1, 2, 3]


def test_best_takes_the_newest_of_equals_among_those_that_have_the_metric(store: Store, folder: Path) -> None:
    for seed, metrics in enumerate(({"wer": 0.3}, {"wer": 0.2}, {"wer": 0.2}, {"other": 0.0})):
        store.save_model("m", folder, metrics=metrics, info={"seed": seed})
    assert store.best("m", "wer", "min").version == 3
    assert store.best("m", "wer", "max").version == 1
    with pytest.raises(NotFound, match="accuracy"):
        store.best("m", "accuracy", "max")
    with pytest.raises(SchemaError):
        store.best("m", "wer", "least")  # type: ignore[arg-type]


def test_unknown_models_are_none_or_not_found(store: Store, folder: Path) -> None:
    store.save_model("m", folder, metrics={})
    assert (
        store.models("absent") == [] and store.champion("absent") is None and store.champions("absent") == []
    )
    for name, version in (("m", 2), ("absent", 1)):
        with pytest.raises(NotFound, match=f"version {version} of model '{name}'"):
            store.model(name, version)
        with pytest.raises(NotFound):
            store.promote(name, version, reason="", expected=None)


@pytest.mark.parametrize(
    "metrics",
    [{"a-b": 1.0}, {"wer": float("nan")}, {"wer": float("inf")}, {"wer": "x"}, {"wer": True}, {"name": 1.0}],
    ids=str,
)
def test_metrics_that_a_registry_cannot_keep_are_refused(
    store: Store, folder: Path, metrics: dict[str, float]
) -> None:
    with pytest.raises(SchemaError):
        store.save_model("m", folder, metrics=metrics)
    assert store.models("m") == []


@pytest.mark.parametrize("name", ["", "a-b", "../m", "a/b", "x" * 65])
def test_illegal_model_names_are_refused(store: Store, folder: Path, name: str) -> None:
    with pytest.raises(SchemaError, match="illegal model name"):
        store.save_model(name, folder, metrics={})
    with pytest.raises(SchemaError, match="illegal model name"):
        store.models(name)


def test_what_is_no_model_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "absent", folder / "weights.bin"):
        with pytest.raises(SchemaError, match="cannot save"):
            store.save_model("m", path, metrics={})
    with pytest.raises(SchemaError, match="info"):
        store.save_model("m", folder, metrics={}, info={"model": object()})


def test_concurrent_saves_get_versions_of_their_own(store: Store, folder: Path) -> None:
    ready = threading.Barrier(4)

    def save(seed: int) -> int:
        ready.wait()
        return store.save_model("m", folder, metrics={"seed": seed % 3}).version

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(save, range(4)))  # two of them save the very same
    assert sorted(set(versions)) == [1, 2, 3] and versions[0] == versions[3]
    assert len(store.models("m")) == 3


def test_only_a_promotion_that_knows_the_champion_moves_it(store: Store, folder: Path) -> None:
    for seed in range(3):
        store.save_model("m", folder, metrics={}, info={"seed": seed})
    store.promote("m", 1, reason="first", expected=None)
    store.promote("m", 2, reason="better", expected=1)
    with pytest.raises(Conflict, match="version 2 is champion"):
        store.promote("m", 3, reason="late", expected=1)
    store.promote("m", 2, reason="again", expected=1)  # a retried task
    champion = store.champion("m")
    assert champion is not None and champion.version == 2
    assert [(p["version"], p["reason"]) for p in store.champions("m")] == [(1, "first"), (2, "better")]


def test_of_concurrent_promotions_one_wins(store: Store, folder: Path) -> None:
    for seed in range(4):
        store.save_model("m", folder, metrics={}, info={"seed": seed})
    ready = threading.Barrier(4)

    def promote(version: int) -> bool:
        ready.wait()
        try:
            store.promote("m", version, reason="", expected=None)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(promote, [1, 2, 3, 4])) == 1
    assert len(store.champions("m")) == 1


# ------------------------------------------------------------------ artefacts


def test_artefacts_are_kept_and_listed(store: Store) -> None:
    store.put("runs/a.png", b"\x89PNG")
    store.put("runs/b/c.json", b"{}")
    store.put("runs2/d", b"")
    assert store.get("runs/a.png") == b"\x89PNG" and store.get("runs2/d") == b""
    assert store.list("runs") == store.list("runs/") == ["runs/a.png", "runs/b/c.json"]
    assert store.list("") == ["runs/a.png", "runs/b/c.json", "runs2/d"]
    assert store.list("absent") == store.list("runs/a.png") == []
    with pytest.raises(NotFound, match="runs/none"):
        store.get("runs/none")


def test_an_artefact_is_replaced_only_on_purpose(store: Store) -> None:
    store.put("a", b"1")
    with pytest.raises(Conflict, match="overwrite"):
        store.put("a", b"2")
    assert store.get("a") == b"1"
    store.put("a", b"2", overwrite=True)
    assert store.get("a") == b"2"


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", ".tmp/x"]
)
def test_paths_that_leave_the_store_are_refused(store: Store, path: str) -> None:
    with pytest.raises(SchemaError, match="illegal path"):
        store.put(path, b"")
    with pytest.raises(SchemaError, match="illegal path"):
        store.get(path)


def test_all_errors_of_a_store_are_store_errors() -> None:
    assert all(issubclass(error, StoreError) for error in (NotFound, Conflict, SchemaError))
