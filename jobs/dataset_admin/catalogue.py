"""The list of datasets: found by name or title, sorted, each with what is known of it without reading its rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from jobs import uploads as records
from jobs import view
from jobs.errors import DatasetNotFoundError
from jobs.history_query import fold
from jobs.modes import Mode, allowed
from jobs.tables import datasets, uploads
from jobs.uploads import ACTIVE, CANCELLABLE, Upload
from jobs.view import View


class Order(StrEnum):
    """What the list is sorted by. Datasets that are alike follow in the order of their names."""

    NAME = "name"
    ROWS = "rows"
    CHANGED = "changed"


@dataclass(frozen=True)
class CatalogueQuery:
    """search: part of a name or title, regardless of case; "" for all datasets."""

    search: str = ""
    order: Order = Order.NAME
    descending: bool = False


#: All datasets by name.
EVERYTHING = CatalogueQuery()


@dataclass(frozen=True)
class Entry:
    """A dataset. modes: that an upload may ask for. upload_id: the upload that created it. changed_at: when its rows
    changed last, None if it never had any. last_upload: the newest upload into it."""

    name: str
    title: str | None
    mode: Mode
    modes: list[Mode]
    rows: int
    columns: int
    upload_id: int | None
    created_at: datetime
    changed_at: datetime | None
    last_upload: Upload | None


def entries(
    connection: sa.Connection,
    query: CatalogueQuery = EVERYTHING,
    *,
    limit: int | None = None,
    skipped: int = 0,
    seen: View = view.EVERYTHING,
) -> list[Entry]:
    """The datasets that a query finds, in its order. limit: None for all. skipped: at the beginning. seen: what exists
    for whoever asks."""
    found = _matches(query.search) & seen.condition(datasets.c.name)
    statement = sa.select(*_COLUMNS).where(found).order_by(*_order(query))
    return _entries(connection, connection.execute(statement.limit(limit).offset(skipped)).all())


def entry(connection: sa.Connection, name: str) -> Entry:
    """One of them. Raises DatasetNotFoundError."""
    found = connection.execute(sa.select(*_COLUMNS).where(datasets.c.name == name)).all()
    if not found:
        raise DatasetNotFoundError(name)
    return _entries(connection, found)[0]


def running(connection: sa.Connection, name: str, *, limit: int, held_too: bool = False) -> list[Upload]:
    """The uploads into a dataset that have not ended, the newest first. held_too: also those that wait for a person."""
    statuses = CANCELLABLE if held_too else ACTIVE
    active = sa.select(uploads).where(uploads.c.status.in_(statuses), uploads.c.dataset == name)
    # Few uploads are active, but a dataset may have any number.
    by_status = active.with_hint(uploads, "INDEXED BY uploads_status", "sqlite")
    rows = connection.execute(by_status.order_by(uploads.c.id.desc()).limit(limit))
    return [Upload.from_row(row) for row in rows]


_newest_upload = (
    sa.select(sa.func.max(uploads.c.id))
    .where(uploads.c.dataset == datasets.c.name)
    .correlate(datasets)
    .scalar_subquery()
)
_COLUMNS = [
    datasets.c.name,
    datasets.c.mode,
    datasets.c.modes,
    datasets.c.schema["primaryKey"].as_json().label("key"),
    datasets.c.rows,
    datasets.c.upload_id,
    datasets.c.created_at,
    datasets.c.changed_at,
    datasets.c.schema["title"].as_string().label("title"),
    sa.func.json_array_length(datasets.c.schema["fields"]).label("columns"),
    _newest_upload.label("last_upload"),
]


def _matches(search: str) -> sa.ColumnElement[bool]:
    text = fold(search)
    found = [column.contains(text, autoescape=True) for column in (datasets.c.name, datasets.c.search_text)]
    return sa.or_(*found) if text else sa.true()


def _order(query: CatalogueQuery) -> list[sa.ColumnElement[Any]]:
    by: dict[Order, sa.ColumnElement[Any]] = {
        Order.NAME: datasets.c.name,
        Order.ROWS: datasets.c.rows,
        Order.CHANGED: sa.func.coalesce(datasets.c.changed_at, datasets.c.created_at),
    }
    column = by[query.order]
    return [column.desc() if query.descending else column.asc(), datasets.c.name.asc()]


def _entries(connection: sa.Connection, rows: Iterable[sa.Row[Any]]) -> list[Entry]:
    found = list(rows)
    newest = {row.last_upload for row in found} - {None}
    uploads_by_id = {each.id: each for each in records.get_many(connection, newest)} if newest else {}
    return [
        Entry(
            row.name,
            (row.title or "").strip() or None,
            Mode(row.mode),
            allowed(row.key or (), row.modes),
            row.rows,
            row.columns,
            row.upload_id,
            row.created_at,
            row.changed_at,
            uploads_by_id.get(row.last_upload),
        )
        for row in found
    ]
