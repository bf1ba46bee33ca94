"""Explains one invalid value to people: which rule it breaks, and what is special about it."""

import re
from calendar import monthrange

from jobs.pipeline.parsing import SIGNIFICANT_DIGITS, format_pattern
from jobs.schema import LARGEST, MONTHS, SchemaField

#: Rules that a number breaks although it is one.
TOO_MANY_DIGITS = "has more digits than a number can keep"
TOO_LARGE = "is too large or too small for a number"
OUT_OF_RANGE = "is too large for a whole number"

#: Characters of the longest value that is looked at.
_LONGEST = 200
_NUMBER = re.compile(r"[+-]?([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_ISO_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):.*)?")
_ISO_TIME = re.compile(r"([0-9]{2}):[0-9]{2}.*")


def explain(field: SchemaField, rule: str, text: str) -> tuple[str, str | None]:
    """The rule that a value breaks, and a detail. rule: the one that values of the field break usually."""
    text = text.strip()
    if len(text) > _LONGEST:
        return rule, None
    if field.type in ("integer", "number"):
        return _about_number(field, rule, text)
    if field.type in ("date", "datetime", "time"):
        return rule, _about_moment(field, text)
    return rule, None


def _about_number(field: SchemaField, rule: str, text: str) -> tuple[str, str | None]:
    plain = text.replace(field.group_char or "", "") if field.group_char else text
    if field.decimal_char != ".":
        plain = "" if "." in plain else plain.replace(field.decimal_char, ".")
    plain = plain.removeprefix(field.prefix).removesuffix(field.suffix)
    found = _NUMBER.fullmatch(plain)
    if found is None:
        return rule, None
    if field.type == "integer":
        is_large = found[1].isdecimal() and int(found[1]) >= LARGEST["integer"] and "e" not in plain.lower()
        return (OUT_OF_RANGE if is_large else rule), None
    digits = len(re.sub(r"^0*\.?0*", "", found[1]).replace(".", ""))
    if digits > SIGNIFICANT_DIGITS:
        return TOO_MANY_DIGITS, f"{digits} digits, at most {SIGNIFICANT_DIGITS} are kept"
    return (TOO_LARGE, None) if "e" in plain.lower() else (rule, None)


def _about_moment(field: SchemaField, text: str) -> str | None:
    """What does not exist: 31 February, month 13, hour 24."""
    parts = _parts_of(field, text)
    if "d" in parts:
        year, month, day = (int(parts[each]) for each in "Ymd")
        if not 1 <= month <= 12:
            return f"month {month} does not exist"
        most = 29 if month == 2 else monthrange(2000, month)[1]
        if not 1 <= day <= most:
            return f"{day} {MONTHS[month - 1]} does not exist"
        if year == 0:
            return "the year 0 does not exist"
        if day > monthrange(year, month)[1]:
            return f"29 February {year} does not exist"
    if "H" in parts and int(parts["H"]) > 23:
        return f"hour {int(parts['H'])} does not exist"
    return None


def _parts_of(field: SchemaField, text: str) -> dict[str, str]:
    """The digits of each part that was written in the field's format; none if the text has another form."""
    if field.format == "default":
        found = (_ISO_TIME if field.type == "time" else _ISO_DAY).fullmatch(text)
        names = "H" if field.type == "time" else "YmdH"
        return {} if found is None else {name: part for name, part in zip(names, found.groups(), strict=True) if part}
    pattern, captures = format_pattern(field.format)
    found = re.fullmatch(pattern, text)
    if found is None:
        return {}
    parts = {name: found[place] for place, name in enumerate(captures, start=1)}
    name = parts.get("b") or parts.get("B")
    if name:
        parts["m"] = str(next(n for n, month in enumerate(MONTHS, start=1) if month[:3].lower() == name[:3].lower()))
    return {name: part for name, part in parts.items() if name in "YmdH" and part}
