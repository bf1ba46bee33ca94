"""Blocking work off the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio.to_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread and return its result. A cancelled caller still waits for the thread to end, because what
    the thread uses may be closed next."""
    task = asyncio.ensure_future(anyio.to_thread.run_sync(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
