"""A Prefect server for each process of tests, started when a test asks for it; which tests are slow."""

import functools
import os
from types import ModuleType

import pytest
from hypothesis import settings

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:  # processes share the cores: threads that wait for each other would cost more than they bring
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from prefect_server import prefect_server  # noqa: E402  what it imports reads the number of threads

__all__ = ["prefect_server"]

# The same examples every time, so that a change fails for what it changed; look for new ones with
# HYPOTHESIS_PROFILE=explore make test.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Who takes something from one of these starts servers, browsers or processes that are killed.
STARTERS = {
    "playwright",
    "prefect_server",
    "gated_runs",
    "s3_server",
    "faulty_proxy",
    "emulator_process",
    "hopsworks_project",
    "store_writer",
    "copying_process",
    "shard_maker",
    "training_process",
    "ui_site.serving",
}
ELSEWHERE = {"s3", "hopsworks"}  # places of a store that need a server, in the parameters of a test
LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="leave out what is marked slow or needs a server")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds, and is left out by --fast")
    config.stash[LEFT_OUT] = 0


def is_slow(item: pytest.Function) -> bool:
    """Whether a test is marked so, or is in a file that starts servers, or needs a store on a server."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    places = {part for value in values if isinstance(value, str) for part in value.split("-")}
    needs_server = places & ELSEWHERE or STARTERS & set(item.fixturenames) or starts_servers(item.module)
    return bool(item.get_closest_marker("slow") or needs_server)


@functools.cache
def starts_servers(module: ModuleType) -> bool:
    return any(STARTERS & set(origins(what)) for what in vars(module).values())


def origins(what: object) -> tuple[str, ...]:
    """Where a name of a module comes from: a package, a module, one thing of a module."""
    if isinstance(what, ModuleType):
        return (what.__name__,)
    module, name = getattr(what, "__module__", None), getattr(what, "__name__", "")
    return (module.split(".")[0], f"{module}.{name}") if isinstance(module, str) else ()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    if not config.getoption("--fast"):
        return
    slow = [item for item in items if is_slow(item)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not is_slow(item)]
    config.stash[LEFT_OUT] = len(slow)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if WORKER:
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Each process has left out the same."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)  # type: ignore[attr-defined]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--fast"):
        count = config.stash[LEFT_OUT]
        terminalreporter.write_line(f"fast: {count} slow tests left out; `make test` runs them too")
