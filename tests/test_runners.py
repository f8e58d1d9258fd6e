"""The tasks of one run side by side, in threads, on Dask, on Ray: the same results, and what is refused."""

import dataclasses
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner
from prefect_server import wait_for

from dagsverk.records import last_report
from dagsverk.speech.config import CorpusConfig, PrepareConfig
from dagsverk.speech.features import shards
from dagsverk.store import open_store
from dagsverk.tabular.searching import STEP, SearchConfig, Searched
from flows.speech import speech_features
from flows.tabular import features, tabular_search
from tasks import runners

HAS_DASK, HAS_RAY = (importlib.util.find_spec(f"prefect_{name}") is not None for name in ("dask", "ray"))
CONFIG = SearchConfig(model_classes=("knn", "lda"), trials=3, outer_folds=2, outer_repeats=1, inner_folds=2)
CORPUS = CorpusConfig(train_clips=6, dev_clips=2, test_clips=2)


@pytest.fixture(scope="module")
def server(prefect_server):
    with temporary_settings(
        {PREFECT_API_URL: prefect_server.api_url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    ):
        yield prefect_server


@pytest.fixture
def room(monkeypatch, tmp_path):
    """A call that goes to a store of its own, where a runner of a name is set."""

    def enter(name, runner):
        monkeypatch.setenv("DAGSVERK_STORE", str(tmp_path / name / "store"))
        monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path / name / "cache"))
        monkeypatch.setenv(runners.VARIABLE, runner)
        return open_store()

    return enter


def search():
    """The search's report, without what it took."""
    features("iris")
    tabular_search("iris", CONFIG)
    report = last_report(open_store(), "iris", STEP, Searched)
    cost = dataclasses.replace(report.cost, seconds=0, cut_off=0)
    return dataclasses.replace(report, cost=cost, data_commit=0)


def prepared():
    """A set's name, and the bytes of its shards; its manifest says when it was made."""
    set_id = speech_features("sv", CORPUS, PrepareConfig(shard_clips=3))
    store = open_store()
    paths = sorted(path for path in store.list(shards.folder(set_id)) if path.endswith(".parquet"))
    return set_id, {path: store.get(path) for path in paths}


@pytest.mark.skipif(not HAS_DASK, reason="prefect-dask is not installed")
def test_what_runs_in_dasks_processes_comes_to_what_threads_come_to(server, room):
    room("threads", "threads")
    in_threads = prepared()
    room("cluster", "dask")
    assert prepared() == in_threads


@pytest.mark.skipif(not HAS_DASK, reason="prefect-dask is not installed")
def test_dasks_processes_listen_on_this_machine_alone():
    with runners.chosen("dask").duplicate() as started:
        assert started.client.scheduler_info()["workers"]
        here = psutil.Process()
        ours = [
            connection.laddr.ip
            for process in [here, *here.children(recursive=True)]
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
    assert set(ours) == {"127.0.0.1"}


@pytest.mark.skipif(not HAS_RAY, reason="prefect-ray is not installed")
def test_what_runs_on_a_ray_cluster_comes_to_what_threads_come_to(server, room, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    room("threads", "threads")
    in_threads = [search(), prepared()]
    room("cluster", "threads")
    with ray_cluster() as address:  # with the store in its environment, like that of any worker
        room("cluster", address)
        assert [search(), prepared()] == in_threads


@pytest.mark.skipif(not HAS_DASK, reason="prefect-dask is not installed")
def test_a_worker_of_a_cluster_that_is_killed_in_a_search_costs_no_trial(server, room, tmp_path):
    room("threads", "threads")
    in_threads = search()
    room("cluster", "threads")
    features("iris")
    with dask_cluster() as (address, worker), ThreadPoolExecutor(1) as beside:
        room("cluster", address)
        journals = tmp_path / "cluster" / "cache" / "search"
        killed = beside.submit(kill_once, worker, lambda: list(journals.glob("*.journal")))
        assert search() == in_threads
        assert killed.result() == worker


@contextmanager
def dask_cluster():
    """A cluster in a process of its own: its address, and the process id of one of its two workers."""
    script = """
    import sys
    from distributed import LocalCluster

    if __name__ == "__main__":
        with LocalCluster(2, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0") as cluster:
            print(cluster.scheduler_address, cluster.workers[0].pid, flush=True)
            sys.stdin.read()
    """
    command, both = [sys.executable, "-c", textwrap.dedent(script)], subprocess.PIPE
    with subprocess.Popen(command, stdin=both, stdout=both, text=True) as process:
        address, worker = process.stdout.readline().split()
        yield address, int(worker)
        process.stdin.close()


@contextmanager
def ray_cluster():
    """A cluster of one node, in processes of its own: its address."""
    port, client, folder = (
        free_port(),
        free_port(),
        tempfile.mkdtemp(dir="/tmp"),
    )  # its sockets want short names
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    ports = [f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
    node = ["--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--disable-usage-stats"]
    with subprocess.Popen([*command, *ports, *node], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: listens(client), "a Ray cluster")
            yield f"ray://127.0.0.1:{client}"
        finally:
            process.terminate()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as opened:
        return opened.getsockname()[1]


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def kill_once(process, ready):
    wait_for(ready, "a trial under way")
    os.kill(process, signal.SIGKILL)  # its nanny starts another; what it was given is given again
    return process


@pytest.mark.parametrize("name", ["", " ", "threads"])
def test_threads_are_what_nobody_has_to_ask_for(monkeypatch, name):
    monkeypatch.setenv(runners.VARIABLE, name)
    runner = tabular_search.task_runner.duplicate()
    assert isinstance(runner, ThreadPoolTaskRunner)
    assert runner._max_workers == tabular_search.task_runner._max_workers


@pytest.mark.parametrize(
    "name", ["spark", "dask://h:1", "tcp://", "ray", "ray://", "http://h", "://", "threads://x", "TCP"]
)
def test_another_name_is_refused_with_those_that_there_are(monkeypatch, name):
    monkeypatch.setenv(runners.VARIABLE, name)
    with pytest.raises(ValueError, match=r"names no host|threads .the default., dask"):
        tabular_search.task_runner.duplicate()


def test_a_key_in_a_clusters_address_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match=r"key|password") as refused:
        runners.chosen("tcp://user:hunter2@host:8786")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name, package", [("dask", "prefect_dask"), ("ray://host:10001", "ray")])
def test_a_runner_that_is_not_installed_is_named_with_how_to_install_it(monkeypatch, name, package):
    for module in [m for m in sys.modules if m.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'dagsverk\[{name[:3]}"):
        runners.chosen(name)
