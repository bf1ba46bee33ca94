"""A text file → a prepared table, then chunks of text with exact row numbers and byte offsets.

The fast path cuts a block of bytes behind the last record that is whole and parses it with Arrow. It is taken only
when every quote in the block stands where RFC 4180 puts it, which is checked. Everything else (a stray or unclosed
quote, bytes that are not UTF-8) goes through Python's csv module, record by record, with the same numbers.
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
from jobs.dialect import SAMPLE_RECORDS, detect_delimiter, find_header, skipped
from jobs.errors import UnreadableFileError
from jobs.failed_rows import FailedRow, Reason
from jobs.pipeline.prepared_table import KnownProblems, PreparedTable
from jobs.pipeline.source import EXPECTED, TextFile, check_is_text
from jobs.schema import MAX_COLUMNS, MAX_NAME_BYTES, OWN_COLUMNS, SYSTEM_COLUMNS

#: Bytes at the head of a file that its dialect and header are detected from.
HEAD_BYTES = 1 << 20
#: Bytes one record may have: a quote that is never closed would otherwise swallow the rest of the file.
MAX_RECORD_BYTES = 1 << 20

UTF8_BOM = b"\xef\xbb\xbf"
_QUOTE, _LF, _CR = b'"\n\r'

csv.field_size_limit(2 * MAX_RECORD_BYTES)


@dataclass(frozen=True)
class Chunk:
    """A stretch of a file.

    rows: one text column a field, empty cells are "", index = row number (1 is the first below the header).
    failed: the rows that are not tabular. count: rows in all, blank lines excluded. next_byte: behind the stretch.
    """

    rows: pd.DataFrame
    failed: list[FailedRow]
    count: int
    next_byte: int

    def cells(self, number: int) -> list[str]:
        """One of its rows, as it came."""
        return [str(cell) for cell in self.rows.loc[number]]

    def without(self, problems: KnownProblems) -> "Chunk":
        """With rows of which something bad is known already among the bad ones. problems: (place of a cell, rule)."""
        numbers = [number for number in self.rows.index if number in problems]
        if not numbers:
            return self
        names = list(self.rows.columns)
        found = [
            FailedRow(number, self.cells(number), [Reason(names[place], rule) for place, rule in problems[number]])
            for number in numbers
        ]
        failed = sorted([*self.failed, *found], key=lambda row: row.row_number)
        return replace(self, rows=self.rows.drop(index=numbers), failed=failed)


def inspect(text: TextFile) -> PreparedTable:
    """Detect how a text is laid out. Raises UnreadableFileError, saying what the file seems to be."""
    with text.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    check_is_text(head)
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    delimiter = text.delimiter
    if delimiter is None:
        delimiter = detect_delimiter(head[start:].decode("utf-8", "replace"))
    sample = _sample(head, start, delimiter)
    place = text.header_row - 1 if text.header_row is not None else find_header([record.cells for record in sample])
    if place >= len(sample) or not any(sample[place].cells):
        raise UnreadableFileError(f"The file has no header line{_where(text.header_row)}. {EXPECTED}")
    header = sample[place]
    if header.problem:
        raise UnreadableFileError(f"The header line cannot be read: {header.problem.sentence}. {EXPECTED}")
    marks = corrections.count_tracking_columns(header.cells)
    names, notes = _unique_names(corrections.without_tracking_columns(header.cells))
    first = next((record.cells for record in sample[place + 1 :] if record.cells), [])
    above = [record.cells for record in sample[:place]]
    skipped_lines = [skipped(above, place)] if any(map(any, above)) else []
    return PreparedTable(
        path=text.path,
        delimiter=delimiter,
        names=names,
        first_byte=header.end,
        notes=[*text.notes, *skipped_lines, _columns_note(delimiter, names), *notes],
        marks=marks,
        parent=corrections.parent_of(first) if marks else None,
        problems=text.problems,
    )


def _where(header_row: int | None) -> str:
    return "" if header_row is None else f" in line {header_row:,}"


def chunks(table: PreparedTable, *, start: int, row: int, chunk_bytes: int) -> Iterator[Chunk]:
    """The rows from a byte on. start: a record's first byte. row: its number. chunk_bytes: size of a chunk."""
    with table.path.open("rb") as file:
        while True:
            file.seek(start)
            block = file.read(chunk_bytes)
            if not block:
                return
            chunk = _fast(block, len(block) < chunk_bytes, table, start, row) or _exact(
                file, table, start, row, chunk_bytes
            )
            start, row = chunk.next_byte, row + chunk.count
            yield chunk.without(table.problems) if table.problems else chunk


