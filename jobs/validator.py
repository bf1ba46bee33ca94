"""A chunk of text → rows in their columns' types, and for every other row every reason why it is not one. No I/O.

A column at a time on Arrow arrays: masks say which rows are wrong, and only those are looked at one by one, to say why.
What a type or a constraint means is the Table Schema standard's (see schema.py). Dates and times come out as the ISO
text that both databases take.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.failures import BadRow, Reason
from jobs.schema import DIRECTIVES, SchemaField, TableSchema

Mask = npt.NDArray[np.bool_]
#: Text → values of a type, null where a value is none.
Parse = Callable[[pa.Array], pa.Array]

#: Digits of a decimal number that a double keeps: one with more would come back as another number.
SIGNIFICANT_DIGITS = 15
#: Bytes of text that may identify a row: PostgreSQL's indexes keep 2,704 with all that is beside it.
MAX_KEY_BYTES = 2_000

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?"
_ISO = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "datetime": f"^{_DATE}[T ]{_TIME}(Z|[+-]{_CLOCK})?$"}
_EXAMPLES = {"date": "2026-01-31", "time": "09:00:00", "datetime": "2026-01-31T09:00:00Z"}


@dataclass(frozen=True)
class Validated:
    """A chunk, each of its rows in one of two places.

    good: one column a field in its type, index = row number. bad: with every reason. superseded: rows of `good` that a
    later one with the same key replaces (mode upsert), so that they count as imported and need not be written.
    """

    good: pd.DataFrame
    bad: list[BadRow]
    superseded: Mask

    @property
    def to_write(self) -> pd.DataFrame:
        return self.good[~self.superseded] if self.superseded.any() else self.good


@dataclass(frozen=True)
class _Column:
    """A field's cells. values: typed, null where missing or wrong. missing, wrong: masks. rule: what those break."""

    values: pa.Array
    missing: Mask
    wrong: Mask
    rule: str


@dataclass(frozen=True)
class _Complaint:
    """rows: mask of those that break a rule. column: None for several together. quotes: the value says something."""

    rows: Mask
    column: str | None
    rule: str
    quotes: bool = True


