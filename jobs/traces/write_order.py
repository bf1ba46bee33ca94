"""The order in which uploads wrote into a dataset.

Several uploads may be imported into a dataset at once, and one that is retried continues after others. So of two rows
that are versions of the same one, the newer one is not always that of the upload with the larger number. Each chunk
takes a stamp from its dataset as the last thing that its transaction does, so that the stamps of all chunks stand in
the order of the commits. Chunks of one upload that no other upload interrupts share a stamp, which is recorded once.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from jobs.tables import write_order

#: Of rows without a stamp, which an earlier release wrote: older than all others.
NO_STAMP = 0


def record(connection: sa.Connection, upload_id: int, first: int, stamp: int) -> None:
    """The rows of an upload from this one on have a stamp, as `datasets.count_rows` returned it."""
    connection.execute(_INSERT, {"upload_id": upload_id, "first": first, "stamp": stamp})


_INSERT = sa.insert(write_order)


def delete_all(connection: sa.Connection, upload_id: int) -> None:
    """Delete the stamps of an upload that starts again."""
    connection.execute(sa.delete(write_order).where(write_order.c.upload_id == upload_id))


def last_stamp(connection: sa.Connection, upload_id: int) -> int | None:
    """The stamp of the newest rows of an upload; None if it wrote none."""
    newest = sa.select(sa.func.max(write_order.c.stamp)).where(write_order.c.upload_id == upload_id)
    found: int | None = connection.scalar(newest)
    return found


def stamp_in_sql(upload_id: str, row_number: str) -> str:
    """The stamp of a row as an SQL expression, of the expressions of its upload and its number. Versions of a row stand
    in the order of (stamp, upload, row number), the newest one last."""
    return (
        f'coalesce((SELECT max(w.stamp) FROM write_order AS w WHERE w.upload_id = {upload_id} AND w."first"'
        f" <= {row_number}), {NO_STAMP})"
    )


def stamps_of(connection: sa.Connection, rows: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The stamps of some rows. rows: upload and number of each."""
    wanted = set(rows)
    found: dict[int, list[tuple[int, int]]] = {upload_id: [] for upload_id, _ in wanted}
    of_them = sa.select(write_order).where(write_order.c.upload_id.in_(found))
    for upload_id, first, stamp in map(tuple, connection.execute(of_them)):
        found[upload_id].append((first, stamp))
    return {
        (upload_id, number): max((stamp for first, stamp in found[upload_id] if first <= number), default=NO_STAMP)
        for upload_id, number in wanted
    }
