"""From stored predictions and outcomes to what the monitor shows."""

from __future__ import annotations

import datetime as dt
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.store import open_store
from dagsverk.tabular.monitoring import (
    Promise,
    accuracy_series,
    confusion,
    expected_accuracy,
    history,
    load,
    promise_of,
    report,
    watch_version,
)
from dagsverk.tabular.tables import features_table, predictions_table
from tests.support.flowers import DAY_1, IRIS, NOW, flowers, predicted, promised, quiet_month

EMPTY_FEATURES = features_table(IRIS).schema.empty_table().to_pandas()
EMPTY_PREDICTIONS = predictions_table(IRIS).schema.empty_table().to_pandas()


def test_predictions_meet_their_outcomes_by_row_and_time():
    rows = flowers(["setosa", "virginica", None])
    result = history(IRIS, rows, predicted(rows, "setosa").iloc[::-1])
    assert result["row_id"].tolist() == ["s0", "s1", "s2"]
    assert result["outcome"].tolist() == ["setosa", "virginica", None]
    assert result["correct"].tolist() == [True, False, pd.NA]
    assert result["petal_width_cm"].tolist() == rows["petal_width_cm"].tolist()
    assert str(result["event_time"].dt.tz) == "UTC"


def test_the_same_row_at_another_time_is_another_row():
    rows = pd.concat([flowers(["setosa"]), flowers(["virginica"], start=DAY_1 + pd.Timedelta(days=9))])
    assert history(IRIS, rows, predicted(rows, "setosa"))["correct"].tolist() == [True, False]


def test_a_late_outcome_counts_once_it_is_known():
    rows = flowers([None])
    predictions = predicted(rows, "setosa")
    assert report(IRIS, rows, predictions, promised(0.9), now=NOW).outcomes == 0
    assert report(IRIS, rows.assign(species="setosa"), predictions, promised(0.9), now=NOW).outcomes == 1


def test_rows_seen_in_training_do_not_count():
    rows = flowers(["setosa", "setosa"])
    result = history(IRIS, rows, predicted(rows, "setosa", seen_in_training=[True, False]))
    assert result["row_id"].tolist() == ["s1"]


def test_of_several_predictions_of_a_row_the_first_counts():
    rows = flowers(["setosa"])
    early, late = rows["event_time"] + pd.Timedelta(hours=1), rows["event_time"] + pd.Timedelta(hours=2)
    predictions = pd.concat(
        [
            predicted(rows, "virginica", version=1, predicted_at=late),
            predicted(rows, "setosa", version=3, predicted_at=early),
            predicted(rows, "versicolor", version=2, predicted_at=early),
            predicted(
                rows, "setosa", version=4, predicted_at=early - pd.Timedelta(hours=1), seen_in_training=True
            ),
        ]
    )
    result = history(IRIS, rows, predictions)
    assert result[["model_version", "prediction"]].to_numpy().tolist() == [[2, "versicolor"]]


def test_a_prediction_whose_row_is_gone_is_kept_and_does_not_drift():
    rows = flowers(["setosa"] * 30)
    result = history(IRIS, rows.iloc[:1], predicted(rows, "setosa"))
    assert len(result) == 30
    assert result["outcome"].notna().sum() == 1
    shown = report(
        IRIS,
        pd.concat([rows.iloc[:1], flowers(["setosa"] * 50, name="h")]),
        predicted(rows, "setosa"),
        None,
        now=NOW,
    )
    assert {c.n for c in shown.drift} == {1}


def test_times_with_and_without_a_zone_are_the_same_utc_times():
    rows = flowers(["setosa", "virginica"])
    zoned = rows.assign(event_time=rows["event_time"].dt.tz_localize("UTC").dt.as_unit("us"))
    pd.testing.assert_frame_equal(
        history(IRIS, zoned, predicted(rows, "setosa")), history(IRIS, rows, predicted(zoned, "setosa"))
    )


classes = st.sampled_from(IRIS.classes)
cases = st.lists(st.tuples(classes, st.one_of(st.none(), classes), st.booleans()), max_size=30)


@given(cases)
@settings(max_examples=30, deadline=None)
def test_the_confusion_matrix_always_sums_to_the_rows_with_outcomes(case):
    rows = flowers([outcome for _, outcome, _ in case])
    predictions = predicted(rows, [c for c, _, _ in case], seen_in_training=[seen for _, _, seen in case])
    past = history(IRIS, rows, predictions)
    table = confusion(IRIS, past)
    expected = [(p, o) for p, o, seen in case if o is not None and not seen]
    assert list(table.index) == list(table.columns) == list(IRIS.classes)
    assert table.to_numpy().sum() == past["outcome"].notna().sum() == len(expected)
    assert np.trace(table) == past["correct"].sum() == sum(p == o for p, o in expected)
    series = accuracy_series(past)
    assert series["n"].sum() == len(expected)
    assert (series["correct"] <= series["n"]).all()


