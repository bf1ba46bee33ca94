"""A position in a dataset, from a query parameter: where a page of rows begins or ends."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import sqlalchemy as sa

from jobs import row_excerpts
from jobs.datasets import Dataset, Position
from jobs.errors import InvalidPositionError
from webapp.errors import InvalidQueryError


def locate(connection: sa.Connection, dataset: Dataset, query: Mapping[str, str], parameter: str) -> Position | None:
    """None if the parameter is missing. Raises InvalidQueryError."""
    if parameter not in query:
        return None
    with reported_as(parameter):
        return row_excerpts.locate(connection, dataset, query[parameter])


@contextmanager
def reported_as(parameter: str) -> Iterator[None]:
    """Inside the block, an InvalidPositionError becomes an InvalidQueryError that names the parameter."""
    try:
        yield
    except InvalidPositionError as error:
        problem = "is not a position in this dataset. Start again from its first page."
        raise InvalidQueryError(parameter, problem) from error
