"""Open rows: failed rows that are in no dataset yet, with the edits that people made of them beside the original cells.

An edit names the version of the row that its author saw, so nobody overwrites what somebody else did meanwhile. All
edits of an upload's rows wait for each other (`begin_edit`). No pandas: the web processes import this module.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import failed_rows as failed_row_counts
from jobs import failure_places
from jobs.database import utc_now
from jobs.errors import NothingToUndoError, RowChangedError, RowNotOpenError, RowTakenError
from jobs.failed_rows import ANY_REASON, Closed, Reason, WithReason
from jobs.rows import reader as row_reader
from jobs.tables import failed_rows, repair_states, row_edits, uploads
from jobs.uploads import ACTIVE, Upload

#: Edits of an upload's rows that can be undone, one after the other.
EDITS_KEPT = 50
#: Numbers that one statement names.
_BATCH = 1_000

_COLUMNS = failed_rows.c
#: A row that neither landed nor failed again in an upload of corrections.
IS_OPEN = _COLUMNS.corrected_by.is_(None) & _COLUMNS.failed_again_in.is_(None)


@dataclass(frozen=True)
class OpenRow:
    """cells: as in the file. reasons: for which it failed. edits: column of the file → the text in its place. wrong:
    the reasons that remain with the edits. taken_by: the repair whose file has the row."""

    row_number: int
    line: int | None
    cells: list[str]
    reasons: list[Reason]
    version: int = 1
    edits: Mapping[str, str] = field(default_factory=dict)
    wrong: Sequence[Reason] = ()
    edited_by: str | None = None
    edited_at: datetime | None = None
    taken_by: int | None = None

    @property
    def is_edited(self) -> bool:
        return bool(self.edits)

    @property
    def is_right(self) -> bool:
        return self.is_edited and not self.wrong

    @property
    def still_wrong(self) -> Sequence[Reason]:
        """The reasons that remain."""
        return self.wrong if self.is_edited else self.reasons

    @property
    def length(self) -> int:
        """Characters of its cells."""
        return sum(map(len, self.cells)) + sum(map(len, self.edits.values()))

    def texts(self, header: Sequence[str]) -> list[str]:
        """A cell for each column of the file, with the edits."""
        cells = [*self.cells[: len(header)], *[""] * (len(header) - len(self.cells))]
        if not self.edits:
            return cells
        return [self.edits.get(name, cell) for name, cell in zip(header, cells, strict=True)]

    def edits_with(self, header: Sequence[str], changed: Mapping[str, str]) -> dict[str, str]:
        """The edits with further ones. A text that is the original one is no edit."""
        cells = dict(zip(header, self.cells, strict=False))
        edits = {**self.edits, **changed}
        return {name: text for name, text in edits.items() if text != cells.get(name, "")}

    @classmethod
    def from_stored(cls, row: Any) -> Self:
        return cls(
            row.row_number,
            row.line,
            row.cells,
            [Reason(*each) for each in row.reasons],
            row.version,
            row.edits or {},
            [Reason(*each) for each in row.wrong or ()],
            row.edited_by,
            row.edited_at,
            row.taken_by,
        )


_STORED = sa.select(
    *(_COLUMNS[name] for name in ("row_number", "line", "cells", "reasons", "version", "edits", "wrong")),
    *(_COLUMNS[name] for name in ("edited_by", "edited_at", "taken_by")),
)


def page(
    connection: sa.Connection,
    upload_id: int,
    *,
    after: int = 0,
    limit: int,
    enough: int | None = None,
    chosen: WithReason = ANY_REASON,
    only_wrong: bool = False,
) -> list[OpenRow]:
    """Open rows after a row number, in order. chosen: the reason for which they fail now. enough: characters of
    cells; the list ends with the row that reaches them, if not before. only_wrong: without those that are edited and
    right."""
    which = IS_OPEN & ~_COLUMNS.is_right if only_wrong else IS_OPEN
    statement = _STORED.where(_COLUMNS.upload_id == upload_id, which)
    if chosen == ANY_REASON:
        statement = statement.where(_COLUMNS.row_number > after)
    else:
        statement = statement.where(
            _COLUMNS.row_number.in_(_numbers(connection, upload_id, which, after, limit, chosen))
        )
    rows = row_reader.one_by_one(connection, statement.order_by(_COLUMNS.row_number).limit(limit))
    return list(row_reader.until(map(OpenRow.from_stored, rows), lambda row: row.length, enough))


def _numbers(
    connection: sa.Connection,
    upload_id: int,
    which: sa.ColumnElement[bool],
    after: int,
    limit: int,
    chosen: WithReason,
) -> list[int]:
    """The numbers of the next rows with a reason. which: of those with it."""
    rows = sa.select(_COLUMNS.row_number, _COLUMNS.wrong).where(_COLUMNS.upload_id == upload_id, which)
    rows = rows.order_by(_COLUMNS.row_number)
    edited = _edited_numbers(connection, rows, after, limit, chosen)
    column, rule = chosen
    unedited: list[int] = []
    while len(unedited) < limit:
        places = failure_places.find(connection, upload_id, column=column, rule=rule, after=after, limit=_BATCH)
        is_one = _COLUMNS.row_number.in_(places) & _COLUMNS.edits.is_(None)
        unedited += connection.scalars(rows.where(is_one)).all()
        if len(places) < _BATCH:
            break
        after = places[-1]
    return sorted([*edited, *unedited])[:limit]


def _edited_numbers(
    connection: sa.Connection, rows: sa.Select[tuple[int, Any]], after: int, limit: int, chosen: WithReason
) -> list[int]:
    """As `_numbers`, of rows whose reasons are no longer those for which they failed."""
    wrong = rows.where(_COLUMNS.edits.is_not(None), ~_COLUMNS.is_right)
    found: list[int] = []
    while len(found) < limit:
        batch = connection.execute(wrong.where(_COLUMNS.row_number > after).limit(_BATCH)).all()
        found += [row[0] for row in batch if any(chosen.includes(Reason(*each)) for each in row[1] or ())]
        if len(batch) < _BATCH:
            break
        after = batch[-1][0]
    return found


def find(connection: sa.Connection, upload_id: int, row_number: int) -> OpenRow:
    """Raises RowNotOpenError."""
    statement = _STORED.where(_COLUMNS.upload_id == upload_id, _COLUMNS.row_number == row_number, IS_OPEN)
    row = connection.execute(statement).one_or_none()
    if row is None:
        raise RowNotOpenError(upload_id, row_number)
    return OpenRow.from_stored(row)


def some(connection: sa.Connection, upload_id: int, numbers: Iterable[int]) -> dict[int, OpenRow]:
    """The open rows with these numbers."""
    found: dict[int, OpenRow] = {}
    for part in _batches(numbers):
        statement = _STORED.where(_COLUMNS.upload_id == upload_id, _COLUMNS.row_number.in_(part), IS_OPEN)
        found |= {row.row_number: OpenRow.from_stored(row) for row in connection.execute(statement)}
    return found


def batches(
    connection: sa.Connection, upload_id: int, *, size: int, only_right: bool = False
) -> Iterator[list[OpenRow]]:
    """All open rows, or those that are edited and right, so many at a time."""
    after = 0
    texts = (sa.cast(_COLUMNS[name], sa.Text) for name in ("cells", "reasons", "edits", "wrong"))
    statement = sa.select(_COLUMNS.row_number, _COLUMNS.line, _COLUMNS.version, *texts)
    statement = statement.where(_COLUMNS.upload_id == upload_id, IS_OPEN)
    if only_right:
        statement = statement.where(_COLUMNS.edits.is_not(None), _COLUMNS.is_right == sa.true())
    while True:
        following = statement.where(_COLUMNS.row_number > after).order_by(_COLUMNS.row_number).limit(size)
        rows = list(map(tuple, connection.execute(following)))
        if rows:
            yield _decoded(rows)
            after = rows[-1][0]
        if len(rows) < size:
            return


def _decoded(stored: Sequence[tuple[Any, ...]]) -> list[OpenRow]:
    """Rows from number, line, version, and the JSON of cells, reasons, edits and what is wrong. To decode all at once
    takes a tenth of the time."""
    parts = (json.loads(f"[{','.join([row[place] or 'null' for row in stored])}]") for place in range(3, 7))
    return [
        OpenRow(number, line, cells, list(map(_reason, reasons)), version, edits or {}, list(map(_reason, wrong or ())))
        for (number, line, version, *_), cells, reasons, edits, wrong in zip(stored, *parts, strict=True)
    ]


def _reason(stored: Sequence[str | None]) -> Reason:
    return Reason(*stored)  # type: ignore[arg-type]  # a rule is a text


class Progress(NamedTuple):
    """Of the rows of an upload that can be edited: how many are open, edited, and edited and right."""

    open: int
    edited: int
    right: int


def progress(connection: sa.Connection, upload: Upload) -> Progress:
    is_edited = (_COLUMNS.upload_id == upload.id) & _COLUMNS.edits.is_not(None)
    statement = sa.select(_COLUMNS.is_right, sa.func.count()).where(is_edited, IS_OPEN).group_by(_COLUMNS.is_right)
    counts = {bool(row[0]): row[1] for row in connection.execute(statement)}
    return Progress(upload.rows_open, sum(counts.values()), counts.get(True, 0))


class Edited(NamedTuple):
    """A row as it is with all of its edits. version: the one that its author saw."""

    row_number: int
    version: int
    edits: Mapping[str, str]
    wrong: Sequence[Reason]


def begin_edit(connection: sa.Connection, upload_id: int) -> int:
    """Count an edit of the upload's rows, and keep other editors waiting until the transaction ends. Returns how many
    there were before."""
    inserts: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = inserts.insert(repair_states).values(upload_id=upload_id, edits=1)
    changed = {"edits": repair_states.c.edits + 1}
    counted = insert.on_conflict_do_update(index_elements=[repair_states.c.upload_id], set_=changed)
    return int(connection.scalar(counted.returning(repair_states.c.edits)) or 0) - 1


def edits_of(connection: sa.Connection, upload_id: int) -> int:
    """How many edits the upload's rows had."""
    found = sa.select(repair_states.c.edits).where(repair_states.c.upload_id == upload_id)
    return connection.scalar(found) or 0