def test_the_confusion_matrix_has_actual_rows_and_predicted_columns():
    rows = flowers(["setosa", "virginica", "virginica"])
    table = confusion(IRIS, history(IRIS, rows, predicted(rows, "setosa")))
    assert table.loc["virginica", "setosa"] == 2
    assert table.to_numpy().tolist() == [[1, 0, 0], [0, 0, 0], [2, 0, 0]]


def test_a_class_that_nobody_knows_is_refused_and_its_row_named():
    rows = flowers(["tulip"])
    with pytest.raises(ValueError, match=r"rows \['s0'\] have .* outside"):
        confusion(IRIS, history(IRIS, rows, predicted(rows, "setosa")))


def test_accuracy_is_counted_by_day_in_all_and_over_the_last_rows():
    day_1, day_2 = flowers(["setosa"] * 3), flowers(["setosa", "virginica"], start=pd.Timestamp("2026-01-05"))
    day_1 = day_1.assign(event_time=DAY_1 + pd.to_timedelta([1, 2, 23], unit="h"))
    day_2 = day_2.assign(row_id=["t0", "t1"], event_time=pd.Timestamp("2026-01-05 10:00"))
    rows = pd.concat([day_1, day_2, flowers([None], start=pd.Timestamp("2026-01-06")).assign(row_id="u")])
    predictions = predicted(rows, ["setosa", "setosa", "virginica", "setosa", "setosa", "setosa"])
    series = accuracy_series(history(IRIS, rows, predictions), window_rows=4)
    assert series["date"].dt.strftime("%m-%d").tolist() == ["01-01", "01-05"]
    assert series[["n", "correct"]].to_numpy().tolist() == [[3, 2], [2, 1]]
    assert series[["cumulative_n", "cumulative_correct"]].to_numpy().tolist() == [[3, 2], [5, 3]]
    assert series[["rolling_n", "rolling_correct"]].to_numpy().tolist() == [[3, 2], [4, 2]]
    assert series["accuracy"].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert ((series["low"] < series["accuracy"]) & (series["accuracy"] < series["high"])).all()


def test_expected_accuracy_is_of_rows_without_an_outcome_alone():
    rows = flowers([None, None, "virginica"])
    past = history(IRIS, rows, predicted(rows, "setosa", probability=[0.6, 0.9, 0.1]))
    expected = expected_accuracy(past, None)
    assert (expected.n, expected.calibration_known) == (2, False)
    assert expected.mean == pytest.approx(0.75)
    assert expected_accuracy(past, promised(0.9, 2)) is None  # another version's rows
    assert expected_accuracy(history(IRIS, EMPTY_FEATURES, EMPTY_PREDICTIONS), None) is None


