"""A position in a dataset that a query parameter carries: where a page of rows begins or ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jobs.datasets import Position
from jobs.errors import InvalidPositionError
from webapp.errors import InvalidQueryError


def parse(query: Mapping[str, str], parameter: str) -> Position | None:
    """None: the parameter is not there. Raises InvalidQueryError."""
    if parameter not in query:
        return None
    with blamed_on(parameter):
        return Position.parse(query[parameter])


@contextmanager
def blamed_on(parameter: str) -> Iterator[None]:
    """Inside, rows are read from the position that `parameter` carried. Raises InvalidQueryError if it has none."""
    try:
        yield
    except InvalidPositionError as error:
        problem = "is not a position in this dataset. Start again from its first page."
        raise InvalidQueryError(parameter, problem) from error
