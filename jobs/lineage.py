"""Which uploads correct the failed rows of which, and what became of each failed row.

An upload of corrections is a child of the upload that its rows failed in. A row that fails in it again can be corrected
in a child of the child, and so on. All failed rows that are the same row of a file share a root: the upload and the
row in which it failed first. So when the row lands, or fails once more, all of them are updated, in the transaction of
the chunk. The row is open in the newest upload only that is not undone; if all are, where it failed first.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from jobs import deleted_names, uploads
from jobs import failed_rows as failed_row_counts
from jobs.errors import DatasetDeletedError, UploadNotFoundError
from jobs.failed_rows import Closed, Reason
from jobs.import_options import ImportOptions
from jobs.tables import failed_rows
from jobs.tables import uploads as records
from jobs.upload_log import By
from jobs.uploads import Upload
from jobs.view import EVERYTHING, View

#: What a failed row fails for as it is now.
_NOW = (failed_rows.c.reasons, failed_rows.c.edits, failed_rows.c.wrong)
#: Rows that one statement names: SQLite has 32,766 parameters.
_BATCH = 1_000


class Root(NamedTuple):
    """Where a row failed first."""

    upload_id: int
    row_number: int


@dataclass(frozen=True)
class FailedBefore:
    """A failed row as an upload of corrections finds it."""

    cells: list[str]
    reasons: list[Reason]
    corrected_by: int | None
    failed_again_in: int | None
    root: Root


def find_parent(
    connection: sa.Connection, named: int | None, columns: Sequence[str], view: View = EVERYTHING
) -> Upload | None:
    """The upload that a file of corrections names, if it has failed rows that the file can be from. columns: of the
    file. view: of whoever sent the file; corrections of a hidden upload are an ordinary file.

    An upload of another server may have the same id: at least one of the columns must be the same.
    """
    if named is None:
        return None
    try:
        upload = uploads.get(connection, named)
    except UploadNotFoundError:
        return None
    known = {name.strip().casefold() for name in upload.header or []}
    is_from_it = not known.isdisjoint(name.strip().casefold() for name in columns)
    if not view.shows(upload.dataset):
        return None
    return upload if upload.rows_failed and upload.dataset and not upload.is_external and is_from_it else None


def eldest(connection: sa.Connection, upload: Upload) -> int:
    """The id of the upload at the beginning of the chain of corrections."""
    while upload.parent is not None:
        upload = uploads.get(connection, upload.parent)
    return upload.id


def failed_before(connection: sa.Connection, upload_id: int, row_numbers: Collection[int]) -> dict[int, FailedBefore]:
    """The failed rows of an upload that have these numbers, as far as they are stored."""
    columns = failed_rows.c
    statement = sa.select(
        columns.row_number, columns.cells, columns.reasons, columns.corrected_by, columns.failed_again_in,
        columns.root_upload_id, columns.root_row_number,
    ).where(columns.upload_id == upload_id)  # fmt: skip
    found: dict[int, FailedBefore] = {}
    for part in _batches(row_numbers):
        for row in connection.execute(statement.where(columns.row_number.in_(part))):
            root = Root(upload_id, row.row_number)
            if row.root_upload_id is not None:
                root = Root(row.root_upload_id, row.root_row_number)
            reasons = [Reason(*reason) for reason in row.reasons]
            found[row.row_number] = FailedBefore(row.cells, reasons, row.corrected_by, row.failed_again_in, root)
    return found


def note(
    connection: sa.Connection,
    upload_id: int,
    *,
    corrected: Collection[Root],
    failed_again: Mapping[int, FailedBefore],
) -> list[Upload]:
    """Record what became of rows of an upload of corrections. Returns the uploads whose counts changed.

    corrected: rows that landed. failed_again: rows that did not, by their number in this upload.
    """
    counts = _Counts()
    columns = failed_rows.c
    is_open = columns.corrected_by.is_(None)
    for which in _having(corrected):
        statement = sa.update(failed_rows).where(which, is_open).values(corrected_by=upload_id)
        for row in connection.execute(statement.returning(columns.upload_id, columns.failed_again_in, *_NOW)):
            counts.corrected[row.upload_id] += 1
            counts.failed_again[row.upload_id] -= row.failed_again_in is not None
            if row.failed_again_in is None:
                counts.close(row)
    for which in _having({row.root for row in failed_again.values()}):
        elsewhere = sa.update(failed_rows).where(which, is_open, columns.upload_id != upload_id)
        older = elsewhere.where(columns.failed_again_in < upload_id)
        first = elsewhere.where(columns.failed_again_in.is_(None))
        connection.execute(older.values(failed_again_in=upload_id))
        again = first.values(failed_again_in=upload_id).returning(columns.upload_id, *_NOW)
        for row in connection.execute(again):
            counts.failed_again[row.upload_id] += 1
            counts.close(row)
    landed = {row.root: upload_id for row in failed_again.values() if row.root in corrected}
    _link(connection, upload_id, failed_again, landed, counts)
    return counts.write(connection)


def note_undone(connection: sa.Connection, marked: Iterable[Upload]) -> list[Upload]:
    """Open the failed rows again that uploads brought which are undone now, and close those of uploads that are in
    effect again. marked: the uploads, as they are now, whose eldest are locked. Returns them, and those whose counts
    changed."""
    found = {each.id: each for each in marked}
    corrections = [each for each in found.values() if each.parent is not None and not each.is_undo]
    for upload in sorted(corrections, key=lambda each: each.undone_by is None):
        note = _reopen if upload.undone_by is not None else _close_again
        found |= {each.id: each for each in note(connection, upload)}
    for upload in corrections:
        which = failed_rows.c.upload_id == upload.id, failed_rows.c.root_upload_id.is_not(None)
        found |= {each.id: each for each in _settle(connection, upload, _roots(connection, *which))}
    return list(found.values())


def _reopen(connection: sa.Connection, upload: Upload) -> list[Upload]:
    """Rows that an upload in effect brought as well are left to that one."""
    counts, columns, family = _Counts(), failed_rows.c, _family(connection, upload)
    brought = sa.update(failed_rows).where(columns.upload_id.in_(family), columns.corrected_by == upload.id)
    in_effect = [each.id for each in uploads.get_many(connection, family) if each.undone_by is None]
    others = brought.where(columns.formerly_corrected_by.in_(in_effect))
    connection.execute(others.values(corrected_by=columns.formerly_corrected_by, formerly_corrected_by=upload.id))
    opened = brought.values(corrected_by=None, formerly_corrected_by=upload.id)
    for row in connection.execute(opened.returning(columns.upload_id, columns.failed_again_in, *_NOW)):
        counts.corrected[row.upload_id] -= 1
        counts.failed_again[row.upload_id] += row.failed_again_in is not None
        if row.failed_again_in is None:
            counts.close(row, -1)
    return counts.write(connection)


def _close_again(connection: sa.Connection, upload: Upload) -> list[Upload]:
    columns = failed_rows.c
    which = columns.upload_id.in_(_family(connection, upload)), columns.formerly_corrected_by == upload.id
    return note(connection, upload.id, corrected=_roots(connection, *which), failed_again={})


def _settle(connection: sa.Connection, upload: Upload, roots: Collection[Root]) -> list[Upload]:
    """Leave failed rows open where they belong now. upload: one of those that they failed in. Returns the uploads whose
    counts changed."""
    counts, columns = _Counts(), failed_rows.c
    family = uploads.get_many(connection, _family(connection, upload))
    in_effect = {each.id for each in family if each.undone_by is None}
    stored = sa.select(*_OF_ROOT, columns.corrected_by, columns.failed_again_in, *_NOW)
    for which in _having(roots):
        copies: defaultdict[Root, list[Any]] = defaultdict(list)
        for row in connection.execute(stored.where(which)):
            copies[_root(row)].append(row)
        moved: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for found in copies.values():
            copied_in = {row.upload_id for row in found}
            home = max(copied_in & in_effect, default=min(copied_in))
            for row in found:
                elsewhere = 0 if row.upload_id == home else home
                if elsewhere != (row.failed_again_in or 0):
                    moved[row.upload_id, elsewhere].append(row.row_number)
                    closed = bool(elsewhere) - (row.failed_again_in is not None)
                    if closed and row.corrected_by is None:
                        counts.failed_again[row.upload_id] += closed
                        counts.close(row, closed)
        for (upload_id, elsewhere), numbers in sorted(moved.items()):
            these = (columns.upload_id == upload_id) & columns.row_number.in_(numbers)
            connection.execute(sa.update(failed_rows).where(these).values(failed_again_in=elsewhere or None))
    return counts.write(connection)


_OF_ROOT = tuple(failed_rows.c[name] for name in ("upload_id", "row_number", "root_upload_id", "root_row_number"))


def _roots(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> set[Root]:
    """Of failed rows."""
    return {_root(row) for row in connection.execute(sa.select(*_OF_ROOT).where(*which))}


def _root(row: Any) -> Root:
    if row.root_upload_id is None:
        return Root(row.upload_id, row.row_number)
    return Root(row.root_upload_id, row.root_row_number)


def _link(
    connection: sa.Connection,
    upload_id: int,
    failed_again: Mapping[int, FailedBefore],
    landed: Mapping[Root, int],
    counts: "_Counts",
) -> None:
    """Note the roots of rows that failed in this upload, and which of them landed otherwise, or failed in a newer
    upload. landed: those of which another copy just landed."""
    values = []
    for number, before in failed_again.items():
        corrected_by = before.corrected_by or landed.get(before.root)
        newer = before.failed_again_in if (before.failed_again_in or 0) > upload_id else None
        counts.corrected[upload_id] += corrected_by is not None
        counts.failed_again[upload_id] += corrected_by is None and newer is not None
        values.append(
            {
                "number": number,
                "root_upload": before.root.upload_id,
                "root_row": before.root.row_number,
                "by": corrected_by,
                "newer": newer,
            }
        )
    if not values:
        return
    columns = failed_rows.c
    statement = sa.update(failed_rows).where(
        columns.upload_id == upload_id, columns.row_number == sa.bindparam("number", type_=sa.BigInteger)
    )
    connection.execute(
        statement.values(
            root_upload_id=sa.bindparam("root_upload", type_=sa.BigInteger),
            root_row_number=sa.bindparam("root_row", type_=sa.BigInteger),
            corrected_by=sa.bindparam("by", type_=sa.BigInteger),
            failed_again_in=sa.bindparam("newer", type_=sa.BigInteger),
        ),
        values,
    )
    for part in _batches(each["number"] or 0 for each in values if each["by"] or each["newer"]):
        closed = sa.select(columns.upload_id, *_NOW).where(columns.upload_id == upload_id, columns.row_number.in_(part))
        for row in connection.execute(closed):
            counts.close(row)


class _Counts:
    """What is to be added to the counts of uploads."""

    def __init__(self) -> None:
        self.corrected: Counter[int] = Counter()
        self.failed_again: Counter[int] = Counter()
        self._closed: defaultdict[int, Closed] = defaultdict(Closed)

    def close(self, row: Any, rows: int = 1) -> None:
        """A row is no longer open. rows: -1: it is open again."""
        reasons = row.reasons if row.edits is None else row.wrong
        self._closed[row.upload_id].add((Reason(*each) for each in reasons or ()), rows)

    def write(self, connection: sa.Connection) -> list[Upload]:
        """In the order of the ids, as every transaction does it, so that none waits for the other."""
        for upload_id, closed in sorted(self._closed.items()):
            failed_row_counts.close(connection, upload_id, closed)
        return [
            uploads.count_corrections(
                connection, each, corrected=self.corrected[each], failed_again=self.failed_again[each]
            )
            for each in sorted({*self.corrected, *self.failed_again})
            if self.corrected[each] or self.failed_again[each]
        ]


def _having(roots: Collection[Root]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions for the failed rows with these roots."""
    columns = failed_rows.c
    for upload_id in sorted({root.upload_id for root in roots}):
        for part in _batches(root.row_number for root in roots if root.upload_id == upload_id):
            is_copy = (columns.root_upload_id == upload_id) & columns.root_row_number.in_(part)
            yield is_copy | ((columns.upload_id == upload_id) & columns.row_number.in_(part))


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _BATCH):
        yield ordered[start : start + _BATCH]