class Validator:
    """For one file into one dataset; keeps nothing between chunks."""

    def __init__(self, schema: TableSchema, sources: Mapping[str, str], *, upsert: bool) -> None:
        """sources: field → the file's column it is read from. A field without one is missing in every row."""
        self._schema = schema
        self._sources = sources
        self._upsert = upsert
        self._unique = [[field.name] for field in schema.fields if field.constraints.unique]

    def validate(self, rows: pd.DataFrame) -> Validated:
        """rows: the file's own columns as text, index = row number."""
        columns = [self._column(field, rows) for field in self._schema.fields]
        complaints = [
            complaint
            for field, column in zip(self._schema.fields, columns, strict=True)
            for complaint in self._complaints(field, column)
        ]
        complaints += self._too_long(columns)
        wrong = _any([complaint.rows for complaint in complaints], len(rows))
        complaints += self._repeated(columns, ~wrong)
        wrong = _any([complaint.rows for complaint in complaints], len(rows))
        bad = self._bad_rows(rows, wrong, complaints) if wrong.any() else []
        typed = {
            field.name: pd.Series(pd.arrays.ArrowExtensionArray(column.values), rows.index)
            for field, column in zip(self._schema.fields, columns, strict=True)
        }
        good = pd.DataFrame(typed, copy=False)
        good = good[~wrong] if wrong.any() else good
        return Validated(good, bad, self._superseded(good))

    def _column(self, field: SchemaField, rows: pd.DataFrame) -> _Column:
        source = self._sources.get(field.name)
        text = pa.repeat(pa.scalar(None, pa.string()), len(rows)) if source is None else _array(rows[source])
        if source is None:
            values, rule = _PARSERS[field.type](field, text)
            return _Column(values, np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool), rule)
        missing = _is_missing(text, self._schema.missing_values_of(field))
        present = pc.if_else(missing, pa.scalar(None, pa.string()), text) if pc.any(missing).as_py() else text
        values, rule = _PARSERS[field.type](field, present)
        empty = _mask(missing)
        wrong = _mask(pc.is_null(values)) & ~empty if values.null_count else np.zeros(len(text), dtype=bool)
        return _Column(values, empty, wrong, rule)

    def _complaints(self, field: SchemaField, column: _Column) -> Iterator[_Complaint]:
        """What is wrong with a column; of a value that is not of its type nothing more is said."""
        if column.wrong.any():
            yield _Complaint(column.wrong, field.name, column.rule)
        if self._schema.is_required(field) and column.missing.any():
            yield _Complaint(column.missing, field.name, "is required", quotes=False)
        for violates, rule in _constraints(field, column.values):
            if (found := _mask(violates)).any():
                yield _Complaint(found, field.name, rule)

    def _too_long(self, columns: list[_Column]) -> Iterator[_Complaint]:
        """Rows whose key no index can hold."""
        by_name = dict(zip(self._schema.names, columns, strict=True))
        for names in [self._schema.primary_key, *self._unique]:
            texts = [by_name[name].values for name in names if pa.types.is_string(by_name[name].values.type)]
            lengths = [pc.fill_null(pc.binary_length(text), 0).to_numpy(zero_copy_only=False) for text in texts]
            if lengths and (found := np.sum(lengths, axis=0) > MAX_KEY_BYTES).any():
                column, verb = (names[0], "is") if len(names) == 1 else (None, f"{', '.join(names)} are together")
                yield _Complaint(found, column, f"{verb} longer than the {MAX_KEY_BYTES:,} bytes that a key may have")

    def _repeated(self, columns: list[_Column], right: Mask) -> list[_Complaint]:
        """Rows that repeat what must be there once: the first that is right stays. An upsert may repeat keys."""
        found: list[_Complaint] = []
        by_name = dict(zip(self._schema.names, columns, strict=True))
        whole = [] if self._upsert or not self._schema.primary_key else [self._schema.primary_key]
        keys = [*whole, *self._unique]
        for names in keys:
            candidates = right & ~_any([by_name[name].missing for name in names], len(right))
            repeated = _duplicated([by_name[name].values for name in names], candidates, keep="first")
            if repeated.any():
                column = names[0] if len(names) == 1 else None
                rule = "is in an earlier row" if column else f"{', '.join(names)} are together in an earlier row"
                found.append(_Complaint(repeated, column, rule))
                right = right & ~repeated
        return found

    def _bad_rows(self, rows: pd.DataFrame, wrong: Mask, complaints: list[_Complaint]) -> list[BadRow]:
        """The wrong rows as they came, each with all that is said of it."""
        places = np.flatnonzero(wrong)
        cells = rows.iloc[places].to_numpy(dtype=object).tolist()
        place_of = {name: position for position, name in enumerate(rows.columns)}
        reasons: list[list[Reason]] = [[] for _ in places]
        for complaint in complaints:
            source = place_of.get(self._sources.get(complaint.column or "", "")) if complaint.quotes else None
            for position in np.flatnonzero(complaint.rows[places]):
                value = None if source is None else cells[position][source]
                reasons[position].append(Reason(complaint.column, complaint.rule, value))
        numbers = rows.index.to_numpy()[places].tolist()
        return [BadRow(*each) for each in zip(numbers, cells, reasons, strict=True)]

    def _superseded(self, good: pd.DataFrame) -> Mask:
        if not self._upsert:
            return np.zeros(len(good), dtype=bool)
        keys = [_array(good[name]) for name in self._schema.primary_key]
        return _duplicated(keys, np.ones(len(good), dtype=bool), keep="last")


def _array(column: "pd.Series[Any]") -> pa.Array:
    values = column.array.__arrow_array__()
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _mask(values: pa.Array) -> Mask:
    filled = pc.fill_null(values, False) if values.null_count else values
    found: Mask = filled.to_numpy(zero_copy_only=False)
    return found


def _any(masks: list[Mask], length: int) -> Mask:
    return np.logical_or.reduce(masks) if masks else np.zeros(length, dtype=bool)


def _is_missing(text: pa.Array, missing_values: list[str]) -> pa.Array:
    if len(missing_values) == 1:
        return pc.equal(text, missing_values[0])
    return pc.is_in(text, value_set=pa.array(missing_values, pa.string()))


