"""A learning curve: nested parts, points made once, a law that says when it cannot be trusted."""

import itertools

import numpy as np
import pytest
from fitted_models import system_and_rows

from dagsverk.learning_curve import fit_curve
from dagsverk.records import keep_report
from dagsverk.store import open_store
from dagsverk.suggesting import tabular as suggesting
from dagsverk.suggestions import gain_words
from dagsverk.tabular import learning_curve_points
from dagsverk.tabular.errors import UntrainableRows
from dagsverk.tabular.learning_curve import STEP, CurvePlan, TabularCurveConfig
from dagsverk.tabular.learning_curve_points import Measured, conclude
from dagsverk.tabular.learning_curve_words import curve_words

IRIS, FLOWERS = system_and_rows("iris")
QUICK = TabularCurveConfig(folds=3, repeats=1)
LDA = CurvePlan(model_class="lda", parameters={}, model_version=None)
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)


def quiet(words):
    pass


def measured(rows=FLOWERS, config=QUICK):
    return Measured(IRIS, rows, config, LDA)


def fitted(errors, noise=0.002, shares=SHARES, seed=0):
    errors, drawn = np.asarray(errors), np.random.default_rng(seed)
    replicates = errors + drawn.normal(0, noise, (1000, len(errors)))
    sizes = [800 * share for share in shares]
    return fit_curve(shares, sizes, replicates, errors=errors.tolist(), runs=[5] * len(errors), size_now=1000)


def test_a_smaller_part_of_the_rows_lies_in_every_larger_one_and_holds_every_outcome():
    made = measured()
    for fold in range(3):
        parts = [set(made.part(fold, share).tolist()) for share in SHARES]
        assert all(less < more for less, more in itertools.pairwise(parts))
        labels = made.rows["species"].iloc[sorted(parts[0])]
        assert labels.value_counts().min() >= 4  # of 100 rows an eighth is 13
        assert not parts[-1] & set(made.folds.splits[fold][1].tolist())


def test_rows_of_one_thing_stay_together():
    rows = FLOWERS.copy()
    rows["row_id"] = [f"flower {i // 3}" for i in range(len(rows))]
    made = measured(rows.drop_duplicates("row_id").loc[lambda r: r.index.repeat(3)].reset_index(drop=True))
    part = made.rows.iloc[made.part(0, 0.25)]
    assert (part["row_id"].value_counts() == 3).all()


@pytest.mark.parametrize("b, c", [(0.3, 0.05), (0.5, 0.1), (1.0, 0.05)])
def test_what_a_power_law_makes_is_foretold(b, c):
    law = lambda size: 0.5 * (size / 100) ** -b + c  # noqa: E731
    fit = fitted([law(800 * share) for share in SHARES], noise=0.0005)
    assert fit.trusted
    for forecast in fit.forecasts:
        true = law(1000) - law(forecast.size)
        assert forecast.gain_low <= true <= forecast.gain_high
        assert forecast.gain == pytest.approx(true, rel=0.15)


def test_a_flat_curve_is_seen_to_be_flat_and_no_gain_is_shown():
    fit = fitted([0.2, 0.2001, 0.1999, 0.2], noise=0.01)
    assert fit.flat and not fit.trusted
    assert fit.forecasts[0].gain_low <= 0 <= fit.forecasts[0].gain_high


def test_a_curve_that_rises_beyond_chance_is_not_trusted():
    fit = fitted([0.5, 0.3, 0.4, 0.2])
    assert not fit.trusted
    assert any("rises from 0.25" in doubt for doubt in fit.doubts)


def test_points_that_lie_on_no_power_law_are_not_trusted():
    assert any("no power law" in doubt for doubt in fitted([0.6, 0.59, 0.58, 0.1], noise=0.001).doubts)


def test_three_points_foretell_nothing():
    fit = fitted([0.5, 0.4, 0.3], shares=SHARES[1:])
    assert (fit.forecasts, fit.trusted) == ((), False)
    assert "3 points" in fit.doubts[0]


def test_a_point_is_measured_once_and_found_by_whoever_goes_on(tmp_path, monkeypatch):
    store, made = open_store(tmp_path.as_uri()), measured()
    points = [made.kept_point(store, share, quiet) for share in SHARES]
    monkeypatch.setattr(learning_curve_points.Measured, "point", None)
    assert [measured().kept_point(store, share, quiet) for share in SHARES] == points
    changed = FLOWERS.assign(sepal_length_cm=FLOWERS["sepal_length_cm"] + 1)
    assert measured(changed).path(0.5) != made.path(0.5), "other rows, other points: they never mix"


def test_the_report_becomes_a_suggestion_with_its_interval(tmp_path):
    store, made = open_store(tmp_path.as_uri()), measured()
    report = conclude(made, [made.point(share, quiet) for share in SHARES], 7)
    keep_report(store, "iris", STEP, report)
    (one,) = suggesting.more_rows(store, IRIS)
    assert (one.about, one.source) == ("data", "reports/iris/learning-curve.json")
    assert one.made_at and one.gain is not None
    assert "log-loss" in gain_words(one.gain)
    assert "Nothing was changed" in curve_words(report)


def test_a_part_without_an_outcome_is_set_aside_with_its_reason():
    few = FLOWERS.groupby("species", observed=True).head(14).reset_index(drop=True)
    made = measured(few, TabularCurveConfig(folds=2, repeats=1))
    points = [made.point(share, quiet) for share in SHARES]
    assert "too few of an outcome" in points[0].reason
    report = conclude(made, points, 1)
    assert set(report.set_aside) == {"0.125"}
    assert not report.fit.trusted


def test_twelve_rows_of_which_nothing_can_be_told_are_refused_with_the_reasons():
    few = FLOWERS.groupby("species", observed=True).head(4).reset_index(drop=True)
    made = measured(few, TabularCurveConfig(folds=4, repeats=1))
    with pytest.raises(
        UntrainableRows, match=r"wants two points, 12 rows give 1: 0\.125 of the rows: .*bring"
    ):
        conclude(made, [made.point(share, quiet) for share in SHARES], 1)


@pytest.mark.parametrize(
    "shares, words",
    [
        ((0.5,), "2 to 12 different"),
        ((0.5, 0.5, 1), "different"),
        ((0.25, 0.5), "must hold 1"),
        ((0.0, 1), "from 0.0010 to 1"),
        ((float("nan"), 1), "from 0.0010 to 1"),
        ((True, 1), "must be numbers"),
    ],
)
def test_shares_that_are_none_are_refused(shares, words):
    with pytest.raises(ValueError, match=words):
        TabularCurveConfig(shares=shares)
