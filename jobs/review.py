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
from jobs.datasets import Dataset
from jobs.errors import (
    DatasetNotFoundError,
    InvalidDatasetNameError,
    InvalidMappingError,
    RefusedError,
    SchemaError,
    TransitionError,
)
from jobs.lanes import QUICK_BYTES
from jobs.modes import OF_NEW_DATASETS, Mode
from jobs.parts import Part, proposals
from jobs.schema import TableSchema
from jobs.tables import mappings, reviews
from jobs.upload_log import By
from jobs.uploads import HoldCode, Task, Upload
from jobs.view import EVERYTHING, View

#: Column of a file → the field that it fills, or None if no field takes it.
Mapped = Mapping[str, str | None]


def record(
    connection: sa.Connection, upload_id: int, reading: Mapping[str, Any], check: Mapping[str, Any] | None
) -> None:
    """Record what a worker saw of a file, in place of what it saw before. check: null if it checked nothing.

    Its parts stay known if it reads one of them that somebody named.
    """
    gone = sa.delete(reviews).where(reviews.c.upload_id == upload_id).returning(reviews.c.reading)
    before = connection.scalar(gone) or {}
    known = {**reading, "parts": reading.get("parts") or before.get("parts", [])}
    values = {"upload_id": upload_id, "reading": known, "check": check and dict(check)}
    connection.execute(sa.insert(reviews).values(values))


def of_parts(found: Sequence[Part]) -> dict[str, Any]:
    """What is known of a file that is only read once somebody chooses parts of it."""
    return {**_NOTHING, "parts": [each.as_json() for each in found]}


def parts_of(connection: sa.Connection, upload_id: int) -> list[Part]:
    """The parts of a file, as far as a worker saw them."""
    reading = connection.scalar(sa.select(reviews.c.reading).where(reviews.c.upload_id == upload_id)) or {}
    return [Part.from_json(each) for each in reading.get("parts", ())]


#: What is known of a file that no worker has looked at yet.
_NOTHING: Mapping[str, Any] = {
    "options": {"encoding": None, "delimiter": None, "header_row": None, "sheet": None},
    "columns": [],
    "fields": [],
    "primary_key": [],
    "rows": [],
    "problem": None,
}


def record_problem(connection: sa.Connection, upload_id: int, option: str | None, detail: str) -> None:
    """Record that a file cannot be read with the options that somebody chose. option: the one that is to blame, if it
    is known."""
    record(connection, upload_id, {**_NOTHING, "problem": {"option": option, "detail": detail}}, None)


def was_seen(connection: sa.Connection, upload_id: int) -> bool:
    """Whether a worker has looked at a file."""
    return bool(connection.scalar(sa.select(sa.exists().where(reviews.c.upload_id == upload_id))))


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
    known = {row.column: row.field for row in connection.execute(_MAPPED, {"name": dataset})}
    names = {name: datasets.normalized(name) for name in header} if known else {}
    return {name: known[plain] for name, plain in names.items() if plain in known}


_MAPPED = sa.select(mappings.c.column, mappings.c.field).where(mappings.c.dataset == sa.bindparam("name"))


def remember_columns(connection: sa.Connection, dataset: str, columns: Mapped) -> None:
    """Which fields such columns fill, in the next files of a dataset; None: none."""
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(mappings)
    changed = {"field": insert.excluded.field, "changed_at": insert.excluded.changed_at}
    statement = insert.on_conflict_do_update(index_elements=list(mappings.primary_key), set_=changed)
    for name, field in columns.items():
        values = {"dataset": dataset, "column": datasets.normalized(name), "field": field, "changed_at": utc_now()}
        connection.execute(statement.values(values))


def as_json(connection: sa.Connection, upload: Upload, seen: View = EVERYTHING) -> dict[str, Any]:
    """The review as it is now. Without anything in it if no worker has looked at the file yet. seen: what exists for
    whoever asks."""
    row = connection.execute(sa.select(reviews).where(reviews.c.upload_id == upload.id)).one_or_none()
    dataset = _dataset(connection, upload)
    if upload.dataset is None:
        modes: Sequence[Mode] = OF_NEW_DATASETS
    else:
        modes = dataset.modes if dataset else []
    mode = {"mode": upload.mode, "modes": list(modes)}
    if row is None:
        return mode | {**_NOTHING, "parts": [], "check": None}
    reading, mapping = row.reading, upload.mapping
    found = [Part.from_json(each) for each in reading.get("parts", ())]
    proposed = [each.as_json() for each in proposals(connection, upload, found, seen)]
    columns = [_column(each, mapping) for each in reading["columns"]]
    fields = reading["fields"]
    if dataset is not None:
        schema = dataset.schema
        new = {str(each["name"]) for each in upload.fields_wanted or ()}
        source = {each["field"]: each["name"] for each in columns}
        fields = [
            {
                "name": each.name,
                "type": each.type,
                "required": schema.is_required(each),
                "column": source.get(each.name),
                **({"is_new": True} if each.name in new else {}),
            }
            for each in schema.fields
        ]
    known = {**_NOTHING, **reading, "columns": columns, "fields": fields, "parts": proposed}
    return mode | known | {"check": row.check}


