"""Datasets: each has a name, a Table Schema, and a table `data_<name>` for its rows."""

import base64
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from jobs.corrections import unescape_formula
from jobs.database import utc_now
from jobs.errors import (
    DatasetChangedError,
    DatasetExistsError,
    DatasetNotFoundError,
    InvalidDatasetNameError,
    InvalidPositionError,
    MissingColumnsError,
    SchemaError,
)
from jobs.excerpt import excerpt
from jobs.history_query import fold
from jobs.modes import Mode as Mode
from jobs.modes import allowed, listed
from jobs.rows import reader as row_reader
from jobs.rows.selection import ALL, Selection
from jobs.rows.spelling import TEMPORAL, format_value
from jobs.rows.sql_table import SqlTable, run
from jobs.schema import OWN_COLUMNS, SchemaField, TableSchema
from jobs.tables import datasets, uploads
from jobs.traces import before_images
from jobs.view import EVERYTHING, View

#: Characters of the longest name; with "data_" and a number it stays below PostgreSQL's limit of 63 bytes.
LONGEST_NAME = 48
_NAME = re.compile(r"[a-z][a-z0-9_]*")
#: Datasets that are offered for a file.
MAX_MATCHING = 10


@dataclass(frozen=True)
class Dataset:
    """A named schema with its table. mode: what is usual for its uploads. upload_id: the upload that created it; None
    if it was declared. modes_chosen: that an upload may ask for, if somebody chose them."""

    name: str
    schema: TableSchema
    mode: Mode
    upload_id: int | None
    created_at: datetime
    modes_chosen: tuple[Mode, ...] | None = None

    @property
    def modes(self) -> list[Mode]:
        """What an upload may ask for."""
        return allowed(self.schema.primary_key, self.modes_chosen)

    def importing(self, mode: Mode) -> "Dataset":
        """As one upload sees it: with the mode of the upload. Among each other, the rows of an upload that replaces all
        rows do what is usual for the dataset."""
        return self if mode is Mode.REPLACE else replaced(self, mode=mode)

    @property
    def table_name(self) -> str:
        return f"data_{self.name}"

    @property
    def replaces(self) -> bool:
        """Whether a row replaces the stored one with the same key."""
        return self.mode is Mode.UPSERT and bool(self.schema.primary_key)

    def table(self, dialect: sa.Dialect, name: str | None = None) -> SqlTable:
        """name: of another table with the same columns. Its key is the schema's primary key, or the upload and row
        number, which also prevents duplicate rows."""
        fields = self.schema.fields
        return SqlTable(
            dialect,
            name or self.table_name,
            {
                **dict.fromkeys(OWN_COLUMNS, _COLUMN_TYPES["integer"]),
                **{each.name: column_type(each) for each in fields},
            },
            key=self.schema.primary_key or OWN_COLUMNS,
            unique=[each.name for each in fields if each.constraints.unique],
            replaces=self.replaces,
        )


_TEXT = sa.Text()
#: The column type of each type of field. SQLite stores dates and times as ISO text, which sorts and compares correctly.
#: Numbers are doubles on both databases, and the validator rejects values with more than the 15 digits that a double
#: keeps (validator.py), so a file has the same outcome on both.
_COLUMN_TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "string": _TEXT,
    "integer": sa.BigInteger(),
    "number": sa.Double(),
    "boolean": sa.Boolean(),
    "date": sa.Date().with_variant(_TEXT, "sqlite"),
    "datetime": sa.DateTime().with_variant(_TEXT, "sqlite"),
    "time": sa.Time().with_variant(_TEXT, "sqlite"),
}
_DATETIME_IN_UTC = sa.DateTime(timezone=True).with_variant(_TEXT, "sqlite")


def column_type(field: SchemaField) -> sa.types.TypeEngine[Any]:
    """The type of a field's column; of a datetime with a time zone if its format is in UTC."""
    return _DATETIME_IN_UTC if field.type == "datetime" and field.is_in_utc else _COLUMN_TYPES[field.type]


