"""Work that repeats in the background for as long as the process runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

log = logging.getLogger(__name__)

#: Seconds between a failure and the next attempt, so that a lasting failure does not fill the log or a CPU.
RETRY_DELAY = 0.5
#: Seconds after which a task that is still running is cancelled again.
CANCEL_INTERVAL = 0.1

#: One round of the work. It waits by itself until it is due.
Step = Callable[[], Awaitable[None]]


@asynccontextmanager
async def running(steps: Mapping[str, Step]) -> AsyncIterator[None]:
    """Inside the block each step runs again and again, in a task of its own. The names appear in the log."""
    tasks = {asyncio.create_task(_repeat(name, step), name=name) for name, step in steps.items()}
    try:
        yield
    finally:
        while tasks:  # a library may swallow a cancellation, as redis-py does: cancel until all have ended
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=CANCEL_INTERVAL)


async def _repeat(name: str, step: Step) -> None:
    """A failure is logged and ends nothing: live updates of all pages depend on this loop."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("The background task “%s” failed; it runs again in %g s.", name, RETRY_DELAY)
            await asyncio.sleep(RETRY_DELAY)
