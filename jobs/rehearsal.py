"""Small imports that a worker rehearses before it forks its first work horse, so that each work horse starts warm.

An import of a few rows takes longer to load libraries and to compile statements than to import. What this process did
once, its forks need not do again. A rehearsal imports into tables of its own and publishes nothing.
"""

import gc
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path

from jobs import uploads
from jobs.bulk_upload import import_next
from jobs.changes import Changes
from jobs.database import Database, rehearsal
from jobs.events import Publisher
from jobs.files import Arrival
from jobs.lanes import Lane
from jobs.process.horse_state import state
from jobs.queue import UploadQueue
from jobs.settings import FILE, Settings
from jobs.uploads import Upload, Waiting

log = logging.getLogger(__name__)

#: Two files, the second for the dataset of the first: each type, an empty cell, a cell of another type, one cell too
#: many, and a quoted cell. Failed rows take statements of their own, one row another than several.
HEADER = "key,name,quantity,price,sold,noted,paid\n"
LINE = 'K{0:03},"Müller, Zoë {0}",{0},{0}.50,2026-01-31,2026-01-31 09:30:00,true\n'
FILES = (
    HEADER + "".join(map(LINE.format, range(30))) + LINE.format(30)[:-1] + ",8\n",
    HEADER + LINE.format(1) + "K100,Zoë,,1.5,,,\nK101,Zoë,many,1.5,2026-01-31,,false\n" + LINE.format(2)[:-1] + ",8\n",
)


def rehearse(settings: Settings) -> None:
    """Never raises: an import that was not rehearsed only takes longer."""
    logging.disable(logging.INFO)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bulk-upload-") as folder,
            rehearsal(settings.database, idle_timeout=settings.idle_timeout) as database,
        ):
            _import_files(
                settings.model_copy(update={"data": Path(folder), "store": FILE, "store_before": None}), database
            )
    except Exception as error:
        log.warning("The first imports take longer, because this worker could not rehearse: %s", error)
    finally:
        logging.disable(logging.NOTSET)
        state.reset()
    gc.collect()
    gc.freeze()  # or the collector of each work horse would search, and so copy, all that it inherits


def _import_files(settings: Settings, database: Database) -> None:
    silent, no_queue = _SilentPublisher(settings.redis), _NoQueue(settings.redis)
    changes = Changes(database, silent, no_queue, settings.files, dataset_imports=settings.dataset_imports)
    dataset = None
    for content in FILES:
        upload_id = _create(settings, database, content, dataset)
        with database.reading() as connection:
            lane = uploads.lane_of(connection, upload_id) or Lane.QUICK
        import_next(lane, settings, changes)
        with database.reading() as connection:
            dataset = uploads.get(connection, upload_id).dataset


def _create(settings: Settings, database: Database, content: str, dataset: str | None) -> int:
    with Arrival(settings.files, "rehearsal.csv", limit=1 << 20) as arrival:
        arrival.write(content.encode())
        file = arrival.keep()
    with database.transaction() as connection:
        return uploads.create(connection, file, dataset=dataset).id


class _SilentPublisher(Publisher):
    def publish(self, upload: Upload) -> None:
        """Nobody may hear of a rehearsal."""


class _NoQueue(UploadQueue):
    def enqueue(self, upload: Upload) -> None:
        """No worker may take an upload of a rehearsal."""

    def enqueue_missing(self, waiting: Mapping[Lane, Waiting]) -> dict[Lane, int]:
        return {}

    def jobs_of(self, lane: Lane) -> list[str]:
        return []