def _dataset(connection: sa.Connection, upload: Upload) -> Dataset | None:
    """The dataset of an upload, with the fields that its import adds; None: a new one, or it was deleted."""
    if upload.dataset is None:
        return None
    try:
        return datasets.extended(datasets.get(connection, upload.dataset), upload.fields_wanted)
    except DatasetNotFoundError:
        return None


def _column(seen: Mapping[str, Any], mapping: Mapped | None) -> dict[str, Any]:
    """A column as a worker saw it, with the field that a person chose for it since."""
    if mapping is None or mapping.get(seen["name"]) == seen["field"]:
        return dict(seen)
    field = mapping.get(seen["name"])
    return {**seen, "field": field, "matched_by": "remembered", "score": None if field is None else 1.0}


@dataclass(frozen=True)
class Choice:
    """How a choice is recorded. quick_bytes: of the largest file on the quick lane. by: who chose."""

    quick_bytes: int = QUICK_BYTES
    by: By | None = None


def map_columns(
    connection: sa.Connection,
    upload: Upload,
    columns: Mapped,
    *,
    remember: bool,
    new_fields: Sequence[Mapping[str, Any]] = (),
    how: Choice = Choice(),
) -> Upload:
    """Choose the fields of some columns of a held upload; all others stay as they are. remember: also for the next
    files of its dataset. new_fields: among those that `columns` names, fields that the import is to add.

    Of a new dataset, a worker checks the file anew: a column for no field is not imported. So it does where a check
    runs, which ends then. Raises TransitionError, InvalidMappingError.
    """
    _require_undecided(upload)
    if upload.dataset is None:
        return _map_new(connection, upload, columns, new_fields, how)
    present = upload.mapping
    if present is None:
        raise InvalidMappingError("columns", "cannot be mapped before a worker has looked at the file.")
    dataset, known = datasets.get(connection, upload.dataset), [*(upload.fields_wanted or []), *new_fields]
    added = _added(connection, dataset, known, {**present, **columns})
    fields = {*dataset.schema.names, *(each["name"] for each in added)}
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
    if upload.is_checked:
        changed = uploads.order(
            connection, upload.id, Task.CHECK, mapping=mapping, new_fields=added, quick_bytes=how.quick_bytes, by=how.by
        )
    else:
        changed = uploads.map_columns(connection, upload.id, mapping, added)
    if remember:
        remember_columns(connection, upload.dataset, columns)
    if mapping != present or added != (upload.fields_wanted or []):
        connection.execute(sa.update(reviews).where(reviews.c.upload_id == upload.id).values(check=None))
    return changed


def _require_undecided(upload: Upload) -> None:
    """Raises TransitionError if an upload is neither held nor looked at: before anything is said of what was chosen."""
    if not upload.is_held and not upload.is_checked:
        raise TransitionError(upload.id, upload.status, uploads.DECIDE.participle)


def _added(
    connection: sa.Connection, dataset: Dataset, fields: Sequence[Mapping[str, Any]], mapping: Mapped
) -> list[dict[str, Any]]:
    """The fields that an import adds: those of some that a column fills. The last description of each counts. Raises
    InvalidMappingError."""
    by_name = {str(each.get("name")): dict(each) for each in fields}
    filled = set(mapping.values())
    added = [each for name, each in by_name.items() if name in filled]
    for each in added:
        if any(each.get("name") == name for name in dataset.schema.names):
            raise InvalidMappingError("columns", f"adds “{each['name']}”, which is a field of the dataset already.")
    try:
        schema = datasets.extended(dataset, added).schema
    except SchemaError as error:
        raise InvalidMappingError("columns", f"adds a field that is not valid: {error}") from error
    if len(schema.fields) != len(dataset.schema.fields) + len(added):
        raise InvalidMappingError("columns", "adds a field whose name differs from another one only in case.")
    new = schema.fields[len(dataset.schema.fields) :]
    if any(each.is_required for each in new) and datasets.row_count(connection, dataset):
        raise InvalidMappingError("columns", "adds a required field, but the rows that exist have no value in it.")
    return added


