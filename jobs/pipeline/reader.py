"""Reads a text file: detects its dialect, then yields chunks of text with exact row numbers and byte offsets.

The fast path cuts the bytes of a chunk after the last complete record and parses them with Arrow. It first checks that
every quote is where RFC 4180 allows it. records.py reads everything else (stray or unclosed quotes, bytes that are not
UTF-8, many rows of a wrong width), record by record, with the same row numbers. Both take time linear in the bytes.
"""

import csv
import gc
import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from jobs import corrections, warnings
from jobs.corrections import CorrectionsHead, Marks
from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.failed_rows import FailedRow
from jobs.formats.dialect import detect_delimiter
from jobs.formats.file_kinds import EXPECTED
from jobs.formats.header import (
    SAMPLE_RECORDS,
    Header,
    detect_header,
    header_at,
    shortened,
    skipped_note,
    without_header,
)
from jobs.pipeline import records as record_limits
from jobs.pipeline import second_table
from jobs.pipeline.chunk import Chunk, Parsed, assembled, usual_surplus
from jobs.pipeline.line_numbers import CR, LF, LineCounter, Offsets, SheetRows, count_byte, count_line_ends, line_ends
from jobs.pipeline.prepared_table import KnownProblems, PreparedTable
from jobs.pipeline.records import Record, Records
from jobs.pipeline.source import TextFile, Tick, check_is_text
from jobs.schema import MAX_COLUMNS, MAX_NAME_BYTES, OWN_COLUMNS, SYSTEM_COLUMNS
from jobs.warnings import UploadWarning

#: Bytes at the beginning of a file that dialect and header row are detected from.
HEAD_BYTES = 1 << 20
#: Lines of a chunk. Usual chunks have fewer. A row that fails needs about 500 bytes, however short it is.
MAX_CHUNK_LINES = 100_000
#: Rows of a wrong width in a chunk that Arrow reports one by one. If there are more, the exact path is as fast.
MAX_RAGGED_ROWS = 10_000
#: Records at the beginning of a file among which a second table is searched.
SECOND_TABLE_RECORDS = 20_000
#: Bytes of the first chunk; the later ones are up to twice as large as the one before.
FIRST_BYTES = 1 << 20
#: Bytes of a chunk at most. The threads that read and that write overlap less with larger ones.
CHUNK_BYTES = 4 << 20
#: Bytes that are read at once of the blank lines above a record at which reading continues.
BLANK_BYTES = 1 << 16

UTF8_BOM = b"\xef\xbb\xbf"
(QUOTE,) = b'"'


def inspect(text: TextFile, *, tick: Tick = lambda: None) -> PreparedTable:
    """Detect the dialect and the columns of a text. Raises UnreadableFileError with a sentence for people."""
    with text.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    check_is_text(head)
    start = len(UTF8_BOM) if head.startswith(UTF8_BOM) else 0
    delimiter = text.delimiter
    if delimiter is None:
        beginning = head[start:].decode("utf-8", "replace")
        corrected = CorrectionsHead.find(beginning)
        delimiter = corrected.delimiter if corrected else text.likely_delimiter or detect_delimiter(beginning)
        tick()
    sample = _sample(head, start, delimiter, tick)
    header = _header(text, [record.cells for record in sample])
    inspected = _Inspected(text, delimiter, start, sample)
    table = inspected.table(header)
    if text.header_row is None:
        table = replace(table, other=inspected.judged_otherwise(header))
    return table if table.marks or text.hints else _without_second_table(table, text, head, tick)


def _without_second_table(table: PreparedTable, text: TextFile, head: bytes, tick: Tick) -> PreparedTable:
    """The table up to where a second one begins, with a warning that tells how much was left out."""
    gaps = {number - 1 for number, _ in table.sheet_rows if number > 1}
    if not gaps and not _has_blank_line(head.rstrip(), table.delimiter.encode()):
        return table
    batches = Records(io.BytesIO(head), table.delimiter, tick).batches(table.first_byte, len(head) - table.first_byte)
    found = list(itertools.islice(itertools.chain.from_iterable(batches), SECOND_TABLE_RECORDS))
    place = second_table.find([each.cells for each in found], gaps, table.header or table.names)
    if not place:
        return table
    end, counter = found[place - 1].end, LineCounter(text.path, tick)
    lines = sum(1 for each in found[place:] if any(each.cells)) + counter.rest(found[-1].end)
    first = SheetRows(table.sheet_rows).of([place + 1]) if table.sheet_rows else counter.at(np.array([end]))
    return table.ended(end, warnings.lines_skipped(lines, first[0]))


