"""Groups of accounts, to which access can be granted."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from jobs.errors import GroupNotFoundError, NameTakenError
from jobs.people import names, policy_version
from jobs.people.accounts import Account
from jobs.tables import accounts, group_members, groups


@dataclass(frozen=True)
class Group:
    """members: names, in their order."""

    id: int
    name: str
    members: list[str]


def add(connection: sa.Connection, name: str) -> Group:
    """Raises InvalidNameError, NameTakenError."""
    shown = names.checked(name)
    policy_version.lock(connection)
    if _find(connection, shown) is not None:
        raise NameTakenError("group", shown)
    statement = sa.insert(groups).values(name=shown, name_key=names.key(shown)).returning(groups.c.id)
    return Group(connection.execute(statement).scalar_one(), shown, [])


def get(connection: sa.Connection, name: str) -> Group:
    """Raises GroupNotFoundError."""
    row = _find(connection, name)
    if row is None:
        raise GroupNotFoundError(name)
    return Group(row.id, row.name, _members(connection, [row.id])[row.id])


def names_of(connection: sa.Connection, account_id: int) -> list[str]:
    """Of the groups that an account is a member of, in their order."""
    statement = (
        sa.select(groups.c.name)
        .join(group_members)
        .where(group_members.c.account_id == account_id)
        .order_by(groups.c.name_key)
    )
    return list(connection.execute(statement).scalars())


def all_groups(connection: sa.Connection, *, after: str = "", limit: int | None = None) -> list[Group]:
    """In the order of their names. after: only those behind this name."""
    if not names.can_exist(after):
        return []
    statement = sa.select(groups).where(groups.c.name_key > names.key(after)).order_by(groups.c.name_key)
    found = connection.execute(statement.limit(limit)).all()
    members = _members(connection, [row.id for row in found])
    return [Group(row.id, row.name, members[row.id]) for row in found]


def _members(connection: sa.Connection, group_ids: Sequence[int]) -> dict[int, list[str]]:
    """By group: the names of its members, in their order."""
    found: dict[int, list[str]] = {group_id: [] for group_id in group_ids}
    statement = (
        sa.select(group_members.c.group_id, accounts.c.name)
        .join(accounts)
        .where(group_members.c.group_id.in_(group_ids))
        .order_by(group_members.c.group_id, accounts.c.name_key)
    )
    for row in connection.execute(statement):
        found[row.group_id].append(row.name)
    return found


def remove(connection: sa.Connection, name: str) -> None:
    """And what was granted to it. Raises GroupNotFoundError."""
    policy_version.lock(connection)
    group = get(connection, name)
    connection.execute(sa.delete(groups).where(groups.c.id == group.id))


def put_member(connection: sa.Connection, group: str, account: Account) -> bool:
    """Make an account a member. Returns whether it was none before. Raises GroupNotFoundError."""
    policy_version.lock(connection)
    return _put(connection, get(connection, group).id, account.id, is_claimed=False)


def remove_member(connection: sa.Connection, group: str, account: Account) -> bool:
    """Returns whether the account was a member. Raises GroupNotFoundError."""
    policy_version.lock(connection)
    group_id = get(connection, group).id
    these = (group_members.c.group_id == group_id) & (group_members.c.account_id == account.id)
    return bool(connection.execute(sa.delete(group_members).where(these).returning(group_members.c.group_id)).all())


def set_claimed(connection: sa.Connection, account: Account, claimed: Collection[str]) -> None:
    """Make an account a member of the groups that a claim of OpenID Connect names, as far as they exist, and of no
    other ones that an earlier claim named."""
    keys = {names.key(name) for name in claimed if names.can_exist(name)}
    wanted = set(connection.execute(sa.select(groups.c.id).where(groups.c.name_key.in_(keys))).scalars())
    before = sa.select(group_members.c.group_id).where(
        group_members.c.account_id == account.id, group_members.c.is_claimed
    )
    had = set(connection.execute(before).scalars())
    if wanted == had:
        return
    gone = (group_members.c.account_id == account.id) & group_members.c.group_id.in_(had - wanted)
    connection.execute(sa.delete(group_members).where(gone, group_members.c.is_claimed))
    for group_id in wanted - had:
        _put(connection, group_id, account.id, is_claimed=True)
    policy_version.bump(connection)


def _put(connection: sa.Connection, group_id: int, account_id: int, *, is_claimed: bool) -> bool:
    these = (group_members.c.group_id == group_id) & (group_members.c.account_id == account_id)
    if connection.execute(sa.select(group_members.c.group_id).where(these)).one_or_none() is not None:
        return False
    values = {"group_id": group_id, "account_id": account_id, "is_claimed": is_claimed}
    connection.execute(sa.insert(group_members).values(**values))
    return True


def _find(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    if not names.can_exist(name):
        return None
    return connection.execute(sa.select(groups).where(groups.c.name_key == names.key(name))).one_or_none()
