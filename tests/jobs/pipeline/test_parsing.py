"""Text → values of a type, a whole column at once. tests/jobs/pipeline/test_validator.py tests it value by value."""

from typing import Any

import pyarrow as pa
import pytest

from jobs.pipeline import parsing
from jobs.schema import SchemaField


def parsed(texts: list[str | None], **field: Any) -> list[Any]:
    values, _rule = parsing.parse(SchemaField.model_validate({"name": "a", **field}), pa.array(texts, pa.string()))
    found: list[Any] = values.to_pylist()
    return found


@pytest.mark.parametrize(
    ("field", "texts", "values"),
    [
        ({"type": "string"}, ["a", None, " "], ["a", None, " "]),
        (
            {"type": "string", "format": "email"},
            ["a.b+c@x-y.example.org", "jörg@köln.example", "o'hara@a.b", None, "a"],
            ["a.b+c@x-y.example.org", "jörg@köln.example", "o'hara@a.b", None, None],
        ),
        (
            {"type": "string", "format": "uri"},
            [
                "https://example.com/a?b=%20#c",
                "mailto:a@b.c",
                "urn:isbn:123",
                "http://[::1]:80/",
                "https://köln.example/ö",
                "a",
            ],
            [
                "https://example.com/a?b=%20#c",
                "mailto:a@b.c",
                "urn:isbn:123",
                "http://[::1]:80/",
                "https://köln.example/ö",
                None,
            ],
        ),
        (
            {"type": "string", "format": "uuid"},
            ["01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-CDEF-0123-456789ABCDEF", "0"],
            ["01234567-89ab-cdef-0123-456789abcdef", "01234567-89AB-CDEF-0123-456789ABCDEF", None],
        ),
        ({"type": "integer"}, ["1", "+2", "-03", None, "x", "1.0"], [1, 2, -3, None, None, None]),
        ({"type": "integer"}, [str(2**63 - 1), str(2**63)], [2**63 - 1, None]),
        ({"type": "integer", "groupChar": ","}, ["1,234", "1,", ",1"], [1234, None, None]),
        ({"type": "number"}, ["1.50", "-1e3", "NaN", "INF", "1e999"], [1.5, -1000.0, None, None, None]),
        ({"type": "number"}, ["123456789012345", "1234567890123456", "0.0001"], [123456789012345.0, None, 0.0001]),
        ({"type": "number", "decimalChar": ",", "groupChar": "."}, ["1.234,5", "1.,5"], [1234.5, None]),
        ({"type": "boolean", "trueValues": ["yes"], "falseValues": ["no"]}, ["yes", "no", "Yes"], [True, False, None]),
        ({"type": "date"}, ["2024-02-29", "2026-02-29", "0000-01-01"], ["2024-02-29", None, None]),
        ({"type": "date", "format": "%d.%m.%Y"}, ["31.1.2026", "2026-01-31"], ["2026-01-31", None]),
        ({"type": "time"}, ["09:00", "09:00:00.5", "24:00"], ["09:00:00", "09:00:00.500000", None]),
        (
            {"type": "datetime"},
            ["2026-01-31T09:00:00Z", "2026-01-31 09:00", "2026-01-31T01:00:00+02:00"],
            ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00Z", "2026-01-30T23:00:00Z"],
        ),
        ({"type": "datetime"}, ["0001-01-01T00:00:00+01:00"], [None]),
    ],
)
def test_values_are_of_the_type_and_null_where_the_text_is_not(
    field: dict[str, Any], texts: list[str | None], values: list[Any]
) -> None:
    assert parsed(texts, **field) == values


@pytest.mark.parametrize("type_", ["string", "integer", "number", "boolean", "date", "time", "datetime"])
def test_a_column_without_a_value_has_none_of_any_type(type_: str) -> None:
    assert parsed([], type=type_) == []
    assert parsed([None, None], type=type_) == [None, None]


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-31T09:00:00", "2026-01-31T09:00:00Z"),
        ("2026-01-31T09:00:00.25-01:30", "2026-01-31T10:30:00.250000Z"),
        ("9999-12-31T23:59:59-00:01", None),
    ],
)
def test_a_moment_is_brought_to_utc_unless_its_year_does_not_exist_there(value: str, moment: str | None) -> None:
    assert parsing.in_utc(value) == moment


def test_the_example_of_a_format_is_the_last_day_of_january() -> None:
    field = SchemaField.model_validate({"name": "a", "type": "datetime", "format": "%d/%m/%Y %H:%M"})

    assert parsing.example_of(field) == "31/01/2026 09:00"
