"""The emulator with the real SDK."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from emulator_client import plain_client, together
from emulator_process import hopsworks_emulator

pytest.importorskip("hopsworks", reason="the extra hopsworks is not installed")

WRITE = {
    "write_options": {"wait_for_job": True},
    "validation_options": {
        "run_validation": False,
        "fetch_expectation_suite": False,
        "schema_validation": False,
    },
}
FIVE = pd.DataFrame(
    {
        "id": list("abcde"),
        "ts": pd.date_range("2026-01-01", periods=5),
        "size": [1.0, 2.0, 3.0, 4.0, 5.0],
        "kind": ["x", "y", "x", "y", "x"],
    }
)


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


WITH_QUERY_SERVICE = port_is_free(5005)  # the SDK has the port hard-coded
needs_query_service = pytest.mark.skipif(not WITH_QUERY_SERVICE, reason="port 5005 is taken")


AUTHORITY = "HOPSWORKS_TRUST_STORE_PATH"  # it would win over what a login is given


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    """One for all tests here: the SDK knows one connection per process."""
    root = tmp_path_factory.mktemp("hopsworks")
    with hopsworks_emulator(root, query_service=WITH_QUERY_SERVICE, folder_locations=True) as running:
        yield running
        assert running.unknown() == []


@pytest.fixture(scope="module")
def project(emulator, tmp_path_factory):
    import hopsworks

    with pytest.MonkeyPatch.context() as patched:
        patched.delenv(AUTHORITY, raising=False)
        yield hopsworks.login(
            host=emulator.host,
            port=emulator.port,
            project=emulator.project,
            api_key_value=emulator.api_key,
            engine="python",
            hostname_verification=True,
            trust_store_path=str(emulator.certificate),
            cert_folder=str(tmp_path_factory.mktemp("certificates")),
        )
        hopsworks.logout()


@pytest.fixture(scope="module")
def group(project):
    """Five rows, the first two written twice."""
    from hsfs.feature import Feature

    store = project.get_feature_store()
    kinds = {"id": "string", "ts": "timestamp", "size": "double", "kind": "string"}
    source = store.get_data_source("lake")
    source.path = "features/boxes_1"
    group = store.create_feature_group(
        "boxes",
        version=1,
        primary_key=["id"],
        event_time="ts",
        features=[Feature(name, kind) for name, kind in kinds.items()],
        data_source=source,
        time_travel_format="DELTA",
        online_enabled=False,
        stream=False,
        statistics_config=False,
    )
    group.save()
    group.insert(FIVE.head(2), **WRITE)
    group.insert(FIVE, **WRITE)
    return group


@pytest.fixture(scope="module")
def view(project, group):
    store = project.get_feature_store()
    return store.get_or_create_feature_view(
        "boxes", version=1, query=group.select(["size", "kind"]), labels=["kind"]
    )


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "inner").mkdir()
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 10)
    (folder / "inner" / "empty").touch()
    return folder


@pytest.fixture(scope="module")
def model(project, view, model_folder):
    """Saved once: the SDK sleeps five seconds at each save."""
    if WITH_QUERY_SERVICE:
        view.train_test_split(test_size=0.2)  # makes training dataset 1
    registry = project.get_model_registry()
    new = registry.python.create_model(
        "boxes", metrics={"error": 0.12}, input_example=FIVE.head(1), feature_view=view
    )
    return new.save(str(model_folder), await_registration=10)


LOGIN = """
import json, os, sys, hopsworks
port, right, wrong = sys.argv[1:]
key = os.environ["HOPSWORKS_API_KEY"]
changes = {"trust_store_path": wrong, "api_key_value": "other", "project": "other"}
cases = {"right": {}, **{name: {name: value} for name, value in changes.items()}}
told = {}
for name, changed in cases.items():
    wanted = dict(host="127.0.0.1", port=int(port), project="dagsverk", api_key_value=key, engine="python",
                  hostname_verification=True, trust_store_path=right, cert_folder="certificates")
    try:
        hopsworks.login(**{**wanted, **changed})
        told[name] = "in"
        hopsworks.logout()
    except Exception as error:
        told[name] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def logins(emulator, tmp_path_factory):
    """What became of four logins, in a process of its own: a refused one disturbs the next."""
    from emulator_certificates import certificates

    folder = tmp_path_factory.mktemp("logins")
    authorities = [str(emulator.certificate), str(certificates(folder / "other") / "ca.pem")]
    variables = {**os.environ, **emulator.variables()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOGIN, str(emulator.port), *authorities],
        cwd=folder,
        env={name: text for name, text in variables.items() if name != AUTHORITY},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_the_sdk_logs_in_over_verified_tls(logins):
    assert logins["right"] == "in"


