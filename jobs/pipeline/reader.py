"""Reads a text file: detects its dialect, then yields chunks of text with exact row numbers and byte offsets.

The fast path cuts the bytes of a chunk after the last complete record and parses them with Arrow. It first checks that
every quote is where RFC 4180 allows it. Python's csv module reads everything else (stray or unclosed quotes, bytes that
are not UTF-8), record by record, with the same row numbers.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from jobs import corrections
from jobs.dialect import SAMPLE_RECORDS, detect_delimiter, find_header, skipped_note
from jobs.errors import UnreadableFileError
from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline.prepared_table import KnownProblems, PreparedTable
from jobs.pipeline.source import EXPECTED, TextFile, check_is_text
from jobs.schema import MAX_COLUMNS, MAX_NAME_BYTES, OWN_COLUMNS, SYSTEM_COLUMNS

#: Bytes at the beginning of a file that dialect and header row are detected from.
HEAD_BYTES = 1 << 20
#: Bytes that a record may have. Without this limit, an unclosed quote would include the rest of the file.
MAX_RECORD_BYTES = 1 << 20

UTF8_BOM = b"\xef\xbb\xbf"
_QUOTE, _LF, _CR = b'"\n\r'

csv.field_size_limit(2 * MAX_RECORD_BYTES)


@dataclass(frozen=True)
class Chunk:
    """A run of rows.

    rows: one text column for each column of the file, empty cells are "", index = row number (1 is the first below the
    header). failed: rows that could not be read. count: all rows, without blank lines. next_byte: offset of the byte
    after the chunk.
    """

    rows: pd.DataFrame
    failed: list[FailedRow]
    count: int
    next_byte: int

    def cells(self, number: int) -> list[str]:
        """The original values of a row."""
        return [str(cell) for cell in self.rows.loc[number]]

    def without(self, problems: KnownProblems) -> "Chunk":
        """The chunk with the rows that have known problems among the failed ones."""
        numbers = [number for number in self.rows.index if number in problems]
        if not numbers:
            return self
        names = list(self.rows.columns)
        found = [
            FailedRow(
                number, self.cells(number), [Reason(names[position], rule) for position, rule in problems[number]]
            )
            for number in numbers
        ]
        failed = sorted([*self.failed, *found], key=lambda row: row.row_number)
        return replace(self, rows=self.rows.drop(index=numbers), failed=failed)


def inspect(text: TextFile) -> PreparedTable:
    """Detect the dialect and the columns of a text. Raises UnreadableFileError with a sentence for people."""
    with text.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    check_is_text(head)
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    delimiter = text.delimiter
    if delimiter is None:
        delimiter = detect_delimiter(head[start:].decode("utf-8", "replace"))
    sample = _sample(head, start, delimiter)
    position = text.header_row - 1 if text.header_row is not None else find_header([record.cells for record in sample])
    if position >= len(sample) or not any(sample[position].cells):
        raise UnreadableFileError(f"The file has no header row{_where(text.header_row)}. {EXPECTED}")
    header = sample[position]
    if header.problem:
        raise UnreadableFileError(f"The header row is unreadable, it {header.problem.sentence}. {EXPECTED}")
    tracking_columns = corrections.count_tracking_columns(header.cells)
    names, notes = _unique_names(corrections.without_tracking_columns(header.cells))
    first = next((record.cells for record in sample[position + 1 :] if record.cells), [])
    above = [record.cells for record in sample[:position]]
    skipped_lines = [skipped_note(above, position)] if any(map(any, above)) else []
    return PreparedTable(
        path=text.path,
        delimiter=delimiter,
        names=names,
        first_byte=header.end,
        notes=[*text.notes, *skipped_lines, _columns_note(delimiter, names), *notes],
        tracking_columns=tracking_columns,
        parent=corrections.parent_of(first) if tracking_columns else None,
        problems=text.problems,
    )


def _where(header_row: int | None) -> str:
    return "" if header_row is None else f" at line {header_row:,}"


def chunks(table: PreparedTable, *, start: int, row: int, chunk_bytes: int) -> Iterator[Chunk]:
    """Read rows from an offset on. start: the first byte of a record. row: its number. chunk_bytes: size of a chunk."""
    with table.path.open("rb") as file:
        while True:
            file.seek(start)
            data = file.read(chunk_bytes)
            if not data:
                return
            chunk = _fast(data, len(data) < chunk_bytes, table, start, row) or _exact(
                file, table, start, row, chunk_bytes
            )
            start, row = chunk.next_byte, row + chunk.count
            yield chunk.without(table.problems) if table.problems else chunk


def _sample(head: bytes, start: int, delimiter: str) -> list["_Record"]:
    """The first records, including blank lines, without a last one that the end of `head` may have cut."""
    found: list[_Record] = []
    for record in _records(io.BytesIO(head), start, delimiter):
        if record.end < HEAD_BYTES or not found:
            found.append(record)
        if len(found) == SAMPLE_RECORDS:
            break
    return found


def _unique_names(cells: list[str]) -> tuple[list[str], list[str]]:
    """Valid and unique column names, and a sentence for each name that differs from the file's."""
    if len(cells) > MAX_COLUMNS:
        raise UnreadableFileError(f"The file has {len(cells):,} columns; at most {MAX_COLUMNS:,} can be imported.")
    taken = {name.casefold() for name in (*OWN_COLUMNS, *SYSTEM_COLUMNS)}
    names, notes = [], []
    for position, cell in enumerate(cells, start=1):
        shown = "".join(character for character in " ".join(cell.split()) if character.isprintable())
        wanted = _shortened(shown.strip()) or f"column_{position}"
        name, copy = wanted, 2
        while name.casefold() in taken:
            name, copy = f"{_shortened(wanted, 5)}_{copy}", copy + 1
        taken.add(name.casefold())
        names.append(name)
        if name != cell:
            renamed = f"was renamed from “{cell}” to “{name}”" if cell else f"has no name and is called “{name}”"
            notes.append(f"Column {position} {renamed}.")
    return names, notes


