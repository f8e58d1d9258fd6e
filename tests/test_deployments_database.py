"""Our own PostgreSQL under kills, in deep and closed folders, beside leftovers."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments import launch, postgres, postmaster
from deployments.database import prepare
from deployments.launch import Child, Folders

PATIENCE_S = 60.0
AS_ROOT = os.geteuid() == 0
LINUX = sys.platform == "linux"
CREATE = "create table runs (name text); insert into runs values ('titanic')"


class Server:
    """A database as the launcher runs it, and SQL by the wheel's own client."""

    def __init__(self, state: Path) -> None:
        self.folders = Folders(state)
        self.folders.make()
        self.database = prepare(state)
        self.cluster = postgres.find(self.folders.state / "postgres")
        self.child = self.start()

    def start(self) -> Child:
        child = Child("the database", self.database.arguments, self.folders.logs / "database.log")
        until(lambda: child.ended() or self.database.ready(), "the database is ready")
        assert child.ended() is None, child.ended()
        return child

    def restart(self) -> None:
        self.child.process.wait(PATIENCE_S)
        self.child = self.start()

    @property
    def pid(self) -> int:
        """Of the server's first process, which the others are children of."""
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    def sql(self, *statements: str) -> str:
        options = ["-qAt", "-v", "ON_ERROR_STOP=1", *(f"-c{statement}" for statement in statements)]
        printed = self.client("psql", *options)
        assert printed.returncode == 0, printed.stderr
        return printed.stdout.strip()

    def client(self, program: str, *options: str) -> subprocess.CompletedProcess:
        """What a person types to talk to the server."""
        command = [sys.executable, "-m", "deployments.postgres", str(self.folders.state), program, *options]
        return subprocess.run(command, check=False, cwd=launch.ROOT, capture_output=True, text=True)

    def processes(self) -> list[psutil.Process]:
        return processes(self.cluster.data)