def _duplicated(keys: list[pa.Array], candidates: Mask, *, keep: Literal["first", "last"]) -> Mask:
    """Which candidates have the same values as another that is kept."""
    found = np.zeros(len(candidates), dtype=bool)
    places = np.flatnonzero(candidates)
    if len(keys) == 1:
        kept = keys[0] if len(places) == len(candidates) else keys[0].filter(pa.array(candidates))
        # Many a file is sorted by its key, which is seen faster than the different values are counted.
        if pc.all(pc.less(kept[:-1], kept[1:])).as_py() is not False or len(kept) == pc.count_distinct(kept).as_py():
            return found
    # Without the others first: where one of them is null, pandas makes doubles of whole numbers.
    table = pd.DataFrame({str(n): key.filter(pa.array(candidates)).to_pandas() for n, key in enumerate(keys)})
    found[places] = table.duplicated(keep=keep).to_numpy()
    return found


def _matching(values: pa.Array, pattern: str) -> pa.Array:
    """Values that match, the others null."""
    matches = pc.match_substring_regex(values, pattern)
    if pc.all(matches).as_py() is not False:
        return values
    return pc.if_else(pc.fill_null(matches, False), values, pa.scalar(None, pa.string()))


def _lengths(text: pa.Array) -> npt.NDArray[np.int32]:
    """Bytes of each value, 0 of a missing one."""
    lengths = pc.binary_length(text)
    found: npt.NDArray[np.int32] = (pc.fill_null(lengths, 0) if lengths.null_count else lengths).to_numpy()
    return found


def _other_bytes(text: pa.Array, usual: bytes) -> Mask:
    """Which values have a byte that is none of these."""
    found = np.zeros(len(text), dtype=np.bool_)
    if not _lengths(text).any():
        return found
    _, ends, data = text.buffers()
    offsets = np.frombuffer(ends, np.int32)[text.offset : text.offset + len(text) + 1]
    other = np.ones(256, dtype=np.bool_)
    other[np.frombuffer(usual, np.uint8)] = False
    places = np.flatnonzero(other[np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]]) + offsets[0]
    found[np.searchsorted(offsets, places, side="right") - 1] = True
    return found


def _in_two_ways(text: pa.Array, odd: Mask, plain: Parse, exact: Parse) -> pa.Array:
    """The odd values parsed exactly, which takes long, and the others, which are most as a rule, plainly."""
    if not odd.any():
        return plain(text)
    mask = pa.array(odd)
    values = plain(pc.if_else(mask, pa.scalar(None, pa.string()), text))
    return pc.replace_with_mask(values, mask, exact(text.filter(mask)))


