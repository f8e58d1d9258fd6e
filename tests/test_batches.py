"""Many rows in one request: the good ones answered, the faulty ones named; and predictions as files."""

from __future__ import annotations

import io
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from ui_site import filled_store

from dagsverk.store import open_store
from dagsverk.tabular.batches import MAX_ROWS, MAX_UNUSUAL, read_batch
from dagsverk.tabular.errors import InvalidInput, SourceError
from dagsverk.tabular.exports import harmless, predictions, to_csv, to_parquet
from dagsverk.tabular.features import check_inputs
from dagsverk.tabular.monitoring import load
from dagsverk.tabular.system import load_system
from ui.api import build_api
from ui.limits import MAX_BATCH_BYTES, BodyLimit
from ui.tabular.desk import TabularDesk

TITANIC = load_system("titanic")
WOMAN = {"pclass": 1, "sex": "female", "age": 29, "sibsp": 0, "parch": 0, "fare": 80.5, "embarked": "S"}
MAN = {**WOMAN, "pclass": 3, "sex": "male", "fare": 8, "age": None}
BATCH = "/api/predict/titanic/batch"


@pytest.fixture(scope="module")
def client():
    app = build_api(TabularDesk(str(filled_store())))
    app.add_middleware(BodyLimit)
    return TestClient(app, raise_server_exceptions=False)


def test_a_list_is_answered_row_by_row_and_a_faulty_row_costs_itself_alone(client):
    rows = [WOMAN, {**WOMAN, "age": -1, "sex": "x"}, MAN, 7, {**WOMAN, "ship": "Titanic"}]
    answer = client.post(BATCH, json=rows)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["rows"], body["model"]["version"]) == (5, 1)
    assert [(p["index"], p["prediction"]) for p in body["predictions"]] == [(0, "survived"), (2, "died")]
    faulty = {row["index"]: row["problems"] for row in body["faulty"]}
    assert faulty[1]["age"] == "want at least 0, got '-1'"
    assert faulty[1]["sex"] == "want one of female, male, got 'x'"
    assert faulty[3] == {"": "want an object with a value per input"}
    assert faulty[4]["ship"].startswith("no such input; known: pclass")
    one = client.post("/api/predict/titanic", json=WOMAN).json()
    assert one["probabilities"] == pytest.approx(body["predictions"][0]["probabilities"])


def test_csv_and_parquet_are_answered_as_a_list_is(client):
    table = pd.DataFrame([{"passenger_id": f"p{i}", **row} for i, row in enumerate([WOMAN, MAN, WOMAN])])
    listed = client.post(BATCH, content=table.to_json(orient="records")).json()
    file = io.BytesIO()
    table.to_parquet(file)
    text = client.post(BATCH, content=table.to_csv(index=False), headers={"content-type": "text/csv"}).json()
    packed = client.post(BATCH, content=file.getvalue()).json()
    assert text["predictions"] == packed["predictions"] == listed["predictions"]
    assert [row["id"] for row in listed["predictions"]] == ["p0", "p1", "p2"]


