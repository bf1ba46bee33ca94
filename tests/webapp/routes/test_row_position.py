"""A position in a dataset, in a query parameter."""

import pytest

from jobs.datasets import Position
from jobs.errors import InvalidPositionError
from webapp.errors import InvalidQueryError
from webapp.routes import row_position

SENTENCE = "`after` is not a position in this dataset. Start again from its first page."


def test_a_position_is_parsed_as_written() -> None:
    position = Position((3, "Zoë"))

    assert row_position.parse({"after": str(position)}, "after") == position
    assert row_position.parse({"after": str(position)}, "before") is None


@pytest.mark.parametrize("text", ["", "x", "W10"])
def test_an_invalid_position_is_reported_with_the_parameter(text: str) -> None:
    with pytest.raises(InvalidQueryError) as refused:
        row_position.parse({"after": text}, "after")

    assert (refused.value.parameter, str(refused.value)) == ("after", SENTENCE)


def test_a_position_that_the_dataset_does_not_have_is_reported_with_the_parameter() -> None:
    with pytest.raises(InvalidQueryError) as refused, row_position.reported_as("after"):
        raise InvalidPositionError

    assert str(refused.value) == SENTENCE
