"""The failed rows of an upload as CSV, byte for byte as `corrections.record` has them, made by the database.

What is stored is JSON (failed_rows_writer.py). The cells of most rows become CSV by replacing what stands between them.
Rows with a comma in a cell, or with another number of cells than the file, are put together cell by cell; so are those
in which a cell may have another reason to be quoted, or to be escaped, which takes longest. Rows with control
characters of which SQL makes no text are made in Python, and so are long ones.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa

from jobs import corrections
from jobs.corrections import escape_formula
from jobs.database import Database
from jobs.export import copying, csv_text
from jobs.export.blocks import Blocks, BlockTooLargeError
from jobs.export.postgresql_cells import escaped
from jobs.export.sqlite_cells import is_risky
from jobs.export.sqlite_lines import Lines
from jobs.failed_rows import QUOTED, FailedRow, Reason
from jobs.rows.selection import Condition, Operator, Selection
from jobs.rows.sql_table import SqlTable, Statement
from jobs.tables import failed_rows
from jobs.uploads import Upload

#: Spreadsheet programs read a file that begins with this as UTF-8.
BOM = "\ufeff".encode()
#: Characters that must be quoted, and how JSON writes them.
_QUOTED, _QUOTED_IN_JSON = ',"\r\n', ('\\"', "\\n", "\\r")
#: How the JSON of an odd row's control characters begins: PostgreSQL's text has no null character, and COPY marks lines
#: with others.
_ODD_IN_JSON = "\\u000"
#: What begins formulas in JSON: signs, of which a pattern finds any, and wide ones; and what separates them.
_SIGNS, _SIGN = ('"=', '"+', '"-', '"@', "\"'"), "*\"[=+@'-]*"
_WIDE_SIGNS_AND_SEPARATORS = ('"\\uff', ";", "\\t")
#: A pattern of JSON with one text, or several.
_OF_TEXTS = '["%"]'
#: Characters of the JSON of cells from which a row is odd: a dozen expressions copy or search them.
_LONG = 1 << 15
#: Names for the parts of a reason.
_PARTS = ("name", "rule", "value", "detail")
#: A line that COPY encloses in marks is one with ends of lines in it, or an odd row, which begins with a marker.
_MARK, _MARKER = b"\x01", b"\x02"
_COPY_OPTIONS = "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02', ENCODING 'UTF8')"


def csv_blocks(database: Database, upload: Upload, *, is_raw: bool) -> Blocks:
    """failed-rows.csv. is_raw: formulas are not escaped."""
    columns = {name: failed_rows.c[name].type for name in ("upload_id", "row_number", "cells", "reasons")}
    table = SqlTable(database.engine.dialect, failed_rows.name, columns, key=["row_number"])
    made = (_SqliteFailedRows if table.is_sqlite else _PostgresqlFailedRows)(table, upload, is_raw)
    return Blocks(database, table, Selection((Condition("upload_id", Operator.EQUAL, upload.id),)), made)


class _FailedRows(ABC):
    """A line as an expression: its parts, of which some depend on the kind of database."""

    #: The database's functions for the length of a text and for the place of another one in it.
    length: ClassVar[str]
    position: ClassVar[str]
    #: The JSON of cells and reasons as text.
    c: ClassVar[str]
    r: ClassVar[str]
    #: Ends a subquery whose expressions are to be evaluated once, and not wherever their names stand.
    once: ClassVar[str]

    def __init__(self, table: SqlTable, upload: Upload, is_raw: bool) -> None:
        self._table = table
        self._text = table.literal
        self._upload_id = upload.id
        self._names = upload.header or []
        self._width = len(self._names)
        self._is_raw = is_raw

    def head(self) -> bytes:
        return BOM + csv_text.lines([corrections.header(self._names, raw=self._is_raw)])

    def python_line(self, number: int, cells: list[str], reasons: list[list[str | None]]) -> str:
        """A line without its end."""
        row = FailedRow(number, cells, [Reason(*each) for each in reasons])  # type: ignore[arg-type]  # a rule is a text
        return ",".join(map(csv_text.cell, corrections.record(row, self._upload_id, self._width, raw=self._is_raw)))

    def lines(self, line: str, selection: Selection, place: Sequence[Any], rows: int | None) -> Statement:
        """A statement whose only column is an expression of the row and of `odd` and `error`: whether it is one to be
        made in Python, and its last cell before it is quoted."""
        odd, error = f"{self._is_odd()} AS odd", f"{self.unless(self._is_odd(), self._sentence())} AS error"
        page, values = self._table.page(f"row_number, cells, reasons, {odd}, {error}", selection, place, limit=rows)
        if not self._is_raw:
            escaped = f"{self.escaped('error')} AS error"
            page = f"SELECT row_number, cells, reasons, odd, {escaped} FROM ({page}) AS page {self.once}"
        return f"SELECT {line} AS line FROM ({page}) AS row {self.once}", values

    def line(self) -> str:
        """A line without its end."""
        wild = self._each_cell(_quoted("v", self.must_be_quoted("v")), self.escaped("v"))
        tame = self._each_cell(_quoted("v", self.has("v", ",")), "v")
        plain = f"WHEN {self._is_plain()} THEN {self._plain_cells()}"
        cells = f"CASE WHEN {self._is_wild()} THEN {wild} {plain} ELSE {tame} END || ',' || "
        error = _quoted("error", self.has_any("error", _QUOTED))
        return f"{cells if self._width else ''}'{self._upload_id:d},' || row_number || ',' || {error}"

    def row(self) -> str:
        """A row as JSON."""
        return f"'[' || row_number || ',' || {self.c} || ',' || {self.r} || ']'"

    def _is_odd(self) -> str:
        has_odd = f"{self.has(self.c, _ODD_IN_JSON)} OR {self.has(self.r, _ODD_IN_JSON)}"
        return f"CASE WHEN {self._is_long()} THEN true ELSE {has_odd} END"  # an OR would search long ones as well

    def _is_long(self) -> str:
        return f"{self.length}({self.c}) > {_LONG:d}"

    def _is_wild(self) -> str:
        """Whether a cell may have to be quoted for another reason than a comma, or to be escaped."""
        quoted = f"{self.has(self.c, chr(92))} AND ({self.has_any(self.c, _QUOTED_IN_JSON)})"
        return quoted if self._is_raw else f"{quoted} OR {self.may_be_formulas()}"

    def _is_plain(self) -> str:
        """Whether a row that is not wild has as many cells as the file, and no commas.

        As no cell has a quote, each `", "` after the first quote stands between two cells.
        """
        if not self._width:
            return "(1 = 0)"
        commas = self._width - 1
        conditions = [
            f"{self.c} LIKE {self._text(_OF_TEXTS)}",
            f"{self._commas()} = {commas:d}",
            f"{self.length}({self.c}) - {self.length}({self._joined()}) = {4 + 3 * commas:d}",
        ]
        return " AND ".join(conditions)

    def _commas(self) -> str:
        """Those in the JSON of the cells."""
        return f"({self.length}({self.c}) - {self.length}(replace({self.c}, ',', '')))"

    def _joined(self) -> str:
        """The JSON of the cells with commas between them."""
        between = self._text('", "')
        return f"replace(substr({self.c}, 3, abs({self.length}({self.c}) - 4)), {between}, ',')"

    def _plain_cells(self) -> str:
        joined = self._joined()
        return f"CASE WHEN {self.has(self.c, chr(92))} THEN {self.decoded(joined)} ELSE {joined} END"

    def _each_cell(self, quoted: str, escaped: str) -> str:
        """The first cells, and empty ones in the place of those that are missing. quoted, escaped: of a cell `v`."""
        cells = self.cells(limit=self._width)
        if escaped != "v":
            cells = f"SELECT {escaped} AS v FROM ({cells}) AS first {self.once}"
        missing = f"{self._width:d} - coalesce(nullif({self.count()}, 0), 1)"
        empty = f"CASE WHEN {missing} > 0 THEN substr('{',' * self._width}', 1, {missing}) ELSE '' END"
        return f"coalesce(({self.joined(quoted, ',', cells)}), '') || {empty}"

    def _sentence(self) -> str:
        """The reasons and the surplus cells."""
        surplus = self.joined("v", ", ", self.cells(skipped=self._width))
        surplus = f"coalesce('; surplus cells: ' || ({surplus}), '')"
        surplus = f"CASE WHEN {self._commas()} < {self._width:d} THEN '' ELSE {surplus} END"
        return f"{self.sentences()} || {surplus}"

    def sentences(self) -> str:
        """The reasons."""
        return f"coalesce(({self.joined(_reason(*_PARTS), '; ', self.reasons())}), '')"

    def may_be_formulas(self) -> str:
        """Whether a cell may have to be escaped."""
        return self.has_any(self.c, _SIGNS + _WIDE_SIGNS_AND_SEPARATORS)

    def has_any(self, text: str, parts: Sequence[str]) -> str:
        return " OR ".join(self.has(text, part) for part in parts)

    def has(self, text: str, part: str) -> str:
        return f"{self.position}({text}, {self._text(part)}) > 0"

    @abstractmethod
    def must_be_quoted(self, cell: str) -> str: ...

    @abstractmethod
    def unless(self, is_odd: str, sentence: str) -> str:
        """A sentence, of which no odd row needs one."""

    @abstractmethod
    def escaped(self, text: str) -> str:
        """As `escape_formula`."""

    @abstractmethod
    def decoded(self, json_text: str) -> str:
        """The text of what stands between the quotes of a text in JSON."""

    @abstractmethod
    def count(self) -> str:
        """The number of cells."""

    @abstractmethod
    def cells(self, *, limit: int | None = None, skipped: int = 0) -> str:
        """A statement that selects cells, as `v`."""

    @abstractmethod
    def reasons(self) -> str:
        """A statement that selects the parts of the reasons: name, rule, value and detail."""

    @abstractmethod
    def joined(self, what: str, separator: str, source: str) -> str:
        """A statement that joins what is selected; null if there is none."""


def _quoted(text: str, is_needed: str) -> str:
    doubled = f"""'"' || replace({text}, '"', '""') || '"'"""
    return f"CASE WHEN {is_needed} THEN {doubled} ELSE {text} END"


def _reason(name: str, rule: str, value: str, detail: str) -> str:
    """As Reason.sentence."""
    cut = f"CASE WHEN length({value}) > {QUOTED:d} THEN '…' ELSE '' END"
    return (
        f"coalesce(nullif({name}, '') || ': ', '')"
        f" || coalesce('“' || substr({value}, 1, {QUOTED:d}) || {cut} || '” ', '')"
        f" || {rule} || coalesce(' (' || nullif({detail}, '') || ')', '')"
    )


def _of_few(part: Callable[[int, int], str]) -> str:
    """Cases for one reason and for two, whose parts are faster taken one by one. part: of a reason, by its place."""
    first, second = (_reason(*(part(number, place) for place in range(len(_PARTS)))) for number in range(2))
    return f"WHEN 1 THEN {first} WHEN 2 THEN {first} || '; ' || {second}"


class _SqliteFailedRows(_FailedRows):
    length, position, once = "length", "instr", "LIMIT -1"
    c, r = "cells", "reasons"

    def __init__(self, table: SqlTable, upload: Upload, is_raw: bool) -> None:
        super().__init__(table, upload, is_raw)
        self._line = f"CASE WHEN odd THEN export_odd({self.row()}) ELSE {self.line()} END || '\r\n'"

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        left = largest or math.inf  # characters that its odd rows may still have

        def odd_line(row: str) -> str:
            """SQLite itself reads all rows of a block before it says that they are too large."""
            nonlocal left
            left -= len(row)
            if left < 0:
                raise BlockTooLargeError
            return self.python_line(*json.loads(row))

        functions: dict[str, Callable[..., str]] = {"export_odd": odd_line, "export_escaped": escape_formula}
        try:
            lines = Lines(self, self._line, functions)
            return lines.block(connection, selection, place, rows, largest=largest)
        except sa.exc.OperationalError as error:  # as a function of it raised an error
            if left < 0:
                raise BlockTooLargeError from error
            raise

    def unless(self, is_odd: str, sentence: str) -> str:
        return f"CASE WHEN {self._is_long()} THEN '' ELSE {sentence} END"  # of others it lacks what follows a null

    def must_be_quoted(self, cell: str) -> str:
        return f"""{cell} GLOB '*[,"\r\n]*'"""  # of a short text this is faster

    def escaped(self, text: str) -> str:
        return text if self._is_raw else f"CASE WHEN {is_risky(text)} THEN export_escaped({text}) ELSE {text} END"

    def decoded(self, json_text: str) -> str:
        return f"""json_extract('"' || {json_text} || '"', '$')"""

    def count(self) -> str:
        return "json_array_length(cells)"

    def cells(self, *, limit: int | None = None, skipped: int = 0) -> str:
        return f"SELECT value AS v FROM json_each(cells) LIMIT {-1 if limit is None else limit:d} OFFSET {skipped:d}"

    def may_be_formulas(self) -> str:
        """To look for all signs at once is faster."""
        return f"{self.c} GLOB {self._text(_SIGN)} OR {self.has_any(self.c, _WIDE_SIGNS_AND_SEPARATORS)}"

    def sentences(self) -> str:
        few = _of_few(lambda number, place: f"json_extract(reasons, '$[{number}][{place}]')")
        return f"CASE json_array_length(reasons) {few} ELSE {super().sentences()} END"

    def reasons(self) -> str:
        parts = ", ".join(f"json_extract(v, '$[{place}]') AS {name}" for place, name in enumerate(_PARTS))
        return f"SELECT {parts} FROM (SELECT value AS v FROM json_each(reasons) LIMIT -1) {self.once}"

    def joined(self, what: str, separator: str, source: str) -> str:
        return f"SELECT group_concat({what}, '{separator}') FROM ({source})"


class _PostgresqlFailedRows(_FailedRows):
    """COPY sends lines as they are, enclosed in marks where one has an end of a line in it or a marker."""

    length, position, once = "octet_length", "strpos", "OFFSET 0"
    c, r = "cells::text", "reasons::text"

    def block(
        self, connection: sa.Connection, selection: Selection, place: list[Any], rows: int, *, largest: int | None
    ) -> tuple[bytes, int]:
        line = f"CASE WHEN odd THEN {self._text(_MARKER.decode())} || {self.row()} ELSE {self.line()} END"
        select, values = self.lines(line, selection, place, rows)
        statement = f"COPY ({select}) TO STDOUT {_COPY_OPTIONS}"
        return copying.text(connection, statement, values, largest=largest, finish=self._finished)

    def _finished(self, lines: bytearray, _rows: int) -> bytes:
        """With the ends of lines that csv.writer writes."""
        parts = bytes(lines).split(_MARK)
        parts[::2] = [part.replace(b"\n", b"\r\n") for part in parts[::2]]
        parts[1::2] = [self._without_marker(part) for part in parts[1::2]]
        return b"".join(parts)

    def _without_marker(self, line: bytes) -> bytes:
        return self.python_line(*json.loads(line[1:])).encode() if line.startswith(_MARKER) else line

    def unless(self, is_odd: str, sentence: str) -> str:
        return f"CASE WHEN {is_odd} THEN '' ELSE {sentence} END"

    def must_be_quoted(self, cell: str) -> str:
        return self.has_any(cell, _QUOTED)

    def escaped(self, text: str) -> str:
        return text if self._is_raw else escaped(self._text, text)

    def decoded(self, json_text: str) -> str:
        return f"""('["' || {json_text} || '"]')::json ->> 0"""

    def count(self) -> str:
        return "json_array_length(cells)"

    def cells(self, *, limit: int | None = None, skipped: int = 0) -> str:
        end = "" if limit is None else f" LIMIT {limit:d}"
        return f"SELECT v FROM json_array_elements_text(cells) AS v{end} OFFSET {skipped:d}"

    def sentences(self) -> str:
        few = _of_few(lambda number, place: f"(found -> {number} ->> {place})")
        case = f"CASE jsonb_array_length(found) {few} ELSE {super().sentences()} END"
        return f"(SELECT {case} FROM (SELECT reasons::jsonb AS found {self.once}) AS parsed)"

    def reasons(self) -> str:
        parts = ", ".join(f"reason ->> {place} AS {name}" for place, name in enumerate(_PARTS))
        return f"SELECT {parts} FROM jsonb_array_elements(found) AS reason {self.once}"

    def joined(self, what: str, separator: str, source: str) -> str:
        return f"SELECT string_agg({what}, '{separator}') FROM ({source}) AS joined"
