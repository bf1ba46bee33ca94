"""create_app(settings): the ASGI application, with its routes, middleware and shared state."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from jobs import files
from jobs.changes import Changes
from jobs.database import Database
from jobs.errors import BulkUploadError
from jobs.events import Publisher
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from webapp.guard import Guard, is_loopback
from webapp.live import endpoints
from webapp.live.delivery.hub import Hub
from webapp.live.limiter import StreamLimiter
from webapp.live.record_cache import RecordCache
from webapp.live.renderer import Renderer
from webapp.live.snapshots import Snapshots
from webapp.problems import Problems
from webapp.routes import api, dataset_pages, downloads, notify, pages, whole_rows
from webapp.state import AppState
from webapp.templating import STATIC, Templates
from webapp.threads import in_thread

log = logging.getLogger(__name__)


def create_app(settings: Settings) -> Starlette:
    """The web process as an ASGI application. The database must be migrated."""
    templates = Templates()
    problems = Problems(templates)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[AppState]:
        database = Database(settings.database)
        queue, publisher = UploadQueue(settings.redis), Publisher(settings.redis)
        records = RecordCache(database)
        hub = Hub(
            database,
            queue,
            settings.redis,
            records,
            batch_interval=settings.stream_batch_interval,
            write_timeout=settings.stream_write_timeout,
        )
        renderer = Renderer(templates, hub.queue_monitor)
        await in_thread(partial(files.remove_abandoned, settings.files))
        changes = Changes(database, publisher, queue)
        sweeper = asyncio.create_task(_sweep(settings, changes), name="sweeper")
        try:
            async with hub.running():
                yield {
                    "settings": settings,
                    "database": database,
                    "queue": queue,
                    "changes": changes,
                    "hub": hub,
                    "templates": templates,
                    "renderer": renderer,
                    "records": records,
                    "snapshots": Snapshots(database, renderer, records),
                    "stream_limiter": StreamLimiter(settings.streams, settings.streams_per_address),
                }
        finally:
            sweeper.cancel()
            await asyncio.wait({sweeper})
            publisher.close()
            queue.close()
            database.close()

    return Starlette(
        routes=[
            *endpoints.routes,
            *downloads.routes,
            *whole_rows.routes,
            *pages.routes,
            *dataset_pages.routes,
            *api.routes,
            *notify.routes,
            Mount("/static", VersionedFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, loopback_only=not settings.open and is_loopback(settings.host))],
        exception_handlers={
            BulkUploadError: problems.expected,
            OperationalError: problems.database_unavailable,
            HTTPException: problems.http,
            Exception: problems.unexpected,
        },
        lifespan=lifespan,
    )


async def _sweep(settings: Settings, changes: Changes) -> None:
    """Sweep every few seconds, at random moments so that several processes take turns."""
    sweeper = Sweeper(changes, external_timeout=settings.external_timeout)
    while True:
        await asyncio.sleep(settings.sweep * random.uniform(0.8, 1.2))
        try:
            await in_thread(sweeper.sweep)
        except Exception:
            log.exception("The sweep for lost uploads failed; trying again in %g s.", settings.sweep)


class VersionedFiles(StaticFiles):
    """Static files. Browsers may cache a file permanently if its URL has a version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if b"v=" in scope.get("query_string", b"") and response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
