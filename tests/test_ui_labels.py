"""The page of labels that look wrong: who may decide what, and what a hostile visitor cannot."""

import pytest
from fastapi.testclient import TestClient
from speech_site import MARKUP, spoken_store
from ui_site import own_copy

from dagsverk import label_decisions as decisions
from dagsverk.label_report import PlantedKind, Suspect, SuspectLabels
from dagsverk.records import keep_report
from dagsverk.store import open_store
from ui import labels
from ui.app import build_app
from ui.speech.desk import SpeechDesk
from ui.tabular.desk import TabularDesk

SPOKEN, MARKED, FLOWER = "a" * 32, "b" * 32, "c" * 32
WHERE = "/api/labels/speech/swedish/decisions"


def suspects(family, *listed):
    return SuspectLabels(
        family=family, name={"speech": "swedish", "tabular": "iris"}[family], of="of", model="m",
        model_version=1, labels=100, suspicious=2, cut=0.3, share=0.05, precision=0.6,
        precision_low=0.4, precision_high=0.8,
        kinds={"another": PlantedKind(planted=20, seen=15)}, suspects=listed,
    )  # fmt: skip


def spoken(key, text, split="train", **more):
    return Suspect(
        key=key, name=f"clip {text}", label=text, source_label=text, other="en ton", suspicion=0.7,
        why=("1 of 2 words differ",), split=split, about={"seconds": "1.2"}, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return own_copy(spoken_store(), tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def app(folder):
    store = open_store(str(folder))
    store.put(f"labels/speech/swedish/sounds/{SPOKEN}.wav", b"RIFF sound")
    sound = f"labels/speech/swedish/sounds/{SPOKEN}.wav"
    report = suspects("speech", spoken(SPOKEN, "en hög ton", sound=sound), spoken(MARKED, MARKUP, "test"))
    keep_report(store, "swedish", "labels", report)
    row = Suspect(
        key=FLOWER, name=MARKUP, label="setosa", source_label="setosa", other="virginica", suspicion=0.4,
        why=("unlikely",), about={"petal_length_cm": MARKUP},
    )  # fmt: skip
    keep_report(store, "iris", "labels", suspects("tabular", row))
    return build_app(TabularDesk(str(folder)))


@pytest.fixture
def store(app, folder):
    store = open_store(str(folder))
    store.remove("labels/speech/swedish/decisions")
    store.remove("labels/tabular/iris/decisions")
    return store


@pytest.fixture
def visitor(app, store):
    client = TestClient(app, base_url="http://127.0.0.1")
    client.get("/labels")
    return client


def decide(client, where=WHERE, **sent):
    return client.post(where, json={"key": SPOKEN, "action": "drop", "value": "", "seen": 0} | sent)


def standing(store, family="speech", name="swedish"):
    return [(one.action, one.value) for one in decisions.state(store, family, name).decisions]


def page(folder, of="speech-swedish"):
    desk = TabularDesk(str(folder))
    return labels.look(SpeechDesk(desk.opened), desk.systems, of)


def test_a_decision_is_kept_with_what_the_source_said_and_shown(visitor, store, folder):
    answer = decide(visitor, action="mend", value="  en  låg\nton ")
    assert (answer.status_code, answer.json()["value"]) == (200, "en låg ton")
    (kept,) = decisions.state(store, "speech", "swedish").decisions
    assert (kept.was, kept.name, kept.value) == ("en hög ton", "clip en hög ton", "en låg ton")
    assert kept.by
    assert kept.by not in str(visitor.cookies)
    assert "Mended to “en låg ton”" in page(folder)
    assert "speech-training/swedish" in page(folder)
    assert decide(visitor, action="undo", seen=1).status_code == 200
    assert standing(store) == []


def test_what_stands_above_the_list_counts_a_decision_without_the_page_read_anew(visitor, folder):
    where = WHERE.replace("decisions", "summary")
    assert "0 kept, 0 mended, 0 dropped" in visitor.get(where).text
    assert decide(visitor).status_code == 200
    counted = visitor.get(where).text
    assert "0 kept, 0 mended, 1 dropped" in counted
    assert "Decisions wait" in counted
    assert counted in page(folder)
    assert visitor.get("/api/labels/speech/iris/summary").status_code == 404
    assert visitor.get("/api/labels/tabular/titanic/summary").status_code == 404


def test_a_second_visitor_is_told_what_the_first_decided(app, visitor, store):
    other = TestClient(app, base_url="http://127.0.0.1")
    other.get("/labels")
    assert decide(visitor).status_code == 200
    answer = decide(other, action="keep")
    assert (answer.status_code, answer.json()["latest"]["words"]) == (409, "dropped")
    assert standing(store) == [("drop", "")]
    assert decide(other, action="keep", seen=1).status_code == 200


@pytest.mark.parametrize(
    "sent, status, words",
    [
        ({"key": "d" * 32}, 404, "not in the newest list"),
        ({"key": "../../../../x"}, 422, "key"),
        ({"action": "mend", "value": " \u200b "}, 422, "empty"),
        ({"action": "mend", "value": "<b></b>"}, 422, "empty"),
        ({"action": "mend", "value": "en hög ton"}, 422, "what it is already"),
        ({"action": "mend", "value": "ä" * 2001}, 422, "has 2001 characters"),
        ({"action": "mend", "value": "a" * 60_000}, 422, "value"),
        ({"action": "mend", "value": "a" * 10_000_000}, 413, "bytes"),
        ({"action": "drop", "value": "x"}, 422, "only a label that is mended"),
        ({"action": "burn"}, 422, "action"),
        ({"seen": -1}, 422, "seen"),
        ({"was": "x"}, 422, "was"),
        ({"where": "/api/labels/speech/klingon/decisions"}, 404, "klingon"),
        ({"where": "/api/labels/speech/sv/decisions"}, 404, "sv"),
        ({"where": "/api/labels/tabular/nothing/decisions"}, 404, "nothing"),
        ({"where": "/api/labels/tabular/swedish/decisions"}, 404, "swedish"),
        ({"where": "/api/labels/other/swedish/decisions"}, 422, "family"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_decision_is_refused_in_words(visitor, store, sent, status, words):
    answer = decide(visitor, **sent)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert standing(store) == []


@pytest.mark.parametrize(
    "body", ["[" * 60_000, "{", b"\xff\xfe", '{"seen": ' + "9" * 5000 + "}"], ids=range(4)
)
def test_what_is_no_json_is_refused_in_a_sentence(visitor, store, body):
    answer = visitor.post(WHERE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]
    assert standing(store) == []


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:1"}]
)
def test_a_page_of_another_address_decides_nothing_with_the_visitors_cookie(visitor, store, headers):
    sent = {"key": SPOKEN, "action": "drop", "value": "", "seen": 0}
    assert visitor.post(WHERE, json=sent, headers=headers).status_code == 403
    assert standing(store) == []


def test_half_a_letter_is_refused(visitor, store):
    body = f'{{"key": "{SPOKEN}", "action": "mend", "value": "\\ud800", "seen": 0}}'
    answer = visitor.post(WHERE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert standing(store) == []


def test_text_that_turns_the_page_around_is_kept_without_what_turns_it(visitor):
    answer = decide(visitor, action="mend", value="\u202een\u2066 ton\u0007")
    assert answer.json()["value"] == "en ton"


def test_a_text_in_other_letters_is_kept_and_remarked(visitor):
    answer = decide(visitor, action="mend", value="низкий тон")
    assert (answer.status_code, answer.json()["warning"]) == (
        200,
        "The text is not in the letters of the language.",
    )


def test_who_did_not_open_a_page_decides_nothing(app, store):
    answer = decide(TestClient(app, base_url="http://127.0.0.1"))
    assert answer.status_code == 403
    assert standing(store) == []


def test_an_outcome_is_mended_to_one_that_the_system_has(visitor, store):
    where = "/api/labels/tabular/iris/decisions"
    assert decide(visitor, where=where, key=FLOWER, action="mend", value="tulip").status_code == 422
    assert decide(visitor, where=where, key=FLOWER, action="mend", value="virginica").status_code == 200
    assert standing(store, "tabular", "iris") == [("mend", "virginica")]


@pytest.mark.parametrize("of", ["speech-swedish", "tabular-iris"])
def test_texts_of_the_data_are_shown_as_texts(folder, app, of):
    shown = page(folder, of)
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown


def test_a_clip_of_test_says_so_before_and_after(folder, visitor, store):
    assert labels.TEST in page(folder)
    assert decide(visitor, key=MARKED).status_code == 200
    assert "another test set" in page(folder)


def test_the_recording_is_played_in_parts(visitor):
    where = f"/api/labels/speech/swedish/sounds/{SPOKEN}.wav"
    assert visitor.get(where).content == b"RIFF sound"
    assert visitor.get(where, headers={"range": "bytes=0-3"}).content == b"RIFF"
    assert visitor.get(where.replace(SPOKEN, "e" * 32)).status_code == 404
    assert visitor.get(where.replace(SPOKEN, "..%2F..%2Fx")).status_code in (404, 422)


def test_without_a_search_the_page_says_what_to_run(folder, app):
    assert "prefect deployment run speech-labels/italian" in page(folder, "speech-italian")
    assert "prefect deployment run tabular-labels/titanic" in page(folder, "tabular-titanic")
    assert "Choose another" in page(folder, "speech-<script>")
