"""Registering a model of either family: saved once under its key, promoted if its decision says so."""

import pytest

from dagsverk.promotion import Decision, register
from dagsverk.records import plain
from dagsverk.store import Conflict, StoreError, open_store

BETTER = Decision(promoted=True, reason="It is better.", rule="The better one.", numbers={"gain": 0.1})
WORSE = Decision(
    promoted=False,
    reason="It is worse.",
    rule="The better one.",
    numbers={"gain": None},
    warnings=("few rows",),
)


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.txt").write_text("weights")
    return files


@pytest.fixture
def registered(store, folder):
    def run(key, decision):
        info = {"training_key": key, "decision": plain(decision)}
        return register(
            store,
            "iris",
            {"training_key": key},
            lambda: store.save_model("iris", folder, metrics={}, info=info),
            nothing_new="nothing new, this is",
        )[1]

    return run


def test_the_first_that_is_good_enough_is_saved_and_promoted(registered, store):
    outcome = registered("a", BETTER)
    assert (outcome.version, outcome.new, outcome.promoted, outcome.champion) == (1, True, True, 1)
    assert outcome.in_use
    assert outcome.reason == outcome.decision == "It is better."
    assert [promotion["reason"] for promotion in store.champions("iris")] == ["It is better."]


def test_one_that_is_refused_is_a_version_and_no_champion(registered, store):
    registered("a", BETTER)
    outcome = registered("b", WORSE)
    assert (outcome.version, outcome.new, outcome.promoted, outcome.champion) == (2, True, False, 1)
    assert outcome.warnings == ("few rows",)
    assert not outcome.in_use


def test_before_the_first_promotion_there_is_no_champion(registered):
    assert registered("a", WORSE).champion is None


def test_the_same_training_is_found_by_its_key_and_said_to_be_nothing_new(registered, store):
    registered("a", BETTER)
    again = registered("a", WORSE)
    assert (again.version, again.new, again.champion) == (1, False, 1)
    assert again.reason == "nothing new, this is version 1"
    assert again.decision == "It is better."
    assert len(store.models("iris")) == len(store.champions("iris")) == 1


def test_one_refused_before_is_said_to_be_nothing_new_with_the_decision_of_then(registered):
    registered("a", WORSE)
    assert registered("a", WORSE).reason == "nothing new, this is version 1: It is worse."


def test_a_version_saved_by_a_killed_process_is_promoted_by_the_next(registered, store, monkeypatch):
    class Killed(Exception):
        pass

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(type(store), "promote", killed)
        with pytest.raises(Killed):
            registered("a", BETTER)
    assert store.champion("iris") is None
    outcome = registered("a", BETTER)
    assert (outcome.version, outcome.new, outcome.champion) == (1, False, 1)


def test_an_older_version_does_not_take_the_place_of_a_newer_champion(registered, store):
    registered("a", BETTER)
    registered("b", BETTER)
    assert registered("a", BETTER).champion == 2


def test_a_champion_of_the_meantime_is_not_replaced_unseen(registered, store, folder, monkeypatch):
    registered("a", BETTER)
    promote = type(store).promote

    def after_another_process(self, name, version, *, reason, expected):
        other = self.save_model(name, folder, metrics={})
        promote(self, name, other.version, reason="of another process", expected=expected)
        promote(self, name, version, reason=reason, expected=expected)

    monkeypatch.setattr(type(store), "promote", after_another_process)
    with pytest.raises(Conflict):
        registered("b", BETTER)


def test_a_version_whose_decision_is_damaged_is_named(store, folder, registered):
    store.save_model("iris", folder, metrics={}, info={"training_key": "a", "decision": {"promoted": True}})
    with pytest.raises(StoreError, match="the decision on iris version 1"):
        registered("a", BETTER)