def checked_name(name: str) -> str:
    """The name of a dataset as a person wrote it, normalised; "" to name the dataset after its file.

    "Sales 2024 Q1, Zürich" → "sales_2024_q1_zurich". Two names that a person would call different never become the
    same: one that is too long, or has letters that are not Latin, is refused. Raises InvalidDatasetNameError.
    """
    name = name.strip()
    found = name if _NAME.fullmatch(name) else _joined(_plain(name[:_LONGEST_TYPED]))
    if found[:1].isdecimal():
        found = f"dataset_{found}"
    if name and not (_NAME.fullmatch(found) and len(found) <= LONGEST_NAME and len(name) <= _LONGEST_TYPED):
        raise InvalidDatasetNameError(f"“{excerpt(name, 80)}” cannot be the name of a dataset. {_VALID_NAME}")
    return "" if found == "auto" else found


#: Characters of the longest name that is normalised.
_LONGEST_TYPED = 200
_VALID_NAME = (
    f"Use at most {LONGEST_NAME} Latin letters, digits, spaces and underscores, or leave it empty to name the dataset"
    " after the file."
)
#: Latin letters that are not a letter with an accent.
_LATIN = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "\u0131": "i", "ħ": "h"}
)


def _plain(text: str) -> str:
    """The text in lowercase letters without accents; those of other scripts stay."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_LATIN))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def _joined(text: str) -> str:
    """The text's letters and digits, with an underscore for everything between them."""
    return re.sub(r"[\W_]+", "_", text).strip("_")


def name_from_filename(filename: str) -> str:
    """A valid dataset name from a file name: "Sales June.csv.gz" → "sales_june"."""
    stem = re.sub(r"\.(gz|bz2|xz|zst|zip)$", "", filename, flags=re.IGNORECASE)
    stem = stem.rsplit(".", 1)[0] if "." in stem else stem
    name = _joined(_plain(stem).encode("ascii", "ignore").decode())[:LONGEST_NAME].rstrip("_")
    return name if _NAME.fullmatch(name) else f"file_{name}"[:LONGEST_NAME].rstrip("_")


def declare(
    connection: sa.Connection, name: str, schema: TableSchema, mode: Mode, modes: Sequence[Mode] | None = None
) -> Dataset:
    """Create a dataset from a schema, before any upload. modes: that an upload may ask for; None: all that make sense.
    Raises InvalidDatasetNameError, SchemaError, DatasetExistsError."""
    if not (name := checked_name(name)):
        raise InvalidDatasetNameError("Enter a name for the dataset.")
    if mode is Mode.UPSERT and not schema.primary_key:
        raise SchemaError(["primaryKey: is missing; mode upsert needs it to find the row to replace"])
    if exists(connection, name):
        raise DatasetExistsError(name)
    return _insert(connection, name, schema, mode, None, modes)


def extended(dataset: Dataset, fields: Sequence[Mapping[str, Any]] | None) -> Dataset:
    """A dataset with more fields; without those of them that it has already. Raises SchemaError."""
    known = {each.name.casefold() for each in dataset.schema.fields}
    new = [dict(each) for each in fields or () if str(each.get("name", "")).casefold() not in known]
    if not new:
        return dataset
    properties = dataset.schema.as_json()
    return replaced(dataset, schema=TableSchema.parse({**properties, "fields": [*properties["fields"], *new]}))


def planned(name: str, schema: TableSchema) -> Dataset:
    """A dataset that an upload would create. It has no table."""
    return Dataset(name, schema, Mode.INSERT, None, datetime.now(UTC))


def create(
    connection: sa.Connection, wanted: str, schema: TableSchema, upload_id: int, *, siblings: Sequence[int] = ()
) -> Dataset:
    """Create a dataset for an upload, under the first free name of `wanted`, `wanted_2`, …

    siblings: uploads that want the same dataset. Raises DatasetChangedError if one of them has created it.
    """
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(sa.text("LOCK TABLE datasets IN SHARE ROW EXCLUSIVE MODE"))
    if (made := made_by(connection, wanted, siblings)) is not None:
        raise DatasetChangedError(made)
    taken = set(connection.execute(sa.select(datasets.c.name).where(datasets.c.name.startswith(wanted))).scalars())
    name = next(name for name in _variants(wanted) if name not in taken)
    return _insert(connection, name, schema, Mode.INSERT, upload_id)


def made_by(connection: sa.Connection, wanted: str, upload_ids: Sequence[int]) -> str | None:
    """The dataset of this name, or of its next free one, that one of some uploads created."""
    if not upload_ids:
        return None
    made = sa.select(datasets.c.name).where(datasets.c.upload_id.in_(upload_ids), datasets.c.name.startswith(wanted))
    names = set(connection.scalars(made))
    return next((name for name in sorted(names) if re.fullmatch(rf"{wanted}(_\d+)?", name)), None)


