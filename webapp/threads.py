"""Blocking work off the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import anyio.to_thread

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns. Who is cancelled meanwhile goes only when the thread has ended: what it uses may be closed
    right after."""
    task = asyncio.ensure_future(anyio.to_thread.run_sync(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise
