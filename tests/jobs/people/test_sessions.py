"""Sessions: new ones, how many, and when they end."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from jobs.database import utc_now
from jobs.people import accounts, policy_version, secrets, sessions
from jobs.people.accounts import Account
from jobs.people.roles import Role
from jobs.people.sessions import Lifetime, Session
from jobs.tables import sessions as table
from tests.support.team import LIFETIME, add_account


@pytest.fixture
def ana(connection: sa.Connection) -> Account:
    add_account(connection, "root", Role.ADMIN)
    return add_account(connection, "ana")


def begin(connection: sa.Connection, account: Account) -> str:
    return sessions.begin(connection, account.id, LIFETIME, address="192.0.2.7", agent="Browser" * 100)


def found(connection: sa.Connection, secret: str) -> Session:
    session = sessions.find(connection, secret, LIFETIME)
    assert session is not None
    return session


def age(connection: sa.Connection, **seconds: float) -> None:
    """Let all sessions be older: by so many seconds since they were used, and were created."""
    connection.execute(sa.update(table).values({name: utc_now(-value) for name, value in seconds.items()}))


def test_each_sign_in_makes_a_new_secret_of_which_the_database_keeps_a_digest(
    connection: sa.Connection, ana: Account
) -> None:
    first, second = begin(connection, ana), begin(connection, ana)
    session = found(connection, first)

    assert first != second
    assert session.id != found(connection, second).id
    assert (session.account_id, session.address, len(session.agent)) == (ana.id, "192.0.2.7", 200)
    stored = str(connection.execute(sa.select(table)).all())
    assert first not in stored
    assert secrets.digest(first) in stored


@pytest.mark.parametrize("secret", ["", "unknown", "ünknown", "\x00"])
def test_an_unknown_secret_is_of_no_session(connection: sa.Connection, ana: Account, secret: str) -> None:
    begin(connection, ana)

    assert sessions.find(connection, secret, LIFETIME) is None


@pytest.mark.parametrize("over", ["used_at", "created_at"])
def test_a_session_ends_without_use_and_in_any_case(connection: sa.Connection, ana: Account, over: str) -> None:
    limit = {"used_at": LIFETIME.idle, "created_at": LIFETIME.absolute}[over]
    secret = begin(connection, ana)
    session = found(connection, secret)
    age(connection, **{over: limit - 60})

    assert sessions.alive(connection, [session.id], LIFETIME) == {session.id}
    age(connection, **{over: limit + 1})
    assert sessions.find(connection, secret, LIFETIME) is None
    assert sessions.alive(connection, [session.id], LIFETIME) == set()
    assert sessions.of_account(connection, ana.id, LIFETIME) == []


def test_use_prolongs_a_session_and_is_seen_on_its_account(connection: sa.Connection, ana: Account) -> None:
    secret = begin(connection, ana)
    age(connection, used_at=LIFETIME.idle - 60)
    before = found(connection, secret)

    assert sessions.is_due(before, datetime.now(UTC), LIFETIME)
    sessions.note_use(connection, before.id)
    after = found(connection, secret)
    assert after.used_at > before.used_at
    assert not sessions.is_due(after, after.used_at + timedelta(seconds=sessions.NOTE_SECONDS - 1), LIFETIME)
    used_at = accounts.get(connection, "ana").used_at
    assert used_at is not None
    assert used_at >= after.used_at
    assert accounts.get(connection, "root").used_at is None


def test_a_session_that_is_used_does_not_end_however_short_its_idle_time_is(
    connection: sa.Connection, ana: Account
) -> None:
    session, lifetime = found(connection, begin(connection, ana)), Lifetime(60, 3600)

    assert not sessions.is_due(session, session.used_at + timedelta(seconds=5), lifetime)
    assert sessions.is_due(session, session.used_at + timedelta(seconds=7), lifetime)


def test_a_sign_in_forgets_the_sessions_of_the_account_that_have_ended(connection: sa.Connection, ana: Account) -> None:
    begin(connection, ana)
    age(connection, used_at=LIFETIME.idle + 1)
    begin(connection, ana)

    assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1


def test_of_too_many_sessions_the_one_that_was_used_longest_ago_ends(
    connection: sa.Connection, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)
    root = accounts.get(connection, "root")
    of_root = begin(connection, root)
    first, second = begin(connection, ana), begin(connection, ana)
    age(connection, used_at=60)
    sessions.note_use(connection, found(connection, first).id)
    before = policy_version.current(connection)
    third = begin(connection, ana)

    assert sessions.find(connection, second, LIFETIME) is None
    assert [each.id for each in sessions.of_account(connection, ana.id, LIFETIME)] == [
        found(connection, third).id,
        found(connection, first).id,
    ]
    assert found(connection, of_root)
    assert policy_version.current(connection) > before


def test_only_its_own_account_ends_a_session(connection: sa.Connection, ana: Account) -> None:
    secret = begin(connection, ana)
    session, root = found(connection, secret), accounts.get(connection, "root")

    assert not sessions.end(connection, root.id, session.id)
    assert found(connection, secret) == session
    assert sessions.end(connection, ana.id, session.id)
    assert sessions.find(connection, secret, LIFETIME) is None
    assert not sessions.end(connection, ana.id, session.id)


def test_all_others_of_an_account_end_at_once(connection: sa.Connection, ana: Account) -> None:
    own, other, of_root = (
        begin(connection, ana),
        begin(connection, ana),
        begin(connection, accounts.get(connection, "root")),
    )

    assert sessions.end_others(connection, ana.id, found(connection, own).id) == 1
    assert sessions.find(connection, other, LIFETIME) is None
    assert found(connection, own)
    assert found(connection, of_root)
    assert sessions.end_others(connection, ana.id, None) == 1
