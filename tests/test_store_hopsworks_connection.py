"""The connection to Hopsworks: what it refuses and says, and what it leaves alone in its process."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator_certificates import certificates
from emulator_client import plain_client
from emulator_process import Emulator
from hopsworks_project import project_url, shared_emulator

from dagsverk.store import StoreError, open_store

pytest.importorskip("dagsverk.store.hopsworks.store", reason="the extra hopsworks is not installed")

STORE = Path(__file__).parents[1] / "dagsverk" / "store" / "hopsworks"
MODULES = ["store", "connection", "files", "models", "hopsfs"]
WRONG_KEY = "not-the-key-hunter2"

# A process of its own for each: the SDK keeps its login in globals
TRIES = """
import json, logging, os, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
from dagsverk.store import StoreError, Unavailable, open_store
from dagsverk.store.hopsworks import connection
connection.CONNECT_S, connection.READ_S, connection.PAUSE_S = 0.3, 0.3, 0.001
outcomes = {}
for name, (url, variables) in json.load(sys.stdin).items():
    kept = dict(os.environ)
    os.environ.update({key: value for key, value in variables.items() if value is not None})
    [os.environ.pop(key, None) for key, value in variables.items() if value is None]
    try:
        outcomes[name] = ["opened", open_store(url).url, ""]
    except StoreError as error:
        kind = "Unavailable" if isinstance(error, Unavailable) else type(error).__name__
        outcomes[name] = [kind, str(error), "".join(traceback.format_exception(error))]
    os.environ.clear()
    os.environ.update(kept)
print(json.dumps(outcomes))
"""


def python(script: str, *, given: object = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(given),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def emulator() -> Emulator:
    return shared_emulator()


@pytest.fixture(scope="module")
def silent_port() -> Iterator[int]:
    """Somebody listens there, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture(scope="module")
def tries(
    emulator: Emulator, silent_port: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    """Error type, message and traceback of each attempt to open a store, by its name."""
    url, key, ca = project_url(), "HOPSWORKS_API_KEY", "HOPSWORKS_TRUST_STORE_PATH"
    here = f"hopsworks://127.0.0.1:{emulator.port}"
    other_ca = str(certificates(tmp_path_factory.mktemp("other")) / "ca.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed_port = probe.getsockname()[1]
    elsewhere = {"HOPSWORKS_HOST": "192.0.2.1", "HOPSWORKS_PORT": "1", "HOPSWORKS_PROJECT": "another"}
    cases: dict[str, tuple[str, dict[str, str | None]]] = {
        "no key": (url, {key: None}),
        "empty key": (url, {key: ""}),
        "wrong key": (url, {key: WRONG_KEY}),
        "broken key": (url, {key: f"{WRONG_KEY}\nX: y"}),
        "foreign key": (url, {key: f"{WRONG_KEY}…"}),
        "wrong project": (f"{here}/nobody", {}),
        "no authority": (url, {ca: None}),
        "wrong authority": (url, {ca: other_ca}),
        "absent authority": (url, {ca: "/nowhere/ca.pem"}),
        "no server": (f"hopsworks://127.0.0.1:{closed_port}/dagsverk", {}),
        "no such host": ("hopsworks://host.invalid/dagsverk", {}),
        "silent server": (f"hopsworks://127.0.0.1:{silent_port}/dagsverk", {}),
        "unverified": (url, {"HOPSWORKS_HOSTNAME_VERIFICATION": "false"}),
        "default port": ("hopsworks://127.0.0.1/dagsverk", {"HOPSWORKS_PORT": str(emulator.port)}),
        "other variables": (url, elsewhere),
        "another project": (f"{here}/nobody", {}),
        "another port": ("hopsworks://127.0.0.1/dagsverk", {}),
    }
    done = python(TRIES, given=cases)
    assert done.returncode == 0, done.stderr
    assert WRONG_KEY not in done.stdout + done.stderr
    assert emulator.api_key not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "case, kind, words",
    [
        ("no key", "StoreError", "set HOPSWORKS_API_KEY"),
        ("empty key", "StoreError", "set HOPSWORKS_API_KEY"),
        ("wrong key", "StoreError", "HOPSWORKS_API_KEY is not accepted.*make one in your account"),
        ("broken key", "StoreError", "HOPSWORKS_API_KEY .not shown. is no key.*one word"),
        ("foreign key", "StoreError", "HOPSWORKS_API_KEY .not shown. is no key.*one word"),
        ("wrong project", "StoreError", "cannot log in to .*/nobody.*Project wasn't found"),
        ("no authority", "StoreError", "cannot be verified; name .* in HOPSWORKS_TRUST_STORE_PATH"),
        ("wrong authority", "StoreError", "cannot be verified; name .* in HOPSWORKS_TRUST_STORE_PATH"),
        ("absent authority", "StoreError", "HOPSWORKS_TRUST_STORE_PATH.*no such file"),
        ("no server", "Unavailable", "no answer.*check the address, or try again"),
        ("no such host", "Unavailable", "no answer.*check the address, or try again"),
        ("silent server", "Unavailable", "no answer.*check the address, or try again"),
        ("unverified", "StoreError", "HOPSWORKS_HOSTNAME_VERIFICATION switches the check.*unset it"),
        ("default port", "Unavailable", "no answer"),
        ("other variables", "opened", "hopsworks://127.0.0.1:"),
        ("another project", "StoreError", "is connected to .*a process of its own"),
        ("another port", "StoreError", "is connected to .*a process of its own"),
    ],
)
def test_opening_says_what_is_wrong_and_what_to_do(
    tries: dict[str, list[str]], case: str, kind: str, words: str
) -> None:

    assert tries[case][0] == kind, tries[case]
    assert re.search(words, tries[case][1]), tries[case][1]


def test_no_key_is_in_any_error_or_what_caused_it(tries: dict[str, list[str]], emulator: Emulator) -> None:
    for _, message, chain in tries.values():
        for key in (WRONG_KEY, emulator.api_key):
            assert key not in message + chain


def test_a_server_that_stalls_is_given_up(emulator: Emulator) -> None:
    emulator.fault("GET", "getProjectInfo", "stall", seconds=60, times=None)
    try:
        done = python(TRIES, given={"stalled": (project_url(), {})})
    finally:
        emulator.clear_faults()
    kind, message, _ = json.loads(done.stdout)["stalled"]
    assert kind == "Unavailable" and "cannot log in" in message


@pytest.mark.parametrize(
    "url",
    [
        "hopsworks://",
        "hopsworks:///project",
        "hopsworks://host",
        "hopsworks://host/",
        "hopsworks://host:hunter2/project",
        "hopsworks://host:0/project",
        "hopsworks://[host/project",
        "hopsworks://hunter2@host/project",
        "hopsworks://user:hunter2@host/project",
        "hopsworks://:hunter2@host/project",
        "hopsworks://host/project/prefix/deeper",
        "hopsworks://host/project?api_key=hunter2",
        "hopsworks://host/project?data_source=lake&key=hunter2",
        "hopsworks://host/project#hunter2",
    ],
)
def test_an_address_of_another_form_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match=r"want hopsworks://HOST.*HOPSWORKS_API_KEY") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("prefix", ["Upper", "1st", "a-b", "a%20b", "a" * 64])
def test_a_prefix_that_cannot_begin_a_name_is_refused(prefix: str) -> None:
    with pytest.raises(StoreError, match="cannot begin a feature group's name"):
        open_store(f"hopsworks://host/project/{prefix}")


