"""The REST API, called in this process."""

import datetime as dt
import json
import re

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from ui_site import DAYS, filled_store, new_day, own_copy

from dagsverk.store import open_store
from dagsverk.tabular import systems as systems_package
from dagsverk.tabular.system import load_system
from ui import home
from ui.api import build_api
from ui.app import build_pages
from ui.limits import MAX_BODY_BYTES, BodyLimit, SafeHeaders
from ui.tabular import monitor, predict
from ui.tabular.desk import TabularDesk

WOMAN = {"pclass": 1, "sex": "female", "age": None, "sibsp": 0, "parch": 0, "fare": 80, "embarked": "C"}

THIRD_SYSTEM = """
import datetime as dt
import pandas as pd
from dagsverk.tabular.system import Column, System

SYSTEM = System(
    name="weather", title="Weather", description="Does it rain?", row_name="day", id_column="day_id",
    columns=(Column(name="wind", description="Wind", kind="number", unit="m/s", minimum=0, example=4.5),),
    label=Column(name="rain", description="Rain", kind="category", categories=("dry", "wet")),
    read=pd.DataFrame, event_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
)
"""


@pytest.fixture(scope="module")
def client():
    app = build_api(TabularDesk(str(filled_store())))
    app.add_middleware(BodyLimit)
    app.add_middleware(SafeHeaders)
    return TestClient(app)


@pytest.fixture
def empty(tmp_path):
    return TestClient(build_api(TabularDesk(str(tmp_path / "store"))))


def test_what_is_on_no_route_is_refused_in_the_form_of_all_errors(client):
    assert client.get("/api/nothing").json()["error"] == "there is nothing here; see /api/docs"
    assert client.delete("/healthz").json()["error"] == "Method Not Allowed"


def test_health_names_systems_and_champions(client):
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "systems": ["iris", "titanic"],
        "champions": {"iris": 1, "titanic": 1},
        "speech": {"swedish": None, "italian": None},
    }


def test_health_fails_when_the_store_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("not a store")
    answer = TestClient(build_api(TabularDesk(str(tmp_path / "file")))).get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "store unreachable"


def test_a_prediction_names_its_model_and_its_probabilities_sum_to_one(client):
    answer = client.post("/api/predict/titanic", json=WOMAN).json()
    assert (answer["system"], answer["prediction"], answer["words"]) == ("titanic", "survived", "survived")
    assert answer["model"] == {"name": "titanic", "version": 1}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["probabilities"]["survived"] == answer["probability"]
    assert "effects" not in answer


def test_effects_add_up_from_the_base_to_the_probability(client):
    answer = client.post("/api/predict/titanic?effects=true", json=WOMAN).json()
    total = answer["base_probability"] + sum(effect["effect"] for effect in answer["effects"])
    assert total == pytest.approx(answer["probability"], abs=1e-9)
    assert {e["column"]: e["value"] for e in answer["effects"]}["age"] is None


def test_an_unknown_system_is_not_found_and_the_known_ones_are_named(client):
    for answer in (client.post("/api/predict/lusitania", json=WOMAN), client.get("/api/monitor/lusitania")):
        assert answer.status_code == 404
        assert "iris, titanic" in answer.json()["error"]


@pytest.mark.parametrize(
    "change, column, words",
    [
        ({"fare": None}, "fare", "want a value, got nothing"),
        ({"fare": ""}, "fare", "want a value, got nothing"),
        ({"age": 500}, "age", "at most 100"),
        ({"age": "<script>alert(1)</script>"}, "age", "a number"),
        ({"sibsp": 0.5}, "sibsp", "a whole number"),
        ({"sex": "<b>"}, "sex", "one of female, male"),
        ({"sex": ["female"]}, "sex", "one of female, male"),
        ({"fare": True}, "fare", "a number"),
        ({"cabin": "C85"}, "cabin", "no such input"),
    ],
)
def test_bad_input_is_refused_with_a_sentence_per_column(client, change, column, words):
    answer = client.post("/api/predict/titanic", json={**WOMAN, **change})
    assert answer.status_code == 422
    assert list(answer.json()["problems"]) == [column]
    assert words in answer.json()["problems"][column]


@pytest.mark.parametrize("body", ["", "[1, 2]", "{", "null", '"text"', '{"fare": NaN}', '{"fare": 1e999}'])
def test_a_body_that_is_no_row_of_inputs_is_refused_in_the_same_form(client, body):
    answer = client.post("/api/predict/titanic", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "problems"}


def test_a_large_body_is_refused_whatever_length_it_claims(client):
    large = json.dumps({**WOMAN, "sex": "f" * MAX_BODY_BYTES}).encode()
    claimed = client.post("/api/predict/titanic", content=large)
    streamed = client.post("/api/predict/titanic", content=iter([large]))
    assert (claimed.status_code, streamed.status_code) == (413, 413)


def test_without_a_champion_the_answer_is_the_command_that_makes_one(empty):
    answer = empty.post("/api/predict/titanic", json=WOMAN)
    assert answer.status_code == 503
    assert "prefect deployment run day/titanic" in answer.json()["error"]
    assert empty.get("/healthz").json()["champions"] == {"iris": None, "titanic": None}
    assert empty.get("/api/monitor/titanic").json()["predictions"] == 0


def test_the_report_counts_what_the_pages_draw(client):
    report = client.get("/api/monitor/iris").json()
    invented = report["invented"]
    assert (report["predictions"], report["outcomes"], report["accuracy"]["accuracy"]) == (0, 0, None)
    assert sum(map(sum, invented["confusion"]["counts"])) == invented["outcomes"] == 40
    assert [day["date"][:10] for day in invented["series"]] == [date.isoformat() for date in DAYS]