def _shortened(name: str, spare: int = 0) -> str:
    return name.encode()[: MAX_NAME_BYTES - spare].decode(errors="ignore").rstrip()


def _columns_note(delimiter: str, names: list[str]) -> str:
    if len(names) == 1:
        return "One column."
    called = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}[delimiter]
    return f"{len(names):,} columns, separated by {called}."


def _fast(data: bytes, final: bool, table: PreparedTable, start: int, row: int) -> Chunk | None:
    """Parse the complete records with Arrow. None: the result could be inexact."""
    end = _end_of_records(data, final, table.delimiter)
    # Arrow would remove a byte order mark that is part of the first cell.
    if not end or b"\0" in data or data.startswith(UTF8_BOM) or _has_long_line(data, end):
        return None
    invalid_rows: list[tuple[int, str]] = []

    def note(invalid: pa_csv.InvalidRow) -> str:
        invalid_rows.append((invalid.number, invalid.text))
        return "skip"

    width = table.width
    try:
        # Check UTF-8 first: for invalid bytes, Arrow's handler of invalid rows would print an error of its own.
        pa.array([data[:end]], pa.binary()).cast(pa.string())
        parsed = pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(data).slice(0, end)),
            read_options=pa_csv.ReadOptions(
                use_threads=False, block_size=end + 1, column_names=[str(n) for n in range(width)]
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=table.delimiter, newlines_in_values=True, ignore_empty_lines=True, invalid_row_handler=note
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={str(n): pa.string() for n in range(width)}, strings_can_be_null=False, check_utf8=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    count = parsed.num_rows + len(invalid_rows)
    numbers = np.setdiff1d(np.arange(1, count + 1), [number for number, _ in invalid_rows], assume_unique=True)
    odd = [(row - 1 + number, next(csv.reader([text], delimiter=table.delimiter), [])) for number, text in invalid_rows]
    return _chunk(table, parsed, numbers + (row - 1), odd, [], count, start + end)


def _end_of_records(data: bytes, final: bool, delimiter: str) -> int:
    """The end of the last complete record; 0: there is none, or a quote is where it is not allowed."""
    newline = b"\n" if b"\n" in data else b"\r"
    quotes = _positions(data)
    end = len(data) if final else data.rfind(newline) + 1
    while end and (inside := int(np.searchsorted(quotes, end))) % 2:
        if final and end == len(data):
            return 0
        end = data.rfind(newline, 0, quotes[inside - 1]) + 1
    return end if _regular(data, quotes[: np.searchsorted(quotes, end)], delimiter) else 0


def _has_long_line(data: bytes, end: int) -> bool:
    """Whether a line is longer than MAX_RECORD_BYTES."""
    newline, start = b"\n" if b"\n" in data else b"\r", 0
    while end - start > MAX_RECORD_BYTES:
        last = data.rfind(newline, start, start + MAX_RECORD_BYTES)
        if last < 0:
            return True
        start = last + 1
    return False


def _positions(data: bytes) -> npt.NDArray[np.int64]:
    if b'"' not in data:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _QUOTE)