def edit(connection: sa.Connection, upload_id: int, row: Edited, *, title: str, by: str | None) -> OpenRow:
    """Edit one row. Raises RowNotOpenError, RowChangedError, RowTakenError."""
    return edit_several(connection, upload_id, [row], title=title, by=by)[0]


def edit_several(
    connection: sa.Connection, upload_id: int, rows: Sequence[Edited], *, title: str, by: str | None
) -> list[OpenRow]:
    """Edit rows as they were seen, all of them or none. title: what it does, for people. by: whose edit it is.

    Raises RowNotOpenError, RowChangedError, RowTakenError."""
    begin_edit(connection, upload_id)
    stored = some(connection, upload_id, [row.row_number for row in rows])
    taken = _being_imported(connection, {row.taken_by for row in stored.values() if row.taken_by is not None})
    for row in rows:
        before = stored.get(row.row_number)
        if before is None:
            raise RowNotOpenError(upload_id, row.row_number)
        if before.version != row.version:
            raise RowChangedError(row.row_number, before.version, before.edited_by)
        if before.taken_by in taken:
            raise RowTakenError(row.row_number, before.taken_by or 0)
    write(connection, upload_id, [(stored[row.row_number], row) for row in rows], title=title, by=by)
    after = some(connection, upload_id, [row.row_number for row in rows])
    return [after[row.row_number] for row in rows]


