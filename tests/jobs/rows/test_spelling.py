"""Stored values as text, spelled as in the file that they came from."""

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from jobs.rows.spelling import format_value
from jobs.schema import SchemaField, TableSchema


def spelled(value: Any, **field: Any) -> str:
    schema = TableSchema.parse({"fields": [{"name": "a", **field}]})
    return format_value(schema, schema.fields[0], value)


NOON = datetime(2026, 1, 5, 9, 5, 7, 500_000)


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        (1.1, {}, "1.1"),
        (1.1, {"decimals": 2}, "1.10"),
        (1.125, {"decimals": 2}, "1.125"),
        (2.0, {}, "2"),
        (2.0, {"decimals": 1}, "2.0"),
        (-1234567.5, {"groupChar": ",", "decimals": 2}, "-1,234,567.50"),
        (1234.5, {"groupChar": ".", "decimalChar": ","}, "1.234,5"),
        (-5.0, {"prefix": "$", "bareNumber": False, "decimals": 2}, "-$5.00"),
        (12.0, {"suffix": " %", "bareNumber": False}, "12 %"),
        (1e-05, {}, "0.00001"),
        (1e-05, {"exponent": "auto"}, "1e-05"),
        (100000.0, {"exponent": "auto"}, "100000"),
        (100000.0, {"exponent": "short"}, "1e+05"),
        (123456.0, {"exponent": "short"}, "123456"),
        (1500.0, {"exponent": "E", "decimals": 2}, "1.50E+03"),
        (0.0, {"exponent": "e"}, "0e+00"),
    ],
)
def test_a_number_is_spelled_with_its_separators_signs_and_decimals(
    value: float, field: dict[str, Any], text: str
) -> None:
    assert spelled(value, type="number", **field) == text


@pytest.mark.parametrize(
    ("type_", "value", "field", "text"),
    [
        ("date", date(2026, 1, 5), {"format": "%m/%d/%Y"}, "01/05/2026"),
        ("date", date(2026, 1, 5), {"format": "%m/%d/%Y", "unpadded": "dm"}, "1/5/2026"),
        ("date", "0999-12-15", {"format": "%d %B %Y", "unpadded": "d"}, "15 December 0999"),
        ("datetime", NOON, {"format": "%m/%d/%Y %H:%M", "unpadded": "dmH"}, "1/5/2026 9:05"),
        ("datetime", NOON.replace(hour=0), {"format": "%d-%b-%Y %I:%M %p"}, "05-Jan-2026 12:05 AM"),
        ("datetime", NOON, {"format": "%Y-%m-%d %H:%M:%S.%f"}, "2026-01-05 09:05:07.5"),
        ("datetime", NOON, {"format": "%Y-%m-%d %H:%M:%S.%f", "decimals": 3}, "2026-01-05 09:05:07.500"),
        ("datetime", NOON.replace(microsecond=0), {"format": "%Y-%m-%d %H:%M:%S.%f"}, "2026-01-05 09:05:07"),
        (
            "datetime",
            NOON.replace(tzinfo=UTC),
            {"format": "%Y-%m-%dT%H:%M%z", "offset": "+05:30"},
            "2026-01-05T14:35+05:30",
        ),
        ("datetime", NOON.replace(tzinfo=UTC), {"format": "%Y-%m-%dT%H:%M%z"}, "2026-01-05T09:05Z"),
        ("time", time(9, 5), {"format": "%H:%M", "unpadded": "H"}, "9:05"),
    ],
)
def test_a_day_and_a_time_are_spelled_in_their_format(type_: str, value: Any, field: dict[str, Any], text: str) -> None:
    assert spelled(value, type=type_, **field) == text


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ({}, ""),
        ({"missingValues": ["NA", "-"]}, "-"),
        ({"missingValues": ["", "NA"]}, ""),
        ({"missingValues": ["", "NA"], "missingAs": "NA"}, "NA"),
    ],
)
def test_a_missing_value_is_spelled_as_the_field_says(field: dict[str, Any], text: str) -> None:
    assert spelled(None, type="integer", **field) == text


def test_a_stored_schema_keeps_how_values_are_spelled() -> None:
    field = {"name": "a", "type": "number", "prefix": "$", "bareNumber": False, "decimals": 2, "missingAs": "NA",
             "missingValues": ["", "NA"]}  # fmt: skip

    assert SchemaField.model_validate(field).model_dump(by_alias=True, exclude_unset=True) == field
