"""Query parameters that choose rows of a dataset, and their order: on pages, in lists of rows and in exports.

| parameter | rows |
|---|---|
| `COLUMN=`, `COLUMN__eq=` | whose value is this one |
| `COLUMN__contains=` | whose text has this one in it |
| `COLUMN__gte=`, `COLUMN__lte=` | whose value is at least, or at most, this one |
| `COLUMN__empty=1`, `COLUMN__empty=0` | that have no value, or that have one |
| `upload=` | that came from this upload |
| `search=` | that have this text in one of the columns of text |
| `sort=COLUMN`, `sort=-COLUMN` | in ascending or descending order of the column |

A column may have any name. What follows the last `__` is an operator if it is one of these and what stands before it is
a column; so `a__gte__eq=` is always the column `a__gte`. A parameter that means something else to its route never is a
column, but with an operator it is: `sort__eq=`. In the same way `sort=` takes `COLUMN__asc` and `COLUMN__desc`.
"""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from jobs.errors import InvalidFilterError
from jobs.excerpt import excerpt
from jobs.rows.selection import Condition, Operator, Search, Selection, Sort
from jobs.rows.spelling import TEMPORAL
from jobs.schema import OWN_COLUMNS, SchemaField, TableSchema

SORT, UPLOAD, SEARCH = "sort", "upload", "search"
#: Conditions that a request may have: each is compared with every row.
MAX_CONDITIONS = 20
#: Characters of the longest value.
MAX_VALUE = 10_000
_DIRECTIONS = {"asc": False, "desc": True}


@dataclass(frozen=True)
class Filter:
    """A parameter that chooses rows, as a person may read it and remove it.

    column: None for the upload and the search. value: as the request has it.
    """

    parameter: str
    column: str | None
    operator: Operator
    value: str


@dataclass(frozen=True)
class RowFilters:
    """The filters of a request. sort: the parameter's value, "" for the order of the key."""

    selection: Selection
    filters: tuple[Filter, ...]
    sort: str

    @property
    def query(self) -> list[tuple[str, str]]:
        """The parameters that mean the same."""
        sort = [(SORT, self.sort)] if self.sort else []
        return [*((each.parameter, each.value) for each in self.filters), *sort]

    def without(self, filter_: Filter) -> list[tuple[str, str]]:
        """The parameters, but for one filter."""
        sort = [(SORT, self.sort)] if self.sort else []
        return [*((each.parameter, each.value) for each in self.filters if each != filter_), *sort]

    def without_column(self, column: str) -> list[tuple[str, str]]:
        """The parameters, but for the filters of a column."""
        sort = [(SORT, self.sort)] if self.sort else []
        return [*((each.parameter, each.value) for each in self.filters if each.column != column), *sort]


def parse(query: Iterable[tuple[str, str]], schema: TableSchema, *, others: Collection[str] = ()) -> RowFilters:
    """Read the parameters of a request. others: parameters that mean something else.

    Raises InvalidFilterError for an unknown column, and for a value that does not fit the type of its column.
    """
    fields = {field.name: field for field in schema.fields}
    filters: list[Filter] = []
    conditions: list[Condition] = []
    sort, search = "", None
    for parameter, value in query:
        if parameter == SORT:
            sort = value
        elif parameter == UPLOAD:
            filters.append(Filter(parameter, None, Operator.EQUAL, value))
            conditions.append(Condition(OWN_COLUMNS[0], Operator.EQUAL, _upload_id(value)))
        elif parameter == SEARCH:
            if value:
                filters = [each for each in filters if each.parameter != SEARCH]
                filters.append(Filter(parameter, None, Operator.CONTAINS, value))
                search = _search(value, schema)
        elif parameter not in others:
            column, operator = _target(parameter, fields)
            filters.append(Filter(parameter, column, operator, value))
            conditions += _conditions(parameter, fields[column], operator, value)
        if len(filters) > MAX_CONDITIONS:
            raise InvalidFilterError(parameter, f"is one filter too many; at most {MAX_CONDITIONS} are possible.")
    selection = Selection(tuple(conditions), _sort(sort, fields), search=search)
    return RowFilters(selection, tuple(filters), sort)


def parameter_of(column: str, operator: Operator) -> str:
    """The parameter that always means this column."""
    return f"{column}__{operator}"


def _target(parameter: str, fields: Collection[str]) -> tuple[str, Operator]:
    column, separator, word = parameter.rpartition("__")
    if separator and word in set(Operator) and column in fields:
        return column, Operator(word)
    if parameter in fields:
        return parameter, Operator.EQUAL
    raise InvalidFilterError(excerpt(parameter, 80), "is neither a parameter of this address nor a column.")


