"""The query of a page of failed rows: which of them, and which columns of the file:
?column=&rule=&after=&before=&columns="""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobs.failed_rows import ANY_REASON, WithReason
from webapp import parameters
from webapp.parameters import MOST_DIGITS, Parameter


def _part(name: str, description: str) -> Parameter[str | None]:
    """No text in the database has a NUL."""
    return parameters.found_by(name, description, lambda text: text.replace("\x00", "\ufffd"), "", None)


def _place(name: str, description: str, default: int, of: str) -> Parameter[int]:
    most, wanted = 10**MOST_DIGITS - 1, f"must be the number of a {of}."
    return parameters.number(name, description, least=0, most=most, default=default, wanted=wanted, empty_too=True)


COLUMN = _part("column", "Only rows with a reason about this field; empty: about the row as a whole.")
RULE = _part("rule", "Only rows with a reason that has this rule.")
AFTER = _place("after", "The number of the row before the page.", 0, "row")
_BEFORE = _place("before", "The number of the row behind the page.", 0, "row")
_FIRST = _place("columns", "The first column that is shown.", 1, "column")


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
        chosen = WithReason(COLUMN.read(query), RULE.read(query))
        return cls(chosen, AFTER.read(query), _BEFORE.read(query) or None, max(1, _FIRST.read(query)))

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """Of the filter, without the position."""
        return [(name, value) for name, value in self.chosen._asdict().items() if value is not None]