# ------------------------------------------------------------------ what the process notices of it

QUIET = """
import logging, sys, tempfile, warnings
from pathlib import Path
import pandas, deltalake, pyarrow, requests
def state(): return logging.getLogger().handlers[:], logging.getLogger().level, warnings.formatwarning
before = state()
sys.path.insert(0, "tests/support")
from store_backends import TABLE, rows
from dagsverk.store import open_store
store = open_store()
store.ensure(TABLE)
store.upsert(TABLE, rows(["a"]))
schema = {"id": "string", "ts": "timestamp", "value": "double"}
lineage = {"lineage": {"table": "rows", "label": "value"}}
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "a.bin").write_bytes(b"1")
    more = {"info": lineage, "input_example": {"a": 1}, "schema": schema}
    store.save_model("m", Path(folder), metrics={"x": 1.0}, **more)
    store.download(store.models("m")[0], Path(folder, "copy"))
assert state() == before, (state(), before)
"""


def test_it_prints_nothing_and_leaves_logging_and_warnings_alone(emulator: Emulator) -> None:
    done = python(QUIET, DAGSVERK_STORE=project_url(), PYTHONWARNINGS="default::UserWarning")
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


HELD = """
import sys
from dagsverk.store import open_store
open_store()
print("open", flush=True)
sys.stdin.readline()
"""