def _has_blank_line(head: bytes, delimiter: bytes) -> bool:
    """Whether a line above the last one has no value."""
    # To look at the first character of each line takes a tenth of the time of the pattern.
    characters = np.frombuffer(head, dtype=np.uint8)
    begin = {end: characters[_positions(head, end) + 1] for end in (LF, CR)}
    empty = np.frombuffer(b" \t\r" + delimiter, dtype=np.uint8)
    if not (np.isin(begin[LF], [*empty, LF]).any() or np.isin(begin[CR], empty).any()):
        return False
    separator = re.escape(delimiter)
    return re.search(rb"\n[ \t%b]*\r?\n|\r[ \t%b]*\r" % (separator, separator), head) is not None


def _header(text: TextFile, records: list[list[str]]) -> Header:
    """The header that was chosen, or else detected. Raises UnreadableFileError."""
    if text.header_row == 0:
        header = without_header(records)
    elif text.header_row is not None:
        chosen = text.header_row - 1
        header = header_at(records, chosen) if chosen < len(records) else Header(chosen, 1)
    elif (marked := next((place for place, cells in enumerate(records) if Marks.find(cells)), None)) is not None:
        header = header_at(records, marked)  # certainly, whatever its names and the rows below look like
    elif text.begins_with_table:
        header = detect_header(records, above=False)
    else:
        header = detect_header(records)
    if header.position >= len(records) or not any(cell.strip() for cell in records[header.position]):
        if text.header_row:
            other = "Upload it again with another header row, or leave it out, so that it is detected."
            raise MisreadFileError(f"The file has no header row at line {text.header_row:,}. {other}")
        raise MisreadFileError(f"The file has no {'rows' if text.header_row == 0 else 'header row'}. {EXPECTED}")
    return header


@dataclass(frozen=True)
class _Inspected:
    """The beginning of a text. start: the offset of its first record. sample: its first records."""

    text: TextFile
    delimiter: str
    start: int
    sample: list[Record]

    def table(self, header: Header) -> PreparedTable:
        """The text with a header. Raises UnreadableFileError."""
        text, sample = self.text, self.sample
        if problem := next((each.problem for each in sample[header.position : header.end] if each.problem), None):
            raise MisreadFileError(f"The header row is unreadable, it {problem.sentence}. {EXPECTED}")
        found = [record.cells for record in sample[header.end :]]
        cells = sample[header.position].cells if header.rows == 1 else []
        marks = Marks.find(cells, found)
        own = marks.data_places(len(cells)) if marks else []
        names, notes = _unique_names([corrections.unescape_formula(cells[place]) for place in own] or header.names)
        problems = {row + 1 - header.rows: known for row, known in text.problems.items() if row >= header.rows}
        above = [record.cells for record in sample[: header.position]]
        below = [record.cells for record in sample[header.end :] if not record.problem]
        skipped = [skipped_note(above, header.position)] if any(map(any, above)) else []
        columns = _columns_note(self.delimiter, names, text.separated_by)
        return PreparedTable(
            path=text.path,
            delimiter=self.delimiter,
            names=names,
            first_byte=sample[header.end - 1].end if header.end else self.start,
            notes=[*text.notes, *skipped, columns, *_header_notes(header, text, notes)],
            warnings=[*text.warnings, *_header_warnings(header, text, names)],
            marks=marks,
            parent=marks.parent(found) if marks else None,
            problems=_renumbered(problems, own) if marks else problems,
            has_header=bool(header.rows),
            hints=[text.hints[place] for place in own] if marks and text.hints else text.hints,
            header=cells if marks else header.names if header.rows == 1 else [],
            surplus=usual_surplus(below, len(cells) if marks else len(header.names)),
            sheet_rows=[(row + 1 - header.rows, number) for row, number in text.sheet_rows],
            blank=text.blank,
            options=self._options(header),
            is_valid=text.is_valid,
        )

    def _options(self, header: Header) -> dict[str, Any]:
        """How the upload is read, as import options."""
        text, row = self.text, header.position + 1
        if text.sheet_rows:
            row = text.sheet_rows[0][1] + header.position
        delimiter = None if "sheet" in text.detected else self.delimiter
        if text.hints:  # its format leaves nothing to choose
            return dict.fromkeys(("encoding", "delimiter", "header_row", "sheet"))
        known = {"encoding": None, "delimiter": delimiter, "header_row": row if header.rows else 0, "sheet": None}
        return known | text.detected

    def judged_otherwise(self, header: Header) -> PreparedTable | None:
        """The text with the first row as its header, or as data, where the opposite was detected."""
        records = [record.cells for record in self.sample]
        try:
            if header.rows != 1:
                return self.table(header_at(records, header.position))
            return self.table(without_header(records, header.position)) if header.is_guessed else None
        except UnreadableFileError:  # it cannot be read so
            return None


