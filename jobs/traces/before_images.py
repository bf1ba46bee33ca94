"""Before-images: the rows of a dataset as they were before uploads replaced or removed them.

Each dataset has a table `before_<name>` beside `data_<name>` as soon as an upload that may replace rows begins. It has
the columns of the dataset's table, in which the image is the row as it was, with the upload and row number that wrote
it, between two more, whose names no field can have: IMAGE, the number of the image, which grows, and BY, the upload
that replaced or removed the row. An image is written in the transaction that replaces its row. No row has two images
by the same upload: what an upload itself wrote, it replaces without one. There is an index of the dataset's key, and of
no key: of upload and row number.

An upload that replaces all rows of its dataset keeps the former table itself instead, as `replaced_<upload>`, with the
columns of the dataset's: all of its rows are images by that upload.

So the versions of a row are the present one and its images. A version is known by its origin, upload and row number;
`write_order` tells which is newer, and `unchanged_rows` which other uploads vouch for one. An image stays when its row
is restored, until `prune` removes the images of the upload that made them, some days after its end. The record of an
upload in `kept_images` tells how many rows it replaced, and whether their images are there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from jobs.database import utc_now
from jobs.rows.sql_table import Columns, SqlTable, quoted, run
from jobs.schema import OWN_COLUMNS
from jobs.tables import SOMETHING_IS_KEPT, kept_images, unchanged_rows, uploads, write_order

if TYPE_CHECKING:
    from jobs.datasets import Dataset

#: The columns that an image has on top. No field can have such a name: they begin with a space.
IMAGE, BY = " image", " by"
#: Images that one transaction removes.
PRUNED_AT_ONCE = 20_000


class Lost(StrEnum):
    """Why the rows that an upload replaced are not kept."""

    OFF = "off"  # the settings say that none are kept
    OLD = "old"  # the days are over
    CHANGED = "changed"  # somebody changed the columns or the key, so that the rows do not fit the dataset any more


@dataclass(frozen=True)
class Kept:
    """What became of the rows of others that an upload replaced or removed. replaced: how many. first, last: numbers of
    its images in the dataset's table of images, among which there may be images by others; None: it has none there.
    is_table: the former table of the dataset is kept. lost: why the rows are not kept; None: they are."""

    upload_id: int
    dataset: str
    replaced: int
    first: int | None
    last: int | None
    is_table: bool
    at: datetime
    lost: Lost | None

    @classmethod
    def from_row(cls, row: sa.Row[Any]) -> "Kept":
        values = row._asdict()
        return cls(**{**values, "lost": values["lost"] and Lost(values["lost"])})

    @property
    def table_name(self) -> str | None:
        """Of the former table of the dataset, if that is kept."""
        return replaced_name(self.upload_id) if self.is_table else None


@dataclass(frozen=True)
class Version:
    """A row as it was. upload_id, row_number: its origin. by: who replaced or removed it. values: of the fields, as
    stored. image: its number; None: it is in a table that was replaced as a whole."""

    upload_id: int
    row_number: int
    by: int
    values: list[Any]
    image: int | None


def table(dialect: sa.Dialect, dataset: "Dataset") -> SqlTable:
    """The table of images of a dataset. Its key is the number of the image."""
    data = dataset.table(dialect)
    columns: Columns = {IMAGE: sa.BigInteger(), **data.columns, BY: sa.BigInteger()}
    return SqlTable(dialect, images_name(dataset.name), columns, key=[IMAGE])


def replaced_table(dialect: sa.Dialect, dataset: "Dataset", upload_id: int) -> SqlTable:
    """The table that an upload replaced as a whole."""
    return dataset.table(dialect, replaced_name(upload_id))


def images_name(dataset: str) -> str:
    return f"before_{dataset}"


def replaced_name(upload_id: int) -> str:
    return f"replaced_{upload_id:d}"


def exist(connection: sa.Connection, dataset: str) -> bool:
    """Whether the dataset has a table of images."""
    return _has_table(connection, images_name(dataset))


def make_table(connection: sa.Connection, dataset: "Dataset") -> None:
    """Create the table of images, unless it exists."""
    if connection.dialect.name == "postgresql":  # two uploads may begin at once; on SQLite one of them waits
        lock = sa.func.pg_advisory_xact_lock(sa.func.hashtext(images_name(dataset.name)))
        connection.execute(sa.select(lock))
    if exist(connection, dataset.name):
        return
    images = table(connection.dialect, dataset)
    number = "INTEGER PRIMARY KEY" if images.is_sqlite else "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    columns = [f"{images.identifier(IMAGE)} {number}"]
    for name, kind in list(images.columns.items())[1:]:
        required = " NOT NULL" if name in (*OWN_COLUMNS, BY) else ""
        columns.append(f"{images.identifier(name)} {kind.compile(dialect=connection.dialect)}{required}")
    run(connection, f"CREATE TABLE {images.identifier(images.name)} ({', '.join(columns)})")
    key = ", ".join(map(images.identifier, dataset.table(connection.dialect).key))
    index = images.identifier(f"{images.name}_key")
    run(connection, f"CREATE INDEX {index} ON {images.identifier(images.name)} ({key})")


def of(connection: sa.Connection, upload_id: int) -> Kept | None:
    """None: the upload replaced no row of others, or an earlier release imported it."""
    return next(iter(of_many(connection, [upload_id])), None)


def of_many(connection: sa.Connection, upload_ids: Iterable[int]) -> list[Kept]:
    """Of those of some uploads that have a record, by their numbers."""
    chosen = sa.select(kept_images).where(kept_images.c.upload_id.in_(set(upload_ids)))
    return [Kept.from_row(row) for row in connection.execute(chosen.order_by(kept_images.c.upload_id))]


def of_dataset(connection: sa.Connection, dataset: str) -> list[Kept]:
    """Of all uploads into a dataset, by their numbers."""
    chosen = sa.select(kept_images).where(kept_images.c.dataset == dataset).order_by(kept_images.c.upload_id)
    return [Kept.from_row(row) for row in connection.execute(chosen)]


def record(
    connection: sa.Connection,
    upload_id: int,
    dataset: str,
    *,
    replaced: int,
    images: tuple[int, int] | None,
    is_table: bool = False,
    lost: Lost | None = None,
) -> None:
    """Add to the record of an upload, in the transaction that replaced or removed rows. replaced: how many. images:
    the lowest and the highest number of their images. is_table: the dataset's former table is kept."""
    first, last = images or (None, None)
    known = kept_images.c
    fresh: Mapping[str, Any] = {
        "upload_id": upload_id, "dataset": dataset, "replaced": replaced, "first": first, "last": last,
        "is_table": is_table, "at": utc_now(), "lost": lost,
    }  # fmt: skip
    more = {
        "replaced": known.replaced + replaced,
        "first": sa.func.coalesce(known.first, sa.literal(first, sa.BigInteger)),
        "last": sa.func.coalesce(sa.literal(last, sa.BigInteger), known.last),
        "is_table": sa.or_(known.is_table, sa.literal(is_table)),
        "at": utc_now(),
        "lost": sa.func.coalesce(known.lost, sa.literal(lost, sa.Text)),
    }
    updated = connection.execute(
        sa.update(kept_images).where(known.upload_id == upload_id).values(more).returning(known.upload_id)
    )
    if updated.one_or_none() is None:
        connection.execute(sa.insert(kept_images).values(fresh))


