"""The rules that the emulator keeps, and the faults that it makes on demand, without the SDK."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from emulator_client import PROJECT, make_folder, names_in, plain_client, together, upload
from emulator_process import hopsworks_emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with hopsworks_emulator(tmp_path_factory.mktemp("hopsworks"), folder_locations=True) as running:
        yield running
        assert running.unknown() == []


@pytest.fixture
def web(emulator):
    """A plain client; every fault is gone at its end."""
    with plain_client(emulator) as session:
        yield session
    emulator.clear_faults()


def test_a_deleted_model_takes_its_folder_with_it(web):
    for folder in ("Models/gone", "Models/gone/1"):
        make_folder(web, folder)
    web.put(f"{web.base}/modelregistries/119/models/gone_1", json={"name": "gone", "version": 1})
    assert web.delete(f"{web.base}/modelregistries/119/models/gone_1").status_code == 200
    assert names_in(web, "Models/gone") == []
    assert web.get(f"{web.base}/modelregistries/119/models/gone_1").json()["errorCode"] == 360000


@pytest.mark.parametrize(
    "do, status, code",
    [
        (lambda web: web.get(f"{web.base}/dataset/Resources/none"), 400, 110018),
        (lambda web: web.get(f"{web.base}/dataset/None"), 400, 110011),
        (lambda web: make_folder(web, "Resources"), 400, 110047),
        (lambda web: make_folder(web, "Resources/no/parent"), 422, 120004),
        (lambda web: upload(web, "Resources/none", "f", b"1"), 400, 110018),
        (lambda web: web.get(f"{web.base}/featurestores/67/featuregroups/none?version=1"), 404, 270009),
        (lambda web: web.get(f"{web.base}/featurestores/67/featureview/none/version/1"), 404, 270181),
        (lambda web: web.get(f"{web.base}/featurestores/67/storageconnectors/none"), 404, 270042),
        (
            lambda web: web.post(f"{web.base}/featurestores/67/featureview", json={"name": "Big"}),
            400,
            270091,
        ),
    ],
)
def test_a_refusal_carries_the_error_code_of_hopsworks(web, do, status, code):
    answer = do(web)
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)


def test_an_upload_never_replaces_a_file_and_appears_only_when_whole(web):
    make_folder(web, "Resources/chunks")
    assert upload(web, "Resources/chunks", "f", b"1234", number=2, chunks=2).status_code == 200
    assert names_in(web, "Resources/chunks") == []
    assert upload(web, "Resources/chunks", "f", b"abcd", number=1, chunks=2).status_code == 200
    assert names_in(web, "Resources/chunks") == ["f"]
    assert upload(web, "Resources/chunks", "f", b"other").json()["errorCode"] == 110012
    url = f"{web.base}/dataset/download/with_auth/Resources/chunks/f"
    assert web.get(url).content == b"abcd1234"


def test_of_many_who_move_to_one_path_one_succeeds(emulator):
    with plain_client(emulator) as web:
        make_folder(web, "Resources/race")
        for i in range(8):
            make_folder(web, f"Resources/race/from{i}")
    emulator.barrier("POST", "action=move", parties=8)
    statuses = []

    def move(i):
        with plain_client(emulator) as own:
            where = {"action": "move", "destination_path": "Resources/race/to"}
            statuses.append(own.post(f"{own.base}/dataset/Resources/race/from{i}", params=where).status_code)

    together([lambda i=i: move(i) for i in range(8)])
    assert sorted(statuses) == [204] + [400] * 7


def test_listings_come_in_pages_in_the_order_asked_for(web):
    make_folder(web, "Resources/pages")
    for name in "bca":
        make_folder(web, f"Resources/pages/{name}")
    assert names_in(web, "Resources/pages", sort_by="NAME:desc", offset=0, limit=2) == ["c", "b"]
    assert names_in(web, "Resources/pages", sort_by="NAME:desc", offset=2, limit=2) == ["a"]


@pytest.mark.parametrize("kind, done", [("status", False), ("status_after", True)])
def test_a_status_fault_answers_the_code_before_or_after_the_work(emulator, web, kind, done):
    emulator.fault("POST", f"Resources/{kind}.*create", kind, code=504)
    assert make_folder(web, f"Resources/{kind}").status_code == 504
    assert (kind in names_in(web, "Resources")) == done


@pytest.mark.parametrize("kind, done", [("drop", False), ("drop_after", True)])
def test_a_drop_closes_the_connection_before_or_after_the_work(emulator, web, kind, done):
    emulator.fault("POST", f"Resources/{kind}.*create", kind)
    with pytest.raises(requests.ConnectionError):
        make_folder(web, f"Resources/{kind}")
    assert (kind in names_in(web, "Resources")) == done


def test_a_stall_lasts_until_its_time_is_up_or_faults_are_cleared(emulator, web):
    emulator.fault("GET", "dataset/Resources", "stall", seconds=60)
    with pytest.raises(requests.Timeout):
        web.get(f"{web.base}/dataset/Resources", timeout=0.2)
    emulator.fault("GET", "dataset/Resources", "stall", seconds=60)
    began = time.monotonic()
    waker = threading.Timer(0.2, emulator.clear_faults)
    waker.start()
    assert web.get(f"{web.base}/dataset/Resources", timeout=30).status_code == 200
    assert 0.1 < time.monotonic() - began < 20


def test_a_fault_strikes_as_often_as_it_should(emulator, web):
    emulator.fault("GET", "dataset/Resources", "status", times=2)
    assert [web.get(f"{web.base}/dataset/Resources").status_code for _ in range(3)] == [503, 503, 200]


def test_a_fault_by_chance_strikes_the_same_requests_each_time(emulator, web):
    def struck():
        emulator.fault("GET", "dataset/Resources", "status", times=None, probability=0.5, seed=7)
        found = [web.get(f"{web.base}/dataset/Resources").status_code for _ in range(20)]
        emulator.clear_faults()
        return found

    first = struck()
    assert set(first) == {200, 503}
    assert struck() == first


def test_a_barrier_lets_go_when_too_few_come(emulator, web):
    emulator.barrier("GET", "dataset/Resources", parties=2, timeout_s=0.1)
    assert web.get(f"{web.base}/dataset/Resources").status_code == 200


def test_requests_are_listed_until_forgotten(emulator, web):
    emulator.forget_requests()
    web.get(f"{web.base}/dataset/Resources", params={"action": "listing"})
    assert emulator.requests() == [f"GET {PROJECT}/dataset/Resources?action=listing"]


def test_a_killed_emulator_goes_on_with_all_that_it_acknowledged(tmp_path):
    columns = [{"name": "id", "primary": True}]
    with hopsworks_emulator(tmp_path, folder_locations=True) as emulator, plain_client(emulator) as web:
        groups = f"{web.base}/featurestores/67/featuregroups"
        made = web.post(groups, json={"name": "kept", "version": 1, "features": columns}).json()
        web.post(f"{groups}/{made['id']}/commits", json={"commitTime": 5, "rowsInserted": 1})
        query = {"leftFeatureGroup": made, "leftFeatures": columns, "joins": []}
        views = f"{web.base}/featurestores/67/featureview"
        web.post(views, json={"name": "seen", "version": 1, "query": query})
        web.put(f"{web.base}/modelregistries/119/models/kept_1", json={"name": "kept", "version": 1})
        upload(web, "Resources", "half", b"1111", number=1, chunks=2)
        port, pid = emulator.port, emulator.pid
        emulator.kill()
        emulator.restart()
        assert (emulator.port, emulator.pid != pid) == (port, True)
        assert web.get(f"{groups}/kept?version=1").json() == [made]
        assert web.get(f"{groups}/{made['id']}/commits").json()["count"] == 1
        assert web.get(f"{views}/seen/version/1").json()["name"] == "seen"
        assert web.get(f"{web.base}/modelregistries/119/models/kept_1").json()["version"] == 1
        upload(web, "Resources", "half", b"2222", number=2, chunks=2)
        assert web.get(f"{web.base}/dataset/download/with_auth/Resources/half").content == b"11112222"
        assert web.post(groups, json={"name": "next", "features": columns}).json()["id"] > made["id"]


def test_a_group_lies_where_its_data_source_says_and_no_key_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    with hopsworks_emulator(tmp_path, bucket="lake-bucket") as emulator, plain_client(emulator) as web:
        groups = f"{web.base}/featurestores/67/featuregroups"
        connector = web.get(f"{web.base}/featurestores/67/storageconnectors/lake").json()
        assert (connector["bucket"], connector["secretKey"]) == ("lake-bucket", "hunter2hunter2")

        def made(name, **source):
            return web.post(groups, json={"name": name, "dataSource": source, "features": []}).json()

        pathed = made("pathed", path="features/pathed", storageConnector=connector)
        assert pathed["location"] == "s3://lake-bucket/features/pathed"
        assert pathed["dataSource"]["storageConnector"] == connector
        assert made("unpathed", storageConnector=connector)["location"] == "s3://lake-bucket/unpathed_1"
        assert made("bare")["location"].startswith("hopsfs://")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"hunter2hunter2" not in kept


def test_absent_paths_answer_404_where_that_is_asked_for(tmp_path):
    with hopsworks_emulator(tmp_path, missing_status=404) as emulator, plain_client(emulator) as web:
        answer = web.get(f"{web.base}/dataset/Resources/none")
        assert (answer.status_code, answer.json()["errorCode"]) == (404, 110018)


def test_an_unknown_route_is_noted(tmp_path):
    with hopsworks_emulator(tmp_path) as emulator, plain_client(emulator) as web:
        assert web.get(f"{web.base}/jobs").status_code == 404
        assert emulator.unknown() == [f"GET {PROJECT}/jobs"]


def test_an_emulator_ends_with_the_process_that_started_it(tmp_path):
    starter = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent / "support")!r})
from pathlib import Path
from emulator_process import hopsworks_emulator
with hopsworks_emulator(Path({str(tmp_path)!r})) as emulator:
    print(emulator.pid, flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, check=False)
    wait_until_gone(int(done.stdout))


def wait_until_gone(pid):
    """Fails the test if the process still runs after ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} still runs")
