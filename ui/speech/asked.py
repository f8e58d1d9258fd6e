"""Work for a caller who may hang up: then it ends. In threads that no other route waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from dagsverk.turns import ASK_EVERY_S, Check, Stop

THREADS = ThreadPoolExecutor(16, thread_name_prefix="recording")  # more than there are places, in line too

Result = TypeVar("Result")


async def while_asked(request: Request, work: Callable[[Check], Result]) -> Result:
    """What comes of the work, which ends if the caller goes."""
    stop = Stop()

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(ASK_EVERY_S)
        stop.press()

    watching = asyncio.create_task(watch())
    try:
        return await asyncio.get_running_loop().run_in_executor(THREADS, work, stop)
    finally:
        stop.press()
        watching.cancel()
