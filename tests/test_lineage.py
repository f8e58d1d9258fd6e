"""Lineage: every link leads to something that exists, forward and back, and what was not kept is said."""

import json
import shutil

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from speech_site import RUN, spoken_store
from ui_site import filled_store, own_copy

from dagsverk.commands import main
from dagsverk.lineage.cards import NotTraced, Ref, parse_ref
from dagsverk.lineage.tracing import search, starts, trace
from dagsverk.report.making import make_report
from dagsverk.store import open_store
from dagsverk.store.moving.copying import copy
from dagsverk.tabular.config import TrainingConfig
from dagsverk.tabular.system import load_system
from dagsverk.tabular.tables import features_table, predictions_table
from tasks import tabular
from ui import lineage
from ui.app import build_app
from ui.tabular.desk import TabularDesk

MOST = 150  # things visited from one
HOSTILE = (
    "", " ", "..", "../../etc/passwd", "a/b", "%2e%2e", "' or 1=1 --", '"><script>alert(1)</script>',
    "\0", "\ud800",
    "row:titanic:",
    "row::x", "row:nobody:x", "row:titanic:%", "version:../titanic:1", "version:titanic:1/2",
    "commit:titanic:../x/1", "run:swedish:../../x", "set:swedish:../x",
    "clip:swedish:..", "text:swedish:../../a/b/c",
    "evaluation:swedish:../..", "text:swedish:a/b", "prediction:titanic:1/x/titanic-5", "aside:titanic:x@y",
    "prediction:titanic:99999999999999999999/1912-04-15/titanic-5", "aside:titanic:9999999999999999999999@x",
    "run:klingon:x", "é" * 400, "x" * 5000, "١٢٣", "titanic -1", "titanic 0", "titanic 99",
)  # fmt: skip


def walked(store, first):
    """Every thing that is reached from these, with its trace. An end that dangles raises NotTraced."""
    reached, waiting = {}, list(first)
    while waiting and len(reached) < MOST:
        ref = waiting.pop(0)
        if ref not in reached:
            reached[ref] = trace(store, ref)
            waiting += reached[ref].refs()
    return reached


def behind(store, ref, steps=4):
    """What is found when one goes back only, from card to card."""
    seen, edge = set(), {ref}
    for _ in range(steps):
        before = {
            card.ref
            for one in edge
            for chain in trace(store, one).before
            for card in chain.cards
            if card.ref is not None
        }
        edge = before - seen
        seen |= before
    return seen


@pytest.fixture(scope="module", params=["tables", "speech"])
def store(request):
    return open_store(str(filled_store() if request.param == "tables" else spoken_store()))


def test_every_link_of_every_chain_leads_to_something_that_exists(store):
    reached = walked(store, starts(store))
    assert len(reached) >= 15
    assert all(one.notes == () for one in reached.values())


def test_what_was_made_of_a_thing_leads_back_to_it(store):
    for ref, one in list(walked(store, starts(store)).items())[:12]:
        if ref.kind not in ("row", "set"):
            continue
        made = {card.ref for chain in one.after for card in chain.cards if card.ref}
        for other in sorted(made, key=str)[:4]:
            back = behind(store, other)
            kinds = {"version": {"commit", "set"}}.get(other.kind, {ref.kind})
            assert ref in back or kinds & {each.kind for each in back}, (ref, other)


def test_a_prediction_leads_to_its_row_and_to_all_that_its_model_was_made_of():
    store = open_store(str(filled_store()))
    ref = next(one for one in starts(store) if one.kind == "prediction" and one.of == "titanic")
    titles = [card.title for card in trace(store, ref).cards()]
    assert titles[:2] == ["Commit of features", "Passenger"]
    assert titles[2:6] == ["Commit of features", "Training", "Decision", "Version 1"]


def test_a_clip_leads_to_its_set_to_those_who_learned_from_it_and_to_what_was_heard():
    store = open_store(str(spoken_store()))
    taught = {card.title for card in trace(store, Ref("clip", "swedish", "train-0")).cards()}
    assert {"Set of clips", "Training run", "Version 1"} <= taught
    tested = list(trace(store, Ref("clip", "swedish", "test-16")).cards())
    assert any(card.title == "Heard by" and dict(card.facts)["Heard"] for card in tested)
    assert not any(card.title == "Training run" for card in tested)


