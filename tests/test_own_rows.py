"""Rows of one's own: with a time or without, with their outcome now or later; no facts overwrite them."""

from dataclasses import replace

import pandas as pd
import pytest

from dagsverk.store import open_store
from dagsverk.tabular import monitoring
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.errors import SourceError
from dagsverk.tabular.summary import day_summary
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table
from tasks import tabular as tasks

IRIS = load_system("iris")
LDA = TrainingConfig(model_classes=("lda",), folds=2, repeats=1, calibration="never")
FLOWER = dict.fromkeys(IRIS.inputs, 3.0)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    return open_store()


@pytest.fixture
def champion(store):
    rows = tasks.ingest.fn("iris")
    scores = [tasks.cross_validate.fn("iris", rows, "lda", LDA)]
    tasks.register_best.fn("iris", rows, scores, LDA)
    return store.champion("iris")


def sent(tmp_path, *flowers):
    """A file of these flowers, each over the measures of FLOWER."""
    path = tmp_path / "flowers.csv"
    columns = [IRIS.id_column, *IRIS.inputs, IRIS.label.name]
    rows = pd.DataFrame([{**FLOWER, **flower} for flower in flowers])
    rows.reindex(columns=[*columns, *rows.columns.difference(columns)]).to_csv(path, index=False)
    return str(path)


def row(store, name):
    rows = store.read(features_table(IRIS))
    return rows[rows["row_id"] == f"iris-{name}"].iloc[0]


def history(store):
    return monitoring.history(IRIS, store.read(features_table(IRIS)), store.read(predictions_table(IRIS)))


def test_a_row_without_an_outcome_is_predicted_now_and_judged_when_its_outcome_comes(
    store, champion, tmp_path
):
    before = pd.Timestamp.now("UTC")
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine"}))
    assert "1 row without an outcome yet" in day_summary(store, "iris")
    tasks.predict.fn("iris")
    (mine,) = history(store).to_dict("records")
    assert (mine["row_id"], mine["outcome"], mine["origin"]) == ("iris-mine", None, "historic")
    assert before <= mine["event_time"] <= pd.Timestamp.now("UTC")  # the day it came, not that of the facts
    assert tasks.monitor.fn("iris") == []
    assert "no outcome of a real row yet" in day_summary(store, "iris")

    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine", "species": mine["prediction"]}))
    tasks.predict.fn("iris")
    (judged,) = history(store).to_dict("records")
    assert (judged["event_time"], judged["correct"]) == (mine["event_time"], True)
    assert len(store.read(predictions_table(IRIS))) == 151
    tasks.monitor.fn("iris")
    assert "1.000 [0.207, 1.000] on 1 unseen real row" in day_summary(store, "iris")


def test_training_learns_from_rows_with_an_outcome_alone(store, champion, tmp_path):
    rows = tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine"}))
    scores = [tasks.cross_validate.fn("iris", rows, "lda", LDA)]
    assert (
        tasks.register_best.fn("iris", rows, scores, LDA).version == champion.version
    )  # nothing new to learn
    rows = tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine", "species": "setosa"}))
    scores = [tasks.cross_validate.fn("iris", rows, "lda", LDA)]
    assert tasks.register_best.fn("iris", rows, scores, LDA).version == champion.version + 1


def test_a_row_that_comes_again_without_its_outcome_keeps_it(store, tmp_path):
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine", "species": "setosa"}))
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine", "petal_width_cm": 1.5}))
    assert (row(store, "mine")["species"], row(store, "mine")["petal_width_cm"]) == ("setosa", 1.5)
    assert "1 row came without the outcome that is stored, which is kept" in day_summary(store, "iris")
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine", "species": "virginica"}))
    assert row(store, "mine")["species"] == "virginica"


