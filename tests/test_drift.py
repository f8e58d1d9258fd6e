"""Drift: which alarms are raised, which are not, and what is said below 14 rows."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dagsverk.tabular.drift import MIN_ROWS, bin_counts, drift, holm, homogeneity, ks, psi, value_counts
from dagsverk.tabular.system import load_system

TITANIC = load_system("titanic")


@pytest.fixture(scope="module")
def passengers() -> pd.DataFrame:
    """The 891 real rows, inputs only, in the types of the features table."""
    rows = TITANIC.read()
    return pd.DataFrame(
        {
            c.name: rows[c.name] if c.kind == "category" else pd.to_numeric(rows[c.name])
            for c in TITANIC.columns
        }
    )


def split(rows: pd.DataFrame, n: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two random disjoint parts, the second of n rows: no drift between them."""
    order = rng.permutation(len(rows))
    return rows.iloc[order[n:]], rows.iloc[order[:n]]


def uniform_rows(rows: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Each column even between its least and greatest value, as if nothing were known of the passengers."""
    drawn = {}
    for column in TITANIC.columns:
        if column.kind == "category":
            drawn[column.name] = rng.choice(column.categories, n)
        else:
            low, high = rows[column.name].min(), rows[column.name].max()
            whole = column.kind == "integer"
            drawn[column.name] = rng.integers(low, high + 1, n) if whole else rng.uniform(low, high, n)
    return pd.DataFrame(drawn)


def drifted(reference: pd.DataFrame, window: pd.DataFrame) -> list[str]:
    return [result.column for result in drift(TITANIC, reference, window) if result.drifted]


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 * .01; 2 * .03; then 1 * .04 may not be less than .06
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_multiplies_step_by_step_and_never_falls(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


@given(st.integers(MIN_ROWS, 300), st.integers(MIN_ROWS, 200), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_ks_agrees_with_scipy_where_nothing_is_missing(n, m, seed, ties):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(0.3, 1, size=m)
    if ties:
        a, b = np.round(a), np.round(b)
    peer = stats.ks_2samp(a, b, method="asymp")
    assert ks(a, b) == pytest.approx((peer.statistic, peer.pvalue), abs=1e-12)


def test_ks_counts_missing_values_as_one_value_below_all_numbers():
    numbers, holes = np.arange(20.0), np.full(20, np.nan)
    assert ks(numbers, holes)[0] == pytest.approx(1.0)
    assert ks(holes, holes) == pytest.approx((0.0, 1.0))
    assert ks(numbers, np.where(numbers < 5, np.nan, numbers))[0] == pytest.approx(0.25)


def test_common_values_are_compared_by_chi_square():
    counts = np.array([[30, 20, 10], [10, 20, 30]])
    peer = stats.chi2_contingency(counts, correction=False)
    assert homogeneity(counts) == ("chi-square", pytest.approx(peer.statistic), pytest.approx(peer.pvalue))


def test_rare_values_are_pooled_before_chi_square():
    spread = np.array([[100, 80, 3, 2, 1, 4], [50, 40, 2, 1, 3, 4]])
    pooled = np.array([[100, 80, 10], [50, 40, 10]])
    assert homogeneity(spread) == pytest.approx(homogeneity(pooled))


def test_two_groups_of_which_one_is_rare_are_compared_by_fishers_exact_test():
    test, _, p_value = homogeneity(np.array([[3, 1], [1, 3]]))  # the lady tasting tea
    assert (test, p_value) == ("fisher", pytest.approx(34 / 70))


@pytest.mark.parametrize("counts", [[[20], [14]], [[20, 0], [14, 0]]])
def test_a_constant_has_not_changed(counts):
    assert homogeneity(np.array(counts))[1:] == (0.0, 1.0)


def test_psi_is_zero_for_equal_shares_and_grows_with_the_change():
    assert psi(np.array([[10, 20], [10, 20]])) == pytest.approx(0)
    # shares 0.5, 0.5 and 0.25, 0.75 with half a row added: (10.5, 10.5) / 21 and (5.5, 15.5) / 21
    expected = (5.5 - 10.5) / 21 * np.log(5.5 / 10.5) + (15.5 - 10.5) / 21 * np.log(15.5 / 10.5)
    assert psi(np.array([[10, 10], [5, 15]])) == pytest.approx(expected)


def test_bins_are_tenths_of_the_reference_and_missing_ones_have_their_own():
    reference = np.append(np.arange(1.0, 101.0), [np.nan] * 7)
    counts = bin_counts(reference, np.array([0.0, 1000.0, np.nan]))
    assert counts.tolist() == [[10] * 10 + [7], [1] + [0] * 8 + [1, 1]]


def test_an_integer_and_the_same_number_with_a_gap_are_one_value():
    names, counts = value_counts(pd.Series([1, 2, 2]), pd.Series([2.0, np.nan]))
    assert dict(zip(names, counts.T.tolist(), strict=True)) == {"1": [1, 0], "2": [2, 1], "missing": [0, 1]}


@pytest.mark.parametrize(("reference_rows", "window_rows"), [(800, 13), (13, 800), (0, 0), (0, 90), (800, 0)])
def test_below_fourteen_rows_nothing_is_claimed(passengers, reference_rows, window_rows):
    results = drift(TITANIC, passengers.iloc[:reference_rows], passengers.iloc[:window_rows])
    assert [r.column for r in results] == list(TITANIC.inputs)
    assert {(r.verdict, r.drifted, r.p_value, r.p_holm) for r in results} == {
        ("too few rows", None, None, None)
    }


def test_fourteen_rows_are_enough_to_say_something(passengers):
    results = drift(TITANIC, passengers.iloc[14:], passengers.iloc[:14])
    assert all(r.drifted is not None and r.n == 14 and r.n_reference == 877 for r in results)


@pytest.mark.parametrize("n", [14, 90])
def test_at_most_eight_in_a_hundred_windows_without_drift_raise_an_alarm(passengers, n):
    rng = np.random.default_rng(n)
    alarms = [bool(drifted(*split(passengers, n, rng))) for _ in range(100)]
    assert np.mean(alarms) <= 0.08


def test_fourteen_uniform_rows_are_seen_in_ninety_five_of_a_hundred_windows(passengers):
    rng = np.random.default_rng(1)
    alarms = [bool(drifted(passengers, uniform_rows(passengers, 14, rng))) for _ in range(60)]
    assert np.mean(alarms) >= 0.95


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("age", lambda rows: rows.assign(age=rows["age"] + 15)),
        (
            "age",
            lambda rows: rows.assign(age=rows["age"].where(rows["sex"] == "female")),
        ),  # two thirds missing
        ("sex", lambda rows: rows.assign(sex="male")),
        ("pclass", lambda rows: rows.assign(pclass=1)),
        ("embarked", lambda rows: rows.assign(embarked="X")),  # a value never seen before
        ("embarked", lambda rows: rows.assign(embarked=None)),
        ("fare", lambda rows: rows.assign(fare=rows["fare"] * 3)),
    ],
)
def test_a_changed_column_is_named_and_no_other(passengers, column, change):
    reference, window = split(passengers, 90, np.random.default_rng(5))
    assert drifted(reference, window) == []
    assert drifted(reference, change(window)) == [column]


def test_the_change_is_told_in_the_words_of_the_system(passengers):
    reference, window = split(passengers, 90, np.random.default_rng(5))
    results = {r.column: r for r in drift(TITANIC, reference, window.assign(pclass=1, age=np.nan))}
    assert results["pclass"].change.startswith("share of first from")
    assert results["pclass"].change.endswith("to 100 %")
    assert results["age"].change.endswith("to 100 %")
    assert results["fare"].change.endswith("pounds")


def test_rows_without_an_input_column_are_refused_by_name(passengers):
    with pytest.raises(ValueError, match=r"no column \['age'\]"):
        drift(TITANIC, passengers, passengers.drop(columns="age"))


@pytest.mark.slow
def test_a_million_reference_rows_are_compared_too(passengers):
    many = pd.concat([passengers] * 1123, ignore_index=True)
    assert drifted(many, passengers.iloc[:90].assign(sex="male")) == ["sex"]


numbers = st.one_of(st.none(), st.integers(0, 3), st.floats(-1e9, 1e9), st.just(float("nan")))
sides = st.lists(
    st.tuples(numbers, st.sampled_from(["female", "male", None]), st.integers(1, 3)), max_size=40
)


@given(sides, sides, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_rows_give_probabilities_without_a_warning_in_any_order(left, right, random):
    def frame(rows):
        number, sex, pclass = zip(*rows, strict=True) if rows else ((), (), ())
        age = pd.Series(number, dtype=float)
        return pd.DataFrame(
            {
                "pclass": pclass,
                "sex": sex,
                "age": age,
                "sibsp": 0,
                "parch": age.round(),
                "fare": 1.0,
                "embarked": None,
            }
        )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = drift(TITANIC, frame(left), frame(right))
        random.shuffle(right)
        assert drift(TITANIC, frame(left), frame(right)) == results
    for result in results:
        if result.drifted is not None:
            assert 0 <= result.p_value <= result.p_holm <= 1
            assert result.psi >= 0