def processes(data: Path) -> list[psutil.Process]:
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(data) and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def until(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A state folder with an empty database, made once (2 s)."""
    state = tmp_path_factory.mktemp("empty")
    prepare(state)
    return state


@pytest.fixture
def served(empty, tmp_path) -> Iterator:
    """Starts the database of a state folder; all are stopped at the end, whatever became of them."""
    with contextlib.ExitStack() as stack:

        def serve(state: Path = tmp_path / "state") -> Server:
            if not (state / "postgres").exists():
                shutil.copytree(empty / "postgres", state / "postgres")
            server = Server(state)
            stack.callback(stop, server)
            return server

        yield serve


def stop(server: Server) -> None:
    server.child.stop()
    for process in server.processes():
        process.kill()
    shutil.rmtree(server.cluster.socket_folder, ignore_errors=True)


@pytest.fixture
def server(served) -> Server:
    """A running database with one row."""
    server = served()
    server.sql(CREATE)
    return server


def rows(server: Server) -> str:
    return server.sql("select name from runs")


def test_the_data_outlives_a_kill_of_the_first_process(server):
    os.kill(server.pid, signal.SIGKILL)
    server.restart()
    assert rows(server) == "titanic"


@pytest.mark.skipif(not LINUX, reason="elsewhere the next start ends it")
def test_the_server_ends_when_its_keeper_is_killed(server):
    server.child.process.kill()
    until(lambda: not server.processes(), "the server ends")
    server.restart()
    assert rows(server) == "titanic"


def test_the_server_ends_when_the_launcher_is_killed(empty, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(empty / "postgres", state / "postgres")
    code = (
        "import sys, time, pathlib; sys.path.insert(0, '.')\n"
        "from deployments import database, launch\n"
        "state = pathlib.Path(sys.argv[1]); found = database.prepare(state)\n"
        "child = launch.Child('the database', found.arguments, state / 'log')\n"
        "while not found.ready(): time.sleep(0.02)\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, str(state)], cwd=launch.ROOT, stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout.readline() == "ready\n"
    data = postgres.find(state / "postgres").data
    assert processes(data)
    launcher.kill()
    launcher.wait()
    until(lambda: not processes(data), "the server ends")
    assert not (data / "postmaster.pid").exists(), "it ended in order"


def test_after_a_kill_of_everything_at_once_the_next_start_has_the_data(server):
    for process in [*server.processes(), psutil.Process(server.child.process.pid)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.restart()
    assert rows(server) == "titanic"
    assert not list(Path("/dev/shm").glob("PostgreSQL*"))  # noqa: S108  shared memory


@pytest.mark.slow
def test_a_frozen_server_that_was_left_behind_is_ended_by_the_next_start(server):
    left = server.pid
    for process in server.processes():
        process.suspend()
    server.child.process.kill()
    server.restart()
    assert server.pid != left
    assert rows(server) == "titanic"


@pytest.mark.slow
def test_a_frozen_process_of_a_killed_server_does_not_stop_the_next_start(server):
    left = next(process for process in server.processes() if process.pid != server.pid)
    left.suspend()
    os.kill(server.pid, signal.SIGKILL)
    server.restart()
    assert rows(server) == "titanic"


@pytest.mark.slow
def test_a_frozen_server_is_stopped_all_the_same(server):
    os.kill(server.pid, signal.SIGSTOP)
    assert not server.database.ready()
    server.child.stop(grace_s=30)
    assert not server.processes()


def test_a_lock_file_that_names_a_process_of_another_program_is_no_obstacle(server):
    server.child.stop()
    (server.cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.cluster.data}\n1\n5432\n")
    server.cluster.socket_folder.mkdir(mode=0o700)
    (server.cluster.socket_folder / f"{postgres.SOCKET_NAME}.lock").write_text(f"{os.getpid()}\n")
    server.restart()
    assert rows(server) == "titanic"


def test_a_stop_in_order_leaves_nothing_outside_the_state_folder(server):
    server.child.stop()
    assert not server.cluster.socket_folder.exists()
    assert not list(server.cluster.data.glob("postmaster.pid"))


def test_a_server_that_somebody_runs_by_hand_on_the_data_is_left_alone(server):
    # without our lock, as pg_ctl would start it
    server.child.stop()
    postmaster.private(server.cluster.socket_folder, server.cluster.uid)
    change = postgres.as_user(server.cluster.uid, "KILL", server.cluster, server.cluster.data)
    own = ["-D", str(server.cluster.data), "-c", "listen_addresses=", "-k", str(server.cluster.socket_folder)]
    with subprocess.Popen(
        [*change, *server.cluster.command("postgres", *own)], stderr=subprocess.DEVNULL
    ) as it:
        until((server.cluster.data / "postmaster.pid").exists, "it runs")
        child = Child("the database", server.database.arguments, server.folders.logs / "second.log")
        assert child.process.wait(PATIENCE_S) == 1
        assert f"process {it.pid} already serves" in launch.tail(child.log)
        it.terminate()


def test_any_depth_and_any_letters_of_a_state_folder_will_do(served, tmp_path):
    server = served(tmp_path / "a b'\"$" / ("x" * 120) / ("ü" * 60))
    assert server.sql("select 1") == "1"


@pytest.mark.skipif(not AS_ROOT, reason="for root alone")
def test_root_has_its_data_in_a_closed_folder_and_opens_none(served, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    accounts = Path("/etc/passwd").read_bytes()
    server = served(closed / "state")
    server.sql(CREATE)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert psutil.Process(server.pid).uids().real == postgres.SERVER_UID
    assert Path("/etc/passwd").read_bytes() == accounts


@pytest.mark.skipif(not AS_ROOT, reason="only root can be another user")
def test_nobody_else_gets_to_the_socket(server):
    path = server.cluster.socket_folder / postgres.SOCKET_NAME
    knock = f"import socket; socket.socket(socket.AF_UNIX).connect('{path}')"
    other = subprocess.run(
        ["setpriv", "--reuid=12345", "--clear-groups", sys.executable, "-c", knock],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "PermissionError" in other.stderr


def test_the_server_listens_on_no_port(server):
    assert psutil.Process(server.pid).net_connections("inet") == []


def test_a_socket_folder_of_somebody_elses_is_refused_with_the_way_out(server):
    server.child.stop()
    server.cluster.socket_folder.mkdir()
    child = Child("the database", server.database.arguments, server.folders.logs / "refused.log")
    assert child.process.wait(PATIENCE_S) == 1
    assert "let TMPDIR name a folder of yours" in launch.tail(child.log)


def test_a_dump_of_one_database_is_restored_into_another(served, tmp_path):
    old, new = served(tmp_path / "old"), served(tmp_path / "new")
    old.sql(CREATE)
    assert old.client("pg_dump", "-Fc", "-f", str(tmp_path / "dump"), "postgres").returncode == 0
    restored = new.client("pg_restore", "--clean", "--if-exists", "-d", "postgres", str(tmp_path / "dump"))
    assert restored.returncode == 0, restored.stderr
    assert rows(new) == "titanic"


def test_a_program_that_is_not_there_and_a_server_that_is_not_running_are_sentences(server):
    assert "there are clusterdb" in server.client("nonsense").stderr
    server.child.stop()
    assert "is `make up` running" in server.client("psql").stderr


def test_two_state_folders_have_two_databases(served, tmp_path):
    one, two = served(tmp_path / "one"), served(tmp_path / "two")
    one.sql(CREATE)
    assert two.sql("select count(*) from pg_tables where tablename = 'runs'") == "0"


def test_what_a_kill_left_of_a_half_made_database_goes_and_a_whole_one_comes(tmp_path):
    code = "import sys, pathlib; from deployments.database import prepare; prepare(pathlib.Path(sys.argv[1]))"
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=launch.ROOT)
    until(lambda: list(tmp_path.glob("postgres/*.new-*/base")), "the making begins")
    first.kill()
    first.wait()
    assert prepare(tmp_path).arguments
    names = {path.name for path in (tmp_path / "postgres").iterdir()}
    assert names == {postgres.find(tmp_path / "postgres").major}
