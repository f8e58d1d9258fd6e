"""A day from raw rows to predictions, on the embedded store, and again, and again after it was cut off."""

import datetime as dt
import itertools
import json

import pandas as pd
import pytest

from dagsverk.records import last_report
from dagsverk.store import NotFound, open_store
from dagsverk.tabular import monitoring, registration, training
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.days import SynthesisConfig
from dagsverk.tabular.errors import TooManyBadRows
from dagsverk.tabular.reports import Trained
from dagsverk.tabular.summary import day_summary
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table, rejects_table
from tasks import show
from tasks import tabular as tasks
from tasks.runs import day_of, days_between

DATE = dt.date(2026, 1, 31)
QUICK = TrainingConfig(model_classes=("knn", "lda"), folds=3, repeats=1)
IRIS, TITANIC = load_system("iris"), load_system("titanic")


@pytest.fixture(scope="module")
def remembered_results(tmp_path_factory):
    """Scores and qualities of one day: kept under what they depend on, so that every test may use them."""
    root = tmp_path_factory.mktemp("first") / "store"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSVERK_STORE", str(root))
        day()
    return root


@pytest.fixture
def store(tmp_path, monkeypatch, remembered_results):
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    store, earlier = open_store(), open_store(str(remembered_results))
    for path in earlier.list("quality") + earlier.list("scores"):
        store.put(path, earlier.get(path))
    return store


def train(system="iris", rows=None, config=QUICK):
    rows = rows or tasks.newest_rows.fn(system)
    scores = [tasks.cross_validate.fn(system, rows, name, config) for name in config.model_classes]
    return tasks.register_best.fn(system, rows, scores, config)


def day(system="iris", date=DATE, config=QUICK, count=10):
    rows = tasks.ingest.fn(system)
    train(system, rows, config)
    tasks.synthesize.fn(system, date, SynthesisConfig(count=count))
    tasks.predict.fn(system)
    return tasks.monitor.fn(system)


def state(store, system=IRIS):
    """Everything that a repeated day must leave alone."""
    tables = [store.read(table(system)) for table in (features_table, predictions_table, rejects_table)]
    return [t.to_json(date_format="iso") for t in tables] + [
        store.models(system.name),
        list(store.champions(system.name)),
    ]


@pytest.mark.slow
def test_a_day_ends_with_a_champion_and_every_row_predicted_once(store):
    day()
    features, predictions = store.read(features_table(IRIS)), store.read(predictions_table(IRIS))
    assert len(features) == 160
    assert store.champion("iris").version == 1
    assert predictions["row_id"].is_unique
    assert set(predictions["row_id"]) == set(features["row_id"])
    assert predictions["seen_in_training"].sum() == 150


def test_a_day_run_again_changes_nothing_and_says_so(store):
    day()
    before = state(store)
    day()
    assert state(store) == before
    summary = day_summary(store, "iris")
    assert "nothing new" in summary
    assert "0: the champion has predicted every row already" in summary


def test_a_day_with_synthesis_off_invents_nothing_and_does_all_the_rest(store):
    assert day(count=0) == []
    features, predictions = store.read(features_table(IRIS)), store.read(predictions_table(IRIS))
    assert len(features) == len(predictions) == 150
    assert set(features["origin"]) == {"historic"}
    summary = day_summary(store, "iris")
    assert "rows synthesised none for 2026-01-31: synthesis is off (count 0)" in summary
    assert "no outcome of a real row yet" in summary
    assert "invented rows" not in summary


STEPS = {
    "ingest": lambda: tasks.ingest.fn("iris"),
    "train": train,
    "synthesize": lambda: tasks.synthesize.fn("iris", DATE, SynthesisConfig()),
    "predict": lambda: tasks.predict.fn("iris"),
}


