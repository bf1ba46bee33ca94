"""The review of a held upload: how its file was read, which columns fill which fields, and what its import would do.

A worker records what it saw (look.py, check.py); here it is read, and what a person chooses is written. No pandas: the
web processes import this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from jobs import datasets, uploads
from jobs.database import utc_now
from jobs.errors import InvalidDatasetNameError, InvalidMappingError, RefusedError
from jobs.lanes import QUICK_BYTES
from jobs.schema import TableSchema
from jobs.tables import mappings, reviews
from jobs.upload_log import By
from jobs.uploads import Upload

#: Column of a file → the field that it fills, or None if no field takes it.
Mapped = Mapping[str, str | None]


def record(
    connection: sa.Connection, upload_id: int, reading: Mapping[str, Any], check: Mapping[str, Any] | None
) -> None:
    """Record what a worker saw of a file, in place of what it saw before. check: null if it checked nothing."""
    connection.execute(sa.delete(reviews).where(reviews.c.upload_id == upload_id))
    values = {"upload_id": upload_id, "reading": dict(reading), "check": check and dict(check)}
    connection.execute(sa.insert(reviews).values(values))


@dataclass(frozen=True)
class Remembered:
    """What is remembered of columns of a name, which is normalised. field: None if no field takes them."""

    column: str
    field: str | None
    changed_at: datetime


def all_remembered(connection: sa.Connection, dataset: str, *, limit: int) -> list[Remembered]:
    """What is remembered of the columns of a dataset's files, by name."""
    columns = mappings.c
    found = sa.select(columns.column, columns.field, columns.changed_at).where(columns.dataset == dataset)
    rows = connection.execute(found.order_by(columns.column).limit(limit))
    return [Remembered(row.column, row.field, row.changed_at) for row in rows]


def forget_column(connection: sa.Connection, dataset: str, column: str) -> bool:
    """Forget a column, under any spelling that is normalised to the same. False: nothing is remembered of it."""
    plain = datasets.normalized(column)
    gone = sa.delete(mappings).where(mappings.c.dataset == dataset, mappings.c.column == plain)
    return connection.execute(gone.returning(mappings.c.column)).one_or_none() is not None


def forget(connection: sa.Connection, dataset: str, field: str | None = None) -> None:
    """Forget what is remembered of a dataset that is deleted, or only of a field that is dropped."""
    of_field = [] if field is None else [mappings.c.field == field]
    connection.execute(sa.delete(mappings).where(mappings.c.dataset == dataset, *of_field))


def rename_field(connection: sa.Connection, dataset: str, before: str, after: str) -> None:
    """Remember the same of a field that has another name."""
    named = sa.update(mappings).where(mappings.c.dataset == dataset, mappings.c.field == before)
    connection.execute(named.values(field=after))


def remembered(connection: sa.Connection, dataset: str, header: Sequence[str]) -> dict[str, str | None]:
    """The fields that somebody chose once for columns of such names; None: a column to ignore."""
    statement = sa.select(mappings.c.column, mappings.c.field).where(mappings.c.dataset == dataset)
    known = {row.column: row.field for row in connection.execute(statement)}
    names = {name: datasets.normalized(name) for name in header} if known else {}
    return {name: known[plain] for name, plain in names.items() if plain in known}


