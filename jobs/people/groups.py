"""Groups of accounts, to which access can be granted."""

from collections.abc import Collection
from dataclasses import dataclass

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
    if _id(connection, shown) is not None:
        raise NameTakenError("group", shown)
    statement = sa.insert(groups).values(name=shown, name_key=names.key(shown)).returning(groups.c.id)
    return Group(connection.execute(statement).scalar_one(), shown, [])


def get(connection: sa.Connection, name: str) -> Group:
    """Raises GroupNotFoundError."""
    found = [group for group in all_groups(connection) if names.key(group.name) == names.key(name)]
    if not found:
        raise GroupNotFoundError(name)
    return found[0]


def all_groups(connection: sa.Connection) -> list[Group]:
    """In the order of their names."""
    found = {
        row.id: Group(row.id, row.name, []) for row in connection.execute(sa.select(groups).order_by(groups.c.name_key))
    }
    members = (
        sa.select(group_members.c.group_id, accounts.c.name)
        .join(accounts)
        .order_by(group_members.c.group_id, accounts.c.name_key)
    )
    for row in connection.execute(members):
        found[row.group_id].members.append(row.name)
    return list(found.values())


def remove(connection: sa.Connection, name: str) -> None:
    """And what was granted to it. Raises GroupNotFoundError."""
    group = get(connection, name)
    connection.execute(sa.delete(groups).where(groups.c.id == group.id))
    policy_version.bump(connection)


def put_member(connection: sa.Connection, group: Group, account: Account) -> None:
    """Make an account a member; it may be one already."""
    _put(connection, group.id, account.id, is_claimed=False)
    policy_version.bump(connection)


def remove_member(connection: sa.Connection, group: Group, account: Account) -> None:
    """An account that is no member remains none."""
    these = (group_members.c.group_id == group.id) & (group_members.c.account_id == account.id)
    connection.execute(sa.delete(group_members).where(these))
    policy_version.bump(connection)


def set_claimed(connection: sa.Connection, account: Account, claimed: Collection[str]) -> None:
    """Make an account a member of the groups that a claim of OpenID Connect names, as far as they exist, and of no
    other ones that an earlier claim named."""
    keys = {names.key(name) for name in claimed}
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


def _put(connection: sa.Connection, group_id: int, account_id: int, *, is_claimed: bool) -> None:
    these = (group_members.c.group_id == group_id) & (group_members.c.account_id == account_id)
    if connection.execute(sa.select(group_members.c.group_id).where(these)).one_or_none() is None:
        values = {"group_id": group_id, "account_id": account_id, "is_claimed": is_claimed}
        connection.execute(sa.insert(group_members).values(**values))


def _id(connection: sa.Connection, name: str) -> int | None:
    return connection.execute(sa.select(groups.c.id).where(groups.c.name_key == names.key(name))).scalar_one_or_none()
