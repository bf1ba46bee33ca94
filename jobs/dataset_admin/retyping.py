"""Changes what a column of a dataset with rows takes: checks the values that it has, and stores them as others.

What a value becomes depends on the value alone, so each different value is checked once, as the text that a download
has, by the import's own validator. The results stand in a temporary table, from which all rows get their values.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from jobs.dataset_admin.value_process import ValueProcess
from jobs.datasets import Dataset, column_type
from jobs.errors import CheckTookTooLongError, TookTooLongError
from jobs.excerpt import excerpt
from jobs.rows import reader as row_reader
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import quoted, run
from jobs.rows.time_limit import limited
from jobs.schema import SchemaField

#: Seconds that a check may take, and a change after it: on SQLite nobody else writes meanwhile, and waits for 30 s.
SECONDS = 12.0
#: Values, and bytes of them, that are checked at once.
_VALUES, _BYTES = 5_000, 1 << 20
#: Values that do not fit and are told, and characters of each.
_TOLD, _LENGTH = 20, 100
#: The temporary table, and a new column. No column can have such a name: they do not begin with a space.
_RESULTS, _NEW = " values", " new"


@dataclass
class Fit:
    """What would not fit a column. rows: of the dataset. would_fail: of them. values: the most frequent ones that do
    not fit, each with its rows; the text of a missing one is empty."""

    rows: int
    would_fail: int = 0
    values: list[tuple[str, int]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "would_fail": self.would_fail,
            "values": [{"value": value, "rows": rows} for value, rows in self.values],
        }


class Retyping:
    """The change of one column. For one transaction, in which nothing is imported into the dataset."""

    def __init__(self, connection: sa.Connection, before: Dataset, after: Dataset, place: int) -> None:
        """place: of the column among the fields, from 0."""
        self._connection = connection
        self._before, self._after = before, after
        self._old, self._new = before.schema.fields[place], after.schema.fields[place]
        self._table = before.table(connection.dialect)
        self._types = [column_type(each).compile(dialect=connection.dialect) for each in (self._old, self._new)]

    @property
    def _changes_values(self) -> bool:
        return self._old.type != self._new.type or self._types[0] != self._types[1]

    @property
    def _changes_table(self) -> bool:
        return self._changes_values or self._old.constraints.unique != self._new.constraints.unique

    def check(self, rows: int) -> Fit:
        """rows: of the dataset. Raises CheckTookTooLongError."""
        found = Fit(rows)
        try:
            with limited(self._connection, SECONDS):
                self._create_results()
                heap: list[tuple[int, str]] = []
                for text, count in self._failing():
                    found.would_fail += count
                    heapq.heappush(heap, (count, excerpt(text, _LENGTH)))
                    if len(heap) > _TOLD:
                        heapq.heappop(heap)
                found.values = [(text, count) for count, text in sorted(heap, key=lambda each: (-each[0], each[1]))]
        except TookTooLongError as error:
            raise CheckTookTooLongError(SECONDS) from error
        return found

    def apply(self) -> bool:
        """Store the values that `check` found as the new column takes them, under its name. False: they, and the name
        of the column, stay. Raises CheckTookTooLongError."""
        if not self._changes_table:
            return False
        try:
            with limited(self._connection, SECONDS):
                self._rebuild() if self._table.is_sqlite else self._replace_column()
        except TookTooLongError as error:
            raise CheckTookTooLongError(SECONDS) from error
        return True

    def clean(self) -> None:
        """Remove the temporary table."""
        run(self._connection, f"DROP TABLE IF EXISTS {quoted(_RESULTS)}")

    def _create_results(self) -> None:
        self.clean()
        old, new = self._types
        # The index finds the result of each row; PostgreSQL needs none, and its entries could be too long.
        key = " PRIMARY KEY" if self._table.is_sqlite else ""
        run(self._connection, f"CREATE TEMPORARY TABLE {quoted(_RESULTS)} (old {old}{key}, new {new}, rows BIGINT)")

    def _failing(self) -> Iterator[tuple[str, int]]:
        """The values that do not fit, with their rows. The others are in the temporary table then."""
        with ValueProcess(self._after.schema, self._new, seconds=SECONDS) as process:
            for block in self._blocks():
                texts = [text for _, text, _ in block]
                values, failed = process.check(texts)
                fitting = []
                for place, ((old, text, count), new) in enumerate(zip(block, values, strict=True)):
                    if place in failed or (new is None and self._new.is_required):
                        yield text, count
                    else:
                        fitting.append((old, new if self._changes_values else old, count))
                self._keep(fitting)
        if self._new.is_required and (missing := self._count_missing()):
            yield "", missing
        if self._new.constraints.unique:
            yield from self._repeated()

    def _blocks(self) -> Iterator[list[tuple[Any, str, int]]]:
        """Each different value, its text and its rows."""
        name, table = self._table.identifier(self._old.name), self._table.identifier(self._table.name)
        statement = f"SELECT {name}, count(*) FROM {table} WHERE {name} IS NOT NULL GROUP BY {name}"
        block: list[tuple[Any, str, int]] = []
        size = 0
        for row in row_reader.one_by_one(self._connection, statement):
            value, count = tuple(row)
            block.append((value, self._text(value), count))
            size += len(block[-1][1])
            if len(block) == _VALUES or size > _BYTES:
                yield block
                block, size = [], 0
        if block:
            yield block

    def _text(self, value: Any) -> str:
        """A value as a file would have it that is read by the new field. A value that stays of its type
        is spelled as the new field spells it, any other as it is shown; numbers and booleans plainly, unless they
        become text."""
        if self._old.type == self._new.type:
            return format_value(self._after.schema, self._new, value)
        if self._new.type == "string":
            return format_value(self._before.schema, self._old, value)
        if self._old.type in ("integer", "number", "boolean"):
            return format_value(self._before.schema, SchemaField(name=self._old.name, type=self._old.type), value)
        return format_value(self._before.schema, self._old, value)

    def _keep(self, rows: list[tuple[Any, Any, int]]) -> None:
        if rows:
            marks = "?, ?, ?" if self._table.is_sqlite else f"%s::{self._types[0]}, %s::{self._types[1]}, %s"
            self._connection.exec_driver_sql(f"INSERT INTO {quoted(_RESULTS)} VALUES ({marks})", rows)

    def _count_missing(self) -> int:
        name, table = self._table.identifier(self._old.name), self._table.identifier(self._table.name)
        return int(run(self._connection, f"SELECT count(*) FROM {table} WHERE {name} IS NULL").scalar_one())

    def _repeated(self) -> Iterator[tuple[str, int]]:
        """Values that more than one row would have, with the rows after the first."""
        statement = f"SELECT new, sum(rows) - 1 FROM {quoted(_RESULTS)} WHERE new IS NOT NULL GROUP BY new"
        for row in row_reader.one_by_one(self._connection, f"{statement} HAVING sum(rows) > 1"):
            value, surplus = tuple(row)
            yield format_value(self._after.schema, self._new, value), int(surplus)

    def _rebuild(self) -> None:
        """On SQLite, by a new table."""
        old, new = self._table, self._after.table(self._connection.dialect)
        name = new.name
        new.name = f"{name} (new)"
        result = f"(SELECT new FROM {quoted(_RESULTS)} WHERE old = {quoted(old.name)}.{quoted(self._old.name)})"
        names = dict(zip(old.columns, new.columns, strict=True))
        values = [result if each == self._old.name and self._changes_values else quoted(each) for each in old.columns]
        key = ", ".join(quoted(each) for each in old.key)
        run(self._connection, new.creation())
        run(
            self._connection,
            f"INSERT INTO {quoted(new.name)} ({', '.join(map(quoted, names.values()))})"
            f" SELECT {', '.join(values)} FROM {quoted(old.name)} ORDER BY {key}",
        )
        run(self._connection, old.dropping())
        run(self._connection, new.renaming(name))

    def _replace_column(self) -> None:
        """On PostgreSQL, by a new column."""
        table, old, after = (
            self._table.identifier(each) for each in (self._table.name, self._old.name, self._new.name)
        )
        new = quoted(_NEW)
        unique = " UNIQUE" if self._new.constraints.unique else ""
        results = quoted(_RESULTS)
        fill = f"UPDATE {table} SET {new} = {old}"
        if self._changes_values:
            fill = f"UPDATE {table} SET {new} = {results}.new FROM {results} WHERE {table}.{old} = {results}.old"
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN {new} {self._types[1]}{unique}",
            fill,
            f"ALTER TABLE {table} DROP COLUMN {old}",
            f"ALTER TABLE {table} RENAME COLUMN {new} TO {after}",
        ):
            run(self._connection, statement)