def test_the_rows_of_a_csv_are_counted_with_those_that_are_no_rows(client):
    table = "sex,pclass,sibsp,parch,fare\nmale,3,0,0,8\nmale,3\nfemale,first,0,0,-8\nfemale,1,0,0,80\n"
    body = client.post(BATCH, content=table).json()
    assert (body["rows"], [row["index"] for row in body["predictions"]]) == (4, [0, 3])
    assert [row["index"] for row in body["faulty"]] == [1, 2]
    assert body["faulty"][1]["problems"] == {"fare": "want at least 0, got '-8'"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the body is empty; want a JSON list"),
        (b"[]", "holds no rows"),
        (b'{"sex": "male"}', "is one JSON object; want a JSON list"),
        (b"[{]", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"sex,age\nmale,3\n", "lacks 4 of the columns of titanic"),
        (b"PAR1 not really", "is not a whole Parquet file"),
        (b"[1," * 1 + b"1," * MAX_ROWS + b"1]", "the limit is 10,000; divide it"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_table_is_refused_with_what_was_wanted(client, content, words):
    answer = client.post(BATCH, content=content)
    assert answer.status_code == 422
    assert words in answer.json()["error"]


def test_a_batch_without_one_good_row_is_refused_and_its_rows_are_named(client):
    answer = client.post(BATCH, json=[{**WOMAN, "age": "old"}])
    assert answer.status_code == 422
    assert answer.json()["error"] == "none of the rows can be used"
    assert answer.json()["faulty"] == [{"index": 0, "problems": {"age": "want a number, got 'old'"}}]


def test_a_batch_may_be_larger_than_one_row_and_has_a_limit(client):
    assert client.post(BATCH, json=[MAN] * 1000).json()["rows"] == 1000
    assert client.post(BATCH, content=b" " * (MAX_BATCH_BYTES + 1)).status_code == 413
    assert client.post("/api/predict/nobody/batch", json=[MAN]).status_code == 404


values = st.sampled_from(
    [None, "", "NA", 3, 7.5, 1.234, "7,5", "1.234", "1,234", "8", "x", True, [1], -1, 1e400]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(values, values), min_size=1, max_size=6))
def test_a_row_in_a_list_is_read_as_if_it_came_alone(pairs):
    rows = [{**WOMAN, "age": age, "fare": fare} for age, fare in pairs]
    batch = read_batch(TITANIC, json.dumps(rows).encode())
    for place, row in enumerate(rows):
        try:
            alone = check_inputs(TITANIC, row)
        except InvalidInput as error:
            assert batch.problems[place] == error.problems
        else:
            pd.testing.assert_frame_equal(batch.rows.loc[[place]].reset_index(drop=True), alone)


def test_of_numbers_in_unusual_writing_so_many_are_read_and_the_rest_are_named():
    batch = read_batch(TITANIC, json.dumps([{**WOMAN, "fare": "7,5"}] * (MAX_UNUSUAL + 2)).encode())
    assert (len(batch.rows), list(batch.problems)) == (MAX_UNUSUAL, [MAX_UNUSUAL, MAX_UNUSUAL + 1])
    assert batch.problems[MAX_UNUSUAL] == {"fare": "want a number in plain writing, got '7,5'"}


def test_predictions_are_a_table_that_can_be_read_back(client):
    answer = client.get("/api/predictions/titanic.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="predictions-titanic.csv"'
    table = pd.read_csv(io.BytesIO(answer.content))
    assert len(table) == 40
    assert set(table["origin"]) == {"synthetic"}
    assert {"passenger_id", "fare", "probability_survived", "model_version", "outcome"} <= set(table)
    assert (table["probability_died"] + table["probability_survived"]).tolist() == pytest.approx([1.0] * 40)
    packed = pq.read_table(io.BytesIO(client.get("/api/predictions/titanic.parquet").content)).to_pandas()
    assert packed["row_id"].tolist() == table["row_id"].tolist()
    assert packed["fare"].tolist() == table["fare"].tolist()
    every = pd.read_csv(io.BytesIO(client.get("/api/predictions/titanic.csv?every=true").content))
    assert (len(every), every["seen_in_training"].sum()) == (931, 891)
    assert client.get("/api/predictions/nobody.csv").status_code == 404


def test_before_the_first_prediction_a_file_has_its_header(tmp_path):
    empty = TestClient(build_api(TabularDesk(str(tmp_path / "store"))))
    for query in ("", "?every=true"):
        table = pd.read_csv(io.BytesIO(empty.get(f"/api/predictions/titanic.csv{query}").content))
        assert "probability_survived" in table
        assert table.empty


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1"]
)
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell):
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-5", "+4.5", "Braund, Mr. Owen", "a=b", "", None, -3.5])
def test_other_cells_stay_as_they_are(cell):
    assert harmless(cell) == cell


def test_an_id_that_is_a_formula_is_text_in_the_file():
    store = open_store(str(filled_store()))
    features, made, _ = load(TITANIC, store)
    name = made["row_id"].iloc[-1]
    for frame in (features, made):
        frame["row_id"] = frame["row_id"].replace(name, "titanic-=HYPERLINK(1)")
    table = predictions(TITANIC, features, made)
    text = b"".join(to_csv(table)).decode("utf-8-sig")
    assert "'=HYPERLINK(1)" in text
    assert ",=HYPERLINK" not in text
    assert "=HYPERLINK(1)" in pq.read_table(io.BytesIO(to_parquet(table)))["passenger_id"].to_pylist()


def test_a_body_of_no_kind_is_refused():
    with pytest.raises(SourceError):
        read_batch(TITANIC, b"\x00\x01\x02")
