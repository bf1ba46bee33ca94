"""Splits a text of any dialect into records of cells, line by line. No I/O.

It reads the dialects that RFC 4180 does not know (quoted by apostrophes, escaped by backslashes, separated by spaces).
Time is linear in the characters, and at most MAX_RECORD characters are held: where a quote never closes, its line is
unreadable, and no line is searched again for the end of another record.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

#: Characters that a record may have. Without this limit, an unclosed quote would include the rest of the file.
MAX_RECORD = 1 << 20


@dataclass(frozen=True)
class Dialect:
    """How a text is laid out.

    quote: encloses cells, and is doubled inside of them. escapes: whether a backslash escapes a character.
    skips_spaces: whether spaces around a cell do not belong to it. least_spaces: if not 0, so many
    spaces or more are one delimiter.
    comments: if not 0, lines that begin with # are comments, except those with so many cells.
    """

    delimiter: str
    quote: str = '"'
    escapes: bool = False
    skips_spaces: bool = False
    least_spaces: int = 0
    comments: int = 0


@dataclass
class Tokens:
    """A record. text: as it is in the file, with its line end. quoted: cells in quotes. odd: cells with a stray quote,
    or the line of a quote that never closes, which is its only cell."""

    text: str
    cells: list[str] = field(default_factory=list)
    quoted: int = 0
    odd: int = 0


class _UnclosedError(Exception):
    """A quote never closes."""


@dataclass
class _Draft:
    """A record that is being split. lines: of which it consists. size: their characters, and those searched."""

    lines: list[str]
    size: int
    tokens: Tokens = field(default_factory=lambda: Tokens(""))


class Tokenizer:
    """Splits texts of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        quote, spaces = re.escape(dialect.quote), " *+" if dialect.skips_spaces else ""
        delimiter = f" {{{dialect.least_spaces},}}" if dialect.least_spaces else re.escape(dialect.delimiter)
        end = rf"(?={spaces}(?:{delimiter}|[\r\n]|\Z))"
        plain, escaped = (rf"[^{quote}\\]++", r"|\\.") if dialect.escapes else (rf"[^{quote}]++", "")
        strict = rf"(?:{plain}|{quote}{quote}{escaped})*+"
        lenient = rf"(?:{plain}|{quote}{quote}{escaped}|{quote}(?!{end}))*+"
        self._quoted = re.compile(rf"{spaces}{quote}({lenient}){quote}{spaces}{end}", re.DOTALL)
        self._opening = re.compile(spaces + quote)
        self._inside = re.compile(strict, re.DOTALL)
        self._closing = re.compile(rf"{quote}{spaces}{end}")
        self._delimiter = re.compile(delimiter)
        self._unquoted = re.compile(_unquoted(dialect))
        self._escapes = re.compile(rf"\\([\\{quote}{re.escape(dialect.delimiter)}\r\n])")
        self._doubled = dialect.quote * 2

    def records(self, lines: Iterable[str]) -> Iterator[Tokens]:
        """The records of a text. lines: each with its line end; one without is the last, or a part of a longer line."""
        source, ahead = iter(lines), deque[str]()
        hopeless = 0  # lines ahead at whose beginning an open quote is known not to close
        while (line := ahead.popleft() if ahead else next(source, None)) is not None:
            hopeless = max(hopeless - 1, 0)
            draft = _Draft([line], len(line))
            try:
                place = self._split(draft.tokens, line, 0)
                while place is not None:
                    if hopeless:
                        raise _UnclosedError
                    place = self._split_on(draft, place, ahead, source)
            except _UnclosedError:
                ahead.extendleft(reversed(draft.lines[1:]))
                hopeless = len(ahead)
                yield Tokens(line, [line.rstrip("\r\n")], odd=1)
            else:
                draft.tokens.text = "".join(draft.lines)
                yield draft.tokens

    def _split_on(self, draft: "_Draft", place: int, ahead: deque[str], source: Iterator[str]) -> int | None:
        """Go on with a cell of several lines, whose quote opens in the last line of a draft. Returns as `_split`.

        Raises _UnclosedError, with every line that was searched in `ahead`.
        """
        line = draft.lines[-1]
        start = self._end(self._opening, line, place)
        parts = [line[start:]]
        position = self._end(self._inside, line, start)
        count = 0
        while position == len(line) and draft.size <= MAX_RECORD:
            if count == len(ahead):
                following = next(source, None)
                if following is None:
                    break
                ahead.append(following)
            line = ahead[count]
            count += 1
            draft.size += len(line)
            position = self._end(self._inside, line, 0)
            if position < len(line) and (closing := self._closing.match(line, position)):
                parts.append(line[:position])
                draft.tokens.cells.append(self._cell("".join(parts)))
                draft.tokens.quoted += 1
                draft.lines.extend(ahead.popleft() for _ in range(count))
                return self._after_cell(draft.tokens, line, closing.end())
            parts.append(line)
        raise _UnclosedError

    def _split(self, found: Tokens, line: str, place: int) -> int | None:
        """Add the cells from a place on. Returns where a cell begins whose quote does not close in this line."""
        if self._dialect.least_spaces:
            while line[place : place + 1] == " ":
                place += 1
        if place == len(line.rstrip("\r\n")) and not found.cells:
            return None
        while True:
            if cell := self._quoted.match(line, place):
                found.cells.append(self._cell(cell[1]))
                found.quoted += 1
                found.odd += self._has_stray_quote(cell[1])
            elif self._opening.match(line, place):
                return place
            else:
                cell = self._unquoted.match(line, place)
                assert cell is not None  # it matches the empty text
                found.odd += self._is_odd(cell[0])
                found.cells.append(self._plain(cell[0]))
            following = self._delimiter.match(line, cell.end())
            if following is None or self._is_trailing(line, following.end()):
                return None
            place = following.end()

    def _after_cell(self, found: Tokens, line: str, place: int) -> int | None:
        following = self._delimiter.match(line, place)
        if following is None or self._is_trailing(line, following.end()):
            return None
        return self._split(found, line, following.end())

    def _is_trailing(self, line: str, place: int) -> bool:
        """Whether only the line end follows spaces that are one delimiter."""
        return bool(self._dialect.least_spaces) and line[place : place + 1] in ("", "\r", "\n")

    def _cell(self, text: str) -> str:
        text = text.replace(self._doubled, self._dialect.quote)
        return self._escapes.sub(r"\1", text) if self._dialect.escapes and "\\" in text else text

    def _is_odd(self, text: str) -> bool:
        """Whether a cell without quotes around it has one. An apostrophe is part of many words, but begins few."""
        quote = self._dialect.quote
        return quote in text and (quote == '"' or text.lstrip(" ").startswith(quote))

    def _has_stray_quote(self, text: str) -> bool:
        """Whether the content of a cell in quotes has a quote that is neither doubled nor escaped."""
        found = self._inside.match(text)
        return self._dialect.quote in text and found is not None and found.end() < len(text)

    def _plain(self, text: str) -> str:
        text = text.strip(" ") if self._dialect.skips_spaces or self._dialect.least_spaces else text
        return self._escapes.sub(r"\1", text) if self._dialect.escapes and "\\" in text else text

    @staticmethod
    def _end(pattern: re.Pattern[str], line: str, place: int) -> int:
        found = pattern.match(line, place)
        return place if found is None else found.end()


def _unquoted(dialect: Dialect) -> str:
    if dialect.least_spaces > 1:
        return rf"(?:[^ \r\n]++| (?! {{{dialect.least_spaces - 1},}}))*+"
    delimiter = re.escape(dialect.delimiter)
    return rf"(?:[^{delimiter}\\\r\n]++|\\[^\r\n]|\\)*+" if dialect.escapes else rf"[^{delimiter}\r\n]*+"
