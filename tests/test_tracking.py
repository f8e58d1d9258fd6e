"""Trainings for TensorBoard: each point is read back by its own reader, once, however often it is written."""

import dataclasses

import pytest
from speech_site import EARLIER_RUN, RUN, add_point, spoken_store
from ui_site import filled_store, own_copy

from dagsverk.commands import main
from dagsverk.speech import runs
from dagsverk.store import open_store
from dagsverk.tracking.event_files import FILE, export, write
from dagsverk.tracking.gathering import Point, Tracked, trainings

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read_back(folder):
    """(tag, step) -> value, as TensorBoard itself reads a training's folder."""
    events = accumulator.EventAccumulator(str(folder), size_guidance={accumulator.SCALARS: 0}).Reload()
    return [
        (tag, event.step, event.value) for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
    ]


def test_every_point_of_every_run_is_read_back(tmp_path):
    store = open_store(str(spoken_store()))
    done = export(store, tmp_path)
    assert (done.trainings, done.new, done.unreadable) == (2, 2, [])
    for run in (RUN, EARLIER_RUN):
        values = {(tag, step): value for tag, step, value in read_back(tmp_path / "swedish" / run)}
        for point in runs.curve(store, run):
            if isinstance(point, runs.TrainingPoint):
                assert values["loss/train", point.step] == pytest.approx(point.loss)
                assert values["learning_rate", point.step] == pytest.approx(point.learning_rate)
            else:
                assert values["dev/wer", point.step] == pytest.approx(point.dev_wer)


def test_an_export_that_is_repeated_writes_nothing_and_one_that_goes_on_only_what_is_new(tmp_path):
    folder = own_copy(spoken_store(), tmp_path)
    store, target = open_store(str(folder)), tmp_path / "board"
    target.mkdir()
    export(store, target)
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.dagsverk")}
    assert export(store, target).new == 0
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.dagsverk")} == before
    add_point(str(folder), 0.5)
    assert export(store, target).points == 1
    values = read_back(target / "swedish" / RUN)
    assert len(values) == len({(tag, step) for tag, step, _ in values})  # none is there twice


def test_what_a_killed_export_left_is_no_point(tmp_path):
    training = next(trainings(open_store(str(spoken_store())), []))
    room = tmp_path / ".dagsverk-x"
    room.mkdir()
    (room / "events.out.tfevents.1.host.1.0").write_bytes(b"half")
    assert write(training, tmp_path) == len(training.points)
    assert write(training, tmp_path) is None


def test_a_run_that_was_made_anew_replaces_the_one_of_its_name(tmp_path):
    training = Tracked(
        id="swedish/sv-0123456789abcdef", settings={"seed": 1}, points=(Point(step=1, values={"x": 1.0}),)
    )
    write(training, tmp_path)
    other = dataclasses.replace(training, points=(Point(step=2, values={"x": 2.0}),))
    assert write(other, tmp_path) == 1
    assert read_back(tmp_path / training.id) == [("x", 2, 2.0)]


def test_versions_of_tables_come_with_their_scores_and_settings(tmp_path):
    store = open_store(str(filled_store()))
    export(store, tmp_path)
    values = {tag: value for tag, _, value in read_back(tmp_path / "titanic" / "version-1")}
    model = store.model("titanic", 1)
    assert values == {f"cross-validation/{n}": pytest.approx(v) for n, v in model.metrics.items()}
    (file,) = (tmp_path / "titanic" / "version-1").iterdir()
    assert FILE.fullmatch(file.name)
    assert b"model_class" in file.read_bytes()


def test_a_damaged_run_is_named_and_the_others_are_written(tmp_path):
    folder = own_copy(spoken_store(), tmp_path)
    store = open_store(str(folder))
    store.put(f"{runs.run_folder(EARLIER_RUN)}/curve.json", b"{", overwrite=True)
    done = export(store, tmp_path)
    assert done.new == 1
    assert EARLIER_RUN in done.unreadable[0]


def test_the_command_says_what_it_wrote(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DAGSVERK_STORE", str(filled_store()))
    assert main(["export-runs", "tensorboard", str(tmp_path / "board")]) == 0
    assert "of 2 trainings written" in capsys.readouterr().out
    assert main(["export-runs", "tensorboard", str(tmp_path / "board")]) == 0
    assert "nothing new" in capsys.readouterr().out
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "nowhere"))
    assert main(["export-runs", "tensorboard", str(tmp_path / "board")]) == 1
