"""Real processes that train, for tests that kill them; forked from one that has imported everything."""

from __future__ import annotations

import functools
import multiprocessing as mp
import os
import sys
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

import pytest

from dagsverk.speech.config import FinetuneConfig
from dagsverk.speech.errors import Interrupted
from dagsverk.speech.training.fit import fit
from dagsverk.speech.training.progress import Quiet
from dagsverk.store import open_store

STOPPED = 3  # the exit code of a process that was told to stop, and saved


class Aloud(Quiet):
    def __init__(self, wire: Connection) -> None:
        self._wire = wire

    def started(self, _run: str, _total: int, resumed_from: int) -> None:
        self._wire.send(("started", resumed_from))

    def step(self, step: int, *_: float) -> None:
        self._wire.send(("step", step))


def train(
    wire: Connection, store: str, set_id: str, config: Mapping[str, Any], environment: Mapping[str, str]
) -> None:
    os.environ.update(environment)
    language = set_id.partition("-")[0]
    try:
        ref = fit(open_store(store), set_id, language, FinetuneConfig(**config), Aloud(wire))
    except Interrupted:
        raise SystemExit(STOPPED) from None
    wire.send(("done", ref.step))


@functools.cache
def _server() -> Any:
    """Where processes are forked from, running; it imports this module once for all of them."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["training_process"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # else it fails, silently
        forkserver.ensure_running()
    return context


class Trainer:
    """A process that trains and tells each step."""

    def __init__(self, store: str, set_id: str, config: FinetuneConfig, **environment: str) -> None:
        context = _server()
        self.wire, wire = context.Pipe(duplex=False)
        variables = {"DAGSVERK_CACHE": os.environ["DAGSVERK_CACHE"], **environment}
        self.process = context.Process(target=train, args=(wire, store, set_id, config.to_dict(), variables))
        self.process.start()
        wire.close()

    def wait_for(self, *word: Any) -> list[tuple[str, int]]:
        """What it told up to that; all, if it never tells that."""
        words: list[tuple[str, int]] = []
        while True:
            try:
                words.append(self.wire.recv())
            except EOFError:
                return words
            if words[-1] == word:
                return words

    def end(self) -> int | None:
        """Its exit code, when it is at its end."""
        self.process.join()
        return self.process.exitcode
