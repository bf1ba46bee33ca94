"""Parses text into typed values, one column at a time, on Arrow arrays. The Table Schema standard defines the types.

A whole column is cast at once. Only unusual values are parsed exactly, which is slower.
"""

import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rows.spelling import spelled, spelled_number
from jobs.schema import DIRECTIVES, MONTHS, SchemaField

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
_LABEL = r"[\p{L}\p{N}]+(?:-+[\p{L}\p{N}]+)*"
#: The formats of texts: what matches, and the rule that other texts break. E-mail addresses are those of HTML's input
#: element (https://html.spec.whatwg.org/#valid-e-mail-address), also with letters of other scripts (RFC 6531); the host
#: has a point, and no length is checked, because RE2 would take 25 times as long. URIs have a scheme (RFC 3986), and
#: may have letters of other scripts (RFC 3987). UUIDs have the form of RFC 9562, in either case.
_TEXT_FORMATS = {
    "email": (
        rf"^[\p{{L}}\p{{N}}.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:\.{_LABEL})+$",
        "is not an e-mail address",
    ),
    "uri": (
        r"^[A-Za-z][A-Za-z0-9+.-]*:(?:[\p{L}\p{N}\p{M}._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+$",
        "is not a URI like https://example.com/page",
    ),
    "uuid": (r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", "is not a UUID"),
}
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


def lengths(text: pa.Array) -> npt.NDArray[np.int32]:
    """Bytes of each value; 0 for a missing one."""
    sizes = pc.binary_length(text)
    found: npt.NDArray[np.int32] = (pc.fill_null(sizes, 0) if sizes.null_count else sizes).to_numpy()
    return found


def _other_bytes(text: pa.Array, usual: bytes) -> Mask:
    """Which values contain a byte other than these."""
    found = np.zeros(len(text), dtype=np.bool_)
    if not lengths(text).any():
        return found
    _, ends, data = text.buffers()
    offsets = np.frombuffer(ends, np.int32)[text.offset : text.offset + len(text) + 1]
    other = np.ones(256, dtype=np.bool_)
    other[np.frombuffer(usual, np.uint8)] = False
    places = np.flatnonzero(other.take(np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]])) + offsets[0]
    found[np.searchsorted(offsets, places, side="right") - 1] = True
    return found


def _in_two_ways(text: pa.Array, odd: Mask, plain: Parse, exact: Parse) -> pa.Array:
    """Parse the odd values with `exact`, which is slow, and the others, usually most of them, with `plain`."""
    if not odd.any():
        return plain(text)
    mask = pa.array(odd)
    values = plain(pc.if_else(mask, pa.scalar(None, pa.string()), text))
    return pc.replace_with_mask(values, mask, exact(text.filter(mask)))


