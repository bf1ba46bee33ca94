"""Accounts: their names, roles and passwords, and the last administrator."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.errors import (
    AccountNotFoundError,
    BulkUploadError,
    InvalidNameError,
    LastAdministratorError,
    NameTakenError,
    NoAdministratorError,
)
from jobs.people import accounts, invitations, passwords, policy_version, sessions
from jobs.people.passwords import Hashed
from jobs.people.roles import Role
from tests.support.team import HASHED, LIFETIME, PASSWORD, add_account


def test_an_account_is_found_by_its_name_in_any_case(connection: sa.Connection) -> None:
    added = add_account(connection, "Zoë", Role.UPLOADER)

    assert accounts.get(connection, " zOE\u0308") == added == accounts.by_id(connection, added.id)
    assert (added.name, added.role, added.has_password, added.is_disabled) == ("Zoë", Role.UPLOADER, True, False)


def test_two_accounts_cannot_have_the_same_name_in_another_case(connection: sa.Connection) -> None:
    add_account(connection, "Straße")

    with pytest.raises(NameTakenError):
        add_account(connection, "STRASSE")


@pytest.mark.parametrize("name", ["nobody", "", "a\x00b", "\ud800"])
def test_a_name_that_nobody_has_is_not_found(connection: sa.Connection, name: str) -> None:
    with pytest.raises(AccountNotFoundError):
        accounts.get(connection, name)
    assert accounts.credentials(connection, name) == accounts.Credentials(None, None)
    assert accounts.all_accounts(connection, after=name) == []


def test_a_name_that_cannot_be_is_refused(connection: sa.Connection) -> None:
    with pytest.raises(InvalidNameError):
        add_account(connection, "a\nb")
    assert not accounts.exist(connection)


def test_accounts_are_listed_by_name_a_page_at_a_time(connection: sa.Connection) -> None:
    for name in ("cleo", "Ana", "bob"):
        add_account(connection, name)

    assert [each.name for each in accounts.all_accounts(connection)] == ["Ana", "bob", "cleo"]
    assert [each.name for each in accounts.all_accounts(connection, after="ANA", limit=1)] == ["bob"]


def test_the_first_account_must_be_an_administrator(connection: sa.Connection) -> None:
    with pytest.raises(NoAdministratorError):
        accounts.require_administrator(connection, Role.UPLOADER)
    accounts.require_administrator(connection, Role.ADMIN)
    add_account(connection, "ana", Role.ADMIN)
    accounts.require_administrator(connection, Role.VIEWER)


def test_the_last_administrator_can_neither_be_disabled_nor_get_another_role(connection: sa.Connection) -> None:
    add_account(connection, "ana", Role.ADMIN)
    add_account(connection, "bob", Role.ADMIN)
    add_account(connection, "cleo", Role.UPLOADER)
    accounts.disable(connection, "bob")

    for change in (
        partial(accounts.disable, connection, "ana"),
        partial(accounts.set_role, connection, "ana", Role.VIEWER),
    ):
        with pytest.raises(LastAdministratorError):
            change()
    accounts.disable(connection, "cleo")
    accounts.enable(connection, "bob")
    assert accounts.set_role(connection, "ana", Role.VIEWER).role is Role.VIEWER


@pytest.mark.parametrize(
    ("of_ana", "of_bob"),
    [
        (accounts.disable, accounts.disable),
        (accounts.disable, lambda connection, name: accounts.set_role(connection, name, Role.VIEWER)),
    ],
    ids=["both disabled", "one disabled, one demoted"],
)
def test_two_administrators_who_end_each_other_at_once_leave_one(
    database: Database, of_ana: Callable[[sa.Connection, str], object], of_bob: Callable[[sa.Connection, str], object]
) -> None:
    with database.transaction() as connection:
        for name in ("ana", "bob"):
            add_account(connection, name, Role.ADMIN)

    def end(name: str, change: Callable[[sa.Connection, str], object]) -> BulkUploadError | None:
        try:
            with database.transaction() as connection:
                change(connection, name)
        except BulkUploadError as error:
            return error
        return None

    for _ in range(5):
        with ThreadPoolExecutor(2) as threads:
            outcomes = list(threads.map(end, ("ana", "bob"), (of_ana, of_bob)))
        assert sorted(type(each).__name__ for each in outcomes) == ["LastAdministratorError", "NoneType"]
        with database.transaction() as connection:
            for name in ("ana", "bob"):
                accounts.enable(connection, name)
                accounts.set_role(connection, name, Role.ADMIN)


def test_of_two_people_who_take_a_name_at_once_one_is_told(database: Database) -> None:
    def add(name: str) -> str:
        try:
            with database.transaction() as connection:
                add_account(connection, name)
        except NameTakenError:
            return "taken"
        return "added"

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(add, ("ana", "Ana", "ANA", "aNa"))) == ["added", "taken", "taken", "taken"]


def test_disabling_ends_sessions_and_invitations_and_enabling_brings_none_back(connection: sa.Connection) -> None:
    add_account(connection, "ana", Role.ADMIN)
    bob = add_account(connection, "bob")
    session = sessions.begin(connection, bob.id, LIFETIME, address="", agent="")
    invitation = invitations.invite(connection, bob)
    first = accounts.disable(connection, "bob").disabled_at
    again = accounts.disable(connection, "bob")
    enabled = accounts.enable(connection, "bob")

    assert first is not None
    assert (again.disabled_at, enabled.disabled_at) == (first, None)
    assert sessions.find(connection, session, LIFETIME) is None
    assert invitations.invited(connection, invitation) is None


def test_a_new_password_ends_all_sessions_but_the_one_that_set_it(connection: sa.Connection) -> None:
    ana = add_account(connection, "ana")
    own, other = (sessions.begin(connection, ana.id, LIFETIME, address="", agent="") for _ in range(2))
    kept = sessions.find(connection, own, LIFETIME)
    assert kept is not None
    invitation = invitations.invite(connection, ana)
    accounts.set_password(connection, "ana", Hashed("another"), except_session=kept.id)

    assert sessions.find(connection, own, LIFETIME) == kept
    assert sessions.find(connection, other, LIFETIME) is None
    assert invitations.invited(connection, invitation) is None
    assert accounts.credentials(connection, "ana").hashed == "another"
    accounts.set_password(connection, "ana", HASHED)
    assert sessions.find(connection, own, LIFETIME) is None


def test_a_password_that_was_right_confirms_nobody_who_was_disabled_or_changed_it_meanwhile(
    connection: sa.Connection,
) -> None:
    add_account(connection, "ana", Role.ADMIN)
    bob = accounts.add(connection, "bob", Role.VIEWER, hashed=passwords.hashed(PASSWORD, "bob"))
    found = accounts.credentials(connection, "BOB")

    assert passwords.verify(PASSWORD, found.hashed)
    assert accounts.confirmed(connection, found) == bob
    accounts.disable(connection, "bob")
    assert accounts.confirmed(connection, found) is None
    accounts.enable(connection, "bob")
    accounts.set_password(connection, "bob", HASHED)
    assert accounts.confirmed(connection, found) is None


def test_an_account_without_a_password_is_confirmed_by_none(connection: sa.Connection) -> None:
    account = accounts.add(connection, "ana", Role.VIEWER, subject="issuer ana")
    found = accounts.credentials(connection, "ana")

    assert (found.account, found.hashed) == (account, None)
    assert not account.has_password
    assert accounts.by_subject(connection, "issuer ana") == account
    assert accounts.confirmed(connection, found) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda connection: add_account(connection, "new"),
        lambda connection: accounts.set_role(connection, "bob", Role.UPLOADER),
        lambda connection: accounts.disable(connection, "bob"),
        lambda connection: accounts.enable(connection, "bob"),
        lambda connection: accounts.set_password(connection, "bob", HASHED),
    ],
    ids=["add", "role", "disable", "enable", "password"],
)
def test_each_change_raises_the_version_of_the_policy(
    connection: sa.Connection, change: Callable[[sa.Connection], object]
) -> None:
    add_account(connection, "bob")
    before = policy_version.current(connection)
    change(connection)

    assert policy_version.current(connection) > before
