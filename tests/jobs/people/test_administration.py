"""Changes with their entries in the audit log: each one writes what happened, once, and no secret."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobs.errors import LastAdministratorError, NoAdministratorError
from jobs.people import accounts, administration, audit, groups, invitations, sessions, tokens
from jobs.people.access import Access, Grant
from jobs.people.audit import AuditQuery
from jobs.people.roles import Role, Scope
from tests.support.team import ACTOR, HASHED, LIFETIME, add_account


def written(connection: sa.Connection) -> list[tuple[str | None, str, str, str]]:
    """Who, action, object and detail of all entries, the oldest first."""
    found = list(audit.each(connection, AuditQuery()))[::-1]
    assert {each.result for each in found} <= {"ok"}
    return [(each.actor, each.action, each.object, each.detail) for each in found]


@pytest.fixture(autouse=True)
def _people(connection: sa.Connection) -> None:
    add_account(connection, "root", Role.ADMIN)
    add_account(connection, "ana")
    groups.add(connection, "finance")


@pytest.mark.parametrize(
    ("change", "action", "detail"),
    [
        (lambda c: administration.add_account(c, ACTOR, "bob", Role.UPLOADER, HASHED), "user.add", "uploader"),
        (lambda c: administration.invite(c, ACTOR, accounts.get(c, "ana")), "user.invite", ""),
        (
            lambda c: administration.change_account(c, ACTOR, "ana", role=Role.UPLOADER),
            "user.role",
            "viewer → uploader",
        ),
        (lambda c: administration.change_account(c, ACTOR, "ana", disabled=True), "user.disable", ""),
        (lambda c: administration.set_password(c, ACTOR, "ana", HASHED), "user.password", ""),
        (lambda c: administration.add_group(c, ACTOR, "sales"), "group.add", ""),
        (lambda c: administration.remove_group(c, ACTOR, "FINANCE"), "group.remove", "0 members"),
        (lambda c: administration.put_member(c, ACTOR, "FINANCE", "ANA"), "group.member_add", "user ana"),
        (
            lambda c: administration.put_access(
                c, ACTOR, "sales", Access(True, [Grant("ana", None, Role.VIEWER), Grant(None, "finance", Role.ADMIN)])
            ),
            "dataset.access",
            "restricted, user ana: viewer, group finance: admin",
        ),
        (
            lambda c: administration.add_token(
                c, ACTOR, accounts.get(c, "ana"), name="n", scopes=[Scope.UPLOAD, Scope.READ], dataset="sales"
            ),
            "token.add",
            "n, of ana: read, upload in sales",
        ),
    ],
    ids=["add", "invite", "role", "disable", "password", "group", "no group", "member", "access", "token"],
)  # fmt: skip
def test_each_change_writes_one_entry(
    connection: sa.Connection, change: Callable[[sa.Connection], Any], action: str, detail: str
) -> None:
    change(connection)
    [(actor, *what)] = written(connection)

    assert actor == "root"
    assert (what[0], what[2]) == (action, detail)
    assert what[1].split()[0] in ("user", "group", "dataset", "token")


def test_what_changes_nothing_writes_nothing(connection: sa.Connection) -> None:
    administration.change_account(connection, ACTOR, "ana", role=Role.VIEWER, disabled=False)
    administration.remove_member(connection, ACTOR, "finance", "ana")
    administration.end_other_sessions(connection, ACTOR, accounts.get(connection, "ana"), None)
    administration.end_session(connection, ACTOR, accounts.get(connection, "ana"), 1)

    assert written(connection) == []


def test_a_role_and_a_state_that_change_together_write_both(connection: sa.Connection) -> None:
    administration.change_account(connection, ACTOR, "ana", role=Role.ADMIN, disabled=True)
    administration.change_account(connection, ACTOR, "ana", disabled=False)

    assert [action for _, action, _, _ in written(connection)] == ["user.role", "user.disable", "user.enable"]


def test_a_member_who_goes_and_sessions_and_tokens_that_end_are_written(connection: sa.Connection) -> None:
    ana = accounts.get(connection, "ana")
    groups.put_member(connection, "finance", ana)
    kept, other = (sessions.begin(connection, ana.id, LIFETIME, address="", agent="") for _ in range(2))
    session = sessions.find(connection, other, LIFETIME)
    token, _ = tokens.add(connection, ana.id, name="n", scopes=[Scope.READ])
    assert session is not None
    administration.remove_member(connection, ACTOR, "finance", "ana")
    administration.end_session(connection, ACTOR, ana, session.id)
    administration.end_other_sessions(connection, ACTOR, ana, None)
    administration.revoke_token(connection, ACTOR, token.id)

    assert sessions.find(connection, kept, LIFETIME) is None
    assert written(connection) == [
        ("root", "group.member_remove", "group finance", "user ana"),
        ("root", "session.end", "user ana", ""),
        ("root", "session.end", "user ana", "1 others"),
        ("root", "token.revoke", f"token {token.id}", "n, of ana"),
    ]


def test_who_follows_a_link_is_the_one_who_acted(connection: sa.Connection) -> None:
    secret = invitations.invite(connection, accounts.get(connection, "ana"))
    administration.accept(connection, ACTOR, secret, HASHED)

    assert administration.accept(connection, ACTOR, secret, HASHED) is None
    assert administration.set_up(connection, ACTOR, "unknown", "bob", HASHED) is None
    assert written(connection) == [("ana", "user.password", "user ana", "with an invitation")]


def test_no_entry_has_a_secret(connection: sa.Connection) -> None:
    ana = accounts.get(connection, "ana")
    invitation = administration.invite(connection, ACTOR, ana)
    _, token = administration.add_token(connection, ACTOR, ana, name="n", scopes=[Scope.READ])
    administration.accept(connection, ACTOR, invitation, HASHED)

    assert not [secret for secret in (invitation, token, HASHED) if secret in str(written(connection))]


def test_refused_changes_are_those_of_accounts(connection: sa.Connection) -> None:
    with pytest.raises(LastAdministratorError):
        administration.change_account(connection, ACTOR, "root", disabled=True)
    connection.execute(sa.text("DELETE FROM accounts"))
    with pytest.raises(NoAdministratorError):
        administration.add_account(connection, ACTOR, "bob", Role.VIEWER)
    assert administration.add_account(connection, ACTOR, "bob", Role.ADMIN).role is Role.ADMIN
