"""Restricted datasets, and what is granted in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jobs.errors import InvalidGrantError
from jobs.people import accounts as accounts_
from jobs.people import groups as groups_
from jobs.people import policy_version
from jobs.people.roles import Role
from jobs.tables import accounts, grants, group_members, groups, restricted_datasets

#: Grants of one dataset, at most: it has more when groups should have been made.
MOST_GRANTS = 500


@dataclass(frozen=True)
class Grant:
    """Of an account or a group: one of `user` and `group` is a name, the other None."""

    user: str | None
    group: str | None
    role: Role


@dataclass(frozen=True)
class Access:
    """Who may do what in a dataset. Without a restriction, the roles of the accounts count and the grants rest."""

    restricted: bool
    grants: list[Grant]


def of_dataset(connection: sa.Connection, dataset: str) -> Access:
    statement = (
        sa.select(accounts.c.name.label("user"), groups.c.name.label("group"), grants.c.role)
        .select_from(grants.outerjoin(accounts).outerjoin(groups))
        .where(grants.c.dataset == dataset)
        .order_by(groups.c.name_key, accounts.c.name_key)
    )
    found = [Grant(row.user, row.group, Role(row.role)) for row in connection.execute(statement)]
    return Access(_is_restricted(connection, dataset), found)


def put(connection: sa.Connection, dataset: str, access: Access) -> None:
    """Replace the access of a dataset that exists. Raises AccountNotFoundError, GroupNotFoundError,
    InvalidGrantError."""
    if len(access.grants) > MOST_GRANTS:
        raise InvalidGrantError(f"A dataset has at most {MOST_GRANTS} grants. Make groups for more people.")
    policy_version.lock(connection)
    connection.execute(sa.delete(restricted_datasets).where(restricted_datasets.c.dataset == dataset))
    connection.execute(sa.delete(grants).where(grants.c.dataset == dataset))
    if access.restricted:
        connection.execute(sa.insert(restricted_datasets).values(dataset=dataset))
    seen = set()
    for grant in access.grants:
        if (grant.user is None) == (grant.group is None):
            raise InvalidGrantError("A grant is either for a user or for a group.")
        account = None if grant.user is None else accounts_.get(connection, grant.user).id
        group = None if grant.group is None else groups_.get(connection, grant.group).id
        if (account, group) in seen:
            raise InvalidGrantError(f"There are two grants for “{grant.user or grant.group}”.")
        seen.add((account, group))
        values = {"dataset": dataset, "account_id": account, "group_id": group, "role": grant.role}
        connection.execute(sa.insert(grants).values(**values))


def restricted(connection: sa.Connection) -> frozenset[str]:
    """The names of all restricted datasets."""
    return frozenset(connection.execute(sa.select(restricted_datasets.c.dataset)).scalars())


def granted(connection: sa.Connection, account_ids: Sequence[int]) -> dict[int, dict[str, Role]]:
    """By account: the highest role in each dataset that is granted to it, or to one of its groups."""
    own = sa.select(grants.c.account_id, grants.c.dataset, grants.c.role).where(grants.c.account_id.in_(account_ids))
    through_groups = (
        sa.select(group_members.c.account_id, grants.c.dataset, grants.c.role)
        .join(grants, grants.c.group_id == group_members.c.group_id)
        .where(group_members.c.account_id.in_(account_ids))
    )
    found: dict[int, dict[str, Role]] = {account_id: {} for account_id in account_ids}
    for account_id, dataset, role in connection.execute(sa.union_all(own, through_groups)):
        before = found[account_id].get(dataset)
        if before is None or not before.includes(Role(role)):
            found[account_id][dataset] = Role(role)
    return found


def granted_to_group(connection: sa.Connection, group_id: int) -> dict[str, Role]:
    """By dataset: what is granted to a group."""
    statement = (
        sa.select(grants.c.dataset, grants.c.role).where(grants.c.group_id == group_id).order_by(grants.c.dataset)
    )
    return {row.dataset: Role(row.role) for row in connection.execute(statement)}


def _is_restricted(connection: sa.Connection, dataset: str) -> bool:
    these = restricted_datasets.c.dataset == dataset
    return connection.execute(sa.select(restricted_datasets.c.dataset).where(these)).one_or_none() is not None
