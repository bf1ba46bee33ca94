"""The filters of a dataset's page, the form of each column, and downloads of the rows that they choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from jobs.datasets import Dataset
from jobs.errors import InvalidFilterError
from jobs.excerpt import excerpt
from jobs.rows import filters as row_filters
from jobs.rows.filters import SEARCH, SORT, Filter, RowFilters, parameter_of
from jobs.rows.selection import Operator, Sort
from jobs.schema import SchemaField
from webapp.errors import InvalidQueryError

#: The field of the form that names its column; those of its operators, each for a filter of that column.
COLUMN_FIELD = "_column"
OPERATOR_FIELDS = {f"_{operator}": operator for operator in Operator if operator is not Operator.EMPTY}
FORM_FIELDS = (COLUMN_FIELD, *OPERATOR_FIELDS)
#: Characters of the longest query of a page: it is in about thirty links.
LONGEST_QUERY = 4_000
#: Characters of the longest query that is also in the link above each column.
LONGEST_OF_SORTED = 500
#: How filters read.
OPERATORS = {
    Operator.EQUAL: "is",
    Operator.CONTAINS: "contains",
    Operator.AT_LEAST: "is at least",
    Operator.AT_MOST: "is at most",
}
#: The operators that a form offers for each type, and what their fields are called.
OFFERED: dict[str, dict[Operator, str]] = {
    "string": {Operator.CONTAINS: "Contains", Operator.EQUAL: "Is", Operator.AT_LEAST: "From", Operator.AT_MOST: "To"},
    "boolean": {},
}
#: Of all other types, which are sorted by more than letters.
OFFERED_FOR_ORDERED = {Operator.EQUAL: "Is", Operator.AT_LEAST: "From", Operator.AT_MOST: "To"}
#: The formats of a download, and what they are called.
FORMATS = {"csv": "CSV", "xlsx": "Excel", "parquet": "Parquet", "jsonl": "JSON lines"}


@dataclass(frozen=True)
class Link:
    text: str
    url: str


@dataclass(frozen=True)
class FilterView:
    """active: each filter as a sentence, with the address without it. sorting: what the rows are sorted by, with the
    address without it. kept: the parameters that the search and the jump to a row keep. search: the text; search_kept:
    the parameters without it. heads: for each column that is shown, its links; none if the filters are long.
    """

    active: list[Link]
    sorting: Link | None
    downloads: list[Link]
    kept: list[tuple[str, str]]
    search: str
    search_kept: list[tuple[str, str]]
    clear_url: str
    sort_urls: dict[str, str]
    menu_urls: dict[str, str]
    filtered: frozenset[str]
    sorted_by: str | None
    is_descending: bool

    @classmethod
    def of(cls, dataset: Dataset, filters: RowFilters, names: Sequence[str], first_column: int) -> "FilterView":
        """names: of the columns that are shown. Raises InvalidQueryError."""
        here = _Address(dataset.name, first_column)
        query = urlencode(filters.query)
        if len(query) > LONGEST_QUERY:
            limit = f"are longer than the {LONGEST_QUERY:,} characters that a page has room for."
            raise InvalidQueryError("filters", limit)
        sort = filters.selection.sort
        unsorted = [pair for pair in filters.query if pair[0] != SORT]
        kept = [*here.shown, *_hidden(filters)]
        linked = names if len(query) <= LONGEST_OF_SORTED else []
        return cls(
            active=[Link(_sentence(each), here.page(filters.without(each))) for each in filters.filters],
            sorting=None if sort is None else Link(_sorting(sort), here.page(unsorted)),
            downloads=[
                Link(text, f"/datasets/{dataset.name}/rows.{extension}{'?' if query else ''}{query}")
                for extension, text in FORMATS.items()
            ],
            kept=kept,
            search=next((each.value for each in filters.filters if each.parameter == SEARCH), ""),
            search_kept=[pair for pair in kept if pair[0] != SEARCH],
            clear_url=here.page([pair for pair in filters.query if pair[0] == SORT]),
            sort_urls={name: here.page([*unsorted, (SORT, _following(sort, name))]) for name in linked},
            menu_urls={
                name: f"/datasets/{dataset.name}/filter?{urlencode([(COLUMN_FIELD, name), *kept])}" for name in linked
            },
            filtered=frozenset(each.column for each in filters.filters if each.column is not None),
            sorted_by=None if sort is None else sort.column,
            is_descending=sort is not None and sort.descending,
        )


class _Address:
    """The addresses of a dataset's page that shows certain columns. shown: the parameter for it."""

    def __init__(self, name: str, first_column: int) -> None:
        self._path = f"/datasets/{name}"
        self.shown = [("columns", str(first_column))] if first_column > 1 else []

    def page(self, query: Sequence[tuple[str, str]]) -> str:
        return f"{self._path}?{urlencode([*self.shown, *query])}" if self.shown or query else self._path


@dataclass(frozen=True)
class FormField:
    """A field of the form of a column. error: what is wrong with what was entered, "" for nothing."""

    name: str
    label: str
    value: str
    error: str


