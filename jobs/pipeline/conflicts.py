"""Rows of a chunk that want the same key or unique value: what becomes of them, one after another in the file's order.

No I/O. Whole columns tell whether any rows of a chunk repeat a value, which is rare. Only these rows, and those that
compete with stored rows, are then looked at one by one. So the end does not depend on the size of the chunks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.failed_rows import Reason
from jobs.pipeline.parsing import Mask

#: Row number → the reasons why the row was not written.
Collisions = dict[int, list[Reason]]
#: The end of the rule that a row breaks whose value an earlier row of the file has.
IN_EARLIER_ROW = "is in an earlier row"


@dataclass(frozen=True)
class StoredRow:
    """A row of the dataset, by the upload and the row of the file that it came from."""

    upload_id: int
    row_number: int


@dataclass(frozen=True)
class Competition:
    """A row wants a unique value that a stored row with another key has.

    place: of the field among the unique ones. holder: the stored row. replaced_by: the number of a row of the chunk
    with the holder's key; None if the chunk has none.
    """

    place: int
    row_number: int
    holder: StoredRow
    replaced_by: int | None


@dataclass(frozen=True)
class Upserted:
    """What becomes of the rows of a chunk that replace stored rows.

    collisions: rows that fail. written: mask of the last row of each key that does not fail. releasing: numbers of
    written rows that replace a row whose unique values other rows take.
    """

    collisions: Collisions
    written: Mask
    releasing: list[int] = field(default_factory=list)


def repeated(rows: pd.DataFrame, names: Sequence[str], *, keep: Literal["first", "last", False] = "first") -> Mask:
    """Which rows have the same values as another one, except for the first or the last of these. A missing value is
    like no other."""
    keys = [_array(rows[name]) for name in names]
    found = np.zeros(len(rows), dtype=bool)
    present = np.logical_and.reduce([_present(key) for key in keys])
    if not present.all():  # filter first: where a value is null, pandas converts whole numbers to doubles
        keys = [key.filter(pa.array(present)) for key in keys]
    if len(keys) == 1:
        (key,) = keys
        # Many files are sorted by their key; checking that is faster than counting distinct values.
        if is_ascending(key) or len(key) == pc.count_distinct(key).as_py():
            return found
    found[np.flatnonzero(present)] = _frame(keys).duplicated(keep=keep).to_numpy()
    return found


def are_ascending(rows: pd.DataFrame, name: str) -> bool:
    """Whether each value of a column is greater than the one before."""
    return is_ascending(_array(rows[name]))


def is_ascending(values: pa.Array) -> bool:
    return pc.all(pc.less(values[:-1], values[1:])).as_py() is not False


def inserted(rows: pd.DataFrame, guarded: Sequence[Sequence[str]], stored: Collisions) -> Collisions:
    """The rows that fail when each is inserted unless an earlier one, or a stored one, has one of its values.

    guarded: names of the columns whose values together may not be repeated. stored: rows whose values are stored.
    """
    involved = np.logical_or.reduce([repeated(rows, names, keep=False) for names in guarded])
    places = np.flatnonzero(involved)
    values = [_values(rows, names, places) for names in guarded]
    taken: list[set[Any]] = [set() for _ in guarded]
    failed = dict(stored)
    for number, *row in zip(rows.index.to_numpy()[places].tolist(), *values, strict=True):
        reasons = [
            _in_earlier_row(names)
            for names, value, before in zip(guarded, row, taken, strict=True)
            if value is not None and value in before
        ]
        if reasons or number in stored:
            failed[number] = [*stored.get(number, []), *reasons]
            continue
        for value, before in zip(row, taken, strict=True):
            before.add(value)
    return failed


def only_new(
    rows: pd.DataFrame, key: Sequence[str], guarded: Sequence[Sequence[str]], kept: Collection[int], stored: Collisions
) -> tuple[Collisions, Mask]:
    """What becomes of rows each of which is inserted unless its key exists at that moment; then it is left out. Returns
    those that fail, because an earlier row that was inserted, or a stored one, has one of their unique values, and a
    mask of those that are inserted.

    kept: rows whose key is stored. stored: rows whose unique values are stored.
    """
    numbers = rows.index.to_numpy()
    written = ~np.isin(numbers, list(kept))
    repeats = [repeated(rows, names, keep=False) for names in (key, *guarded)]
    involved = np.logical_or.reduce([*repeats, np.isin(numbers, list(stored))]) & written
    places = np.flatnonzero(involved)
    keys, *values = [_values(rows, names, places) for names in (key, *guarded)]
    inserted_keys: set[Any] = set()
    taken: list[set[Any]] = [set() for _ in guarded]
    failed: Collisions = {}
    for place, number, own, *row in zip(places, numbers[places].tolist(), keys, *values, strict=True):
        if own in inserted_keys:
            written[place] = False
            continue
        reasons = [
            *stored.get(number, []),
            *(
                _in_earlier_row(names)
                for names, value, before in zip(guarded, row, taken, strict=True)
                if value is not None and value in before
            ),
        ]
        if reasons:
            written[place], failed[number] = False, reasons
            continue
        inserted_keys.add(own)
        for value, before in zip(row, taken, strict=True):
            before.add(value)
    return failed, written


def upserted(
    rows: pd.DataFrame, key: Sequence[str], unique: Sequence[str], competitions: Iterable[Competition]
) -> Upserted:
    """What becomes of rows of which each replaces the row with its key, unless a row with another key has one of its
    unique values at that moment."""
    competitions = list(competitions)
    written = ~repeated(rows, key, keep="last")
    involved = np.logical_or.reduce([repeated(rows, [name], keep=False) for name in unique])
    if not competitions and not involved.any():
        return Upserted({}, written)
    numbers = rows.index.to_numpy()
    competing = {each.row_number for each in competitions} | {each.replaced_by for each in competitions}
    involved |= np.isin(numbers, [number for number in competing if number is not None])
    codes = _codes(rows, key)
    places = np.flatnonzero(np.isin(codes, codes[involved]))  # all rows of the keys that are involved
    found = _Sequence(unique)
    code_of = dict(zip(numbers[places].tolist(), codes[places].tolist(), strict=True))
    values = [_values(rows, [name], places) for name in unique]
    cells = dict(zip(code_of, zip(*values, strict=True), strict=True))
    for each in competitions:
        holder = each.holder if each.replaced_by is None else code_of[each.replaced_by]
        found.hold(each.place, cells[each.row_number][each.place], holder, each.holder)
    for number, code in code_of.items():
        found.see(number, code, cells[number])
    written[places] = np.isin(numbers[places], list(found.last.values()))
    holders = {code_of[each.replaced_by] for each in competitions if each.replaced_by is not None}
    return Upserted(found.collisions, written, [found.last[code] for code in holders if code in found.last])


class _Sequence:
    """Rows that are upserted one after another. A row's key is a code: equal keys have equal codes."""

    def __init__(self, unique: Sequence[str]) -> None:
        self._unique = unique
        #: Of each unique field: value → the key that has it, and the stored row that it is from, if it is.
        self._holders: list[dict[Any, tuple[int | StoredRow, StoredRow | None]]] = [{} for _ in unique]
        #: Of each unique field: key → its value, if another row may want it.
        self._held: list[dict[int | StoredRow, Any]] = [{} for _ in unique]
        self.collisions: Collisions = {}
        #: Key → the number of the last row that was written.
        self.last: dict[int, int] = {}

    def hold(self, place: int, value: Any, key: int | StoredRow, stored: StoredRow | None = None) -> None:
        """Note that a key has a value, and has no other value in this field any more."""
        before = self._held[place].get(key)
        if before == value:
            return
        if before is not None:
            del self._held[place][key], self._holders[place][before]
        if value is not None:
            self._holders[place][value] = key, stored
            self._held[place][key] = value

    def see(self, number: int, key: int, values: Sequence[Any]) -> None:
        """Write a row, or note why it fails."""
        reasons = []
        for name, value, holders in zip(self._unique, values, self._holders, strict=True):
            holder, stored = holders.get(value, (key, None)) if value is not None else (key, None)
            if holder != key:
                reasons.append(_in_earlier_row([name]) if stored is None else already_stored([name], stored))
        if reasons:
            self.collisions[number] = reasons
            return
        for place, value in enumerate(values):
            self.hold(place, value, key)
        self.last[key] = number