def test_certificates_lie_in_a_folder_of_the_process_and_go_with_it(
    emulator: Emulator, tmp_path: Path
) -> None:
    variables = {**os.environ, "DAGSVERK_STORE": project_url(), "TMPDIR": str(tmp_path)}
    held = subprocess.Popen(
        [sys.executable, "-c", HELD],
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert held.stdout is not None and held.stdout.readline() == "open\n"
    (folder,) = tmp_path.glob("dagsverk-hopsworks-*")
    kept = sorted(path.name for path in folder.iterdir())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and "client_key.pem" in kept
    assert python(HELD, DAGSVERK_STORE=project_url(), TMPDIR=str(tmp_path)).returncode == 0  # logs out
    assert sorted(path.name for path in folder.iterdir()) == kept
    held.communicate("end\n")
    assert held.returncode == 0
    assert list(tmp_path.iterdir()) == []


LEFT = """
import hopsworks
from dagsverk.store import open_store
first = open_store()
first.put("a", b"1")
hopsworks.logout()
print(open_store().get("a"), first.get("a"))
"""


def test_a_store_is_opened_again_after_another_part_of_the_program_has_logged_out(emulator: Emulator) -> None:
    done = python(LEFT, DAGSVERK_STORE=project_url())
    assert done.stdout == "b'1' b'1'\n", done.stderr


OLD = """
import warnings
from hopsworks_common import version
version.__version__ = "5.1.9"
from dagsverk.store import open_store
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    open_store()
print(*[str(one.message) for one in caught], sep="\\n")
"""


def test_a_client_of_another_minor_version_is_told_which_to_install(emulator: Emulator) -> None:
    done = python(OLD, DAGSVERK_STORE=project_url())
    assert "pip install hopsworks==5.2.*" in done.stdout, done.stdout + done.stderr


ELSEWHERE = """
import sys
from dagsverk.store import open_store
for url in sys.argv[1:]:
    open_store(url).list("")
sdk = {"hopsworks", "hopsworks_common", "hsfs", "hsml"}
print(sorted({name.split(".")[0] for name in sys.modules} & sdk))
"""


def test_other_stores_do_not_import_the_sdk(emulator: Emulator, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "store"), "s3://lake/elsewhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


# ------------------------------------------------------------------ a real project in the emulator's place

USED = """
import sys, tempfile
from pathlib import Path
sys.path.insert(0, "tests/support")
from hopsworks_project import project_url
from store_backends import TABLE, rows
from dagsverk.store import open_store
url = project_url("borrowed")
store = open_store(url)
store.ensure(TABLE)
store.upsert(TABLE, rows(["a"]))
store.put("note", b"hunter2")
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "a.bin").write_bytes(b"1")
    lineage = {"lineage": {"table": "rows", "label": "value"}}
    schema = {"id": "string", "value": "double"}
    store.save_model("m", Path(folder), metrics={"x": 1.0}, info=lineage, schema=schema)
print(url)
"""


def test_what_tests_make_in_a_real_project_is_removed_and_its_shapes_are_recorded(
    emulator: Emulator, tmp_path: Path
) -> None:
    real = f"{emulator.url}?data_source=lake"
    emulator.forget_requests()
    done = python(USED, DAGSVERK_TEST_HOPSWORKS=real, DAGSVERK_RECORD=str(tmp_path / "shapes"))
    assert done.stdout == f"{emulator.url}/borrowed?data_source=lake\n", done.stderr
    assert "hunter2" not in "".join(path.read_text() for path in (tmp_path / "shapes").iterdir())
    recorded = len(list((tmp_path / "shapes").iterdir()))
    assert recorded == len(emulator.requests()) > 50  # the login and the removal too
    folders = emulator.root / "hopsfs" / "Projects" / "dagsverk"
    assert not any(path for path in folders.rglob("*") if "borrowed" in path.name)
    with plain_client(emulator) as web:
        store = f"{web.base}/featurestores/67"
        assert web.get(f"{store}/featuregroups/borrowed__rows").status_code == 404
        assert web.get(f"{store}/featureview/borrowed__m").status_code == 404
        assert web.get(f"{web.base}/modelregistries/119/models/borrowed__m_1").status_code == 404


# ------------------------------------------------------------------ private names of the SDK

PRIVATE = {
    "_client": "hopsworks_common.client",
    "_commit": "hsfs.core.feature_group_api:FeatureGroupApi",
    "_get_delta_rs_location": "hsfs.core.delta_engine:DeltaEngine",
    "_get_delta_rs_storage_options": "hsfs.core.delta_engine:DeltaEngine",
    "_get_instance": "hopsworks_common.client",
    "_is_hopsfs_storage": "hsfs.feature_group:FeatureGroup",
    "_list_dataset_path": "hopsworks_common.core.dataset_api:DatasetApi",
    "_poll_model_available": "hsml.engine.model_engine:ModelEngine",
    "_model_engine": "hsml.model:Model",
    "_session": "hopsworks_common.client.external:Client",
}
SET_IN_INIT = {"_model_engine", "_session"}
PATCHED = {
    "hopsworks": "logout",
    "hopsworks_common.client.external": "requests",
    "hopsworks_common.core.dataset_api": "tqdm",
    "hsml.engine.model_engine": "tqdm",
    "hsfs.core.feature_group_engine": "FeatureGroupEngine",
    "hsfs.core.feature_view_engine": "FeatureViewEngine",
}


def private_names() -> set[str]:
    """Names with one leading underscore that the modules ask of anything but themselves."""
    names = set()
    for module in MODULES:
        for node in ast.walk(ast.parse((STORE / f"{module}.py").read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self":
                names.add(node.attr)
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def test_every_private_name_that_is_used_is_listed() -> None:
    assert private_names() == set(PRIVATE)


@pytest.mark.parametrize("name", sorted(PRIVATE))
def test_a_private_name_is_in_the_installed_sdk(name: str) -> None:
    module, _, owner = PRIVATE[name].partition(":")
    imported = importlib.import_module(module)
    holder = getattr(imported, owner) if owner else imported
    if name in SET_IN_INIT:
        import inspect

        assert f"self.{name} =" in inspect.getsource(holder)
    else:
        assert hasattr(holder, name)


@pytest.mark.parametrize("module", sorted(PATCHED))
def test_a_module_that_is_silenced_is_where_it_was(module: str) -> None:
    assert hasattr(importlib.import_module(module), PATCHED[module])
