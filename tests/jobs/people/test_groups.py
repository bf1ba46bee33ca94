"""Groups and their members."""

import pytest
import sqlalchemy as sa

from jobs.errors import GroupNotFoundError, InvalidNameError, NameTakenError
from jobs.people import access, groups, policy_version
from jobs.people.access import Access, Grant
from jobs.people.roles import Role
from tests.support.team import add_account


def test_a_group_is_found_by_its_name_in_any_case(connection: sa.Connection) -> None:
    added = groups.add(connection, "Finance")

    assert groups.get(connection, "FINANCE") == added
    assert added.members == []
    with pytest.raises(NameTakenError):
        groups.add(connection, "finance")
    with pytest.raises(InvalidNameError):
        groups.add(connection, " ")


@pytest.mark.parametrize("name", ["none", "a\x00b", "\ud800"])
def test_a_group_that_does_not_exist_is_not_found(connection: sa.Connection, name: str) -> None:
    with pytest.raises(GroupNotFoundError):
        groups.get(connection, name)
    with pytest.raises(GroupNotFoundError):
        groups.remove(connection, name)


def test_members_come_and_go(connection: sa.Connection) -> None:
    for name in ("sales", "Finance"):
        groups.add(connection, name)
    cleo, ana = add_account(connection, "cleo"), add_account(connection, "ana")
    before = policy_version.current(connection)

    assert groups.put_member(connection, "finance", cleo)
    assert not groups.put_member(connection, "finance", cleo)
    assert groups.put_member(connection, "finance", ana)
    assert [(each.name, each.members) for each in groups.all_groups(connection)] == [
        ("Finance", ["ana", "cleo"]),
        ("sales", []),
    ]
    assert [each.name for each in groups.all_groups(connection, after="FINANCE", limit=9)] == ["sales"]
    assert groups.remove_member(connection, "finance", cleo)
    assert not groups.remove_member(connection, "finance", cleo)
    assert groups.get(connection, "finance").members == ["ana"]
    assert policy_version.current(connection) > before


def test_a_removed_group_takes_its_members_and_grants_along(connection: sa.Connection) -> None:
    groups.add(connection, "finance")
    ana = add_account(connection, "ana")
    groups.put_member(connection, "finance", ana)
    access.put(connection, "sales", Access(True, [Grant(None, "finance", Role.VIEWER)]))
    groups.remove(connection, "finance")

    assert access.of_dataset(connection, "sales") == Access(True, [])
    assert access.granted(connection, [ana.id]) == {ana.id: {}}
    assert groups.add(connection, "finance").members == []


def test_claims_end_what_earlier_claims_began_and_nothing_else(connection: sa.Connection) -> None:
    for name in ("finance", "sales", "support"):
        groups.add(connection, name)
    ana = add_account(connection, "ana")
    groups.put_member(connection, "support", ana)

    def members() -> list[str]:
        return [each.name for each in groups.all_groups(connection) if each.members]

    groups.set_claimed(connection, ana, ["FINANCE", "sales", "unknown", "a\x00"])
    assert members() == ["finance", "sales", "support"]
    groups.set_claimed(connection, ana, ["sales", "support"])
    assert members() == ["sales", "support"]
    groups.set_claimed(connection, ana, [])
    assert members() == ["support"]