def retry(
    connection: sa.Connection, upload_id: int, options: ImportOptions | None = None, *, by: By | None = None
) -> tuple[Upload, list[Upload]]:
    """Retry an upload (uploads.retry), or with other import options (uploads.retry_with). Returns it, and all
    changed uploads: it, and those whose failed rows are open again because the failed rows of this one are dropped.
    Raises DatasetDeletedError."""
    present = uploads.get(connection, upload_id)
    if (name := deleted_names.former(present.dataset)) is not None:
        raise DatasetDeletedError(upload_id, name)
    if options is None:
        upload = uploads.retry(connection, upload_id, by=by)
    else:
        upload = uploads.retry_with(connection, upload_id, options, by=by)
    if upload.parent is None or upload.is_undo or upload.rows_processed:
        return upload, [upload]
    return upload, [upload, *reopen(connection, upload)]


def reopen(connection: sa.Connection, upload: Upload) -> list[Upload]:
    """Open the rows again where they failed before that failed again in an upload whose failed rows were deleted.
    Returns the uploads whose counts changed."""
    if upload.parent is None or upload.is_undo:
        return []
    which = failed_rows.c.upload_id.in_(_family(connection, upload)), failed_rows.c.failed_again_in == upload.id
    return _settle(connection, upload, _roots(connection, *which))