def _variants(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))


def _insert(
    connection: sa.Connection,
    name: str,
    schema: TableSchema,
    mode: Mode,
    upload_id: int | None,
    modes: Sequence[Mode] | None = None,
) -> Dataset:
    values = {
        "name": name,
        "schema": schema.as_json(),
        "mode": mode,
        "upload_id": upload_id,
        "created_at": utc_now(),
        "search_text": fold(schema.title or ""),
        "modes": None if modes is None else list(modes),
    }
    dataset = _from_row(connection.execute(sa.insert(datasets).values(values).returning(datasets)).one())
    run(connection, dataset.table(connection.dialect).creation())
    return dataset


def replace(connection: sa.Connection, name: str, schema: TableSchema, mode: Mode) -> Dataset:
    """Give a dataset that the caller has locked another schema or mode. Its table stays as it is."""
    values: dict[str, Any] = {"schema": schema.as_json(), "mode": mode, "search_text": fold(schema.title or "")}
    if values["schema"] != connection.scalar(sa.select(datasets.c.schema).where(datasets.c.name == name)):
        values["schema_version"] = datasets.c.schema_version + 1
    changed = sa.update(datasets).where(datasets.c.name == name).values(values)
    return _from_row(connection.execute(changed.returning(datasets)).one())


def set_modes(connection: sa.Connection, name: str, modes: Sequence[Mode] | None) -> None:
    """Which modes an upload into it may ask for; None: all that make sense."""
    changed = sa.update(datasets).where(datasets.c.name == name)
    connection.execute(changed.values(modes=None if modes is None else list(modes)))


def remove(connection: sa.Connection, dataset: Dataset) -> None:
    """Delete a dataset with its rows, and those that were replaced."""
    before_images.remove(connection, dataset.name)
    connection.execute(sa.delete(datasets).where(datasets.c.name == dataset.name))
    connection.execute(sa.schema.DropTable(sa.Table(dataset.table_name, sa.MetaData())))


def exists_to_upload(connection: sa.Connection, name: str) -> bool:
    """As `exists`; and nobody deletes the dataset before the transaction ends, which records an upload into it."""
    found = sa.select(datasets.c.name).where(datasets.c.name == name)
    return connection.execute(found.with_for_update(read=True, key_share=True)).one_or_none() is not None


def exists(connection: sa.Connection, name: str) -> bool:
    return connection.execute(sa.select(datasets.c.name).where(datasets.c.name == name)).one_or_none() is not None


def get(connection: sa.Connection, name: str) -> Dataset:
    """Raises DatasetNotFoundError."""
    return _get(connection, name, _ONE)


def keep(connection: sa.Connection, dataset: Dataset, *, alone: bool = False) -> Dataset:
    """The same dataset, which nobody changes or deletes until the transaction ends. alone: nobody else keeps it either.
    Raises DatasetChangedError if somebody changed it since it was read."""
    try:
        found = _get(connection, dataset.name, _KEPT_ALONE if alone else _KEPT)
    except DatasetNotFoundError as error:
        raise DatasetChangedError(dataset.name) from error
    if found != dataset:
        raise DatasetChangedError(dataset.name)
    return found


def lock(connection: sa.Connection, name: str) -> Dataset:
    """To change it: until the transaction ends, no upload into it is made, and no import into it begins. Raises
    DatasetNotFoundError."""
    return _get(connection, name, _KEPT_ALONE)


#: Statements that are made once, since to build one anew takes half as long as to run it.
_ONE = sa.select(datasets).where(datasets.c.name == sa.bindparam("name"))
_KEPT, _KEPT_ALONE = _ONE.with_for_update(read=True, key_share=True), _ONE.with_for_update()


def _get(connection: sa.Connection, name: str, statement: sa.Select[Any]) -> Dataset:
    if not _NAME.fullmatch(name):
        raise DatasetNotFoundError(name)
    row = connection.execute(statement, {"name": name}).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name)
    return _from_row(row)


def review_of(connection: sa.Connection, name: str) -> str | None:
    """Whether a person looks at its uploads first (uploads.Review); None if it does not say."""
    return connection.scalar(sa.select(datasets.c.review).where(datasets.c.name == name))


