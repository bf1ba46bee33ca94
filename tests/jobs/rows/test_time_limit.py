"""Statements that take too long are ended, on both databases, and the connection is of use afterwards."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.errors import TookTooLongError
from jobs.rows.time_limit import limited
from jobs.settings import Settings

#: Takes minutes, in many small steps.
ENDLESS = (
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000000000)"
    " SELECT count(*) FROM numbers"
)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Database]:
    """As in a web process."""
    database = Database(settings.database)
    yield database
    database.close()


def test_a_statement_that_takes_too_long_is_ended(opened: Database) -> None:
    with opened.reading() as connection:
        began = time.monotonic()
        with pytest.raises(TookTooLongError, match=r"took longer than 0\.1 s") as late, limited(connection, 0.1):
            connection.execute(sa.text(ENDLESS)).all()
        assert time.monotonic() - began < 30
        assert late.value.seconds == 0.1
        with limited(connection, 60):
            assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
        assert connection.execute(sa.text("SELECT 2")).scalar_one() == 2


def test_the_limit_ends_with_its_block(opened: Database) -> None:
    longer = ENDLESS.replace("2000000000", "300000")
    with opened.reading() as connection:
        with limited(connection, 0.001):
            pass
        assert connection.execute(sa.text(longer)).scalar_one() == 300_000


def test_another_error_of_the_database_stays_what_it_is(opened: Database) -> None:
    with opened.reading() as connection:
        with pytest.raises(sa.exc.DBAPIError), limited(connection, 60):
            connection.execute(sa.text("SELECT no_column"))
        assert connection.execute(sa.text("SELECT 2")).scalar_one() == 2
