"""The SQL of an upsert that writes only what changes and keeps what it replaces.

Rows of an upload are staged in a table with the columns of the dataset's table. Both are then compared by their key.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from jobs.rows.sql_table import SqlTable, every
from jobs.schema import OWN_COLUMNS
from jobs.traces.before_images import BY, IMAGE

UPLOAD, NUMBER = (f'"{name}"' for name in OWN_COLUMNS)
#: The columns of `comparing`, and of `returning`.
COMPARED = ("twice", "owner", "owner_number")
RETURNED = ("number", "owner", "owner_number", "image")
#: Not `true`, which SQLite takes for a column that has this name.
ALWAYS = "1 = 1"
_ORIGIN = f"stored.{UPLOAD} AS owner, stored.{NUMBER} AS owner_number"


class UpsertSql:
    """The statements for one upload. Names are those of SqlTable's statements, for `run`."""

    def __init__(
        self,
        table: SqlTable,
        staged: SqlTable,
        images: SqlTable | None,
        key: Sequence[str],
        filled: Sequence[str],
        upload_id: int,
    ) -> None:
        """images: None if none are kept. filled: the fields that the file has values for; a row keeps all others."""
        self._table, self._staged, self._images = table, staged, images
        values = [name for name in filled if name not in key]
        #: The columns of a row that `comparing_one` needs, in the order of its parameters.
        self.compared = [OWN_COLUMNS[1], *key, *values]
        self._key = [table.identifier(name) for name in key]
        self._key_type = table.columns[key[0]]
        self._filled = [table.identifier(name) for name in values]
        self._texts = [table.identifier(name) for name in values if isinstance(table.columns[name], sa.String)]
        self._upload_id = upload_id
        self.is_sqlite = table.is_sqlite

    def comparing(self, *, locks: bool) -> str:
        """The staged rows whose key is stored: twice the number, and one more if the stored row has the same values;
        upload and number of that one. locks: nobody changes these until the transaction ends. PostgreSQL only."""
        lock = " FOR SHARE OF stored" if locks else ""
        return f"SELECT {self._twice} AS twice, {_ORIGIN}{self._joined(self._table)}{lock}"

    @property
    def _twice(self) -> str:
        return f"2 * staged.{NUMBER} + CASE WHEN {self._alike('stored')} THEN 1 ELSE 0 END"

    @property
    def has_ranges(self) -> bool:
        """Whether rows can be compared by ranges of their key."""
        return len(self._key) == 1 and not isinstance(self._key_type, sa.Boolean)

    def comparing_range(self, most: int) -> str:
        """As `comparing`, but of each stored row, at most so many, whose key is not below the lowest and not above the
        highest of the staged ones; all is null but where its key is staged. PostgreSQL only."""
        (key,) = self._key
        bounds = f"SELECT min({key}) AS lowest, max({key}) AS highest FROM {self._name(self._staged)}"
        within = f"stored.{key} >= bounds.lowest AND stored.{key} <= bounds.highest"
        near = f"SELECT stored.* FROM {self._name(self._table)} AS stored, ({bounds}) AS bounds WHERE {within}"
        return (
            f"SELECT {self._twice} AS twice, {_ORIGIN} FROM ({near} LIMIT {most:d}) AS stored"
            f" LEFT JOIN {self._name(self._staged)} AS staged ON {self._same_key}"
        )

    def near(self, most: int) -> str:
        """Stored rows, at most so many: their upload and number, and the values that `compared` names. Parameters: the
        lowest and the highest key, and the bytes that their texts may have together. SQLite only."""
        (key,) = self._key
        size = " + ".join(f"ifnull(octet_length({name}), 0)" for name in self._texts) or "0"
        return (
            f"SELECT {UPLOAD}, {NUMBER}, {', '.join([key, *self._filled])} FROM {self._name(self._table)}"
            f" WHERE {key} >= ? AND {key} <= ? AND {size} <= ? LIMIT {most:d}"
        )

    def comparing_one(self) -> str:
        """As `comparing`, for one row that is not staged. Parameters: its columns `compared`. SQLite only."""
        value = {self._table.identifier(name): f"?{place}" for place, name in enumerate(self.compared, start=1)}
        same_key = " AND ".join(f"stored.{name} = {value[name]}" for name in self._key)
        alike = every([f"stored.{name} IS {value[name]}" for name in self._filled]) if self._filled else ALWAYS
        return (
            f"SELECT 2 * {value[NUMBER]} + ({alike}) AS twice, {_ORIGIN}"
            f" FROM {self._name(self._table)} AS stored WHERE {same_key}"
        )

    def matching(self, staged: SqlTable) -> str:
        """How many of some staged rows have their key in the table, and how many of these are this upload's own."""
        own = f"coalesce(sum(stored.{UPLOAD} = {self._upload_id:d}), 0)"
        return f"SELECT count(*), {own}{self._joined(self._table, staged)}"

    def others(self, staged: SqlTable) -> str:
        """As `comparing`, the staged rows whose key a row of another upload still has, once all were written."""
        return (
            f"SELECT 2 * staged.{NUMBER} + 1 AS twice, {_ORIGIN}{self._joined(self._table, staged)}"
            f" AND stored.{UPLOAD} <> {self._upload_id:d}"
        )

    def changing(self, on_conflict: str) -> str:
        """`on_conflict`, but a stored row that has the same values stays, on SQLite."""
        return f"{on_conflict} WHERE NOT ({self._alike(self._name(self._table), 'excluded')})"

    def returning(self) -> str:
        """The staged rows that are like the row was before this upload changed it, in an earlier chunk, and nobody
        since: number, upload and number of the row that the image is of, and the number of the image."""
        return f"SELECT staged.{NUMBER} AS number, {_ORIGIN}, stored.{self._number} AS image{self._like_images()}"

    def putting_back(self) -> str:
        """Stores these images again."""
        assert self._images is not None
        names = self._columns()
        listed, kept = ", ".join(names), ", ".join(f"stored.{name}" for name in names)
        assigned = ", ".join(f"{name} = excluded.{name}" for name in names if name not in self._key)
        return (
            f"INSERT INTO {self._name(self._table)} ({listed}) SELECT {kept}{self._like_images()}"
            f" ON CONFLICT ({', '.join(self._key)}) DO UPDATE SET {assigned}"
        )

    def unstaging_back(self) -> str:
        """Deletes the staged rows that `returning` tells, once they were put back."""
        is_back = self._present("stored", f"present.{UPLOAD} = stored.{UPLOAD} AND present.{NUMBER} = stored.{NUMBER}")
        return self._unstaging(self._images, f"stored.{self._by} = {self._upload_id:d} AND {is_back}")

    def forgetting(self) -> str:
        """Deletes an image. Parameter: its number."""
        assert self._images is not None
        parameter = "?" if self.is_sqlite else "%s"
        return f"DELETE FROM {self._name(self._images)} WHERE {self._number} = {parameter}"

    def imaging_changed(self) -> str:
        """Keeps the stored rows that staged ones with other values replace, on SQLite."""
        select = f"SELECT {self._stored_columns('stored')}{self._joined(self._table)}"
        return f"{self._into_images} {select} AND NOT ({self._alike('stored')})"

    def imaging(self) -> str:
        """Keeps the stored rows of others with the keys of staged ones. On PostgreSQL nobody else changes them until
        the transaction ends, and it returns how many these are, the lowest and the highest number of their images."""
        select = f"SELECT {self._stored_columns('stored')}{self._joined(self._table)}"
        others = f" AND stored.{UPLOAD} <> {self._upload_id:d}"
        if self.is_sqlite:
            return f"{self._into_images} {select}{others}"
        order = ", ".join(f"stored.{name}" for name in self._key)
        locked = f"{select}{others} ORDER BY {order} FOR UPDATE OF stored"
        return self._counted(f"WITH replaced AS MATERIALIZED ({locked})", "SELECT * FROM replaced")

    def clearing(self, clearing: str) -> str:
        """Of a statement that deletes the stored rows which staged ones replace: keeps those of others, and returns as
        `imaging`, and how many it deleted before. PostgreSQL only."""
        gone = f"WITH gone AS ({clearing} RETURNING *)"
        if self._images is None:
            return f"{gone} SELECT (SELECT count(*) FROM gone), 0, NULL, NULL"
        kept = f"SELECT {self._stored_columns('gone')} FROM gone WHERE gone.{UPLOAD} <> {self._upload_id:d}"
        return self._counted(gone, kept, "(SELECT count(*) FROM gone), ")

    def range(self) -> str:
        """The lowest and the highest key of the staged rows. PostgreSQL only."""
        (key,) = self._key
        return f"SELECT min({key}), max({key}) FROM {self._name(self._staged)}"

    def counting_range(self, most: int) -> str:
        """How many stored rows, at most so many, have a key that is not below one value and not above another. They are
        the parameters. PostgreSQL only."""
        near = f"SELECT FROM {self._name(self._table)} AS stored WHERE {self._in_range} LIMIT {most:d}"
        return f"SELECT count(*) FROM ({near}) AS near"

    @property
    def _in_range(self) -> str:
        (key,) = self._key
        return f"stored.{key} >= %s AND stored.{key} <= %s"

    def replacing(self, *, ranged: bool = False) -> str:
        """Deletes the stored rows with the keys of staged ones, and keeps those of others, on PostgreSQL. Returns how
        many it deleted, how many of these needed to be compared first, because they are this upload's own or like the
        staged ones, how many were kept, and the lowest and the highest number of what was. Deletes nothing if a foreign
        key refers to the table or somebody put a trigger on it: to these, a replaced row must not look deleted. ranged:
        where few other rows are in the range of their keys, whose bounds are the parameters."""
        data, staged = self._name(self._table), self._name(self._staged)
        same_key = f"{self._same_key} AND {self._in_range}" if ranged else self._same_key
        returned = [] if self._images is None else [f"stored.{name}" for name in self._columns()]
        precarious = f"{self._alike('stored')} OR stored.{UPLOAD} = {self._upload_id:d}"
        gone = (
            f"WITH gone AS (DELETE FROM {data} AS stored USING {staged} AS staged WHERE {same_key}"
            f' AND {self._table.is_free} RETURNING {", ".join([*returned, precarious])} AS " precarious")'
        )
        counts = 'count(*), count(*) FILTER (WHERE " precarious")'
        if self._images is None:
            return f"{gone} SELECT {counts}, 0, NULL, NULL FROM gone"
        kept = f"SELECT {self._stored_columns('gone')} FROM gone"
        counted = ", ".join(f"(SELECT {each} FROM gone)" for each in counts.split(", "))
        return self._counted(gone, kept, f"{counted}, ")

    def sampling(self, one_in: int) -> str:
        """How many of some staged rows have their key in the table, and how many of these are like the stored row."""
        alike = f"CASE WHEN {self._alike('stored')} THEN 1 ELSE 0 END"
        some = f"staged.{NUMBER} % {one_in:d} = 0".replace("%", "%%")
        return f"SELECT count(*), coalesce(sum({alike}), 0){self._joined(self._table)} AND {some}"

    def newest_image(self) -> str:
        assert self._images is not None
        return f"SELECT coalesce(max({self._number}), 0) FROM {self._name(self._images)}"

    def inserting(self, on_conflict: str) -> str:
        """Writes the staged rows, in their order, on SQLite."""
        names = ", ".join(self._columns())
        return (
            f"INSERT INTO {self._name(self._table)} ({names}) SELECT {names} FROM {self._name(self._staged)}"
            f" WHERE {ALWAYS}{on_conflict}"
        )

    @property
    def _number(self) -> str:
        return self._table.identifier(IMAGE)

    @property
    def _by(self) -> str:
        return self._table.identifier(BY)

    @property
    def _into_images(self) -> str:
        assert self._images is not None
        names = ", ".join([*self._columns(), self._by])
        return f"INSERT INTO {self._name(self._images)} ({names})"

    def _stored_columns(self, alias: str) -> str:
        names = (f"{alias}.{name}" for name in self._columns())
        return f"{', '.join(names)}, CAST({self._upload_id:d} AS BIGINT)"

    def _counted(self, first: str, rows: str, more: str = "") -> str:
        number = self._number
        kept = f"kept AS ({self._into_images} {rows} RETURNING {number})"
        return f"{first}, {kept} SELECT {more}count(*), min({number}), max({number}) FROM kept"

    def _columns(self) -> list[str]:
        return list(map(self._table.identifier, self._table.columns))

    def _name(self, table: SqlTable) -> str:
        return table.identifier(table.name)

    def _joined(self, other: SqlTable, staged: SqlTable | None = None) -> str:
        """SQLite keeps the order of a cross join."""
        join = "CROSS JOIN" if self.is_sqlite else "JOIN"
        both = f"{self._name(staged or self._staged)} AS staged {join} {self._name(other)} AS stored"
        return f" FROM {both} ON {ALWAYS} WHERE {self._same_key}"

    @property
    def _same_key(self) -> str:
        return " AND ".join(f"stored.{name} = staged.{name}" for name in self._key)

    def _like_images(self) -> str:
        assert self._images is not None
        mine = f"stored.{self._by} = {self._upload_id:d}"
        is_own = self._present("stored", f"present.{UPLOAD} = {self._upload_id:d}")
        return f"{self._joined(self._images)} AND {mine} AND {self._alike('stored')} AND {is_own}"

    def _present(self, alias: str, condition: str) -> str:
        """Whether the row that has the key of another one now is as it should be."""
        same = " AND ".join(f"present.{name} = {alias}.{name}" for name in self._key)
        return f"EXISTS (SELECT 1 FROM {self._name(self._table)} AS present WHERE {same} AND {condition})"

    def _unstaging(self, other: SqlTable | None, condition: str) -> str:
        assert other is not None
        staged = self._name(self._staged)
        same = " AND ".join(f"stored.{name} = {staged}.{name}" for name in self._key)
        alike = self._alike("stored", staged)
        return (
            f"DELETE FROM {staged} WHERE EXISTS (SELECT 1 FROM {self._name(other)} AS stored"
            f" WHERE {same} AND {condition} AND {alike})"
        )

    def _alike(self, one: str, other: str = "staged") -> str:
        if not self._filled:
            return ALWAYS
        sign = "IS" if self.is_sqlite else "IS NOT DISTINCT FROM"
        return every([f"{one}.{name} {sign} {other}.{name}" for name in self._filled])
