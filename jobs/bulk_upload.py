"""The job that RQ calls: imports the next uploads of a lane, each in an attempt under a claim of its own."""

import logging
import os
from contextlib import nullcontext
from functools import partial

import sqlalchemy as sa
from redis import RedisError

from jobs import uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.lanes import Lane
from jobs.process import disk, horse_state, log_context
from jobs.settings import Settings
from jobs.uploads import Upload
from jobs.work.attempt import Attempt, wait_for_room
from jobs.work.chain import Chain
from jobs.work.undoing import Undoing

log = logging.getLogger(__name__)


def run(upload_id: int) -> None:
    """Import the next upload of a lane; on the quick lane, then others while some wait. RQ calls this function by name
    in a child process.

    upload_id: an upload of the lane, which need not be the next one.
    """
    settings = Settings.load()
    database = Database(settings.database, bulk=True, idle_timeout=settings.idle_timeout)
    try:
        with Changes.opened(settings, database) as changes:
            with database.reading() as connection:
                lane = uploads.lane_of(connection, upload_id)
            if lane is not None:
                _import_from(lane, settings, changes)
    finally:
        horse_state.state.end()
        database.close()


def _import_from(lane: Lane, settings: Settings, changes: Changes) -> None:
    """Import uploads of a lane, each under a claim of its own."""
    chain = Chain(settings.worker_memory)
    imported = import_next(lane, settings, changes)
    while imported and lane is Lane.QUICK and chain.goes_on() and not changes.queue.is_asked():
        imported = import_next(lane, settings, changes) or (
            chain.another_waits(lambda: bool(_jobs_of(lane, changes))) and import_next(lane, settings, changes)
        )


def import_next(lane: Lane, settings: Settings, changes: Changes) -> bool:
    """Import the next upload of a lane. Returns whether there was one, and whether it came to its end: one that waits
    for room on a disk is the next one again."""
    database = changes.database
    with database.right_of_way() if lane is Lane.QUICK else nullcontext():
        upload = _claimed(lane, settings, changes)
        if upload is None:
            return False
        horse_state.state.begin(upload.id, upload.attempt)
        log_context.upload_id.set(upload.id)  # also for what RQ logs of an error
        log.info("Upload %d: attempt %d begins at row %d.", upload.id, upload.attempt, upload.rows_processed + 1)
        attempt = (Undoing if upload.is_undo else Attempt)(settings, changes, upload)
        attempt.run()
        log_context.upload_id.set(None)
        horse_state.state.end()
        database.claim = ""
        return not attempt.was_handed_back


def _claimed(lane: Lane, settings: Settings, changes: Changes) -> Upload | None:
    """The next upload of a lane under a claim. None: none may start, or the disk is full; then the sweeper rings again.

    Jobs in the queue are forgotten if they were there before it turned out that no upload waits.
    """
    try:
        if changes.queue.has_room():
            jobs = _jobs_of(lane, changes)
            if (lane is Lane.QUICK and jobs) or _may_start(lane, settings, changes):
                upload = changes.make(partial(_claim, lane=lane, settings=settings))
                if upload is not None:
                    return upload
            _forget(lane, changes, jobs)
            log.info("No upload waits on the lane %s; nothing to do.", lane)
            return None
    except sa.exc.DBAPIError as error:
        if not disk.is_full(error):
            raise
    log.warning("The disk is full, so uploads wait until there is room.")
    wait_for_room()
    return None


def _may_start(lane: Lane, settings: Settings, changes: Changes) -> bool:
    with changes.database.reading() as connection:
        return uploads.may_start(connection, lane, dataset_imports=settings.dataset_imports)


def _jobs_of(lane: Lane, changes: Changes) -> list[str]:
    try:
        return changes.queue.jobs_of(lane)
    except RedisError:
        return []  # then nobody is woken in vain either


def _forget(lane: Lane, changes: Changes, jobs: list[str]) -> None:
    try:
        changes.queue.forget(lane, jobs)
    except RedisError as error:
        log.warning("Redis does not respond (%s); workers may be woken in vain.", error)


def _claim(connection: sa.Connection, *, lane: Lane, settings: Settings) -> Upload | None:
    return uploads.claim_next(
        connection,
        lane,
        worker=horse_state.name_of(os.getpid()),
        lease=settings.lease,
        dataset_imports=settings.dataset_imports,
    )
