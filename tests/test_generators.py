"""What every generator of rows promises, on the real tables and on small odd ones."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagsverk.tabular import generators
from dagsverk.tabular.cart import decimals, drawing_order, pools_of
from dagsverk.tabular.days import METHODS
from dagsverk.tabular.features import validate
from dagsverk.tabular.sources import read_source
from dagsverk.tabular.system import Column, System, load_system

BOTH = ("titanic", "iris")


@functools.cache
def facts(name: str) -> pd.DataFrame:
    system = load_system(name)
    return validate(system, read_source(system), pd.Timestamp("2026-01-01", tz="UTC")).rows


@functools.cache
def drawn(name: str, method: str) -> pd.DataFrame:
    generator = generators.fit(load_system(name), facts(name), method)
    return generator.draw(np.random.default_rng(0), 4000)


def small_system() -> System:
    columns = (
        Column(name="colour", description="", kind="category", categories=("red", "green"), required=False),
        Column(name="wheels", description="", kind="integer", minimum=0, maximum=8, required=False),
        Column(name="weight", description="", kind="number", minimum=0.5, maximum=9, required=False),
    )
    label = Column(name="kind", description="", kind="category", categories=("car", "bike", "boat"))
    return dataclasses.replace(load_system("iris"), name="small", columns=columns, label=label)


def small_rows(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    kind = np.where(np.arange(n) % 3 == 0, "bike", "car")
    return pd.DataFrame(
        {
            "colour": rng.choice(np.array(["red", "green", None], dtype=object), n),
            "wheels": np.where(kind == "car", 4.0, 2.0),
            "weight": np.round(rng.uniform(0.5, 9, n), 1),
            "kind": kind,
        }
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BOTH)
def test_equal_seeds_give_equal_rows_and_other_seeds_other_rows(name, method):
    system = load_system(name)
    first, again = (generators.fit(system, facts(name), method) for _ in range(2))
    rows = first.draw(np.random.default_rng(5), 300)
    pd.testing.assert_frame_equal(rows, again.draw(np.random.default_rng(5), 300))
    assert not rows.equals(first.draw(np.random.default_rng(6), 300))


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_real_rows_does_not_matter(method):
    system, rows = load_system("titanic"), facts("titanic")
    one, other = (generators.fit(system, r, method) for r in (rows, rows.sample(frac=1, random_state=3)))
    pd.testing.assert_frame_equal(*(g.draw(np.random.default_rng(5), 500) for g in (one, other)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BOTH)
def test_values_stay_within_limits_and_categories(name, method):
    system, rows = load_system(name), drawn(name, method)
    for column in (*system.columns, system.label):
        values = rows[column.name].dropna()
        if column.kind == "category":
            assert set(values) <= set(column.categories)
        else:
            real = facts(name)[column.name]
            assert values.between(real.min(), real.max()).all()
            assert column.kind == "number" or (values == values.round()).all()
        assert not column.required or rows[column.name].notna().all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", BOTH)
def test_numbers_are_written_with_no_more_decimals_than_the_real_ones(name, method):
    for column in load_system(name).columns:
        if column.kind == "number":
            real, new = facts(name)[column.name].dropna(), drawn(name, method)[column.name].dropna()
            assert decimals(new.to_numpy()).max() <= decimals(real.to_numpy()).max()


@pytest.mark.parametrize("method", METHODS)
def test_missing_shares_are_near_the_real_ones(method):
    real, new = facts("titanic"), drawn("titanic", method)
    expected = real["age"].isna().mean()
    sigma = np.sqrt(expected * (1 - expected) / len(new))
    assert abs(new["age"].isna().mean() - expected) < 4 * sigma
    assert new["embarked"].isna().mean() < 0.01


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("requested", [None, {"survived": 0.8, "died": 0.2}, {"died": 1.0}])
def test_label_shares_are_within_three_sigma_of_the_requested_ones(method, requested):
    generator = generators.fit(load_system("titanic"), facts("titanic"), method)
    rows = generator.draw(np.random.default_rng(11), 4000, requested)
    real = 0.5 if method == "columns" else 342 / 891
    share = real if requested is None else requested.get("survived", 0.0)
    assert abs((rows["survived"] == "survived").mean() - share) <= 3 * np.sqrt(share * (1 - share) / 4000)


@pytest.mark.parametrize("method", METHODS)
def test_the_real_rows_are_not_changed(method):
    rows = facts("titanic").copy(deep=True)
    before = rows.copy(deep=True)
    generators.fit(load_system("titanic"), rows, method).draw(np.random.default_rng(0), 10)
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize("method", METHODS)
def test_a_class_without_real_rows_is_never_drawn_and_cannot_be_requested(method):
    generator = generators.fit(small_system(), small_rows(), method)
    assert set(generator.draw(np.random.default_rng(0), 500)["kind"]) == {"car", "bike"}
    with pytest.raises(ValueError, match="no real small row is boat"):
        generator.draw(np.random.default_rng(0), 5, {"boat": 0.5, "car": 0.5})


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_a_single_row_can_be_drawn(method):
    rows = pd.concat([small_rows(), small_rows(1).assign(kind="boat", weight=3.25, wheels=0.0)])
    new = generators.fit(small_system(), rows, method).draw(np.random.default_rng(0), 200, {"boat": 1.0})
    assert (new["kind"] == "boat").all()
    if method in ("class_conditional", "shared_uniform", "fitted", "copula"):
        assert (new["weight"] == 3.25).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_column_stays_constant_and_an_empty_one_empty(method):
    rows = small_rows().assign(weight=2.5, colour=None)
    new = generators.fit(small_system(), rows, method).draw(np.random.default_rng(0), 200)
    assert (new["weight"] == 2.5).all()
    assert new["colour"].isna().all()


@pytest.mark.parametrize("method", METHODS)
def test_whole_numbers_with_gaps_keep_both(method):
    rows = small_rows().assign(wheels=[np.nan, 3.0, 4.0] * 20)
    new = generators.fit(small_system(), rows, method).draw(np.random.default_rng(0), 300)["wheels"]
    assert new.dtype == "Int64"
    assert set(new.dropna()) <= {3, 4}
    assert 0 < new.isna().sum() < 300


@settings(max_examples=25, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    weights=st.lists(st.one_of(st.none(), st.floats(0.5, 9)), min_size=1, max_size=30),
    seed=st.integers(0, 2**32),
)
def test_any_column_of_numbers_and_gaps_gives_numbers_and_gaps_within_its_range(method, weights, seed):
    rows = small_rows(len(weights)).assign(weight=pd.array(weights, dtype="Float64"))
    new = generators.fit(small_system(), rows, method).draw(np.random.default_rng(seed), 50)["weight"]
    present = [w for w in weights if w is not None]
    assert new.notna().any() <= bool(present)
    assert new.dropna().between(min(present, default=0), max(present, default=0)).all()


@pytest.mark.parametrize("method", ["cart", "shared_uniform"])
def test_columns_that_depend_on_each_other_still_do(method):
    new = generators.fit(small_system(), small_rows(), method).draw(np.random.default_rng(0), 500)
    assert ((new["wheels"] == 4) == (new["kind"] == "car")).all()


def test_only_columns_forgets_what_the_label_says():
    def women_among_survivors(rows: pd.DataFrame) -> float:
        return float((rows.loc[rows["survived"] == "survived", "sex"] == "female").mean())

    real = women_among_survivors(facts("titanic"))
    off = {m: abs(women_among_survivors(drawn("titanic", m)) - real) for m in METHODS}
    assert {m for m, distance in off.items() if distance > 0.1} == {"columns"}


def test_the_columns_of_titanic_are_drawn_in_the_published_order():
    system = load_system("titanic")
    codes = generators.encode(system, facts("titanic"))
    order = drawing_order(codes.values, [c.kind == "number" for c in system.columns])
    assert [system.inputs[i] for i in order] == ["sex", "pclass", "embarked", "sibsp", "parch", "fare", "age"]


@pytest.mark.parametrize(
    "uniform, between, expected",
    [
        (0.0, True, 1.0),  # never outside the pool
        (0.5, True, 2.0),  # the middle of 1, 2, 4.25
        (2 / 3, True, 3.0),  # halfway from 2 to 4.25 is 3.125: written like 2, without decimals
        (0.999, True, 4.25),
        (0.5, False, 2.0),
        (0.9, False, 4.25),
    ],
)
def test_quantiles_lie_between_neighbours_and_keep_their_decimals(uniform, between, expected):
    pools = pools_of(np.array([4.25, 1.0, 2.0, 7.0]), np.array([0, 0, 0, 1]), 2)
    assert pools.quantile(np.array([uniform]), np.array([0]), between=between).tolist() == [expected]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": None}, "no small row has a kind"),
        ({"kind": "train"}, r"kind: want one of .*got 'train'"),
        ({"colour": "blue"}, r"colour: want one of .*got 'blue'"),
        ({"weight": np.inf}, "weight: want finite numbers"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        generators.fit(small_system(), small_rows().assign(**changes), "cart")


def test_an_empty_cell_of_a_required_column_is_refused():
    with pytest.raises(ValueError, match="pclass is required, and empty in 891 rows"):
        generators.fit(load_system("titanic"), facts("titanic").assign(pclass=np.nan), "cart")


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no generator 'gan'; known: cart, copula"):
        generators.fit(small_system(), small_rows(), "gan")


@pytest.mark.parametrize(
    "shares", [{"car": 0.5}, {"car": 1.5, "bike": -0.5}, {"car": float("nan")}, {"tram": 1.0}]
)
def test_shares_that_are_no_distribution_over_known_classes_are_refused(shares):
    generator = generators.fit(small_system(), small_rows(), "copula")
    with pytest.raises(ValueError, match="label_shares"):
        generator.draw(np.random.default_rng(0), 5, shares)