def _family(connection: sa.Connection, upload: Upload) -> list[int]:
    """The ids of the eldest upload, and of all that correct it or its children."""
    generation = found = [eldest(connection, upload)]
    while generation:
        generation = [each for ids in children(connection, generation).values() for each in ids]
        found = [*found, *generation]
    return found


def children(connection: sa.Connection, upload_ids: Collection[int]) -> dict[int, list[int]]:
    """The ids of the uploads that correct each of these, oldest first."""
    corrects = records.c.parent.in_(list(upload_ids)) & (records.c.kind != uploads.UNDO)
    statement = sa.select(records.c.parent, records.c.id).where(corrects)
    found: dict[int, list[int]] = {each: [] for each in upload_ids}
    for row in connection.execute(statement.order_by(records.c.id)):
        found[row.parent].append(row.id)
    return found


def open_elsewhere(connection: sa.Connection, upload_id: int) -> dict[int, int]:
    """Where failed rows of an upload are open that failed again: the id of the upload → how many."""
    columns = failed_rows.c
    statement = sa.select(columns.failed_again_in, sa.func.count()).where(
        columns.upload_id == upload_id, columns.corrected_by.is_(None), columns.failed_again_in.is_not(None)
    )
    found = connection.execute(statement.group_by(columns.failed_again_in).order_by(columns.failed_again_in))
    return {row[0]: row[1] for row in found}