@pytest.mark.parametrize("done", range(1, len(STEPS) + 1))
def test_a_day_cut_off_after_any_step_ends_like_an_undisturbed_one(store, done):
    for step in itertools.islice(STEPS.values(), done):
        step()
    day()
    assert len(store.read(features_table(IRIS))) == len(store.read(predictions_table(IRIS))) == 160
    assert [m.version for m in store.models("iris")] == [1]
    assert len(store.champions("iris")) == 1


def test_a_model_that_was_saved_but_not_yet_promoted_is_promoted_by_the_next_run(store, monkeypatch):
    tasks.ingest.fn("iris")

    class CutOff(Exception):
        pass

    def cut_off(*_, **__):
        raise CutOff

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "promote", cut_off)
        with pytest.raises(CutOff):
            train()
    assert store.champion("iris") is None
    train()
    assert store.champion("iris").version == 1
    assert len(store.models("iris")) == 1


def test_the_next_day_adds_its_own_rows_and_keeps_the_champion(store):
    day(date=DATE)
    day(date=DATE + dt.timedelta(days=1))
    assert len(store.read(features_table(IRIS))) == 170
    assert [m.version for m in store.models("iris")] == [1]
    newest = store.latest(features_table(IRIS), 1)["row_id"].item()
    assert newest == "iris-2026-02-01-cart-s42-0000009"


def test_asking_for_more_rows_of_a_day_keeps_those_that_are_there(store):
    day(count=5)
    before = store.read(features_table(IRIS))
    day(count=12)
    after = store.read(features_table(IRIS))
    assert len(after) == len(before) + 7
    assert after[after["row_id"].isin(before["row_id"])].reset_index(drop=True).equals(before)


@pytest.mark.slow
def test_a_new_champion_predicts_every_row_and_history_counts_the_first_prediction(store):
    first = TrainingConfig(model_classes=("knn",), knn_k=2, folds=3, repeats=1)
    day(config=first)
    before = monitoring.history(IRIS, store.read(features_table(IRIS)), store.read(predictions_table(IRIS)))
    day(config=QUICK)
    assert store.champion("iris").version == 2
    predictions = store.read(predictions_table(IRIS))
    assert predictions.groupby("model_version")["row_id"].nunique().tolist() == [160, 160]
    after = monitoring.history(IRIS, store.read(features_table(IRIS)), predictions)
    assert after["model_version"].tolist() == before["model_version"].tolist() == [1] * 10


@pytest.mark.slow
def test_a_worse_candidate_is_kept_as_a_version_and_not_promoted(store):
    day(config=QUICK)
    day(config=TrainingConfig(model_classes=("knn",), knn_k=2, folds=3, repeats=1))
    assert [m.version for m in store.models("iris")] == [1, 2]
    assert store.champion("iris").version == 1
    assert "log-loss" in last_report(store, "iris", "training", Trained).reason


def write_titanic(tmp_path, change):
    rows = TITANIC.read()
    change(rows)
    path = tmp_path / "passengers.csv"
    rows.to_csv(path, index=False)
    return str(path)


def test_bad_rows_are_set_aside_and_the_rest_is_taken(store, tmp_path):
    def spoil(rows):
        rows.loc[[3, 5], "age"] = "-1"
        rows.loc[7, "sex"] = "?"

    tasks.ingest.fn("titanic", write_titanic(tmp_path, spoil))
    rejects = store.read(rejects_table(TITANIC))
    assert rejects[["line", "column", "value"]].to_numpy().tolist() == [
        [5, "age", "-1"],
        [7, "age", "-1"],
        [9, "sex", "?"],
    ]
    assert len(store.read(features_table(TITANIC))) == 888
    assert "891 from passengers.csv, 3 set aside" in day_summary(store, "titanic")


def test_a_bad_row_that_is_found_again_is_not_written_again(store, tmp_path):
    path = write_titanic(
        tmp_path, lambda rows: rows.__setitem__("age", rows["age"].mask(rows.index == 4, "-1"))
    )
    for _ in range(2):
        tasks.ingest.fn("titanic", path)
    assert [c.inserted for c in store.commits(rejects_table(TITANIC))] == [1]