def _sample(head: bytes, start: int, delimiter: str) -> list["_Record"]:
    """The first records, blank lines included; one that the head's end may have cut is left out."""
    found: list[_Record] = []
    for record in _records(io.BytesIO(head), start, delimiter):
        if record.end < HEAD_BYTES or not found:
            found.append(record)
        if len(found) == SAMPLE_RECORDS:
            break
    return found


def _unique_names(cells: list[str]) -> tuple[list[str], list[str]]:
    """Names that a table can have, and a sentence for each that had to differ from the file's."""
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
            notes.append(f"Column {position} is called “{name}”" + (f" instead of “{cell}”." if cell else "."))
    return names, notes


def _shortened(name: str, spare: int = 0) -> str:
    return name.encode()[: MAX_NAME_BYTES - spare].decode(errors="ignore").rstrip()


def _columns_note(delimiter: str, names: list[str]) -> str:
    if len(names) == 1:
        return "One column."
    called = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}[delimiter]
    return f"{len(names):,} columns, separated by {called}."


def _fast(block: bytes, final: bool, table: PreparedTable, start: int, row: int) -> Chunk | None:
    """The block's whole records through Arrow, or None when that could be inexact."""
    end = _end_of_records(block, final, table.delimiter)
    # Arrow would take a byte order mark for one of the whole file, where it is a part of the first cell.
    if not end or b"\0" in block or block.startswith(UTF8_BOM) or _has_long_line(block, end):
        return None
    skipped: list[tuple[int, str]] = []

    def note(invalid: pa_csv.InvalidRow) -> str:
        skipped.append((invalid.number, invalid.text))
        return "skip"

    width = table.width
    try:
        # Checked at once, and first: Arrow's handler of odd rows would print an error of its own about such bytes.
        pa.array([block[:end]], pa.binary()).cast(pa.string())
        parsed = pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(block).slice(0, end)),
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
    count = parsed.num_rows + len(skipped)
    numbers = np.setdiff1d(np.arange(1, count + 1), [number for number, _ in skipped], assume_unique=True)
    odd = [(row - 1 + number, next(csv.reader([text], delimiter=table.delimiter), [])) for number, text in skipped]
    return _chunk(table, parsed, numbers + (row - 1), odd, [], count, start + end)


def _end_of_records(block: bytes, final: bool, delimiter: str) -> int:
    """Where the block's last whole record ends; 0: there is none, or a quote stands where it should not."""
    newline = b"\n" if b"\n" in block else b"\r"
    quotes = _positions(block)
    end = len(block) if final else block.rfind(newline) + 1
    while end and (inside := int(np.searchsorted(quotes, end))) % 2:
        if final and end == len(block):
            return 0
        end = block.rfind(newline, 0, quotes[inside - 1]) + 1
    return end if _regular(block, quotes[: np.searchsorted(quotes, end)], delimiter) else 0


def _has_long_line(block: bytes, end: int) -> bool:
    """Whether a line is longer than a record may be."""
    newline, start = b"\n" if b"\n" in block else b"\r", 0
    while end - start > MAX_RECORD_BYTES:
        last = block.rfind(newline, start, start + MAX_RECORD_BYTES)
        if last < 0:
            return True
        start = last + 1
    return False


def _positions(block: bytes) -> npt.NDArray[np.int64]:
    if b'"' not in block:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == _QUOTE)


def _regular(block: bytes, quotes: npt.NDArray[np.int64], delimiter: str) -> bool:
    """Whether quotes pair up as in RFC 4180: 1st, 3rd, … open a cell (or double the one before), 2nd, … close it."""
    if not len(quotes):
        return True
    allowed = np.zeros(256, dtype=np.bool_)
    allowed[[_QUOTE, _LF, _CR, ord(delimiter)]] = True
    # The first byte of a block and the last one stand where a record begins and ends.
    before_opening = quotes[int(quotes[0] == 0) * 2 :: 2] - 1
    after_closing = quotes[1::2][: -1 if quotes[-1] == len(block) - 1 else None] + 1
    around = np.frombuffer(block, dtype=np.uint8)
    return bool(allowed[around[before_opening]].all() and allowed[around[after_closing]].all())


@dataclass(frozen=True)
class _Record:
    """One record, read exactly. cells: empty for a blank line. end: the byte behind it. problem: why it is bad."""

    cells: list[str]
    end: int
    problem: Reason | None


