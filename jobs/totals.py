"""Totals: what happened to uploads since the first one. They survive restarts, and the records that they counted.

Triggers of the database count, in the transaction of each change, so no process can forget to. On PostgreSQL each
change adds a row of its own, because a single one would make imports wait for each other; the sweeper adds them up.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from jobs.database import Database
from jobs.tables import totals, totals_added

#: Rows that one step of the sweeper adds up.
ADDED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Totals:
    """uploads: that ended, by status and lane ("external" for those that scripts import). rows: by "success" and
    "failed"; a retry from the start counts its rows again. bytes: of the files that were received. What never happened
    is missing."""

    uploads: dict[tuple[str, str], int]
    rows: dict[str, int]
    bytes: int


def read(connection: sa.Connection) -> Totals:
    both = sa.union_all(
        sa.select(totals.c.name, totals.c.label, totals.c.value),
        sa.select(totals_added.c.name, totals_added.c.label, totals_added.c.value),
    ).subquery()
    statement = sa.select(both.c.name, both.c.label, sa.func.sum(both.c.value)).group_by(both.c.name, both.c.label)
    found = {(name, label): int(value) for name, label, value in connection.execute(statement) if value}
    ended = {}
    for (name, label), value in found.items():
        if name == "uploads":
            status, _, lane = label.partition(" ")
            ended[status, lane] = value
    rows = {label: value for (name, label), value in found.items() if name == "rows"}
    return Totals(ended, rows, found.get(("bytes", ""), 0))


def add_up(database: Database) -> None:
    """Add what was counted since the last time, a few thousand changes at most."""
    if database.is_sqlite:
        return
    with database.reading() as connection:
        if connection.scalar(sa.select(totals_added.c.id).limit(1)) is None:
            return
    oldest = sa.select(totals_added.c.id).order_by(totals_added.c.id).limit(ADDED_AT_ONCE)
    gone = (
        sa.delete(totals_added)
        .where(totals_added.c.id.in_(oldest.with_for_update(skip_locked=True)))
        .returning(totals_added.c.name, totals_added.c.label, totals_added.c.value)
        .cte("gone")
    )
    sums = sa.select(gone.c.name, gone.c.label, sa.func.sum(gone.c.value)).group_by(gone.c.name, gone.c.label)
    insert: Any = postgresql.insert(totals).from_select(
        ["name", "label", "value"], sums.order_by(gone.c.name, gone.c.label)
    )
    added = insert.on_conflict_do_update(
        index_elements=["name", "label"], set_={"value": totals.c.value + insert.excluded.value}
    )
    with database.transaction() as connection:
        connection.execute(added)