@pytest.mark.parametrize(
    "case, told",
    [
        ("trust_store_path", "certificate verification"),
        ("api_key_value", "HTTP code: 401"),
        ("project", "Could not find project"),
    ],
)
def test_the_sdk_is_refused_with_a_wrong_one(logins, case, told):
    assert told in logins[case]


def test_upserts_are_kept_as_commits_of_a_delta_table(group):
    commits = group.commit_details()
    rows = sorted((one["rowsInserted"], one["rowsUpdated"]) for one in commits.values())
    assert rows == [(2, 0), (3, 2)]


def test_a_group_is_found_by_name_and_version_and_as_one_of_all_versions(project, group):
    store = project.get_feature_store()
    assert store.get_feature_group("boxes", 1).location == group.location
    assert [one.version for one in store.get_feature_groups("boxes")] == [1]
    assert store.get_feature_group("boxes", 2) is None


@needs_query_service
def test_the_query_service_answers_reads_filters_and_views(group, view):
    assert sorted(group.read()["id"]) == list("abcde")
    big = group.select(["id", "size"]).filter(group.size > 3).read()
    assert sorted(big["id"]) == ["d", "e"]
    batch = view.get_batch_data(start_time="2026-01-02", end_time="2026-01-04")
    assert list(batch.columns) == ["size"]
    assert sorted(batch["size"]) == [2.0, 3.0]


def test_a_feature_view_names_its_parent_groups(view):
    assert [one.name for one in view.get_parent_feature_groups().accessible] == ["boxes"]


def test_a_group_with_a_view_is_deleted_only_by_force(emulator, view):
    with plain_client(emulator) as web:
        groups = f"{web.base}/featurestores/67/featuregroups"
        identity = web.get(f"{groups}/boxes?version=1").json()[0]["id"]
        assert web.delete(f"{groups}/{identity}").status_code == 400


def test_a_model_comes_back_as_it_was_saved(project, model, model_folder, tmp_path):
    registry = project.get_model_registry()
    found = registry.get_model("boxes", 1)
    folder = Path(found.download(str(tmp_path / "here")))
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"weights.bin": bytes(range(256)) * 10, "inner/empty": b""}
    assert found.training_metrics == {"error": 0.12}
    assert [one.version for one in registry.get_models("boxes")] == [1]
    assert registry.get_models("others") == []


@needs_query_service
def test_a_model_knows_its_feature_view_through_the_training_dataset(model, view):
    assert [one.name for one in model.get_feature_view_provenance().accessible] == ["boxes"]
    assert [one.name for one in view.get_models()] == ["boxes"]


def test_the_best_model_for_a_metric_that_none_has_is_some_model(project, model):
    assert project.get_model_registry().get_best_model("boxes", "loudness", "max").version == 1


def test_the_sdk_uploads_lists_moves_and_downloads_files(project, tmp_path):
    files = project.get_dataset_api()
    content = b"\r\n--line\r\n" * 100
    (tmp_path / "a file.bin").write_bytes(content)
    files.mkdir("Resources/sdk")
    files.upload(str(tmp_path / "a file.bin"), "Resources/sdk", chunk_size=300)
    files.move("Resources/sdk/a file.bin", "Resources/sdk/b.bin")
    files.copy("Resources/sdk/b.bin", "Resources/sdk/c.bin")
    assert sorted(files.list("Resources/sdk")) == ["/Resources/sdk/b.bin", "/Resources/sdk/c.bin"]
    assert Path(files.download("Resources/sdk/c.bin", str(tmp_path))).read_bytes() == content
    assert files.read_content("/Resources/sdk/b.bin").content == content


def test_two_saves_of_one_model_at_once_both_fail(emulator, project, model_folder):
    """Both choose version 1; the loser's clean-up deletes the folder that the winner fills."""
    project.get_dataset_api().mkdir("Models/raced")
    emulator.barrier("POST", "Models/raced/1.action=create", parties=2)
    emulator.barrier("*", "Models/raced/1/Files.action=create|Models/raced/1$", parties=2)
    registry, failed = project.get_model_registry(), []

    def save():
        try:
            registry.python.create_model("raced").save(str(model_folder), await_registration=5)
        except Exception as error:  # noqa: BLE001 - whatever the SDK makes of it
            failed.append(error)

    together([save, save])
    assert len(failed) == 2
    assert registry.get_models("raced") == []