def set_review(connection: sa.Connection, name: str, review: str | None) -> None:
    """Whether a person looks at its uploads first (uploads.Review); None: as usual for whoever sends them."""
    connection.execute(sa.update(datasets).where(datasets.c.name == name).values(review=review))


def schema_version(connection: sa.Connection, name: str) -> int:
    """The number of the present schema of a dataset: 1, and more with each change."""
    return int(connection.execute(_SCHEMA_VERSION, {"name": name}).scalar_one())


_SCHEMA_VERSION = sa.select(datasets.c.schema_version).where(datasets.c.name == sa.bindparam("name"))


@dataclass(frozen=True)
class Totals:
    """What is asked of the totals of uploads. on_mismatch: expectations.OnMismatch; None: as usual. are_required:
    whether each upload must say what to expect."""

    on_mismatch: str | None = None
    are_required: bool = False


def totals_of(connection: sa.Connection, name: str) -> Totals:
    row = connection.execute(sa.select(datasets.c.totals, datasets.c.totals_required).where(datasets.c.name == name))
    found = row.one_or_none()
    return Totals() if found is None else Totals(found.totals, found.totals_required)


def set_totals(connection: sa.Connection, name: str, totals: Totals) -> None:
    changed = sa.update(datasets).where(datasets.c.name == name)
    connection.execute(changed.values(totals=totals.on_mismatch, totals_required=totals.are_required))


def not_allowed(dataset: Dataset, mode: Mode) -> str:
    """Why an upload may not ask for a mode, for people."""
    return f"The mode of an upload into “{dataset.name}” must be {listed(dataset.modes)}, not {mode}."


def names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(datasets.c.name).order_by(datasets.c.name)).scalars())


def row_count(connection: sa.Connection, dataset: Dataset) -> int:
    """The number of rows, as it is kept with the dataset."""
    return int(connection.execute(sa.select(datasets.c.rows).where(datasets.c.name == dataset.name)).scalar_one())


def has_rows(connection: sa.Connection, dataset: Dataset) -> bool:
    """Whether its table has any."""
    table = sa.table(dataset.table_name)
    return bool(connection.scalar(sa.select(sa.exists(sa.select(sa.literal(1)).select_from(table)))))


def count_rows(
    connection: sa.Connection, name: str, added: int, *, by: int | None = None, is_changed: bool = True
) -> int:
    """Keep the number of rows, in the transaction that changed them. added: rows that replaced none. by: the upload
    that wrote them. is_changed: whether any was written. Returns the stamp of the rows (write_order.py).

    The last statement of the transaction but for the record of the stamp: on PostgreSQL all imports into the dataset
    wait for each other here.
    """
    counted = connection.execute(_COUNTED[is_changed], {"of_dataset": name, "added": added, "by": by})
    return int(counted.scalar_one())


def _counted(*, is_changed: bool) -> Any:
    columns, by = datasets.c, sa.bindparam("by", type_=sa.BigInteger)
    is_same = columns.stamped_by.is_not_distinct_from(by)
    values: dict[str, Any] = {
        "rows": columns.rows + sa.bindparam("added", type_=sa.BigInteger),
        "stamp": sa.case((is_same, columns.stamp), else_=columns.stamp + 1),
        "stamped_by": by,
    }
    if is_changed:
        values["changed_at"] = utc_now()
    return sa.update(datasets).where(columns.name == sa.bindparam("of_dataset")).values(values).returning(columns.stamp)


_COUNTED = {is_changed: _counted(is_changed=is_changed) for is_changed in (False, True)}


def count_replaced(connection: sa.Connection, name: str, rows: int, *, by: int) -> int:
    """As `count_rows`, of a dataset whose table was replaced. rows: that it has."""
    columns = datasets.c
    values = {"rows": rows, "changed_at": utc_now(), "stamp": columns.stamp + 1, "stamped_by": by}
    counted = sa.update(datasets).where(columns.name == name).values(values)
    return int(connection.execute(counted.returning(columns.stamp)).scalar_one())


def matching_count(connection: sa.Connection, dataset: Dataset, selection: Selection, *, limit: int) -> int:
    """The number of rows that meet the conditions of a selection. limit: of the rows to count."""
    statement, values = dataset.table(connection.dialect).count(selection, limit)
    return int(run(connection, statement, *values).scalar_one())


