"""Parses text into typed values, one column at a time, on Arrow arrays. The Table Schema standard defines the types.

A whole column is cast at once. Only unusual values are parsed exactly, which is slower.
"""

import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.schema import DIRECTIVES, SchemaField

Mask = npt.NDArray[np.bool_]
#: Text → typed values, null where a value is invalid.
Parse = Callable[[pa.Array], pa.Array]

#: Digits that a double preserves: a decimal number with more would be stored as another number.
SIGNIFICANT_DIGITS = 15

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?"
_ISO = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "datetime": f"^{_DATE}[T ]{_TIME}(Z|[+-]{_CLOCK})?$"}
_EXAMPLES = {"date": "2026-01-31", "time": "09:00:00", "datetime": "2026-01-31T09:00:00Z"}


def parse(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """Values in the field's type, null where a value is invalid, and the rule that invalid values break.

    present: text, null where a value is missing. Dates and times are returned as ISO text, which both databases accept.
    """
    return _PARSERS[field.type](field, present)


def _matching(values: pa.Array, pattern: str) -> pa.Array:
    """The values, null where one does not match."""
    matches = pc.match_substring_regex(values, pattern)
    if pc.all(matches).as_py() is not False:
        return values
    return pc.if_else(pc.fill_null(matches, False), values, pa.scalar(None, pa.string()))


def _lengths(text: pa.Array) -> npt.NDArray[np.int32]:
    """Bytes of each value; 0 for a missing one."""
    lengths = pc.binary_length(text)
    found: npt.NDArray[np.int32] = (pc.fill_null(lengths, 0) if lengths.null_count else lengths).to_numpy()
    return found


def _other_bytes(text: pa.Array, usual: bytes) -> Mask:
    """Which values contain a byte other than these."""
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
    """Parse the odd values with `exact`, which is slow, and the others, usually most of them, with `plain`."""
    if not odd.any():
        return plain(text)
    mask = pa.array(odd)
    values = plain(pc.if_else(mask, pa.scalar(None, pa.string()), text))
    return pc.replace_with_mask(values, mask, exact(text.filter(mask)))


def _string(_field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    return present, "is not text"


def _integer(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """An optional sign and digits, within 64 bits. Leading zeros are ignored."""
    text = _ungrouped(field, present)

    def exact(odd: pa.Array) -> pa.Array:
        return _cast(pc.utf8_ltrim(_matching(odd, _INTEGER), "+"), pa.int64())

    plain = partial(_cast, kind=pa.int64())
    return _in_two_ways(text, _other_bytes(text, b"0123456789"), plain, exact), "is not a whole number"


def _number(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """A decimal number with an optional exponent. The standard also allows NaN and INF; they are invalid here."""
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
    if pc.any(tiny).as_py():  # zeros, and numbers so small that a double loses some or all of their digits
        lost = pc.match_substring_regex(pc.if_else(tiny, text, pa.scalar(None, pa.string())), "^[^eE]*[1-9]")
        values = pc.if_else(pc.fill_null(lost, False), pa.scalar(None, pa.float64()), values)
    return values


def _ungrouped(field: SchemaField, text: pa.Array) -> pa.Array:
    """Without the characters that group digits; each must be between two digits."""
    if field.group_char is None:
        return text
    group = re.escape(field.group_char)
    misplaced = pc.match_substring_regex(text, f"(^|[^0-9]){group}|{group}([^0-9]|$)")
    return pc.replace_substring(pc.if_else(misplaced, pa.scalar(None, pa.string()), text), field.group_char, "")


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast the whole column at once. If that fails, halve it repeatedly to find the values that can be cast."""
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
    """Dates, times and datetimes as ISO text. Values with a custom format are converted to ISO order first."""
    text = _days(field, present) if field.type == "date" else _moment_of(field, present)
    words = {"date": "a date", "time": "a time", "datetime": "a date and time"}[field.type]
    own = field.format != "default"
    return text, f"is not {words} like {example_of(field.format) if own else _EXAMPLES[field.type]}"


def _days(field: SchemaField, present: pa.Array) -> pa.Array:
    """Parse each distinct day once: a file has few of them."""
    days = present.dictionary_encode()
    iso = _moment_of(field, days.dictionary)
    return present if iso.equals(days.dictionary) else iso.take(days.indices)


def _moment_of(field: SchemaField, present: pa.Array) -> pa.Array:
    own = field.format != "default"
    text = _matching(_iso_order(present, field.format) if own else present, _ISO[field.type])
    if field.type != "time":
        text = _with_existing_days(text)
    if field.type == "datetime":
        text = _canonical(text, "T.{8}Z?$", _whole) if own else _canonical(text, "T.{8}Z$", in_utc)
    if field.type == "time":
        text = _canonical(text, "^.{8}$", lambda value: time.fromisoformat(value).isoformat())
    return text


def example_of(format_: str) -> str:
    """31 January 2026, 09:00, in this format."""
    return datetime(2026, 1, 31, 9, 0, 0).strftime(format_)


def _iso_order(text: pa.Array, format_: str) -> pa.Array:
    """Each value as ISO, null where it does not match the format. Single digits are padded ("5/1/2026")."""
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


def _canonical(text: pa.Array, pattern: str, rewrite: Callable[[str], str | None]) -> pa.Array:
    """Rewrite the few values that do not match the pattern, so that equal values have equal text."""
    odd = pc.invert(pc.match_substring_regex(text, pattern))
    if pc.any(odd).as_py() is not True:
        return text
    values = pc.unique(text.filter(pc.fill_null(odd, False)))
    rewritten = pa.array([rewrite(value) for value in values.to_pylist()], pa.string())
    places = pc.index_in(text, value_set=values)
    return pc.if_else(pc.is_valid(places), pc.take(rewritten, places), text)


def in_utc(value: str) -> str | None:
    """An ISO datetime in UTC; one without a time zone is taken as UTC. None: its year in UTC is 0 or 10000."""
    moment = datetime.fromisoformat(value)
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return moment.isoformat().replace("+00:00", "Z")


def _whole(value: str) -> str:
    """An ISO datetime with seconds."""
    return datetime.fromisoformat(value).isoformat().replace("+00:00", "Z")


def _with_existing_days(text: pa.Array) -> pa.Array:
    """Without days that do not exist, and without the year 0, which PostgreSQL does not support."""
    days = pc.utf8_slice_codeunits(text, 0, 10)
    distinct = pc.drop_null(pc.unique(days))
    real = pa.array([_day_exists(day) for day in distinct.to_pylist()], pa.bool_())
    if pc.all(real).as_py() is not False:
        return text
    invalid = pc.is_in(days, value_set=distinct.filter(pc.invert(real)))
    return pc.if_else(invalid, pa.scalar(None, pa.string()), text)


def _day_exists(day: str) -> bool:
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
