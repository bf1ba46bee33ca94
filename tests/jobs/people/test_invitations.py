"""Links that work once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from jobs.database import Database, utc_now
from jobs.errors import InvalidNameError
from jobs.people import accounts, invitations
from jobs.people.passwords import Hashed
from jobs.people.roles import Role
from jobs.tables import invitations as table
from tests.support.team import HASHED, add_account


def set_up_link(connection: sa.Connection) -> str:
    secret = invitations.make_set_up_link(connection)
    assert secret is not None
    return secret


def test_an_invitation_sets_the_password_once(connection: sa.Connection) -> None:
    ana = accounts.add(connection, "ana", Role.VIEWER)
    secret = invitations.invite(connection, ana)

    assert secret not in str(connection.execute(sa.select(table)).all())
    assert invitations.invited(connection, secret) == ana
    accepted = invitations.accept(connection, secret, HASHED)
    assert accepted is not None
    assert (accepted.id, accepted.has_password) == (ana.id, True)
    assert invitations.invited(connection, secret) is None
    assert invitations.accept(connection, secret, Hashed("another")) is None
    assert accounts.credentials(connection, "ana").hashed == HASHED


def test_a_newer_invitation_ends_the_older_one(connection: sa.Connection) -> None:
    ana, bob = add_account(connection, "ana"), add_account(connection, "bob")
    of_bob = invitations.invite(connection, bob)
    older, newer = invitations.invite(connection, ana), invitations.invite(connection, ana)

    assert invitations.invited(connection, older) is None
    assert invitations.invited(connection, newer) == ana
    assert invitations.invited(connection, of_bob) == bob


def test_an_invitation_expires(connection: sa.Connection) -> None:
    secret = invitations.invite(connection, add_account(connection, "ana"))
    connection.execute(sa.update(table).values(expires_at=utc_now(-1)))

    assert invitations.invited(connection, secret) is None
    assert invitations.accept(connection, secret, HASHED) is None


@pytest.mark.parametrize("secret", ["", "unknown", "ü", "\x00", "\ud800"])
def test_an_unknown_link_does_nothing(connection: sa.Connection, secret: str) -> None:
    set_up_link(connection)

    assert invitations.invited(connection, secret) is None
    assert invitations.accept(connection, secret, HASHED) is None
    assert not invitations.is_set_up(connection, secret)
    assert invitations.set_up(connection, secret, "ana", HASHED) is None


def test_the_set_up_link_makes_the_first_administrator_once(connection: sa.Connection) -> None:
    secret = set_up_link(connection)

    assert invitations.is_set_up(connection, secret)
    assert invitations.invited(connection, secret) is None
    assert invitations.accept(connection, secret, HASHED) is None
    made = invitations.set_up(connection, secret, "ana", HASHED)
    assert made is not None
    assert (made.name, made.role) == ("ana", Role.ADMIN)
    assert not invitations.is_set_up(connection, secret)
    assert invitations.set_up(connection, secret, "bob", HASHED) is None
    assert invitations.make_set_up_link(connection) is None


def test_the_set_up_link_does_nothing_once_there_is_an_account(connection: sa.Connection) -> None:
    secret = set_up_link(connection)
    add_account(connection, "ana")

    assert not invitations.is_set_up(connection, secret)
    assert invitations.set_up(connection, secret, "bob", HASHED) is None
    assert [each.name for each in accounts.all_accounts(connection)] == ["ana"]


def test_links_of_processes_that_start_together_are_all_valid_and_older_ones_are_not(connection: sa.Connection) -> None:
    first, second = set_up_link(connection), set_up_link(connection)

    assert invitations.is_set_up(connection, first)
    connection.execute(sa.update(table).where(table.c.expires_at.is_not(None)).values(expires_at=utc_now(-1)))
    assert not invitations.is_set_up(connection, first)
    assert invitations.is_set_up(connection, second)
    third = set_up_link(connection)
    assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 2
    assert invitations.set_up(connection, third, "ana", HASHED)
    assert connection.execute(sa.select(table)).all() == []


def test_a_set_up_link_remains_valid_if_the_name_cannot_be(database: Database) -> None:
    with database.transaction() as connection:
        secret = set_up_link(connection)
    with pytest.raises(InvalidNameError), database.transaction() as connection:
        invitations.set_up(connection, secret, "a/b", HASHED)

    with database.reading() as connection:
        assert invitations.is_set_up(connection, secret)


def test_of_people_who_follow_the_set_up_link_at_once_one_becomes_administrator(database: Database) -> None:
    with database.transaction() as connection:
        secret = set_up_link(connection)

    def follow(name: str) -> bool:
        with database.transaction() as connection:
            return invitations.set_up(connection, secret, name, HASHED) is not None

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(follow, ("ana", "bob", "cleo", "dora"))) == [False, False, False, True]


def test_of_people_who_accept_an_invitation_at_once_one_sets_the_password(database: Database) -> None:
    with database.transaction() as connection:
        secret = invitations.invite(connection, add_account(connection, "ana"))

    def follow(hashed: str) -> str | None:
        with database.transaction() as connection:
            return hashed if invitations.accept(connection, secret, Hashed(hashed)) else None

    with ThreadPoolExecutor(4) as threads:
        [accepted] = filter(None, threads.map(follow, ("1", "2", "3", "4")))
    with database.reading() as connection:
        assert accounts.credentials(connection, "ana").hashed == accepted
