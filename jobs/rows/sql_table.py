"""The SQL of tables whose columns are named by files, for both databases.

Such a name may be any text. SQLAlchemy looks for the parameters of a compiled statement by a regular expression, also
inside of quoted names: it takes a column called `%(x)s` for a parameter, and binds values to the wrong columns. So
these statements are written here, with positional parameters, and go to the driver as they are.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date, time
from typing import Any

import sqlalchemy as sa

from jobs.rows.selection import Condition, Operator, Search, Selection
from jobs.schema import OWN_COLUMNS

#: SQL with positional parameters, and their values.
Statement = tuple[str, list[Any]]
#: Column → its type, in the order of the table.
Columns = Mapping[str, sa.types.TypeEngine[Any]]

#: `on_conflict`: a row whose key or unique value is stored is not inserted.
IGNORING = " ON CONFLICT DO NOTHING"


def quoted(name: str) -> str:
    """A name as an SQL identifier. Both databases treat all characters between the quotes alike."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def run(connection: sa.Connection, statement: str, *parameters: Any) -> sa.CursorResult[Any]:
    """Execute a statement of a SqlTable. SQLAlchemy passes it on as it is, and keeps nothing of it."""
    return connection.exec_driver_sql(statement, parameters)


def _any(conditions: Sequence[str]) -> str:
    """Whether one of them holds, in pairs of pairs: SQLite's expressions have at most 1,000 levels."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({_any(conditions[:half])} OR {_any(conditions[half:])})"


def every(conditions: Sequence[str]) -> str:
    """Whether all of them hold, in pairs of pairs, as `_any`."""
    if len(conditions) == 1:
        return conditions[0]
    half = len(conditions) // 2
    return f"({every(conditions[:half])} AND {every(conditions[half:])})"


#: Of an index on PostgreSQL: room for one more entry beside each, that of the row which replaces it.
ROOM = " WITH (fillfactor = 45)"


class SqlTable:
    """A table of one database, and the statements that name its columns.

    Statements are for `run`, except those of `copying`. Values stand in the order of the columns.
    """

    def __init__(
        self,
        dialect: sa.Dialect,
        name: str,
        columns: Columns,
        *,
        key: Sequence[str] = (),
        unique: Sequence[str] = (),
        replaces: bool = False,
    ) -> None:
        """key: the columns of the primary key. unique: columns without repeated values. replaces: whether rows will
        replace others with the same key."""
        self.name = name
        self.columns = columns
        self.key = list(key)
        self._dialect = dialect
        self.is_sqlite = dialect.name == "sqlite"
        self._unique = unique
        self._replaces = replaces
        self._parameter = "?" if self.is_sqlite else "%s"

    @property
    def key_places(self) -> list[int]:
        """The places of the key's columns among all columns, from 0."""
        places = {name: place for place, name in enumerate(self.columns)}
        return [places[name] for name in self.key]

    def creation(self, *, temporary: bool = False, kept: bool = False) -> str:
        """temporary: only for this connection, and emptied by each commit on PostgreSQL unless it is `kept`."""
        parts = [f"{self._quoted(name)} {self._type(name)}{self._not_null(name)}" for name in self.columns]
        if self.key:
            room = ROOM if self._replaces and not self.is_sqlite else ""
            parts.append(f"PRIMARY KEY ({self._list(self.key)}){room}")
        parts += [f"UNIQUE ({self._quoted(name)})" for name in self._unique]
        kind, end = "TABLE", " WITHOUT ROWID" if self.is_sqlite else ""
        if temporary and kept and self.key:
            kind = "TEMPORARY TABLE IF NOT EXISTS"
        elif temporary:
            kind, end = "TEMPORARY TABLE IF NOT EXISTS", "" if self.is_sqlite or kept else " ON COMMIT DELETE ROWS"
        return f"CREATE {kind} {self._quoted(self.name)} ({', '.join(parts)}){end}"

    def is_unique(self, name: str) -> bool:
        """Whether a column has a constraint against repeated values."""
        return name in self._unique

    def rebuild(self, connection: sa.Connection, new: "SqlTable") -> None:
        """Replace the table by one with other columns, and the values of those that stay."""
        name = new.name
        new.name = f"{name} (new)"
        run(connection, new.creation())
        run(connection, new.moving_from(self))
        run(connection, self.dropping())
        run(connection, new.renaming(name))
        new.name = name

    def dropping(self, *, if_exists: bool = False) -> str:
        return f"DROP TABLE {'IF EXISTS ' if if_exists else ''}{self._quoted(self.name)}"

    def truncating(self) -> str:
        """Deletes all rows of a temporary table, with what deleted rows leave behind, on PostgreSQL."""
        return f"TRUNCATE {self._quoted(self.name)}"

    def renaming(self, name: str) -> str:
        """Gives the table another name."""
        return f"ALTER TABLE {self._quoted(self.name)} RENAME TO {self._quoted(name)}"

    def column_adding(self, name: str) -> str:
        """Adds one of the columns, if the table lacks it; SQLite adds no unique one."""
        unique = " UNIQUE" if name in self._unique else ""
        return f"ALTER TABLE {self._quoted(self.name)} ADD COLUMN {self._quoted(name)} {self._type(name)}{unique}"

    def column_renaming(self, before: str, after: str) -> str:
        return f"ALTER TABLE {self._quoted(self.name)} RENAME COLUMN {self._quoted(before)} TO {self._quoted(after)}"

    def column_dropping(self, name: str) -> str:
        """SQLite drops no unique one."""
        return f"ALTER TABLE {self._quoted(self.name)} DROP COLUMN {self._quoted(name)}"

    def moving_from(self, other: "SqlTable") -> str:
        """A statement that inserts all rows of a table with the columns that both have, in the order of the key."""
        names = self._list(name for name in self.columns if name in other.columns)
        return (
            f"INSERT INTO {self._quoted(self.name)} ({names})"
            f" SELECT {names} FROM {self._quoted(other.name)} ORDER BY {self._list(self.key)}"
        )

    def insertion(self, *, on_conflict: str = "") -> str:
        """A statement that inserts one row. on_conflict: IGNORING, or of `replacing`; by default an error."""
        values = ", ".join([self._parameter] * len(self.columns))
        return f"INSERT INTO {self._quoted(self.name)} ({self._list(self.columns)}) VALUES ({values}){on_conflict}"

    def insertion_from(self, other: "SqlTable", *, on_conflict: str = "", is_sorted: bool = False) -> str:
        """A statement that inserts all rows of a table with the same columns, in the order of this table's key.
        is_sorted: they are in this order already."""
        names = self._list(self.columns)
        order = "" if is_sorted else f" ORDER BY {self._list(self.key)}"
        return (
            f"INSERT INTO {self._quoted(self.name)} ({names})"
            f" SELECT {names} FROM {self._quoted(other.name)}{order}{on_conflict}"
        )

    def taking_over(self, stored: "SqlTable", staged: "SqlTable", same: Sequence[str]) -> str:
        """Copies the rows of a table with the same columns that have the same values as a row of `staged`, unless
        their keys are here."""
        names = [self._quoted(name) for name in self.columns]
        equal = " AND ".join(f"stored.{name} = staged.{name}" for name in map(self._quoted, same))
        known = " AND ".join(f"here.{name} = stored.{name}" for name in map(self._quoted, self.key))
        join = "CROSS JOIN" if self.is_sqlite else "JOIN"  # SQLite keeps the order of a cross join
        return (
            f"INSERT INTO {self._quoted(self.name)} ({', '.join(names)})"
            f" SELECT {', '.join(stored.value(name) for name in self.columns)}"
            f" FROM {self._quoted(staged.name)} AS staged {join} {self._quoted(stored.name)} AS stored ON {equal}"
            f" WHERE NOT EXISTS (SELECT 1 FROM {self._quoted(self.name)} AS here WHERE {known}){IGNORING}"
        )

    def compared(self, stored: "SqlTable", fields: Sequence[str], *, upload_id: int) -> str:
        """How many rows of an upload are here, how many of them have their key in another table too, and how many of
        these have the same values in some fields. A table without a key has a row for each of the file, on
        PostgreSQL."""
        key = f"stored.{self._quoted(stored.key[0])}"
        alike = f"CASE WHEN {key} IS NOT NULL AND {self._alike(stored, fields)} THEN 1 END"
        return f"SELECT count(*), count({key}), count({alike}){self._joined(stored, upload_id, 'LEFT JOIN')}"

    def counting_missing(self, names: Sequence[str]) -> str:
        """How many rows have no value in one of some columns."""
        return f"SELECT count(*) FROM {self._quoted(self.name)} WHERE {self._lacks(names)}"

    def counting_alike(self, names: Sequence[str]) -> str:
        """How many rows have the same values in some columns as another one, and how many such values there are."""
        return f"SELECT coalesce(sum(n), 0), count(*) FROM ({self._grouped(names)}) AS alike"

    def alike(self, names: Sequence[str], *, limit: int) -> str:
        """The values that several rows have in some columns, with their number, the most frequent first."""
        return f"{self._grouped(names)} ORDER BY n DESC, {self._list(names)} LIMIT {limit:d}"

    def _grouped(self, names: Sequence[str]) -> str:
        listed = self._list(names)
        return (
            f"SELECT {listed}, count(*) AS n FROM {self._quoted(self.name)} WHERE NOT ({self._lacks(names)})"
            f" GROUP BY {listed} HAVING count(*) > 1"
        )

    def _lacks(self, names: Sequence[str]) -> str:
        return _any([f"{name} IS NULL" for name in map(self._quoted, names)])

    def counting_keys(self, key: Sequence[str]) -> str:
        """How many different values some columns have together."""
        return f"SELECT count(*) FROM (SELECT DISTINCT {self._list(key)} FROM {self._quoted(self.name)}) AS keys"

    def differing(self, stored: "SqlTable", fields: Sequence[str], *, upload_id: int, limit: int) -> str:
        """Rows of an upload whose key another table has with other values: both rows, the other one first."""
        names = [self._quoted(name) for name in self.columns]
        both = ", ".join([*map(stored.value, self.columns), *(f"here.{name}" for name in names)])
        joined = self._joined(stored, upload_id, "JOIN")
        return (
            f'SELECT {both}{joined} AND NOT ({self._alike(stored, fields)}) ORDER BY here."_row_number" LIMIT {limit:d}'
        )

    def _joined(self, stored: "SqlTable", upload_id: int, join: str) -> str:
        equal = " AND ".join(f"stored.{name} = here.{name}" for name in map(self._quoted, stored.key))
        here = self._quoted(self.name)
        if not self.key:  # of the rows with the same key, the last one counts
            key = self._list(stored.key)
            here = f'(SELECT DISTINCT ON ({key}) * FROM {here} ORDER BY {key}, "_row_number" DESC)'
        return (
            f" FROM {here} AS here {join} {self._quoted(stored.name)} AS stored ON {equal}"
            f' WHERE here."_upload_id" = {upload_id:d}'
        )

    def _alike(self, stored: "SqlTable", fields: Sequence[str]) -> str:
        """Whether two rows, `here` and `stored`, have the same values."""
        sign = "IS" if self.is_sqlite else "IS NOT DISTINCT FROM"
        return every([f"here.{self._quoted(name)} {sign} {stored.value(name)}" for name in fields])

    def value(self, name: str) -> str:
        """The value of a row of this table, called `stored`, in a column that it may not have yet."""
        return f"stored.{self._quoted(name)}" if name in self.columns else "NULL"

    def emptying(self) -> str:
        return f"DELETE FROM {self._quoted(self.name)}"

    def deletion(self) -> str:
        """Deletes rows of one upload, on PostgreSQL. Parameter: the list of their row numbers, of any length."""
        return f'{self.emptying()} WHERE "_row_number" = ANY({self._parameter}::bigint[])'

    def clearing(self, staged: "SqlTable") -> str:
        """Deletes the rows whose key `staged` has, on PostgreSQL; the key has one column. Deletes nothing if a foreign
        key refers to the table or somebody put a trigger on it: to these, a replaced row must not look deleted."""
        (key,) = map(self._quoted, self.key)
        return (
            f"{self.emptying()} WHERE {key} = ANY(ARRAY(SELECT {key} FROM {self._quoted(staged.name)}))"
            f" AND {self.is_free}"
        )

    @property
    def is_free(self) -> str:
        """Whether no foreign key refers to the table and nobody put a trigger on it, on PostgreSQL."""
        table = "'" + self._quoted(self.name).replace("'", "''") + "'::regclass"
        return (
            f"NOT EXISTS (SELECT FROM pg_constraint WHERE confrelid = {table})"
            f" AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {table} AND NOT tgisinternal)"
        )

    def replacing(self, key: Sequence[str], filled: Container[str]) -> str:
        """`on_conflict`: a new row replaces the stored one with the same key. filled: the columns that it has values
        for; all others keep theirs."""
        others = [self._quoted(name) for name in self.columns if name not in key and name in filled]
        assignments = ", ".join(f"{name} = excluded.{name}" for name in others)
        return f" ON CONFLICT ({self._list(key)}) DO UPDATE SET {assignments}"

    @staticmethod
    def counting_new(insertion: str) -> str:
        """How many rows an insertion that replaces others inserts, on PostgreSQL: only a row that it locked before it
        replaced it has an xmax."""
        written = f"WITH written AS ({insertion} RETURNING xmax = 0 AS is_new)"
        return f"{written} SELECT count(*) FILTER (WHERE is_new) FROM written"

    def matches(self, staged: "SqlTable", key: Sequence[str]) -> str:
        """The number of rows of `staged` whose key is stored here, on SQLite. Looked up in the order of the key, each
        page of the table is read once: the limit keeps the planner from giving up the order."""
        names = self._list(key)
        places = [f"k{place}" for place in range(len(key))]  # SQLite finds no column of a subquery called FALSE
        pairs = list(zip(map(self._quoted, key), places, strict=True))
        equal = " AND ".join(f"stored.{name} = staged.{place}" for name, place in pairs)
        named = ", ".join(f"{name} AS {place}" for name, place in pairs)
        ordered = f"SELECT {named} FROM {self._quoted(staged.name)} ORDER BY {names} LIMIT -1"
        stored = f"SELECT 1 FROM {self._quoted(self.name)} AS stored WHERE {equal}"
        return f"SELECT count(*) FROM ({ordered}) AS staged WHERE EXISTS ({stored})"

    def own_among(self, staged: "SqlTable", names: Sequence[str], key: Sequence[str], *, upload_id: int) -> str:
        """Some columns of the rows of an upload whose key `staged` has; looked up as in `matches`."""
        what = ", ".join(f"stored.{self._quoted(name)}" for name in names)
        return f"SELECT {what}{self._stored_as_staged(staged, key, upload_id)}"

    def landed(self, staged: "SqlTable", key: Sequence[str], *, upload_id: int) -> str:
        """The row numbers of the rows of `staged` that are here. upload_id: of the staged rows."""
        both = f'{self._stored_as_staged(staged, key, upload_id)} AND stored."_row_number" = staged.number'
        return f'SELECT stored."_row_number"{both}'

    def _stored_as_staged(self, staged: "SqlTable", key: Sequence[str], upload_id: int) -> str:
        pairs = [(self._quoted(name), f"k{place}") for place, name in enumerate(key)]
        equal = " AND ".join(f"stored.{name} = staged.{place}" for name, place in pairs)
        named = ", ".join(f"{name} AS {place}" for name, place in pairs)
        rows = f'SELECT "_row_number" AS number, {named} FROM {self._quoted(staged.name)}'
        if self.is_sqlite:
            rows += f" ORDER BY {self._list(key)} LIMIT -1"
        join = "CROSS JOIN" if self.is_sqlite else "JOIN"  # SQLite keeps the order of a cross join
        return (
            f" FROM ({rows}) AS staged {join} {self._quoted(self.name)} AS stored ON {equal}"
            f' WHERE stored."_upload_id" = {upload_id:d}'
        )

    def releasing(self, names: Sequence[str], key: Sequence[str]) -> str:
        """Empties some columns of the row with a certain key. Parameters: the key's values."""
        where = " AND ".join(f"{self._quoted(name)} = {self._parameter}" for name in key)
        return f"{self._emptied(names)} WHERE {where}"

    def releasing_from(self, staged: "SqlTable", names: Sequence[str], key: Sequence[str]) -> str:
        """As `releasing`, of the rows with the keys of some staged ones, on PostgreSQL. Parameter: the list of the
        staged rows' numbers."""
        table, other = self._quoted(self.name), self._quoted(staged.name)
        equal = " AND ".join(f"{table}.{self._quoted(name)} = {other}.{self._quoted(name)}" for name in key)
        chosen = f'{other}."_row_number" = ANY({self._parameter}::bigint[])'
        return f"{self._emptied(names)} FROM {other} WHERE {equal} AND {chosen}"

    def _emptied(self, names: Sequence[str]) -> str:
        return f"UPDATE {self._quoted(self.name)} SET {', '.join(f'{self._quoted(name)} = NULL' for name in names)}"

    def copying(self, format_: str) -> str:
        """PostgreSQL's COPY. format_: "csv" or "binary". It has no parameters, so psycopg leaves each % as it is."""
        names = ", ".join(map(quoted, self.columns))
        return f"COPY {quoted(self.name)} ({names}) FROM STDIN (FORMAT {format_})"

    def rows(self, selection: Selection, place: Sequence[Any], limit: int | None) -> Statement:
        """The rows of a selection after a place, in its order. place: the values of `placing`; none: from the first."""
        return self.page(self._list(self.columns), selection, place, limit=limit)

    def excerpts(
        self,
        columns: Sequence[str],
        selection: Selection,
        place: Sequence[Any],
        limit: int,
        *,
        key_length: int,
        length: int,
        backwards: bool,
    ) -> Statement:
        """As `rows`, but upload, row number, the key and some columns; of texts only so many characters. backwards:
        rows before the place, in the opposite order."""
        origin = [self._quoted(name) for name in OWN_COLUMNS]
        key = [self._beginning(name, key_length) for name in self.key]
        cells = [self._beginning(name, length) for name in columns]
        return self.page(", ".join([*origin, *key, *cells]), selection, place, limit=limit, backwards=backwards)

    def next_place(self, selection: Selection, place: Sequence[Any], skipped: int) -> Statement:
        """The place of the row that follows so many others."""
        return self.page(self.placing(selection), selection, place, limit=1, skipped=skipped)

    def placing(self, selection: Selection) -> str:
        """The columns whose values are the place of a row in a selection."""
        sort = [] if selection.sort is None else [selection.sort.column]
        return self._list([*sort, *self.key])

    def sort_value(self, selection: Selection) -> str:
        """The value by which a selection sorts the row with a certain key. Parameters: the key's values."""
        assert selection.sort is not None
        column = self._quoted(selection.sort.column)
        return f"SELECT {column} FROM {self._quoted(self.name)} WHERE {self._compared('=')}{self._of_types}"

    def count(self, selection: Selection, limit: int) -> Statement:
        """The number of rows of a selection. limit: of the rows to count."""
        where, values = self._where(selection, (), backwards=False)
        rows = f"SELECT 1 AS one FROM {self._quoted(self.name)}{where} LIMIT {self._parameter}"
        return f"SELECT count(*) FROM ({rows}) AS counted", [*values, limit]

    def count_values(self, name: str) -> str:
        """The number of rows that have a value in a column."""
        return f"SELECT count({self._quoted(name)}) FROM {self._quoted(self.name)}"

    def some(self, names: Sequence[str], limit: int) -> str:
        """Values of these columns in some rows."""
        return f"SELECT {self._list(names)} FROM {self._quoted(self.name)} LIMIT {limit:d}"

    def row(self) -> str:
        """The row with a certain key. Parameters: the key's values."""
        where = self._compared("=")
        return f"SELECT {self._list(self.columns)} FROM {self._quoted(self.name)} WHERE {where}{self._of_types}"

    def key_of_origin(self) -> str:
        """The key of the row that came from a certain row of a file. Parameters: upload and row number."""
        where = " AND ".join(f"{self._quoted(name)} = {self._parameter}" for name in OWN_COLUMNS)
        return f"SELECT {self._list(self.key)} FROM {self._quoted(self.name)} WHERE {where}{self._of_types}"

    def page(
        self,
        what: str,
        selection: Selection,
        place: Sequence[Any],
        *,
        limit: int | None,
        skipped: int = 0,
        backwards: bool = False,
    ) -> Statement:
        """What to select of the rows of a selection after a place, in its order; backwards: before it, in the opposite
        order. limit: None for all. skipped: rows that are left out at the beginning."""
        where, values = self._where(selection, place, backwards)
        order = ", ".join([*self._sorting(selection, backwards), *self._key_order(backwards)])
        statement = f"SELECT {what} FROM {self._quoted(self.name)}{where} ORDER BY {order}"
        if limit is None:
            return f"{statement}{self._of_types}", values
        end = f" OFFSET {skipped:d}" if skipped else ""
        return f"{statement} LIMIT {self._parameter}{end}{self._of_types}", [*values, limit]

    @property
    def _of_types(self) -> str:
        """A comment that differs with the types of the columns. A connection to PostgreSQL keeps what it has prepared,
        and would refuse a statement whose result has other types since somebody changed a column."""
        if self.is_sqlite:
            return ""
        types = " ".join(map(self._type, self.columns))
        return f" /* {hashlib.sha256(types.encode()).hexdigest()[:8]} */"

    def _key_order(self, backwards: bool) -> list[str]:
        return [f"{self._quoted(name)}{' DESC' if backwards else ''}" for name in self.key]

    def _sorting(self, selection: Selection, backwards: bool) -> list[str]:
        """Rows without a value come last, whatever the direction."""
        if selection.sort is None:
            return []
        direction = "DESC" if selection.sort.descending != backwards else "ASC"
        return [f"{self._comparable(selection.sort.column)} {direction} NULLS {'FIRST' if backwards else 'LAST'}"]

    def _where(self, selection: Selection, place: Sequence[Any], backwards: bool) -> Statement:
        parts: list[str] = []
        values: list[Any] = []
        for condition in selection.conditions:
            text, value = self._condition(condition)
            parts.append(text)
            values += value
        if selection.search is not None:
            text, value = self._search(selection.search)
            parts.append(text)
            values += value
        if selection.until:
            parts.append(self._compared("<="))
            values += selection.until
        if place:
            text, value = self._beyond(selection, place, backwards)
            parts.append(text)
            values += value
        return (f" WHERE {' AND '.join(parts)}" if parts else "", values)

    def _condition(self, condition: Condition) -> Statement:
        name, parameter = self._quoted(condition.column), self._typed_parameter(condition.column)
        match condition.operator:
            case Operator.EMPTY:
                empty = f"{name} IS NULL OR {name} = ''" if condition.is_text else f"{name} IS NULL"
                return (f"({empty})" if condition.value else f"NOT ({empty})"), []
            case Operator.CONTAINS:
                return self._containing(condition.column), [self._pattern(condition.value)]
        value = [self._stored(condition.value)]
        if condition.operator is Operator.EQUAL:
            return f"{name} = {parameter}", value
        sign = ">=" if condition.operator is Operator.AT_LEAST else "<="
        return f"{self._comparable(condition.column)} {sign} {self._comparable(condition.column, parameter)}", value

    def _containing(self, column: str) -> str:
        """Whether a column of text has the text of a `_pattern` in it. Both databases fold the letters of ASCII only,
        so that a file has the same rows on both. SQLite's LIKE takes a third of the time of instr and lower."""
        name, parameter = self._quoted(column), self._typed_parameter(column)
        if self.is_sqlite:
            return f"{name} LIKE {parameter} ESCAPE '\\'"
        return f'strpos(lower({name} COLLATE "C"), lower({parameter} COLLATE "C")) > 0'

    def _pattern(self, text: str) -> str:
        if not self.is_sqlite:
            return text
        escaped = text.translate({ord(character): f"\\{character}" for character in "\\%_"})
        return f"%{escaped}%"

    def _search(self, search: Search) -> Statement:
        conditions = [self._containing(name) for name in search.columns]
        return _any(conditions), [self._pattern(search.text)] * len(conditions)

    def _comparable(self, column: str, what: str | None = None) -> str:
        """A column, or a parameter, in the form in which one is less than another. SQLite compares moments as text, in
        which a Z is greater than the point before a fraction."""
        kind, what = self.columns[column], what or self._quoted(column)
        return f"rtrim({what}, 'Z')" if self.is_sqlite and isinstance(kind, sa.DateTime) and kind.timezone else what

    def _stored(self, value: Any) -> Any:
        """A moment as the table has it: SQLite stores it as ISO text."""
        if self.is_sqlite and isinstance(value, date | time):  # a datetime is a date
            return value.isoformat().replace("+00:00", "Z")
        return value

    def _beyond(self, selection: Selection, place: Sequence[Any], backwards: bool) -> Statement:
        """After a place, or before it."""
        beyond_key = self._compared("<" if backwards else ">")
        if selection.sort is None:
            return beyond_key, list(place)
        value, *key = place
        name = self._comparable(selection.sort.column)
        parameter = self._comparable(selection.sort.column, self._typed_parameter(selection.sort.column))
        if value is None:
            alike = f"({name} IS NULL AND {beyond_key})"
            return (f"({name} IS NOT NULL OR {alike})" if backwards else alike), key
        sign = "<" if selection.sort.descending != backwards else ">"
        without = "" if backwards else f" OR {name} IS NULL"
        return (
            f"({name} {sign} {parameter} OR ({name} = {parameter} AND {beyond_key}){without})",
            [value, value, *key],
        )

    def _compared(self, operator: str) -> str:
        """The key compared with parameters."""
        values = ", ".join(self._typed_parameter(name) for name in self.key)
        return f"({self._list(self.key)}) {operator} ({values})"

    def _beginning(self, name: str, length: int) -> str:
        is_text = isinstance(self.columns[name], sa.Text)
        return f"substr({self._quoted(name)}, 1, {length:d})" if is_text else self._quoted(name)

    def collisions(self, staged: "SqlTable", same: Sequence[str], *, upload_id: int) -> str:
        """The rows of `staged` that have the same values as another row here: row number, and the other row's upload
        and row number. upload_id: of the staged rows."""
        equal = " AND ".join(f"stored.{self._quoted(name)} = staged.{self._quoted(name)}" for name in same)
        other = f'stored."_upload_id" <> {upload_id:d} OR stored."_row_number" <> staged."_row_number"'
        return (
            'SELECT staged."_row_number", stored."_upload_id", stored."_row_number"'
            f" FROM {self._quoted(staged.name)} AS staged JOIN {self._quoted(self.name)} AS stored"
            f" ON {equal} AND ({other})"
        )

    def competitions(self, staged: "SqlTable", same: str, *, key: Sequence[str]) -> str:
        """The rows of `staged` that have the same value in one column as a row with another key here: row number, and
        the other row's upload and row number."""
        equal = f"stored.{self._quoted(same)} = staged.{self._quoted(same)}"
        differs = " OR ".join(f"stored.{name} <> staged.{name}" for name in map(self._quoted, key))
        return (
            'SELECT staged."_row_number", stored."_upload_id", stored."_row_number"'
            f" FROM {self._quoted(staged.name)} AS staged JOIN {self._quoted(self.name)} AS stored"
            f" ON {equal} AND ({differs})"
        )

    def replaced(self, staged: "SqlTable", *, key: Sequence[str]) -> str:
        """The rows here whose key `staged` has: upload and row number, and the number of a staged row with this key."""
        equal = " AND ".join(f"stored.{name} = staged.{name}" for name in map(self._quoted, key))
        return (
            'SELECT stored."_upload_id", stored."_row_number", min(staged."_row_number")'
            f" FROM {self._quoted(staged.name)} AS staged JOIN {self._quoted(self.name)} AS stored ON {equal}"
            ' GROUP BY stored."_upload_id", stored."_row_number"'
        )

    def literal(self, text: str) -> str:
        """A text as an SQL literal."""
        doubled = text.replace("'", "''")
        return f"'{doubled}'" if self.is_sqlite else f"'{doubled}'".replace("%", "%%")

    def identifier(self, name: str) -> str:
        """A name as an SQL identifier."""
        return self._quoted(name)

    def typed_parameter(self, name: str) -> str:
        """A parameter for a value of a column."""
        return self._typed_parameter(name)

    def _quoted(self, name: str) -> str:
        return quoted(name) if self.is_sqlite else quoted(name).replace("%", "%%")

    def _list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._quoted, names))

    def _type(self, name: str) -> str:
        return self.columns[name].compile(dialect=self._dialect)

    def _not_null(self, name: str) -> str:
        return " NOT NULL" if name in self.key or name in OWN_COLUMNS else ""

    def _typed_parameter(self, name: str) -> str:
        return self._parameter if self.is_sqlite else f"{self._parameter}::{self._type(name)}"
