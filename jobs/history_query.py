"""Which uploads a search of the history finds: one rule, as a condition in SQL and as a predicate in Python.

Python folds the text, because the databases differ: SQLite folds only ASCII, and PostgreSQL depends on its locale. The
table stores the folded text of each upload (`uploads.search_text`), and both sides compare code points.
"""

import unicodedata
from dataclasses import dataclass

import sqlalchemy as sa

from jobs.tables import uploads


def fold(text: str) -> str:
    """Text for comparisons that ignore case and composition (Unicode's canonical caseless matching, D145), as NFC."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def search_text(filename: str, dataset: str | None) -> str:
    """The text that a search compares: both names, folded, one per line."""
    return f"{fold(filename)}\n{fold(dataset or '')}"


@dataclass(frozen=True)
class HistoryQuery:
    """search: part of the name of a file or of its dataset; "" for any. status: a Status of jobs.uploads; None for any.

    The caller must remove characters that no database stores (NUL, lone surrogates).
    """

    search: str = ""
    status: str | None = None

    def matches(self, filename: str, dataset: str | None, status: str) -> bool:
        """Whether an upload with these fields matches."""
        if self.status is not None and status != self.status:
            return False
        return not self.search or fold(self.search) in search_text(filename, dataset)

    def where(self) -> sa.ColumnElement[bool]:
        """The same rule as a condition on the table `uploads`."""
        conditions = []
        if self.status is not None:
            conditions.append(uploads.c.status == self.status)
        if self.search:
            conditions.append(uploads.c.search_text.contains(fold(self.search), autoescape=True))
        return sa.and_(sa.true(), *conditions)


#: Matches every upload.
ALL_UPLOADS = HistoryQuery()