def _header_notes(header: Header, text: TextFile, renamed: list[str]) -> list[str]:
    """Sentences about the header. renamed: those about names that differ from the file's."""
    if header.rows == 0:
        return ["The first row is data, as chosen."] if text.header_row == 0 else []
    joined = [f"The header has {header.rows} rows, which were joined."] if header.rows > 1 else []
    return [*joined, *renamed]


def _header_warnings(header: Header, text: TextFile, names: list[str]) -> list[UploadWarning]:
    if header.rows == 0:
        return [] if text.header_row == 0 else [warnings.no_header()]
    return [warnings.header_guessed(names)] if header.is_guessed else []


def _renumbered(problems: KnownProblems, places: list[int]) -> KnownProblems:
    """Known problems of the columns at some places, by their position among these."""
    position_of = {place: position for position, place in enumerate(places)}
    found = {
        number: [(position_of[place], rule) for place, rule in cells if place in position_of]
        for number, cells in problems.items()
    }
    return {number: cells for number, cells in found.items() if cells}


def chunks(
    table: PreparedTable, *, start: int, row: int, chunk_bytes: int, tick: Tick = lambda: None
) -> Iterator[Chunk]:
    """Read rows from an offset on. start: the first byte of a record. row: its number. chunk_bytes: size of a chunk;
    the first ones are smaller, so that the first rows are written soon.

    tick: called for each chunk, and more often where records are read one by one.
    """
    counter = LineCounter(table.path, tick)
    with table.path.open("rb") as file:
        exact = Records(file, table.delimiter, tick)
        size, blank = min(chunk_bytes, FIRST_BYTES), _blank_above(file, start, table.first_byte)
        while True:
            left = table.bytes_total - start
            data = _read(file, start, min(size, left)) if left > 0 else b""
            if not data:
                return
            tick()
            used = _beginning(data)
            final = len(used) == len(data) and (len(data) < size or len(data) >= left)
            with _collector_paused():
                parsed = _fast(used, final, table, start, counter) or _exact(exact, table, start, len(used))
                chunk = assembled(table, parsed, counter, row, blank)
            tick()
            size = min(chunk_bytes, 2 * len(used))  # not much more than a chunk of MAX_CHUNK_LINES needs
            start, row = chunk.next_byte, row + chunk.count
            blank = parsed.blank_below + (0 if parsed.count else blank)
            yield chunk.without(table.problems) if table.problems else chunk


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    """The bytes from an offset on; one more if they would end between CR and LF."""
    file.seek(start)
    data = file.read(size)
    return data + b"\n" if data.endswith(b"\r") and file.read(1) == b"\n" else data


def _blank_above(file: BinaryIO, start: int, first: int) -> int:
    """The number of blank lines between a record and the one above it. first: where the first record may begin."""
    stop, ends = start, 0
    while stop > first:
        place = max(first, stop - BLANK_BYTES)
        file.seek(place)
        piece = file.read(stop - place)
        if place > first and piece.startswith(b"\n"):  # its CR may be above it
            place, piece = place + 1, piece[1:]
        lines = piece[len(piece.rstrip(b"\r\n")) :]
        ends += count_line_ends(lines)
        if len(lines) < len(piece):
            return max(0, ends - 1)  # one of them ends the record above
        stop = place
    return ends


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Without Python's garbage collector, which would search the thousands of rows of a chunk again and again.

    None of them is garbage. Reading rows one by one takes less than half as long without it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _beginning(data: bytes) -> bytes:
    """At most MAX_CHUNK_LINES lines."""
    lines = {each: count_byte(data, each) if each in data else 0 for each in (LF, CR)}
    line_end = max(lines, key=lambda each: lines[each])
    if lines[line_end] <= MAX_CHUNK_LINES:
        return data
    end = int(_positions(data, line_end)[MAX_CHUNK_LINES - 1]) + 1
    return data[: end + (data[end - 1 : end + 1] == b"\r\n")]