@dataclass(frozen=True)
class Match:
    """sources: field → the column of the file that fills it. ignored: columns of the file that no field takes."""

    sources: dict[str, str]
    ignored: list[str]


def match(schema: TableSchema, header: Sequence[str], assigned: Mapping[str, str | None] | None = None) -> Match:
    """As `pairs`. Raises MissingColumnsError if no column fills a required field."""
    found = pairs(schema, header, assigned)
    missing = [each.name for each in schema.fields if schema.is_required(each) and each.name not in found.sources]
    if missing:
        raise MissingColumnsError(missing, header)
    return found


def pairs(schema: TableSchema, header: Sequence[str], assigned: Mapping[str, str | None] | None = None) -> Match:
    """Match fields to columns: by exact name, then ignoring case, spaces, _ and -, then by alias.

    assigned: what somebody chose for some columns goes first; a column for no field is neither matched nor ignored.
    """
    free = dict.fromkeys(header)
    chosen = {name: field for name, field in (assigned or {}).items() if field is None or field in schema.names}
    by_normalized: dict[str, list[str]] = {}
    for name in header:
        by_normalized.setdefault(normalized(name), []).append(name)
    sources: dict[str, str] = {}

    def take(field: SchemaField, candidates: Iterable[str]) -> None:
        found = next((name for name in candidates if name in free), None)
        if field.name not in sources and found is not None:
            sources[field.name] = found
            del free[found]

    for name, chosen_field in chosen.items():
        if name in free and chosen_field not in sources:
            del free[name]
            if chosen_field is not None:
                sources[chosen_field] = name
    for field in schema.fields:
        take(field, [field.name])
    for field in schema.fields:  # after all exact matches, which take precedence
        take(field, by_normalized.get(normalized(field.name), []))
    for field in schema.fields:
        take(field, (name for alias in field.aliases for name in by_normalized.get(normalized(alias), [])))
    return Match(sources, list(free))


def field_called(schema: TableSchema, name: str) -> SchemaField | None:
    """The field that a column of this name is: by exact name, then as `pairs` matches them."""
    exact = next((each for each in schema.fields if each.name == name), None)
    if exact is not None:
        return exact
    wanted = normalized(name)
    by_name = (each for each in schema.fields if normalized(each.name) == wanted)
    by_alias = (each for each in schema.fields if wanted in map(normalized, each.aliases))
    return next(by_name, None) or next(by_alias, None)


def normalized(name: str) -> str:
    """A name as it is compared with others. Also of a name that a downloaded header escapes."""
    return re.sub(r"[\s_-]+", "", unescape_formula(name).casefold())


def matching(connection: sa.Connection, header: Sequence[str], seen: View = EVERYTHING) -> list[str]:
    """The names of the datasets that have exactly these columns: first the one into which a file was imported last.

    A dataset without rows counts from its creation. At most MAX_MATCHING. seen: what exists for whoever asks.
    """
    wanted = sorted(normalized(name) for name in header)
    only = seen.condition(datasets.c.name)
    found = [
        row.name
        for row in connection.execute(sa.select(datasets.c.name, datasets.c.schema).where(only))
        if sorted(normalized(field["name"]) for field in row.schema["fields"]) == wanted
    ]
    into_it = (uploads.c.dataset == datasets.c.name) & (uploads.c.rows_success > 0)
    last = sa.func.max(uploads.c.created_at)
    statement = sa.select(datasets.c.name).outerjoin(uploads, into_it).where(datasets.c.name.in_(found))
    statement = statement.group_by(datasets.c.name, datasets.c.created_at)
    order = (sa.func.coalesce(last, datasets.c.created_at).desc(), sa.func.max(uploads.c.id).desc(), datasets.c.name)
    return list(connection.execute(statement.order_by(*order).limit(MAX_MATCHING)).scalars())


def drop_unused(connection: sa.Connection, upload_id: int) -> None:
    """Remove the datasets that an upload created, unless another upload names them. It must not name them itself."""
    created = sa.select(datasets).where(datasets.c.upload_id == upload_id)
    unused = created.where(~sa.exists().where(uploads.c.dataset == datasets.c.name))
    for dataset in [_from_row(row) for row in connection.execute(unused)]:
        remove(connection, dataset)


