"""Uploads in brief: those of the same dataset, and those that correct each other, as an upload's page lists them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import sqlalchemy as sa

from jobs.tables import uploads
from jobs.uploads import Status, Upload


@dataclass(frozen=True)
class Sibling:
    """seconds: from the start to the end, or to the last change so far; None before the start."""

    id: int
    status: Status
    filename: str
    created_at: datetime
    seconds: float | None
    rows_processed: int
    rows_success: int
    rows_failed: int
    has_warnings: bool
    is_undone: bool = False

    @classmethod
    def from_upload(cls, upload: Upload) -> Self:
        ended_at = upload.finished_at or upload.updated_at
        return cls(
            upload.id,
            upload.status,
            upload.filename,
            upload.created_at,
            None if upload.started_at is None else (ended_at - upload.started_at).total_seconds(),
            upload.rows_processed,
            upload.rows_success,
            upload.rows_failed,
            bool(upload.warnings),
            upload.undone_by is not None,
        )

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> Self:
        values = row._asdict()
        started_at, ended_at = values.pop("started_at"), values.pop("ended_at")
        seconds = None if started_at is None else (ended_at - started_at).total_seconds()
        warned = values.pop("warned") not in ("[]", "null", None)
        values["is_undone"] = values.pop("undone_by") is not None
        return cls(**{**values, "status": Status(values["status"])}, seconds=seconds, has_warnings=warned)

    @property
    def failed_share(self) -> float | None:
        """Of the rows that were processed; None without any."""
        return self.rows_failed / self.rows_processed if self.rows_processed else None


_columns = uploads.c
_BRIEF: sa.Select[Any] = sa.select(
    _columns.id,
    _columns.status,
    _columns.filename,
    _columns.created_at,
    _columns.started_at,
    sa.func.coalesce(_columns.finished_at, _columns.updated_at).label("ended_at"),
    _columns.rows_processed,
    _columns.rows_success,
    _columns.rows_failed,
    sa.func.substr(sa.cast(_columns.warnings, sa.Text), 1, 5).label("warned"),
    _columns.undone_by,
)


def last_of(connection: sa.Connection, dataset: str, *, limit: int) -> list[Sibling]:
    """The last uploads into a dataset, the newest first."""
    return [Sibling.from_row(row) for row in connection.execute(_LAST_OF, {"name": dataset, "most": limit})]


#: Made once, since to build it anew takes half as long as to run it; so is `_SOME`.
_LAST_OF = (
    _BRIEF.where(_columns.dataset == sa.bindparam("name"), _columns.deleted_at.is_(None))
    .order_by(_columns.id.desc())
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def some(connection: sa.Connection, upload_ids: Iterable[int]) -> list[Sibling]:
    """The uploads with these ids, oldest first."""
    return [Sibling.from_row(row) for row in connection.execute(_SOME, {"ids": list(upload_ids)})]


_SOME = _BRIEF.where(_columns.id.in_(sa.bindparam("ids", expanding=True))).order_by(_columns.id)
