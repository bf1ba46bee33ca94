"""What is expected of an import, and how it compares."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from jobs import expectations
from jobs.errors import InvalidImportOptionError
from jobs.expectations import Expectations, FoundSum
from jobs.schema import TableSchema

SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "id", "type": "integer"},
            {"name": "net_amount", "type": "number", "aliases": ["Betrag"]},
            {"name": "name"},
        ]
    }
)


def found(*values: float) -> FoundSum:
    return FoundSum(sum(map(Fraction, values), Fraction()), math.fsum(values), math.fsum(map(abs, values)))


def test_fields_become_expectations_and_come_back_from_json() -> None:
    given = {"expect_rows": "1,204", "expect_sum.amount": " -1,204.50 ", "expect_sha256": "AB" * 32, "dataset": "x"}
    parsed = Expectations.from_fields(given)
    assert parsed == Expectations(1204, {"amount": "-1204.50"}, "ab" * 32)
    assert Expectations.from_json(parsed.as_json()) == parsed
    assert Expectations.from_fields({"expect_sums": "a = 1.5; b=2e3;"}).sums == {"a": "1.5", "b": "2e3"}
    assert Expectations.from_fields({"expect_rows": "", "expect_sum.amount": ""}).as_json() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expect_rows", "-1"),
        ("expect_rows", "many"),
        ("expect_rows", "1.5"),
        ("expect_rows", "9" * 30),
        ("expect_sum.amount", "1.204,50"),
        ("expect_sum.amount", "nan"),
        ("expect_sum.amount", "1e9999"),
        ("expect_sum.amount", "."),
        ("expect_sum.amount", "1" * 100),
        ("expect_sums", "amount"),
        ("expect_sums", "amount = much"),
        ("expect_sha256", "ab"),
    ],
)
def test_what_cannot_be_read_is_refused_and_its_field_named(name: str, value: str) -> None:
    with pytest.raises(InvalidImportOptionError) as refused:
        Expectations.from_fields({name: value})
    assert refused.value.field == name


def test_a_sum_needs_a_column_of_numbers_which_an_alias_names_too() -> None:
    wanted = Expectations(sums={"Betrag": "1", "Net amount": "1", "id": "3"}).fields(SCHEMA)
    assert [each.name for each in wanted.values()] == ["net_amount", "net_amount", "id"]
    for name, why in [("name", "is text, so it has no sum"), ("nothing", "there is no column “nothing”")]:
        with pytest.raises(InvalidImportOptionError, match=why):
            Expectations(sums={name: "1"}).fields(SCHEMA)


def test_what_does_not_balance_is_said_with_both_numbers() -> None:
    expected = Expectations(3, {"amount": "1204.50", "id": "6"}, "ab")
    balance, problems = expectations.compare(
        expected, rows=2, sha256="ab", sums={"amount": found(1203.5), "id": FoundSum(Fraction(6), 6, 6)}
    )
    assert balance == [
        {"what": "rows", "expected": 3, "found": 2},
        {"what": "sum.amount", "expected": 1204.5, "found": 1203.5},
        {"what": "sum.id", "expected": 6, "found": 6},
        {"what": "sha256", "expected": "ab", "found": "ab"},
    ]
    assert problems == [
        "expected 3 rows, 2 were imported",
        "expected 1,204.50, the table has 1,203.50 as the sum of “amount”",
    ]


def test_a_sum_of_whole_numbers_is_said_with_as_many_decimals_as_are_expected() -> None:
    said = [
        expectations.compare(
            Expectations(sums={"id": wanted}), rows=1, sha256="", sums={"id": FoundSum(Fraction(told), told, told)}
        )
        for wanted, told in [("31", 30), ("1031.5", 1030)]
    ]

    assert [problems for _, problems in said] == [
        ["expected 31, the table has 30 as the sum of “id”"],
        ["expected 1,031.5, the table has 1,030.0 as the sum of “id”"],
    ]


def test_the_tolerance_is_what_doubles_lose_and_no_more() -> None:
    tenths = [0.1] * 1000
    assert expectations.is_alike(Decimal("100"), found(*tenths))
    assert not expectations.is_alike(Decimal("100.000000000001"), found(*tenths))
    assert expectations.is_alike(Decimal(0), found(1e15 / 3, -1e15 / 3))
    assert not expectations.is_alike(Decimal("0.01"), found(1e12, -1e12))
    assert not expectations.is_alike(Decimal("1e-300"), found())