def keep_longer(connection: sa.Connection, upload_id: int) -> None:
    """Count the days of an upload's images from now on: somebody undid it, so that rows of later uploads may still go
    back to what it had replaced."""
    connection.execute(sa.update(kept_images).where(kept_images.c.upload_id == upload_id).values(at=utc_now()))


def versions(connection: sa.Connection, dataset: "Dataset", key: Sequence[Any]) -> list[Version]:
    """The images of the row with a certain key (datasets.key_values), in no order; of a row without any, none. A row
    that was restored and replaced again has several images with the same origin."""
    dialect = connection.dialect
    found = []
    if exist(connection, dataset.name):
        images = table(dialect, dataset)
        where = _key_equals(dataset.table(dialect), images)
        names = ", ".join(map(images.identifier, images.columns))
        statement = f"SELECT {names} FROM {images.identifier(images.name)} WHERE {where}"
        for image, upload_id, number, *values, by in map(tuple, run(connection, statement, *key)):
            found.append(Version(upload_id, number, by, values, image))
    for kept in of_dataset(connection, dataset.name):
        if kept.is_table and kept.lost is None:
            for upload_id, number, *values in map(
                tuple, run(connection, replaced_table(dialect, dataset, kept.upload_id).row(), *key)
            ):
                found.append(Version(upload_id, number, kept.upload_id, values, None))
    return found


