"""Decisions about labels that look wrong: kept one after another, applied to what they were about, undone."""

import threading

import numpy as np
import pytest
from fitted_models import system_and_rows

from dagsverk import label_decisions as decisions
from dagsverk.label_decisions import LabelDecision, Overtaken, TooMany
from dagsverk.store import open_store
from dagsverk.tabular.labels import row_key, with_decisions

KEY, OTHER = "0" * 32, "1" * 32


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


def decision(action="drop", value="", key=KEY, **more):
    return LabelDecision(key=key, action=action, value=value, was="as it was", **more)


def decide(store, *arguments, seen=None, **more):
    return decisions.decide(store, "speech", "italian", decision(*arguments, **more), seen=seen)


def standing(store):
    return [(one.key, one.action, one.value) for one in decisions.state(store, "speech", "italian").decisions]


def test_the_newest_decision_counts_and_the_same_again_changes_nothing(store):
    assert decide(store).number == 1
    assert decide(store).number == 1
    assert decide(store, "mend", "as it is").number == 2
    assert decide(store, "keep", key=OTHER).number == 1
    assert standing(store) == [(KEY, "mend", "as it is"), (OTHER, "keep", "")]


def test_what_is_undone_is_as_if_nobody_had_decided(store):
    assert decide(store, "undo").number == 0
    decide(store)
    digest = decisions.state(store, "speech", "italian").digest
    assert decide(store, "undo").number == 2
    assert decisions.state(store, "speech", "italian").digest == "" != digest


def test_who_decides_on_what_he_saw_is_told_when_another_was_first(store):
    decide(store, "mend", "one text", seen=0)
    with pytest.raises(Overtaken, match="mended to “one text”"):
        decide(store, "mend", "another text", seen=0)
    assert decide(store, "mend", "another text", seen=1).number == 2


def test_of_two_that_decide_at_once_one_is_kept_and_the_other_told(store):
    outcomes, ready = [], threading.Barrier(4)

    def one(number):
        mine = open_store(store.url)
        ready.wait()
        try:
            outcomes.append(decide(mine, "mend", f"text {number}", seen=0).value)
        except Overtaken as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(kept) == 1
    assert standing(store) == [(KEY, "mend", kept[0])]


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"key": "../../up"}, "32 hexadecimal digits"),
        ({"action": "burn"}, "want keep, mend, drop or undo"),
        ({"action": "mend"}, "needs a new one"),
        ({"action": "keep", "value": "x"}, "only that needs one"),
        ({"action": "mend", "value": "x" * 2001}, "at most 2000 characters"),
    ],
    ids=str,
)
def test_what_is_no_decision_is_refused(store, wrong, words):
    with pytest.raises(ValueError, match=words):
        decide(store, **wrong)
    assert standing(store) == []


def test_decisions_have_an_end(store, monkeypatch):
    monkeypatch.setattr(decisions, "MOST_DECISIONS", 1)
    decide(store)
    with pytest.raises(TooMany, match="no more are taken"):
        decide(store, key=OTHER)


def test_who_decided_can_be_told_apart_and_not_be_found(store):
    one, other = decisions.visitor_digits("a" * 43), decisions.visitor_digits("b" * 43)
    assert one != other
    assert len(one) == 8
    assert "a" * 43 not in repr(decide(store, by=one))


def test_a_state_is_kept_by_what_it_does_to_labels(store):
    decide(store, "keep")
    assert decisions.keep_state(store, "speech", "italian") == ""
    decide(store, "mend", "one", key=OTHER)
    digest = decisions.keep_state(store, "speech", "italian")
    decide(store, "mend", "two", key=OTHER)
    assert decisions.keep_state(store, "speech", "italian") != digest
    kept = decisions.kept_state(store, "speech", "italian", digest)
    assert kept.by_key[OTHER].value == "one"


IRIS, FLOWERS = system_and_rows("iris")
ROWS = FLOWERS.assign(origin="historic").reset_index(drop=True)
LABEL = IRIS.label.name


def about(place, action, value=""):
    row = ROWS.iloc[place].to_dict()
    return LabelDecision(
        key=row_key(IRIS, row), action=action, value=value, was=row[LABEL], name=row["row_id"]
    )


def test_decisions_apply_to_the_rows_that_they_are_about():
    state = decisions.State(decisions=(about(0, "mend", IRIS.classes[2]), about(1, "drop"), about(2, "keep")))
    decided = with_decisions(IRIS, ROWS, state)
    assert (decided.mended, decided.dropped, len(decided.rows)) == (1, 1, len(ROWS) - 1)
    assert decided.words == "1 label mended and 1 row dropped by hand"
    assert decided.rows[LABEL].iloc[0] == IRIS.classes[2]
    assert ROWS["row_id"].iloc[1] not in set(decided.rows["row_id"])
    untouched = decided.rows.iloc[1:][["row_id", LABEL]].to_numpy()
    assert (untouched == ROWS.iloc[2:][["row_id", LABEL]].to_numpy()).all()


def test_a_decision_does_not_apply_to_a_row_that_has_changed():
    state = decisions.State(decisions=(about(0, "drop"), about(1, "mend", "no such flower")))
    changed = ROWS.copy()
    changed.loc[0, IRIS.inputs[0]] += 0.1
    decided = with_decisions(IRIS, changed, state)
    assert len(decided.rows) == len(ROWS)
    assert sum(decided.not_applied.values()) == 2


def test_a_row_has_one_key_whatever_types_its_values_come_in():
    row = ROWS.iloc[0].to_dict()
    other = {name: np.float32(value) if isinstance(value, float) else value for name, value in row.items()}
    other = {
        name: float(str(value)) if isinstance(value, np.floating) else value for name, value in other.items()
    }
    assert row_key(IRIS, row) == row_key(IRIS, other)
