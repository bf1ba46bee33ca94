"""What repairs do to the values of a column."""

import random
from typing import Any

import pyarrow as pa
import pytest

from jobs.pipeline.mending import numbers
from jobs.pipeline.mending.applying import apply
from jobs.repair.repairs import Repair, Step
from jobs.schema import TableSchema


def applied(field: dict[str, Any], step: Step, *values: str) -> list[str]:
    schema = TableSchema.parse({"fields": [{"name": "x", **field}]})
    found: list[str] = apply(Repair("x", (step,)), pa.array(values, pa.string()), schema).to_pylist()
    return found


def test_valid_values_stay_whatever_a_repair_would_make_of_them() -> None:
    assert applied({"type": "number"}, Step("number", "1.234,5"), "1.204", "1.204,0", "7") == ["1.204", "1204", "7"]
    assert applied({"type": "date", "format": "%d/%m/%Y"}, Step("date", "%m/%d/%Y"), "03/04/2026", "3.4.2026") == [
        "03/04/2026",
        "3.4.2026",
    ]
    assert applied({}, Step("missing"), "n/a") == ["n/a"]


def test_what_a_repair_names_changes_everywhere() -> None:
    assert applied({}, Step("missing", "N/A"), "n/a ", "n/a?") == ["", "n/a?"]
    assert applied({}, Step("replace", "a", "b"), "a", "aa", "A") == ["b", "aa", "A"]
    assert applied({}, Step("trim"), " a ", "\u200bb\u00a0", "c d", "") == ["a", "b", "c d", ""]


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (None, ["1,204", "1204.5", "1204.5", "-12", "12 EUR"]),
        ("1.234,5", ["1.204", "1204.5", "1204.5", "-12", "12 EUR"]),
        ("1,234.5 EUR", ["1204", "1204.5", "1204.5", "-12", "12"]),
    ],
)
def test_a_number_is_read_where_it_has_one_reading_or_the_repair_tells_which(
    source: str | None, values: list[str]
) -> None:
    found = applied({"type": "number"}, Step("number", source), "1,204", "1.204,50", "1 204,5", "(12)", "12 EUR")

    assert found == values


def test_numbers_are_written_as_their_field_takes_them() -> None:
    german = {"type": "number", "decimalChar": ",", "suffix": " €", "bareNumber": False}

    assert applied(german, Step("number"), "EUR 1.204,50", "12.5", "12 USD") == ["1204,5 €", "12,5 €", "12 USD"]
    assert applied({"type": "integer"}, Step("number"), "12.0", "12.5", "1 000") == ["12", "12.5", "1000"]
    assert applied({"type": "number"}, Step("number", "1 %", "fraction"), "5 %", "12.5%", "120 %") == [
        "0.05",
        "0.125",
        "1.2",
    ]


def test_dates_are_read_where_they_have_one_reading_or_the_repair_tells_which() -> None:
    values = ["31/12/2026", "03/04/2026", "3.4.26", "5. März 2026", "31/02/2026"]

    assert applied({"type": "date"}, Step("date"), *values) == [
        "2026-12-31",
        "03/04/2026",
        "3.4.26",
        "2026-03-05",
        "31/02/2026",
    ]
    assert applied({"type": "date"}, Step("date", "%d/%m/%Y | %d.%m.%y@1990-2030"), *values)[1:3] == [
        "2026-04-03",
        "2026-04-03",
    ]


@pytest.mark.parametrize("source", ["nonsense", "%q | ", "1900-", "@", "|||", "@9999999-1"])
def test_what_says_nothing_decides_nothing(source: str) -> None:
    assert applied({"type": "date"}, Step("date", source), "03/04/2026", "x") == ["03/04/2026", "x"]
    assert applied({"type": "number"}, Step("number", source), "1,204", "x") == ["1,204", "x"]


def test_a_repair_of_another_field_or_type_changes_nothing() -> None:
    schema = TableSchema.parse({"fields": [{"name": "x"}]})
    values = pa.array(["1,5", "ja"])

    for kind in ("number", "date", "boolean", "case", "nearest"):
        assert apply(Repair.single("x", kind), values, schema) is values
    assert apply(Repair.single("y", "trim"), values, schema) is values


def test_long_and_missing_cells_stay() -> None:
    long = "9" * 300 + ",5"

    assert applied({"type": "number"}, Step("number"), long, "") == [long, ""]


@pytest.mark.parametrize("type_", ["number", "integer"])
@pytest.mark.parametrize("source", [None, "1.234,5", "1,234.5", "1,234.5 pcs", "1 EUR"])
def test_a_whole_column_is_read_as_each_of_its_values(type_: str, source: str | None) -> None:
    schema = TableSchema.parse({"fields": [{"name": "x", "type": type_}]})
    field, step = schema.fields[0], Step("number", source)
    mend, quickly = numbers.mend_of(step, field, schema), numbers.quick(step, field)
    assert mend is not None
    assert quickly is not None
    chance = random.Random(7)
    texts = ["-0,0", "0,000", "1.000.000,00"]
    for _ in range(5_000):
        parts = [chance.choice(["1", "204", "204", "050", "000", "7"]) for _ in range(chance.randrange(1, 4))]
        digits = parts[0] + "".join(chance.choice(".,") + part for part in parts[1:])
        texts.append(chance.choice(["", "", "-", "+"]) + digits + chance.choice(["", "", " pcs", "Stk", " EUR", "x"]))

    found = quickly(pa.array(texts)).to_pylist()

    mended = {text: (after, mend(text)) for text, after in zip(texts, found, strict=True) if after != text}
    assert len(mended) > 10
    assert {text: each for text, each in mended.items() if each[0] != each[1]} == {}