def _regular(data: bytes, quotes: npt.NDArray[np.int64], delimiter: str) -> bool:
    """Whether quotes pair up as in RFC 4180: 1st, 3rd, … open a cell (or double the one before), 2nd, … close it."""
    if not len(quotes):
        return True
    allowed = np.zeros(256, dtype=np.bool_)
    allowed[[_QUOTE, _LF, _CR, ord(delimiter)]] = True
    # The data begins and ends with a record, so a quote may also be its first or its last byte.
    before_opening = quotes[int(quotes[0] == 0) * 2 :: 2] - 1
    after_closing = quotes[1::2][: -1 if quotes[-1] == len(data) - 1 else None] + 1
    around = np.frombuffer(data, dtype=np.uint8)
    return bool(allowed[around[before_opening]].all() and allowed[around[after_closing]].all())


@dataclass(frozen=True)
class _Record:
    """One record. cells: empty for a blank line. end: offset of the byte after it. problem: why it fails."""

    cells: list[str]
    end: int
    problem: Reason | None


class _Lines:
    """The lines of a file from an offset on, as text for the csv module, with the position in bytes.

    Bytes that are not UTF-8 are decoded to lone surrogates. A record longer than MAX_RECORD_BYTES raises csv.Error.
    """

    def __init__(self, file: BinaryIO, start: int) -> None:
        file.seek(start)
        self._file = file
        self._waiting: list[bytes] = []
        self.position = self.first_line_end = start
        self.ended = False
        self.begin_record()

    def begin_record(self) -> None:
        self.record_start = self.position
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        while True:
            line = self._next()
            if not line:
                self.ended = True
                return
            self.position += len(line)
            if not self.record:
                self.first_line_end = self.position
            if self.position - self.record_start > MAX_RECORD_BYTES:
                raise csv.Error("record too long")
            self.record.append(line.decode("utf-8", "surrogateescape"))
            yield self.record[-1]

    def _next(self) -> bytes:
        if not self._waiting:
            line = self._file.readline(MAX_RECORD_BYTES + 2)
            self._waiting = line.splitlines(keepends=True)[::-1] if b"\r" in line else [line]
            if len(self._waiting) > 1 and not self._waiting[0].endswith((b"\r", b"\n")):
                # The line may be incomplete: read it again from its beginning.
                self._file.seek(-len(self._waiting.pop(0)), os.SEEK_CUR)
        return self._waiting.pop() if self._waiting else b""


def _records(file: BinaryIO, start: int, delimiter: str) -> Iterator[_Record]:
    """Records from an offset on. If a quote is never closed, the record ends with its first line."""
    while True:
        lines = _Lines(file, start)
        reader = csv.reader(lines, delimiter=delimiter)
        while True:
            try:
                cells = next(reader, None)
                whole = not lines.ended and not _swallows_lines(lines.record, delimiter)
            except csv.Error:
                cells, whole = [], False
            if cells is None:
                return
            if not whole:
                yield (failed := _first_line(file, lines.record_start, lines.first_line_end))
                start = failed.end
                break
            yield _Record(cells, lines.position, _problem(cells))
            lines.begin_record()


