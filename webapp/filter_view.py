"""FilterView: the filters of a dataset's page, a form for another one, and downloads of the rows that they choose."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import sqlalchemy as sa

from jobs import datasets
from jobs.datasets import Dataset
from jobs.excerpt import excerpt
from jobs.row_filters import SORT, Filter, RowFilters, parameter_of
from jobs.row_selection import Operator, Sort
from webapp.errors import InvalidQueryError

#: Names of the form's fields; what they mean becomes a parameter of the page.
FORM_FIELDS = ("_column", "_operator", "_value")
#: Characters of the longest query of a page: it is in about thirty links.
LONGEST_QUERY = 4_000
#: Characters of the longest query that is also in the link above each column.
LONGEST_OF_SORTED = 500
#: Rows that are counted for a filter.
ROWS_COUNTED = 100_000
#: The operators of the form, and how they read. "filled" is the opposite of "empty".
OPERATORS = {
    "eq": "is",
    "contains": "contains",
    "gte": "is at least",
    "lte": "is at most",
    "empty": "is empty",
    "filled": "is not empty",
}
#: The formats of a download, and what they are called.
FORMATS = {"csv": "CSV", "xlsx": "Excel", "parquet": "Parquet", "jsonl": "JSON lines"}


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class FilterView:
    """active: each filter as a sentence, with the address without it. kept: the parameters that the form keeps.

    matching: rows that the filters choose, at most ROWS_COUNTED; None without a filter. sorting: what the rows are
    sorted by, with the address without it. sort_urls: for each column that is shown, of the page that is sorted by it,
    or in the opposite direction if this one is; none if the filters are long.
    """

    active: list[Link]
    sorting: Link | None
    downloads: list[Link]
    kept: list[tuple[str, str]]
    matching: int | None
    clear_url: str
    sort_urls: dict[str, str]
    sorted_by: str | None
    is_descending: bool

    @classmethod
    def of(
        cls, connection: sa.Connection, dataset: Dataset, filters: RowFilters, names: Sequence[str], first_column: int
    ) -> "FilterView":
        """names: of the columns that are shown."""
        shown = [("columns", str(first_column))] if first_column > 1 else []
        here = f"/datasets/{dataset.name}"

        def page(query: Sequence[tuple[str, str]]) -> str:
            return f"{here}?{urlencode([*shown, *query])}" if shown or query else here

        query = urlencode(filters.query)
        if len(query) > LONGEST_QUERY:
            limit = f"are longer than the {LONGEST_QUERY:,} characters that a page has room for."
            raise InvalidQueryError("filters", limit)
        sort = filters.selection.sort
        unsorted = [pair for pair in filters.query if pair[0] != SORT]
        return cls(
            active=[Link(_sentence(each), page(filters.without(each))) for each in filters.filters],
            sorting=None if sort is None else Link(_sorting(sort), page(unsorted)),
            downloads=[
                Link(text, f"{here}/rows.{extension}{'?' if query else ''}{query}")
                for extension, text in FORMATS.items()
            ],
            kept=[
                *shown,
                *(_kept(each) for each in filters.filters),
                *([(SORT, filters.sort)] if filters.sort else []),
            ],
            matching=_matching(connection, dataset, filters),
            clear_url=page([pair for pair in filters.query if pair[0] == SORT]),
            sort_urls={
                name: page([*unsorted, (SORT, _following(sort, name))])
                for name in names
                if len(query) <= LONGEST_OF_SORTED
            },
            sorted_by=None if sort is None else sort.column,
            is_descending=sort is not None and sort.descending,
        )

    @staticmethod
    def added(column: str, word: str, value: str) -> tuple[str, str]:
        """The parameter that the form means. Raises InvalidQueryError."""
        if word not in OPERATORS:
            raise InvalidQueryError("_operator", f"must be one of {', '.join(OPERATORS)}.")
        if word in ("empty", "filled"):
            return parameter_of(column, Operator.EMPTY), "1" if word == "empty" else "0"
        return parameter_of(column, Operator(word)), value


def _sentence(filter_: Filter) -> str:
    value = excerpt(filter_.value)
    if filter_.column is None:
        return f"From upload #{value}"
    if filter_.operator is Operator.EMPTY:
        return f"{excerpt(filter_.column)} {OPERATORS['empty' if filter_.value == '1' else 'filled']}"
    return f"{excerpt(filter_.column)} {OPERATORS[filter_.operator]} “{value}”"


def _sorting(sort: Sort) -> str:
    return f"Sorted by {excerpt(sort.column)}{', descending' if sort.descending else ''}"


def _matching(connection: sa.Connection, dataset: Dataset, filters: RowFilters) -> int | None:
    if not filters.filters:
        return None
    return datasets.matching_count(connection, dataset, filters.selection, limit=ROWS_COUNTED)


def _kept(filter_: Filter) -> tuple[str, str]:
    """A filter as a hidden field of the form, whose own fields may have the names of columns."""
    if filter_.column is not None and filter_.parameter in FORM_FIELDS:
        return parameter_of(filter_.column, filter_.operator), filter_.value
    return filter_.parameter, filter_.value


def _following(sort: Sort | None, column: str) -> str:
    """`sort=` of the link at a column's head."""
    descending = sort == Sort(column)
    if column.startswith("-") or "__" in column:
        return f"{column}__{'desc' if descending else 'asc'}"
    return f"-{column}" if descending else column
