"""Datasets: the declared shape of rows, a Frictionless Table Schema, and the table `data_<name>` that they land in.

https://specs.frictionlessdata.io/table-schema/ says what fields, types and missingValues mean.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.errors import DatasetNotFoundError, RefusedError
from jobs.tables import datasets, uploads

#: Longest name of a dataset; with "data_" and a number it stays under PostgreSQL's 63 bytes.
LONGEST_NAME = 48
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Field:
    """A column. type, details: as in a Table Schema field. evidence: why it has that type, for people."""

    name: str
    type: str
    details: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


@dataclass(frozen=True)
class Schema:
    """The columns, in order. An empty cell is a missing value, whatever its column's type."""

    fields: list[Field]

    def as_json(self) -> dict[str, Any]:
        described = [{"name": f.name, "type": f.type, **f.details, "description": f.evidence} for f in self.fields]
        return {"fields": described, "missingValues": [""]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls([cls._field(dict(each)) for each in data["fields"]])

    @staticmethod
    def _field(data: dict[str, Any]) -> Field:
        return Field(data.pop("name"), data.pop("type"), evidence=data.pop("description", ""), details=data)


@dataclass(frozen=True)
class Dataset:
    """A named schema with its table. upload_id: the upload it was made from."""

    name: str
    schema: Schema
    upload_id: int
    created_at: datetime

    @property
    def table(self) -> sa.Table:
        """Rows are ordered by upload and row number, which is also their key: a second guard against doubling."""
        return sa.Table(
            f"data_{self.name}",
            sa.MetaData(),
            sa.Column("_upload_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("_row_number", sa.BigInteger, primary_key=True, autoincrement=False),
            *(sa.Column(each.name, _column_type(each)) for each in self.schema.fields),
            sqlite_with_rowid=False,
        )


def _column_type(each: Field) -> sa.types.TypeEngine[Any]:
    """SQLite keeps dates and moments as the ISO text they came as, which sorts and compares as it should."""
    text = sa.Text()
    types: dict[str, sa.types.TypeEngine[Any]] = {
        "integer": sa.BigInteger(),
        "number": sa.Double(),
        "boolean": sa.Boolean(),
        "date": sa.Date().with_variant(text, "sqlite"),
        "datetime": sa.DateTime(timezone=str(each.details.get("format", "")).endswith("Z")).with_variant(
            text, "sqlite"
        ),
    }
    return types.get(each.type, text)


def cell(each: Field, value: Any) -> str:
    """A stored value as text again, as it came; a number as its shortest decimals, so that 1.50 is 1.5."""
    if value is None:
        return ""
    if each.type == "boolean":
        return str(each.details["trueValues" if value else "falseValues"][0])
    if isinstance(value, datetime):
        # strftime alone writes the year 999 without its leading zero.
        return value.strftime(each.details["format"].replace("%Y", f"{value.year:04}"))
    text = str(value)
    return format(Decimal(text), "f") if isinstance(value, float) and "e" in text else text


def checked_name(name: str) -> str:
    """A name that somebody wishes for a new dataset, or "" for none. Raises RefusedError."""
    name = name.strip()
    if name in ("", "auto"):
        return ""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise RefusedError(
            f"“{name[:80]}” cannot be a dataset's name. Use up to {LONGEST_NAME} small letters, digits and _,"
            " beginning with a letter; or leave it empty, and it is named after the file."
        )
    return name


def name_after(filename: str) -> str:
    """A dataset's name made from a file's: "Sales June.csv" → "sales_june"."""
    stem = filename.rsplit(".", 1)[0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST_NAME].rstrip("_")
    return name if _NAME.fullmatch(name) else f"file_{name}"[:LONGEST_NAME].rstrip("_")


def create(connection: sa.Connection, wanted: str, schema: Schema, upload_id: int) -> Dataset:
    """Record a dataset under the first free one of `wanted`, `wanted_2`, … and make its table."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(sa.text("LOCK TABLE datasets IN SHARE ROW EXCLUSIVE MODE"))
    taken = set(connection.execute(sa.select(datasets.c.name).where(datasets.c.name.startswith(wanted))).scalars())
    for name in _variants(wanted):
        if name not in taken:
            values = {"name": name, "schema": schema.as_json(), "upload_id": upload_id, "created_at": utc_now()}
            row = connection.execute(sa.insert(datasets).values(values).returning(datasets)).one()
            dataset = _of(row)
            dataset.table.create(connection)
            return dataset
    raise AssertionError("unreachable: the variants never end")


def _variants(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in count(2))


def exists(connection: sa.Connection, name: str) -> bool:
    return connection.execute(sa.select(datasets.c.name).where(datasets.c.name == name)).one_or_none() is not None


def get(connection: sa.Connection, name: str) -> Dataset:
    """Raises DatasetNotFoundError."""
    if not _NAME.fullmatch(name):
        raise DatasetNotFoundError(name)
    row = connection.execute(sa.select(datasets).where(datasets.c.name == name)).one_or_none()
    if row is None:
        raise DatasetNotFoundError(name)
    return _of(row)


def everything(connection: sa.Connection) -> list[tuple[Dataset, int]]:
    """All datasets by name, each with its number of rows."""
    sums = sa.select(uploads.c.dataset, sa.func.sum(uploads.c.rows_success).label("rows")).group_by(uploads.c.dataset)
    counted = sums.subquery()
    statement = sa.select(datasets, sa.func.coalesce(counted.c.rows, 0).label("rows")).outerjoin(
        counted, counted.c.dataset == datasets.c.name
    )
    return [(_of(row), int(row.rows)) for row in connection.execute(statement.order_by(datasets.c.name))]


def row_count(connection: sa.Connection, name: str) -> int:
    """Rows that uploads put into a dataset: counted once, when they were committed."""
    total = sa.select(sa.func.sum(uploads.c.rows_success)).where(uploads.c.dataset == name)
    return int(connection.execute(total).scalar_one() or 0)


class Position(NamedTuple):
    """Where a row stands in its dataset."""

    upload_id: int
    row_number: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` made of one, or None for anything else."""
        upload_id, _, row_number = text.partition("-")
        valid = all(part.isdecimal() and len(part) < 19 for part in (upload_id, row_number))
        return cls(int(upload_id), int(row_number)) if valid else None

    def __str__(self) -> str:
        return f"{self.upload_id}-{self.row_number}"


def rows_after(
    connection: sa.Connection, dataset: Dataset, position: Position | None, *, limit: int
) -> list[tuple[Position, list[str]]]:
    """Rows behind a position (None: from the first), each with its own position, their cells as text."""
    table = dataset.table
    key = sa.tuple_(table.c["_upload_id"], table.c["_row_number"])
    statement = sa.select(table).order_by(table.c["_upload_id"], table.c["_row_number"]).limit(limit)
    if position is not None:
        statement = statement.where(key > sa.tuple_(*position))
    return [_as_text(dataset, row) for row in connection.execute(statement)]


def rows_before(
    connection: sa.Connection, dataset: Dataset, position: Position, *, limit: int
) -> list[tuple[Position, list[str]]]:
    """The rows just in front of a position, in order."""
    table = dataset.table
    key = sa.tuple_(table.c["_upload_id"], table.c["_row_number"])
    backwards = sa.select(table).order_by(table.c["_upload_id"].desc(), table.c["_row_number"].desc()).limit(limit)
    rows = connection.execute(backwards.where(key < sa.tuple_(*position))).all()
    return [_as_text(dataset, row) for row in reversed(rows)]


def _as_text(dataset: Dataset, row: sa.Row[Any]) -> tuple[Position, list[str]]:
    upload_id, row_number, *values = tuple(row)
    cells = [cell(each, value) for each, value in zip(dataset.schema.fields, values, strict=True)]
    return Position(upload_id, row_number), cells


def _of(row: sa.Row[Any]) -> Dataset:
    return Dataset(row.name, Schema.from_json(row.schema), row.upload_id, row.created_at)
