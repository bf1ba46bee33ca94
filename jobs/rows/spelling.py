"""Spells a stored value as text that its field reads as the same value: as the first file spelled its values."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from jobs.schema import MONTHS, SchemaField, TableSchema

#: Types that SQLite stores as ISO text.
TEMPORAL: dict[str, type[date] | type[time]] = {"date": date, "datetime": datetime, "time": time}


def format_value(schema: TableSchema, field: SchemaField, value: Any) -> str:
    """A stored value as text. A number has its shortest decimals if its field has no `decimals`: 1.50 becomes 1.5."""
    if value is None:
        return missing_text(schema, field)
    if field.type == "boolean":
        return field.true_values[0] if value else field.false_values[0]
    if field.type in TEMPORAL:
        return _moment(field, TEMPORAL[field.type].fromisoformat(value) if isinstance(value, str) else value)
    return spelled_number(field, value) if isinstance(value, float) else str(value)


def missing_text(schema: TableSchema, field: SchemaField) -> str:
    """The text of a missing value: `missingAs` if the field has one, else the shortest missing value."""
    if field.missing_as is not None:
        return field.missing_as
    return min(schema.missing_values_of(field), key=len, default="")


def spelled_number(field: SchemaField, value: float) -> str:
    """A number with the signs, separators and decimals of its field."""
    sign = "-" if repr(value).startswith("-") else ""
    shortest = repr(abs(value)).removesuffix(".0")
    return f"{sign}{field.prefix}{_digits(field, abs(value), shortest)}{field.suffix}"


def _digits(field: SchemaField, value: float, shortest: str) -> str:
    plain = format(Decimal(shortest), "f") if "e" in shortest else shortest
    if field.exponent in ("e", "E"):
        return _scientific(value, shortest, field.decimals).replace("e", field.exponent)
    if field.exponent == "auto" and "e" in shortest:
        return shortest
    if field.exponent == "short" and len(brief := _scientific(value, shortest)) < len(plain):
        return brief
    whole, _, decimals = plain.partition(".")
    if field.group_char is not None:
        whole = f"{int(whole):,}".replace(",", field.group_char)
    decimals = decimals.ljust(field.decimals, "0")
    return f"{whole}{field.decimal_char}{decimals}" if decimals else whole


def _scientific(value: float, shortest: str, least: int = 0) -> str:
    """With an exponent of at least two digits, and at least so many digits after the point: 1e+05."""
    digits = shortest.partition("e")[0].replace(".", "").strip("0")
    return f"{value:.{max(len(digits) - 1, least)}e}"


def _moment(field: SchemaField, moment: Any) -> str:
    if field.format == "default":
        return str(moment.isoformat().replace("+00:00", "Z"))
    return spelled(field, moment)


def spelled(field: SchemaField, moment: Any) -> str:
    """A date, time or datetime in the field's format, as strftime does it in every year and without a locale."""
    if field.offset is not None:
        moment = _in_zone(moment, field.offset)
    # With its point, a fraction is left out if it has no digits.
    return re.sub(r"\.%f|%(.)", lambda found: _part(field, moment, found), field.format)


def _part(field: SchemaField, moment: Any, found: re.Match[str]) -> str:
    directive = found[1]
    if directive is None or directive == "f":
        digits = f"{moment.microsecond:06}".rstrip("0").ljust(field.decimals, "0")
        return (f".{digits}" if digits else "") if directive is None else digits or "0"
    if directive == "z":
        return field.offset or "Z"
    text = _PARTS[directive](moment)
    return text.removeprefix("0") if directive in field.unpadded and len(text) == 2 else text


_PARTS: dict[str, Callable[[Any], str]] = {
    "Y": lambda moment: f"{moment.year:04}",
    "m": lambda moment: f"{moment.month:02}",
    "b": lambda moment: MONTHS[moment.month - 1][:3],
    "B": lambda moment: MONTHS[moment.month - 1],
    "d": lambda moment: f"{moment.day:02}",
    "H": lambda moment: f"{moment.hour:02}",
    "I": lambda moment: f"{(moment.hour + 11) % 12 + 1:02}",
    "p": lambda moment: "AM" if moment.hour < 12 else "PM",
    "M": lambda moment: f"{moment.minute:02}",
    "S": lambda moment: f"{moment.second:02}",
}


def _in_zone(moment: datetime, offset: str) -> datetime:
    """The same moment at a distance from UTC: +0100."""
    sign = -1 if offset[0] == "-" else 1
    digits = offset[1:].replace(":", "").ljust(4, "0")
    zone = timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone(zone)