def _string(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """Any text, or one of a format."""
    if field.format == "default":
        return present, "is not text"
    pattern, rule = _TEXT_FORMATS[field.format]
    return _matching(present, pattern), rule


def _integer(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """An optional sign and digits, within 64 bits. Leading zeros are ignored."""
    text = _ungrouped(field, _bare(field, present))

    def exact(odd: pa.Array) -> pa.Array:
        return _cast(pc.utf8_ltrim(_matching(odd, _INTEGER), "+"), pa.int64())

    plain = partial(_cast, kind=pa.int64())
    return _in_two_ways(text, _other_bytes(text, b"0123456789"), plain, exact), "is not a whole number"


def _number(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """A decimal number with an optional exponent. The standard also allows NaN and INF; they are invalid here."""
    text = _ungrouped(field, _bare(field, present))
    if field.decimal_char != ".":
        text = pc.if_else(pc.match_substring(text, "."), pa.scalar(None, pa.string()), text)
        text = pc.replace_substring(text, field.decimal_char, ".")
    odd = _other_bytes(text, b"0123456789.") | (lengths(text) > SIGNIFICANT_DIGITS)
    values = _in_two_ways(text, odd, partial(_cast, kind=pa.float64()), _exact_number)
    return values, _not_a_number(field)


def _not_a_number(field: SchemaField) -> str:
    if not (field.prefix or field.suffix or field.decimal_char != "." or field.group_char):
        return "is not a number"
    return f"is not a number like {spelled_number(field, 1234.5)}"


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


#: White space, and the spaces that do not break a line.
_SPACES = r"[\s\x{a0}\x{202f}]*"


def _bare(field: SchemaField, text: pa.Array) -> pa.Array:
    """Without the signs around a number. A percent sign must be there: without it, 5 could be 500 %."""
    if field.bare_number:
        return text
    if not (field.prefix or field.suffix):
        return pc.replace_substring_regex(text, r"^([+-]?)[^0-9+\-.,]*([+-]?[0-9.,](?:.*[0-9.,])?)[^0-9+\-]*$", r"\1\2")
    prefix, suffix = re.escape(field.prefix.strip()), re.escape(field.suffix.strip())
    if any(sign in field.prefix + field.suffix for sign in "%‰"):
        text = _matching(text, f"^[+-]?{_SPACES}{prefix}.*{suffix}$")
    without = (
        pc.replace_substring_regex(text, f"^([+-]?){_SPACES}{prefix}{_SPACES}([+-]?)", r"\1\2") if prefix else text
    )
    return pc.replace_substring_regex(without, f"{_SPACES}{suffix}$", "") if suffix else without


def _ungrouped(field: SchemaField, text: pa.Array) -> pa.Array:
    """Without the characters that group digits. Three digits follow the last of them: 1,5 is not 15."""
    if field.group_char is None:
        return text
    group = re.escape(field.group_char)
    grouped = rf"^[+-]?[0-9]{{1,3}}({group}[0-9]{{2,3}})*{group}[0-9]{{3}}([^0-9{group}][^{group}]*)?$"
    misplaced = pc.and_(pc.match_substring(text, field.group_char), pc.invert(pc.match_substring_regex(text, grouped)))
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
    words = [*field.true_values, *field.false_values]
    places = pc.index_in(present, value_set=pa.array(words, pa.string()))
    rule = f"is not one of {', '.join(words)}" if len(words) > 2 else f"is not {' or '.join(words)}"
    return pc.less(places, len(field.true_values)), rule


def _moment(field: SchemaField, present: pa.Array) -> tuple[pa.Array, str]:
    """Dates, times and datetimes as ISO text. Values with a custom format are converted to ISO order first."""
    text = _days(field, present) if field.type == "date" else _moment_of(field, present)
    words = {"date": "a date", "time": "a time", "datetime": "a date and time"}[field.type]
    example = _EXAMPLES[field.type] if field.format == "default" else example_of(field)
    return text, f"is not {words} like {example}"


def _days(field: SchemaField, present: pa.Array) -> pa.Array:
    """Parse each distinct day once: a file has few of them."""
    days = present.dictionary_encode()
    iso = _moment_of(field, days.dictionary)
    return present if iso.equals(days.dictionary) else iso.take(days.indices)


def _moment_of(field: SchemaField, present: pa.Array) -> pa.Array:
    own = field.format != "default"
    text = _matching(_iso_order(present, field) if own else present, _ISO[field.type])
    if field.type != "time":
        text = _with_existing_days(text)
    if field.type == "datetime":
        text = _canonical(text, "T.{8}Z$", in_utc) if field.is_in_utc else _canonical(text, "T.{8}$", _whole)
    if field.type == "time":
        text = _canonical(text, "^.{8}$", lambda value: time.fromisoformat(value).isoformat())
    return text


def example_of(field: SchemaField) -> str:
    """31 January 2026, 09:00, in the format of the field."""
    return spelled(field, datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC if "%z" in field.format else None))


def _iso_order(text: pa.Array, field: SchemaField) -> pa.Array:
    """Each value as ISO, null where it does not match the format. Single digits are padded ("5/1/2026")."""
    pattern, captures = format_pattern(field.format)
    month = next((captures[each] for each in "mbB" if each in captures), "")
    hour = next((captures[each] for each in "HI" if each in captures), "")
    day = f"{captures['Y']}-{month}-{captures['d']}" if "Y" in captures else ""
    parts = [part for part in (hour, captures.get("M"), captures.get("S")) if part]
    clock = ":".join(parts)
    iso = "T".join(part for part in (day, clock) if part) + captures.get("f", "")
    if clock and day and field.format.endswith("Z"):
        iso += "Z"
    iso += captures.get("z", "") + captures.get("p", "")
    found = pc.replace_substring_regex(_matching(text, f"^{pattern}$"), f"^{pattern}$", iso)
    if "b" in captures or "B" in captures:
        for number, name in enumerate(MONTHS, start=1):
            found = pc.replace_substring_regex(found, f"(?i)-{name[:3]}[a-z]*-", f"-{number:02}-")
    padded = (["2026-01-31"] if day else []) + ([":".join(["00"] * len(parts))] if parts else [])
    shortest = pc.min(pc.binary_length(found)).as_py()
    if shortest is not None and (shortest < len("T".join(padded)) or captures.keys() & set("fpz")):
        for _ in range(2):  # two single digits share what is between them
            found = pc.replace_substring_regex(found, r"(^|[-T:])([0-9])([-T:.ZAaPp+]|$)", r"\10\2\3")
    if "p" in captures:
        found = _of_24_hours(found)
    return _with_colon(found) if "z" in captures else found


def format_pattern(format_: str) -> tuple[str, dict[str, str]]:
    """A regular expression for a format, and the reference to the group of each directive."""
    pattern, captures = "", dict[str, str]()
    pieces = re.findall(r"(\.%f)|([^%.]+|\.)|%(.)", format_)
    for place, (fraction, literal, directive) in enumerate(pieces):
        if literal:
            pattern += re.escape(literal)
            continue
        name = "f" if fraction else directive
        alone = not any(pieces[near][2] for near in (place - 1, place + 1) if 0 <= near < len(pieces))
        if fraction:  # it is left out where it is zero
            group = r"(\.[0-9]{1,6})?"
        elif name in "mdHIMS" and alone:
            group = "([0-9]{1,2})"
        else:
            group = f"({DIRECTIVES[name]})"
        pattern += group
        captures[name] = rf"\{len(captures) + 1}"
        if name == "f" and not fraction:
            captures[name] = "." + captures[name]
    return pattern, captures


def _of_24_hours(text: pa.Array) -> pa.Array:
    """12:30:00PM, at the end of a text, as 12:30:00. Null for the hours 0 and 13."""
    parts = pc.extract_regex(text, r"^(?P<before>(?:.*T)?)(?P<hour>0[1-9]|1[0-2])(?P<rest>:.*?)(?P<half>[aApP])[mM]$")
    before, hour, rest, half = (pc.struct_field(parts, name) for name in ("before", "hour", "rest", "half"))
    hours = pc.cast(hour, pa.int64())
    hours = pc.if_else(pc.equal(hours, 12), 0, hours)
    hours = pc.if_else(pc.is_in(half, pa.array(["p", "P"])), pc.add(hours, 12), hours)
    return pc.binary_join_element_wise(before, pc.utf8_lpad(pc.cast(hours, pa.string()), 2, "0"), rest, "")


def _with_colon(text: pa.Array) -> pa.Array:
    """A time zone as ISO has it: +01:00 for +0100 and +01."""
    text = pc.replace_substring_regex(text, r"(:[0-9.]+)([+-][0-9]{2})$", r"\1\2:00")
    return pc.replace_substring_regex(text, r"([+-][0-9]{2})([0-9]{2})$", r"\1:\2")


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
    return datetime.fromisoformat(value).isoformat()


def _with_existing_days(text: pa.Array) -> pa.Array:
    """Without days that do not exist, and without the year 0, which PostgreSQL does not support."""
    days = pc.utf8_slice_codeunits(text, 0, 10)
    distinct = pc.drop_null(pc.unique(days))
    real = pa.array([_day_exists(day) for day in distinct.to_pylist()], pa.bool_())
    if pc.all(real).as_py() is not False:
        return text
    invalid = pc.is_in(days, value_set=distinct.filter(pc.invert(real)))
    return pc.if_else(invalid, pa.scalar(None, pa.string()), text)


@lru_cache(maxsize=10_000)  # the same days come in each chunk
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
