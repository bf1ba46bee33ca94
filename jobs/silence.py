"""The sweep for external uploads of which nothing is heard: shown as such, and given up in the end."""

import logging

from jobs import uploads
from jobs.database import Database
from jobs.events import Publisher

log = logging.getLogger(__name__)

#: Seconds without a report after which pages say so: longer than any script needs between two chunks.
SILENT_AFTER = 60.0


def sweep(database: Database, publisher: Publisher, *, patience: float) -> None:
    """Note who has fallen silent; fail who has been silent for longer than the patience. patience: seconds."""
    with database.reading() as connection:
        quiet = uploads.silent(connection, for_seconds=min(SILENT_AFTER, patience))
    for upload in quiet:
        with database.transaction() as connection:
            error = f"No word came from its script for {_spoken(patience)}, so it was given up. Is the script running?"
            changed = uploads.give_up(connection, upload.id, for_seconds=patience, error=error) or uploads.fall_silent(
                connection, upload.id, for_seconds=SILENT_AFTER
            )
        if changed is not None:
            log.warning("No word of upload %d comes from its script: it is %s.", changed.id, changed.status)
            publisher.publish(changed)


def _spoken(seconds: float) -> str:
    """A time as people say it: 1 hour, 30 minutes, 90 seconds."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
