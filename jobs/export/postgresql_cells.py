"""Expressions of PostgreSQL that spell the cells of a CSV file as `spelling.format_value` does. COPY quotes them."""

import re
from collections.abc import Callable

from jobs.corrections import FORMULA_IN_SQL, NUMBERS_IN_SQL, SPACED_IN_SQL, escape_formula
from jobs.rows.spelling import missing_text
from jobs.rows.sql_table import SqlTable
from jobs.schema import SchemaField, TableSchema

#: What `to_char` writes for a directive.
_PATTERNS = {
    "Y": "YYYY", "m": "MM", "b": "Mon", "B": "FMMonth", "d": "DD", "H": "HH24", "I": "HH12", "p": "AM", "M": "MI",
    "S": "SS",
}  # fmt: skip
#: What replaces FORMULA_IN_SQL and SPACED_IN_SQL.
_ESCAPED_FORMULA, _ESCAPED_SPACE = r"\1'\2", r"'\1"
#: What COPY writes for null where every cell has a value: no cell is like it.
_NEVER = "\x02no cell is null\x02"
#: What a text begins with that `escape_formula` may change.
_BEGINNINGS = "=+-@\uff1d\uff0b\uff0d\uff20'\"\t\r\n"
#: Formats whose text needs no escape.
_HARMLESS = re.compile(r"(?:%.|(?<!^)[-/.: ,T])+Z?")


class NotInSqlError(Exception):
    """A cell that PostgreSQL cannot spell."""


class PostgresqlCells:
    """The cells of one dataset. is_raw: formulas are not escaped.

    COPY quotes a text that is the same as what it writes for null. `null` is that text. It is empty, and empty cells
    are null; if missing values have a word somewhere, no cell is null, and it is a text that no cell has. Both take
    time, so usually (`is_exact` false) only missing values with a word are not null: then an empty text that is not
    null has quotes. Then formulas are escaped at the beginnings of cells only.
    """

    def __init__(self, table: SqlTable, schema: TableSchema, *, is_raw: bool, is_exact: bool) -> None:
        self._table = table
        self._schema = schema
        self._is_raw = is_raw
        self._is_exact = is_exact
        has_words = any(missing_text(schema, field) for field in schema.fields)
        self._has_blanks = is_exact and not has_words
        self._has_no_null = is_exact and has_words
        self.null = table.literal(_NEVER if self._has_no_null else "")

    def expression(self, column: SchemaField) -> str:
        """Raises NotInSqlError."""
        name = self._table.identifier(column.name)
        if column.type == "boolean":
            true, false = (self._constant(words[0]) for words in (column.true_values, column.false_values))
            found = self._blanked(f"CASE WHEN {name} THEN {true} WHEN NOT {name} THEN {false} END")
        elif column.type == "string":
            found = self._blanked(self._escaped(name) if self._is_exact else self._escaped_at_start(name))
        elif column.type == "integer":
            found = name
        elif column.type == "number":
            found = self._number(column, name)
        elif column.format == "default":
            found = iso_moment(column, name)
        else:
            found = self._moment(column, name)
        missing = missing_text(self._schema, column)
        if not missing and not self._has_no_null:
            return found
        return f"coalesce(({found})::text, {self._constant(missing)})"

    def _blanked(self, expression: str) -> str:
        return f"nullif({expression}, '')" if self._has_blanks else expression

    def _constant(self, text: str) -> str:
        return self._table.literal(text if self._is_raw else escape_formula(text))

    def _escaped(self, text: str) -> str:
        if self._is_raw:
            return text
        return escaped(self._table.literal, text)

    def _escaped_at_start(self, text: str) -> str:
        if self._is_raw:
            return text
        risky = f"strpos({self._table.literal(_BEGINNINGS)}, left({text}, 1)) > 0"
        return f"CASE WHEN {risky} THEN {self._escaped(text)} ELSE {text} END"

    def _number(self, column: SchemaField, name: str) -> str:
        if column.exponent or column.group_char or column.decimal_char not in ".,":
            raise NotInSqlError
        # It has 15 digits, and no stored number has more (pipeline/parsing.py). As text, 4.73e+21 has 16.
        exact = f"{name}::numeric"
        usual = f"(abs({name}) >= 1e-4 AND abs({name}) < 1e15 OR {name} = 0)"
        if not (column.decimals or column.prefix or column.suffix or column.decimal_char != "."):
            return f"CASE WHEN {usual} THEN {name}::text ELSE {exact}::text END"
        digits = f"round(abs({exact}), greatest(scale({exact}), {column.decimals:d}))::text"
        if column.decimal_char != ".":
            digits = f"replace({digits}, '.', {self._table.literal(column.decimal_char)})"
        sign = f"CASE WHEN left({name}::text, 1) = '-' THEN '-' ELSE '' END"
        text = f"{sign} || {self._table.literal(column.prefix)} || {digits} || {self._table.literal(column.suffix)}"
        return self._escaped(f"({text})") if column.prefix or column.suffix else text

    def _moment(self, column: SchemaField, name: str) -> str:
        if column.offset is not None or _HARMLESS.fullmatch(column.format) is None:
            raise NotInSqlError
        pattern = ""
        for literal, directive in re.findall(r"([^%]+)|%(.)", column.format):
            if not literal and directive not in _PATTERNS:
                raise NotInSqlError
            padded = "" if directive not in column.unpadded else "FM"
            pattern += f'"{literal}"' if literal else padded + _PATTERNS[directive]
        moment = f"(date '2000-01-01' + {name})" if column.type == "time" else name
        return f"to_char({moment}, {self._table.literal(pattern)})"


def escaped(literal: Callable[[str], str], text: str) -> str:
    """A text as `escape_formula` returns it. literal: makes a literal of a text."""
    risky = literal("[;\t\r\n]|^[=+@\uff1d\uff0b\uff0d\uff20'\"-]")
    formulas = f"regexp_replace({text}, {literal(FORMULA_IN_SQL)}, {literal(_ESCAPED_FORMULA)}, 'g')"
    found = f"regexp_replace({formulas}, {literal(SPACED_IN_SQL)}, {literal(_ESCAPED_SPACE)})"
    kept = f"CASE WHEN {text} ~ {literal(NUMBERS_IN_SQL)} THEN {text} ELSE {found} END"
    return f"CASE WHEN {text} ~ {risky} THEN {kept} ELSE {text} END"


def iso_moment(column: SchemaField, name: str) -> str:
    """A date, time or moment as ISO text; the column itself if it has another type.

    The session is in UTC, and its DateStyle is ISO.
    """
    if column.type == "time":
        return f"CASE WHEN length({name}::text) = 8 THEN {name}::text ELSE rpad({name}::text, 15, '0') END"
    if column.type != "datetime":
        return name
    end, zoned = ("Z", "timestamptz") if column.is_in_utc else ("", "timestamp")
    whole = f"replace({name}::timestamp::text, ' ', 'T') || '{end}'"
    fraction = f"""to_char({name}, 'YYYY-MM-DD"T"HH24:MI:SS.US"{end}"')"""
    return f"CASE WHEN {name}::{zoned}(0) = {name} THEN {whole} ELSE {fraction} END"
