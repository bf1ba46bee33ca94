"""Counts what an undo would do, without doing it: what a request asks for, or a worker if there are many rows."""

from collections.abc import Callable

import sqlalchemy as sa

from jobs import datasets, uploads
from jobs.database import Database
from jobs.undo import orders as undo_orders
from jobs.undo.orders import QUICK_ROWS, Effect, Preview
from jobs.undo.versions import Versions
from jobs.uploads import Upload

#: Rows of a dataset that a request looks through.
QUICK_DATASET_ROWS = 100_000


def is_quick(connection: sa.Connection, upload: Upload, *, repairs: bool) -> bool:
    """Whether a request may count it itself. Raises DatasetNotFoundError."""
    effect = Effect.of(connection, upload.dataset or "", undo_orders.undoes_of(connection, upload, repairs=repairs), 0)
    concerned = uploads.get_many(connection, effect.undone_by)
    rows = sum(each.rows_success for each in concerned)
    whole = datasets.row_count(connection, datasets.get(connection, upload.dataset or ""))
    return rows <= QUICK_ROWS and whole <= QUICK_DATASET_ROWS and not any(each.replaces_all for each in concerned)


def count(database: Database, upload: Upload, *, repairs: bool, tick: Callable[[], None] = lambda: None) -> Preview:
    """What undoing an upload would do. repairs: with the uploads that corrected its failed rows. tick: is called now
    and then."""
    with database.reading() as connection:
        dataset = datasets.get(connection, upload.dataset or "")
        possible = undo_orders.repairs_of(connection, upload)
        undoes = undo_orders.undoes_of(connection, upload, repairs=repairs)
        effect = Effect.of(connection, dataset.name, undoes, 0)
        undone = uploads.get_many(connection, effect.newly_dead)
        versions = Versions(connection, dataset, effect)
    return versions.preview(database, undone, [each.id for each in possible], tick)


def find(database: Database, upload_id: int, *, repairs: bool, tick: Callable[[], None]) -> None:
    """Count, and keep the figures for whoever asks."""
    with database.reading() as connection:
        upload = uploads.get(connection, upload_id)
        state = undo_orders.state_of(connection, upload)
    found = count(database, upload, repairs=repairs, tick=tick)
    with database.transaction() as connection:
        undo_orders.keep(connection, upload, state, found, repairs=repairs)