def write(
    connection: sa.Connection,
    upload_id: int,
    rows: Sequence[tuple[OpenRow, Edited]],
    *,
    title: str,
    by: str | None,
) -> None:
    """Write edits of rows as they are now, and what is needed to undo them. After `begin_edit`."""
    if not rows:
        return
    _write(
        connection,
        upload_id,
        [(before.version + 1, after.row_number, after.edits, after.wrong) for before, after in rows],
        by,
    )
    _count(connection, upload_id, [(row, after.edits, after.wrong) for row, after in rows])
    before = [[row.row_number, dict(after.edits), dict(row.edits), row.wrong] for row, after in rows]
    values = {"upload_id": upload_id, "at": utc_now(), "by_name": by, "title": title, "before": before}
    values["rows"] = len(before)
    number = connection.scalar(sa.insert(row_edits).values(values).returning(row_edits.c.id))
    oldest = sa.select(row_edits.c.id).where(row_edits.c.upload_id == upload_id).order_by(row_edits.c.id.desc())
    kept = oldest.offset(EDITS_KEPT).limit(1).scalar_subquery()
    connection.execute(
        sa.delete(row_edits).where(row_edits.c.upload_id == upload_id, row_edits.c.id <= kept, row_edits.c.id < number)
    )


def _count(
    connection: sa.Connection, upload_id: int, rows: Iterable[tuple[OpenRow, Mapping[str, str], Sequence[Reason]]]
) -> None:
    """Count for what rows no longer fail, and for what they fail now. rows: before, edits and remaining reasons."""
    closed = Closed()
    for row, edits, wrong in rows:
        closed.add(row.still_wrong)
        closed.add(wrong if edits else row.reasons, -1)
    failed_row_counts.close(connection, upload_id, closed)