class Position(tuple[Any, ...]):
    """The position of a row in its dataset: the values of the table's key. `str` encodes it for a URL."""

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Decode what `str` encoded. Raises InvalidPositionError for any other text."""
        try:
            values = json.loads(base64.urlsafe_b64decode(text.encode() + b"=="))
        except (ValueError, RecursionError) as error:
            raise InvalidPositionError from error
        if not isinstance(values, list) or not values:
            raise InvalidPositionError
        return cls(values)

    def __str__(self) -> str:
        values = [value if isinstance(value, int | float | str) else value.isoformat() for value in self]
        return base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")


@dataclass(frozen=True)
class Row:
    """A row of a dataset. cells: one text per field."""

    position: Position
    upload_id: int
    row_number: int
    cells: list[str]


def each_after(
    connection: sa.Connection,
    dataset: Dataset,
    position: Position | None,
    *,
    limit: int,
    selection: Selection = ALL,
    skipped: int = 0,
) -> Iterator[Row]:
    """Rows of a selection after a position (None: from the first), in its order, one after the other. skipped: rows
    that are left out at the beginning, if there is no position.

    Raises InvalidPositionError for a position that does not fit the dataset's key.
    """
    table = dataset.table(connection.dialect)
    place = place_of_skipped(connection, table, selection, skipped) if skipped else None
    if skipped and place is None:
        return
    if place is None:
        place = place_of(connection, table, position, selection)
    statement, values = table.rows(selection, place, limit)
    for row in row_reader.one_by_one(connection, statement, *values):
        yield _row(dataset, table.key_places, row)


def place_of(connection: sa.Connection, table: SqlTable, position: Position | None, selection: Selection) -> list[Any]:
    """The place of the row at a position in a selection (`SqlTable.placing`); none for no position.

    Raises InvalidPositionError.
    """
    key = key_values(connection, table, position)
    if not key or selection.sort is None:
        return key
    found = run(connection, table.sort_value(selection), *key).one_or_none()
    if found is None:
        raise InvalidPositionError
    return [found[0], *key]


def place_of_skipped(
    connection: sa.Connection, table: SqlTable, selection: Selection, skipped: int
) -> list[Any] | None:
    """The place behind so many rows of a selection; None if there are fewer."""
    statement, values = table.next_place(selection, (), skipped - 1)
    found = run(connection, statement, *values).one_or_none()
    return None if found is None else list(found)


def find(connection: sa.Connection, dataset: Dataset, position: Position) -> Row | None:
    """The row at a position. Raises InvalidPositionError."""
    table = dataset.table(connection.dialect)
    found = run(connection, table.row(), *key_values(connection, table, position)).one_or_none()
    return None if found is None else _row(dataset, table.key_places, found)


def key_values(connection: sa.Connection, table: SqlTable, position: Position | None) -> list[Any]:
    """The values of the position with the types of the key's columns; none for no position. Raises
    InvalidPositionError."""
    if position is None:
        return []
    if len(position) != len(table.key):
        raise InvalidPositionError
    kinds = [table.columns[name].dialect_impl(connection.dialect).python_type for name in table.key]
    try:
        return [_as_key(kind, value) for kind, value in zip(kinds, position, strict=True)]
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidPositionError from error


def _as_key(kind: type[Any], value: Any) -> Any:
    if kind in TEMPORAL.values() and isinstance(value, str):
        return kind.fromisoformat(value)
    typed = value if type(value) is kind else kind(value)
    if kind is int and not -(2**63) <= typed < 2**63:
        raise OverflowError
    if kind is str and b"\0" in typed.encode():  # raises for a lone surrogate
        raise ValueError
    return typed


def _row(dataset: Dataset, key: list[int], row: sa.Row[Any]) -> Row:
    """key: the positions of the key's columns."""
    upload_id, row_number, *values = tuple(row)
    cells = [
        format_value(dataset.schema, field, value) for field, value in zip(dataset.schema.fields, values, strict=True)
    ]
    return Row(Position(row[place] for place in key), upload_id, row_number, cells)


def _from_row(row: sa.Row[Any]) -> Dataset:
    schema = TableSchema.stored(row.schema)
    chosen = None if row.modes is None else tuple(map(Mode, row.modes))
    return Dataset(row.name, schema, Mode(row.mode), row.upload_id, row.created_at, chosen)