def _swallows_lines(record: list[str], delimiter: str) -> bool:
    """Whether a record has several lines only because the opening quote of a later cell closed an unclosed quote.

    That quote is followed by something other than a delimiter or a line end.
    """
    if len(record) < 2:
        return False
    try:
        list(csv.reader(record, delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    return False


def _first_line(file: BinaryIO, start: int, end: int) -> _Record:
    """The line from `start` to `end` as a failed row; a line longer than MAX_RECORD_BYTES up to its end."""
    file.seek(start)
    line = rest = file.read(end - start)
    cells = [line.decode("utf-8", "replace").rstrip("\r\n")]
    if len(line) <= MAX_RECORD_BYTES:
        return _Record(cells, end, Reason(None, "has a quote that is never closed"))
    while rest and not rest.endswith((b"\r", b"\n")):
        rest = next(iter(file.readline(MAX_RECORD_BYTES).splitlines(keepends=True)), b"")
        end += len(rest)
    return _Record(cells, end, Reason(None, f"is longer than {MAX_RECORD_BYTES:,} bytes"))


def _problem(cells: list[str]) -> Reason | None:
    for position, cell in enumerate(cells, start=1):
        if "\0" in cell:
            return Reason(None, "has a NUL byte", detail=f"cell {position}")
        for place, character in enumerate(cell, start=1):
            if "\udc80" <= character <= "\udcff":
                byte = f"0x{ord(character) - 0xDC00:02X}"
                return Reason(
                    None,
                    "has a byte that is invalid in the file's encoding",
                    detail=f"{byte} at character {place} of cell {position}",
                )
    return None


def _exact(file: BinaryIO, table: PreparedTable, start: int, row: int, chunk_bytes: int) -> Chunk:
    """Read records one by one, until they have at least `chunk_bytes`."""
    good: list[tuple[int, list[str]]] = []
    odd: list[tuple[int, list[str]]] = []
    failed: list[FailedRow] = []
    number, end = row, start
    for record in _records(file, start, table.delimiter):
        end = record.end
        if record.problem:
            failed.append(FailedRow(number, [_shown(cell) for cell in record.cells], [record.problem]))
        elif len(record.cells) == table.width:
            good.append((number, record.cells))
        elif record.cells:
            odd.append((number, record.cells))
        number += bool(record.cells)
        if end - start >= chunk_bytes:
            break
    columns = zip(*(cells for _, cells in good), strict=True) if good else ([] for _ in range(table.width))
    parsed = pa.table([pa.array(column, pa.string()) for column in columns], [str(n) for n in range(table.width)])
    numbers = np.array([position for position, _ in good], dtype=np.int64)
    return _chunk(table, parsed, numbers, odd, failed, number - row, end)


def _unescaped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells of a file of corrected rows without the apostrophes that escape formulas."""
    for pattern, replacement in corrections.UNESCAPES:
        column = pc.replace_substring_regex(column, pattern, replacement)
    return column


def _shown(cell: str) -> str:
    """A cell as valid text: invalid bytes and NUL become U+FFFD."""
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")


def _chunk(
    table: PreparedTable,
    parsed: pa.Table,
    numbers: npt.NDArray[np.int64],
    odd: Iterable[tuple[int, list[str]]],
    failed: list[FailedRow],
    count: int,
    next_byte: int,
) -> Chunk:
    """odd: rows whose number of cells differs from the header's; surplus empty cells at the end are dropped."""
    width, trimmed = table.width, []
    for number, cells in odd:
        if len(cells) > width and not any(cells[width:]):
            trimmed.append((number, cells[:width]))
        else:
            reason = f"has {len(cells):,} {'cell' if len(cells) == 1 else 'cells'}, expected {width:,}"
            failed.append(FailedRow(number, cells, [Reason(None, reason)]))
    if trimmed:
        extra = [pa.array(column, pa.string()) for column in zip(*(cells for _, cells in trimmed), strict=True)]
        parsed = pa.concat_tables([parsed, pa.table(extra, parsed.column_names)])
        numbers = np.concatenate([numbers, [number for number, _ in trimmed]])
    if table.tracking_columns:
        parsed = pa.table([_unescaped(column) for column in parsed.columns[: len(table.names)]], table.names)
        failed = [replace(row, cells=[corrections.unescape_formula(cell) for cell in row.cells]) for row in failed]
    rows = parsed.rename_columns(table.names).to_pandas(types_mapper=pd.ArrowDtype)
    rows.index = pd.Index(numbers, name="_row_number")
    return Chunk(rows, sorted(failed, key=lambda each: each.row_number), count, next_byte)
