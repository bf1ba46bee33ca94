"""Query parameters that choose rows."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from jobs.errors import InvalidFilterError
from jobs.rows import filters as row_filters
from jobs.rows.selection import Condition, Operator, Search, Sort
from jobs.schema import TableSchema

GERMAN = {"decimalChar": ",", "groupChar": ".", "bareNumber": False}
SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "city"},
            {"name": "sort"},
            {"name": "a"},
            {"name": "a__gte"},
            {"name": "-a"},
            {
                "name": "amount",
                "type": "number",
                "decimalChar": ",",
                "groupChar": ".",
                "suffix": " €",
                "bareNumber": False,
            },
            {"name": "paid", "type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]},
            {"name": "day", "type": "date", "format": "%d.%m.%Y"},
            {"name": "seen", "type": "datetime"},
        ]
    }
)


def conditions(*query: tuple[str, str]) -> list[Condition]:
    return list(row_filters.parse(query, SCHEMA, others=("limit",)).selection.conditions)


@pytest.mark.parametrize(
    ("parameter", "column", "operator"),
    [
        ("city", "city", Operator.EQUAL),
        ("city__eq", "city", Operator.EQUAL),
        ("city__contains", "city", Operator.CONTAINS),
        ("sort__eq", "sort", Operator.EQUAL),
        ("a__gte", "a", Operator.AT_LEAST),
        ("a__gte__eq", "a__gte", Operator.EQUAL),
        ("a__gte__lte", "a__gte", Operator.AT_MOST),
        ("-a", "-a", Operator.EQUAL),
    ],
)
def test_a_parameter_names_a_column_and_an_operator(parameter: str, column: str, operator: Operator) -> None:
    assert conditions((parameter, "x")) == [Condition(column, operator, "x", is_text=True)]


@pytest.mark.parametrize(
    ("parameter", "text", "value"),
    [
        ("amount", "1204.5", 1204.5),
        ("amount", "1.204,50 €", 1204.5),
        ("amount__gte", "-3", -3.0),
        ("paid", "ja", True),
        ("paid", "FALSE", False),
        ("day", "2026-01-31", date(2026, 1, 31)),
        ("day", "31.1.2026", date(2026, 1, 31)),
        ("seen", "2026-01-31T09:00", datetime(2026, 1, 31, 9, tzinfo=UTC)),
        ("seen", "2026-01-31T09:00:00+01:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_a_value_is_read_as_its_column_or_a_program_writes_it(parameter: str, text: str, value: Any) -> None:
    assert [each.value for each in conditions((parameter, text))] == [value]


def test_a_day_is_all_of_it_where_a_column_has_times() -> None:
    begin, end = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC)

    assert conditions(("seen", "2026-01-31")) == [
        Condition("seen", Operator.AT_LEAST, begin),
        Condition("seen", Operator.AT_MOST, end),
    ]
    assert [each.value for each in conditions(("seen__lte", "2026-01-31"))] == [end]
    assert [each.value for each in conditions(("seen__gte", "2026-01-31"))] == [begin]


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("city", Sort("city")),
        ("-city", Sort("city", descending=True)),
        ("-a", Sort("-a")),
        ("--a", Sort("-a", descending=True)),
        ("a__desc", Sort("a", descending=True)),
        ("-a__asc", Sort("-a")),
        ("sort", Sort("sort")),
        ("", None),
    ],
)
def test_an_order_names_a_column_and_a_direction(text: str, sort: Sort | None) -> None:
    assert row_filters.parse([("sort", text)], SCHEMA).selection.sort == sort


def test_a_query_means_the_same_when_it_is_written_again() -> None:
    query = [("city", "Köln"), ("limit", "3"), ("sort", "-city"), ("upload", "12"), ("a__gte__eq", "x")]
    found = row_filters.parse(query, SCHEMA, others=("limit",))

    assert row_filters.parse(found.query, SCHEMA) == found
    assert [each.column for each in found.filters] == ["city", None, "a__gte"]
    assert found.without(found.filters[0]) == [("upload", "12"), ("a__gte__eq", "x"), ("sort", "-city")]


def test_a_search_looks_into_all_columns_of_text() -> None:
    found = row_filters.parse([("search", "first"), ("search", "Köln"), ("a", "x")], SCHEMA)

    assert found.selection.search == Search("Köln", ("city", "sort", "a", "a__gte", "-a"))
    assert [(each.parameter, each.column, each.value) for each in found.filters] == [
        ("search", None, "Köln"), ("a", "a", "x")
    ]  # fmt: skip
    assert row_filters.parse(found.query, SCHEMA) == found
    assert row_filters.parse([("search", "")], SCHEMA).selection.search is None


def test_a_search_needs_a_column_of_text() -> None:
    numbers = TableSchema.parse({"fields": [{"name": "id", "type": "integer"}]})
    with pytest.raises(InvalidFilterError, match="`search` looks into columns of text, and this dataset has none"):
        row_filters.parse([("search", "x")], numbers)
    with pytest.raises(InvalidFilterError, match="must be a text of at most 10,000 characters, without NUL"):
        row_filters.parse([("search", "x\0")], SCHEMA)


@pytest.mark.parametrize("parameter", ["limit", "no", "no__eq", "city__like", "__eq", "", "City"])
def test_a_parameter_that_is_no_column_is_named(parameter: str) -> None:
    with pytest.raises(InvalidFilterError, match="is neither a parameter of this address nor a column"):
        row_filters.parse([(parameter, "x")], SCHEMA)