def _sample(head: bytes, start: int, delimiter: str, tick: Tick) -> list[Record]:
    """The first records, including blank lines, without a last one that the end of `head` may have cut."""
    found: list[Record] = []
    batches = Records(io.BytesIO(head), delimiter, tick).batches(start, len(head))
    for record in itertools.chain.from_iterable(batches):
        if record.end < HEAD_BYTES or not found:
            found.append(record)
        if len(found) == SAMPLE_RECORDS:
            break
    return found


def _unique_names(cells: list[str]) -> tuple[list[str], list[str]]:
    """Valid and unique column names, and a sentence for each name that differs from the file's."""
    if len(cells) > MAX_COLUMNS:
        raise MisreadFileError(f"The file has {len(cells):,} columns; at most {MAX_COLUMNS:,} can be imported.")
    taken = {name.casefold() for name in (*OWN_COLUMNS, *SYSTEM_COLUMNS)}
    copies: dict[str, int] = {}  # beginning of a name → the lowest number that may be free
    names, notes = [], []
    for position, cell in enumerate(cells, start=1):
        shown = "".join(character for character in " ".join(cell.split()) if character.isprintable())
        wanted = _shortened(shown.strip()) or f"column_{position}"
        name, beginning = wanted, _shortened(wanted, 5)
        while name.casefold() in taken:
            copy = copies.get(beginning.casefold(), 2)
            name, copies[beginning.casefold()] = f"{beginning}_{copy}", copy + 1
        taken.add(name.casefold())
        names.append(name)
        if name != cell:
            renamed = f"was renamed from “{shortened(cell)}” to “{name}”"
            renamed = renamed if cell else f"has no name and is called “{name}”"
            notes.append(f"Column {position} {renamed}.")
    return names, notes


def _shortened(name: str, spare: int = 0) -> str:
    return name.encode()[: MAX_NAME_BYTES - spare].decode(errors="ignore").rstrip()


def _columns_note(delimiter: str, names: list[str], separated_by: str | None) -> str:
    """separated_by: what separates the columns of the file, if not the delimiter of the text."""
    if len(names) == 1:
        return "One column."
    called = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes", " ": "spaces"}[delimiter]
    called = called if separated_by is None else separated_by
    return f"{len(names):,} columns{', separated by ' if called else ''}{called}."


def _fast(data: bytes, final: bool, table: PreparedTable, start: int, counter: LineCounter) -> Parsed | None:
    """Parse the complete records with Arrow. None: the result could be inexact, or Arrow would be slow."""
    end = _end_of_records(data, final, table.delimiter)
    # Arrow would remove a byte order mark that is part of the first cell.
    if not end or b"\0" in data or data.startswith(UTF8_BOM):
        return None
    ragged: list[tuple[int, str]] = []

    def note(invalid: pa_csv.InvalidRow) -> str:
        ragged.append((invalid.number, invalid.text))
        return "skip" if len(ragged) <= MAX_RAGGED_ROWS else "error"

    width = table.usual_width
    try:
        text = pa.py_buffer(data).slice(0, end)
        if not table.is_valid:  # for invalid bytes, Arrow's handler of invalid rows would print an error of its own
            pa.StringArray.from_buffers(1, pa.array([0, end], pa.int32()).buffers()[1], text).validate(full=True)
        parsed = pa_csv.read_csv(
            pa.BufferReader(text),
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
    count = parsed.num_rows + len(ragged)
    places = np.delete(np.arange(count), [number - 1 for number, _ in ragged])
    cells = csv.reader((text for _, text in ragged), delimiter=table.delimiter)
    odd = [(number - 1, found) for (number, _), found in zip(ragged, cells, strict=True)]
    lines = count_line_ends(data, end) + (data[end - 1] not in b"\r\n")
    counter.passed(start, start + end, lines)
    above, below = _blank_lines(data[:end], count) if lines != count else (0, 0)
    offsets = partial(_offsets, table.path, start, end)
    return Parsed(parsed, places, odd, [], count, start, start + end, lines == count, offsets, above, below)


def _blank_lines(text: bytes, count: int) -> tuple[int, int]:
    """The number of blank lines above and below the last record. text: complete records. count: how many."""
    _, is_blank = _starts(text)
    last = int(np.flatnonzero(~is_blank)[-1]) + 1 if count else 0
    return last - count, len(is_blank) - last


def _offsets(path: Path, start: int, size: int) -> Offsets:
    """The offset of each record in a part of a file that the fast path has read."""
    with path.open("rb") as file:
        file.seek(start)
        starts, is_blank = _starts(file.read(size))
    found: Offsets = starts[~is_blank] + start
    return found


def _starts(text: bytes) -> tuple[Offsets, npt.NDArray[np.bool_]]:
    """Where records and blank lines begin, and which are blank. text: with regular quotes."""
    ends = np.flatnonzero(line_ends(text)) + 1
    ends = ends[np.searchsorted(_positions(text, QUOTE), ends) % 2 == 0]
    starts = np.concatenate([[0], ends[ends < len(text)]])
    first = np.frombuffer(text, dtype=np.uint8)[starts]
    return starts, (first == LF) | (first == CR)


def _end_of_records(data: bytes, final: bool, delimiter: str) -> int:
    """The end of the last complete record.

    0: there is none, a quote is where it is not allowed, or a record has more than MAX_RECORD_BYTES.
    """
    line_end = LF if b"\n" in data else CR
    quotes = _positions(data, QUOTE)
    if final and len(quotes) % 2:
        return 0
    end = len(data) if final else _last_end(data, line_end, quotes, 0, len(data))
    if not _regular(data, quotes[: np.searchsorted(quotes, end)], delimiter):
        return 0
    start = 0
    while end - start > record_limits.MAX_RECORD_BYTES:
        last = _last_end(data, line_end, quotes, start, start + record_limits.MAX_RECORD_BYTES)
        if last == start:
            return 0
        start = last
    return end


def _last_end(data: bytes, line_end: int, quotes: npt.NDArray[np.int64], start: int, stop: int) -> int:
    """The last end of a record between two places, if every quote is where it is allowed; `start` if there is none.

    It is a line end with an even number of quotes before it. Nearly always the last line end is one.
    """
    end = data.rfind(line_end, start, stop) + 1
    if end and np.searchsorted(quotes, end) % 2:
        ends = _positions(data[start:end], line_end) + start + 1
        whole = ends[np.searchsorted(quotes, ends) % 2 == 0]
        end = int(whole[-1]) if len(whole) else 0
    return end or start


def _positions(data: bytes, byte: int) -> npt.NDArray[np.int64]:
    if byte not in data:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == byte)


