"""Models in Hopsworks' registry: what others see of them, saves that fail half-way, and models of others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pyarrow as pa
import pytest
from emulator_process import Emulator
from hopsworks_project import emulator, project_url, sdk, wait_for_request

pytest.importorskip("dagsverk.store.hopsworks.store", reason="the extra hopsworks is not installed")
__all__ = ["emulator"]

from dagsverk.store import Conflict, Model, NotFound, Store, StoreError, Table, Unavailable, open_store
from dagsverk.store.hopsworks import models
from dagsverk.store.hopsworks.hopsfs import HopsFS

TABLE = Table(
    "rows",
    1,
    pa.schema([("id", pa.string()), ("ts", pa.timestamp("us")), ("x", pa.float64()), ("y", pa.bool_())]),
    ("id",),
    "ts",
)
LINEAGE = {"lineage": {"table": "rows", "table_version": 1, "label": "y"}}


@pytest.fixture
def store() -> Store:
    return open_store(project_url())


def save(store: Store, tmp_path: Path, content: str = "1", **more: Any) -> Model:
    folder = tmp_path / f"model-{content}"
    (folder / "inner").mkdir(parents=True, exist_ok=True)
    (folder / "a.bin").write_text(content)
    (folder / "inner" / "ä b.txt").write_text(content * 2)
    return store.save_model("m", folder, **{"metrics": {"loss": 0.25}, **more})


def named(store: Store) -> str:
    return f"{urlsplit(store.url).path.split('/')[-1]}__m"


def seen(store: Store) -> list[int]:
    """Versions that the registry shows to everybody."""
    return sorted(model.version for model in sdk().models.get_models(named(store)))


def folders(store: Store) -> list[str]:
    return [entry.name for entry in HopsFS(sdk()).entries(f"Models/{named(store)}")]


def foreign_model(store: Store, tmp_path: Path, version: int) -> Any:
    """A model of the same name that another program registers."""
    folder = tmp_path / f"foreign-{version}"
    folder.mkdir()
    (folder / "theirs.bin").write_bytes(b"theirs")
    model = sdk().models.python.create_model(named(store), version=version, metrics={"loss": 1.0})
    model._model_engine._poll_model_available = lambda model, _: model  # it would sleep for five seconds
    return model.save(str(folder), await_registration=60)


# ------------------------------------------------------------------ what others see


def test_another_program_sees_metrics_description_example_schema_files_and_our_record(
    store: Store, tmp_path: Path
) -> None:
    saved = save(
        store,
        tmp_path,
        description="the first",
        info={"run": "r1"},
        input_example={"x": 1.5},
        schema={"x": "double", "y": "boolean"},
    )
    theirs = sdk().models.get_model(named(store), saved.version)
    assert theirs.training_metrics == {"loss": 0.25}
    assert theirs.description == "the first"
    assert theirs.input_example == {"x": 1.5}
    columns = theirs.model_schema["input_schema"]["columnar_schema"]
    assert [(column["name"], column["type"]) for column in columns] == [("x", "double"), ("y", "boolean")]
    folder = Path(theirs.download(str(tmp_path / "theirs")))
    record = json.loads((folder / "dagsverk.json").read_text())
    assert record["info"] == {"run": "r1"} and record["files"] == saved.files
    assert (folder / "a.bin").read_text() == "1"


def test_a_model_of_a_table_has_a_feature_view_that_is_made_once_per_set_of_columns(
    store: Store, tmp_path: Path
) -> None:
    store.ensure(TABLE)
    schema = {"x": "double", "y": "boolean"}
    for content in ("1", "2"):
        save(store, tmp_path, content, info=LINEAGE, schema=schema)
    views = sdk().features.get_feature_views(named(store))
    assert [(view.version, [feature.name for feature in view.features]) for view in views] == [
        (1, ["x", "y"])
    ]
    assert views[0].labels == ["y"]
    save(store, tmp_path, "3", info=LINEAGE, schema={"id": "string", **schema})
    views = {view.version: view for view in sdk().features.get_feature_views(named(store))}
    assert sorted(views) == [1, 2]
    assert {feature.name for feature in views[2].features} == {"id", "x", "y"}


def test_a_feature_view_that_cannot_be_made_does_not_fail_the_save(
    store: Store, emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.ensure(TABLE)
    emulator.fault("POST", "/featureview", "status", code=400, times=None)
    assert save(store, tmp_path, info=LINEAGE, schema={"x": "double", "y": "boolean"}).version == 1
    assert "registered without a feature view" in caplog.text


def test_a_version_that_was_deleted_in_hopsworks_is_said_to_be_gone(store: Store, tmp_path: Path) -> None:
    model = save(store, tmp_path)
    sdk().models.get_model(named(store), 1).delete()
    with pytest.raises(NotFound, match=r"deleted in Hopsworks; train and promote another"):
        store.download(model, tmp_path / "out")
    assert save(store, tmp_path, "2").version == 2  # its number is not given again


# ------------------------------------------------------------------ saves that fail


@pytest.mark.parametrize("kind, code", [("status_after", 504), ("drop_after", 0), ("status", 500)])
def test_a_save_that_fails_at_its_registration_leaves_nothing_and_the_next_number_is_used(
    store: Store, emulator: Emulator, tmp_path: Path, kind: str, code: int
) -> None:
    emulator.fault("PUT", "modelregistries", kind, code=code)
    saved = save(store, tmp_path)
    assert saved.version == 2
    assert seen(store) == [2] and folders(store) == ["2"]
    assert [model.version for model in store.models("m")] == [2]
    assert store.download(saved, tmp_path / "out").joinpath("inner/ä b.txt").read_text() == "11"


def test_a_save_that_never_succeeds_leaves_nothing(store: Store, emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault("PUT", "modelregistries", "status_after", code=504, times=None)
    with pytest.raises(Unavailable, match="try again"):
        save(store, tmp_path)
    emulator.clear_faults()
    assert (seen(store), folders(store), store.models("m")) == ([], [], [])
    assert save(store, tmp_path).version == 4


@pytest.mark.parametrize("kind", ["status", "status_after", "drop", "drop_after"])
@pytest.mark.parametrize("step", [r"upload/.*Models", r"Models/.*action=create"])
def test_a_save_whose_uploads_fail_now_and_then_is_whole(
    store: Store, emulator: Emulator, tmp_path: Path, step: str, kind: str
) -> None:
    emulator.fault("POST", step, kind, code=503, times=2)
    saved = save(store, tmp_path)
    assert seen(store) == [saved.version] and folders(store) == [str(saved.version)]
    assert (store.download(saved, tmp_path / "out") / "a.bin").read_text() == "1"


def test_a_missing_right_is_told_as_such(store: Store, emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault("GET", r"dataset/Models$", "status", code=403, times=None)
    with pytest.raises(StoreError, match="cannot"):
        save(store, tmp_path)


def test_what_a_killed_save_leaves_is_removed_by_a_save_a_day_later(
    store: Store, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
from pathlib import Path
from dagsverk.store import open_store
Path({str(tmp_path)!r}, "half").mkdir()
Path({str(tmp_path)!r}, "half", "a.bin").write_bytes(b"half")
open_store({store.url!r}).save_model("m", Path({str(tmp_path)!r}, "half"), metrics={{}})
"""
    emulator.forget_requests()
    record = r"action=move.*versions/000001"
    emulator.fault("POST", record, "drop", times=None)
    process = subprocess.Popen([sys.executable, "-c", script])
    assert wait_for_request(emulator, record, lambda: process.poll() is None)
    process.kill()
    process.wait()
    emulator.clear_faults()
    assert store.models("m") == [] and seen(store) == [1]
    save(store, tmp_path)
    assert seen(store) == [1, 2]  # its writer may still be at it
    monkeypatch.setattr(models, "ABANDONED_S", -1.0)
    save(store, tmp_path, "2")
    assert seen(store) == [2, 3] and folders(store) == ["2", "3"]
    emulator.forget_requests()
    save(store, tmp_path, "3")
    assert not any(line.startswith("DELETE") for line in emulator.requests() if "Models" in line)  # only once


