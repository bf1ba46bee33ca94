"""What the rules of a dataset make of the columns of a chunk."""

import random

import pandas as pd
import pyarrow as pa
import pytest

from jobs.pipeline import validator
from jobs.pipeline.mending.rule_set import RuleSet
from jobs.pipeline.validator import Validated, Validator
from jobs.repair.repairs import Repair
from jobs.repair.rules import Rule
from jobs.schema import TableSchema

SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "price", "type": "number", "constraints": {"minimum": 0}},
            {"name": "sold", "type": "date", "constraints": {"required": True}},
            {"name": "kind", "type": "string", "constraints": {"enum": ["tools", "toys"]}},
        ]
    }
)
REPAIRS = [
    Repair.single("price", "number", "1.234,5"),
    Repair.single("price", "replace", "free", "0"),
    Repair.single("sold", "date", "%d/%m/%Y"),
    Repair.single("kind", "case"),
]
CELLS = {
    "price": ["1.5", "1.204,50", "-3", "free", "", "x"],
    "sold": ["2026-01-31", "31/01/2026", "31/02/2026", ""],
    "kind": ["tools", "TOOLS", "Toys", "other", ""],
}


def rows(count: int) -> pd.DataFrame:
    numbers = random.Random(1)
    columns = {name: pa.array(numbers.choices(cells, k=count), pa.string()) for name, cells in CELLS.items()}
    return pd.DataFrame({name: pd.array(column, dtype=pd.ArrowDtype(pa.string())) for name, column in columns.items()})


def validated(found: pd.DataFrame) -> Validated:
    rules = RuleSet(1, [Rule(number, each, True, 1, number) for number, each in enumerate(REPAIRS, 1)], SCHEMA)
    return Validator(SCHEMA, {name: name for name in CELLS}).validate(found, rules)


def test_a_column_of_few_values_is_judged_as_one_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(2 * validator.LOOKED_AT)

    few = validated(found)
    monkeypatch.setattr(validator, "FEW", 0)
    many = validated(found)

    assert few.failed == many.failed
    assert few.good.equals(many.good)
    assert [each[:3] for each in few.ruled] == [each[:3] for each in many.ruled]
    assert [sorted(each.samples) for each in few.ruled] == [sorted(each.samples) for each in many.ruled]
    assert len(few.good) > 1_000
    assert all(rule.cells > 500 for rule in few.ruled)
    assert {rule.rule for rule in few.ruled} == {1, 2, 3, 4}