def test_where_only_invented_rows_have_labels_no_page_calls_that_accuracy():
    desk, iris = TabularDesk(str(filled_store())), load_system("iris")
    page = "".join(map(str, monitor.look(iris, desk, None)))
    agreed = re.search(
        r"Invented rows: \d+ of 40 predicted as the generator labelled them .no accuracy.", page
    )
    assert agreed
    assert "no outcome of a real row yet" in page
    assert not re.search("Accuracy over time|correct ✓|wrong ✗", page)
    card = str(home.system_card(desk.view(iris)))
    assert "no outcome of a real row yet" in card
    assert not re.search("correct ✓|wrong ✗", card)


def test_a_tampered_model_file_is_refused_by_name_by_api_and_page(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    (file,) = folder.glob("models/titanic/**/model.ubj")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    desk = TabularDesk(str(folder))
    answer = TestClient(build_api(desk)).post("/api/predict/titanic", json=WOMAN)
    assert answer.status_code == 503
    assert "model.ubj" in answer.json()["error"]
    page = predict.respond(load_system("titanic"), desk, WOMAN)
    assert "No model could be asked." in page
    assert "model.ubj" in page
    assert "Traceback" not in page
    assert "cannot be trusted" in "".join(map(str, monitor.look(load_system("titanic"), desk, None)))


def test_a_promotion_is_answered_by_the_new_version_without_a_restart(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    client, store = TestClient(build_api(TabularDesk(str(folder)))), open_store(str(folder))
    assert client.post("/api/predict/iris", json=_flower()).json()["model"]["version"] == 1
    first = store.champion("iris")
    second = store.save_model("iris", store.download(first, tmp_path / "model"), metrics={"accuracy": 0.9})
    store.promote("iris", second.version, reason="a test", expected=1)
    assert client.post("/api/predict/iris", json=_flower()).json()["model"]["version"] == 2


def _flower():
    return {column.name: column.example for column in load_system("iris").columns}


def test_the_guide_and_the_schema_load_nothing_from_elsewhere(client):
    for path in ("/api/docs", "/api/openapi.json"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "https://" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy


def test_a_page_that_is_up_to_date_is_left_alone(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    desk, system = TabularDesk(str(folder)), load_system("iris")
    version, *_ = monitor.look(system, desk, None)
    assert all(update == gr.skip() for update in monitor.look(system, desk, version))
    new_day(folder, "iris", dt.date(2026, 3, 3), count=2)
    changed, _, top, *_ = monitor.look(system, desk, version)
    assert changed != version
    assert "iris-2026-03-03" in top


def test_a_store_that_is_gone_for_a_while_leaves_the_page_as_it_was(tmp_path):
    folder = own_copy(filled_store(), tmp_path)
    desk, system = TabularDesk(str(folder)), load_system("iris")
    version, *_ = monitor.look(system, desk, None)
    folder.rename(tmp_path / "elsewhere")
    away, said, *rest = monitor.look(system, desk, version)
    assert "The store does not answer." in said
    assert all(update == gr.skip() for update in rest)
    assert all(update == gr.skip() for update in monitor.look(system, desk, away))
    assert TestClient(build_api(desk)).get("/healthz").status_code == 503
    (tmp_path / "elsewhere").rename(folder)
    back, said, *_ = monitor.look(system, desk, away)
    assert (back, said) == (version, "")


def test_before_the_first_day_the_page_says_how_to_start_it(tmp_path):
    shown = "".join(
        map(str, monitor.look(load_system("titanic"), TabularDesk(str(tmp_path / "store")), None))
    )
    assert "has not had its first day" in shown
    assert "prefect deployment run day/titanic" in shown


@pytest.mark.slow
def test_a_third_system_gets_its_pages_from_its_one_file(tmp_path, monkeypatch):
    (tmp_path / "weather.py").write_text(THIRD_SYSTEM)
    monkeypatch.setattr(systems_package, "__path__", [*systems_package.__path__, str(tmp_path)])
    desk = TabularDesk(str(tmp_path / "store"))
    pages = {path for path, *_ in build_pages(desk).pages}
    systems = {"iris", "iris-monitor", "titanic", "titanic-monitor", "weather", "weather-monitor"}
    speech, better = {"transcribe", "speech-monitor", "recorder"}, {"improve", "labels", "compare", "lineage"}
    assert pages == {"", *systems, *speech, *better}
    assert "prefect deployment run day/weather" in predict.respond(load_system("weather"), desk, {"wind": 3})
    assert "0 to 600" in predict.limits(load_system("titanic").column("fare"))
    assert predict.limits(load_system("weather").column("wind")) == "at least 0"


def test_a_predict_page_opens_with_how_good_the_model_is_and_before_the_first_day_with_what_it_will_do(
    tmp_path,
):
    titanic = load_system("titanic")
    shown = predict.introduction(titanic, TabularDesk(str(filled_store())))
    assert "Asking version 1, XGBoost, about this passenger" in shown
    assert re.search(r"\d\d\.\d% \(95% interval .*\) of the passengers that it had not seen", shown)
    assert "always naming the commonest outcome" in shown
    empty = predict.introduction(titanic, TabularDesk(str(tmp_path / "store")))
    assert "prefect deployment run day/titanic" in empty
    assert "died, survived" in empty
