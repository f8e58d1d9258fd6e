"""A Prefect server for each process of tests, started when a test asks for it; which tests are slow."""

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:  # processes share the cores: threads that wait for each other would cost more than they bring
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import huggingface_hub.constants  # noqa: E402, F401  before the pages, whose import sets HF_HUB_OFFLINE
from prefect_server import prefect_server  # noqa: E402  what it imports reads the number of threads

__all__ = ["prefect_server"]

# The same examples every time, so that a change fails for what it changed; look for new ones with
# HYPOTHESIS_PROFILE=explore make test. No example has a time limit: a busy machine is no fault of the code.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", derandomize=False, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# A file that imports one of these starts servers, browsers or processes that are killed.
STARTERS = (
    r"^(?:from|import) (?:playwright|prefect_server|gated_runs|s3_server|faulty_proxy|emulator_process"
    r"|hopsworks_project|store_writer|copying_process|shard_maker|training_process)\b"
    r"|^from ui_site import .*\bserving(?:_process)?\b"
)
SERVERS = {"prefect_server"}  # fixtures that start one
ELSEWHERE = {"s3", "hopsworks"}  # places of a store that need a server, in the parameters of a test
FILES = pytest.StashKey[set[Path]]()
LEFT_OUT = pytest.StashKey[tuple[int, int]]()  # so many files, and tests of the others


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what is marked slow or needs a server")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds, and is left out by --fast")
    config.stash[FILES], config.stash[LEFT_OUT] = set(), (0, 0)


@functools.cache
def starts_servers(path: Path) -> bool:
    return re.search(STARTERS, path.read_text(encoding="utf-8"), re.MULTILINE) is not None


def is_slow(item: pytest.Function) -> bool:
    """Whether a test is marked so, or is in a file that starts servers, or needs a store on a server."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    places = {part for value in values if isinstance(value, str) for part in value.split("-")}
    needs_server = places & ELSEWHERE or SERVERS & set(item.fixturenames) or starts_servers(item.path)
    return bool(item.get_closest_marker("slow") or needs_server)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Such files are not even imported, unless they are named."""
    is_test = collection_path.match("test_*.py")
    if not (config.getoption("--fast") and is_test and starts_servers(collection_path)):
        return None
    config.stash[FILES].add(collection_path)
    return True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    if not config.getoption("--fast"):
        return
    slow = [item for item in items if is_slow(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not is_slow(item)]
    config.stash[LEFT_OUT] = (len(config.stash[FILES]), len(slow))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if WORKER:
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Each process has left out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", (0, 0))  # type: ignore[attr-defined]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--fast"):
        files, tests = config.stash[LEFT_OUT]
        words = f"left out {files} files and {tests} tests of other files, which take long"
        terminalreporter.write_line(f"fast: {words}; `make test` runs them too")


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the module's own, for models and jobs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSVERK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