class _Lines:
    """The lines of a file from a byte on, as text for the csv module, with a count of the bytes handed out.

    What is not UTF-8 comes through as lone surrogates. A record may not take more than MAX_RECORD_BYTES.
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
                # Perhaps cut in two: it is read again from its own beginning.
                self._file.seek(-len(self._waiting.pop(0)), os.SEEK_CUR)
        return self._waiting.pop() if self._waiting else b""


def _records(file: BinaryIO, start: int, delimiter: str) -> Iterator[_Record]:
    """Records from a byte on. One whose quote is never closed is its first line; reading goes on behind that line."""
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
                yield (bad := _first_line(file, lines.record_start, lines.first_line_end))
                start = bad.end
                break
            yield _Record(cells, lines.position, _problem(cells))
            lines.begin_record()


def _swallows_lines(record: list[str], delimiter: str) -> bool:
    """Whether a record of several lines is one only because a quote, never closed, met the opening one of a later cell:
    then something other than a delimiter or the line's end stands behind it."""
    if len(record) < 2:
        return False
    try:
        list(csv.reader(record, delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    return False


def _first_line(file: BinaryIO, start: int, end: int) -> _Record:
    """The line from `start` to `end` as a bad row; if the line is too long itself, all of it up to its end."""
    file.seek(start)
    line = rest = file.read(end - start)
    cells = [line.decode("utf-8", "replace").rstrip("\r\n")]
    if len(line) <= MAX_RECORD_BYTES:
        return _Record(cells, end, Reason(None, "a quote is opened and never closed"))
    while rest and not rest.endswith((b"\r", b"\n")):
        rest = next(iter(file.readline(MAX_RECORD_BYTES).splitlines(keepends=True)), b"")
        end += len(rest)
    return _Record(cells, end, Reason(None, f"is longer than {MAX_RECORD_BYTES:,} bytes"))


def _problem(cells: list[str]) -> Reason | None:
    for position, cell in enumerate(cells, start=1):
        if "\0" in cell:
            return Reason(None, "has a NUL byte, which no text has", detail=f"cell {position}")
        for place, character in enumerate(cell, start=1):
            if "\udc80" <= character <= "\udcff":
                byte = f"byte 0x{ord(character) - 0xDC00:02X}"
                return Reason(
                    None, "is not in the file's encoding", detail=f"{byte} at character {place} of cell {position}"
                )
    return None


def _exact(file: BinaryIO, table: PreparedTable, start: int, row: int, chunk_bytes: int) -> Chunk:
    """About a block of records, one by one."""
    good: list[tuple[int, list[str]]] = []
    odd: list[tuple[int, list[str]]] = []
    bad: list[FailedRow] = []
    number, end = row, start
    for record in _records(file, start, table.delimiter):
        end = record.end
        if record.problem:
            bad.append(FailedRow(number, [_shown(cell) for cell in record.cells], [record.problem]))
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
    return _chunk(table, parsed, numbers, odd, bad, number - row, end)


def _unescaped(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells of a file of failed rows without the apostrophe that kept a spreadsheet from running them."""
    return pc.replace_substring_regex(column, corrections.ESCAPED, corrections.UNESCAPED)


def _shown(cell: str) -> str:
    """A cell as it can be kept as text: what is no text becomes U+FFFD."""
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")


def _chunk(
    table: PreparedTable,
    parsed: pa.Table,
    numbers: npt.NDArray[np.int64],
    odd: Iterable[tuple[int, list[str]]],
    bad: list[FailedRow],
    count: int,
    next_byte: int,
) -> Chunk:
    """odd: rows with another number of cells than the header; empty ones too many at the end are forgiven."""
    width, forgiven = table.width, []
    for number, cells in odd:
        if len(cells) > width and not any(cells[width:]):
            forgiven.append((number, cells[:width]))
        else:
            reason = f"has {len(cells):,} {'cell' if len(cells) == 1 else 'cells'}, expected {width:,}"
            bad.append(FailedRow(number, cells, [Reason(None, reason)]))
    if forgiven:
        extra = [pa.array(column, pa.string()) for column in zip(*(cells for _, cells in forgiven), strict=True)]
        parsed = pa.concat_tables([parsed, pa.table(extra, parsed.column_names)])
        numbers = np.concatenate([numbers, [number for number, _ in forgiven]])
    if table.marks:
        parsed = pa.table([_unescaped(column) for column in parsed.columns[: len(table.names)]], table.names)
        bad = [replace(row, cells=[corrections.unescape_formula(cell) for cell in row.cells]) for row in bad]
    rows = parsed.rename_columns(table.names).to_pandas(types_mapper=pd.ArrowDtype)
    rows.index = pd.Index(numbers, name="_row_number")
    return Chunk(rows, sorted(bad, key=lambda each: each.row_number), count, next_byte)
