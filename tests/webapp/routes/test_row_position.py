"""A position in a dataset, in a query parameter."""

import pytest

from jobs.datasets import Position
from jobs.errors import InvalidPositionError
from webapp.errors import InvalidQueryError
from webapp.routes import row_position

SENTENCE = "`after` is not a position in this dataset. Start again from its first page."


def test_a_position_comes_back_as_it_was_written() -> None:
    position = Position((3, "Zoë"))

    assert row_position.parse({"after": str(position)}, "after") == position
    assert row_position.parse({"after": str(position)}, "before") is None


@pytest.mark.parametrize("text", ["", "x", "W10"])
def test_what_is_no_position_is_refused_with_the_name_of_the_parameter(text: str) -> None:
    with pytest.raises(InvalidQueryError) as refused:
        row_position.parse({"after": text}, "after")

    assert (refused.value.parameter, str(refused.value)) == ("after", SENTENCE)


def test_a_position_that_the_dataset_does_not_have_is_reported_with_the_parameter() -> None:
    with pytest.raises(InvalidQueryError) as refused, row_position.reported_as("after"):
        raise InvalidPositionError

    assert str(refused.value) == SENTENCE