def origins(
    connection: sa.Connection, dataset: "Dataset", key: Sequence[Any], *, limit: int
) -> Iterator[tuple[SqlTable, int, int, int, int | None]]:
    """The images of the row with a certain key, without their values: table, upload and row number that wrote it, who
    replaced or removed it, and its number; None: it is in a table that was replaced as a whole. limit: of those with
    numbers, the newest."""
    dialect = connection.dialect
    upload_id, number = OWN_COLUMNS
    if exist(connection, dataset.name):
        images = table(dialect, dataset)
        names = ", ".join(map(images.identifier, (upload_id, number, BY, IMAGE)))
        statement = (
            f"SELECT {names} FROM {images.identifier(images.name)} WHERE {_key_equals(dataset.table(dialect), images)}"
            f" ORDER BY {images.identifier(IMAGE)} DESC LIMIT {limit:d}"
        )
        for origin_id, origin_number, by, image in map(tuple, run(connection, statement, *key).all()):
            yield images, origin_id, origin_number, by, image
    for kept in of_dataset(connection, dataset.name):
        if kept.is_table and kept.lost is None:
            replaced = replaced_table(dialect, dataset, kept.upload_id)
            for origin_id, origin_number, *_ in map(tuple, run(connection, replaced.row(), *key).all()):
                yield replaced, origin_id, origin_number, kept.upload_id, None


def _key_equals(data: SqlTable, images: SqlTable) -> str:
    mark = "?" if data.is_sqlite else "%s"
    kinds = {name: kind.compile(dialect=data._dialect) for name, kind in data.columns.items()}
    return " AND ".join(
        f"{images.identifier(name)} = {mark}{'' if data.is_sqlite else f'::{kinds[name]}'}" for name in data.key
    )


def tables(connection: sa.Connection, dataset: "Dataset") -> Iterator[SqlTable]:
    """All tables with images of a dataset, as they are now."""
    if exist(connection, dataset.name):
        yield table(connection.dialect, dataset)
    for kept in of_dataset(connection, dataset.name):
        if kept.is_table and kept.lost is None:
            yield replaced_table(connection.dialect, dataset, kept.upload_id)


def replacers(connection: sa.Connection, dataset: "Dataset", upload_id: int) -> list[int]:
    """The uploads of which images are kept that an upload wrote."""
    found: set[int] = set()
    for kept in of_dataset(connection, dataset.name):
        if kept.is_table and kept.lost is None and kept.replaced:
            former = replaced_table(connection.dialect, dataset, kept.upload_id)
            if run(connection, f"SELECT 1{_from(former, upload_id)} LIMIT 1").first() is not None:
                found.add(kept.upload_id)
    if exist(connection, dataset.name):
        images = table(connection.dialect, dataset)
        statement = f"SELECT DISTINCT {images.identifier(BY)}{_from(images, upload_id)}"
        found.update(map(int, run(connection, statement).scalars()))
    return sorted(found)


def _from(images: SqlTable, upload_id: int) -> str:
    return f" FROM {images.identifier(images.name)} WHERE {images.identifier(OWN_COLUMNS[0])} = {upload_id:d}"


