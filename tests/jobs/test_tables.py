"""Moments are stored and read in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from jobs.tables import UtcDateTime

MOMENT = datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    [MOMENT, MOMENT.astimezone(timezone(timedelta(hours=-9, minutes=-30))), None],
    ids=["UTC", "-09:30", "None"],
)
def test_a_moment_of_any_time_zone_reads_back_in_utc(connection: sa.Connection, given: datetime | None) -> None:
    table = sa.Table("moments", sa.MetaData(), sa.Column("at", UtcDateTime))
    table.create(connection)
    connection.execute(sa.insert(table).values(at=given))
    found = connection.execute(sa.select(table.c.at)).scalar_one()

    assert found == given
    assert found is None or found.utcoffset() == timedelta(0)
