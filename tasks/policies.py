"""Retry policies by name: what kind of trouble passes by itself."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from dagsverk.speech.errors import CorpusUnavailable, Killed, ModelUnavailable
from dagsverk.store import Conflict, Unavailable
from dagsverk.tabular.errors import SourceUnavailable

PASSING = (
    Unavailable,
    Conflict,
    CorpusUnavailable,
    ModelUnavailable,
    SourceUnavailable,
    Killed,
    ConnectionError,
    TimeoutError,
)


def may_pass(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Retry trouble on the way to a store or source; a wrong value stays wrong however often it is tried."""
    try:
        state.result()
    except PASSING:
        return True
    except Exception:  # noqa: BLE001  the engine reports it; here only its kind matters
        return False
    return False


# For tasks that read and write by key: any attempt may be repeated.
REPEATABLE: dict[str, Any] = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_pass,
    "persist_result": False,  # they return references: to repeat one is cheaper than to keep its result
}

# For training, which saves checkpoints: what passes by itself is tried again, and it goes on where it was.
RESUMABLE: dict[str, Any] = {**REPEATABLE, "retries": 8, "retry_delay_seconds": exponential_backoff(10)}