def add_columns(connection: sa.Connection, after: "Dataset", names: Sequence[str]) -> None:
    """Add columns that the dataset has got. after: as it is then."""
    for each in tables(connection, after):
        for name in names:
            kind = each.columns[name].compile(dialect=connection.dialect)
            column = f"{each.identifier(name)} {kind}"  # an image is not unique
            run(connection, f"ALTER TABLE {each.identifier(each.name)} ADD COLUMN {column}")


def rename_column(connection: sa.Connection, dataset: "Dataset", before: str, after: str) -> None:
    """dataset: before or after its own column was renamed."""
    for each in tables(connection, dataset):
        run(connection, each.column_renaming(before, after))


def drop_column(connection: sa.Connection, before: "Dataset", after: "Dataset", name: str) -> None:
    """Drop a column as the dataset did."""
    is_unique = before.table(connection.dialect).is_unique(name)
    for each in list(tables(connection, before)):
        if each.is_sqlite and is_unique and each.name != images_name(before.name):
            each.rebuild(connection, after.table(connection.dialect, each.name))
        else:
            run(connection, each.column_dropping(name))


def give_up(connection: sa.Connection, dataset: "Dataset", why: Lost = Lost.CHANGED) -> None:
    """Remove all images of a dataset, because they do not fit it any more."""
    _drop_tables(connection, dataset.name)
    lost = sa.update(kept_images).where(kept_images.c.dataset == dataset.name, kept_images.c.lost.is_(None))
    connection.execute(lost.values(lost=why, first=None, last=None, is_table=False))


def remove(connection: sa.Connection, dataset: str) -> None:
    """Remove everything that is kept of a dataset that is deleted."""
    _drop_tables(connection, dataset)
    into = sa.select(uploads.c.id).where(uploads.c.dataset == dataset)
    for records in (unchanged_rows, write_order):
        connection.execute(sa.delete(records).where(records.c.upload_id.in_(into)))
    connection.execute(sa.delete(kept_images).where(kept_images.c.dataset == dataset))


def _drop_tables(connection: sa.Connection, dataset: str) -> None:
    names = [images_name(dataset), *(each.table_name for each in of_dataset(connection, dataset) if each.is_table)]
    for name in names:
        run(connection, f"DROP TABLE IF EXISTS {quoted(name or '')}")


def expired(connection: sa.Connection, days: float) -> list[Kept]:
    """Records of images that are older than some days, the oldest first. days: 0 for all."""
    old = (kept_images.c.at <= utc_now(-86_400 * days)) & SOMETHING_IS_KEPT
    return [Kept.from_row(row) for row in connection.execute(sa.select(kept_images).where(old).order_by("at"))]


def prune(connection: sa.Connection, kept: Kept, *, limit: int = PRUNED_AT_ONCE) -> bool:
    """Remove some images of an upload, so that it cannot be undone any more. Returns whether there may be others."""
    if kept.is_table:
        run(connection, f"DROP TABLE IF EXISTS {quoted(replaced_name(kept.upload_id))}")
    rest: int | None = None
    if kept.first is not None and kept.last is not None and exist(connection, kept.dataset):
        until = min(kept.first + limit - 1, kept.last)
        name, image, by = (quoted(each) for each in (images_name(kept.dataset), IMAGE, BY))
        bounds = f"{image} BETWEEN {kept.first:d} AND {until:d} AND {by} = {kept.upload_id:d}"
        run(connection, f"DELETE FROM {name} WHERE {bounds}")
        rest = until + 1 if until < kept.last else None
    values = {"first": rest, "is_table": False, "lost": Lost.OLD} | ({} if rest else {"last": None})
    connection.execute(sa.update(kept_images).where(kept_images.c.upload_id == kept.upload_id).values(values))
    return rest is not None


def _has_table(connection: sa.Connection, name: str) -> bool:
    if connection.dialect.name == "sqlite":
        query = sa.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name")
    else:
        query = sa.text("SELECT 1 FROM pg_tables WHERE schemaname = ANY(current_schemas(false)) AND tablename = :name")
    return connection.execute(query, {"name": name}).one_or_none() is not None