@pytest.mark.parametrize("first", ["facts", "source"])
def test_what_a_source_brought_stands_whatever_day_without_a_source_comes_before_or_after(
    store, tmp_path, first
):
    source = sent(tmp_path, {"flower_id": "1", "petal_width_cm": 5.5, "species": "virginica"})
    order = (None, source, None, None) if first == "facts" else (source, None, None)
    for one in order:
        tasks.ingest.fn("iris", one)
    assert len(store.read(features_table(IRIS))) == 150
    assert (row(store, "1")["petal_width_cm"], row(store, "1")["species"]) == (5.5, "virginica")
    assert "1 row left as a source brought them" in day_summary(store, "iris")
    changed = store.commits(features_table(IRIS))
    tasks.ingest.fn("iris")
    assert store.commits(features_table(IRIS)) == changed
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "1", "petal_width_cm": 5.0, "species": "setosa"}))
    assert row(store, "1")["petal_width_cm"] == 5.0


def test_the_facts_give_no_outcome_to_a_row_of_a_source_that_has_none(store, tmp_path):
    """Its values may be another's: what was brought under that identity is not known to be the same."""
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "1"}))
    tasks.ingest.fn("iris")
    assert row(store, "1")["species"] is None
    assert len(store.read(features_table(IRIS))) == 150


@pytest.fixture
def timed(champion, monkeypatch):
    """Iris, each flower of whose sources has a time."""
    system = replace(IRIS, time_column="measured_at", time_zone="Europe/Stockholm")
    monkeypatch.setattr(tasks, "load_system", lambda _: system)
    return system


def test_a_row_with_a_time_is_of_that_time_and_its_outcome_finds_it_by_id_and_time(store, timed, tmp_path):
    mornings = [{"flower_id": "mine", "measured_at": day} for day in ("2026-01-31 08:00", "2026-02-01 08:00")]
    tasks.ingest.fn("iris", sent(tmp_path, *mornings))
    tasks.predict.fn("iris")
    past = history(store)
    assert past["event_time"].dt.strftime("%m-%d %H:%M").tolist() == ["01-31 07:00", "02-01 07:00"]
    outcome = past["prediction"].iloc[1]
    tasks.ingest.fn("iris", sent(tmp_path, {**mornings[1], "species": outcome}))
    assert history(store)["correct"].tolist() == [pd.NA, True]
    assert len(store.read(features_table(IRIS))) == 152


def test_a_later_row_of_one_that_was_learned_from_counts_as_unseen(store, timed, tmp_path):
    tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "1", "measured_at": "2026-01-31"}))
    tasks.predict.fn("iris")
    assert history(store)["row_id"].tolist() == ["iris-1"]


def test_a_source_without_the_times_that_the_system_states_is_refused_and_the_facts_are_not(
    store, timed, tmp_path
):
    with pytest.raises(SourceError, match=r"flowers.csv lacks the column measured_at, which says when each"):
        tasks.ingest.fn("iris", sent(tmp_path, {"flower_id": "mine"}))
    tasks.ingest.fn("iris")
    assert len(store.read(features_table(IRIS))) == 150


def test_a_table_without_ids_is_the_same_rows_as_the_facts_and_not_each_of_them_twice(store, tmp_path):
    facts = IRIS.read()
    bare = facts.drop(columns=IRIS.id_column).sample(frac=1, random_state=1)
    pd.concat([bare, bare.head(1)]).to_csv(tmp_path / "bare.csv", index=False)
    tasks.ingest.fn("iris")
    before = set(store.read(features_table(IRIS))["row_id"])
    for _ in range(2):
        tasks.ingest.fn("iris", str(tmp_path / "bare.csv"))
        rows = store.read(features_table(IRIS))
        assert len(rows) == 151
        assert before < set(rows["row_id"])


def test_a_row_without_an_id_never_takes_the_name_of_another(store, tmp_path):
    def bare(*widths):
        path = tmp_path / "bare.csv"
        pd.DataFrame([{**FLOWER, "petal_width_cm": width} for width in widths]).to_csv(path, index=False)
        return str(path)

    tasks.ingest.fn("iris", bare(3.0, 3.0))
    first, _ = sorted(store.read(features_table(IRIS))["row_id"])
    changed = {"flower_id": first.removeprefix("iris-"), "petal_width_cm": 1.0}
    tasks.ingest.fn("iris", sent(tmp_path, changed))  # the first is another flower now
    tasks.ingest.fn("iris", bare(3.0, 3.0, 3.0))
    rows = store.read(features_table(IRIS))
    assert len(rows) == 4
    assert sorted(rows["petal_width_cm"]) == [1.0, 3.0, 3.0, 3.0]
