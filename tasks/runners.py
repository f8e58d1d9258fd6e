"""Where the task runs of a flow go side by side: threads of its own process, or a cluster of Dask or Ray.

What runs is the same everywhere: the same tasks, with the same retries, which read and write the same store.
"""

from __future__ import annotations

import os
from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner

from dagsverk import threads
from dagsverk.addresses import refuse_keys

VARIABLE = "DAGSVERK_TASK_RUNNER"
LOOPBACK = "127.0.0.1"
WANTED = (
    f"{VARIABLE} says where the tasks of one run go side by side: threads (the default), dask (processes of "
    "this machine, for the run alone), or the address of a cluster: tcp://HOST:8786 or tls://HOST:8786 of a "
    "Dask scheduler, ray://HOST:10001 of Ray"
)


def side_by_side(max_threads: int | None = None) -> Any:
    """The task runner of a flow: what DAGSVERK_TASK_RUNNER names, with so many threads if it is those."""
    return SideBySide(max_workers=max_threads)


class SideBySide(ThreadPoolTaskRunner[Any]):
    """Chooses when a run begins, so that importing a flow loads no Dask and no Ray."""

    def duplicate(self) -> Any:
        """What Prefect asks for at the start of every run."""
        return chosen(os.environ.get(VARIABLE, ""), super().duplicate)


def chosen(name: str, in_threads: Any = ThreadPoolTaskRunner) -> Any:
    """The runner of this name (see WANTED).

    Raises ValueError for another name, ImportError where the runner's package is not installed.
    """
    scheme, mark, rest = name.strip().partition("://")
    if not mark and scheme in ("", "threads"):
        return in_threads()
    if scheme == "dask" and not mark:
        return _dask(None)
    refuse_keys(name)
    if scheme in ("tcp", "tls") and rest:
        return _dask(name.strip())
    if scheme == "ray" and rest:
        return _ray(name.strip())
    raise ValueError(f"{WANTED}; got {name!r}")


def _dask(address: str | None) -> Any:
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise _missing("dask") from error
    if address:
        return DaskTaskRunner(address=address)
    cluster = {
        "n_workers": threads.allowed(),
        "threads_per_worker": 1,  # learning libraries bring threads of their own
        "host": LOOPBACK,  # whoever reaches a scheduler can run any code
        "dashboard_address": f"{LOOPBACK}:0",
    }
    return DaskTaskRunner(cluster_class="distributed.LocalCluster", cluster_kwargs=cluster)


def _ray(address: str) -> Any:
    """Of a cluster that somebody has set up. One of our own would listen on every network of the machine."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
    try:
        import ray  # noqa: F401 - the package below loads it late, and its error would say less
        from prefect_ray.task_runners import RayTaskRunner
    except ImportError as error:
        raise _missing("ray") from error
    return RayTaskRunner(address=address)


def _missing(name: str) -> ImportError:
    return ImportError(f"{VARIABLE} names {name}, which needs more: pip install 'dagsverk[{name}]'")