def _map_new(
    connection: sa.Connection, upload: Upload, columns: Mapped, described: Sequence[Mapping[str, Any]], how: Choice
) -> Upload:
    """Ignore columns of a file that makes a new dataset, or give them fields. Raises InvalidMappingError."""
    reading = connection.scalar(sa.select(reviews.c.reading).where(reviews.c.upload_id == upload.id))
    if reading is None:
        raise InvalidMappingError("columns", "cannot be mapped before a worker has looked at the file.")
    by_name = {str(each.get("name")): dict(each) for each in described}
    left = {each["column"]: each for each in reading["fields"]}
    fields = []
    for name in (each["name"] for each in reading["columns"]):
        field = columns.get(name, left[name]["name"] if name in left else None)
        if field is not None:
            present = {key: value for key, value in left.get(name, {"type": "string"}).items() if key != "required"}
            fields.append({**present, **by_name.get(field, {}), "name": field, "column": name})
    unknown = [name for name in columns if name not in {each["name"] for each in reading["columns"]}]
    if unknown:
        raise InvalidMappingError("columns", f"has “{unknown[0]}”, which is not a column of the file.")
    if not fields:
        raise InvalidMappingError("columns", "would leave no column to import.")
    names = {str(each["name"]) for each in fields}
    key = [left_name for left_name in reading.get("primary_key") or [] if left_name in names]
    try:
        return plan(
            connection,
            upload,
            upload.dataset_wanted,
            {"fields": fields, "primaryKey": key},
            quick_bytes=how.quick_bytes,
            by=how.by,
        )
    except SchemaError as error:
        raise InvalidMappingError("columns", f"cannot be mapped so: {error}") from error


def choose_mode(
    connection: sa.Connection, upload: Upload, mode: Mode, *, quick_bytes: int = QUICK_BYTES, by: By | None = None
) -> Upload:
    """Choose what the rows of a held upload do with those of the dataset. What was checked is checked again, by a
    worker. quick_bytes: of the largest file on the quick lane. Raises TransitionError."""
    checked = sa.select(reviews.c.check.is_not(None)).where(reviews.c.upload_id == upload.id)
    if connection.scalar(checked) or upload.is_checked:
        return uploads.order(connection, upload.id, Task.CHECK, mode=mode, quick_bytes=quick_bytes, by=by)
    return uploads.choose_mode(connection, upload.id, mode)


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
    _require_undecided(upload)
    if upload.dataset is not None:
        raise InvalidMappingError("fields", "can be chosen of a new dataset only.")
    name = datasets.checked_name(wanted)
    if name and datasets.exists(connection, name):
        raise InvalidDatasetNameError(f"The name “{name}” is taken. Choose another one.")
    fields = schema.get("fields")
    if not isinstance(fields, list) or not all(isinstance(each, dict) for each in fields):
        raise InvalidMappingError("fields", "must be a list of fields.")
    mapping: dict[str, str | None] = dict.fromkeys(upload.header or [])
    for place, each in enumerate(fields):
        column = each.get("column")
        if column is None:
            raise InvalidMappingError(f"fields[{place}].column", "is missing: name the column that fills the field.")
        if not isinstance(column, str) or column not in mapping:
            raise InvalidMappingError(f"fields[{place}].column", f"is “{column}”, which is not a column of the file.")
        if mapping[column] is not None:
            raise InvalidMappingError(f"fields[{place}].column", f"is “{column}”, which fills another field already.")
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
    """Raises RefusedError if no column fills a field of a held upload that needs one, or it cannot be read."""
    for each in upload.hold:
        if each["code"] == HoldCode.OPTIONS:
            raise RefusedError(f"{each['detail']} Change how the file is read first.")
    dataset = _dataset(connection, upload)
    if upload.mapping is None or dataset is None:
        return
    missing = missing_fields(dataset.schema, upload.mapping)
    if missing:
        which = "the field" if len(missing) == 1 else "the fields"
        names = ", ".join(f"“{name}”" for name in missing)
        raise RefusedError(f"No column fills {which} {names}. Choose one, or cancel the upload.")


def missing_fields(schema: TableSchema, mapping: Mapped) -> list[str]:
    """The fields that need a column and have none."""
    filled = set(mapping.values())
    return [each.name for each in schema.fields if schema.is_required(each) and each.name not in filled]
