"""The supervisor: order, starts again, giving up, stopping; on real child processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from prefect_server import wait_for

from deployments import supervisor
from deployments.launch import LaunchError
from deployments.supervisor import Service, Supervisor

STAY = "import sys, time\nprint('up', flush=True)\ntime.sleep(600)\n"


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """(supervisor, make a service whose module is this source)"""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    watcher = Supervisor()

    def service(name: str, source: str = STAY, **more) -> Service:
        (tmp_path / f"{name}_module.py").write_text(source)
        return Service(name=name, command=lambda: [f"{name}_module"], log=tmp_path / f"{name}.log", **more)

    yield watcher, service
    watcher.stop()


def pid(running) -> int | None:
    return running.child.process.pid if running.child is not None else None


def test_a_service_waits_until_those_before_it_are_ready(watched, tmp_path):
    watcher, service = watched
    gate = tmp_path / "gate"
    first = watcher.add(service("first", ready=gate.exists))
    second = watcher.add(service("second"))
    wait_for(lambda: pid(first), "the first service")
    assert not second.was_ready
    gate.touch()
    watcher.wait_ready(second, threading.Event())
    assert first.was_ready


def test_a_service_that_is_killed_is_started_again(watched):
    watcher, service = watched
    running = watcher.add(service("server"))
    watcher.wait_ready(running, threading.Event())
    before = pid(running)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: pid(running) not in (None, before) and running.was_ready, "the second start")
    watcher.check()


def test_a_service_is_not_given_up_because_somebody_kills_it_again_and_again(watched, monkeypatch):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.0)
    running = watcher.add(service("server"))
    for _ in range(supervisor.MOST_STARTS + 2):
        watcher.wait_ready(running, threading.Event())
        before = pid(running)
        os.kill(before, signal.SIGKILL)
        wait_for(lambda old=before: pid(running) not in (None, old) and running.was_ready, "another start")
    assert not running.given_up


def test_a_service_that_stops_to_answer_is_started_again(watched, monkeypatch):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "HUNG_S", 0.5)
    monkeypatch.setattr(supervisor, "PROBE_S", 0.1)
    running = watcher.add(service("server", alive=lambda: pid(running) != first))
    first = None
    watcher.wait_ready(running, threading.Event())
    first = pid(running)
    wait_for(lambda: pid(running) not in (None, first), "the start after it hung")


def test_time_slept_through_is_not_held_against_a_service(watched, monkeypatch):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "PROBE_S", 0.0)
    running = watcher.add(service("server", alive=lambda: False))
    watcher.wait_ready(running, threading.Event())
    watcher.stopping.set()
    watcher._thread.join()
    now = time.monotonic() + 10_000
    watcher.stopping.clear()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    thread = threading.Thread(target=watcher._watch, daemon=True)
    thread.start()
    wait_for(lambda: running.answered == now, "a look after the sleep")
    watcher.stopping.set()
    thread.join()
    assert running.child.ended() is None


def test_a_vital_service_that_cannot_start_is_given_up_with_the_end_of_its_log(watched, monkeypatch):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.0)
    running = watcher.add(service("server", "raise SystemExit('no such port')", ready=lambda: False))
    with pytest.raises(LaunchError, match=r"(?s)server ended with code 1.*no such port"):
        watcher.wait_ready(running, threading.Event())


def test_a_vital_service_with_an_excuse_is_tried_until_it_has_none(watched, monkeypatch, capsys, tmp_path):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.0)
    room = tmp_path / "room"
    source = f"import pathlib, time\nif not pathlib.Path({str(room)!r}).exists(): raise SystemExit(1)\n{STAY}"
    tries = []

    def excuse() -> str:
        tries.append(1)
        return "" if room.exists() else "the disk is full"

    running = watcher.add(service("database", source, excuse=excuse, ready=room.exists))
    wait_for(lambda: len(tries) > 2 * supervisor.MOST_STARTS, "more tries than others get")
    room.touch()
    watcher.wait_ready(running, threading.Event())
    assert capsys.readouterr().out.count("the disk is full") == 1


def test_the_rest_goes_on_without_a_service_that_is_not_vital(watched, monkeypatch, capsys):
    watcher, service = watched
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.0)
    broken = watcher.add(service("pages", "raise SystemExit('broken')", vital=False))
    other = watcher.add(service("worker"))
    wait_for(lambda: broken.fruitless > supervisor.MOST_STARTS, "that it is given up")
    watcher.wait_ready(other, threading.Event())
    watcher.check()
    assert "the rest goes on without pages" in capsys.readouterr().out


def test_a_wait_for_a_start_ends_when_all_is_to_stop(watched):
    watcher, service = watched
    stop = threading.Event()
    running = watcher.add(service("server", ready=lambda: False))
    threading.Timer(0.2, stop.set).start()
    watcher.wait_ready(running, stop)
    assert not running.was_ready


STUBBORN = """
import pathlib, signal, sys, time
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1) if not heard else sys.exit(7))
pathlib.Path(sys.argv[0]).with_suffix('.up').touch()
while True:
    time.sleep(0.05)
"""


def test_services_stop_in_reverse_and_a_second_signal_ends_the_wait(watched, tmp_path):
    watcher, service = watched
    first = watcher.add(service("first"))
    running = watcher.add(service("second", STUBBORN, grace_s=60.0))
    wait_for((tmp_path / "second_module.up").exists, "the second service")
    hurry = threading.Event()
    threading.Timer(0.3, hurry.set).start()
    watcher.stop(hurry)
    assert running.child.process.returncode == 7
    assert first.child.process.returncode == -signal.SIGTERM


def test_a_service_that_is_frozen_is_killed_at_the_end(watched):
    watcher, service = watched
    running = watcher.add(service("server", grace_s=0.5))
    watcher.wait_ready(running, threading.Event())
    os.kill(pid(running), signal.SIGSTOP)
    watcher.stop()
    # the signal that waited while it was frozen may be the one that ends it when it is woken to be killed
    assert running.child.process.returncode in (-signal.SIGKILL, -signal.SIGTERM)


def test_a_launcher_that_is_killed_takes_its_services_with_it(tmp_path):
    code = f"""
import sys, time, pathlib
from deployments.supervisor import Service, Supervisor
found = Supervisor()
running = found.add(Service(name="s", command=lambda: ["http.server", "0", "--bind", "127.0.0.1"],
                            log=pathlib.Path({str(tmp_path / "s.log")!r})))
while not running.was_ready:
    time.sleep(0.01)
print(running.child.process.pid, flush=True)
time.sleep(600)
"""
    launcher = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                                cwd=supervisor.__file__.rpartition("/deployments/")[0])  # fmt: skip
    child = int(launcher.stdout.readline())
    launcher.kill()
    launcher.communicate()

    def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    assert wait_for(gone, "the end of the child")
