"""Work for a caller who may hang up: then it ends. In threads that no other route waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeAlias, TypeVar

from fastapi import Request

from dagsverk.speech.model.decoded import Task
from dagsverk.speech.serving.service import Answer
from dagsverk.speech.serving.transcriber import Segment
from dagsverk.turns import ASK_EVERY_S, Check, Stop

THREADS = ThreadPoolExecutor(16, thread_name_prefix="recording")  # more than there are places, in line too

Result = TypeVar("Result")
Piece: TypeAlias = Sequence[Segment] | Answer


async def while_asked(request: Request, work: Callable[[Check], Result]) -> Result:
    """What comes of the work, which ends if the caller goes."""
    async with _watched(request) as stop:
        return await asyncio.get_running_loop().run_in_executor(THREADS, work, stop)


async def while_asked_in_pieces(request: Request, work: Callable[..., Answer]) -> AsyncGenerator[Piece, None]:
    """Segments as they are written, last the whole answer. Closing it ends the work.

    Args: work: takes a check, and `on_segments`.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[Piece | None] = asyncio.Queue()  # None: the work is over

    def on_segments(_: Task, segments: Sequence[Segment]) -> None:
        if segments:
            loop.call_soon_threadsafe(pieces.put_nowait, segments)

    async with _watched(request) as stop:
        running = loop.run_in_executor(THREADS, lambda: work(stop, on_segments=on_segments))
        running.add_done_callback(lambda _: pieces.put_nowait(None))
        while (piece := await pieces.get()) is not None:
            yield piece
        yield await running


@asynccontextmanager
async def _watched(request: Request) -> AsyncIterator[Stop]:
    """A check that ends the work when the caller goes, and when this is left."""
    stop = Stop()

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(ASK_EVERY_S)
        stop.press()

    watching = asyncio.create_task(watch())
    try:
        yield stop
    finally:
        stop.press()
        watching.cancel()
