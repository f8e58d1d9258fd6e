"""A small filled store, and a real server process on it, for the tests of the pages and the REST API."""

import atexit
import contextlib
import datetime as dt
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from dagsverk.store import open_store
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table, rejects_table
from tasks import tabular

ROOT = Path(__file__).resolve().parents[2]
MODEL_CLASSES = {"titanic": "xgboost", "iris": "lda"}
DAYS = (dt.date(2026, 3, 1), dt.date(2026, 3, 2))
MARKUP = "<img src=x onerror=\"window.hacked='stored'\">"


@functools.cache
def filled_store():
    """A folder with two days of both systems, one hostile rejected row and rows without outcomes."""
    folder = Path(tempfile.mkdtemp(prefix="dagsverk-pages-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with store_set_to(folder):
        for name, model_class in MODEL_CLASSES.items():
            config = TrainingConfig(model_classes=(model_class,), folds=3, repeats=1, calibration="never")
            rows = tabular.ingest.fn(name)
            scores = [tabular.cross_validate.fn(name, rows, model_class, config)]
            tabular.register_best.fn(name, rows, scores, config)
            for date in DAYS:
                new_day(folder, name, date)
    store, titanic = open_store(str(folder)), load_system("titanic")
    rejected = {"source": "extra.csv", "line": 7, "column": "age", "check": "a number", "value": MARKUP}
    store.upsert(
        rejects_table(titanic), pd.DataFrame([{**rejected, "found_at": pd.Timestamp("2026-03-02 04:00")}])
    )
    return folder


@contextlib.contextmanager
def store_set_to(folder):
    before = os.environ.get("DAGSVERK_STORE")
    os.environ["DAGSVERK_STORE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DAGSVERK_STORE"]
        else:
            os.environ["DAGSVERK_STORE"] = before


def new_day(folder, name, date, count=20):
    """Synthesise and predict one day's rows, without the generator's quality measurement."""
    from dagsverk.tabular.synthesis import rows_of_day

    system = load_system(name)
    store, table = open_store(str(folder)), features_table(system)
    known = store.read(table)
    real = known[known["origin"] == "historic"]
    settings = SynthesisConfig(count=count)
    for block in rows_of_day(system, real, date=date, method="cart", seed=settings.seed, count=count):
        store.upsert(table, block)
    with store_set_to(folder):
        tabular.predict.fn(name)


def add_prediction(folder, name, row_id, moment):
    """One more predicted row, its outcome not known yet."""
    system, store = load_system(name), open_store(str(folder))
    features, predictions = features_table(system), predictions_table(system)
    row = store.latest(features, 1).assign(row_id=row_id, event_time=moment, origin="historic")
    row[system.label.name] = None
    said = store.latest(predictions, 1)
    said = said.assign(row_id=row_id, event_time=moment, predicted_at=moment, seen_in_training=False)
    store.upsert(features, row)
    store.upsert(predictions, said)


def own_copy(folder, to):
    """A store of one's own, to write into."""
    return shutil.copytree(folder, to / "store")


@contextlib.contextmanager
def serving(folder, log, *more):
    """Address of `python -m ui` on the store, refreshing every second; ended on leaving."""
    with serving_process(folder, log, *more) as (address, _):
        yield address


@contextlib.contextmanager
def serving_process(folder, log, *more):
    """As `serving`, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "ui",
        "--port",
        str(port),
        "--store",
        str(folder),
        "--refresh-s",
        "1",
        *more,
    ]
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        try:
            announced = process.stdout.readline()  # comes when the pages can be opened, or with the end
            if "http://" not in announced:
                raise RuntimeError(f"the pages did not start:\n{log.read_text()[-3000:]}")
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.terminate()
            process.wait(timeout=20)
