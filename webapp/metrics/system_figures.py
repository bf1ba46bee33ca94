"""What the database, Redis and the disk know of the whole system, whichever web process is asked."""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from jobs import totals
from jobs.database import Database, utc_now
from jobs.forecast import Workers
from jobs.lanes import Lane
from jobs.queue import UploadQueue
from jobs.tables import UtcDateTime, uploads
from jobs.totals import Totals
from jobs.uploads import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """Uploads that wait for a worker. oldest: seconds that the first of them has waited."""

    count: int = 0
    oldest: float = 0.0


@dataclass(frozen=True)
class SystemFigures:
    """totals, waiting: None if the database does not respond. workers: None if Redis does not. disk_free: bytes of the
    data folder's disk; None if there is no such folder."""

    totals: Totals | None
    waiting: dict[Lane, Waiting] | None
    workers: Workers | None
    disk_free: int | None


def read(database: Database, queue: UploadQueue, folder: Path) -> SystemFigures:
    """Costs the same however long the history is: totals are kept, and waiting uploads have an index."""
    counted, waiting = None, None
    try:
        with database.reading() as connection:
            counted, waiting = totals.read(connection), _waiting(connection)
    except sa.exc.SQLAlchemyError as error:
        log.warning("The metrics are without what the database knows: %s", getattr(error, "orig", error))
    status = queue.status()
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = None
    return SystemFigures(counted, waiting, status.workers if status.reachable else None, free)


def _waiting(connection: sa.Connection) -> dict[Lane, Waiting]:
    now = connection.execute(sa.select(sa.type_coerce(utc_now(), UtcDateTime))).scalar_one()
    statement = (
        sa.select(uploads.c.lane, sa.func.count(), sa.func.min(uploads.c.updated_at))
        .where(uploads.c.status == Status.PENDING, uploads.c.lane.is_not(None))
        .group_by(uploads.c.lane)
    )
    found = {
        Lane(lane): Waiting(count, max(0.0, (now - since).total_seconds()))
        for lane, count, since in connection.execute(statement)
    }
    return {lane: found.get(lane, Waiting()) for lane in Lane}
