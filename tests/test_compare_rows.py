"""Two models of a table compared: on which rows, by which tests, and what other people's tables may hold."""

import numpy as np
import pandas as pd
import pytest
from ui_site import filled_store, own_copy

from dagsverk.store import open_store
from dagsverk.tabular.brought import TWICE, UNKNOWN, read_predictions
from dagsverk.tabular.compared import CompareRowsConfig, TableContender, reports
from dagsverk.tabular.comparing import compare
from dagsverk.tabular.errors import SourceError, UntrainableRows
from dagsverk.tabular.row_tests import Judged, change, groups, mcnemar
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table

IRIS, TITANIC = load_system("iris"), load_system("titanic")
CONFIG = CompareRowsConfig(folds=3, repeats=1, resamples=400)
CLASSES = IRIS.classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return own_copy(filled_store(), tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def store(folder):
    return open_store(str(folder))


@pytest.fixture(scope="module")
def rows(store):
    table = store.read(features_table(IRIS))
    return table[table["origin"] == "historic"].reset_index(drop=True)


@pytest.fixture
def brought(tmp_path, rows):
    """Writes somebody's predictions, of which `spoil` makes what it wants, and reads them."""

    def made(spoil=lambda table: table, right=0.9):
        others = (1 - right) / (len(CLASSES) - 1)
        table = pd.DataFrame({"row_id": rows["row_id"]})
        for name in CLASSES:
            table[f"probability_{name}"] = np.where(rows[IRIS.label.name] == name, right, others)
        path = tmp_path / "theirs.csv"
        spoil(table).to_csv(path, index=False)
        return TableContender(kind="predictions", source=str(path), name="theirs")

    return made


def commit(store):
    return store.commits(features_table(IRIS))[-1].id


def test_a_version_against_itself_shows_no_difference(store):
    report = compare(store, IRIS, (TableContender(), TableContender()), CONFIG, commit(store))
    assert (report.outcome, report.changes["log_loss"].value, report.mcnemar_p) == (0, 0, 1.0)
    assert "say the same" in report.verdict
    assert "name another in second" in report.notes[0]
    assert report.first.rows_per_s > 0


def test_somebody_whose_predictions_are_far_better_is_called_so_either_way_round(store, brought):
    theirs = brought(right=0.999)
    one = compare(store, IRIS, (TableContender(), theirs), CONFIG, commit(store))
    other = compare(store, IRIS, (theirs, TableContender()), CONFIG, commit(store))
    assert (one.outcome, other.outcome) == (1, -1)
    assert one.changes["log_loss"].value == pytest.approx(-other.changes["log_loss"].value)
    assert any("not known here" in note for note in one.notes)
    assert any("or the outcome itself?" in note for note in one.notes)
    assert any("over rows alone" in note for note in one.notes)
    assert [made.key for made in reports(store, "iris")][:1]


def test_rows_that_a_version_has_learnt_are_no_unseen_rows(store):
    config = CompareRowsConfig(rows="unseen")
    with pytest.raises(UntrainableRows, match="0 were seen by neither in training"):
        compare(store, IRIS, (TableContender(), TableContender()), config, commit(store))


def test_classes_without_probabilities_are_compared_by_accuracy_alone(store, brought, rows):
    theirs = brought(lambda table: table[["row_id"]].assign(prediction=rows[IRIS.label.name]))
    report = compare(store, IRIS, (TableContender(), theirs), CONFIG, commit(store))
    assert (report.measure, set(report.changes)) == ("accuracy", {"accuracy"})
    assert report.second.log_loss is None
    assert any("no probabilities" in note for note in report.notes)


def spoilt(column, value, count):
    def spoil(table):
        table = table.astype(object)
        table.loc[: count - 1, column] = value
        return table

    return spoil


@pytest.mark.parametrize(
    "spoil, reason, count",
    [
        (spoilt(f"probability_{CLASSES[0]}", 0.7, 50), "probabilities that do not sum to 1", 50),
        (spoilt(f"probability_{CLASSES[0]}", -0.1, 2), "a probability below 0 or above 1", 2),
        (spoilt(f"probability_{CLASSES[0]}", 90, 2), "a probability below 0 or above 1", 2),
        (spoilt(f"probability_{CLASSES[1]}", "nan", 2), "a probability that is no number", 2),
        (spoilt(f"probability_{CLASSES[1]}", "", 2), "a probability that is no number", 2),
        (spoilt(f"probability_{CLASSES[1]}", "=cmd()", 2), "a probability that is no number", 2),
        (spoilt("row_id", "who?", 2), UNKNOWN, 2),
        (lambda table: pd.concat([table, table.head(3)]), TWICE, 6),
    ],
)
def test_rows_of_their_table_that_say_nothing_sure_are_set_aside_and_counted(
    brought, rows, spoil, reason, count
):
    read = read_predictions(IRIS, brought(spoil).source, list(rows["row_id"]))
    assert read.set_aside[reason] == count
    assert len(read.probabilities) >= len(rows) - count


def test_a_row_that_one_does_not_predict_is_counted_for_neither(store, brought):
    report = compare(store, IRIS, (TableContender(), brought(lambda t: t.iloc[:-20])), CONFIG, commit(store))
    assert report.left_out == {"not predicted by both": 20}
    assert report.over_folds == {}


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda t: t.drop(columns="row_id"), "names no rows"),
        (lambda t: t[["row_id"]].assign(outcome="setosa"), "has no predictions"),
        (lambda t: t.drop(columns=f"probability_{CLASSES[0]}"), "has no predictions"),
        (lambda t: t.head(0), "no row of theirs.csv can be used"),
        (lambda t: t.assign(row_id="x"), "no row of theirs.csv can be used"),
    ],
)
def test_a_table_that_cannot_be_matched_is_refused_with_what_is_wanted(brought, rows, spoil, words):
    with pytest.raises(SourceError, match=words):
        read_predictions(IRIS, brought(spoil).source, list(rows["row_id"]))