def test_training_before_there_are_rows_says_how_to_read_some(store):
    with pytest.raises(NotFound, match="prefect deployment run day/iris"):
        tasks.newest_rows.fn("iris")


def test_more_bad_rows_than_the_stated_share_change_nothing_and_are_kept_with_their_reasons(store, tmp_path):
    tasks.ingest.fn("titanic")
    before = store.read(features_table(TITANIC))

    def spoil(rows):
        rows.loc[:99, "fare"] = "inf"
        rows.loc[100:, "age"] = "1"

    with pytest.raises(
        TooManyBadRows, match=r"100 of 891 rows of passengers.csv .* fare is not a finite number \(100\)"
    ):
        tasks.ingest.fn("titanic", write_titanic(tmp_path, spoil))
    assert store.read(features_table(TITANIC)).equals(before)
    assert store.read(rejects_table(TITANIC))["line"].nunique() == 100


def test_an_outcome_that_arrives_late_completes_its_row_and_counts_from_then_on(store, tmp_path):
    def unknown(rows):
        rows.loc[rows["passenger_id"].astype(int) > 881, "survived"] = None

    config = TrainingConfig(model_classes=("logistic",), folds=3, repeats=1)
    tasks.ingest.fn("titanic", write_titanic(tmp_path, unknown))
    train("titanic", config=config)
    tasks.predict.fn("titanic")
    predictions = store.read(predictions_table(TITANIC))
    assert (~predictions["seen_in_training"]).sum() == 10
    history = monitoring.history(TITANIC, store.read(features_table(TITANIC)), predictions)
    assert history["outcome"].notna().sum() == 0
    tasks.ingest.fn("titanic", write_titanic(tmp_path, lambda _: None))
    history = monitoring.history(TITANIC, store.read(features_table(TITANIC)), predictions)
    assert history["outcome"].notna().sum() == 10
    assert int(monitoring.confusion(TITANIC, history).to_numpy().sum()) == 10


def test_rows_that_vanish_from_a_source_are_kept_and_told(store, tmp_path):
    tasks.ingest.fn("titanic")
    tasks.ingest.fn(
        "titanic", write_titanic(tmp_path, lambda rows: rows.drop(index=rows.index[:50], inplace=True))
    )
    assert len(store.read(features_table(TITANIC))) == 891
    assert "50 known rows are not in this source (kept)" in day_summary(store, "titanic")


def test_the_first_flow_to_need_a_champion_says_how_to_get_one(store):
    tasks.ingest.fn("iris")
    with pytest.raises(NotFound, match="prefect deployment run day/iris"):
        tasks.predict.fn("iris")


def test_a_day_is_the_one_asked_for_and_never_in_the_future():
    today = dt.datetime.now(dt.UTC).date()
    assert day_of(DATE) == DATE
    assert day_of(None) == today
    with pytest.raises(ValueError, match="in the future"):
        day_of(today + dt.timedelta(days=1))


def test_a_range_of_days_runs_from_the_older_to_the_newer():
    assert [d.day for d in days_between(dt.date(2026, 1, 30), dt.date(2026, 2, 1))] == [30, 31, 1]
    with pytest.raises(ValueError, match="is after last"):
        days_between(dt.date(2026, 2, 1), dt.date(2026, 1, 30))


def test_alerts_of_the_monitor_are_returned_kept_and_told(store):
    day(count=60)
    assert sum(monitoring.promise_of(store.champion("iris")).predicted.values()) == pytest.approx(1)
    table = features_table(IRIS)
    rows = store.read(table)
    rows.loc[rows["origin"] == "synthetic", "species"] = rows["species"].map(
        {"setosa": "virginica", "versicolor": "setosa", "virginica": "versicolor"}
    )
    rows["origin"] = "historic"
    store.upsert(table, rows)
    alerts = tasks.monitor.fn("iris")
    assert any("Accuracy is below its promise" in message for message in alerts)
    assert all(message in day_summary(store, "iris") for message in alerts)


