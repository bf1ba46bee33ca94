"""create_app(settings): the ASGI application, with its routes, middleware and shared state."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp, ExceptionHandler

from jobs import incoming, totals
from jobs.changes import Changes
from jobs.database import Database
from jobs.errors import BulkUploadError
from jobs.events import Publisher
from jobs.process import disk
from jobs.questions import Questions
from jobs.queue import UploadQueue
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.sweeper import Sweeper
from jobs.upkeep.leftovers import Leftovers
from jobs.upkeep.retention import Retention
from webapp.access.attempts import Attempts
from webapp.access.gate import Gate
from webapp.access.identity import Identity
from webapp.access.mode import Mode
from webapp.compression import compressed
from webapp.dataset_admin import api as dataset_api
from webapp.dataset_admin import forms as dataset_forms
from webapp.dataset_admin import rule_forms, rules_api
from webapp.export_process import remove_leftovers
from webapp.guard import Guard
from webapp.live import endpoints
from webapp.live.delivery.hub import Hub
from webapp.live.limiter import StreamLimiter
from webapp.live.record_cache import RecordCache
from webapp.live.renderer import Renderer
from webapp.live.snapshots import Snapshots
from webapp.metrics import endpoint as metrics
from webapp.metrics.endpoint import LatestFigures
from webapp.oidc import routes as oidc
from webapp.openapi.document import Description
from webapp.people import audit_log
from webapp.people import routes as people
from webapp.problems import Problems
from webapp.request_id import RequestId
from webapp.routes import (
    api,
    dataset_pages,
    deletion,
    downloads,
    exports,
    notify,
    pages,
    part_uploads,
    receipts,
    repair_pages,
    repairs,
    review,
    review_pages,
    row_history,
    undo,
    upload_details,
    whole_rows,
)
from webapp.state import AppState
from webapp.static_files import VersionedFiles
from webapp.templating import STATIC, Templates
from webapp.threads import in_thread
from webapp.tus import endpoints as tus

if TYPE_CHECKING:
    from webapp.oidc.issuer import Issuer

log = logging.getLogger(__name__)

#: Seconds that a request waits for a lock of the database before it is answered with 503. Imports hold one for the time
#: of a chunk, well under a second; only a frozen worker or a foreign program holds it for longer.
LOCK_TIMEOUT = 10.0


class _Application(Starlette):
    """Starlette, whose every answer has the id of its request, also one about a defect."""

    def build_middleware_stack(self) -> ASGIApp:
        return RequestId(super().build_middleware_stack())


def create_app(settings: Settings) -> Starlette:
    """The web process as an ASGI application. The database must be migrated."""
    templates = Templates()
    problems = Problems(templates)
    handlers: dict[Any, ExceptionHandler] = {
        BulkUploadError: problems.expected,
        OperationalError: problems.database_unavailable,
        HTTPException: problems.http,
    }

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[AppState]:
        database = Database(settings.database, lock_timeout=LOCK_TIMEOUT)
        queue, publisher = UploadQueue(settings.redis, settings.sqlite_folder), Publisher(settings.redis)
        questions = Questions(settings.redis)
        records = RecordCache(database)
        mode = Mode(database, settings)
        await mode.refresh()
        templates.warn_when(lambda: settings.open and not mode.is_team)
        identity = Identity(database, settings)
        attempts = Attempts(settings.redis)
        issuer = _issuer(settings)
        hub = Hub(
            database,
            queue,
            settings.redis,
            records,
            batch_interval=settings.stream_batch_interval,
            write_timeout=settings.stream_write_timeout,
            dataset_imports=settings.dataset_imports,
            mode=mode,
            lifetime=identity.lifetime,
        )
        renderer = Renderer(templates, hub.queue_monitor)
        changes = Changes(database, publisher, queue, settings.work, dataset_imports=settings.dataset_imports)
        await in_thread(lambda: remove_leftovers(settings.exports))
        sweeper = Sweeper(
            changes,
            external_timeout=settings.external_timeout,
            held_days=settings.held_days,
            undo_days=settings.undo_days,
        )
        sweeping = asyncio.create_task(_sweep(settings, changes, sweeper), name="sweeper")
        try:
            async with hub.running():
                yield {
                    "settings": settings,
                    "database": database,
                    "queue": queue,
                    "questions": questions,
                    "changes": changes,
                    "hub": hub,
                    "templates": templates,
                    "renderer": renderer,
                    "records": records,
                    "snapshots": Snapshots(database, renderer, records),
                    "stream_limiter": StreamLimiter(settings.streams, settings.streams_per_address),
                    "mode": mode,
                    "identity": identity,
                    "attempts": attempts,
                    "issuer": issuer,
                    "sweeper": sweeper,
                    "figures": LatestFigures(),
                }
        finally:
            sweeping.cancel()
            await asyncio.wait({sweeping})
            await attempts.close()
            if issuer is not None:
                await issuer.close()
            publisher.close()
            queue.close()
            questions.close()
            database.close()

    description = Description()
    routes = description.of(
        [
            *endpoints.routes,
            *downloads.routes,
            *exports.routes,
            *upload_details.routes,
            *deletion.routes,
            *receipts.routes,
            *repairs.routes,
            *review.routes,
            *part_uploads.routes,
            *tus.routes,
            *whole_rows.routes,
            *audit_log.downloads,
            *metrics.routes,
            *compressed(
                [
                    *people.routes,
                    *oidc.routes,
                    *review_pages.routes,
                    *pages.routes,
                    *repair_pages.routes,
                    *undo.routes,
                    *dataset_forms.routes,
                    *rule_forms.routes,
                    *dataset_pages.routes,
                    *api.routes,
                    *row_history.routes,
                    *dataset_api.routes,
                    *rules_api.routes,
                    *notify.routes,
                    description.route,
                ]
            ),
            Mount("/static", VersionedFiles(STATIC)),
        ]
    )
    return _Application(
        routes=routes,
        middleware=[
            Middleware(Guard, allowed_hosts=settings.host_names),
            Middleware(ExceptionMiddleware, handlers=handlers),  # of the gate; Starlette adds another for the routes
            Middleware(Gate),
        ],
        exception_handlers={**handlers, Exception: problems.unexpected},
        lifespan=lifespan,
    )


def _issuer(settings: Settings) -> "Issuer | None":
    if settings.oidc_issuer is None:
        return None
    from webapp.oidc.issuer import Issuer  # with libraries that nothing else needs

    return Issuer(settings)


async def _sweep(settings: Settings, changes: Changes, sweeper: Sweeper) -> None:
    """Sweep every few seconds, at random moments so that several processes take turns."""
    leftovers = Leftovers(changes.database, store_of(settings))
    steps: dict[str, Callable[[], None]] = {
        "left-over files": leftovers.step,
        "expired files": partial(incoming.remove_expired, changes.database, store_of(settings)),
        "lost uploads": sweeper.sweep,
        "totals": partial(totals.add_up, changes.database),
        "retention": Retention(changes.database, settings).step,
    }
    while True:
        for what, step in steps.items():
            await _attempt(what, step, settings.sweep)
        await asyncio.sleep(settings.sweep * random.uniform(0.8, 1.2))


async def _attempt(what: str, step: Callable[[], None], interval: float) -> None:
    """Run a step of a sweep in a thread. Its failure is logged: it runs again in `interval` seconds."""
    try:
        await in_thread(step)
    except Exception as error:
        if disk.is_full(error):
            log.warning("The disk is full, so the sweep for %s failed; trying again in %g s.", what, interval)
        else:
            log.exception("The sweep for %s failed; trying again in %g s.", what, interval)
