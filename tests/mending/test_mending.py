"""What the suggestions make of dirty columns: `make mending` shows it in full."""

from pathlib import Path

import pytest

from tests.mending.columns import HELD_OUT, TUNING, columns
from tests.mending.measure import LEAST_OFFERED, measure


@pytest.mark.parametrize("path", [TUNING, HELD_OUT], ids=["for tuning", "held out"])
def test_no_suggestion_makes_a_value_wrong_and_most_that_can_be_repaired_are(path: Path) -> None:
    found = measure(columns(path))

    assert found.wrong == []
    assert found.share >= LEAST_OFFERED, found.missed


def test_there_are_columns_of_every_kind_in_both_halves() -> None:
    halves = [columns(TUNING), columns(HELD_OUT)]

    assert sum(map(len, halves)) >= 40
    for half in halves:
        types = {column.properties.get("type", "string") for column in half}
        assert types == {"string", "integer", "number", "boolean", "date", "time", "datetime"}
        assert any(value is None for column in half for value in column.truth.values())
