"""Digests and sums over columns."""

import json
import math
import random
from typing import Any

import pyarrow as pa
import pytest

from jobs.pipeline.tally import Tallier, Tally, number_of
from jobs.schema import SchemaField, Type


def field(name: str, type_: Type) -> SchemaField:
    return SchemaField.model_validate({"name": name, "type": type_})


def tally(type_: Type, values: list[Any]) -> Tally:
    return Tallier([field("a", type_)]).of(pa.RecordBatch.from_arrays([pa.array(values)], ["a"]))


def test_the_order_of_rows_and_the_size_of_chunks_make_no_difference() -> None:
    chance = random.Random(4)
    values = ["".join(chance.choices("aä€𝄞 x", k=chance.choice([0, 1, 7, 8, 9, 20, 300]))) for _ in range(9_000)]
    whole = tally("string", values)
    shuffled = chance.sample(values, len(values))
    assert tally("string", shuffled) == whole
    assert sum((tally("string", values[at : at + 700]) for at in range(0, 9_000, 700)), Tally()) == whole
    assert whole - tally("string", values[5:]) == tally("string", values[:5])
    assert Tally.from_json(json.loads(json.dumps(whole.as_json()))) == whole


@pytest.mark.parametrize(
    ("type_", "one", "other"),
    [
        ("string", ["a", "b"], ["b", "c"]),
        ("string", [None, "x"], ["", "x"]),
        ("string", ["x" * 500, ""], ["x" * 499, "x"]),
        ("string", ["ab" * 300], ["ba" * 300]),
        ("integer", [1, 2], [0, 3]),
        ("integer", [None, 0], [0, 0]),
        ("number", [1.0, 2.0], [1.5, 1.5]),
        ("number", [0.1 + 0.2], [0.3]),
        ("boolean", [True, None], [True, False]),
    ],
)
def test_other_values_have_another_digest(type_: Type, one: list[Any], other: list[Any]) -> None:
    assert tally(type_, one).digest != tally(type_, other).digest


def test_cells_that_change_their_rows_or_columns_change_the_digest() -> None:
    tallier = Tallier([field("a", "integer"), field("b", "integer")])

    def digest(a: list[int], b: list[int]) -> str:
        return tallier.of(pa.RecordBatch.from_arrays([pa.array(a), pa.array(b)], ["a", "b"])).digest

    assert len({digest([1, 2], [3, 4]), digest([1, 2], [4, 3]), digest([3, 4], [1, 2])}) == 3
    assert digest([1, 2], [3, 4]) == digest([2, 1], [4, 3])


def test_minus_zero_is_zero_and_days_are_alike_as_text_and_as_dates() -> None:
    assert tally("number", [-0.0]).digest == tally("number", [0.0]).digest
    days = pa.array(["2024-02-29", None])
    as_dates = pa.RecordBatch.from_arrays([days.cast(pa.date32())], ["a"])
    as_text = pa.RecordBatch.from_arrays([days], ["a"])
    tallier = Tallier([field("a", "date")])
    assert tallier.of(as_dates) == tallier.of(as_text)


def test_sums_are_those_of_fsum_whatever_the_chunks() -> None:
    chance = random.Random(7)
    numbers = [chance.uniform(-1, 1) * 10 ** chance.randint(-300, 300) for _ in range(3_000)]
    numbers += [0.1] * 1_000 + [1e16, 1.0, -1e16, 5e-324, 1.7e308]
    parts = sum((tally("number", numbers[at : at + 999]) for at in range(0, len(numbers), 999)), Tally())
    assert number_of(field("a", "number"), parts.sums["a"]) == math.fsum(numbers)
    assert number_of(field("a", "number"), tally("number", [1e308, 1e308]).sums["a"]) == math.inf
    whole = [2**63 - 1, -(2**63), 2**63 - 1, -5]
    assert number_of(field("a", "integer"), tally("integer", whole).sums["a"]) == sum(whole)
