"""The query of a page of failed rows: which of them, and which columns of the file:
?column=&rule=&after=&before=&columns="""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobs.failed_rows import ANY_REASON, WithReason
from webapp.errors import InvalidQueryError

#: Digits of a row number: it fits into the database.
_MAX_DIGITS = 18


@dataclass(frozen=True)
class FailedRowsQuery:
    """chosen: the reason that the rows have. after: the number of the row before the page. before: that of the row
    behind it, if the page ends there. first_column: from 1."""

    chosen: WithReason = ANY_REASON
    after: int = 0
    before: int | None = None
    first_column: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Raises InvalidQueryError."""
        chosen = WithReason(*(_text(query, name) for name in ("column", "rule")))
        after, first = _number(query, "after", "0", "a row"), _number(query, "columns", "1", "a column")
        before = _number(query, "before", "0", "a row") or None
        return cls(chosen, after, before, max(1, first))

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Of the filter, without the position."""
        return [(name, value) for name, value in self.chosen._asdict().items() if value is not None]


def _number(query: Mapping[str, str], name: str, default: str, of: str) -> int:
    text = query.get(name) or default
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise InvalidQueryError(name, f"must be the number of {of}.")
    return int(text)


def _text(query: Mapping[str, str], name: str) -> str | None:
    """No text in the database has a NUL."""
    value = query.get(name)
    return value and value.replace("\x00", "\ufffd")