# ------------------------------------------------------------------ others at the same time


def test_two_processes_that_claim_the_same_number_get_one_each(
    store: Store, emulator: Emulator, tmp_path: Path
) -> None:
    script = f"""
from pathlib import Path
from dagsverk.store import open_store
Path({str(tmp_path)!r}, "b").mkdir()
Path({str(tmp_path)!r}, "b", "a.bin").write_bytes(b"b")
print(open_store({store.url!r}).save_model("m", Path({str(tmp_path)!r}, "b"), metrics={{}}).version)
"""
    emulator.barrier("POST", r"action=move.*claims/000001", parties=2)
    # Where the SDK removes the other's folder if both make the same one; it is left to one of ours
    emulator.barrier("POST", rf"Models/{named(store)}/1\?.*action=create", parties=2, timeout_s=1)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    mine = save(store, tmp_path).version
    theirs = int(process.communicate()[0])
    assert {mine, theirs} == {1, 2} == set(seen(store))
    for model in store.models("m"):
        folder = store.download(model, tmp_path / f"out-{model.version}")
        assert (folder / "a.bin").read_text() == ("1" if model.version == mine else "b")


def test_numbers_that_others_have_used_are_left_to_them(store: Store, tmp_path: Path) -> None:
    foreign_model(store, tmp_path, 1)
    assert save(store, tmp_path).version == 2
    assert [model.version for model in store.models("m")] == [2]
    assert seen(store) == [1, 2]