def test_an_alarm_is_one_event_when_it_begins_and_one_when_it_ends_however_often_one_looks(
    store, monkeypatch
):
    sent = []
    day(count=60)
    monkeypatch.setattr(show, "event", lambda name, _, facts: sent.append((name, facts["key"])))
    table = features_table(IRIS)
    rows = store.read(table)
    real = rows.assign(origin="historic")
    turned = {"setosa": "virginica", "versicolor": "setosa", "virginica": "versicolor"}
    wrong = real.assign(
        species=real["species"].where(rows["origin"] != "synthetic", real["species"].map(turned))
    )

    def looks(content, times=3):
        sent.clear()
        store.upsert(table, content)
        for _ in range(times):
            tasks.monitor.fn("iris")
        return sorted(sent)

    begun = looks(wrong)
    assert begun.count(("dagsverk.alert.accuracy", "accuracy")) == 1
    assert len(begun) == len(set(begun))  # one of each that stands
    assert looks(wrong) == []
    assert ("dagsverk.alert.ended", "accuracy") in (ended := looks(real))  # the outcomes were mistaken
    assert len(ended) == len(set(ended))
    assert looks(wrong).count(("dagsverk.alert.accuracy", "accuracy")) == 1  # another alarm


def test_predictions_are_stamped_with_the_time_in_utc(store):
    before = pd.Timestamp.now("UTC").tz_localize(None)
    day()
    made = store.read(predictions_table(IRIS))["predicted_at"]
    assert before <= made.min() <= made.max() <= pd.Timestamp.now("UTC").tz_localize(None)


def test_a_champion_that_cannot_take_part_does_not_block_its_successors(store):
    """Its rows are all gone: the candidate is judged without it, and the decision says so."""
    rows = tasks.ingest.fn("iris")
    lone = TrainingConfig(model_classes=("knn",), folds=3, repeats=1)
    train(rows=rows, config=lone)
    only = store.read(features_table(IRIS)).assign(row_id=lambda r: r["row_id"] + "-renamed")
    config = TrainingConfig(model_classes=("lda",), folds=3, repeats=1)
    scores = [training.score_class(IRIS, only, "lda", config)]
    lineage = {"table": rows.name, "data_commit": rows.commit}
    report = registration.register(store, IRIS, only, scores, config, lineage)
    assert report.new
    assert store.champion("iris").version == report.version == 2
    assert "the champion, version 1, could not be compared" in report.warnings[0]


def test_an_input_from_which_nothing_can_be_learned_stops_the_promotion(store):
    rows = IRIS.read().assign(petal_width_cm=1.0)
    (problem,) = registration.column_checks(IRIS, rows)
    assert "in 150 rows where petal_width_cm is 1.0 wherever it is known: mend the source" in problem


@pytest.mark.slow
def test_training_on_synthetic_rows_too_marks_them_as_seen_and_still_scores_real_rows_only(store, tmp_path):
    config = TrainingConfig(model_classes=("lda",), folds=3, repeats=1, origins=("historic", "synthetic"))
    day(config=config)
    day(date=DATE + dt.timedelta(days=1), config=config)
    second = store.models("iris")[-1]
    scores = json.loads((store.download(second, tmp_path / "second") / "scores.json").read_text())
    assert second.info["lineage"]["origins"] == ["historic", "synthetic"]
    assert (scores[0]["rows"], scores[0]["rows_known"]) == (150, 160)
    predictions = store.read(predictions_table(IRIS))
    newest = predictions[predictions["model_version"] == store.champion("iris").version]
    assert newest["seen_in_training"].sum() == (
        160 if store.champion("iris").version == second.version else 150
    )
