"""Rewrites a text of an unusual dialect as RFC 4180 has it, line by line, so that the reader needs no other dialect.

Each record keeps its lines, and a comment becomes a blank line: line numbers stay those of the file. A line whose quote
never closes becomes a row of one cell, which fails. Bytes that are not UTF-8 stay as they are.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from jobs.formats.dialect import DELIMITERS
from jobs.formats.tokenizer import MAX_RECORD, Dialect, Tokenizer, Tokens

#: Bytes that are read at once, and of rewritten text that are written at once.
BLOCK_BYTES = 1 << 20
#: Decodes each byte to a character and back; all that a dialect looks for is ASCII.
_BYTES = "latin-1"
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r(?=[^\n])|\Z)", re.DOTALL)
#: What separates columns, for people, where the rewritten text has another delimiter.
DISPLAY_NAMES = {" ": "spaces", "~": "tildes", "^": "carets", ":": "colons"}

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


def rewrite(source: BinaryIO, target: BinaryIO, dialect: Dialect, tick: Tick) -> int:
    """Rewrite a text from where `source` is. Returns the number of comments."""
    delimiter = delimiter_of(dialect)
    needs_quotes = re.compile(rf'["\r\n{re.escape(delimiter)}]')
    comments, size, pieces = 0, 0, list[str]()
    is_part = False
    for record in Tokenizer(dialect).records(_lines(source, tick)):
        end = record.text[len(record.text.rstrip("\r\n")) :]
        if is_part or (len(record.text) > MAX_RECORD and not end):
            text = record.text  # a part of a line that is too long for a row
        elif _is_comment(record, dialect):
            comments += 1
            text = end
        else:
            text = delimiter.join(_written(cell, needs_quotes) for cell in record.cells) + end
            text = '""' + end if record.cells == [""] else text
        is_part = not end
        pieces.append(text)
        size += len(text)
        if size > BLOCK_BYTES:
            target.write("".join(pieces).encode(_BYTES))
            size, pieces = 0, []
            tick()
    target.write("".join(pieces).encode(_BYTES))
    return comments


def delimiter_of(dialect: Dialect) -> str:
    """The delimiter of the rewritten text."""
    return dialect.delimiter if dialect.delimiter in DELIMITERS else ","


def notes_about(dialect: Dialect, comments: int) -> list[str]:
    """Sentences about what makes a dialect unusual. comments: how many were left out."""
    notes = []
    if dialect.quote != '"':
        notes.append("Cells are quoted with apostrophes.")
    if dialect.escapes:
        notes.append("Backslashes escape characters.")
    if dialect.skips_spaces:
        notes.append("Spaces after the delimiters were ignored.")
    if comments:
        which = "1 comment line was" if comments == 1 else f"{comments:,} comment lines were"
        notes.append(f"{which} skipped.")
    return notes


def _is_comment(record: Tokens, dialect: Dialect) -> bool:
    is_marked = dialect.comments > 0 and record.text.lstrip(" ").startswith("#")
    return is_marked and len(record.cells) != dialect.comments


def _written(cell: str, needs_quotes: re.Pattern[str]) -> str:
    return '"' + cell.replace('"', '""') + '"' if needs_quotes.search(cell) else cell


def _lines(source: BinaryIO, tick: Tick) -> Iterator[str]:
    """The lines of a text with their ends. A line of more than MAX_RECORD bytes comes in parts."""
    rest = b""
    while block := source.read(BLOCK_BYTES):
        tick()
        text = rest + block
        place = 0
        while (found := _LINE.match(text, place)) and found.end() < len(text):
            yield text[place : found.end()].decode(_BYTES)
            place = found.end()
        rest = text[place:]
        if len(rest) > MAX_RECORD and not rest.endswith(b"\r"):
            yield rest.decode(_BYTES)
            rest = b""
    if rest:
        yield rest.decode(_BYTES)