def test_a_clip_that_was_set_aside_says_why():
    store = open_store(str(spoken_store()))
    for clip, why in (("gone", "missing audio"), ("train-8", "silence")):
        words = " ".join(card.words for card in trace(store, Ref("clip", "swedish", clip)).cards())
        assert f"set aside there: {why}" in words
        assert search(store, clip)[0] == Ref("clip", "swedish", clip)


def test_a_row_that_was_set_aside_says_which_check_it_failed():
    store = open_store(str(filled_store()))
    (ref,) = search(store, "extra.csv")
    assert dict(trace(store, ref).card.facts)["age: a number"].startswith("<img")


@pytest.mark.parametrize(
    "words, expected",
    [
        ("titanic-17", "row:titanic:titanic-17"),
        ("titanic 1", "version:titanic:1"),
        ("titanic/1", "version:titanic:1"),
        ("titanic-1.html", "version:titanic:1"),
        ("titanic-1", "row:titanic:titanic-1"),
        ("titanic, version 1", "version:titanic:1"),
        ("row:iris:iris-3", "row:iris:iris-3"),
        ("titanic-88", "row:titanic:titanic-88"),  # and not those that begin so
    ],
)
def test_a_search_finds_what_is_named_exactly(words, expected):
    refs = [str(ref) for ref in search(open_store(str(filled_store())), words)]
    assert refs == [expected]


def test_a_search_finds_what_begins_so_where_nothing_is_named_exactly():
    refs = search(open_store(str(filled_store())), "titanic-")
    assert len(refs) > 1
    assert all(ref.id.startswith("titanic-") for ref in refs)
    assert Ref("run", "swedish", RUN) in search(open_store(str(spoken_store())), RUN[:8])


@pytest.mark.parametrize("words", HOSTILE)
def test_no_text_harms_the_search_or_the_page(words, store):
    for ref in search(store, words):
        trace(store, ref)
    if (named := parse_ref(words)) is not None and named not in search(store, words):
        with pytest.raises(NotTraced):
            trace(store, named)
    desk = TabularDesk(store.url)
    html = lineage.look(desk, desk.systems, words)
    assert "<script" not in html
    assert html.encode(errors="replace")


def test_the_routes_answer_and_refuse_in_words():
    client = TestClient(build_app(TabularDesk(str(filled_store()))))
    answer = client.get("/api/lineage", params={"q": "titanic-17"}).json()
    assert answer["ref"] == "row:titanic:titanic-17"
    assert answer["after"][0]["cards"][0]["ref"] == "version:titanic:1"
    assert len(client.get("/api/lineage", params={"q": "titanic-"}).json()["matches"]) > 1
    assert client.get("/api/lineage", params={"q": "nobody"}).status_code == 404
    assert client.get("/api/lineage", params={"q": "x" * 2000}).status_code == 422