def _sort(text: str, fields: Collection[str]) -> Sort | None:
    if not text:
        return None
    column, separator, word = text.rpartition("__")
    if separator and word in _DIRECTIONS and column in fields:
        return Sort(column, _DIRECTIONS[word])
    if text in fields:
        return Sort(text)
    if text.startswith("-") and text[1:] in fields:
        return Sort(text[1:], descending=True)
    raise InvalidFilterError(SORT, "must be the name of a column, or - and its name for a descending order.")


def _search(text: str, schema: TableSchema) -> Search:
    columns = tuple(field.name for field in schema.fields if field.type == "string")
    if not columns:
        raise InvalidFilterError(SEARCH, "looks into columns of text, and this dataset has none.")
    return Search(_checked_text(SEARCH, text), columns)


def _checked_text(parameter: str, text: str) -> str:
    if len(text) > MAX_VALUE or "\0" in text:
        raise InvalidFilterError(parameter, f"must be a text of at most {MAX_VALUE:,} characters, without NUL.")
    return text


def _upload_id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InvalidFilterError(UPLOAD, "must be the number of an upload.")
    return int(text)


def _conditions(parameter: str, field: SchemaField, operator: Operator, text: str) -> list[Condition]:
    """Raises InvalidFilterError."""
    name, is_text = excerpt(parameter, 80), field.type == "string"
    if operator is Operator.EMPTY:
        if text not in ("1", "0"):
            raise InvalidFilterError(name, "must be 1 for rows without a value, or 0 for rows with one.")
        return [Condition(field.name, operator, text == "1", is_text)]
    if operator is Operator.CONTAINS and not is_text:
        raise InvalidFilterError(name, f"needs a column of text; “{field.name}” has the type {field.type}.")
    if operator in (Operator.AT_LEAST, Operator.AT_MOST) and field.type == "boolean":
        raise InvalidFilterError(name, f"cannot be compared: “{field.name}” has the type boolean.")
    _checked_text(name, text)
    try:
        value = _VALUES[field.type](field, text if is_text else text.strip())
    except (ValueError, OverflowError):
        raise InvalidFilterError(name, f"must be {_EXPECTED[field.type]}, because “{field.name}” is one.") from None
    if field.type == "datetime" and _is_day(text.strip()):
        return _within_day(field.name, operator, value)
    return [Condition(field.name, operator, value, is_text)]


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _within_day(column: str, operator: Operator, begin: datetime) -> list[Condition]:
    """A day instead of a moment is all of the day."""
    first = Condition(column, Operator.AT_LEAST, begin)
    last = Condition(column, Operator.AT_MOST, begin + timedelta(days=1) - timedelta(microseconds=1))
    return {Operator.AT_LEAST: [first], Operator.AT_MOST: [last]}.get(operator, [first, last])


def _integer(_field: SchemaField, text: str) -> int:
    if len(text) > 40:
        raise ValueError
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise OverflowError
    return value


def _number(field: SchemaField, text: str) -> float:
    """As a program writes it, or as the dataset's files do."""
    try:
        value = float(text)
    except ValueError:
        bare = text.replace(field.prefix.strip() or "\0", "", 1).replace(field.suffix.strip() or "\0", "", 1)
        bare = bare.replace(field.group_char or "\0", "").replace(field.decimal_char, ".")
        value = float(bare.strip())
    if not math.isfinite(value):
        raise ValueError
    return value


def _boolean(field: SchemaField, text: str) -> bool:
    if text in field.true_values or text.casefold() == "true":
        return True
    if text in field.false_values or text.casefold() == "false":
        return False
    raise ValueError


def _moment(field: SchemaField, text: str) -> Any:
    """In ISO 8601, or in the format of the field."""
    kind = TEMPORAL[field.type]
    try:
        return kind.fromisoformat(text)
    except ValueError:
        if field.format == "default":
            raise
    found = datetime.strptime(text, field.format)
    return found.date() if kind is date else found.time() if kind is time else found


def _datetime(field: SchemaField, text: str) -> datetime:
    """In UTC if the column is; a moment without a time zone is taken as UTC."""
    found: datetime = _moment(field, text)
    if not field.is_in_utc:
        return found.replace(tzinfo=None)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


_VALUES: dict[str, Callable[[SchemaField, str], Any]] = {
    "string": lambda _field, text: text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _moment,
    "datetime": _datetime,
    "time": _moment,
}
_EXPECTED = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date like 2026-01-31",
    "datetime": "a date and time like 2026-01-31T09:00:00",
    "time": "a time like 09:00:00",
}
