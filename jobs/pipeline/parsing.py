"""Text → values of a type, a column at a time on Arrow arrays. What a type means is the Table Schema standard's.

Whole columns are cast at once; only values that have something unusual about them are looked at closely.
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
#: Text → values of a type, null where a value is none.
Parse = Callable[[pa.Array], pa.Array]

#: Digits of a decimal number that a double keeps: one with more would come back as another number.
SIGNIFICANT_DIGITS = 15

_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?"
_ISO = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "datetime": f"^{_DATE}[T ]{_TIME}(Z|[+-]{_CLOCK})?$"}
_EXAMPLES = {"date": "2026-01-31", "time": "09:00:00", "datetime": "2026-01-31T09:00:00Z"}


def parse(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """Values in the field's type, null where a value is none, and what is said of those. present: text, null where a
    value is missing. Dates and times come out as the ISO text that both databases take."""
    return _PARSERS[field.type](field, present)


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
        text = _canonical(text, "T.{8}Z?$", _whole) if own else _canonical(text, "T.{8}Z$", in_utc)
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


def in_utc(value: str) -> str | None:
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