def _write(
    connection: sa.Connection,
    upload_id: int,
    rows: Iterable[tuple[int, int, Mapping[str, str], Sequence[Reason]]],
    by: str | None,
) -> None:
    """rows: version, number, edits and remaining reasons of each."""
    columns = failed_rows.c
    statement = (
        sa.update(failed_rows)
        .where(columns.upload_id == upload_id, columns.row_number == sa.bindparam("number", type_=sa.BigInteger))
        .values(
            version=sa.bindparam("new_version", type_=sa.BigInteger),
            edits=sa.bindparam("new_edits", type_=columns.edits.type),
            wrong=sa.bindparam("new_wrong", type_=columns.wrong.type),
            is_right=sa.bindparam("new_right", type_=sa.Boolean),
            edited_by=by,
            edited_at=utc_now(),
        )
    )
    values = [
        {
            "number": number,
            "new_version": version,
            "new_edits": dict(edits) or None,
            "new_wrong": [list(each) for each in wrong] if edits else None,
            "new_right": bool(edits) and not wrong,
        }
        for version, number, edits, wrong in rows
    ]
    for start in range(0, len(values), _BATCH):
        connection.execute(statement, values[start : start + _BATCH])


def _being_imported(connection: sa.Connection, upload_ids: Iterable[int]) -> set[int]:
    """Which of these uploads wait or run."""
    wanted = sa.select(uploads.c.id).where(uploads.c.id.in_(list(upload_ids)), uploads.c.status.in_(ACTIVE))
    return set(connection.scalars(wanted))


class LastEdit(NamedTuple):
    """What can be undone. title: what it did. rows: how many it changed."""

    id: int
    at: datetime
    by: str | None
    title: str
    rows: int


def last_edit(connection: sa.Connection, upload_id: int) -> LastEdit | None:
    columns = row_edits.c
    newest = sa.select(columns.id, columns.at, columns.by_name, columns.title, columns.rows)
    newest = newest.where(columns.upload_id == upload_id).order_by(columns.id.desc())
    row = connection.execute(newest.limit(1)).one_or_none()
    return None if row is None else LastEdit(*row)


class Undone(NamedTuple):
    """rows: that are as before. kept: that somebody edited since, or that are no longer open."""

    title: str
    rows: int
    kept: int


def undo(connection: sa.Connection, upload_id: int, *, by: str | None) -> Undone:
    """Undo the last edit. Raises NothingToUndoError."""
    begin_edit(connection, upload_id)
    newest = sa.select(row_edits).where(row_edits.c.upload_id == upload_id).order_by(row_edits.c.id.desc())
    last = connection.execute(newest.limit(1)).one_or_none()
    if last is None:
        raise NothingToUndoError(upload_id)
    stored = some(connection, upload_id, [number for number, *_ in last.before])
    taken = _being_imported(connection, {row.taken_by for row in stored.values() if row.taken_by is not None})
    again = [
        (stored[number].version + 1, number, edits, [Reason(*each) for each in wrong])
        for number, after, edits, wrong in last.before
        if number in stored and stored[number].edits == after and stored[number].taken_by not in taken
    ]
    _count(connection, upload_id, [(stored[number], edits, wrong) for _, number, edits, wrong in again])
    _write(connection, upload_id, again, by)
    connection.execute(sa.delete(row_edits).where(row_edits.c.id == last.id))
    return Undone(last.title, len(again), len(last.before) - len(again))


def take(connection: sa.Connection, upload_id: int, numbers: Iterable[int], taken_by: int) -> None:
    """Note which repair has these rows in its file."""
    for part in _batches(numbers):
        is_one = (_COLUMNS.upload_id == upload_id) & _COLUMNS.row_number.in_(part)
        connection.execute(sa.update(failed_rows).where(is_one, IS_OPEN).values(taken_by=taken_by))


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]
