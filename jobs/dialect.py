"""Detects the dialect of a text from its first lines. No I/O."""

import csv
import io
import re

from jobs.header import REGULAR, SAMPLE_RECORDS, detect_header, find_header, share_like, trimmed

#: Possible delimiters, the most likely first.
DELIMITERS = (",", ";", "\t", "|")

_NUMBER = re.compile(r"[-+(]?[$€£¥]? ?\d[\d.,' \xa0\u202f]*[)%$€£¥]?")


def detect_delimiter(sample: str) -> str:
    """The delimiter that splits nearly every record of a sample into as many cells as the header.

    sample: whole lines from the beginning of a file. If it has a single column, the result is a delimiter that it does
    not contain.
    """
    first = sample.split("\n", 1)[0].strip()
    if first[:4].lower() == "sep=" and first[4:] in DELIMITERS:  # a line that tells Excel the delimiter
        return first[4:]
    tables = {delimiter: _table(sample, delimiter) for delimiter in DELIMITERS}
    found = {delimiter: table for delimiter, table in tables.items() if table is not None}
    if found:
        return max(found, key=lambda delimiter: found[delimiter])
    return min(DELIMITERS, key=sample.count)


def _table(sample: str, delimiter: str) -> tuple[float, bool, float, int] | None:
    """A score for a delimiter, greater is better; None: it makes a single column.

    Compared in this order: the share of records that fit the header; whether nothing is above the header; the share of
    cells without another delimiter ("1,5;2,5" split at the semicolon leaves two decimals, at the comma a "5;2"); the
    number of columns.
    """
    records = _records(sample, delimiter)
    header = find_header(records)
    if not records or len(records[header]) < 2:
        return None
    below = [record for record in records[header + 1 :] if record]
    share = share_like(records[header], below) if below else 1.0
    others = set(DELIMITERS) - {delimiter}
    cells = [cell for record in below or records for cell in record if cell]
    whole = sum(others.isdisjoint(cell) or bool(_NUMBER.fullmatch(cell)) for cell in cells) / (len(cells) or 1)
    return min(share, REGULAR), not any(records[:header]), round(whole, 1), len(trimmed(records[header]))


def _records(sample: str, delimiter: str) -> list[list[str]]:
    found: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            found.append(record)
            if len(found) == SAMPLE_RECORDS:
                break
    except csv.Error:  # a field that is too long because its quote is never closed: the records before it are enough
        pass
    return found


def header_of(sample: str) -> list[str]:
    """The column names of a text; none if its first row is data. sample: its beginning, which may be cut anywhere."""
    lines = sample.rpartition("\n")[0] or sample
    records = _records(lines, detect_delimiter(lines))
    header = detect_header(records)
    return [" ".join(name.split()) for name in header.names] if header.rows else []
