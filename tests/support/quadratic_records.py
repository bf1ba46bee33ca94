"""The obvious way to read the records of a text, which reads the same lines again after every quote that is open."""

import csv
from collections.abc import Iterator

from jobs.pipeline.records import UNCLOSED


def read(text: bytes, delimiter: str, limit: int) -> list[tuple[list[str], int, str | None]]:
    """The cells of each record, the offset of the byte after it, and why it is unreadable. limit: bytes of a record.

    Invalid bytes in cells are lone surrogates and no problem here.
    """
    lines, position, end = text.splitlines(keepends=True), 0, 0
    found: list[tuple[list[str], int, str | None]] = []
    while position < len(lines):
        line = lines[position]
        if (record := _record(lines[position:], delimiter, limit)) is not None:
            cells, count = record
            problem = None
        else:
            cells, count = [line[:limit].decode("utf-8", "replace").rstrip("\r\n")], 1
            problem = UNCLOSED.rule if len(line) <= limit else f"is longer than {limit:,} bytes"
        end += sum(map(len, lines[position : position + count]))
        position += count
        found.append((cells, end, problem))
    return found


def _record(lines: list[bytes], delimiter: str, limit: int) -> tuple[list[str], int] | None:
    """The cells and the number of lines of the first record; None: its quote is never closed.

    A quote that only the opening quote of a later cell closes is not closed: something else than a delimiter or a line
    end follows that quote, which is an error in strict mode.
    """
    taken: list[str] = []

    def given() -> Iterator[str]:
        length = 0
        for line in lines:
            length += len(line)
            if length > limit:
                break
            taken.append(line.decode("utf-8", "surrogateescape"))
            yield taken[-1]
        raise csv.Error("the record goes on")

    try:
        cells = next(csv.reader(given(), delimiter=delimiter))
        if len(taken) > 1:
            list(csv.reader(taken, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return cells, len(taken)