@pytest.mark.parametrize(
    ("features", "predictions"),
    [
        (pd.DataFrame(), pd.DataFrame()),
        (EMPTY_FEATURES, EMPTY_PREDICTIONS),
        (flowers(["setosa"] * 20), EMPTY_PREDICTIONS),
        (EMPTY_FEATURES, predicted(flowers(["setosa"]), "setosa")),
        (flowers([None] * 3), predicted(flowers([None] * 3), "setosa")),
        (flowers(["setosa"] * 3), predicted(flowers(["setosa"] * 3), "setosa")),
        (flowers(["setosa"] * 3), predicted(flowers(["setosa"] * 3), "setosa", seen_in_training=True)),
    ],
)
def test_a_history_with_little_or_nothing_in_it_is_reported_without_a_warning(features, predictions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = report(IRIS, features, predictions, None, now=NOW)
        text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["predictions"] == result.predictions == len(result.last)
    assert {c.verdict for c in result.drift} == {"too few rows"}
    assert result.confusion.to_numpy().sum() == result.outcomes


def test_a_system_that_does_well_raises_no_alert():
    features, predictions = quiet_month()
    result = report(IRIS, features, predictions, promised(0.95), now=NOW)
    assert result.alerts == ()
    assert (result.predictions, result.outcomes, result.correct) == (68, 68, 68)
    assert result.accuracy.promised == 0.95
    assert result.last_predicted_at == dt.datetime(2026, 3, 9, 1, tzinfo=dt.UTC)


def test_invented_rows_count_in_no_accuracy_no_confusion_matrix_no_series_and_no_alarm():
    features, predictions = quiet_month()
    invented = flowers(["setosa"] * 90, origin="synthetic", start=pd.Timestamp("2025-12-01"), name="i")
    wrong = predicted(invented, "virginica")
    both = report(
        IRIS, pd.concat([features, invented]), pd.concat([predictions, wrong]), promised(0.95), now=NOW
    )
    alone = report(IRIS, features, predictions, promised(0.95), now=NOW)
    of_invented = both.to_dict().pop("invented")
    real = {name: value for name, value in both.to_dict().items() if name != "invented"}
    assert real == {name: value for name, value in alone.to_dict().items() if name != "invented"}
    assert (of_invented["predictions"], of_invented["outcomes"], of_invented["correct"]) == (90, 90, 0)
    assert {row["origin"] for row in of_invented["last"]} == {"synthetic"}
    assert of_invented["confusion"]["counts"][0][2] == 90


def test_where_only_invented_rows_were_predicted_there_is_no_accuracy_and_drift_says_of_what_it_is():
    invented = flowers(["setosa"] * 90, origin="synthetic", name="i").assign(petal_length_cm=9.0)
    rows = pd.concat([flowers(["setosa"] * 150, name="h", start=pd.Timestamp("1936-09-01")), invented])
    shown = report(
        IRIS, rows, predicted(invented, "virginica"), promised(0.95), now=NOW - dt.timedelta(days=1)
    )
    assert (shown.predictions, shown.outcomes, shown.accuracy.accuracy, shown.accuracy.alarm) == (
        0,
        0,
        None,
        None,
    )
    assert shown.expected_accuracy is None
    assert shown.drift_of_invented
    assert [alert.kind for alert in shown.alerts] == ["drift"]
    assert "has drifted in the last 90 invented rows" in shown.alerts[0].message


def test_the_last_predictions_are_shown_newest_first():
    result = report(IRIS, *quiet_month(), promised(0.95), now=NOW, last=3)
    assert result.last["row_id"].tolist() == ["s67", "s66", "s65"]


def test_predictions_that_stopped_are_an_alert_and_a_day_late_is_not():
    features, predictions = quiet_month()
    assert report(IRIS, features, predictions, promised(0.95), now=NOW + dt.timedelta(hours=12)).alerts == ()
    alerts = report(IRIS, features, predictions, promised(0.95), now=NOW + dt.timedelta(days=5)).alerts
    assert [a.kind for a in alerts] == ["stale"]
    assert alerts[0].message == "No prediction for 6 days; the newest is of 2026-03-09 01:00 UTC."


def test_the_report_is_json_with_nothing_that_json_cannot_say():
    features, predictions = quiet_month()
    features.loc[features.index[-1], "species"] = None
    content = json.loads(
        json.dumps(report(IRIS, features, predictions, promised(0.95), now=NOW).to_dict(), allow_nan=False)
    )
    assert content["last"][0]["outcome"] is None
    assert content["last"][0]["correct"] is None
    assert content["last"][0]["probabilities"] == [0.75, 0.25, 0.0]
    assert content["last"][1]["event_time"] == "2026-03-08T00:00:00+00:00"
    assert content["confusion"] == {
        "classes": list(IRIS.classes),
        "counts": [[67, 0, 0], [0, 0, 0], [0, 0, 0]],
    }
    assert content["drift"][0]["column"] == "sepal_length_cm"
    assert content["accuracy"]["n"] == 67


@pytest.mark.parametrize("wrong", [{"now": dt.datetime(2026, 1, 1)}, {"window_rows": 0}, {"last": 0}])  # noqa: DTZ001
def test_a_report_without_a_time_zone_or_without_rows_to_show_is_refused(wrong):
    with pytest.raises(ValueError, match="want a zoned now"):
        report(IRIS, EMPTY_FEATURES, EMPTY_PREDICTIONS, None, **({"now": NOW} | wrong))


def test_an_empty_store_is_reported_as_empty(tmp_path):
    store = open_store(str(tmp_path / "store"))
    features, predictions, champion = load(IRIS, store)
    assert (len(features), len(predictions), champion, promise_of(champion)) == (0, 0, None, None)
    assert report(IRIS, features, predictions, None, now=NOW).predictions == 0


def test_the_report_of_a_store_is_the_report_of_its_tables(tmp_path):
    store = open_store(str(tmp_path / "store"))
    features, predictions = quiet_month()
    predictions = predictions.assign(prediction=["setosa", "virginica"] * 34)
    for table, rows in ((features_table(IRIS), features), (predictions_table(IRIS), predictions)):
        store.ensure(table)
        store.upsert(table, rows)
    stored = load(IRIS, store)
    assert json.dumps(report(IRIS, stored[0], stored[1], promised(0.9), now=NOW).to_dict()) == json.dumps(
        report(IRIS, features, predictions, promised(0.9), now=NOW).to_dict()
    )


def test_the_watched_version_changes_with_every_table_and_with_the_champion(tmp_path):
    store = open_store(str(tmp_path / "store"))
    features, predictions = quiet_month()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "recipe.json").write_text("{}")
    seen = [watch_version(IRIS, store)]
    for table, rows in ((features_table(IRIS), features), (predictions_table(IRIS), predictions)):
        store.ensure(table)
        store.upsert(table, rows)
        seen.append(watch_version(IRIS, store))
    assert watch_version(IRIS, store) == seen[-1]
    model = store.save_model(IRIS.name, tmp_path / "model", metrics={"accuracy": 0.975})
    assert watch_version(IRIS, store) == seen[-1]
    store.promote(IRIS.name, model.version, reason="the first", expected=None)
    seen.append(watch_version(IRIS, store))
    assert len(set(seen)) == 4
    assert promise_of(load(IRIS, store)[2]) == Promise(accuracy=0.975, version=model.version)