def already_stored(names: Sequence[str], stored: StoredRow) -> Reason:
    """A row of the dataset has the same values in these columns."""
    column = names[0] if len(names) == 1 else None
    rule = "is already in the dataset" if column else f"has the same {', '.join(names)} as a row in the dataset"
    return Reason(column, rule, detail=f"upload #{stored.upload_id}, row {stored.row_number:,}")


def _in_earlier_row(names: Sequence[str]) -> Reason:
    column = names[0] if len(names) == 1 else None
    return Reason(column, IN_EARLIER_ROW if column else f"has the same {', '.join(names)} as an earlier row")


def is_about_other_rows(reason: Reason) -> bool:
    """Whether a row failed only because of a key or a unique value that another row had."""
    return reason.rule in (IN_EARLIER_ROW, "is already in the dataset") or (
        reason.rule.startswith("has the same ")
        and reason.rule.endswith((" as an earlier row", " as a row in the dataset"))
    )


def quoted(reason: Reason, cells: Sequence[str], places: Mapping[str, int]) -> Reason:
    """The reason, with the cell that repeats a value of an earlier row. places: field → its place among the cells."""
    place = places.get(reason.column or "")
    return reason if place is None or reason.rule != IN_EARLIER_ROW else reason._replace(value=cells[place])


def _array(column: "pd.Series[Any]") -> pa.Array:
    values = column.array.__arrow_array__()
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _present(key: pa.Array) -> Mask:
    found: Mask = pc.is_valid(key).to_numpy(zero_copy_only=False)
    return found


def _frame(keys: Sequence[pa.Array]) -> pd.DataFrame:
    return pd.DataFrame({str(place): key.to_pandas() for place, key in enumerate(keys)})


def _codes(rows: pd.DataFrame, key: Sequence[str]) -> npt.NDArray[np.int64]:
    """A number for each row, the same for the same key."""
    frame = _frame([_array(rows[name]) for name in key])
    codes = frame.groupby(list(frame.columns), sort=False).ngroup()
    return np.asarray(codes, dtype=np.int64)


def _values(rows: pd.DataFrame, names: Sequence[str], places: npt.NDArray[np.intp]) -> list[Any]:
    """The values of some rows in these columns: of several columns, tuples. None if one of them is missing."""
    columns = [_array(rows[name]).take(pa.array(places)).to_pylist() for name in names]
    if len(columns) == 1:
        return list(columns[0])
    return [None if None in row else row for row in zip(*columns, strict=True)]
