"""How many failed rows each repair rescues."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jobs.pipeline.mending.applying import apply
from jobs.pipeline.mending.measuring import Measure
from jobs.pipeline.validator import Validator
from jobs.repair.repairs import Repair, Suggestion
from jobs.schema import TableSchema

SCHEMA = TableSchema.parse(
    {
        "fields": [
            {"name": "id", "type": "integer", "constraints": {"required": True}},
            {"name": "amount", "type": "number", "constraints": {"minimum": 0}},
            {"name": "country", "constraints": {"enum": ["Germany", "France"]}},
            {"name": "code", "constraints": {"pattern": "[A-Z]{2}"}},
        ]
    }
)
SOURCES = {"id": "ID", "amount": "Amount", "country": "Land", "code": "code"}


def table(*rows: tuple[str, str, str, str]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(dict(zip(SOURCES.values(), (pa.array(each, pa.string()) for each in columns), strict=True)))


def suggested(rows: pa.Table, blocked: list[bool] | None = None, **more: Any) -> list[Suggestion]:
    measure = Measure(SCHEMA, SOURCES, **more)
    for start in range(0, len(rows), 3):  # in batches
        some = None if blocked is None else np.array(blocked[start : start + 3])
        measure.see(rows.slice(start, 3), some)
    return measure.suggestions()


def in_brief(found: list[Suggestion]) -> list[tuple[str, str, int, int]]:
    return [(each.repair.column, each.repair.kind, each.rescues, each.of) for each in found]


MESSY = table(
    ("1", "1.204,50", "France", "FR"),
    ("2", "n/a", "GERMANY", "DE"),
    ("3", "2,5", "France", "FR"),
    ("4", "-2,5", "France", "FR"),
    ("5", "7", "Germny", " de"),
    ("6", "7", "germany ", "DE"),
    ("", "2,5", "France", "FR"),
    ("8", "N/A", "France", "FR"),
    ("9", "twelve", "France", "FR"),
)


def test_a_repair_rescues_the_rows_in_which_nothing_else_is_wrong() -> None:
    found = suggested(MESSY)

    assert in_brief(found) == [("amount", "number", 2, 7), ("amount", "missing", 1, 7), ("country", "case", 1, 3)]
    assert found[0].samples[0] == ("2,5", "2.5")
    assert found[0].rule == "is not a number"
    assert found[1].title == "Treat “n/a” as empty"


def test_a_suggestion_rescues_exactly_the_rows_that_the_validator_then_lets_through() -> None:
    everything = Validator(SCHEMA, SOURCES)
    before = len(everything.validate(frame(MESSY)).failed)
    for suggestion in suggested(MESSY):
        column = SOURCES[suggestion.repair.column]
        mended = apply(suggestion.repair, MESSY.column(column).combine_chunks(), SCHEMA)
        rows = MESSY.set_column(MESSY.column_names.index(column), column, mended)

        assert before - len(everything.validate(frame(rows)).failed) == suggestion.rescues


def frame(rows: pa.Table) -> pd.DataFrame:
    arrays = {name: pd.arrays.ArrowExtensionArray(rows.column(name)) for name in rows.column_names}
    return pd.DataFrame({name: pd.Series(array) for name, array in arrays.items()})


def test_a_compound_is_offered_where_both_of_its_steps_are_needed() -> None:
    found = suggested(table(("1", "1", "France", "de "), ("2", "1", "France", "fr"), ("3", "1", "France", "x")))

    assert in_brief(found) == [("code", "trim+case", 2, 3)]


def test_rows_that_no_value_rescues_are_not_counted() -> None:
    rows = table(("1", "2,5", "France", "FR"), ("2", "2,5", "France", "FR"))

    assert in_brief(suggested(rows, [False, True])) == [("amount", "number", 1, 2)]
    assert suggested(rows, [True, True]) == []


def test_a_missing_value_is_not_offered_where_one_is_required() -> None:
    assert suggested(table(("n/a", "1", "France", "FR"))) == []


def test_a_required_field_without_a_column_lets_no_row_be_rescued() -> None:
    measure = Measure(SCHEMA, {name: column for name, column in SOURCES.items() if name != "id"})
    measure.see(table(("1", "2,5", "France", "FR")))

    assert measure.suggestions() == []


def test_the_rules_of_the_dataset_mend_other_cells_of_a_row_but_the_row_waits_for_a_repair() -> None:
    rows = table(("1", "2,5", "Germny", "FR"), ("2", "1", "Germny", "FR"))
    rules = [Repair.single("country", "replace", "Germny", "Germany")]

    assert in_brief(suggested(rows)) == [("country", "nearest", 1, 2)]
    assert in_brief(suggested(rows, rules=rules)) == [("amount", "number", 1, 1), ("country", "replace", 1, 2)]


def test_valid_values_of_the_dataset_decide_what_an_ambiguous_one_is() -> None:
    rows = table(("1", "1,204", "France", "FR"))

    assert suggested(rows) == []
    assert suggested(rows, evidence={"amount": ["12.5", "7.25", "0.5"]})[0].samples == [("1,204", "1204")]
    assert suggested(rows, evidence={"amount": ["0.125", "7.25", "0.5"]}) == []


def test_a_long_value_counts_in_its_group_but_is_not_mended() -> None:
    rows = table(("1", "2,5", "France", "FR"), ("2", "2," + "5" * 500, "France", "FR"))

    assert in_brief(suggested(rows)) == [("amount", "number", 1, 2)]
