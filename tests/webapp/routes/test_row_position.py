"""A position in a dataset, in a query parameter."""

import pytest

from jobs.datasets import Dataset, Position
from jobs.errors import InvalidPositionError
from tests.support.serving import Records
from webapp.errors import InvalidQueryError
from webapp.routes import row_position

SENTENCE = "`after` is not a position in this dataset. Start again from its first page."


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """One database is enough: what differs between them is tested where rows are read."""
    return sqlite_database_url


def located(records: Records, dataset: Dataset, text: str, parameter: str = "after") -> Position | None:
    with records.database.reading() as connection:
        return row_position.locate(connection, dataset, {"after": text}, parameter)


def test_a_position_is_located_by_its_text(records: Records) -> None:
    position, dataset = Position((3, "Zoë")), records.dataset("sales", [(1, "one", True)])

    assert located(records, dataset, str(position)) == position
    assert located(records, dataset, str(position), "before") is None
    assert located(records, dataset, f"~{dataset.upload_id}.1") == Position((dataset.upload_id, 1))


@pytest.mark.parametrize("text", ["", "x", "W10", "~1.7", "~1", "~1.1.1", f"~{'9' * 19}.1"])
def test_an_invalid_position_is_reported_with_the_parameter(records: Records, text: str) -> None:
    dataset = records.dataset("sales", [(1, "one", True)])
    with pytest.raises(InvalidQueryError) as refused:
        located(records, dataset, text)

    assert (refused.value.parameter, str(refused.value)) == ("after", SENTENCE)


def test_a_position_that_the_dataset_does_not_have_is_reported_with_the_parameter() -> None:
    with pytest.raises(InvalidQueryError) as refused, row_position.reported_as("after"):
        raise InvalidPositionError

    assert str(refused.value) == SENTENCE
