"""Failed rows with the key of a row: what else somebody sent for it.

No index knows the cells of failed rows, so only the newest ones of a dataset are looked at.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jobs import datasets
from jobs.datasets import Dataset
from jobs.failed_rows import Reason
from jobs.tables import failed_rows
from jobs.tables import uploads as records

#: Uploads with failed rows, and failed rows of them, that are looked at: the newest. Characters of such a row's cells.
UPLOADS_LOOKED_AT, ROWS_LOOKED_AT, LONGEST = 100, 2_000, 20_000


@dataclass(frozen=True)
class KeyFailure:
    """corrected_by: the upload in which the row landed."""

    upload_id: int
    row_number: int
    line: int | None
    reasons: Sequence[Reason]
    corrected_by: int | None

    @property
    def sentence(self) -> str:
        return "; ".join(reason.sentence for reason in self.reasons)


def find(connection: sa.Connection, dataset: Dataset, key: Mapping[str, str], *, limit: int) -> list[KeyFailure]:
    """Failed rows of a dataset with a key, the newest upload first. key: the cell of each field of the primary key."""
    if not key:
        return []
    columns, known = failed_rows.c, records.c
    has_failed = (known.rows_failed > 0) & known.failed_rows_removed_at.is_(None) & known.deleted_at.is_(None)
    newest = sa.select(known.id, known.header, known.mapping).where(known.dataset == dataset.name, has_failed)
    places = {}
    for upload in connection.execute(newest.order_by(known.id.desc()).limit(UPLOADS_LOOKED_AT)):
        if (found := _places(dataset, upload.header, upload.mapping, key)) is not None:
            places[upload.id] = found
    if not places:
        return []
    text = sa.cast(columns.cells, sa.Text)
    some = sa.select(columns.upload_id, columns.row_number).where(columns.upload_id.in_(places))
    chosen = some.order_by(columns.upload_id.desc(), columns.row_number).limit(ROWS_LOOKED_AT).subquery()
    is_chosen = (columns.upload_id == chosen.c.upload_id) & (columns.row_number == chosen.c.row_number)
    wanted = sa.select(
        columns.upload_id, columns.row_number, columns.line, columns.cells, columns.reasons, columns.corrected_by
    ).join(chosen, is_chosen)
    wanted = wanted.where(sa.func.length(text) <= LONGEST, *(_mentions(text, cell) for cell in key.values()))
    failures = []
    for row in connection.execute(wanted.order_by(columns.upload_id.desc(), columns.row_number)):
        if all(
            place < len(row.cells) and _is_same(row.cells[place], key[name])
            for name, place in places[row.upload_id].items()
        ):
            reasons = [Reason(*reason) for reason in row.reasons]
            failures.append(KeyFailure(row.upload_id, row.row_number, row.line, reasons, row.corrected_by))
            if len(failures) == limit:
                break
    return failures


def _places(
    dataset: Dataset, header: Sequence[str] | None, mapping: Mapping[str, str | None] | None, key: Mapping[str, str]
) -> dict[str, int] | None:
    """Where the fields of the key are in the rows of a file; None if it lacks one."""
    sources = datasets.pairs(dataset.schema, header or [], mapping).sources
    if header is None or not all(name in sources for name in key):
        return None
    return {name: header.index(sources[name]) for name in key}


def _mentions(text: sa.ColumnElement[str], cell: str) -> sa.ColumnElement[bool]:
    """Whether the stored JSON of the cells can have this one."""
    return text.contains(json.dumps(cell)[1:-1], autoescape=True)


def _is_same(cell: str, wanted: str) -> bool:
    return cell.strip() == wanted
