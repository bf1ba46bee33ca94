"""Which version of a row counts, once some uploads are undone and others are in effect again.

The versions of a row are the present one and its images (before_images.py); each is known by its origin, the upload and
the row number that wrote it. The upload that wrote a version vouches for it, and so does each upload that found it
unchanged. Of the versions for which an upload vouches that is in effect, the one counts for which one did so last, by
the stamps of write_order.py. An upload that replaced all rows of the dataset ends all versions for which nobody vouched
since. Without a version that counts, the row is not in the dataset.

So what an undo changes follows from the records alone: whoever begins again after an interruption finds what is left.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from jobs.database import Database
from jobs.datasets import Dataset
from jobs.modes import Mode
from jobs.rows.sql_table import SqlTable, run
from jobs.schema import OWN_COLUMNS
from jobs.tables import unchanged_rows as unchanged_records
from jobs.tables import uploads as records
from jobs.tables import write_order as stamps
from jobs.traces import before_images, unchanged_rows, write_order
from jobs.traces.before_images import BY, IMAGE
from jobs.undo.orders import Effect, Preview
from jobs.uploads import Status, Upload

T = TypeVar("T")

#: The values of the key of a row.
Key = tuple[Any, ...]
#: Keys that one statement names, as parameters and as literals.
_BATCH, _LITERALS = 500, 2_500
#: Rows that are looked at together, at least and at most, and cells of them.
LEAST_ROWS, CHUNK_ROWS, CHUNK_CELLS = 100, 5_000, 200_000

#: A condition that no row has.
NEVER = "1 = 0"

_UPLOAD_ID, _ROW_NUMBER = OWN_COLUMNS


class Origin(NamedTuple):
    """Where a version came from."""

    upload_id: int
    row_number: int


class Image(NamedTuple):
    """Where the values of a version are that is not the present one. table: which of the tables of images. number: in
    that of the dataset; 0 in one that was replaced as a whole."""

    table: int
    number: int


class Outcome(StrEnum):
    REMOVE = "remove"  # the row goes
    RESTORE = "restore"  # it gets other values, or comes back
    KEEP = "keep"  # it stays as it is
    GONE = "gone"  # it is not there, and stays away


@dataclass(frozen=True)
class Decision:
    """What becomes of a row. present: the origin of its present version; None: it is not there. image: the version that
    is restored. upload_id: of a row that stays, the upload because of which; of one that is restored, the one that
    vouches for it. is_concerned: whether one of the uploads wrote it that are undone or in effect again."""

    key: Key
    outcome: Outcome
    present: Origin | None
    image: Image | None = None
    upload_id: int = 0
    is_concerned: bool = True

    @property
    def is_change(self) -> bool:
        return self.outcome in (Outcome.REMOVE, Outcome.RESTORE)


@dataclass(frozen=True)
class Changed:
    """Rows that were changed. added: of the restored ones, those that were not there. images: the numbers of the images
    that were made of what was there, the lowest and the highest; None: there are none."""

    removed: int = 0
    restored: int = 0
    added: int = 0
    images: tuple[int, int] | None = None

    @property
    def imaged(self) -> int:
        return self.removed + self.restored - self.added


class Versions:
    """The rows of a dataset as they become through an undo."""

    def __init__(
        self, connection: sa.Connection, dataset: Dataset, effect: Effect, *, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        """chunk_rows: that are looked at together, if the dataset has few columns."""
        self._chunk_rows = chunk_rows
        self._dataset = dataset
        self._effect = effect
        self._table = dataset.table(connection.dialect)
        self._key = self._table.key
        self._images = list(before_images.tables(connection, dataset))
        self._unique = [
            each.name for each in dataset.schema.fields if each.constraints.unique and [each.name] != self._key
        ]
        self._stamps: dict[int, tuple[list[int], list[int]]] = {}
        self._has_finders: dict[int, bool] = {}
        self._floor = self._floor_of(connection)
        self._written = effect.newly_dead | effect.revived
        replacing = self._replacing(connection)
        #: Which rows may change: all of them, or those of some origins.
        self._present = _Origins.of(connection, effect.newly_dead, is_all=bool(effect.revived & replacing))
        self._former = _Origins.of(connection, effect.revived, is_all=bool(effect.newly_dead & replacing))
        #: Of a dataset with unique fields, the rows that this has changed so far, and the values that they have now: of
        #: a preview, which the table does not tell.
        self._foreseen: set[Key] = set()
        self._taken: dict[tuple[str, Any], int] = {}

    @property
    def chunk_rows(self) -> int:
        return max(LEAST_ROWS, min(CHUNK_ROWS, self._chunk_rows, CHUNK_CELLS // len(self._table.columns)))

    def rows_left(self, connection: sa.Connection, undoes: Sequence[int]) -> int:
        """About how many rows there are to change, not fewer."""
        where = self._present.condition(self._table)
        statement = f"SELECT count(*) FROM {self._table.identifier(self._table.name)} WHERE {where}"
        present = int(run(connection, statement).scalar_one())
        kept = before_images.of_many(connection, [*undoes, *self._effect.newly_dead])
        is_back = self._effect.revived or self._former.is_all
        return present + (sum(each.replaced for each in kept) if is_back else 0)

    def changes(self, database: Database, tick: Callable[[], None]) -> Iterator[list[Decision]]:
        """The rows that change, a chunk of them at a time. The caller changes them before it asks for more. tick: is
        called now and then."""
        for decided in chain(self._of_present(database), self._of_former(database, self._former)):
            tick()
            if changes := [each for each in decided if each.is_change]:
                yield changes

    def preview(
        self, database: Database, undone: Sequence[Upload], repairs: Sequence[int], tick: Callable[[], None]
    ) -> Preview:
        """What would change. undone: the uploads that are not in effect then. repairs: see Preview."""
        certain, removed = self._certainly_removed(database)
        back, restored = self._certainly_restored(database)
        counts = dict.fromkeys(Outcome, 0) | {Outcome.REMOVE: removed, Outcome.RESTORE: restored}
        keep: Counter[int] = Counter()
        present, there = removed, removed + restored

        def count(decided: Iterable[Decision]) -> None:
            nonlocal there
            for each in decided:
                there += each.is_concerned and each.outcome is not Outcome.GONE
                if each.is_change or each.is_concerned:
                    counts[each.outcome] += 1
                    keep[each.upload_id] += each.outcome is Outcome.KEEP
            tick()

        tick()
        for decided in self._of_present(database, is_preview=True, but=certain):
            count(decided)
            present += sum(each.present is not None and each.present.upload_id in self._written for each in decided)
        written = sum(each.rows_success - (each.rows_unchanged or 0) for each in undone if not each.is_undo)
        former = self._former
        if not former.is_all and present < written:  # some of their rows were replaced or removed since
            former = replace(former, uploads=former.uploads | self._effect.newly_dead)
        for decided in self._of_former(database, former, is_preview=True, but=back):
            count(decided)
        # Nobody keeps what was removed in another way, but how many rows there were is known.
        gone = counts[Outcome.GONE]
        if not self._effect.revived:
            missing = self._rows_written(database, undone) - there
            if missing > gone:
                gone = max(gone, missing - self._rows_rewritten(database, undone))
        return Preview(counts[Outcome.REMOVE], counts[Outcome.RESTORE], +keep, gone, tuple(repairs))

    def _certainly_removed(self, database: Database) -> tuple[str, int]:
        """A condition of rows of which it is known without a look at each that they go: they have one version, by an
        upload that will be undone, which nobody else found. And how many there are."""
        with database.reading() as connection:
            alone = [each for each in sorted(self._effect.newly_dead) if not self._is_found(connection, each)]
            if self._unique or not alone:  # a row that goes makes room for a unique value
                return NEVER, 0
            return self._counted(connection, self._table, alone, self._images)

    def _certainly_restored(self, database: Database) -> tuple[str, int]:
        """Likewise of images in the dataset's own table of them whose rows come back: these are not there, and have one
        version, by an upload that will be in effect again, which nobody else found."""
        images = next((each for each in self._images if IMAGE in each.columns), None)
        if self._unique or images is None or self._former.is_all:
            return NEVER, 0
        with database.reading() as connection:
            alone = [
                each
                for each in sorted(self._effect.revived)
                if not self._is_found(connection, each) and self._first_stamp(connection, each) >= self._floor
            ]
            if not alone:
                return NEVER, 0
            others = [self._table, *(each for each in self._images if each is not images)]
            return self._counted(connection, images, alone, others)

    def _counted(
        self, connection: sa.Connection, table: SqlTable, upload_ids: Sequence[int], others: Sequence[SqlTable]
    ) -> tuple[str, int]:
        """A condition of the rows of a table that some uploads wrote, and whose key no other row has, there or in
        others; and how many there are."""
        identifier = table.identifier
        name, keys = identifier(table.name), [identifier(each) for each in self._key]
        conditions = [f"{name}.{identifier(_UPLOAD_ID)} IN ({', '.join(f'{each:d}' for each in upload_ids)})"]
        for other in (identifier(each.name) for each in others):
            same = " AND ".join(f"{other}.{key} = {name}.{key}" for key in keys)
            conditions.append(f"NOT EXISTS (SELECT 1 FROM {other} WHERE {same})")
        if IMAGE in table.columns:
            same = " AND ".join(f"again.{key} = {name}.{key}" for key in keys)
            number = identifier(IMAGE)
            is_another = f"again.{number} <> {name}.{number}"
            conditions.append(f"NOT EXISTS (SELECT 1 FROM {name} AS again WHERE {same} AND {is_another})")
        condition = " AND ".join(conditions)
        return condition, int(run(connection, f"SELECT count(*) FROM {name} WHERE {condition}").scalar_one())

    @staticmethod
    def _rows_written(database: Database, undone: Sequence[Upload]) -> int:
        """How many rows some uploads added, or wrote in place of rows of others."""
        with database.reading() as connection:
            kept = {each.upload_id: each for each in before_images.of_many(connection, [each.id for each in undone])}
        written = 0
        for each in undone:
            written += each.rows_success if each.rows_added is None else each.rows_added
            if each.mode is Mode.UPSERT and each.id in kept:
                written += kept[each.id].replaced
        return written

    def _rows_rewritten(self, database: Database, undone: Sequence[Upload]) -> int:
        """How many of the rows that some uploads wrote in place of others one of them had written before."""
        images = next((each for each in self._images if IMAGE in each.columns), None)
        if images is None:
            return 0
        name, image, upload_id, by = map(images.identifier, (images.name, IMAGE, _UPLOAD_ID, BY))
        same = " AND ".join(f"earlier.{key} = later.{key}" for key in map(images.identifier, self._key))
        ids = ", ".join(str(int(each.id)) for each in undone)
        statement = (
            f"SELECT count(*) FROM {name} AS later WHERE later.{by} IN ({ids}) AND EXISTS (SELECT 1 FROM {name}"
            f" AS earlier WHERE {same} AND earlier.{image} <= later.{image} AND earlier.{upload_id} IN ({ids}))"
        )
        with database.reading() as connection:
            return int(run(connection, statement).scalar_one())

    def _of_present(
        self, database: Database, *, is_preview: bool = False, but: str = NEVER
    ) -> Iterator[list[Decision]]:
        """What becomes of the present rows that may change. but: a condition of those to leave out."""
        after: Key = ()
        while True:
            with database.reading() as connection:
                page = self._page(connection, self._table, self._present, after, but)
                present = {key: origin for key, origin, _ in page}
                decided = self._settled(connection, self._decide(connection, present, present), is_preview=is_preview)
            yield decided
            if len(page) < self.chunk_rows:
                return
            after = page[-1][0]

    def _of_former(
        self, database: Database, former: "_Origins", *, is_preview: bool = False, but: str = NEVER
    ) -> Iterator[list[Decision]]:
        """What becomes of the other rows that have images of certain origins, each of them once. but: a condition of
        those images to leave out that are in the dataset's own table."""
        if former.is_empty:
            return
        for place, table in enumerate(self._images):
            after: Key = ()
            while True:
                with database.reading() as connection:
                    page = self._page(connection, table, former, after, but if IMAGE in table.columns else NEVER)
                    keys, present = self._first_seen(connection, page, place, former)
                    decided = self._settled(connection, self._decide(connection, keys, present), is_preview=is_preview)
                yield decided
                if len(page) < self.chunk_rows:
                    break
                after = (page[-1][2],) if IMAGE in table.columns else page[-1][0]

    def _page(
        self, connection: sa.Connection, table: SqlTable, origins: "_Origins", after: Key, but: str = NEVER
    ) -> list[tuple[Key, Origin, int]]:
        """Rows of some origins in the order of the table's key, after one: key of the row, origin, number of image.
        but: a condition of those to leave out."""
        if origins.is_empty:
            return []
        has_numbers = IMAGE in table.columns
        order = [IMAGE] if has_numbers else self._key
        names = [*self._key, *OWN_COLUMNS, *([IMAGE] if has_numbers else [])]
        beyond = f" AND ({self._list(order)}) > ({self._parameters(table, order)})" if after else ""
        condition = origins.condition(table, may_use_index=False)
        statement = (
            f"SELECT {self._list(names)} FROM {table.identifier(table.name)} WHERE ({condition}){beyond}"
            f" AND NOT ({but}) ORDER BY {self._list(order)} LIMIT {self.chunk_rows:d}"
        )
        width = len(self._key)
        return [
            (row[:width], Origin(*row[width : width + 2]), row[-1] if has_numbers else 0)
            for row in _rows(connection, statement, after)
        ]

    def _first_seen(
        self, connection: sa.Connection, page: Sequence[tuple[Key, Origin, int]], place: int, origins: "_Origins"
    ) -> tuple[list[Key], dict[Key, Origin]]:
        """The keys of images, without those that were looked at before: as rows that are there, or by an earlier
        image. And the rows with such keys that are there."""
        here = {key: Image(place, number) for key, _, number in reversed(page)}
        present = self._present_of(connection, list(here))
        first: dict[Key, Image] = {}
        for key, origin, image in self._images_of(connection, list(here)):
            if origin in origins:
                first[key] = min(image, first.get(key, image))
        keys = [
            key
            for key, image in here.items()
            if first.get(key, image) == image and not (key in present and present[key] in self._present)
        ]
        return keys, present

    def _decide(
        self, connection: sa.Connection, keys: Iterable[Key], present: Mapping[Key, Origin]
    ) -> dict[Key, Decision]:
        """Which version of each row counts. present: the origins of those that are there, among others perhaps."""
        keys = [key for key in keys if key not in self._foreseen]
        versions: dict[Key, dict[Origin, Image | None]] = {key: {} for key in keys}
        for key, origin, image in self._images_of(connection, keys):
            known = versions[key].get(origin)
            versions[key][origin] = image if known is None else min(known, image)
        for key in keys:
            if key in present:
                versions[key][present[key]] = None
        vouchers = self._vouchers(connection, {origin for each in versions.values() for origin in each})
        decisions = {}
        for key, known_versions in versions.items():
            best = max(
                (
                    (vouched, origin, image)
                    for origin, image in known_versions.items()
                    if (vouched := vouchers.get(origin)) is not None
                ),
                key=lambda each: each[0],
                default=None,
            )
            is_concerned = any(origin.upload_id in self._written for origin in known_versions)
            decisions[key] = _decision(key, present.get(key), best, is_concerned=is_concerned)
        return decisions

    def _vouchers(self, connection: sa.Connection, origins: Collection[Origin]) -> dict[Origin, tuple[int, int, int]]:
        """Of the versions for which somebody vouches that is in effect, who did last: stamp, upload and row number."""
        found: dict[Origin, tuple[int, int, int]] = {}
        numbers: defaultdict[int, list[int]] = defaultdict(list)
        for origin in origins:
            numbers[origin.upload_id].append(origin.row_number)

        def vouch(origin: Origin, upload_id: int, number: int) -> None:
            stamp = self._stamp_of(connection, upload_id, number)
            if upload_id not in self._effect.dead and stamp >= self._floor:
                found[origin] = max(found.get(origin, (0, 0, 0)), (stamp, upload_id, number))

        for owner_id, rows in numbers.items():
            for number in rows:
                vouch(Origin(owner_id, number), owner_id, number)
            if self._is_found(connection, owner_id):
                for number, finders in unchanged_rows.finders(connection, owner_id, rows).items():
                    for upload_id, place in finders:
                        vouch(Origin(owner_id, number), upload_id, place)
        return found

    def _is_found(self, connection: sa.Connection, owner_id: int) -> bool:
        """Whether any upload found rows of this one unchanged."""
        if owner_id not in self._has_finders:
            any_of_it = sa.exists().where(unchanged_records.c.owner_id == owner_id)
            self._has_finders[owner_id] = bool(connection.scalar(sa.select(any_of_it)))
        return self._has_finders[owner_id]

    def _stamp_of(self, connection: sa.Connection, upload_id: int, number: int) -> int:
        if upload_id not in self._stamps:
            columns = stamps.c
            of_upload = sa.select(columns.first, columns.stamp).where(columns.upload_id == upload_id)
            found = connection.execute(of_upload.order_by(columns.first)).all()
            self._stamps[upload_id] = [row[0] for row in found], [row[1] for row in found]
        first, stamp = self._stamps[upload_id]
        place = bisect.bisect(first, number)
        return stamp[place - 1] if place else write_order.NO_STAMP

    def _first_stamp(self, connection: sa.Connection, upload_id: int) -> int:
        """The lowest stamp of the rows of an upload."""
        first = self._stamp_of(connection, upload_id, 1)
        return min([first, *self._stamps[upload_id][1]])

    def _replacing(self, connection: sa.Connection) -> set[int]:
        """The uploads that replaced all rows of the dataset."""
        columns = records.c
        replaced_all = (columns.mode == Mode.REPLACE) & (columns.status == Status.COMPLETED)
        of_dataset = sa.select(columns.id).where(columns.dataset == self._dataset.name, replaced_all)
        return set(connection.scalars(of_dataset))

    def _floor_of(self, connection: sa.Connection) -> int:
        """The stamp from which on a version counts."""
        in_effect = self._replacing(connection) - self._effect.dead
        found = (write_order.last_stamp(connection, each) for each in in_effect)
        return max((each for each in found if each is not None), default=write_order.NO_STAMP)

    # Fields whose values are unique ---------------------------------------------------------------------------------

    def _settled(
        self, connection: sa.Connection, decided: Mapping[Key, Decision], *, is_preview: bool
    ) -> list[Decision]:
        """The decisions, without restoring a row whose unique value another row has. The holder of such a value that
        changes too is taken into the same chunk."""
        if not self._unique:
            return list(decided.values())
        settled = dict(decided)
        values: dict[Key, list[tuple[str, Any]]] = {}
        holders: dict[tuple[str, Any], tuple[Key, Origin]] = {}
        new = [each for each in settled.values() if each.outcome is Outcome.RESTORE]
        while new:
            found = self._values_of(connection, new)
            values |= found
            held = self._holders(connection, {pair for pairs in found.values() for pair in pairs})
            holders |= held
            others = {key: origin for key, origin in held.values() if key not in settled}
            found_there = self._decide(connection, sorted(others, key=repr), others)
            pulled = {key: each for key, each in found_there.items() if each.is_change}
            settled |= pulled
            new = [each for each in pulled.values() if each.outcome is Outcome.RESTORE]
        self._give_way(settled, values, holders, pulled_in=settled.keys() - decided.keys())
        if is_preview:
            for key, each in settled.items():
                if each.is_change:
                    self._foreseen.add(key)
                    self._taken |= dict.fromkeys(values.get(key, ()), each.upload_id)
        return list(settled.values())

    def _give_way(
        self,
        settled: dict[Key, Decision],
        values: Mapping[Key, Sequence[tuple[str, Any]]],
        holders: Mapping[tuple[str, Any], tuple[Key, Origin]],
        *,
        pulled_in: Collection[Key],
    ) -> None:
        """Keep the rows whose restored version would have a value that another row has then."""
        while True:
            taken = dict(self._taken)
            for pair, (key, origin) in holders.items():
                if not (key in settled and settled[key].is_change):
                    taken[pair] = origin.upload_id
            kept = {}
            for key in values:
                if settled.get(key) is None or settled[key].outcome is not Outcome.RESTORE:
                    continue
                pairs = values[key]
                if (other := next((taken[pair] for pair in pairs if pair in taken), None)) is not None:
                    kept[key] = replace(settled[key], outcome=Outcome.KEEP, image=None, upload_id=other)
                else:
                    taken |= dict.fromkeys(pairs, settled[key].upload_id)
            if not kept:
                return
            for key, each in kept.items():
                if key in pulled_in:
                    del settled[key]
                else:
                    settled[key] = each

    def _values_of(self, connection: sa.Connection, restored: Sequence[Decision]) -> dict[Key, list[tuple[str, Any]]]:
        """The unique values of the versions that are restored."""
        found: dict[Key, list[tuple[str, Any]]] = {}
        width = len(self._key)
        for table, where, parameters in self._chosen(restored):
            statement = (
                f"SELECT {self._list([*self._key, *self._unique])} FROM {table.identifier(table.name)} WHERE {where}"
            )
            for row in _rows(connection, statement, parameters):
                pairs = zip(self._unique, row[width:], strict=True)
                found[row[:width]] = [(name, value) for name, value in pairs if value is not None]
        return found

    def _holders(
        self, connection: sa.Connection, pairs: Collection[tuple[str, Any]]
    ) -> dict[tuple[str, Any], tuple[Key, Origin]]:
        """The rows that have some unique values now."""
        found = {}
        table, width = self._table, len(self._key)
        for name in self._unique:
            wanted = [(value,) for field, value in pairs if field == name]
            for where, parameters in self._among(table, [name], wanted):
                statement = (
                    f"SELECT {self._list([*self._key, *OWN_COLUMNS, name])} FROM {table.identifier(table.name)}"
                    f" WHERE {where}"
                )
                for row in _rows(connection, statement, parameters):
                    if row[:width] not in self._foreseen:
                        found[name, row[-1]] = (row[:width], Origin(*row[width : width + 2]))
        return found

    # The tables -----------------------------------------------------------------------------------------------------

    def apply(self, connection: sa.Connection, changes: Sequence[Decision], by: int, *, keep_images: bool) -> Changed:
        """Change rows, and keep what they were as images. by: the undo. Raises RuntimeError if a row is no longer as it
        was when that was decided."""
        there = [each.key for each in changes if each.present is not None]
        restored = [each for each in changes if each.outcome is Outcome.RESTORE]
        images = self._keep(connection, there, by) if keep_images else None
        deleted = 0
        for where, parameters in self._among(self._table, self._key, there):
            deleted += self._executed(connection, f"{self._table.emptying()} WHERE {where}", parameters)
        inserted = 0
        names = self._list(self._table.columns)
        for table, where, parameters in self._chosen(restored):
            statement = (
                f"INSERT INTO {self._table.identifier(self._table.name)} ({names})"
                f" SELECT {names} FROM {table.identifier(table.name)} WHERE {where}"
            )
            inserted += self._executed(connection, statement, parameters)
        if deleted != len(there) or inserted != len(restored):
            raise RuntimeError(f"Somebody else changed rows of “{self._dataset.name}” meanwhile.")
        removed = sum(each.outcome is Outcome.REMOVE for each in changes)
        return Changed(removed, len(restored), removed + len(restored) - len(there), images)

    def _keep(self, connection: sa.Connection, keys: Sequence[Key], by: int) -> tuple[int, int] | None:
        """Make images of rows. Returns the lowest and the highest of their numbers."""
        if not keys:
            return None
        images = before_images.table(connection.dialect, self._dataset)
        highest = f"SELECT coalesce(max({images.identifier(IMAGE)}), 0) FROM {images.identifier(images.name)}"
        before = int(run(connection, highest).scalar_one())
        names = self._list(self._table.columns)
        for where, parameters in self._among(self._table, self._key, keys):
            statement = (
                f"INSERT INTO {images.identifier(images.name)} ({names}, {images.identifier(BY)})"
                f" SELECT {names}, {by:d} FROM {self._table.identifier(self._table.name)} WHERE {where}"
            )
            self._executed(connection, statement, parameters)
        return before + 1, int(run(connection, highest).scalar_one())

    def _executed(self, connection: sa.Connection, statement: str, parameters: Key) -> int:
        """Execute a statement. Returns how many rows it changed."""
        if not self._table.is_sqlite:
            return run(connection, statement, *parameters).rowcount
        before = connection.scalar(sa.select(sa.func.total_changes()))
        run(connection, statement, *parameters)
        return int(connection.scalar(sa.select(sa.func.total_changes())) or 0) - int(before or 0)

    def _chosen(self, restored: Sequence[Decision]) -> Iterator[tuple[SqlTable, str, Key]]:
        """Where the versions are that are restored: a table, a condition, and its parameters."""
        for place, table in enumerate(self._images):
            here = [each for each in restored if each.image is not None and each.image.table == place]
            if IMAGE in table.columns:
                keys = [(each.image.number,) for each in here if each.image is not None]
                found = self._among(table, [IMAGE], sorted(keys))
            else:
                found = self._among(table, self._key, [each.key for each in here])
            for where, parameters in found:
                yield table, where, parameters

    def _present_of(self, connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, Origin]:
        """The rows with some keys that are there."""
        return {key: origin for key, origin, _ in self._found(connection, self._table, keys)}

    def _images_of(self, connection: sa.Connection, keys: Sequence[Key]) -> Iterator[tuple[Key, Origin, Image]]:
        for place, table in enumerate(self._images):
            for key, origin, number in self._found(connection, table, keys):
                yield key, origin, Image(place, number)

    def _found(
        self, connection: sa.Connection, table: SqlTable, keys: Sequence[Key]
    ) -> Iterator[tuple[Key, Origin, int]]:
        has_numbers, width = IMAGE in table.columns, len(self._key)
        names = [*self._key, *OWN_COLUMNS, *([IMAGE] if has_numbers else [])]
        for where, parameters in self._among(table, self._key, keys):
            statement = f"SELECT {self._list(names)} FROM {table.identifier(table.name)} WHERE {where}"
            for row in _rows(connection, statement, parameters):
                yield row[:width], Origin(*row[width : width + 2]), row[-1] if has_numbers else 0

    def _among(self, table: SqlTable, names: Sequence[str], keys: Sequence[Key]) -> Iterator[tuple[str, Key]]:
        """Conditions that some columns have the values of one of some keys, each with its parameters. Numbers and texts
        stand in them as literals: to bind thousands of parameters takes longer than to read them."""
        is_literal = all(type(value) in (int, str) for key in keys for value in key)
        listed, each = self._list(names), self._parameters(table, names)
        for some in _batches(keys, _LITERALS if is_literal else _BATCH):
            if is_literal:
                texts = [", ".join(_literal(table, value) for value in key) for key in some]
            else:
                texts = [each] * len(some)
            if len(names) == 1:
                where = f"{listed} IN ({', '.join(texts)})"
            else:
                where = f"({listed}) IN (VALUES {', '.join(f'({text})' for text in texts)})"
            yield where, () if is_literal else tuple(value for key in some for value in key)

    def _parameters(self, table: SqlTable, names: Sequence[str]) -> str:
        return ", ".join(map(table.typed_parameter, names))

    def _list(self, names: Iterable[str]) -> str:
        return ", ".join(map(self._table.identifier, names))


