"""Rows that are one thing written down twice: told from rows that agree by chance, and kept in one fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fitted_models import system_and_rows

from dagsverk.records import keep_report, parse, plain
from dagsverk.store import open_store
from dagsverk.suggesting.tabular import rows_twice
from dagsverk.tabular.config import EvaluationConfig, TrainingConfig
from dagsverk.tabular.evaluation import cross_validate, holdout
from dagsverk.tabular.near_equal import twice, twins
from dagsverk.tabular.recipes import recipe
from dagsverk.tabular.reports import RowsTwice, Trained
from dagsverk.tabular.scores import Scores
from dagsverk.tabular.system import Column, System
from dagsverk.tabular.training import training_key

NAMES = tuple("abcdefgh")
PLACES = ("New York", "new  york", "Rome")
CONFIG = EvaluationConfig(folds=4, repeats=1)


def system() -> System:
    columns = tuple(Column(name=name, description=name, kind="number") for name in NAMES)
    place = Column(name="place", description="Place", kind="category", categories=PLACES)
    label = Column(name="state", description="State", kind="category", categories=("fine", "broken"))
    return replace(system_and_rows("iris")[0], name="made", columns=(*columns, place), label=label)


def rows(count: int = 200, seed: int = 0) -> pd.DataFrame:
    """All different; outcomes by lot."""
    chance = np.random.default_rng(seed)
    table = pd.DataFrame(chance.normal(10, 3, (count, len(NAMES))).round(4), columns=list(NAMES))
    places, states = chance.choice(["New York", "Rome"], count), chance.choice(["fine", "broken"], count)
    return _typed(table.assign(place=places, state=states, row_id=[f"r{i:03d}" for i in range(count)]))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        place=pd.Categorical(table["place"], categories=list(PLACES)),
        event_time=pd.Timestamp("2026-01-01", tz="UTC"),
    )


def again(table: pd.DataFrame, **changed: object) -> pd.DataFrame:
    """The table, and all its rows once more under other ids."""
    copies = table.assign(row_id=["x" + name for name in table["row_id"]], **changed)
    return _typed(pd.concat([table, copies], ignore_index=True))


CHANGES = {
    "nothing but the id": lambda _: {},
    "one number rounded": lambda t: {"c": t["c"].round(1)},
    "all numbers rounded": lambda t: {name: t[name].round(1) for name in NAMES},
    "case and spaces": lambda t: {"place": t["place"].astype(str).replace("New York", "new  york")},
    "another outcome": lambda t: {"state": np.where(t["state"] == "fine", "broken", "fine")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_row_that_is_written_down_again_is_told_and_no_other(change: str) -> None:
    table = rows(60)
    both = again(table.head(20), **CHANGES[change](table.head(20)))
    both = _typed(pd.concat([both, table.tail(40)], ignore_index=True))
    made = twins(system(), both, list(both["row_id"]))
    assert made.groups == tuple((place, place + 20) for place in range(20))
    about = twice(made, list(both["row_id"]), list(both["state"]))
    assert (about.rows, about.things) == (40, 20) and about.examples[0] == ("r000", "xr000")
    assert about.with_other_outcomes == (20 if change == "another outcome" else 0)
    assert "40 rows are 20 things written down several times" in about.words


def test_rows_that_agree_by_chance_are_counted_and_not_taken_for_one() -> None:
    for name, equal in (("titanic", 193), ("iris", 2)):
        described, table = system_and_rows(name)
        made = twins(described, table)
        assert (made.equal, made.groups) == (equal, ())
    chance = np.random.default_rng(1)
    few = rows().assign(**{name: chance.integers(0, 3, 200).astype(float) for name in NAMES})
    copied = few.assign(**dict.fromkeys(NAMES, few["a"]))  # eight columns that say the same
    assert twins(system(), few).groups == twins(system(), copied).groups == ()


def test_missing_values_and_tables_of_no_row_or_one_are_looked_at_like_others() -> None:
    table = rows(50)
    table.loc[:, ["a", "b"]] = np.nan
    assert len(twins(system(), again(table)).groups) == 50
    assert twins(system(), table.head(0)).groups == twins(system(), table.head(1)).groups == ()
    nothing = table.assign(**dict.fromkeys(NAMES, np.nan))
    assert twins(system(), nothing).groups == ()


def test_one_thing_is_not_learned_from_and_tested_at_once() -> None:
    both = again(rows())
    made = cross_validate(system(), both, recipe("xgboost"), CONFIG)
    assert made.metrics["accuracy"].mean < 0.65  # outcomes are by lot
    assert holdout(system(), both, recipe("xgboost"))["accuracy"] < 0.7
    assert made.twice is not None and (made.twice.rows, made.twice.things) == (400, 200)
    mixed = both.sample(frac=1.0, random_state=1)
    assert cross_validate(system(), mixed, recipe("lda"), CONFIG).folds_id == made.folds_id
    seen_apart = cross_validate(system(), again(rows(), a=rows(seed=1)["a"]), recipe("xgboost"), CONFIG)
    assert seen_apart.metrics["accuracy"].mean > 0.7  # as all were before: with another number
    assert parse(plain(made), Scores) == made


def test_folds_of_a_table_without_twins_are_as_they_were_and_so_is_its_training() -> None:
    table = rows()
    plainly = cross_validate(system(), table, recipe("lda"), CONFIG)
    assert plainly.twice == RowsTwice() and plainly.twice.words == ""
    keys = {training_key(system(), one, TrainingConfig()) for one in (table, table.sample(frac=1.0))}
    assert len(keys) == 1


def test_the_same_row_of_one_id_at_several_times_is_no_fault_of_the_source() -> None:
    table = rows(60)
    later = table.assign(event_time=pd.Timestamp("2026-02-01", tz="UTC"))
    both = pd.concat([table, later], ignore_index=True)
    made = cross_validate(system(), both, recipe("lda"), CONFIG)
    assert made.twice is not None and made.twice.rows == 0


def test_an_outcome_that_only_one_thing_has_is_scored_as_before() -> None:
    table = rows(60).assign(state="fine")
    both = again(table.head(1), state="broken")
    few = pd.concat([table, both.assign(row_id=["y1", "y2"], state="broken")], ignore_index=True)
    assert cross_validate(system(), _typed(few), recipe("lda"), CONFIG).folds == 2


def test_a_training_that_saw_rows_twice_suggests_a_look_at_the_source(tmp_path: Path) -> None:
    store, made = open_store(str(tmp_path)), system()
    trained = Trained(
        version=1, new=True, promoted=True, reason="", decision="", rule="", warnings=(), champion=1,
        compared=(), twice=RowsTwice(equal=4, rows=4, things=2, examples=(("a", "b"),)),
    )  # fmt: skip
    keep_report(store, made.name, "training", replace(trained, twice=RowsTwice(equal=4)))
    assert list(rows_twice(store, made)) == []
    keep_report(store, made.name, "training", trained)
    (one,) = rows_twice(store, made)
    assert one.about == "data" and one.gain is None and "(such as a and b)" in one.why
