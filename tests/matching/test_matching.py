"""How well columns of real headers are matched to fields: `make matching` shows it in full."""

from pathlib import Path

import pytest

from tests.matching.measure import LEAST_PRECISION, LEAST_RECALL, measure
from tests.matching.pairs import HELD_OUT, TUNING, pairs


@pytest.mark.parametrize("path", [TUNING, HELD_OUT], ids=["for tuning", "held out"])
def test_few_columns_are_matched_wrongly_and_most_that_have_a_field_are_matched(path: Path) -> None:
    found = measure(pairs(path))

    assert found.precision >= LEAST_PRECISION, found.mistakes
    assert found.recall >= LEAST_RECALL, found.mistakes


def test_there_are_pairs_in_four_languages_in_both_halves() -> None:
    for path in (TUNING, HELD_OUT):
        chosen = pairs(path)
        assert len(chosen) >= 30
        assert {pair.language for pair in chosen} == {"en", "de", "fr", "es"}
