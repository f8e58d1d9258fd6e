"""What raises an alarm on the monitor, since when, and until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pandas as pd

from dagsverk.tabular.monitoring import report
from tests.support.flowers import DAY_1, IRIS, NOW, flowers, predicted, promised, quiet_month


def test_a_drifted_column_is_an_alert_that_names_it():
    features, predictions = quiet_month()
    late = features["row_id"].str.startswith("s")
    features.loc[late, "petal_length_cm"] += 3
    alerts = report(IRIS, features, predictions, promised(0.95), now=NOW, window_rows=60).alerts
    assert [(a.kind, a.key) for a in alerts] == [("drift", "drift:petal_length_cm")]
    assert alerts[0].since == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # the first of all
    assert alerts[0].noticed < dt.datetime(2026, 1, 20, tzinfo=dt.UTC)
    assert alerts[0].message.startswith(
        "Petal length has drifted in the last 60 rows: median from 4.25 to 7.38"
    )
    assert alerts[0].message.endswith("cm.")


def test_accuracy_below_the_promise_is_an_alert_since_the_day_it_began():
    features, predictions = quiet_month()
    predictions.loc[predictions.index[58:], "prediction"] = "virginica"  # the last ten days are wrong
    alerts = report(IRIS, features, predictions, promised(0.95), now=NOW, window_rows=20).alerts
    alert = next(a for a in alerts if a.kind == "accuracy")
    assert alert.since == dt.datetime(2026, 2, 28, tzinfo=dt.UTC)
    assert dt.datetime(2026, 3, 1, tzinfo=dt.UTC) < alert.noticed < dt.datetime(2026, 3, 8, tzinfo=dt.UTC)
    assert "0 % of the 10 outcomes since 2026-02-28 were predicted right, 95 % was promised" in alert.message
    assert "until a new champion is in use" in alert.advice


def test_what_an_older_champion_got_wrong_breaks_no_promise_of_the_new_one():
    features, predictions = quiet_month()
    predictions.loc[predictions.index[58:], "prediction"] = "virginica"
    alarms = [report(IRIS, features, predictions, promised(0.95, v), now=NOW).accuracy.alarm for v in (1, 2)]
    assert alarms == [True, None]


def named(classes: list[str], *, version: int = 1, shares: dict[str, float] | None = None):
    """The report of rows predicted so, none of which has an outcome yet."""
    later = flowers([None] * len(classes), start=pd.Timestamp(NOW.date()) - pd.Timedelta(days=len(classes)))
    rows = pd.concat([flowers(["setosa"] * 150, name="h", start=pd.Timestamp("1936-09-01")), later])
    shares = {"setosa": 0.6, "versicolor": 0.3, "virginica": 0.1} if shares is None else shares
    promise = replace(promised(0.95, version), predicted=shares)
    return report(IRIS, rows.reset_index(drop=True), predicted(later, classes), promise, now=NOW)


MIXED = ["setosa", "versicolor", "setosa", "setosa", "versicolor", "setosa", "virginica", "setosa"]


def test_a_model_that_begins_to_name_another_class_is_an_alert_before_any_outcome_is_known():
    made = named([*MIXED * 8, *["virginica"] * 12])
    (alert,) = [a for a in made.alerts if a.kind == "prediction"]
    assert alert.key == "prediction"
    assert abs((alert.since - (NOW - dt.timedelta(days=12))).days) <= 3
    assert "% in cross-validation" in alert.message
    assert "virginica in 9" in alert.message
    assert made.accuracy.alarm is None


def test_a_model_that_predicts_as_in_cross_validation_or_of_which_that_is_not_kept_raises_no_such_alert():
    for made in (
        named(MIXED * 10),
        named(["virginica"] * 60, shares={}),
        named(["virginica"] * 60, version=2),
    ):
        assert "prediction" not in {a.kind for a in made.alerts}


def test_predictions_that_are_as_before_again_end_their_alarm():
    made = named([*MIXED * 3, *["virginica"] * 12, *MIXED * 40])
    assert "prediction" not in {a.kind for a in made.alerts}
    assert [past.key for past in made.past_alarms if past.key == "prediction"] == ["prediction"]


def test_an_alarm_stays_on_later_days_and_is_kept_as_past_once_later_rows_outweigh_it():
    later = flowers(["setosa"] * 400, start=DAY_1)
    predictions = predicted(later, ["virginica" if 30 <= i < 40 else "setosa" for i in range(400)])
    rows = pd.concat([flowers(["setosa"] * 150, name="h", start=pd.Timestamp("1936-09-01")), later])

    def as_of(days: int) -> tuple[bool, int]:
        shown = report(IRIS, rows, predictions.head(days), promised(0.95), now=NOW)
        return any(a.kind == "accuracy" for a in shown.alerts), len(shown.past_alarms)

    seen = [as_of(days) for days in (30, 40, 41, 44, 400)]
    assert seen == [(False, 0), (True, 0), (True, 0), (True, 0), (False, 1)]


def test_a_report_does_not_depend_on_the_order_of_the_rows_or_on_a_second_look():
    features, predictions = quiet_month()
    predictions.loc[predictions.index[58:], "prediction"] = "virginica"
    mixed = features.sample(frac=1, random_state=1), predictions.sample(frac=1, random_state=2)
    twice = report(IRIS, *mixed, promised(0.95), now=NOW), report(IRIS, *mixed, promised(0.95), now=NOW)
    ordered = report(IRIS, features, predictions, promised(0.95), now=NOW)
    assert twice[0].to_dict() == twice[1].to_dict() == ordered.to_dict()


def test_outcomes_that_have_not_changed_are_compared_and_said_to_be_so():
    features, predictions = quiet_month()
    (label,) = [
        c for c in report(IRIS, features, predictions, promised(0.95), now=NOW).drift if c.column == "species"
    ]
    assert (label.n, label.verdict, label.since) == (68, "no drift seen", None)
