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
from dagsverk.tabular.shift import Values, changes, watch_columns
from dagsverk.tabular.system import load_system
from dagsverk.tabular.watched import watch_table

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


def year(rows: pd.DataFrame, n: int, rng: np.random.Generator, days: int = 365) -> pd.DataFrame:
    """Rows as of `monitoring.history`: n a day, drawn from `rows` with replacement."""
    drawn = rows.iloc[rng.integers(0, len(rows), n * days)].reset_index(drop=True)
    times = pd.date_range("2026-01-01", periods=days, tz="UTC").repeat(n)
    return drawn.rename(columns={"survived": "outcome"}).assign(event_time=times, predicted_at=times)


@pytest.fixture(scope="module")
def labelled(passengers) -> pd.DataFrame:
    labels = TITANIC.read()["survived"].replace(dict(TITANIC.label.aliases))
    return passengers.assign(survived=labels.to_numpy())


def test_a_year_of_daily_looks_at_rows_like_the_reference_rarely_alarms(labelled):
    """Reference and new rows are drawn from the same passengers; the bound is 5 %."""
    alarmed = 0
    for seed in range(20):
        rng = np.random.default_rng([7, seed])
        reference = labelled.iloc[rng.integers(0, len(labelled), 891)]
        watched = watch_table(TITANIC, reference, year(labelled, 10, rng))
        alarmed += any(column.episodes for column in watched.columns.values())
    assert alarmed <= 2


@pytest.mark.parametrize(
    ("column", "change", "within_days"),
    [
        ("age", lambda rows: rows["age"] + 10, 15),
        ("age", lambda rows: rows["age"] * 12, 5),  # months for years
        ("age", lambda rows: rows["age"].where(np.arange(len(rows)) % 2 == 0), 10),  # half of them missing
        ("fare", lambda _: 8.05, 5),  # a default that a form fills in
        ("sex", lambda _: "female", 6),
        ("outcome", lambda _: TITANIC.classes[1], 5),
    ],
)
def test_a_change_is_noticed_in_its_column_and_dated(labelled, column, change, within_days):
    rng = np.random.default_rng(3)
    rows = year(labelled, 10, rng, 200)
    late = rows["event_time"] >= pd.Timestamp("2026-04-11", tz="UTC")  # day 100
    rows.loc[late, column] = change(rows[late])
    watched = watch_table(TITANIC, labelled, rows).columns
    standing = {name for name, w in watched.items() if w.episodes}
    assert standing == {"survived" if column == "outcome" else column}
    episode = next(w for w in watched.values() if w.episodes).episodes[0]
    assert abs(episode.began - 100) <= 3
    assert 100 <= episode.noticed <= 100 + within_days
    assert episode.ended is None


def test_the_evidence_of_a_day_does_not_change_when_later_days_follow(labelled):
    rng = np.random.default_rng(4)
    rows = year(labelled, 5, rng, 60)
    rows.loc[150:, "age"] += 30
    part = watch_table(TITANIC, labelled, rows.head(200)).columns
    whole = watch_table(TITANIC, labelled, rows.sample(frac=1, random_state=1)).columns
    for name, watched in part.items():
        assert watched.evidence == pytest.approx(whole[name].evidence[:40], rel=1e-9)


def test_a_change_that_goes_away_ends_its_alarm(labelled):
    rng = np.random.default_rng(5)
    rows = year(labelled, 10, rng, 200)
    rows.loc[500:799, "age"] += 20  # days 50 to 79
    (episode,) = watch_table(TITANIC, labelled, rows).columns["age"].episodes
    assert 50 <= episode.noticed < 60
    assert 80 <= episode.ended < 120


def test_few_reference_rows_prove_little():
    daily = np.tile([2.0, 8.0], (10, 1))
    standing = [
        watch_columns([Values(reference=np.array([n, n]), daily=daily, ordered=0)])[0].standing
        for n in (5.0, 500.0)
    ]
    assert standing[0] is None
    assert standing[1] is not None


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12), st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_stated_changes_are_shares_and_their_weights_sum_to_one(counts, ordered):
    reference = np.array(counts, dtype=float)
    values = Values(reference=reference, daily=np.zeros((1, len(counts))), ordered=min(ordered, len(counts)))
    ratios, weights = changes(values)
    before = (reference + 1) / (reference + 1).sum()
    after = np.exp(ratios) * before
    assert weights.sum() == pytest.approx(1)
    assert np.isfinite(ratios).all()
    assert (after > 0).all()


def test_no_first_day_of_a_table_with_one_percent_positives_alarms():
    """Two of the day's ten rows are of the rare value."""
    rare = Values(reference=np.array([1980.0, 20.0, 0.0]), daily=np.array([[8.0, 2.0, 0.0]]), ordered=0)
    assert watch_columns([rare])[0].episodes == ()
