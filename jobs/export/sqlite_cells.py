"""Expressions of SQLite that spell the cells of a CSV file as `spelling.format_value` does, quoted where they must be.

SQLite runs them without the interpreter's lock. What they cannot spell, a function in Python does, cell by cell.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jobs.corrections import escape_formula
from jobs.export import csv_text
from jobs.rows.spelling import format_value, missing_text
from jobs.rows.sql_table import SqlTable
from jobs.schema import SchemaField, TableSchema

#: Where a part of a moment is in its ISO text: first character from 1, and their number.
_PLACES = {"Y": (1, 4), "m": (6, 2), "d": (9, 2), "H": (12, 2), "M": (15, 2), "S": (18, 2)}
_PLACES_OF_TIME = {"H": (1, 2), "M": (4, 2), "S": (7, 2)}
#: The text between the parts of a moment that needs neither quotes nor an escape.
_HARMLESS = re.compile(r"(?:%[YmdHMS]|(?<!^)[-/.: T])+Z?")
#: Beyond these, %g writes an exponent.
_LEAST, _MOST = "1e-4", "1e15"


@dataclass
class SqliteCells:
    """The cells of one dataset. is_raw: formulas are not escaped. functions: that the expressions call, by name."""

    table: SqlTable
    schema: TableSchema
    is_raw: bool
    functions: dict[str, Callable[[Any], str]] = field(default_factory=dict)

    def expression(self, column: SchemaField, value: str, *, is_plain: bool) -> str:
        """A cell, which is null only where it is empty. value: the column. is_plain: its text needs no quotes, and no
        formula follows a separator in it."""
        missing = self._constant(missing_text(self.schema, column))
        if column.type == "boolean":
            true, false = (self._constant(words[0]) for words in (column.true_values, column.false_values))
            return f"CASE WHEN {value} IS NULL THEN {missing} WHEN {value} THEN {true} ELSE {false} END"
        if column.type == "string":
            found = self._plain_text(value) if is_plain else self._text(value)
        elif column.type == "number":
            found = self._number(column, value)
        elif column.type == "integer" or column.format == "default":
            found = value
        else:
            found = self._moment(column, value)
        return found if missing == "''" else f"ifnull({found}, {missing})"

    def alone(self, expression: str) -> str:
        """The only cell of a row, which is quoted if it is empty."""
        return f"CASE WHEN ifnull({expression}, '') = '' THEN '\"\"' ELSE {expression} END"

    def _constant(self, text: str) -> str:
        return self.table.literal(self._finished(text))

    def _finished(self, text: str) -> str:
        return csv_text.cell(text if self.is_raw else escape_formula(text))

    def _plain_text(self, value: str) -> str:
        if self.is_raw:
            return value
        self.functions["export_text"] = self._finished
        # To compare costs SQLite less than to call a function: most texts begin with a letter or a digit.
        may_be = f"({value} < 'A' AND ({value} < '0' OR {value} >= ':') OR {value} >= '\uff0b')"
        return f"CASE WHEN {may_be} AND {begins_risky(value)} THEN export_text({value}) ELSE {value} END"

    def _text(self, value: str) -> str:
        if self.is_raw:
            quoted = f"""'"' || replace({value}, '"', '""') || '"'"""
            return f"""CASE WHEN {value} GLOB '*[,"\r\n]*' THEN {quoted} ELSE {value} END"""
        self.functions["export_text"] = self._finished
        risky = f"""{value} GLOB '*[,;"\t\r\n]*' OR {value} GLOB '[=+@\uff1d\uff0b\uff0d\uff20''"-]*'"""
        return f"CASE WHEN {risky} THEN export_text({value}) ELSE {value} END"

    def _number(self, column: SchemaField, value: str) -> str:
        in_python = self._in_python(column, value)
        has_signs = bool(column.prefix or column.suffix)
        has_points = column.decimal_char == "." or (column.decimal_char == "," and column.decimals > 0)
        is_harmless = self.is_raw or not has_signs
        affixes_fit = csv_text.cell(column.prefix + column.suffix) == column.prefix + column.suffix
        if column.exponent or column.group_char or not (has_points and is_harmless and affixes_fit):
            return in_python
        digits = f"abs({value})" if has_signs else value
        if column.decimals:
            # Of 15 digits, which are all that a double keeps, so many are decimals, and no other is one.
            usual = f"abs({value}) < 1e{15 - column.decimals:d} AND round({value}, {column.decimals:d}) = {value}"
            text = f"printf('%.{column.decimals:d}f', {digits})"
        else:
            usual = f"abs({value}) < {_MOST} AND (abs({value}) >= {_LEAST} OR {value} = 0)"
            text = f"printf('%.15g', {digits})"
        if column.decimal_char != ".":
            text = f"replace({text}, '.', {self.table.literal(column.decimal_char)})"
        if has_signs:
            prefix, suffix = self.table.literal(column.prefix), self.table.literal(column.suffix)
            text = f"CASE WHEN {value} < 0 THEN '-' ELSE '' END || {prefix} || {text} || {suffix}"
        if column.decimal_char == ",":
            text = f"""'"' || {text} || '"'"""
        return f"CASE WHEN {value} IS NULL THEN NULL WHEN {usual} THEN {text} ELSE {in_python} END"

    def _moment(self, column: SchemaField, value: str) -> str:
        places = _PLACES_OF_TIME if column.type == "time" else _PLACES
        if column.offset is not None or _HARMLESS.fullmatch(column.format) is None:
            return self._in_python(column, value)
        parts = []
        for literal, directive in re.findall(r"([^%]+)|%(.)", column.format):
            if literal:
                parts.append(self.table.literal(literal))
            else:
                first, length = places[directive]
                part = f"substr({value}, {first}, {length})"
                parts.append(f"CAST({part} AS INTEGER)" if directive in column.unpadded else part)
        return " || ".join(parts)

    def _in_python(self, column: SchemaField, value: str) -> str:
        def spell(stored: Any) -> str:
            return self._finished(format_value(self.schema, column, stored))

        name = f"export_{self.schema.names.index(column.name)}"
        self.functions[name] = spell
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE {name}({value}) END"


def begins_risky(text: str) -> str:
    """An expression: whether `escape_formula` may change the beginning of a text."""
    return f"""{text} GLOB '[=+@\uff1d\uff0b\uff0d\uff20''"\t\r\n-]*'"""


def is_risky(text: str) -> str:
    """An expression: whether `escape_formula` may change a text. Numbers are left out, of which it changes none."""
    is_number = f"{text} GLOB '[+-][0-9]*' AND NOT substr({text}, 2) GLOB '*[^0-9.,]*'"
    separated = " OR ".join(
        f"""instr({text}, '{separator}') AND {text} GLOB '*{separator}[=+@\uff1d\uff0b\uff0d\uff20''"-]*'"""
        for separator in ";\t\r\n"
    )
    return f"({begins_risky(text)} AND NOT ({is_number}) OR {separated})"
