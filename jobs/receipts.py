"""The receipt of an upload: what was imported, how, and what came of it, fixed when it is completed.

Whoever imports keeps a tally of the rows (pipeline/tally.py) in the transaction of each chunk, so that an attempt that
resumes continues it. The receipt is made of it, and of the record of the upload, in the transaction that completes it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs.errors import NoReceiptError
from jobs.events import timestamp
from jobs.tables import receipts
from jobs.uploads import REPAIR, Status, Upload

Receipt = dict[str, Any]


def begin(
    connection: sa.Connection,
    upload_id: int,
    *,
    options: Mapping[str, Any],
    mapping: Mapping[str, str | None],
    fields: Sequence[str],
    schema_version: int,
) -> None:
    """Record how a file is read, before its first row, in place of what was kept of an import that starts again.

    options: detected ones too. mapping: column → field. fields: those that the columns fill, in the order of the
    dataset.
    """
    reading = {
        "options": dict(options),
        "mapping": dict(mapping),
        "fields": list(fields),
        "schema_version": schema_version,
    }
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    fresh = {"reading": reading, "tally": None, "receipt": None}
    insert = dialect.insert(receipts).values(upload_id=upload_id, **fresh)
    connection.execute(insert.on_conflict_do_update(index_elements=["upload_id"], set_=fresh))


def keep(connection: sa.Connection, upload_id: int, tally: Mapping[str, Any]) -> None:
    """Keep the tally of all rows that were written until now."""
    connection.execute(_KEEP, {"of_upload": upload_id, "tally": dict(tally)})


_OF_UPLOAD = receipts.c.upload_id == sa.bindparam("of_upload")
_ONE, _KEEP = sa.select(receipts).where(_OF_UPLOAD), sa.update(receipts).where(_OF_UPLOAD)


def tally_of(connection: sa.Connection, upload_id: int) -> dict[str, Any] | None:
    """The tally that was kept last; None: none was, or a process of an earlier release began the import."""
    found: dict[str, Any] | None = connection.scalar(
        sa.select(receipts.c.tally).where(receipts.c.upload_id == upload_id)
    )
    return found


def was_begun(connection: sa.Connection, upload_id: int) -> bool:
    return connection.scalar(sa.select(receipts.c.upload_id).where(receipts.c.upload_id == upload_id)) is not None


def complete(
    connection: sa.Connection, upload: Upload, *, digest: str | None, rows: int, sums: Mapping[str, int | float]
) -> None:
    """Fix the receipt of an upload that was just completed. digest: None if it is not known. rows: how many it is made
    of. sums: of the numeric columns."""
    row = connection.execute(_ONE, {"of_upload": upload.id}).one_or_none()
    reading = row.reading if row else {"options": {}, "mapping": {}, "fields": [], "schema_version": None}
    receipt = {
        "upload": upload.id,
        "kind": upload.kind,
        "filename": upload.filename,
        "size": upload.size,
        "sha256": upload.sha256 or None,
        "dataset": upload.dataset,
        "mode": upload.mode,
        "uploaded_by": upload.uploaded_by,
        "started_at": upload.started_at and timestamp(upload.started_at),
        "finished_at": upload.finished_at and timestamp(upload.finished_at),
        "options": reading["options"],
        "mapping": reading["mapping"],
        "fields": reading["fields"],
        "rules": [{"id": each["id"], "version": each["version"], "cells": each["cells"]} for each in upload.rules],
        "schema_version": reading["schema_version"],
        "rows": _outcomes(upload, rows),
        "sums": dict(sums),
        "balance": upload.balance,
        "digest": digest,
        "version": _release(),
    }
    if row is None:
        connection.execute(sa.insert(receipts).values(upload_id=upload.id, reading=reading, receipt=receipt))
    else:
        connection.execute(_KEEP, {"of_upload": upload.id, "receipt": receipt})


@cache
def _release() -> str:
    return version("bulk-upload")  # which is read from a file each time


def _outcomes(upload: Upload, written: int) -> dict[str, int]:
    return {
        "processed": upload.rows_processed,
        "success": upload.rows_success,
        "failed": upload.rows_failed,
        "written": written,
        "added": upload.rows_added or 0,
        "removed": upload.rows_removed or 0,
        "unchanged": upload.rows_unchanged or 0,
    }


def get(connection: sa.Connection, upload: Upload) -> Receipt:
    """Raises NoReceiptError."""
    found: Receipt | None = connection.scalar(sa.select(receipts.c.receipt).where(receipts.c.upload_id == upload.id))
    if found is None:
        raise NoReceiptError(upload.id, _why_none(upload))
    return found


def exists(connection: sa.Connection, upload_id: int) -> bool:
    return bool(connection.scalar(_EXISTS, {"of_upload": upload_id}))


_EXISTS = sa.select(sa.exists().where(_OF_UPLOAD, receipts.c.receipt.is_not(None)))


def _why_none(upload: Upload) -> str:
    if upload.is_external:
        return "an external script imported it."
    if upload.is_undo:
        return "it is an undo, which imports no file."
    if upload.is_divided:
        return "its parts were imported by themselves, and each has a receipt of its own."
    if upload.status is not Status.COMPLETED:
        return f"it is {upload.status}. An import has a receipt once it is completed."
    if upload.kind == REPAIR and not upload.has_file:
        return "it repaired no row."
    return "an earlier release imported it."


#: What a verification finds.
EQUAL, CHANGED, UNKNOWN = "equal", "changed", "unknown"
#: {"upload", "result", "detail", "digest": {"expected", "found"}, "rows": {"expected", "found"}}
Verdict = dict[str, Any]


def verdict(
    upload_id: int,
    result: str,
    detail: str,
    receipt: Receipt | None = None,
    *,
    found: str | None = None,
    rows: int | None = None,
) -> Verdict:
    """What a verification found. found, rows: the digest and the number of the rows that the table has; None if that is
    not known."""
    expected = receipt or {"digest": None, "rows": {"written": None}}
    return {
        "upload": upload_id,
        "result": result,
        "detail": detail,
        "digest": {"expected": expected["digest"], "found": found},
        "rows": {"expected": expected["rows"]["written"], "found": rows},
    }
