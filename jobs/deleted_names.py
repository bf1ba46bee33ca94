"""What a dataset is called once it is deleted: by its uploads, and by what was granted in it. No dataset can have such
a name, so that a later dataset with the old name has nothing of it.
"""

import itertools
import re

import sqlalchemy as sa

from jobs.tables import grants, restricted_datasets, tokens, uploads

_DELETED = re.compile(r"(?P<name>.+) \(deleted(?: [0-9]+)?\)")
#: What names a dataset.
_NAMING = (uploads.c.dataset, restricted_datasets.c.dataset, grants.c.dataset, tokens.c.dataset)


def free(connection: sa.Connection, name: str) -> str:
    """The first that nothing has: `sales (deleted)`, `sales (deleted 2)`, …"""
    numbered = (f"{name} (deleted {number})" for number in itertools.count(2))
    return next(each for each in itertools.chain([f"{name} (deleted)"], numbered) if not _is_taken(connection, each))


def _is_taken(connection: sa.Connection, name: str) -> bool:
    return any(connection.scalar(sa.select(sa.exists().where(column == name))) for column in _NAMING)


def rename(connection: sa.Connection, before: str, after: str) -> None:
    """Rename a dataset wherever it is named. The number of changes of its uploads grows, so that nobody takes a record
    from before for the present one; what they are otherwise, and when they changed, stays."""
    for column in _NAMING:
        values = {"dataset": after} | ({"seq": uploads.c.seq + 1} if column.table is uploads else {})
        connection.execute(sa.update(column.table).where(column == before).values(values))


def former(name: str | None) -> str | None:
    """The name that a deleted dataset had; None of any other."""
    found = _DELETED.fullmatch(name or "")
    return found and found["name"]


def condition(column: sa.ColumnElement[str | None]) -> sa.ColumnElement[bool]:
    """Whether a column has the name of a deleted dataset."""
    return sa.and_(column.is_not(None), column.like("% (deleted%)"))