@dataclass(frozen=True)
class _Origins:
    """Versions that some uploads wrote, and those that they found unchanged. found: owner → its lowest and its highest
    row that they found. is_all: all versions instead."""

    uploads: frozenset[int]
    found: Mapping[int, tuple[int, int]]
    is_all: bool

    @classmethod
    def of(cls, connection: sa.Connection, upload_ids: Collection[int], *, is_all: bool) -> "_Origins":
        columns = unchanged_records.c
        extent = sa.select(columns.owner_id, sa.func.min(columns.owner_first), sa.func.max(columns.owner_last))
        of_uploads = extent.where(columns.upload_id.in_(list(upload_ids))).group_by(columns.owner_id)
        found = {row[0]: (row[1], row[2]) for row in connection.execute(of_uploads)}
        return cls(frozenset(upload_ids), found, is_all)

    def __contains__(self, origin: Origin) -> bool:
        first, last = self.found.get(origin.upload_id, (1, 0))
        return self.is_all or origin.upload_id in self.uploads or first <= origin.row_number <= last

    @property
    def is_empty(self) -> bool:
        return not (self.is_all or self.uploads or self.found)

    def condition(self, table: SqlTable, *, may_use_index: bool = True) -> str:
        """In SQL. may_use_index: False for pages, or SQLite finds all rows of these uploads for each of them."""
        if self.is_all or self.is_empty:
            return "1 = 1" if self.is_all else "1 = 0"
        upload_id, number = map(table.identifier, OWN_COLUMNS)
        if table.is_sqlite and not may_use_index:
            upload_id = f"+{upload_id}"
        parts = [f"{upload_id} IN ({', '.join(f'{each:d}' for each in sorted(self.uploads))})"] if self.uploads else []
        parts += [
            f"({upload_id} = {owner:d} AND {number} BETWEEN {first:d} AND {last:d})"
            for owner, (first, last) in sorted(self.found.items())
        ]
        return " OR ".join(parts)


def _decision(
    key: Key,
    present: Origin | None,
    best: tuple[tuple[int, int, int], Origin, Image | None] | None,
    *,
    is_concerned: bool,
) -> Decision:
    """best: the version that counts, who vouches for it, and where it is."""
    if best is None:
        return Decision(key, Outcome.GONE if present is None else Outcome.REMOVE, present, is_concerned=is_concerned)
    (_, upload_id, _), origin, image = best
    if origin == present:
        return Decision(key, Outcome.KEEP, present, None, upload_id, is_concerned)
    return Decision(key, Outcome.RESTORE, present, image, upload_id, is_concerned)


def _literal(table: SqlTable, value: int | str) -> str:
    return table.literal(value) if isinstance(value, str) else f"{value:d}"


def _rows(connection: sa.Connection, statement: str, parameters: Key) -> Iterable[tuple[Any, ...]]:
    """The rows of a query. A work horse's driver of SQLite has columns, and takes ten times as long for single rows."""
    if connection.dialect.driver == "adbc":
        driver: Any = connection.connection.driver_connection
        return zip(*(column.to_pylist() for column in driver.query(statement, parameters).columns), strict=True)
    return map(tuple, run(connection, statement, *parameters))


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
