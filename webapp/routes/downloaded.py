"""Notes in the audit log who downloads what."""

import asyncio
import logging

from jobs.people import audit
from webapp import threads
from webapp.state import AppRequest

log = logging.getLogger(__name__)

_running: set[asyncio.Task[None]] = set()


def note(request: AppRequest, what: str) -> None:
    """Beside the download, which reads only and does not wait for whoever writes. what: such as `upload 7`."""
    if request.method == "HEAD":
        return
    task = asyncio.create_task(_write(request, what), name="note of a download")
    _running.add(task)
    task.add_done_callback(_running.discard)


async def _write(request: AppRequest, what: str) -> None:
    database, actor, path = request.state["database"], request.state["actor"], request.url.path

    def write() -> None:
        with database.transaction() as connection:
            audit.write(connection, actor, "download", what, detail=path.rsplit("/", 1)[-1])

    try:
        await threads.writes.run(write)
    except Exception as error:
        log.warning("The audit log lacks a download of %s by %s (%s).", what, actor.name or "somebody", error)
