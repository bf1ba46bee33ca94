"""Which uploads the history shows: one rule for each filter, as a condition in SQL and as a predicate in Python.

Python folds the text of a search, because the databases differ: SQLite folds only ASCII, and PostgreSQL depends on its
locale. The table stores the folded text of each upload (`uploads.search_text`), and both sides compare code points.
"""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from jobs.tables import uploads

#: Characters of the folded names of a file and of its dataset that a search compares. They are longer than any real
#: one; an entry of PostgreSQL's index has room for 2,700 bytes.
LONGEST_FILE, LONGEST_DATASET = 450, 100


class Outcome(StrEnum):
    """What a status does not say."""

    CLEAN = "clean"  # completed, every row in, no warning
    FAILED_ROWS = "failed_rows"  # completed, but rows failed
    WARNINGS = "warnings"  # completed with warnings
    HELD = "held"  # waits for a person
    UNDONE = "undone"  # another upload undid it


#: The values of `uploads.outcome` that each outcome includes (tables.OUTCOME).
_RECORDED = {
    Outcome.CLEAN: ["clean"],
    Outcome.FAILED_ROWS: ["failed_rows", "failed_rows warnings"],
    Outcome.WARNINGS: ["warnings", "failed_rows warnings"],
    Outcome.HELD: ["held"],
}
#: What an upload no longer is once it was undone.
_OF_RESULT = frozenset({Outcome.CLEAN, Outcome.FAILED_ROWS, Outcome.WARNINGS})


def outcomes(
    status: str,
    rows_failed: int,
    warnings: Collection[object],
    attempt: int,
    error: str | None,
    undone_by: int | None = None,
) -> frozenset[Outcome]:
    """The outcomes of an upload with these fields, as the database has them in `uploads.outcome` and `undone_by`."""
    if undone_by is not None:
        return frozenset({Outcome.UNDONE})
    if status == "held" or (status == "cancelled" and attempt == 0 and error is not None):
        return frozenset({Outcome.HELD})
    if status != "completed":
        return frozenset()
    found = {Outcome.FAILED_ROWS: rows_failed > 0, Outcome.WARNINGS: bool(warnings)}
    return frozenset(each for each, holds in found.items() if holds) or frozenset({Outcome.CLEAN})


def fold(text: str) -> str:
    """Text for comparisons that ignore case and composition (Unicode's canonical caseless matching, D145), as NFC."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def search_text(filename: str, dataset: str | None) -> str:
    """The text that a search compares: the beginnings of both names, folded, one per line."""
    return f"{fold(filename)[:LONGEST_FILE]}\n{fold(dataset or '')[:LONGEST_DATASET]}"


@dataclass(frozen=True)
class Facts:
    """What filters look at. outcomes: of the function above."""

    filename: str
    dataset: str | None
    status: str
    outcomes: frozenset[Outcome]
    created_at: datetime
    uploaded_by: str | None = None
    kind: str = "import"


@dataclass(frozen=True)
class HistoryQuery:
    """search: part of the name of a file or of its dataset; "" for any. status: a Status of jobs.uploads. since, until:
    it was created at or after the one and before the other. uploaded_by: the name of an account. kind: import, repair
    or undo. None: any.

    The caller must remove characters that no database stores (NUL, lone surrogates).
    """

    search: str = ""
    status: str | None = None
    outcome: Outcome | None = None
    dataset: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    uploaded_by: str | None = None
    kind: str | None = None

    @property
    def is_composed(self) -> bool:
        """Whether it is more than the status, the dataset or whose uploads they are, each of which has an index of its
        own."""
        if self.uploaded_by is not None:
            return False
        alone = HistoryQuery(status=self.status), HistoryQuery(dataset=self.dataset)
        return self not in alone

    def matches(self, facts: Facts) -> bool:
        """Whether an upload with these facts matches."""
        return (
            self.status in (None, facts.status)
            and (self.outcome is None or self.outcome in facts.outcomes)
            and self.dataset in (None, facts.dataset)
            and self.uploaded_by in (None, facts.uploaded_by)
            and self.kind in (None, facts.kind)
            and (self.since is None or facts.created_at >= self.since)
            and (self.until is None or facts.created_at < self.until)
            and (not self.search or fold(self.search) in search_text(facts.filename, facts.dataset))
        )

    def where(self) -> sa.ColumnElement[bool]:
        """The same rule as a condition on the table `uploads`."""
        columns = uploads.c
        conditions: list[sa.ColumnElement[bool]] = []
        if self.status is not None:
            conditions.append(columns.status == self.status)
        if self.outcome is not None:
            conditions.append(_outcome_is(self.outcome))
        if self.dataset is not None:
            conditions.append(columns.dataset == self.dataset)
        if self.uploaded_by is not None:
            conditions.append(columns.uploaded_by == self.uploaded_by)
        if self.kind is not None:
            conditions.append(columns.kind == self.kind)
        if self.since is not None:
            conditions.append(columns.created_at >= self.since)
        if self.until is not None:
            conditions.append(columns.created_at < self.until)
        if self.search:
            conditions.append(_contains(columns.search_text, sa.bindparam(None, fold(self.search), sa.Text)))
        return sa.and_(sa.true(), *conditions)


def _outcome_is(outcome: Outcome) -> sa.ColumnElement[bool]:
    columns = uploads.c
    if outcome is Outcome.UNDONE:
        return columns.undone_by.is_not(None)
    recorded = columns.outcome.in_(_RECORDED[outcome])
    if outcome is Outcome.HELD:
        return recorded | (columns.status == "held")
    return recorded & columns.undone_by.is_(None) if outcome in _OF_RESULT else recorded


class _contains(sa.sql.functions.FunctionElement[bool]):  # noqa: N801  # reads as the SQL function that it is
    """Whether a text contains another one, code point by code point. Faster than LIKE on both databases."""

    inherit_cache = True
    name = "contains"
    type = sa.Boolean()


@compiles(_contains, "sqlite")
def _sqlite_contains(element: _contains, compiler: Any, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(_contains, "postgresql")
def _postgresql_contains(element: _contains, compiler: Any, **options: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **options)}) > 0)"


#: Matches every upload.
ALL_UPLOADS = HistoryQuery()