def test_the_command_draws_the_chain(monkeypatch, capsys):
    monkeypatch.setenv("DAGSVERK_STORE", str(filled_store()))
    assert main(["lineage", "titanic-17"]) == 0
    assert "> Passenger: titanic-17 [row:titanic:titanic-17]" in capsys.readouterr().out
    assert main(["lineage", "titanic-17", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ref"] == "row:titanic:titanic-17"
    assert main(["lineage", "titanic-"]) == 1
    assert "name one" in capsys.readouterr().err
    assert main(["lineage", "nobody"]) == 1


def test_a_version_whose_files_of_others_are_gone_still_has_its_trace(tmp_path):
    """As after a removal from outside: what is gone is said, and nothing dangles."""
    store = open_store(str(own_copy(spoken_store(), tmp_path)))
    for folder in ("runs", "shards", "evaluations"):
        store.remove(f"speech/swedish/{folder}")
    one = trace(store, Ref("version", "whisper_swedish", "1"))
    assert [card.title for card in one.cards() if card.missing] == [
        "Set of clips",
        "Training run",
        "Evaluation",
    ]
    assert len(one.notes) == 3
    walked(store, [one.ref])


@pytest.fixture
def day(tmp_path, monkeypatch):
    """A store with a day of Titanic, and a second one whose source mends a row of the first."""
    monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / "store"))
    config = TrainingConfig(model_classes=("lda",), folds=3, repeats=1, calibration="never")
    mended = tmp_path / "mended.csv"
    mended.write_text(
        "passenger_id,pclass,sex,age,sibsp,parch,fare,embarked,survived\n"
        "1,3,male,23,1,0,7.25,S,died\n9001,1,female,40,0,0,80,C,survived\n9002,1,female,-4,0,0,80,C,survived\n"
    )
    for source in (None, str(mended)):
        rows = tabular.ingest.fn("titanic", source, max_bad_share=0.5)
        scores = [tabular.cross_validate.fn("titanic", rows, "lda", config)]
        tabular.register_best.fn("titanic", rows, scores, config)
        tabular.predict.fn("titanic")
    return open_store()


def test_a_mended_row_says_what_changed_it_and_that_its_prediction_did_not_know(day):
    one = trace(day, Ref("row", "titanic", "titanic-1"))
    first, second = one.before[0].cards
    assert dict(first.facts)["Source"] == "embedded"
    assert dict(second.facts)["Source"] == "mended.csv"
    assert "age 22.0 → 23.0" in second.words
    assert [card.id for card in one.after[0].cards] == ["titanic, version 2", "titanic, version 1"]
    prediction = next(card.ref for card in one.after[1].cards)
    told = [card.words for card in trace(day, prediction).cards()]
    assert any(words.startswith("changed it after this prediction") for words in told)
    new = trace(day, Ref("row", "titanic", "titanic-9001"))
    assert [card.id for card in new.after[0].cards] == ["titanic, version 2"]
    walked(day, [one.ref, new.ref])


def test_what_made_a_version_is_kept_with_it_and_told_by_its_report(day):
    made = day.model("titanic", 1).info["lineage"]["made"]
    assert made["seconds"] > 0
    assert "cores" in made["machine"]
    words = make_report(day, "titanic", "1").html
    assert f"<dd>{made['seconds']}</dd>" in words
    assert day.commits(features_table(load_system("titanic")))[1].about["set_aside"] == "1"


def test_a_prediction_by_a_version_that_is_gone_is_told_so(day, tmp_path):
    ref = next(one for one in starts(day) if one.kind == "prediction")
    shutil.rmtree(tmp_path / "store" / "models" / "titanic")
    one = trace(open_store(), ref)
    assert any(card.missing and "not in the store any more" in card.words for card in one.cards())
    walked(open_store(), [ref])


def test_of_very_many_predictions_of_a_row_the_newest_are_listed(day):
    system = load_system("titanic")
    table = predictions_table(system)
    one = day.lookup(table, {"row_id": "titanic-1"}).iloc[[0]]
    many = pd.concat([one] * 20_000, ignore_index=True)
    many["model_version"] = range(100, 20_100)
    many["predicted_at"] = pd.Timestamp("2027-01-01") + pd.to_timedelta(range(20_000), unit="s")
    day.upsert(table, many)
    chain = trace(day, Ref("row", "titanic", "titanic-1")).after[1]
    assert chain.words == "the newest 12 of 20,001 predictions are listed"
    assert chain.cards[0].title == "Prediction by version 20099"
    one = trace(day, chain.cards[0].ref)
    assert any(card.missing for card in one.cards())


def test_a_commit_keeps_what_its_writer_said_of_it_also_when_the_store_is_copied(day, tmp_path):
    there = open_store(str(tmp_path / "copy"))
    copy(day, there, print, read_back=False)
    table = features_table(load_system("titanic"))
    assert [one.about for one in there.commits(table)] == [one.about for one in day.commits(table)]
    assert there.commits(table)[0].about["step"] == "ingest"
