"""Trainings for MLflow and Trackio: each run and each point once, however often they are sent."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest
from small_mlflow import running
from speech_site import EARLIER_RUN, RUN, add_point, spoken_store
from ui_site import own_copy

from dagsverk.commands import main
from dagsverk.speech import runs
from dagsverk.store import StoreError, open_store
from dagsverk.tracking import mlflow_runs
from dagsverk.tracking.gathering import Point, trainings


@pytest.fixture
def server():
    with running() as one:
        yield one


def points_of(store, run):
    """(step, measure) of each number that the store keeps of a run."""
    (training,) = (one for one in trainings(store, []) if one.id == f"swedish/{run}")
    return [(point.step, name) for point in training.points for name in point.values]


def test_every_run_is_there_once_with_its_points_and_settings(server):
    store = open_store(str(spoken_store()))
    for _ in range(2):
        done = mlflow_runs.export(store, server.address)
    assert (done.trainings, done.new, done.unreadable) == (2, 0, [])
    kept = {run["tags"]["dagsverk.training"]: run for run in server.runs.values()}
    assert len(server.runs) == 2
    for name in (RUN, EARLIER_RUN):
        run = kept[f"swedish/{name}"]
        assert sorted((step, key) for key, _, _, step in run["metrics"]) == sorted(points_of(store, name))
        assert (run["status"], run["params"]["model"]) == ("FINISHED", "nano")


def test_a_run_that_goes_on_gets_what_is_new_and_one_that_was_made_anew_replaces_the_old(server, tmp_path):
    folder = own_copy(spoken_store(), tmp_path)
    store = open_store(str(folder))
    mlflow_runs.export(store, server.address)
    add_point(str(folder), 0.5)
    assert mlflow_runs.export(store, server.address).points == 1
    assert len(server.runs) == 2
    store.put(f"{runs.run_folder(RUN)}/curve.json", b"[]", overwrite=True)
    assert mlflow_runs.export(store, server.address).new == 1
    assert (len(server.runs), len(server.alive())) == (3, 2)


def test_an_export_that_breaks_off_goes_on_and_doubles_nothing(server):
    store = open_store(str(spoken_store()))
    server.breaks_at = lambda route, asked: route == "runs/log-batch" and "tags" in asked
    with pytest.raises(StoreError, match="answers 404 to runs/log-batch: BAD_GATEWAY"):
        mlflow_runs.export(store, server.address)
    server.breaks_at = None
    assert mlflow_runs.export(store, server.address).new == 2
    assert len(server.runs) == 2
    numbers = [(key, step) for run in server.runs.values() for key, _, _, step in run["metrics"]]
    assert len(numbers) == len(points_of(store, RUN)) + len(points_of(store, EARLIER_RUN))


def test_of_two_exports_at_once_the_one_that_comes_second_takes_its_run_away(server):
    store = open_store(str(spoken_store()))
    training = next(trainings(store, []))
    with mlflow_runs._server(server.address) as one:
        first = mlflow_runs._create(one, "1", training)
        assert mlflow_runs._create(one, "1", training) is None
    assert [run["id"] for run in server.alive()] == [first]


def test_a_run_of_an_odd_name_is_named_and_the_others_are_sent(server, tmp_path):
    store = open_store(str(own_copy(spoken_store(), tmp_path)))
    curve = store.get(f"{runs.run_folder(RUN)}/curve.json")
    store.put("speech/swedish/runs/sv-' OR '1'='1/curve.json", curve, overwrite=True)
    done = mlflow_runs.export(store, server.address)
    assert done.new == 2
    assert "OR" in done.unreadable[0]


def test_numbers_that_json_has_not_are_left_out():
    point = Point(step=3, values={"loss": float("inf"), "wer": 0.5, "cer": float("nan")})
    assert [one["key"] for one in mlflow_runs._metrics([point])] == ["wer"]


@pytest.mark.parametrize(
    "address, login, words",
    [
        ("board", "", "want the address of an MLflow server"),
        ("http://me:word@127.0.0.1:5000", "", "holds a user"),
        ("http://127.0.0.1:9", "", "no MLflow server answers"),
        ("http://mlflow.example.com", "secret1", "is not sent over http"),
    ],
)
def test_what_is_no_server_is_refused_with_what_to_do(address, login, words, monkeypatch, capsys):
    monkeypatch.setenv("DAGSVERK_STORE", str(spoken_store()))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", login)
    assert main(["export-runs", "mlflow", address]) == 1
    printed = capsys.readouterr().err
    assert words in printed and "secret1" not in printed and "word@" not in printed


def test_without_trackio_the_command_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DAGSVERK_STORE", str(spoken_store()))
    monkeypatch.setattr("dagsverk.tracking.trackio_runs.find_spec", lambda _: None)
    assert main(["export-runs", "trackio", str(tmp_path)]) == 1
    assert "-e '.[trackio]'" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("trackio") is None, reason="the extra trackio is not installed")
def test_trackio_itself_reads_each_point_once(tmp_path):
    folder, board = own_copy(spoken_store(), tmp_path), tmp_path / "board"
    code = """
import json, sys
from dagsverk.store import open_store
from dagsverk.tracking import trackio_runs
from pathlib import Path
store, board = open_store(sys.argv[1]), Path(sys.argv[2])
new = [trackio_runs.export(store, board).points for _ in range(2)]
from trackio.sqlite_storage import SQLiteStorage
runs = SQLiteStorage.get_runs("dagsverk")
kept = {run: [row["step"] for row in SQLiteStorage.get_logs("dagsverk", run)] for run in runs}
print(json.dumps([new, kept]))
"""

    def exported():
        command = [sys.executable, "-c", code, str(folder), str(board)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    store = open_store(str(folder))
    every = {one.id: [point.step for point in one.points] for one in trainings(store, [])}
    (first, second), kept = exported()
    assert (first, second, kept) == (sum(map(len, every.values())), 0, every)
    add_point(str(folder), 0.5)
    assert exported()[0] == [1, 0]
    training = next(one for one in trainings(store, []) if one.id == f"swedish/{RUN}")
    store.put(f"{runs.run_folder(RUN)}/curve.json", b"[]", overwrite=True)
    assert training.id not in exported()[1]