def _string(_field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    return present, "is not text"


def _integer(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """An optional sign and digits; leading zeros mean nothing. Within 64 bits."""
    text = _ungrouped(field, present)

    def exact(odd: pa.Array) -> pa.Array:
        return _cast(pc.utf8_ltrim(_matching(odd, _INTEGER), "+"), pa.int64())

    plain = partial(_cast, kind=pa.int64())
    return _in_two_ways(text, _other_bytes(text, b"0123456789"), plain, exact), "is not a whole number"


def _number(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """A decimal number, perhaps with an exponent. NaN and INF, which the standard allows, are no numbers in a table."""
    text = _ungrouped(field, present)
    if field.decimal_char != ".":
        text = pc.if_else(pc.match_substring(text, "."), pa.scalar(None, pa.string()), text)
        text = pc.replace_substring(text, field.decimal_char, ".")
    odd = _other_bytes(text, b"0123456789.") | (_lengths(text) > SIGNIFICANT_DIGITS)
    values = _in_two_ways(text, odd, partial(_cast, kind=pa.float64()), _exact_number)
    return values, f"is not a number of at most {SIGNIFICANT_DIGITS} digits"


def _exact_number(text: pa.Array) -> pa.Array:
    text = _matching(text, _NUMBER)
    if (pc.max(pc.utf8_length(text)).as_py() or 0) > SIGNIFICANT_DIGITS:
        mantissa = pc.replace_substring_regex(text, r"^[+-]?0*\.?0*|[eE].*$|\.", "")
        text = pc.if_else(pc.greater(pc.utf8_length(mantissa), SIGNIFICANT_DIGITS), pa.scalar(None, pa.string()), text)
    values = _cast(pc.utf8_ltrim(text, "+"), pa.float64())
    values = pc.if_else(pc.is_inf(values), pa.scalar(None, pa.float64()), values)
    tiny = pc.less(pc.abs(values), sys.float_info.min)
    if pc.any(tiny).as_py():  # zeros; and what is so small that a double makes it nothing, or keeps few of its digits
        lost = pc.match_substring_regex(pc.if_else(tiny, text, pa.scalar(None, pa.string())), "^[^eE]*[1-9]")
        values = pc.if_else(pc.fill_null(lost, False), pa.scalar(None, pa.float64()), values)
    return values


def _ungrouped(field: SchemaField, text: pa.Array) -> pa.Array:
    """Without the characters that group digits, each of which must stand between two digits."""
    if field.group_char is None:
        return text
    group = re.escape(field.group_char)
    misplaced = pc.match_substring_regex(text, f"(^|[^0-9]){group}|{group}([^0-9]|$)")
    return pc.replace_substring(pc.if_else(misplaced, pa.scalar(None, pa.string()), text), field.group_char, "")


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """The whole column at once; where that fails, the values that can be cast, found by halving."""
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, kind)
        middle = len(text) // 2
        return pa.concat_arrays([_cast(text[:middle], kind), _cast(text[middle:], kind)])


def _boolean(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    true = pc.is_in(present, value_set=pa.array(field.true_values))
    false = pc.is_in(present, value_set=pa.array(field.false_values))
    values = pc.if_else(true, True, pc.if_else(false, pa.scalar(False), pa.scalar(None, pa.bool_())))
    words = ", ".join([*field.true_values, *field.false_values])
    return values, f"is not one of {words}"


def _moment(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """Dates, times and both, as ISO text: those of a format of their own are brought into ISO order first."""
    text = _days(field, present) if field.type == "date" else _moment_of(field, present)
    words = {"date": "a date", "time": "a time", "datetime": "a date and time"}[field.type]
    own = field.format != "default"
    return text, f"is not {words} like {example_of(field.format) if own else _EXAMPLES[field.type]}"


def _days(field: SchemaField, present: pa.Array) -> pa.Array:
    """Days are looked at once each: a file has few of them."""
    days = present.dictionary_encode()
    iso = _moment_of(field, days.dictionary)
    return present if iso.equals(days.dictionary) else iso.take(days.indices)


def _moment_of(field: SchemaField, present: pa.Array) -> pa.Array:
    own = field.format != "default"
    text = _matching(_iso_order(present, field.format) if own else present, _ISO[field.type])
    if field.type != "time":
        text = _existing(text)
    if field.type == "datetime":
        text = _canonical(text, "T.{8}Z?$", _whole) if own else _canonical(text, "T.{8}Z$", _in_utc)
    if field.type == "time":
        text = _canonical(text, "^.{8}$", lambda value: time.fromisoformat(value).isoformat())
    return text


def example_of(format_: str) -> str:
    """How the last day of January 2026, at nine, is written in a format."""
    return datetime(2026, 1, 31, 9, 0, 0).strftime(format_)


def _iso_order(text: pa.Array, format_: str) -> pa.Array:
    """Each value as ISO, null where it is not of the format. A single digit stands for two ("5/1/2026")."""
    padded = pc.replace_substring_regex(text, r"\b([0-9])\b", r"0\1")
    pattern, captures = "", dict[str, str]()
    for literal, directive in re.findall(r"([^%]+)|%(.)", format_):
        if literal:
            pattern += re.escape(literal)
        else:
            pattern += f"({DIRECTIVES[directive]})"
            captures[directive] = rf"\{len(captures) + 1}"
    day = "-".join(captures[each] for each in "Ymd" if each in captures)
    clock = ":".join(captures[each] for each in "HMS" if each in captures)
    iso = "T".join(part for part in (day, clock) if part) + ("Z" if clock and day and format_.endswith("Z") else "")
    return pc.replace_substring_regex(_matching(padded, f"^{pattern}$"), f"^{pattern}$", iso)


def _canonical(text: pa.Array, pattern: str, written: Callable[[str], str | None]) -> pa.Array:
    """Values that are not of the pattern, which are few, written anew: each in one way only, so that they compare."""
    odd = pc.invert(pc.match_substring_regex(text, pattern))
    if pc.any(odd).as_py() is not True:
        return text
    values = pc.unique(text.filter(pc.fill_null(odd, False)))
    anew = pa.array([written(value) for value in values.to_pylist()], pa.string())
    places = pc.index_in(text, value_set=values)
    return pc.if_else(pc.is_valid(places), pc.take(anew, places), text)


def _in_utc(value: str) -> str | None:
    """An ISO moment in UTC; one without a zone is taken to be in UTC already. None: its year is 0 or 10000 there."""
    moment = datetime.fromisoformat(value)
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _whole(value: str) -> str:
    """An ISO moment with its seconds."""
    return datetime.fromisoformat(value).isoformat().replace("+00:00", "Z")


def _existing(text: pa.Array) -> pa.Array:
    """Without days that no calendar has, and without the year 0, which PostgreSQL does not know."""
    days = pc.utf8_slice_codeunits(text, 0, 10)
    distinct = pc.drop_null(pc.unique(days))
    real = pa.array([_is_a_day(day) for day in distinct.to_pylist()], pa.bool_())
    if pc.all(real).as_py() is not False:
        return text
    wrong = pc.is_in(days, value_set=distinct.filter(pc.invert(real)))
    return pc.if_else(wrong, pa.scalar(None, pa.string()), text)


def _is_a_day(day: str) -> bool:
    try:
        date.fromisoformat(day)
    except ValueError:
        return False
    return True


_PARSERS: dict[str, Callable[[SchemaField, pa.Array], tuple[pa.Array, str]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _moment,
    "time": _moment,
    "datetime": _moment,
}


def _constraints(field: SchemaField, values: pa.Array) -> Iterator[tuple[pa.Array, str]]:
    """Per constraint: where a value violates it (null where there is no value), and the rule."""
    rules = field.constraints
    if rules.minimum is not None:
        least = _bound(field, rules.minimum)
        yield pc.less(_comparable(field, values), least), f"is less than {rules.minimum}"
    if rules.maximum is not None:
        most = _bound(field, rules.maximum)
        yield pc.greater(_comparable(field, values), most), f"is more than {rules.maximum}"
    if rules.min_length is not None:
        shortest = rules.min_length
        yield pc.less(pc.utf8_length(values), shortest), f"is shorter than {shortest} characters"
    if rules.max_length is not None:
        longest = rules.max_length
        yield pc.greater(pc.utf8_length(values), longest), f"is longer than {longest} characters"
    if rules.pattern is not None:
        matches = pc.match_substring_regex(values, f"^(?:{rules.pattern})$")
        yield pc.invert(matches), f"does not match the pattern {rules.pattern}"
    if rules.enum is not None:
        allowed = pa.array([_bound(field, each) for each in rules.enum], values.type)
        outside = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(_comparable(field, values), value_set=allowed)))
        words = ", ".join(str(each) for each in rules.enum[:10]) + (" …" if len(rules.enum) > 10 else "")
        yield outside, f"is not one of {words}"


def _bound(field: SchemaField, value: str | float | bool) -> str | float | bool:
    """A value that a constraint names, to be compared with what `_comparable` makes of a column."""
    text = str(value)
    if field.type == "date":
        return date.fromisoformat(text).isoformat()
    if field.type == "time":
        return time.fromisoformat(text).replace(tzinfo=None).isoformat()
    if field.type != "datetime":
        return value
    if field.format == "default" or field.format.endswith("Z"):
        return (_in_utc(text) or text).removesuffix("Z")
    return datetime.fromisoformat(text).replace(tzinfo=None).isoformat()


def _comparable(field: SchemaField, values: pa.Array) -> pa.Array:
    """Moments without their Z, which would make 09:00:00.5Z come before 09:00:00Z."""
    return pc.utf8_rtrim(values, "Z") if field.type == "datetime" else values
