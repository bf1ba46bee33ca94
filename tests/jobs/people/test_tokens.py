"""API tokens: when they are valid, and for whom."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.database import utc_now
from jobs.errors import InvalidGrantError, TokenNotFoundError
from jobs.people import accounts, policy_version, tokens
from jobs.people.accounts import Account
from jobs.people.roles import Role, Scope
from jobs.tables import tokens as table
from tests.support.team import add_account

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def ana(connection: sa.Connection) -> Account:
    add_account(connection, "root", Role.ADMIN)
    return add_account(connection, "ana")


def add(connection: sa.Connection, account: Account, **more: Any) -> tuple[tokens.Token, str]:
    return tokens.add(connection, account.id, **{"name": "nightly", "scopes": [Scope.READ], **more})


def test_a_token_is_found_by_its_secret_of_which_the_database_keeps_a_digest(
    connection: sa.Connection, ana: Account
) -> None:
    token, secret = add(connection, ana, scopes=[Scope.UPLOAD, Scope.READ], dataset="sales", expires_at=SOON)

    assert secret.startswith("bu_")
    assert tokens.find(connection, secret) == token
    assert (token.account_id, token.name, token.dataset) == (ana.id, "nightly", "sales")
    assert token.scopes == {Scope.READ, Scope.UPLOAD}
    assert secret not in str(connection.execute(sa.select(table)).all())


@pytest.mark.parametrize("secret", ["", "bu_", "bu_unknown", "bu_ü", "bu_\x00", "bu_\ud800"])
def test_an_unknown_secret_is_of_no_token(connection: sa.Connection, ana: Account, secret: str) -> None:
    add(connection, ana)

    assert tokens.find(connection, secret) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a\nb"},
        {"scopes": []},
        {"expires_at": datetime(2026, 1, 31, tzinfo=UTC)},
    ],
    ids=str,
)
def test_a_token_that_cannot_be_is_refused(connection: sa.Connection, ana: Account, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidGrantError):
        add(connection, ana, **wrong)


def test_an_expired_token_is_not_valid(connection: sa.Connection, ana: Account) -> None:
    token, secret = add(connection, ana, expires_at=SOON)

    assert tokens.valid(connection, [token.id]) == {token.id}
    connection.execute(sa.update(table).values(expires_at=utc_now(-1)))
    assert tokens.find(connection, secret) is None
    assert tokens.valid(connection, [token.id]) == set()


def test_a_token_of_a_disabled_owner_is_not_valid_until_the_owner_is_enabled(
    connection: sa.Connection, ana: Account
) -> None:
    token, secret = add(connection, ana)
    accounts.disable(connection, "ana")

    assert tokens.find(connection, secret) is None
    assert tokens.valid(connection, [token.id]) == set()
    accounts.enable(connection, "ana")
    assert tokens.find(connection, secret) == token


def test_a_revoked_token_is_never_valid_again(connection: sa.Connection, ana: Account) -> None:
    token, secret = add(connection, ana)
    before = policy_version.current(connection)
    tokens.revoke(connection, token.id)

    assert tokens.find(connection, secret) is None
    assert tokens.of_account(connection, ana.id) == []
    assert policy_version.current(connection) > before
    with pytest.raises(TokenNotFoundError):
        tokens.revoke(connection, token.id)


def test_nobody_revokes_the_token_of_another_account(connection: sa.Connection, ana: Account) -> None:
    token, secret = add(connection, ana)

    with pytest.raises(TokenNotFoundError):
        tokens.revoke(connection, token.id, account_id=accounts.get(connection, "root").id)
    assert tokens.find(connection, secret) == token
    assert tokens.revoke(connection, token.id, account_id=ana.id).revoked_at is not None


def test_tokens_are_listed_with_the_newest_first(connection: sa.Connection, ana: Account) -> None:
    of_root, _ = add(connection, accounts.get(connection, "root"))
    first, second = (add(connection, ana)[0] for _ in range(2))

    assert tokens.of_account(connection, ana.id) == [second, first]
    assert tokens.all_tokens(connection) == [second, first, of_root]


def test_an_account_has_a_limited_number_of_tokens(
    connection: sa.Connection, ana: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST", 2)
    first, _ = add(connection, ana)
    add(connection, ana)

    with pytest.raises(InvalidGrantError, match="at most 2"):
        add(connection, ana)
    tokens.revoke(connection, first.id)
    add(connection, ana)


def test_use_is_noted_once_a_minute_and_seen_on_the_account(connection: sa.Connection, ana: Account) -> None:
    token, secret = add(connection, ana)

    assert tokens.is_due(token, datetime.now(UTC))
    tokens.note_use(connection, token.id)
    used = tokens.find(connection, secret)
    assert used is not None
    assert used.used_at is not None
    assert not tokens.is_due(used, used.used_at + timedelta(seconds=59))
    assert tokens.is_due(used, used.used_at + timedelta(seconds=60))
    assert accounts.get(connection, "ana").used_at is not None