@dataclass(frozen=True)
class ColumnForm:
    """The form that sorts by a column and filters it. kept: the parameters of everything else, as hidden fields.
    choices: filters without a value to enter. url: the page that it leads to. is_sent: whether it was sent, not only
    asked for."""

    column: str
    title: str
    kind: str
    sorts: list[Link]
    choices: list[Link]
    fields: list[FormField]
    kept: list[tuple[str, str]]
    url: str
    back_url: str
    is_sent: bool

    @property
    def has_errors(self) -> bool:
        return bool(self.errors)

    @property
    def errors(self) -> dict[str, str]:
        """What is wrong, by the name of the field, as in the form that FormView shows."""
        return {each.name: each.error for each in self.fields if each.error}

    @classmethod
    def of(cls, dataset: Dataset, query: Sequence[tuple[str, str]], others: Sequence[str]) -> "ColumnForm":
        """query: what the form was sent with, or what leads to it. Raises InvalidQueryError, InvalidFilterError."""
        given = dict(query)
        field = next((each for each in dataset.schema.fields if each.name == given.get(COLUMN_FIELD)), None)
        if field is None:
            raise InvalidQueryError(COLUMN_FIELD, "must be the name of a column.")
        rest = [pair for pair in query if pair[0] not in FORM_FIELDS]
        filters = row_filters.parse(rest, dataset.schema, others=others)
        here = _Address(dataset.name, _first_column(given))
        is_sent = any(name in given for name in OPERATOR_FIELDS)
        own = [each for each in filters.filters if each.column == field.name]
        current = {f"_{each.operator}": each.value for each in own}
        values = {name: given.get(name, "") if is_sent else current.get(name, "") for name in OPERATOR_FIELDS}
        offered = OFFERED.get(field.type, OFFERED_FOR_ORDERED)
        fields = [
            FormField(name, offered[operator], values[name], _error(dataset, field, operator, values[name]))
            for name, operator in OPERATOR_FIELDS.items()
            if operator in offered
        ]
        kept = filters.without_column(field.name)
        added = [(parameter_of(field.name, OPERATOR_FIELDS[each.name]), each.value) for each in fields if each.value]
        sort = [pair for pair in kept if pair[0] == SORT]
        unsorted = [pair for pair in filters.query if pair[0] != SORT]
        return cls(
            column=field.name,
            title=excerpt(field.title or field.name),
            kind=field.type,
            sorts=[
                Link(text, here.page([*unsorted, (SORT, f"{field.name}__{word}")]))
                for text, word in zip(_ORDERS.get(field.type, _ASCENDING), ("asc", "desc"), strict=True)
            ],
            choices=[
                Link(text, here.page([*(pair for pair in kept if pair[0] != SORT), (parameter, value), *sort]))
                for text, parameter, value in _choices(field)
            ],
            fields=fields,
            kept=[*here.shown, *(_renamed(pair) for pair in kept)],
            url=here.page([*(pair for pair in kept if pair[0] != SORT), *added, *sort]),
            back_url=here.page(filters.query),
            is_sent=is_sent,
        )


_ASCENDING = ("Sort ascending", "Sort descending")
#: What sorting is called, by type.
_ORDERS = {
    "string": ("Sort A to Z", "Sort Z to A"),
    "date": ("Sort oldest first", "Sort newest first"),
    "datetime": ("Sort oldest first", "Sort newest first"),
    "integer": ("Sort smallest first", "Sort largest first"),
    "number": ("Sort smallest first", "Sort largest first"),
}


def _choices(field: SchemaField) -> list[tuple[str, str, str]]:
    """The filters without a value to enter: text, parameter, value."""
    empty = parameter_of(field.name, Operator.EMPTY)
    found = [("Is empty", empty, "1"), ("Is not empty", empty, "0")]
    if field.type != "boolean":
        return found
    same = parameter_of(field.name, Operator.EQUAL)
    values = [(field.true_values[0], "true"), (field.false_values[0], "false")]
    return [*((f"Is {excerpt(word, 40)}", same, value) for word, value in values), *found]


def _error(dataset: Dataset, field: SchemaField, operator: Operator, value: str) -> str:
    """What is wrong with a value, as a sentence."""
    if not value:
        return ""
    try:
        row_filters.parse([(parameter_of(field.name, operator), value)], dataset.schema)
    except InvalidFilterError as error:
        return f"This {error.problem}"
    return ""


def _first_column(query: Mapping[str, str]) -> int:
    text = query.get("columns", "1")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 1


def _hidden(filters: RowFilters) -> list[tuple[str, str]]:
    """The parameters as hidden fields of a form."""
    return [_renamed(pair) for pair in filters.query]


def _renamed(pair: tuple[str, str]) -> tuple[str, str]:
    """A parameter that means the same and is no field of the form: those may have the names of columns."""
    name, value = pair
    return (parameter_of(name, Operator.EQUAL), value) if name in FORM_FIELDS else pair


def _sentence(filter_: Filter) -> str:
    value = excerpt(filter_.value)
    if filter_.parameter == SEARCH:
        return f"Search: “{value}”"
    if filter_.column is None:
        return f"From upload #{value}"
    if filter_.operator is Operator.EMPTY:
        return f"{excerpt(filter_.column)} is {'empty' if filter_.value == '1' else 'not empty'}"
    return f"{excerpt(filter_.column)} {OPERATORS[filter_.operator]} “{value}”"


def _sorting(sort: Sort) -> str:
    return f"Sorted by {excerpt(sort.column)}{', descending' if sort.descending else ''}"


def _following(sort: Sort | None, column: str) -> str:
    """`sort=` of the link at a column's head."""
    descending = sort == Sort(column)
    if column.startswith("-") or "__" in column:
        return f"{column}__{'desc' if descending else 'asc'}"
    return f"-{column}" if descending else column
