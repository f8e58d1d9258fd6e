"""Where trials are kept, a journal or PostgreSQL: two processes at once, kills, and secrets."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dagsverk import studies
from dagsverk.speech.search import study
from dagsverk.speech.search.space import start_of
from dagsverk.speech.searching import Plan, SpeechSearchConfig
from dagsverk.store import Unavailable
from deployments import launch, postgres
from deployments.database import prepare
from deployments.launch import Child, Folders

DRAWER = """
import os, signal, sys
from test_studies import CONFIG, PLAN, loss
from dagsverk.speech.search import study
from dagsverk.speech.searching import Result
import optuna
die_after = int(sys.argv[1])
drawn = optuna.Study.ask
def ask(self):
    global die_after
    trial = drawn(self)
    die_after -= 1
    if die_after == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return trial
optuna.Study.ask = ask
for number in range(CONFIG.trials):
    study.tell(PLAN, number, Result(dev_loss=loss(study.draw(PLAN, CONFIG, number))))
"""
NEVER = 1000


def plan() -> Plan:
    from dagsverk.speech.config import FinetuneConfig

    settings = start_of(
        FinetuneConfig(model="a model", steps=96, learning_rate=1e-5, batch_s=30.0, spec_augment=True)
    )
    return Plan(search="speech-y", language="sv", set="sv-1", asked=settings, settings=settings, model="m")


PLAN, CONFIG = plan(), SpeechSearchConfig(trials=8)


def loss(settings):
    return abs(settings.learning_rate - 2e-5) * 1e5


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Iterator[str]:
    """The address of a real PostgreSQL, the launcher's own."""
    folders = Folders(tmp_path_factory.mktemp("state"))
    folders.make()
    own = prepare(folders.state)
    child = Child("the database", own.arguments, folders.logs / "database.log")
    while not own.ready():
        assert child.ended() is None, child.ended()
    folder = postgres.find(folders.state / "postgres").socket_folder
    yield f"postgresql+asyncpg://postgres@/postgres?host={folder}"
    child.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["journal", "postgresql"])
def storage(request, tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSVERK_CACHE", str(tmp_path))
    if request.param == "postgresql":
        monkeypatch.setenv(studies.VARIABLE, request.getfixturevalue("database"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What one process draws by itself, in a journal."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("alone")))
        patched.delenv(studies.VARIABLE, raising=False)
        assert drawer().wait() == 0
        return drawn()


def drawer(die_after=NEVER) -> subprocess.Popen:
    paths = os.pathsep.join([str(launch.ROOT), str(launch.ROOT / "tests"), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", DRAWER, str(die_after)], env={**os.environ, "PYTHONPATH": paths}
    )


def drawn():
    with studies.opened(PLAN.search) as opened:
        numbered = study._numbered(opened)
        counted = [t for t in opened.trials if study.NUMBER in t.user_attrs]
        assert len(counted) == len(numbered) == CONFIG.trials, "no trial is lost or double"
        return [(n, t.state.name, t.params, t.value) for n, t in sorted(numbered.items())]


def test_kills_and_two_processes_at_once_lose_and_double_no_trial(storage, undisturbed):
    assert drawer(3).wait() == -signal.SIGKILL  # in the middle of a draw
    both = [drawer(), drawer()]
    assert [process.wait() for process in both] == [0, 0]
    assert drawn() == undisturbed
    assert {state for _, state, _, _ in undisturbed} == {"COMPLETE"}


def test_a_database_that_is_away_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv(studies.VARIABLE, "postgresql://me:hush@127.0.0.1:1/searches")
    with pytest.raises(Unavailable, match="does not answer") as away, studies.opened("x"):
        pass
    assert "hush" not in str(away.value) + repr(away.value.__cause__)


@pytest.mark.parametrize(
    "value", ["nowhere", "mysql://me:hush@host/db", "postgresql://me:hush@host", "postgresql://me:hush@h:p/d"]
)
def test_a_value_that_is_no_address_is_refused_and_not_shown(monkeypatch, value):
    monkeypatch.setenv(studies.VARIABLE, value)
    with pytest.raises(studies.StorageError, match="must be") as refused:
        studies.address()
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("storage", ["postgresql"], indirect=True)
def test_a_search_of_tables_killed_on_postgresql_goes_on(storage):
    from test_search import CHILD, all_of, searched

    undisturbed = all_of(searched(1))
    killed = subprocess.run([sys.executable, "-c", CHILD, "4"], check=False, cwd=launch.ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert len(all_of(searched())) == len(undisturbed) == 5
