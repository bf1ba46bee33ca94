"""The query of a page of failed rows: ?column=&rule=&after="""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobs.failed_rows import WithReason
from webapp.errors import InvalidQueryError

#: Digits of a row number: it fits into the database.
_MAX_DIGITS = 18


@dataclass(frozen=True)
class FailedRowsQuery:
    """chosen: the reason that the rows have. after: the number of the row before the page."""

    chosen: WithReason
    after: int

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Raises InvalidQueryError."""
        chosen = WithReason(*(_text(query, name) for name in ("column", "rule")))
        after = query.get("after", "0") or "0"
        if not (after.isascii() and after.isdecimal() and len(after) <= _MAX_DIGITS):
            raise InvalidQueryError("after", "must be the number of a row.")
        return cls(chosen, int(after))

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Of the filter, without the position."""
        return [(name, value) for name, value in self.chosen._asdict().items() if value is not None]


def _text(query: Mapping[str, str], name: str) -> str | None:
    """No text in the database has a NUL."""
    value = query.get(name)
    return value and value.replace("\x00", "\ufffd")
