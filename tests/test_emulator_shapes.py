"""Recordings of exchanges tell shapes and nothing else, and two of them can be compared."""

import json
import re

import pytest
import requests
from emulator_process import hopsworks_emulator
from emulator_shapes import Recorder, normalised, problems

GROUP = {"name": "secret_boxes", "version": 7, "features": [{"name": "weight_of_it", "type": "double"}]}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A few exchanges with an emulator, and its key."""
    root = tmp_path_factory.mktemp("recorded")
    recorder = Recorder(root / "shapes")
    with hopsworks_emulator(root / "emulator", folder_locations=True) as emulator, requests.Session() as web:
        web.trust_env = False  # REQUESTS_CA_BUNDLE would win over `verify`
        web.verify = str(emulator.certificate)
        web.headers["Authorization"] = f"ApiKey {emulator.api_key}"
        base = f"https://127.0.0.1:{emulator.port}/hopsworks-api/api/project/119"
        recorder.attach(web)
        web.post(f"{base}/featurestores/67/featuregroups", json=GROUP)
        web.get(f"{base}/featurestores/67/featuregroups/secret_boxes", params={"version": 7})
        model = {"name": "secret_net", "version": 3, "metrics": {"secret_error": 0.125}}
        web.put(f"{base}/modelregistries/119/models/secret_net_3", json=model)
        web.get(f"{base}/dataset/Resources%2Fsecret_place", params={"action": "listing"})
        recorder.detach(web)
        web.get(f"{base}/dataset/Resources")
    return root / "shapes", emulator.api_key


def test_an_exchange_is_one_file_and_only_while_attached(recorded):
    told = [json.loads(path.read_text()) for path in sorted(recorded[0].iterdir())]
    assert [(one["method"], one["path"], one["status"]) for one in told] == [
        ("POST", "/hopsworks-api/api/project/{id}/featurestores/{id}/featuregroups", 201),
        ("GET", "/hopsworks-api/api/project/{id}/featurestores/{id}/featuregroups/{name}", 200),
        ("PUT", "/hopsworks-api/api/project/{id}/modelregistries/{id}/models/{name}", 201),
        ("GET", "/hopsworks-api/api/project/{id}/dataset/{path} (listing)", 400),
    ]
    assert told[3]["error_code"] == 110018


def test_a_recording_holds_no_value(recorded):
    folder, api_key = recorded
    text = "".join(path.read_text() for path in folder.iterdir())
    for private in ("secret", "weight", "double", "Authorization", api_key):
        assert private not in text, private
    assert set(re.findall(r"\d+", text)) == {"200", "201", "400", "110018"}  # statuses, one error code


@pytest.mark.parametrize(
    "path, expected",
    [
        ("variables/versions", "variables/{name}"),
        ("project/getProjectInfo/api", "project/getProjectInfo/{name}"),
        ("project/1/featurestores/me_featurestore", "project/{id}/featurestores/{name}"),
        ("project/1/1/models/models/tags/models", "project/{id}/{id}/models/{name}/tags/{name}"),
        ("project/1/dataset/upload/a/b", "project/{id}/dataset/upload/{path}"),
        ("project/1/dataset/upload%2Fb?action=move&destination_path=x", "project/{id}/dataset/{path} (move)"),
        ("project/1/dataset/a?action=mine", "project/{id}/dataset/{path}"),
    ],
)
def test_paths_keep_the_words_of_the_api_and_lose_all_others(path, expected):
    path, _, query = path.partition("?")
    assert normalised(f"/hopsworks-api/api/{path}", query) == f"/hopsworks-api/api/{expected}"


def recording(folder, *answers):
    """Exchanges that differ in what the server answered."""
    from emulator_shapes import shape

    folder.mkdir()
    for i, answer in enumerate(answers):
        exchange = {"method": "GET", "path": "/x", "status": 200, "error_code": None, "answer": shape(answer)}
        (folder / f"{i}.json").write_text(json.dumps(exchange))
    return folder


@pytest.mark.parametrize(
    "cluster, emulator, expected",
    [
        ({"id": 1, "name": "a"}, {"id": 2, "name": "b", "more": True}, []),
        ({"id": 1, "name": "a"}, {"id": 2}, ["GET /x 200: answer.name is missing"]),
        ({"id": 1}, {"id": "1"}, ["GET /x 200: answer.id is string, recorded as number"]),
        ({"id": None}, {"id": 1}, []),
        ({"items": [{"a": 1}, {"b": 1}]}, {"items": [{"a": 1}]}, ["GET /x 200: answer.items[].b is missing"]),
        ({"metrics": {"error": 1}}, {"metrics": {"loss": 1}}, []),
        ([{"a": 1}], {"a": 1}, ["GET /x 200: answer is object, recorded as list"]),
    ],
)
def test_a_comparison_finds_what_the_emulator_lacks(tmp_path, cluster, emulator, expected):
    assert problems(recording(tmp_path / "a", cluster), recording(tmp_path / "b", emulator)) == expected


def test_an_exchange_that_the_emulator_never_had_is_told(tmp_path):
    assert problems(recording(tmp_path / "a", {}), recording(tmp_path / "b")) == [
        "GET /x 200: the emulator never answered so"
    ]


def test_a_recording_agrees_with_itself(recorded):
    assert problems(recorded[0], recorded[0]) == []