def remember_columns(connection: sa.Connection, dataset: str, columns: Mapped) -> None:
    """Which fields such columns fill, in the next files of a dataset; None: none."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(mappings)
    changed = {"field": insert.excluded.field, "changed_at": insert.excluded.changed_at}
    statement = insert.on_conflict_do_update(index_elements=list(mappings.primary_key), set_=changed)
    for name, field in columns.items():
        values = {"dataset": dataset, "column": datasets.normalized(name), "field": field, "changed_at": utc_now()}
        connection.execute(statement.values(values))


def as_json(connection: sa.Connection, upload: Upload) -> dict[str, Any]:
    """The review as it is now. Without anything in it if no worker has looked at the file yet."""
    row = connection.execute(sa.select(reviews).where(reviews.c.upload_id == upload.id)).one_or_none()
    if row is None:
        options = {"encoding": None, "delimiter": None, "header_row": None, "sheet": None}
        return {"options": options, "columns": [], "fields": [], "primary_key": [], "rows": [], "check": None}
    reading, mapping = row.reading, upload.mapping
    columns = [_column(each, mapping) for each in reading["columns"]]
    fields = reading["fields"]
    if upload.dataset is not None:
        schema = datasets.get(connection, upload.dataset).schema
        source = {each["field"]: each["name"] for each in columns}
        fields = [
            {
                "name": each.name,
                "type": each.type,
                "required": schema.is_required(each),
                "column": source.get(each.name),
            }
            for each in schema.fields
        ]
    return {"primary_key": [], **reading, "columns": columns, "fields": fields, "check": row.check}


def _column(seen: Mapping[str, Any], mapping: Mapped | None) -> dict[str, Any]:
    """A column as a worker saw it, with the field that a person chose for it since."""
    if mapping is None or mapping.get(seen["name"]) == seen["field"]:
        return dict(seen)
    field = mapping.get(seen["name"])
    return {**seen, "field": field, "matched_by": "remembered", "score": None if field is None else 1.0}


def map_columns(connection: sa.Connection, upload: Upload, columns: Mapped, *, remember: bool) -> Upload:
    """Choose the fields of some columns of a held upload; all others stay as they are. remember: also for the next
    files of its dataset.

    Raises TransitionError, InvalidMappingError.
    """
    present = upload.mapping
    if present is None or upload.dataset is None:
        raise InvalidMappingError(
            "columns", "cannot be mapped: each column of a new dataset becomes a field of its own."
        )
    fields = set(datasets.get(connection, upload.dataset).schema.names)
    for name, field in columns.items():
        if name not in present:
            raise InvalidMappingError("columns", f"has “{name}”, which is not a column of the file.")
        if field is not None and field not in fields:
            raise InvalidMappingError("columns", f"has “{field}”, which is not a field of the dataset.")
    mapping = {**present, **columns}
    taken: dict[str, str] = {}
    for name, field in mapping.items():
        if field is not None and (other := taken.setdefault(field, name)) != name:
            raise InvalidMappingError("columns", f"would fill “{field}” from both “{other}” and “{name}”.")
    changed = uploads.map_columns(connection, upload.id, mapping)
    if remember:
        remember_columns(connection, upload.dataset, columns)
    if mapping != present:
        connection.execute(sa.update(reviews).where(reviews.c.upload_id == upload.id).values(check=None))
    return changed


def plan(
    connection: sa.Connection,
    upload: Upload,
    wanted: str,
    schema: Mapping[str, Any],
    *,
    quick_bytes: int = QUICK_BYTES,
    by: By | None = None,
) -> Upload:
    """Choose the name and the fields of the new dataset that a held upload makes; a worker checks the file with them.

    wanted: the name, as a person wrote it. schema: a Table Schema each of whose fields names the `column` that fills
    it; a column that none names is not imported. quick_bytes: of the largest file on the quick lane.

    Raises TransitionError, InvalidMappingError, InvalidDatasetNameError, SchemaError.
    """
    if upload.dataset is not None:
        raise InvalidMappingError("fields", "can be chosen of a new dataset only.")
    name = datasets.checked_name(wanted)
    if name and datasets.exists(connection, name):
        raise InvalidDatasetNameError(f"The name “{name}” is taken. Choose another one.")
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        raise InvalidMappingError("fields", "must be a list of fields.")
    mapping: dict[str, str | None] = dict.fromkeys(upload.header or [])
    for each in fields:
        column = each.get("column")
        if column not in mapping or mapping[column] is not None:
            raise InvalidMappingError("fields", f"must name a different column of the file each, not “{column}”.")
        mapping[column] = str(each.get("name"))
    described = [{name: value for name, value in each.items() if name != "column"} for each in fields]
    parsed = TableSchema.parse({**schema, "fields": described})
    return uploads.plan(
        connection,
        upload.id,
        dataset_wanted=name,
        schema=parsed.as_json(),
        mapping=mapping,
        quick_bytes=quick_bytes,
        by=by,
    )


def require_complete(connection: sa.Connection, upload: Upload) -> None:
    """Raises RefusedError if no column fills a field of a held upload that needs one."""
    if upload.mapping is None or upload.dataset is None:
        return
    missing = missing_fields(datasets.get(connection, upload.dataset).schema, upload.mapping)
    if missing:
        which = "the field" if len(missing) == 1 else "the fields"
        names = ", ".join(f"“{name}”" for name in missing)
        raise RefusedError(f"No column fills {which} {names}. Choose one, or cancel the upload.")


def missing_fields(schema: TableSchema, mapping: Mapped) -> list[str]:
    """The fields that need a column and have none."""
    filled = set(mapping.values())
    return [each.name for each in schema.fields if schema.is_required(each) and each.name not in filled]