def test_a_model_that_somebody_registers_under_our_number_is_never_removed(
    store: Store, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.forget_requests()
    claim = r"action=move.*claims/000001"
    emulator.barrier("POST", claim, parties=2, timeout_s=60)
    saved: list[Model] = []
    saver = threading.Thread(target=lambda: saved.append(save(store, tmp_path)))
    saver.start()
    assert wait_for_request(emulator, claim, saver.is_alive)
    foreign_model(store, tmp_path, 1)
    emulator.clear_faults()  # the claim goes on
    saver.join(60)
    assert saved[0].version == 2 and seen(store) == [1, 2]
    monkeypatch.setattr(models, "ABANDONED_S", -1.0)
    save(store, tmp_path, "2")  # sweeps what claims have left
    assert seen(store) == [1, 2, 3]
    theirs = sdk().models.get_model(named(store), 1).download(str(tmp_path / "theirs"))
    assert (Path(theirs) / "theirs.bin").read_bytes() == b"theirs"


def test_a_version_of_another_store_does_not_replace_somebody_elses(store: Store, tmp_path: Path) -> None:
    source = open_store(str(tmp_path / "source"))
    model = save(source, tmp_path)
    foreign_model(store, tmp_path, 1)
    with pytest.raises(Conflict, match=r"somebody else's; use a prefix"):
        store.restore_model(model, tmp_path / "model-1")
    assert seen(store) == [1] and store.models("m") == []


def test_a_restore_that_was_killed_is_completed_by_the_next(
    store: Store, emulator: Emulator, tmp_path: Path
) -> None:
    source = open_store(str(tmp_path / "source"))
    save(source, tmp_path)
    model = save(source, tmp_path, "2")
    emulator.fault("POST", r"action=move.*versions/000002", "status", times=None)  # its record is not made
    with pytest.raises(Unavailable):
        store.restore_model(model, tmp_path / "model-2")
    emulator.clear_faults()
    assert seen(store) == [2] and store.models("m") == []
    store.restore_model(model, tmp_path / "model-2")
    assert store.models("m") == [model]
    assert pd.Timestamp(store.models("m")[0].created) == model.created