def test_their_table_may_have_other_names_separators_and_short_ids(tmp_path, rows):
    ids = rows["row_id"].str.removeprefix("iris-")
    shares = {name: np.where(rows[IRIS.label.name] == name, 0.8, 0.1) for name in CLASSES}
    table = pd.DataFrame({"ID": ids, **shares})
    table.to_csv(tmp_path / "a.csv", sep=";", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        read = read_predictions(IRIS, str(tmp_path / name), list(rows["row_id"]))
        assert len(read.probabilities) == len(rows)


@pytest.fixture
def theirs(tmp_path):
    """Writes a table of predictions of Titanic's rows titanic-1 to titanic-200, and reads it."""

    def read(header, *lines):
        (tmp_path / "theirs.csv").write_text("\n".join([header, *lines]))
        ids = [f"titanic-{number}" for number in range(1, 201)]
        return read_predictions(TITANIC, str(tmp_path / "theirs.csv"), ids)

    return read


def test_of_two_classes_the_probability_of_one_is_enough(theirs):
    for name in ("probability_survived", "p_1", "Probability_1"):
        read = theirs(f"PassengerId,prediction,{name}", "1,died,0.25", "2,died,2", "3,died,?")
        assert not read.labels_only
        assert list(read.probabilities["titanic-1"]) == [0.75, 0.25]
        assert sorted(read.set_aside) == [
            "a probability below 0 or above 1", "a probability that is no number",
        ]  # fmt: skip


def test_a_column_with_the_name_of_a_class_alone_holds_labels(theirs):
    read = theirs("PassengerId,Survived", "1,1", "2,0")
    assert read.labels_only and list(read.probabilities["titanic-2"]) == [1.0, 0.0]


def test_whole_numbers_may_be_written_with_a_point_and_lines_may_end_with_a_separator(theirs):
    read = theirs("PassengerId,prediction,", "1.0,1.0,", "2.0,0.0,", "3,,")
    assert list(read.probabilities["titanic-1"]) == [0.0, 1.0]
    assert (len(read.probabilities), read.set_aside) == (2, {"no class": 1})


def test_a_class_that_is_spelt_otherwise_is_no_reason_to_leave_its_rows_out(theirs):
    lines = [f"{number},{'dead' if number % 4 else 'survived'}" for number in range(1, 201)]
    with pytest.raises(SourceError, match=r"no class of titanic: 'dead' \(150 rows\); want died, survived"):
        theirs("row_id,prediction", *lines)
    read = theirs("row_id,prediction", *["1,oops", *(f"{number},died" for number in range(2, 201))])
    assert read.set_aside == {"a class that the system does not have": 1}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"kind": "version"}, "wants a version"),
        ({"kind": "champion", "version": 2}, "no other kind"),
        ({"kind": "predictions"}, "wants a source"),
        ({"kind": "champion", "source": "a.csv"}, "no other kind"),
        ({"kind": "predictions", "source": "https://u:p@h/a.csv"}, "not shown"),
    ],
)
def test_a_contender_that_makes_no_sense_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        TableContender(**settings)


def judged(right, generator=None):
    right = np.asarray(right, bool)
    codes = np.zeros(len(right), int)
    truth = np.where(right, 0.9, 0.2)
    return Judged.once(np.column_stack([truth, 1 - truth]), np.where(right, 0, 1), codes)


def test_mcnemar_is_that_of_the_exact_binomial():
    one, two = judged([1] * 12 + [0] * 3), judged([0] * 10 + [1] * 5)
    assert mcnemar(one, two)[:2] == (10, 3)
    assert mcnemar(one, two)[2] == pytest.approx(0.09229, abs=1e-4)  # 2 * P(X <= 3), X ~ B(13, 1/2)


def test_rows_of_one_thing_are_one_witness():
    generator = np.random.default_rng(1)
    differences = np.repeat(generator.normal(0.3, 1, 20), 50)
    apart = change(differences, [str(i) for i in range(1000)], CONFIG)
    together = change(differences, [str(i // 50) for i in range(1000)], CONFIG)
    assert together.high - together.low > 5 * (apart.high - apart.low)
    assert together.p > apart.p


def test_groups_are_judged_with_all_of_them_considered(rows):
    generator = np.random.default_rng(2)
    one, two = (judged(generator.random(len(rows)) < 0.8) for _ in range(2))
    config = CompareRowsConfig(resamples=400, min_group_rows=30)
    made = groups(IRIS, rows, one, two, list(rows["row_id"]), config, "log_loss")
    assert made
    assert all(one.p_adjusted >= one.change.p for one in made)
