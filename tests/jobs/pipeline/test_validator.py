"""Validating text: typed values, and the reasons of failed rows."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from jobs.failed_rows import Reason
from jobs.pipeline.explaining import OUT_OF_RANGE, TOO_LARGE, TOO_MANY_DIGITS
from jobs.pipeline.validator import Validated, Validator
from jobs.schema import SchemaField, TableSchema


def schema_of(*fields: dict[str, Any], **more: Any) -> TableSchema:
    """A schema of these fields, named a, b, c and so on if they have no name."""
    named = [{"name": name, **each} for name, each in zip("abcdefgh", fields, strict=False)]
    return TableSchema.parse({"fields": named, **more})


def chunk(*columns: list[str], names: Sequence[str] = "abcdefgh", first: int = 1) -> pd.DataFrame:
    """Text as the reader returns it, numbered from `first` on."""
    text = pd.ArrowDtype(pa.string())
    rows = pd.DataFrame({name: pd.Series(cells, dtype=text) for name, cells in zip(names, columns, strict=False)})
    rows.index = pd.RangeIndex(first, first + len(rows), name="_row_number")
    return rows


def validated(schema: TableSchema, *columns: list[str]) -> Validated:
    """Validate a chunk whose columns have the names of the fields, in order."""
    return Validator(schema, {name: name for name in schema.names}).validate(chunk(*columns))


def values_of(good: pd.DataFrame, name: str = "a") -> list[Any]:
    found: list[Any] = good[name].array.__arrow_array__().to_pylist()
    return found


def sentences(found: Validated) -> dict[int, list[str]]:
    """Every reason of every failed row."""
    return {row.row_number: [reason.sentence for reason in row.reasons] for row in found.failed}


YES_OR_NO = {"trueValues": ["yes", "y"], "falseValues": ["no"]}


@pytest.mark.parametrize(
    ("field", "cells", "kind", "values"),
    [
        ({"type": "integer"}, ["1", "", "-9223372036854775808"], pa.int64(), [1, None, -(2**63)]),
        ({"type": "integer"}, ["+5", "007", "-0"], pa.int64(), [5, 7, 0]),
        (
            {"type": "integer", "groupChar": ","},
            ["1,234,567", "-1,000", "1,00,000"],
            pa.int64(),
            [1234567, -1000, 100000],
        ),
        ({"type": "number"}, ["0.1", "", "2"], pa.float64(), [0.1, None, 2.0]),
        ({"type": "number"}, [".5", "5.", "-1e3", "+2E-2", "007.50"], pa.float64(), [0.5, 5.0, -1000.0, 0.02, 7.5]),
        ({"type": "number", "decimalChar": ","}, ["0,1", "-2"], pa.float64(), [0.1, -2.0]),
        (
            {"type": "number", "decimalChar": ",", "groupChar": "."},
            ["1.234,56", "1.234.567", "0,5"],
            pa.float64(),
            [1234.56, 1234567.0, 0.5],
        ),
        ({"type": "number", "groupChar": " "}, ["1 234.5", "12"], pa.float64(), [1234.5, 12.0]),
        ({"type": "boolean"}, ["true", "False", "1", "0", ""], pa.bool_(), [True, False, True, False, None]),
        ({"type": "boolean", **YES_OR_NO}, ["yes", "", "no", "y"], pa.bool_(), [True, None, False, True]),
        ({"type": "date"}, ["2024-02-29", "", "0001-01-01"], pa.string(), ["2024-02-29", None, "0001-01-01"]),
        ({"type": "date", "format": "%d/%m/%Y"}, ["29/02/2024", "5/1/0999"], pa.string(), ["2024-02-29", "0999-01-05"]),
        ({"type": "date", "format": "%m-%d-%Y"}, ["12-31-1999"], pa.string(), ["1999-12-31"]),
        ({"type": "date", "format": "%Y%m%d"}, ["19991231"], pa.string(), ["1999-12-31"]),
        (
            {"type": "time"},
            ["09:00", "23:59:59", "10:00:00.5"],
            pa.string(),
            ["09:00:00", "23:59:59", "10:00:00.500000"],
        ),
        ({"type": "time", "format": "%H.%M"}, ["09.30", "9.30"], pa.string(), ["09:30:00", "09:30:00"]),
        (
            {"type": "datetime"},
            ["2024-02-29T10:00:00Z", "", "2024-02-29 10:00", "2024-01-01T00:30:00+01:00", "2024-01-01T00:00:00.25Z"],
            pa.string(),
            [
                "2024-02-29T10:00:00Z",
                None,
                "2024-02-29T10:00:00Z",
                "2023-12-31T23:30:00Z",
                "2024-01-01T00:00:00.250000Z",
            ],
        ),
        ({"type": "datetime", "format": "%d.%m.%Y %H:%M"}, ["31.1.2026 9:05"], pa.string(), ["2026-01-31T09:05:00"]),
        (
            {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%SZ"},
            ["2026-01-31T09:00:00Z"],
            pa.string(),
            ["2026-01-31T09:00:00Z"],
        ),
        ({"type": "string"}, ["Zoë", "", " "], pa.string(), ["Zoë", None, " "]),
    ],
)
def test_cells_are_parsed_and_empty_cells_are_missing(
    field: dict[str, Any], cells: list[str], kind: pa.DataType, values: list[Any]
) -> None:
    found = validated(schema_of(field), cells)

    assert found.failed == []
    assert pd.ArrowDtype(kind) == found.good["a"].dtype
    assert values == values_of(found.good)


#: Invalid cells of each type, with the rule that they break.
WRONG: list[tuple[dict[str, Any], str, list[str]]] = [
    (
        {"type": "integer"},
        "is not a whole number",
        ["7a", "1.0", "1e3", "--1", "+-1", "7 7", "½", "٣", "0x1F", "1_000", "1,000", "NA", "-", "+"],
    ),
    (
        {"type": "integer", "groupChar": ","},
        "is not a whole number",
        [",1", "1,", "1,,0", "-,1", ",", "1.0", "1,0", "1,0000"],
    ),
    (
        {"type": "number"},
        "is not a number",
        ["0,5", ".", "", "1.2.3", "1e", "e3", "inf", "NaN", "-INF", "0x1F", "1 000", "$5", "5%", "1e1000"],
    ),
    (
        {"format": "email"},
        "is not an e-mail address",
        ["ada", "ada@", "@example.org", "ada@example", "ada@@example.org", "ada lovelace@example.org",
         "ada@example..org", "ada@-example.org", "ada@example.org,grace@example.org", "Ada <ada@example.org>"],
    ),
    (
        {"format": "uri"},
        "is not a URI like https://example.com/page",
        ["example.com", "//example.com", "https:", "https://example.com/a b", "1http://example.com", "http://a/%zz",
         "<https://example.com>"],
    ),
    (
        {"format": "uuid"},
        "is not a UUID",
        ["1234", "0123456789abcdef0123456789abcdef", "{01234567-89ab-cdef-0123-456789abcdef}",
         "01234567-89ab-cdef-0123-456789abcdeg", "01234567-89ab-cdef-0123-456789abcdef0"],
    ),
    ({"type": "number", "decimalChar": ","}, "is not a number like 1234,5", ["1.5", "1,5,5", ","]),
    ({"type": "number", "groupChar": ","}, "is not a number like 1,234.5", ["1.5,", "1,.5", ",5", "1,5"]),
    ({"type": "boolean"}, "is not one of true, True, TRUE, 1, false, False, FALSE, 0", ["yes", "tRue", "2"]),
    ({"type": "boolean", **YES_OR_NO}, "is not one of yes, y, no", ["true", "1", "YES"]),
    (
        {"type": "date"},
        "is not a date like 2026-01-31",
        ["2023-02-29", "2023-13-01", "2023-00-10", "2023-01-00", "0000-01-01", "2023-1-5", "20230105", "05/01/2023",
         "2023-01-05T00:00", "12023-01-05"],
    ),
    (
        {"type": "date", "format": "%d/%m/%Y"},
        "is not a date like 31/01/2026",
        ["2026-01-31", "29/02/2023", "31-01-2026", "1/13/2026", "31/01/26", "131/01/2026", "31/01/2026x"],
    ),
    (
        {"type": "time"},
        "is not a time like 09:00:00",
        ["24:00:00", "9:00", "09:60", "09:00:60", "09", "09:00:00Z", "9am"],
    ),
    ({"type": "time", "format": "%H.%M"}, "is not a time like 09.00", ["24.00", "09:00", "09.00.00", "0900"]),
    (
        {"type": "datetime"},
        "is not a date and time like 2026-01-31T09:00:00Z",
        ["2023-01-05", "2023-02-30T10:00:00Z", "2023-01-05T24:00:00Z", "2023-01-05T10:00:00z", "2023-01-05T10Z",
         "2023-01-05T10:00:00+0100", "2023-01-05T10:00:00+24:00", "2023-01-05T10:00:00+01:60",
         "0001-01-01T00:00:00+01:00", "9999-12-31T23:30:00-01:00", "0000-01-01T00:00:00Z",
         "2023-01-05T10:00:00.1234567Z"],
    ),
    (
        {"type": "datetime", "format": "%d.%m.%Y %H:%M"},
        "is not a date and time like 31.01.2026 09:00",
        ["30.02.2026 09:00", "31.01.2026 24:00", "31.01.2026", "2026-01-31T09:00:00Z"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "rule", "cell"), [(field, rule, cell) for field, rule, cells in WRONG for cell in cells if cell]
)
def test_a_cell_of_the_wrong_type_fails_only_its_row(field: dict[str, Any], rule: str, cell: str) -> None:
    found = validated(schema_of({}, field), ["x", "y", "z"], ["", cell, ""])

    assert [reason[:3] for row in found.failed for reason in row.reasons] == [("b", rule, cell)]
    assert [row.row_number for row in found.failed] == [2]
    assert found.failed[0].cells == ["y", cell]
    assert values_of(found.good) == ["x", "z"]


DAY = {"type": "date", "format": "%d/%m/%Y"}


@pytest.mark.parametrize(
    ("field", "cell", "sentence"),
    [
        ({"type": "number"}, "twelve", "“twelve” is not a number"),
        ({"type": "integer"}, "twelve", "“twelve” is not a whole number"),
        ({"type": "number"}, "1234567890.1234567",
         "“1234567890.1234567” has more digits than a number can keep (17 digits, at most 15 are kept)"),
        ({"type": "number"}, "0.1234567890123456",
         "“0.1234567890123456” has more digits than a number can keep (16 digits, at most 15 are kept)"),
        ({"type": "number"}, "1e400", "“1e400” is too large or too small for a number"),
        ({"type": "number"}, "1.5e-310", "“1.5e-310” is too large or too small for a number"),
        ({"type": "integer"}, "9223372036854775808", "“9223372036854775808” is too large for a whole number"),
        ({"type": "date"}, "2026-02-31", "“2026-02-31” is not a date like 2026-01-31 (31 February does not exist)"),
        (DAY, "31/02/2026", "“31/02/2026” is not a date like 31/01/2026 (31 February does not exist)"),
        (DAY, "31/4/2026", "“31/4/2026” is not a date like 31/01/2026 (31 April does not exist)"),
        (DAY, "29/02/2023", "“29/02/2023” is not a date like 31/01/2026 (29 February 2023 does not exist)"),
        (DAY, "01/13/2026", "“01/13/2026” is not a date like 31/01/2026 (month 13 does not exist)"),
        (DAY, "soon", "“soon” is not a date like 31/01/2026"),
        ({"type": "datetime"}, "2026-02-30T09:00:00Z",
         "“2026-02-30T09:00:00Z” is not a date and time like 2026-01-31T09:00:00Z (30 February does not exist)"),
        ({"type": "time"}, "24:00", "“24:00” is not a time like 09:00:00 (hour 24 does not exist)"),
        ({"type": "date", "format": "%d %b %Y"}, "31 feb 2026",
         "“31 feb 2026” is not a date like 31 Jan 2026 (31 February does not exist)"),
        ({"type": "number", "prefix": "$", "bareNumber": False, "groupChar": ","}, "1,5",
         "“1,5” is not a number like $1,234.5"),
        ({"constraints": {"pattern": "[A-Z]{2}"}, "example": "AB"}, "x", "“x” does not look like AB"),
        ({"constraints": {"pattern": "[A-Z]{2}"}, "title": "Country code"}, "x", "“x” is not a valid Country code"),
        ({"constraints": {"pattern": "[A-Z]{2}"}}, "x", "“x” does not match the pattern [A-Z]{2}"),
    ],
)  # fmt: skip
def test_the_reason_says_what_is_wrong_with_the_value(field: dict[str, Any], cell: str, sentence: str) -> None:
    assert sentences(validated(schema_of({}, field), ["x"], [cell])) == {1: [f"b: {sentence}"]}


@pytest.mark.parametrize(
    ("field", "cells", "values"),
    [
        ({"type": "integer"}, [" 7", "7 ", "7\n", "  ", "\xa07"], [7, 7, 7, None, 7]),
        ({"type": "number"}, [" 7.5", "7.5\t"], [7.5, 7.5]),
        ({"type": "boolean"}, [" true", "false "], [True, False]),
        ({"type": "date"}, [" 2023-01-05", "2023-01-05\n"], ["2023-01-05", "2023-01-05"]),
        ({"type": "integer", "missingValues": ["", "NA"]}, [" NA ", "1"], [None, 1]),
        ({"format": "email"}, [" a@b.example ", "a@b.example"], ["a@b.example", "a@b.example"]),
        ({}, [" x ", " "], [" x ", " "]),
    ],
)
def test_spaces_around_values_are_ignored_but_in_texts(
    field: dict[str, Any], cells: list[str], values: list[Any]
) -> None:
    found = validated(schema_of(field), cells)

    assert (values, []) == (values_of(found.good), found.failed)


@pytest.mark.parametrize(
    ("field", "cells", "values"),
    [
        ({"prefix": "$", "groupChar": ","}, ["$1,234.50", "-$5", "$-5", "7"], [1234.5, -5.0, -5.0, 7.0]),
        ({"suffix": " €", "decimalChar": ","}, ["1,5 €", "1,5€", "-2"], [1.5, 1.5, -2.0]),
        ({"suffix": "%"}, ["12%", "3.5 %"], [12.0, 3.5]),
        ({}, ["€12", "12 apples", "-5%"], [12.0, 12.0, -5.0]),
    ],
)
def test_signs_around_a_number_are_read(field: dict[str, Any], cells: list[str], values: list[float]) -> None:
    found = validated(schema_of({"type": "number", "bareNumber": False, **field}), cells)

    assert (values, []) == (values_of(found.good), found.failed)


def test_a_number_without_its_percent_sign_fails() -> None:
    found = validated(schema_of({"type": "number", "bareNumber": False, "suffix": "%"}), ["5%", "0.05"])

    assert [row.row_number for row in found.failed] == [2]


@pytest.mark.parametrize(
    ("format_", "cells", "iso"),
    [
        ("%m/%d/%Y %I:%M %p", ["1/31/2026 12:05 AM", "01/31/2026 1:05 pm"],
         ["2026-01-31T00:05:00", "2026-01-31T13:05:00"]),
        ("%d-%b-%Y %H:%M", ["31-Jan-2026 9:05"], ["2026-01-31T09:05:00"]),
        ("%B %d, %Y %H:%M", ["January 5, 2026 09:05"], ["2026-01-05T09:05:00"]),
        ("%Y-%m-%d %H:%M:%S.%f", ["2026-01-31 09:05:00.5", "2026-01-31 09:05:00"],
         ["2026-01-31T09:05:00.500000", "2026-01-31T09:05:00"]),
        ("%Y-%m-%dT%H:%M:%S%z", ["2026-01-31T09:05:00+0100", "2026-01-31T09:05:00Z", "2026-01-31T09:05:00+01"],
         ["2026-01-31T08:05:00Z", "2026-01-31T09:05:00Z", "2026-01-31T08:05:00Z"]),
    ],
)  # fmt: skip
def test_formats_may_have_names_of_months_halves_of_days_fractions_and_zones(
    format_: str, cells: list[str], iso: list[str]
) -> None:
    found = validated(schema_of({"type": "datetime", "format": format_}), cells)

    assert (iso, []) == (values_of(found.good), found.failed)


@pytest.mark.parametrize(
    ("field", "right", "wrong", "rule"),
    [
        ({"type": "integer", "constraints": {"minimum": 5}}, ["5", "6"], ["4", "-5"], "is less than 5"),
        ({"type": "integer", "constraints": {"maximum": -5}}, ["-5", "-6"], ["-4", "5"], "is more than -5"),
        ({"type": "number", "constraints": {"minimum": 0.5}}, ["0.5", "1"], ["0.49"], "is less than 0.5"),
        ({"type": "number", "constraints": {"maximum": 2}}, ["2", "2.0"], ["2.001"], "is more than 2"),
        (
            {"type": "date", "constraints": {"minimum": "2026-01-31"}},
            ["2026-01-31"],
            ["2026-01-30"],
            "is less than 2026-01-31",
        ),
        (
            {"type": "date", "constraints": {"maximum": "20260131"}},
            ["2026-01-31"],
            ["2026-02-01"],
            "is more than 20260131",
        ),
        (
            {"type": "date", "format": "%d/%m/%Y", "constraints": {"maximum": "2026-01-31"}},
            ["31/01/2026", "01/12/2025"],
            ["01/02/2026"],
            "is more than 2026-01-31",
        ),
        (
            {"type": "time", "constraints": {"maximum": "09:00"}},
            ["09:00", "09:00:00"],
            ["09:00:00.5"],
            "is more than 09:00",
        ),
        (
            {"type": "time", "constraints": {"minimum": "09:00"}},
            ["09:00", "09:00:00"],
            ["08:59:59"],
            "is less than 09:00",
        ),
        (
            {"type": "datetime", "constraints": {"minimum": "2026-01-31T10:00:00+01:00"}},
            ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00.5Z", "2026-01-31T09:00"],
            ["2026-01-31T08:59:59Z", "2026-01-31T09:30:00+01:00"],
            "is less than 2026-01-31T10:00:00+01:00",
        ),
        (
            {"type": "datetime", "constraints": {"maximum": "2026-01-31 09:00"}},
            ["2026-01-31T09:00:00Z"],
            ["2026-01-31T09:00:00.5Z", "2026-01-31T09:00:01Z"],
            "is more than 2026-01-31 09:00",
        ),
        (
            {"type": "datetime", "format": "%Y-%m-%d %H:%M", "constraints": {"maximum": "2026-01-31T09:00:00"}},
            ["2026-01-31 09:00"],
            ["2026-01-31 09:01"],
            "is more than 2026-01-31T09:00:00",
        ),
        ({"constraints": {"minLength": 2}}, ["ab", "été", "😀😀"], ["a", "é", "😀"], "is shorter than 2 characters"),
        ({"constraints": {"maxLength": 2}}, ["ab", "é", "😀😀"], ["abc", "été"], "is longer than 2 characters"),
        (
            {"constraints": {"pattern": "[A-Z]{2}|x"}},
            ["AB", "x"],
            ["ABC", "A", "ax", "AB\n", "xx"],
            "does not match the pattern [A-Z]{2}|x",
        ),
        ({"constraints": {"pattern": r"\p{L}+"}}, ["été", "売上"], ["a1"], r"does not match the pattern \p{L}+"),
        ({"constraints": {"enum": ["a", "b"]}}, ["a", "b"], ["A", "c"], "is not one of a, b"),
        ({"type": "integer", "constraints": {"enum": [1, 2]}}, ["1", "+2", "01"], ["3"], "is not one of 1, 2"),
        ({"type": "number", "constraints": {"enum": [1, 2.5]}}, ["1.0", "2.50"], ["2"], "is not one of 1, 2.5"),
        ({"type": "boolean", "constraints": {"enum": [True]}}, ["true"], ["false"], "is not one of True"),
        (
            {"type": "date", "constraints": {"enum": ["20260131"]}},
            ["2026-01-31"],
            ["2026-02-01"],
            "is not one of 20260131",
        ),
        ({"type": "time", "constraints": {"enum": ["09:00"]}}, ["09:00:00"], ["10:00"], "is not one of 09:00"),
        (
            {"type": "datetime", "constraints": {"enum": ["2026-01-31"]}},
            ["2026-01-31T00:00:00Z", "2026-01-31 01:00:00+01:00"],
            ["2026-01-31T00:00:01Z"],
            "is not one of 2026-01-31",
        ),
        (
            {"type": "integer", "constraints": {"enum": list(range(12))}},
            ["11"],
            ["12"],
            "is not one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 …",
        ),
    ],
)
def test_a_constraint_fails_rows_that_violate_it_but_not_empty_cells(
    field: dict[str, Any], right: list[str], wrong: list[str], rule: str
) -> None:
    found = validated(schema_of({}, field), ["x"] * (len(right) + len(wrong) + 1), [*right, *wrong, ""])

    assert [Reason("b", rule, cell) for cell in wrong] == [reason for row in found.failed for reason in row.reasons]
    assert list(range(len(right) + 1, len(right) + len(wrong) + 1)) == [row.row_number for row in found.failed]


def test_a_missing_required_value_fails_its_row() -> None:
    found = validated(schema_of({}, {"constraints": {"required": True}}), ["1", "2", "3"], ["x", "", "y"])

    assert [row.reasons for row in found.failed] == [[Reason("b", "is required")]]
    assert sentences(found) == {2: ["b: is required"]}


@pytest.mark.parametrize(
    ("missing", "cells", "values"),
    [
        ([""], ["", "NA", "x"], [None, "NA", "x"]),
        (["NA"], ["", "NA", "x"], ["", None, "x"]),
        (["", "NA", "-"], ["", "NA", "-", "na"], [None, None, None, "na"]),
        ([], ["", "NA"], ["", "NA"]),
    ],
)
@pytest.mark.parametrize("where", ["schema", "field"])
def test_missing_values_can_be_declared(
    missing: list[str], cells: list[str], values: list[str | None], where: str
) -> None:
    schema = schema_of({}, missingValues=missing) if where == "schema" else schema_of({"missingValues": missing})
    found = validated(schema, cells)

    assert (values, []) == (values_of(found.good), found.failed)


def test_missing_values_of_a_field_replace_those_of_the_schema() -> None:
    schema = schema_of({"type": "integer"}, {"type": "integer", "missingValues": ["-"]}, missingValues=["", "NA"])
    found = validated(schema, ["NA", "NA", "1"], ["-", "NA", ""])

    assert sentences(found) == {
        2: ["b: “NA” is not a whole number"],
        3: ["b: “” is not a whole number"],
    }
    assert values_of(found.good) == [None]


def test_a_missing_value_violates_only_the_required_constraint() -> None:
    rules = {"minLength": 3, "pattern": "x+", "enum": ["xxx"], "unique": True}
    found = validated(schema_of({"constraints": rules}), ["", "", "xxx"])

    assert found.failed == []


def test_a_failed_row_has_every_reason_in_the_order_of_columns() -> None:
    schema = schema_of(
        {"type": "integer", "constraints": {"required": True}},
        {"constraints": {"minLength": 3, "pattern": "[a-z]+", "enum": ["abc"]}},
        {"type": "number", "constraints": {"minimum": 1, "enum": [2]}},
        {"type": "date"},
    )
    found = validated(schema, ["", "1"], ["A", "abc"], ["0.5", "2"], ["soon", ""])

    assert sentences(found) == {
        1: [
            "a: is required",
            "b: “A” is shorter than 3 characters",
            "b: “A” does not match the pattern [a-z]+",
            "b: “A” is not one of abc",
            "c: “0.5” is less than 1",
            "c: “0.5” is not one of 2",
            "d: “soon” is not a date like 2026-01-31",
        ]
    }
    assert found.failed[0].sentence == "; ".join(sentences(found)[1])
    assert found.good.index.tolist() == [2]


def test_a_value_of_the_wrong_type_has_no_further_reason() -> None:
    found = validated(schema_of({"type": "integer", "constraints": {"minimum": 5, "required": True}}), ["x", "4"])

    assert sentences(found) == {1: ["a: “x” is not a whole number"], 2: ["a: “4” is less than 5"]}


def test_every_field_of_a_key_is_required() -> None:
    found = validated(schema_of({}, {}, primaryKey=["a", "b"]), ["x", "", ""], ["", "1", ""])

    assert sentences(found) == {1: ["b: is required"], 2: ["a: is required"], 3: ["a: is required", "b: is required"]}


def test_large_whole_numbers_differ_despite_empty_cells() -> None:
    # As doubles, which pandas uses for whole numbers with missing values, these are equal.
    schema = schema_of({"type": "integer"}, {"type": "integer"}, primaryKey=["a", "b"])
    found = validated(schema, ["9007199254740992", "9007199254740993", "", "x"], ["1", "1", "1", "1"])

    assert sentences(found) == {3: ["a: is required"], 4: ["a: “x” is not a whole number"]}
    assert values_of(found.good) == [9007199254740992, 9007199254740993]


@pytest.mark.parametrize("length", [2_000, 2_001])
def test_a_key_too_long_for_an_index_fails_its_row(length: int) -> None:
    schema = schema_of({}, {"constraints": {"unique": True}}, {}, primaryKey=["a", "c"])
    found = validated(schema, ["x" * 500, "x"], ["z", "y" * length], ["é" * 750, "x" * (length - 1)])
    reasons = [
        "has a key (a, c) that is longer than 2,000 bytes, the limit for keys",
        f"b: “{'y' * 60}…” is longer than 2,000 bytes, the limit for keys",
    ]

    assert sentences(found) == ({2: reasons} if length > 2_000 else {})


def test_rows_keep_their_numbers_and_columns_the_order_of_the_schema() -> None:
    rows = chunk(["x"] * 3, ["1", "b", "3"], names="ba", first=41)
    schema = schema_of({"type": "integer"}, {})
    found = Validator(schema, {"a": "a", "b": "b"}).validate(rows)

    assert list(found.good.columns) == ["a", "b"]
    assert found.good.index.tolist() == [41, 43]
    assert [(row.row_number, row.cells) for row in found.failed] == [(42, ["x", "b"])]


def test_a_field_is_read_from_its_matched_column() -> None:
    rows = chunk(["x", "y"], ["1", "no"], names="ba")
    schema = TableSchema.parse({"fields": [{"name": "amount", "type": "integer"}, {"name": "name"}, {"name": "note"}]})
    found = Validator(schema, {"amount": "a", "name": "b"}).validate(rows)

    assert [values_of(found.good, name) for name in schema.names] == [[1], ["x"], [None]]
    assert found.failed[0].reasons == [Reason("amount", "is not a whole number", "no")]


def test_an_empty_chunk_has_typed_columns() -> None:
    schema = schema_of(
        {"type": "integer", "constraints": {"minimum": 1}},
        {"type": "boolean"},
        {"type": "date", "format": "%d/%m/%Y"},
        {"type": "number", "groupChar": ","},
        {"type": "time"},
        {"type": "datetime"},
        {"constraints": {"pattern": "x", "enum": ["x"], "unique": True}},
        primaryKey=["a", "g"],
    )
    found = validated(schema, *[[]] * 7)

    assert [pa.int64(), pa.bool_(), pa.string(), pa.float64(), *[pa.string()] * 3] == [
        kind.pyarrow_dtype for kind in found.good.dtypes
    ]
    assert (len(found.good), found.failed) == (0, [])


@pytest.mark.parametrize("type_", ["string", "integer", "number", "boolean", "date", "time", "datetime"])
def test_a_column_of_missing_values_has_its_type(type_: str) -> None:
    found = validated(schema_of({"type": type_}, {"type": type_}), ["", ""], ["", ""])

    assert values_of(found.good) == [None, None]


# Random rows, compared with a reference implementation in plain Python


@dataclass
class Reference:
    """The same rules, one cell at a time."""

    schema: TableSchema
    good: dict[int, list[Any]] = field(default_factory=dict)
    failed: dict[int, list[Reason]] = field(default_factory=dict)

    def see(self, rows: dict[int, list[str]]) -> None:
        for number, cells in rows.items():
            values, reasons = [], []
            for each, cell in zip(self.schema.fields, cells, strict=True):
                value, found = self.validate_cell(each, cell)
                values.append(value)
                reasons += found
            if reasons:
                self.failed[number] = reasons
            else:
                self.good[number] = values

    def validate_cell(self, each: SchemaField, cell: str) -> tuple[Any, list[Reason]]:
        if cell in self.schema.missing_values_of(each):
            required = each.constraints.required or each.name in self.schema.primary_key
            return None, [Reason(each.name, "is required")] if required else []
        value = parsed(each, cell)
        if value is None:
            return None, [Reason(each.name, RULES[each.type], cell)]
        return value, [Reason(each.name, rule, cell) for rule in violated(each, value)]


RULES = {
    "integer": "is not a whole number",
    "number": "is not a number like 1234,5",
    "boolean": "is not one of true, True, TRUE, 1, false, False, FALSE, 0",
    "date": "is not a date like 31/01/2026",
    "time": "is not a time like 09:00:00",
    "datetime": "is not a date and time like 2026-01-31T09:00:00Z",
}


def parsed(each: SchemaField, cell: str) -> Any:
    """The value, or None."""
    try:
        match each.type:
            case "integer":
                whole = int(cell) if re.fullmatch("[+-]?[0-9]+", cell) else None
                return whole if whole is not None and -(2**63) <= whole < 2**63 else None
            case "number":
                plain = cell.replace(",", ".") if "." not in cell else "no"
                exact = (
                    Decimal(plain) if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", plain) else None
                )
                if exact is None or len(re.sub(r"^[+-]?[0.]*|\.|e.*$", "", plain)) > 15:
                    return None
                return float(exact) if bool(exact) == bool(float(exact)) and abs(float(exact)) < 1e308 else None
            case "boolean":
                return {"true": True, "True": True, "TRUE": True, "1": True}.get(
                    cell, {"false": False, "False": False, "FALSE": False, "0": False}.get(cell)
                )
            case "date":
                day = datetime.strptime(cell, "%d/%m/%Y").date() if re.fullmatch(r"\d\d?/\d\d?/\d{4}", cell) else None
                return day and day.isoformat()
            case "time":
                return (
                    time.fromisoformat(cell).isoformat() if re.fullmatch(r"\d\d:\d\d(:\d\d)?(\.\d+)?", cell) else None
                )
            case "datetime":
                if not re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?", cell):
                    return None
                moment = datetime.fromisoformat(cell)
                moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
                return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return None
    return cell


def plain(reason: Reason) -> Reason:
    """The reason as the reference gives it, which explains nothing."""
    usual = {TOO_MANY_DIGITS: RULES["number"], TOO_LARGE: RULES["number"], OUT_OF_RANGE: RULES["integer"]}
    return reason._replace(rule=usual.get(reason.rule, reason.rule), detail=None)


def violated(each: SchemaField, value: Any) -> Iterator[str]:
    rules = each.constraints
    if rules.minimum is not None and value < rules.minimum:
        yield f"is less than {rules.minimum}"
    if rules.maximum is not None and value > rules.maximum:
        yield f"is more than {rules.maximum}"
    if rules.min_length is not None and len(value) < rules.min_length:
        yield f"is shorter than {rules.min_length} characters"
    if rules.max_length is not None and len(value) > rules.max_length:
        yield f"is longer than {rules.max_length} characters"
    if rules.pattern is not None and not re.fullmatch(rules.pattern, value):
        yield f"does not match the pattern {rules.pattern}"
    if rules.enum is not None and value not in rules.enum:
        yield f"is not one of {', '.join(map(str, rules.enum))}"


#: Cells of each type: valid, borderline and invalid ones.
POOL = {
    "string": ["", "a", "ab", "abc", "été", "x y", "007", "😀", "NA"],
    "integer": ["", "0", "7", "+7", "-7", "007", "12", "1.0", "x", "9223372036854775807", "9223372036854775808", "NA"],
    "number": ["", "0", "0,5", ",5", "5,", "1e3", "1e-3", "-2,25", "1.5", "x", "1e999", "1e-999",
               "1234567890123456", "NA"],
    "boolean": ["", "true", "False", "1", "0", "yes", "TRUE", "NA"],
    "date": ["", "31/01/2026", "1/2/2026", "29/02/2024", "29/02/2023", "2026-01-31", "01/01/0000", "soon", "NA"],
    "time": ["", "09:00", "09:00:00", "23:59:59", "24:00", "9:00", "09:00:00.25", "NA"],
    "datetime": [
        "", "2026-01-31T09:00:00Z", "2026-01-31 09:00", "2026-01-31T10:00:00+01:00", "2026-02-30T09:00:00Z",
        "0001-01-01T00:00:00+01:00", "2026-01-31", "NA",
    ],
}  # fmt: skip
#: Constraints that each type may have at once.
RANDOM_CONSTRAINTS: dict[str, list[dict[str, Any]]] = {
    "string": [{"minLength": 2}, {"maxLength": 2}, {"pattern": "[a-z]+"}, {"enum": ["a", "ab", "été"]}],
    "integer": [{"minimum": 0}, {"maximum": 10}, {"enum": [7, 12, -7]}],
    "number": [{"minimum": 0}, {"maximum": 4.5}, {"enum": [0.5, 1000]}],
    "boolean": [{"enum": [True]}],
    "date": [{"minimum": "2025-01-01"}, {"maximum": "2026-01-31"}],
    "time": [{"minimum": "09:00:00"}, {"maximum": "12:00:00"}],
    "datetime": [{"minimum": "2026-01-31T09:00:00Z"}],
}
WRITTEN = {"number": {"decimalChar": ","}, "date": {"format": "%d/%m/%Y"}}


def random_schema(choice: random.Random) -> TableSchema:
    fields: list[dict[str, Any]] = []
    for number in range(choice.randint(1, 5)):
        type_ = choice.choice(sorted(POOL))
        constraints: dict[str, Any] = {}
        for one in RANDOM_CONSTRAINTS[type_]:
            constraints |= one if choice.random() < 0.2 else {}
        constraints |= {"required": True} if choice.random() < 0.2 else {}
        constraints |= {"unique": True} if choice.random() < 0.1 else {}
        fields.append({"name": f"c{number}", "type": type_, "constraints": constraints, **WRITTEN.get(type_, {})})
    key = [each["name"] for each in fields if choice.random() < 0.3]
    missing = choice.choice([[""], ["", "NA"]])
    return TableSchema.parse({"fields": fields, "primaryKey": key, "missingValues": missing})


@pytest.mark.parametrize("seed", range(60))
def test_random_rows_match_the_reference_implementation(seed: int) -> None:
    choice = random.Random(seed)
    schema = random_schema(choice)
    # Few different cells, so that some rows are valid.
    pools = [choice.sample(POOL[each.type], k=choice.randint(2, len(POOL[each.type]))) for each in schema.fields]
    rows = {number: [choice.choice(pool) for pool in pools] for number in range(7, 157)}
    reference = Reference(schema)
    reference.see(rows)
    frame = chunk(*map(list, zip(*rows.values(), strict=True)), names=schema.names, first=7)
    found = Validator(schema, {name: name for name in schema.names}).validate(frame)

    assert sorted(reference.failed) == [row.row_number for row in found.failed]
    assert reference.failed == {row.row_number: [plain(reason) for reason in row.reasons] for row in found.failed}
    assert all(rows[row.row_number] == row.cells for row in found.failed)
    columns = [values_of(found.good, name) for name in schema.names]
    assert reference.good == dict(zip(found.good.index.tolist(), map(list, zip(*columns, strict=True)), strict=True))
