"""The history of a row: who changed it, and from what to what.

The states that a row had are its images (before_images.py), in the order in which they were made, and its present one.
Each image names the upload that ended its state. If that upload did not begin the next one, the row was away between
them: an undo, or an upload that replaced all rows, had removed it, and another upload wrote it anew, or an undo put it
back. Which undo that was follows from the uploads that were in effect after each of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from jobs import uploads
from jobs.datasets import Dataset, Position, key_values
from jobs.modes import Mode
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import SqlTable, run
from jobs.tables import uploads as records
from jobs.traces import before_images, row_lines, unchanged_rows, write_order
from jobs.traces.before_images import IMAGE, Kept
from jobs.uploads import UNDO, Status, Upload

#: States of a row that are looked at: the newest ones.
MOST_STATES = 5_000
#: Uploads that found a version unchanged which are named.
MOST_FINDERS = 20


class Origin(NamedTuple):
    """The row of a file that a state came from."""

    upload_id: int
    row_number: int


@dataclass(frozen=True)
class State:
    """A row as it was for a while. by: the upload that ended it; None: it lasts. table: where its values are. image:
    its number there; None: the table has one row with this key."""

    origin: Origin
    by: int | None
    table: SqlTable
    image: int | None


@dataclass(frozen=True)
class Change:
    """What an upload did to a row. before, after: None if the row was away then, or if that is not kept any more
    (before_lost, after_lost)."""

    upload_id: int
    before: State | None
    after: State | None
    before_lost: bool = False
    after_lost: bool = False


@dataclass(frozen=True)
class Version:
    """A change with what people want to know of it. upload: that made it. line: of its file that it read, and row of
    that. before, after: the cells as text. found_by: the uploads that found the row like this later, with the line of
    each. replaced_by: the upload that ended the state after it."""

    upload: Upload
    row_number: int | None
    line: int | None
    before: list[str] | None
    after: list[str] | None
    before_lost: bool
    after_lost: bool
    found_by: list[tuple[int, int | None]]
    replaced_by: int | None
    is_present: bool


class History:
    """The changes of a row, the newest first."""

    def __init__(self, connection: sa.Connection, dataset: Dataset, position: Position) -> None:
        """Raises InvalidPositionError."""
        self._connection, self._dataset = connection, dataset
        self.position = position
        self._key = key_values(connection, dataset.table(connection.dialect), position)
        found = list(self._states())
        self._uploads = _Uploads(connection, found)
        states, self.is_cut = self._ordered(found)
        self._seen: set[Origin] = set()
        self._undos: list[_Undo] | None = None
        self._replacing: list[tuple[_Brief, int]] | None = None
        self.is_there = bool(states) and states[-1].by is None
        self.changes = list(self._changes(states))[::-1]

    def page(self, first: int | None, limit: int) -> list[Change]:
        """Changes from the one that an upload made (None: from the newest), and one more than the limit if others
        follow. None of them if it made none."""
        start = 0
        if first is not None:
            places = (place for place, each in enumerate(self.changes) if each.upload_id == first)
            start = next(places, len(self.changes))
        return self.changes[start : start + limit + 1]

    @property
    def key_cells(self) -> dict[str, str]:
        """The cells of the primary key; none without such a key."""
        schema = self._dataset.schema
        fields = {each.name: each for each in schema.fields}
        pairs = zip(schema.primary_key, self._key, strict=False)
        return {name: format_value(schema, fields[name], value) for name, value in pairs}

    def versions(self, changes: Sequence[Change]) -> Iterator[Version]:
        """Some changes in whole, one after the other: rows can be long."""
        connection = self._connection
        known = {each.id: each for each in uploads.get_many(connection, [each.upload_id for each in changes])}
        origins = {each.after.origin for each in changes if each.after}
        found_by = {each: self._finders(each) for each in origins}
        places = [place for found in found_by.values() for place in found]
        lines = row_lines.lines_of(connection, [*origins, *places])
        last: tuple[State | None, list[str] | None] = (None, None)
        for each in changes:
            after = last[1] if last[0] is each.after and each.after else self._cells(each.after)
            before = self._cells(each.before)
            last = each.before, before
            own = each.after.origin if each.after and each.after.origin.upload_id == each.upload_id else None
            yield Version(
                upload=known[each.upload_id],
                row_number=own and own.row_number,
                line=lines.get(own) if own else None,
                before=before,
                after=after,
                before_lost=each.before_lost,
                after_lost=each.after_lost,
                found_by=[(who, lines.get((who, number))) for who, number in found_by[each.after.origin]]
                if own and each.after
                else [],
                replaced_by=each.after.by if each.after else None,
                is_present=each.after is not None and each.after.by is None,
            )

    def _cells(self, state: State | None) -> list[str] | None:
        if state is None:
            return None
        table, dataset = state.table, self._dataset
        if state.image is None:
            row = run(self._connection, table.row(), *self._key).one_or_none()
            values = None if row is None else tuple(row)[2:]
        else:
            names = ", ".join(map(table.identifier, dataset.schema.names))
            where = f"{table.identifier(IMAGE)} = {state.image:d}"
            row = run(
                self._connection, f"SELECT {names} FROM {table.identifier(table.name)} WHERE {where}"
            ).one_or_none()
            values = None if row is None else tuple(row)
        if values is None:  # it was removed since
            return None
        pairs = zip(dataset.schema.fields, values, strict=True)
        return [format_value(dataset.schema, field, value) for field, value in pairs]

    def _finders(self, origin: Origin) -> list[tuple[int, int]]:
        found = unchanged_rows.finders(self._connection, origin.upload_id, [origin.row_number])
        return found.get(origin.row_number, [])[:MOST_FINDERS]

    # The states -----------------------------------------------------------------------------------------------------

    def _states(self) -> Iterator[State]:
        connection, dataset = self._connection, self._dataset
        for table, upload_id, number, by, image in before_images.origins(
            connection, dataset, self._key, limit=MOST_STATES + 1
        ):
            yield State(Origin(upload_id, number), by, table, image)
        table = dataset.table(connection.dialect)
        for upload_id, number, *_ in map(tuple, run(connection, table.row(), *self._key).all()):
            yield State(Origin(upload_id, number), None, table, None)

    def _ordered(self, found: Sequence[State]) -> tuple[list[State], bool]:
        """The states from the oldest to the present one, and whether older ones are left out."""
        present = [each for each in found if each.by is None]
        numbered = sorted((each for each in found if each.image is not None), key=lambda each: each.image or 0)
        whole = [each for each in found if each.by is not None and each.image is None]
        ordered = numbered
        for state in sorted(whole, key=self._ended_at):
            later = (place for place, each in enumerate(ordered) if self._ended_at(each) > self._ended_at(state))
            ordered.insert(next(later, len(ordered)), state)
        return ordered[-MOST_STATES:] + present, len(ordered) > MOST_STATES

    def _ended_at(self, state: State) -> tuple[datetime, int]:
        """When the upload ended that ended a state which does not last."""
        brief = self._uploads[state.by or 0]
        return brief.ended_at, brief.id

    # The changes ----------------------------------------------------------------------------------------------------

    def _changes(self, states: Sequence[State]) -> Iterator[Change]:
        """From the oldest to the newest."""
        if not states:
            return
        yield self._first(states[0])
        self._seen.add(states[0].origin)
        for state, following in zip(states, [*states[1:], None], strict=True):
            if state.by is None:
                return
            yield from self._between(state, following, self._uploads[state.by])
            if following is not None:
                self._seen.add(following.origin)

    def _first(self, state: State) -> Change:
        brief = self._uploads[state.origin.upload_id]
        kept = before_images.of(self._connection, brief.id)
        return Change(brief.id, None, state, before_lost=self.is_cut or _may_have_replaced(brief, kept))

    def _between(self, state: State, following: State | None, by: "_Brief") -> Iterator[Change]:
        if following is not None and self._is_begun_by(following, by):
            yield Change(by.id, state, following)
        elif by.is_undo or by.mode is Mode.REPLACE:
            yield Change(by.id, state, None)
            if following is not None:
                yield Change(self._returned_by(following, by), None, following)
        else:  # the row that it wrote is not kept
            yield Change(by.id, state, None, after_lost=True)
            if following is not None:
                yield Change(following.origin.upload_id, None, following, before_lost=True)

    def _is_begun_by(self, state: State, by: "_Brief") -> bool:
        """Whether an upload that ended the state before this one began it."""
        if not by.is_undo:
            return state.origin.upload_id == by.id
        if state.origin not in self._seen:
            return False
        return next((self._counts(state.origin, undo) for undo in self._replayed() if undo.brief.id == by.id), True)

    def _returned_by(self, state: State, remover: "_Brief") -> int:
        """The upload that put a row back that another one had removed."""
        if state.origin in self._seen:
            for undo in self._replayed():
                is_later = (undo.brief.ended_at, undo.brief.id) > (remover.ended_at, remover.id)
                if is_later and self._counts(state.origin, undo):
                    return undo.brief.id
        return state.origin.upload_id

    def _replayed(self) -> "list[_Undo]":
        if self._undos is None:
            self._undos = _replay(self._uploads.undos(self._dataset.name))
        return self._undos

    def _counts(self, origin: Origin, undo: "_Undo") -> bool:
        """Whether somebody vouched for a version of a row who was in effect after an undo."""
        now = (undo.brief.ended_at, undo.brief.id)
        if self._replacing is None:
            self._replacing = self._uploads.replacing(self._dataset.name)
        stamps = (
            stamp for brief, stamp in self._replacing if brief.id not in undo.dead and (brief.ended_at, brief.id) < now
        )
        floor = max(stamps, default=write_order.NO_STAMP)
        vouchers = [(origin.upload_id, origin.row_number), *self._finders(origin)]
        found = write_order.stamps_of(self._connection, vouchers)
        return any(
            upload_id not in undo.dead and stamp >= floor and self._uploads[upload_id].ended_at <= now[0]
            for (upload_id, _), stamp in found.items()
        )


def _may_have_replaced(brief: "_Brief", kept: Kept | None) -> bool:
    """Whether an upload replaced rows that are not kept, so that one which seems new may have been there before."""
    if kept is not None:
        return kept.lost is not None and kept.replaced > 0
    return brief.mode is Mode.UPSERT and brief.is_of_earlier_release


# The uploads --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Brief:
    """An upload in brief. ended_at: or when it changed last. is_of_earlier_release: of one that kept no images; it may
    have replaced rows."""

    id: int
    is_undo: bool
    mode: Mode | None
    ended_at: datetime
    is_of_earlier_release: bool


@dataclass(frozen=True)
class _Undo:
    """dead: the uploads that were not in effect after it."""

    brief: _Brief
    dead: frozenset[int]


_COLUMNS = records.c
_BRIEF: sa.Select[Any] = sa.select(
    _COLUMNS.id, _COLUMNS.kind, _COLUMNS.mode, sa.func.coalesce(_COLUMNS.finished_at, _COLUMNS.updated_at).label("at"),
    _COLUMNS.rows_unchanged, _COLUMNS.rows_added, _COLUMNS.rows_success,
)  # fmt: skip


def _brief(row: sa.Row[Any]) -> _Brief:
    is_earlier = row.rows_unchanged is None and row.rows_added != row.rows_success
    return _Brief(row.id, row.kind == UNDO, row.mode and Mode(row.mode), row.at, is_earlier)


class _Uploads:
    """Uploads in brief, read as they are asked for."""

    def __init__(self, connection: sa.Connection, states: Iterable[State]) -> None:
        self._connection = connection
        ids = {number for each in states for number in (each.origin.upload_id, each.by) if number is not None}
        rows = connection.execute(_BRIEF.where(_COLUMNS.id.in_(ids)))
        self._known = {row.id: _brief(row) for row in rows}

    def __getitem__(self, upload_id: int) -> _Brief:
        if upload_id not in self._known:
            row = self._connection.execute(_BRIEF.where(_COLUMNS.id == upload_id)).one()
            self._known[upload_id] = _brief(row)
        return self._known[upload_id]

    def undos(self, dataset: str) -> list[tuple[_Brief, list[int]]]:
        """The undos that changed a dataset, with what each undoes, from the first to the last."""
        changed = (_COLUMNS.status == Status.COMPLETED) | (_COLUMNS.rows_success > 0)
        wanted = _BRIEF.add_columns(_COLUMNS.undoes)
        wanted = wanted.where(_COLUMNS.dataset == dataset, _COLUMNS.kind == UNDO, changed)
        found = [(_brief(row), list(row.undoes or [])) for row in self._connection.execute(wanted)]
        return sorted(found, key=lambda each: (each[0].ended_at, each[0].id))

    def replacing(self, dataset: str) -> list[tuple[_Brief, int]]:
        """The uploads that replaced all rows of a dataset, each with its last stamp."""
        replaced = (_COLUMNS.mode == Mode.REPLACE) & (_COLUMNS.status == Status.COMPLETED)
        found = self._connection.execute(_BRIEF.where(_COLUMNS.dataset == dataset, replaced)).all()
        briefs = map(_brief, found)
        stamped = ((each, write_order.last_stamp(self._connection, each.id)) for each in briefs)
        return [(each, stamp) for each, stamp in stamped if stamp is not None]


def _replay(undos: Sequence[tuple[_Brief, list[int]]]) -> list[_Undo]:
    undoes = {brief.id: ids for brief, ids in undos}
    dead: set[int] = set()

    def turn(upload_id: int, *, is_dead: bool) -> None:
        (dead.add if is_dead else dead.discard)(upload_id)
        for each in undoes.get(upload_id, ()):
            turn(each, is_dead=not is_dead)

    replayed = []
    for brief, ids in undos:
        for each in ids:
            turn(each, is_dead=True)
        replayed.append(_Undo(brief, frozenset(dead)))
    return replayed
