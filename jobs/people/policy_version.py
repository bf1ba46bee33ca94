"""A number in the database that grows whenever anybody may see or do something else than before. Web processes look at
it every second, and again at what their open streams may tell if it grew."""

import sqlalchemy as sa

from jobs.tables import policy_versions


def bump(connection: sa.Connection) -> None:
    """Note in the caller's transaction that permissions change in it."""
    connection.execute(sa.update(policy_versions).values(version=policy_versions.c.version + 1))


def lock(connection: sa.Connection) -> None:
    """As `bump`, before the caller looks at what it will change: until its transaction ends, no other one changes
    permissions. Or two administrators could disable each other at once, or two people take one name."""
    bump(connection)


def current(connection: sa.Connection) -> int:
    version: int = connection.execute(sa.select(policy_versions.c.version)).scalar_one()
    return version