def _regular(data: bytes, quotes: npt.NDArray[np.int64], delimiter: str) -> bool:
    """Whether quotes pair up as in RFC 4180: 1st, 3rd, … open a cell (or double the one before), 2nd, … close it."""
    if not len(quotes):
        return True
    allowed = np.zeros(256, dtype=np.bool_)
    allowed[[QUOTE, LF, CR, ord(delimiter)]] = True
    # The data begins and ends with a record, so a quote may also be its first or its last byte.
    before_opening = quotes[int(quotes[0] == 0) * 2 :: 2] - 1
    after_closing = quotes[1::2][: -1 if quotes[-1] == len(data) - 1 else None] + 1
    around = np.frombuffer(data, dtype=np.uint8)
    return bool(allowed[around[before_opening]].all() and allowed[around[after_closing]].all())


def _exact(exact: Records, table: PreparedTable, start: int, size: int) -> Parsed:
    """Read records one by one, until they have at least `size` bytes or about MAX_CHUNK_LINES records."""
    usual: list[list[str]] = []
    places: list[int] = []
    odd: list[tuple[int, list[str]]] = []
    failed: list[FailedRow] = []
    offsets: list[int] = []
    end, width = start, table.usual_width
    seen = blank = blank_below = 0
    for batch in exact.batches(start, size):
        for position, cells in enumerate(batch.cells):
            begin, end, place = end, batch.ends[position], len(offsets)
            if not cells:
                blank_below += 1
                continue
            if position in batch.problems:
                failed.append(FailedRow(place, [_shown(cell) for cell in cells], [batch.problems[position]]))
            elif len(cells) == width:
                usual.append(cells)
                places.append(place)
            else:
                odd.append((place, cells))
            offsets.append(begin)
            blank, blank_below = blank + blank_below, 0
        seen += len(batch.ends)
        if seen >= MAX_CHUNK_LINES:
            break
    columns = zip(*usual, strict=True) if usual else ([] for _ in range(width))
    parsed = pa.table([pa.array(column, pa.string()) for column in columns], [str(n) for n in range(width)])
    found = np.array(offsets, dtype=np.int64)
    numbers = np.array(places, dtype=np.int64)
    return Parsed(parsed, numbers, odd, failed, len(offsets), start, end, False, lambda: found, blank, blank_below)


def _shown(cell: str) -> str:
    """A cell as valid text: invalid bytes and NUL become U+FFFD."""
    if cell.isascii() and "\0" not in cell:
        return cell
    return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "\ufffd")
