"""Changes of datasets themselves, each with its audit entry, in the caller's transaction: declare, settings, columns,
delete.

Whoever changes a dataset locks its record first. An upload into it, or the beginning of an import, keeps the record
(datasets.exists_to_upload, datasets.keep) until its transaction ends: so either the change sees the upload and is
refused, or the import sees the change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from jobs import datasets, deleted_names, review
from jobs.dataset_admin import catalogue
from jobs.dataset_admin.retyping import Fit, Retyping
from jobs.datasets import Dataset, Mode
from jobs.errors import (
    CheckTookTooLongError,
    DatasetInUseError,
    FieldNotFoundError,
    InvalidChangeError,
    MappingNotFoundError,
    SchemaError,
    TookTooLongError,
    ValuesDoNotFitError,
)
from jobs.excerpt import excerpt
from jobs.modes import listed, possible
from jobs.people import audit, policy_version
from jobs.people.audit import Actor
from jobs.repair import rules
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import run
from jobs.rows.time_limit import limited
from jobs.schema import SchemaField, TableSchema
from jobs.traces import before_images

#: Seconds that a change of a table waits for whoever reads it, on PostgreSQL; everybody who comes later waits behind.
LOCK_SECONDS = 5
#: Seconds that a change of the key may take; on SQLite nobody else writes meanwhile.
KEY_SECONDS = 12.0
#: Keys of several rows that are told.
KEYS_TOLD = 20
#: Uploads that a refused change names.
UPLOADS_NAMED = 5
#: What PostgreSQL reports if a statement waited for a lock for too long.
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True)
class Settings:
    """What is to be changed of a dataset. None: stays as it is. title: "" for none. review: whether a person looks at
    its uploads first (uploads.Review); "" as usual for whoever sends them. modes: that an upload may ask for; none: all
    that make sense. totals: what becomes of an upload that does not balance (expectations.OnMismatch); "" as usual.
    totals_required: whether an upload must say what to expect of it."""

    title: str | None = None
    mode: Mode | None = None
    review: str | None = None
    modes: Sequence[Mode] | None = None
    totals: str | None = None
    totals_required: bool | None = None


def declare(
    connection: sa.Connection,
    actor: Actor,
    name: str,
    schema: TableSchema,
    mode: Mode,
    review: str | None = None,
    modes: Sequence[Mode] = (),
) -> Dataset:
    """Create a dataset without rows. review: whether a person looks at its uploads first (uploads.Review). modes: that
    an upload may ask for; none: all that make sense.

    Raises InvalidDatasetNameError, SchemaError, DatasetExistsError, InvalidChangeError.
    """
    _require_modes(schema.primary_key, mode, modes)
    dataset = datasets.declare(connection, name, schema, mode, list(modes) or None)
    datasets.set_review(connection, dataset.name, review)
    columns = len(schema.fields)
    detail = f"{columns:,} {'column' if columns == 1 else 'columns'}, {mode}"
    _note(connection, actor, "dataset.add", dataset.name, detail)
    return dataset


def configure(connection: sa.Connection, actor: Actor, name: str, wanted: Settings) -> Dataset:
    """Change the title, the mode, the modes or the review. Raises DatasetNotFoundError, DatasetInUseError,
    InvalidChangeError."""
    dataset = datasets.lock(connection, name)
    mode = wanted.mode or dataset.mode
    if mode is not dataset.mode:
        _require_rest(connection, name)
    if mode is Mode.UPSERT and not dataset.schema.primary_key:
        raise InvalidChangeError([("mode", "Mode upsert needs a primary key, to find the row to replace.")])
    present = tuple(each for each in dataset.modes_chosen or () if each in possible(dataset.schema.primary_key))
    chosen = (present if wanted.modes is None else tuple(wanted.modes)) or None
    if chosen and set(chosen) == set(possible(dataset.schema.primary_key)):
        chosen = None
    _require_modes(dataset.schema.primary_key, mode, chosen or ())
    schema = dataset.schema if wanted.title is None else _titled(dataset.schema, wanted.title)
    changes = []
    if mode is not dataset.mode:
        changes.append(f"mode {mode}")
    if schema.title != dataset.schema.title:
        changes.append(f"title “{excerpt(schema.title, 80)}”" if schema.title else "no title")
    if wanted.review is not None and (wanted.review or None) != datasets.review_of(connection, name):
        datasets.set_review(connection, name, wanted.review or None)
        changes.append(f"review {wanted.review}" if wanted.review else "review as usual")
    if set(chosen or ()) != set(present):
        datasets.set_modes(connection, name, chosen)
        changes.append(f"uploads may ask for {listed(chosen)}" if chosen else "uploads may ask for any mode")
    changes += _changed_totals(connection, name, wanted)
    if not changes:
        return dataset
    changed = datasets.replace(connection, name, schema, mode)
    _note(connection, actor, "dataset.change", name, ", ".join(changes))
    return changed


def _changed_totals(connection: sa.Connection, name: str, wanted: Settings) -> list[str]:
    """Change what is asked of the totals of uploads. Returns what was changed, in words."""
    present = datasets.totals_of(connection, name)
    on_mismatch = present.on_mismatch if wanted.totals is None else wanted.totals or None
    required = present.are_required if wanted.totals_required is None else wanted.totals_required
    if datasets.Totals(on_mismatch, required) == present:
        return []
    datasets.set_totals(connection, name, datasets.Totals(on_mismatch, required))
    changes = []
    if on_mismatch != present.on_mismatch:
        changes.append(f"totals {on_mismatch}" if on_mismatch else "totals as usual")
    if required != present.are_required:
        changes.append("totals are required" if required else "totals are not required")
    return changes


def _require_modes(key: Sequence[str], mode: Mode, modes: Sequence[Mode]) -> None:
    """Raises InvalidChangeError for modes that make no sense, or lack that of the dataset."""
    impossible = [each for each in modes if each not in possible(key)]
    if impossible:
        raise InvalidChangeError([("modes", f"Mode {impossible[0]} needs a primary key.")])
    if modes and mode not in modes:
        raise InvalidChangeError(
            [("modes", f"Mode {mode} is that of the dataset, so uploads must be allowed to use it.")]
        )


def _titled(schema: TableSchema, title: str) -> TableSchema:
    """Raises InvalidChangeError."""
    properties = {name: value for name, value in schema.as_json().items() if name != "title"}
    return _parsed(properties | ({"title": title.strip()} if title.strip() else {}), lambda path: path)


def delete(connection: sa.Connection, actor: Actor, name: str, confirmed: str) -> None:
    """Delete a dataset and its rows. Its uploads, and what was granted in it, stay under a name that no dataset has.
    confirmed: its name, as somebody entered it. Raises DatasetNotFoundError, InvalidChangeError, DatasetInUseError."""
    policy_version.lock(connection)
    dataset = datasets.lock(connection, name)
    if confirmed.strip() != name:
        raise InvalidChangeError([("confirm", f"Enter the name of the dataset, {name}, to delete it.")])
    _require_rest(connection, name)
    rows = datasets.row_count(connection, dataset)
    with _in_a_while(connection):
        datasets.remove(connection, dataset)
    later = deleted_names.free(connection, name)
    deleted_names.rename(connection, name, later)
    review.forget(connection, name)
    rules.forget(connection, name)
    detail = f"{rows:,} {'row' if rows == 1 else 'rows'}; its uploads are those of {later}"
    _note(connection, actor, "dataset.delete", name, detail)


def forget_mapping(connection: sa.Connection, actor: Actor, name: str, column: str) -> None:
    """Forget which field columns of a name fill. Raises DatasetNotFoundError, MappingNotFoundError."""
    datasets.lock(connection, name)
    if not review.forget_column(connection, name, column):
        raise MappingNotFoundError(name, column)
    _note(connection, actor, "dataset.forget_column", name, excerpt(column, 80))


def add_field(connection: sa.Connection, actor: Actor, name: str, wanted: Mapping[str, Any]) -> Dataset:
    """Add a column behind the others. wanted: a field of Table Schema. Rows that exist have no value in it, so it may
    be required only while there are none. Raises DatasetNotFoundError, DatasetInUseError, InvalidChangeError."""
    dataset, schema = _with_field(connection, name, wanted)
    field = schema.fields[-1]
    rows = datasets.row_count(connection, dataset)
    if field.is_required and rows:
        which = "The row that exists has" if rows == 1 else f"The {rows:,} rows that exist have"
        raise InvalidChangeError(
            [("constraints.required", f"{which} no value in a new column, so it cannot be required.")]
        )
    changed = extend(connection, dataset, schema)
    _note(connection, actor, "dataset.field_add", name, f"{field.name}: {field.type}")
    return changed


def extend(connection: sa.Connection, dataset: Dataset, schema: TableSchema) -> Dataset:
    """Add the columns of a schema that a dataset, which is locked, lacks; they are the last ones. Raises
    DatasetInUseError."""
    before, after = dataset.table(connection.dialect), replace(dataset, schema=schema).table(connection.dialect)
    new = schema.fields[len(dataset.schema.fields) :]
    with _in_a_while(connection):
        if after.is_sqlite and any(field.constraints.unique for field in new):
            before.rebuild(connection, after)
        else:
            for field in new:
                run(connection, after.column_adding(field.name))
        before_images.add_columns(connection, replace(dataset, schema=schema), [field.name for field in new])
    return datasets.replace(connection, dataset.name, schema, dataset.mode)


def try_new_field(connection: sa.Connection, name: str, wanted: Mapping[str, Any]) -> Fit:
    """What would not fit after `add_field`. It changes nothing. Raises what that raises."""
    dataset, schema = _with_field(connection, name, wanted)
    rows = datasets.row_count(connection, dataset)
    return Fit(rows, rows, [("", rows)]) if rows and schema.fields[-1].is_required else Fit(rows)


def _with_field(connection: sa.Connection, name: str, wanted: Mapping[str, Any]) -> tuple[Dataset, TableSchema]:
    """A dataset, which is locked, and its schema with one more field."""
    dataset = datasets.lock(connection, name)
    _require_rest(connection, name)
    place = len(dataset.schema.fields)
    properties = dataset.schema.as_json()
    fields = [*properties["fields"], wanted]
    return dataset, _parsed(properties | {"fields": fields}, lambda path: _within_field(path, place))


def change_field(
    connection: sa.Connection, actor: Actor, name: str, field_name: str, wanted: Mapping[str, Any]
) -> Dataset:
    """Change properties of a column. wanted: those of Table Schema that become others; None removes one. A column that
    gets another name keeps the old one as an alias, so that files with it still match.

    Values that exist must fit what the column becomes; those of a primary key do not change. Raises
    DatasetNotFoundError, FieldNotFoundError, DatasetInUseError, InvalidChangeError, ValuesDoNotFitError,
    CheckTookTooLongError.
    """
    dataset, schema, place, changes = _planned(connection, name, field_name, wanted)
    before, after = dataset.schema.fields[place], schema.fields[place]
    if not changes:
        return dataset
    old, new = dataset.table(connection.dialect), replace(dataset, schema=schema).table(connection.dialect)
    with _in_a_while(connection):
        if not datasets.row_count(connection, dataset):
            run(connection, old.dropping())
            run(connection, new.creation())
        else:
            _change_values(connection, dataset, schema, place, is_checked=_decide_values(changes))
        if _decide_values(changes):
            before_images.give_up(connection, dataset)
        elif after.name != before.name:
            before_images.rename_column(connection, dataset, before.name, after.name)
    changed = datasets.replace(connection, name, schema, dataset.mode)
    review.rename_field(connection, name, before.name, after.name)
    rules.rename_field(connection, name, before.name, after.name)
    what = f"{before.name} is {after.name} now" if after.name != before.name else after.name
    _note(connection, actor, "dataset.field_change", name, f"{what}: {', '.join(changes)}")
    return changed


def try_change_of_field(connection: sa.Connection, name: str, field_name: str, wanted: Mapping[str, Any]) -> Fit:
    """What would not fit after `change_field`. It changes nothing. Raises what that raises."""
    dataset, schema, place, changes = _planned(connection, name, field_name, wanted)
    rows = datasets.row_count(connection, dataset)
    if not rows or not _decide_values(changes):
        return Fit(rows)
    retyping = Retyping(connection, dataset, replace(dataset, schema=schema), place)
    fit = retyping.check(rows)
    retyping.clean()
    return fit


def change_key(connection: sa.Connection, actor: Actor, name: str, key: Sequence[str]) -> Dataset:
    """Let other columns identify rows; none: no row replaces another. Rows that exist must have values in them, and
    different ones together. Raises DatasetNotFoundError, DatasetInUseError, InvalidChangeError, ValuesDoNotFitError,
    CheckTookTooLongError."""
    dataset, schema = _with_key(connection, name, key)
    if schema.primary_key == dataset.schema.primary_key:
        return dataset
    before, after = dataset.table(connection.dialect), replace(dataset, schema=schema).table(connection.dialect)
    fit = _fit_of_key(connection, dataset, schema)
    if fit.would_fail:
        raise ValuesDoNotFitError(", ".join(schema.primary_key), fit.would_fail, fit.as_json())
    try:
        with _in_a_while(connection), limited(connection, KEY_SECONDS):
            before.rebuild(connection, after)
            before_images.give_up(connection, dataset)
    except TookTooLongError as error:
        raise CheckTookTooLongError(KEY_SECONDS) from error
    changed = datasets.replace(connection, name, schema, dataset.mode)
    what = f"key {', '.join(schema.primary_key)}" if schema.primary_key else "no key"
    _note(connection, actor, "dataset.change", name, what)
    return changed


def try_change_of_key(connection: sa.Connection, name: str, key: Sequence[str]) -> Fit:
    """What would not fit after `change_key`. It changes nothing. Raises what that raises."""
    dataset, schema = _with_key(connection, name, key)
    return _fit_of_key(connection, dataset, schema)


def _with_key(connection: sa.Connection, name: str, key: Sequence[str]) -> tuple[Dataset, TableSchema]:
    """A dataset, which is locked, and its schema with another key."""
    dataset = datasets.lock(connection, name)
    _require_rest(connection, name)
    properties = {each: value for each, value in dataset.schema.as_json().items() if each != "primaryKey"}
    schema = _parsed(properties | ({"primaryKey": list(key)} if key else {}), lambda path: path)
    if not key and dataset.mode is Mode.UPSERT:
        raise InvalidChangeError([("primaryKey", "Mode upsert needs a primary key, to find the row to replace.")])
    return dataset, schema


def _fit_of_key(connection: sa.Connection, dataset: Dataset, schema: TableSchema) -> Fit:
    """Rows without a value in a column of the key, and rows that are alike in all of them. Raises
    CheckTookTooLongError."""
    rows, key = datasets.row_count(connection, dataset), schema.primary_key
    if not rows or not key:
        return Fit(rows)
    table = dataset.table(connection.dialect)
    try:
        with limited(connection, KEY_SECONDS):
            missing = int(run(connection, table.counting_missing(key)).scalar_one())
            alike, _groups = map(int, run(connection, table.counting_alike(key)).one())
            found = run(connection, table.alike(key, limit=KEYS_TOLD)).all() if alike else []
    except TookTooLongError as error:
        raise CheckTookTooLongError(KEY_SECONDS) from error
    fields = {each.name: each for each in schema.fields}
    values = [
        (
            ", ".join(
                excerpt(format_value(schema, fields[name], value), 100) for name, value in zip(key, row, strict=False)
            ),
            int(row[-1]),
        )
        for row in map(tuple, found)
    ]
    return Fit(rows, missing + alike, ([("", missing)] if missing else []) + values)


def _decide_values(changes: Sequence[str]) -> bool:
    """Whether a change of these properties decides which values are valid, or how they are stored or written."""
    return any(each not in DESCRIPTIVE for each in changes)


def _planned(
    connection: sa.Connection, name: str, field_name: str, wanted: Mapping[str, Any]
) -> tuple[Dataset, TableSchema, int, list[str]]:
    """A dataset, which is locked; its schema after a change of a field; its place, and what is changed of it."""
    dataset = datasets.lock(connection, name)
    place, before = _field(dataset, field_name)
    _require_rest(connection, name)
    properties = dataset.schema.as_json()
    field = {key: value for key, value in {**properties["fields"][place], **wanted}.items() if value is not None}
    if "name" in wanted:
        _keep_alias(field, before)
    if "type" in wanted and field.get("type") != before.type and "nearType" not in wanted:
        field.pop("nearType", None)  # it proposes another type than the former one
    fields = [*properties["fields"][:place], field, *properties["fields"][place + 1 :]]
    key = [field.get("name") if each == before.name else each for each in dataset.schema.primary_key]
    schema = _parsed(
        properties | {"fields": fields} | ({"primaryKey": key} if key else {}), lambda path: _within_field(path, place)
    )
    after = schema.fields[place]
    changes = sorted(each for each in wanted if _of(after, each) != _of(before, each))
    _require_changeable(connection, dataset, before, [each for each in changes if each not in DESCRIPTIVE])
    return dataset, schema, place, changes


#: Properties of a field that decide neither which values are valid nor how they are stored or written.
DESCRIPTIVE = frozenset({"name", "title", "description", "aliases", "example"})


def drop_field(connection: sa.Connection, actor: Actor, name: str, field_name: str) -> Dataset:
    """Drop a column with its values. Raises DatasetNotFoundError, FieldNotFoundError, DatasetInUseError,
    InvalidChangeError."""
    dataset, place, field = _droppable(connection, name, field_name)
    properties = dataset.schema.as_json()
    del properties["fields"][place]
    schema = TableSchema.stored(properties)
    old, new = dataset.table(connection.dialect), replace(dataset, schema=schema).table(connection.dialect)
    with _in_a_while(connection):
        if old.is_sqlite and field.constraints.unique:
            old.rebuild(connection, new)
        else:
            run(connection, old.column_dropping(field.name))
        before_images.drop_column(connection, dataset, replace(dataset, schema=schema), field.name)
    changed = datasets.replace(connection, name, schema, dataset.mode)
    review.forget(connection, name, field.name)
    rules.forget(connection, name, field.name)
    _note(connection, actor, "dataset.field_drop", name, f"{field.name}: {field.type}")
    return changed


def try_drop_of_field(connection: sa.Connection, name: str, field_name: str) -> Fit:
    """All rows fit after `drop_field`. It changes nothing. Raises what that raises."""
    dataset, _, _ = _droppable(connection, name, field_name)
    return Fit(datasets.row_count(connection, dataset))


def _droppable(connection: sa.Connection, name: str, field_name: str) -> tuple[Dataset, int, SchemaField]:
    """A dataset, which is locked, and a field of it that may be dropped, with its place."""
    dataset = datasets.lock(connection, name)
    place, field = _field(dataset, field_name)
    _require_rest(connection, name)
    if field.name in dataset.schema.primary_key:
        raise InvalidChangeError([("name", f"“{field.name}” belongs to the primary key, so it cannot be dropped.")])
    if len(dataset.schema.fields) == 1:
        raise InvalidChangeError([("name", f"“{field.name}” is the only column. Delete the dataset instead.")])
    return dataset, place, field


def values_in(connection: sa.Connection, dataset: Dataset, field_name: str) -> int:
    """The rows that have a value in a column. Raises FieldNotFoundError."""
    _, field = _field(dataset, field_name)
    statement = dataset.table(connection.dialect).count_values(field.name)
    return int(run(connection, statement).scalar_one())


def field_of(dataset: Dataset, name: str) -> SchemaField:
    """Raises FieldNotFoundError."""
    return _field(dataset, name)[1]


def _field(dataset: Dataset, name: str) -> tuple[int, SchemaField]:
    """A field and its place, from 0. Raises FieldNotFoundError."""
    for place, field in enumerate(dataset.schema.fields):
        if field.name == name:
            return place, field
    raise FieldNotFoundError(dataset.name, name)


def _of(field: SchemaField, name: str) -> object:
    return field.model_dump(by_alias=True).get(name)


def _keep_alias(field: dict[str, Any], before: SchemaField) -> None:
    """Make the name that a field had one of its aliases, and its new name none of them."""
    new = str(field.get("name", "")).casefold()
    given = field.get("aliases")
    others = [before.name, *(given if isinstance(given, list) else [])]
    unlike = {each.casefold(): each for each in reversed(others) if isinstance(each, str) and each.casefold() != new}
    if unlike:
        field["aliases"] = list(unlike.values())[::-1]
    else:
        field.pop("aliases", None)


def _change_values(
    connection: sa.Connection, dataset: Dataset, schema: TableSchema, place: int, *, is_checked: bool
) -> None:
    """Rename a column, and store its values as it takes them from now on. is_checked: these may be others, or not
    valid. Raises ValuesDoNotFitError, CheckTookTooLongError."""
    before, after = dataset.schema.fields[place], schema.fields[place]
    if is_checked:
        retyping = Retyping(connection, dataset, replace(dataset, schema=schema), place)
        fit = retyping.check(datasets.row_count(connection, dataset))
        if fit.would_fail:
            raise ValuesDoNotFitError(after.name, fit.would_fail, fit.as_json())
        has_moved = retyping.apply()
        retyping.clean()
        if has_moved:
            return
    if after.name != before.name:
        run(connection, dataset.table(connection.dialect).column_renaming(before.name, after.name))


def _require_changeable(connection: sa.Connection, dataset: Dataset, field: SchemaField, changes: list[str]) -> None:
    """Raises InvalidChangeError for changes of values that identify rows."""
    if changes and field.name in dataset.schema.primary_key and datasets.row_count(connection, dataset):
        problem = f"cannot change: “{field.name}” belongs to the primary key of rows that exist."
        raise InvalidChangeError([(each, f"`{each}` {problem}") for each in changes])


def _require_rest(connection: sa.Connection, name: str) -> None:
    """Raises DatasetInUseError while uploads into a dataset wait, for a worker or for a person, or run."""
    found = catalogue.running(connection, name, limit=UPLOADS_NAMED + 1, held_too=True)
    if not found:
        return
    numbers = ", ".join(f"#{each.id}" for each in found[:UPLOADS_NAMED])
    more = " and more" if len(found) > UPLOADS_NAMED else ""
    raise DatasetInUseError(
        f"Uploads into “{name}” wait, run or are held: {numbers}{more}."
        " Wait until they have ended, or cancel them, and retry."
    )


def _parsed(properties: Mapping[str, Any], path_of: Callable[[str], str]) -> TableSchema:
    """A schema. path_of: where in the request a part of the schema is. Raises InvalidChangeError."""
    try:
        return TableSchema.parse(properties)
    except SchemaError as error:
        found = [(path_of(path), what) for path, what in problems(error)]
        message = "; ".join(f"{path}: {what}" if path else what for path, what in found)
        raise InvalidChangeError(found, message) from error


def problems(error: SchemaError) -> list[tuple[str, str]]:
    """Path and description of each problem; the path "" for the whole schema."""
    found = [each.partition(": ") for each in error.problems]
    return [("" if path == "schema" else path, what) if what else ("", path) for path, _, what in found]


def _within_field(path: str, place: int) -> str:
    """A path in a schema as one in the field at a place."""
    return path.removeprefix(f"fields[{place}]").removeprefix(".")


class _in_a_while:  # noqa: N801  # reads as the words that it is
    """Inside the block, statements on PostgreSQL wait for locks for LOCK_SECONDS. Raises DatasetInUseError for one that
    got none."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, sa.exc.DBAPIError) and getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise DatasetInUseError("The rows are being read, by a download perhaps. Try again in a moment.") from error


def _note(connection: sa.Connection, actor: Actor, action: str, name: str, detail: str) -> None:
    audit.write(connection, actor, action, f"dataset {name}", detail=detail)
