"""Restricted datasets and their grants."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.errors import AccountNotFoundError, GroupNotFoundError, InvalidGrantError
from jobs.people import access, groups, policy_version
from jobs.people.access import Access, Grant
from jobs.people.roles import Role
from tests.support.team import add_account


def test_a_dataset_is_open_until_it_is_restricted(connection: sa.Connection) -> None:
    before = policy_version.current(connection)

    assert access.of_dataset(connection, "sales") == Access(False, [])
    access.put(connection, "sales", Access(True, []))
    assert access.of_dataset(connection, "sales") == Access(True, [])
    assert access.restricted(connection) == {"sales"}
    access.put(connection, "sales", Access(False, []))
    assert access.restricted(connection) == frozenset()
    assert policy_version.current(connection) > before


def test_grants_are_replaced_as_a_whole_and_kept_while_a_dataset_is_open(connection: sa.Connection) -> None:
    add_account(connection, "Ana")
    groups.add(connection, "finance")
    grants = [Grant("Ana", None, Role.UPLOADER), Grant(None, "finance", Role.VIEWER)]
    access.put(connection, "sales", Access(True, [Grant(None, "finance", Role.ADMIN)]))
    access.put(
        connection, "sales", Access(False, [Grant("ANA", None, Role.UPLOADER), Grant(None, "Finance", Role.VIEWER)])
    )
    found = access.of_dataset(connection, "sales")

    assert (found.restricted, sorted(found.grants, key=str)) == (False, sorted(grants, key=str))


@pytest.mark.parametrize(
    ("grants", "error"),
    [
        ([Grant("nobody", None, Role.VIEWER)], AccountNotFoundError),
        ([Grant(None, "none", Role.VIEWER)], GroupNotFoundError),
        ([Grant(None, None, Role.VIEWER)], InvalidGrantError),
        ([Grant("ana", "finance", Role.VIEWER)], InvalidGrantError),
        ([Grant("ana", None, Role.VIEWER), Grant("ANA", None, Role.ADMIN)], InvalidGrantError),
        ([Grant("ana", None, Role.VIEWER)] * 501, InvalidGrantError),
    ],
    ids=["no account", "no group", "neither", "both", "twice", "too many"],
)
def test_grants_that_cannot_be_change_nothing(database: Database, grants: list[Grant], error: type[Exception]) -> None:
    with database.transaction() as connection:
        add_account(connection, "ana")
        groups.add(connection, "finance")
        access.put(connection, "sales", Access(True, [Grant("ana", None, Role.VIEWER)]))
    with pytest.raises(error), database.transaction() as connection:
        access.put(connection, "sales", Access(False, grants))

    with database.reading() as connection:
        assert access.of_dataset(connection, "sales") == Access(True, [Grant("ana", None, Role.VIEWER)])


def test_the_highest_of_what_is_granted_to_an_account_and_its_groups_counts(connection: sa.Connection) -> None:
    ana, bob, cleo = (add_account(connection, name) for name in ("ana", "bob", "cleo"))
    for name in ("finance", "support"):
        groups.add(connection, name)
    groups.put_member(connection, "finance", ana)
    groups.put_member(connection, "support", ana)
    groups.put_member(connection, "support", bob)
    access.put(
        connection,
        "sales",
        Access(
            True,
            [
                Grant("ana", None, Role.VIEWER),
                Grant(None, "finance", Role.UPLOADER),
                Grant(None, "support", Role.VIEWER),
            ],
        ),
    )
    access.put(connection, "stock", Access(False, [Grant("bob", None, Role.UPLOADER)]))

    assert access.granted(connection, [ana.id, bob.id, cleo.id]) == {
        ana.id: {"sales": Role.UPLOADER},
        bob.id: {"sales": Role.VIEWER, "stock": Role.UPLOADER},
        cleo.id: {},
    }


def test_two_administrators_who_change_the_same_access_at_once_both_do(database: Database) -> None:
    with database.transaction() as connection:
        add_account(connection, "ana")

    def put(role: Role) -> Role:
        with database.transaction() as connection:
            access.put(connection, "sales", Access(True, [Grant("ana", None, role)]))
        return role

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(put, [*Role] * 3)) == [*Role] * 3
    with database.reading() as connection:
        assert len(access.of_dataset(connection, "sales").grants) == 1
