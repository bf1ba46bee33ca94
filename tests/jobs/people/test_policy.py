"""Policy: what whoever asks may see and do."""

from itertools import product

import pytest
import sqlalchemy as sa

from jobs.errors import NotAllowedError
from jobs.people import access, accounts, groups, tokens
from jobs.people.access import Access, Grant
from jobs.people.accounts import Account
from jobs.people.policy import REPORTER, SINGLE_USER, Caller, Policy
from jobs.people.roles import Role, Scope
from jobs.view import EVERYTHING, View
from tests.support.team import add_account

#: What is granted in the restricted dataset: to the account itself, to its group.
GRANTS = {
    "nothing": (None, None),
    "itself": (Role.UPLOADER, None),
    "its group": (None, Role.VIEWER),
    "both": (Role.VIEWER, Role.UPLOADER),
}
#: The role that this makes, by what is granted. Of administrators it makes none.
GRANTED = {"nothing": None, "itself": Role.UPLOADER, "its group": Role.VIEWER, "both": Role.UPLOADER}
TOKENS = {"none": None, "for everything": "", "for the open dataset": "open", "for the closed one": "closed"}


def policy_of(connection: sa.Connection, account: Account, dataset: str | None, scopes: list[Scope]) -> Policy:
    """dataset: of an API token; "": a token for everything; None: signed in."""
    if dataset is None:
        return Policy.of(connection, Caller.signed_in(account, 1))
    token, _ = tokens.add(connection, account.id, name="t", scopes=scopes, dataset=dataset or None)
    return Policy.of(connection, Caller.with_token(account, token))


def lets(ask: object, *words: object) -> bool:
    assert callable(ask)
    try:
        ask(*words)
    except NotAllowedError:
        return False
    return True


@pytest.fixture
def ana(connection: sa.Connection) -> Account:
    groups.add(connection, "finance")
    ana = add_account(connection, "ana")
    groups.put_member(connection, "finance", ana)
    return ana


def grant(connection: sa.Connection, granted: str, *, restricted: bool = True) -> None:
    to_user, to_group = GRANTS[granted]
    grants = [Grant("ana", None, to_user)] if to_user else []
    grants += [Grant(None, "finance", to_group)] if to_group else []
    access.put(connection, "closed", Access(restricted, grants))


@pytest.mark.parametrize(("role", "granted", "restricted"), list(product(Role, GRANTS, (True, False))))
@pytest.mark.parametrize("token", TOKENS)
def test_the_table_of_who_sees_what_and_uploads_where(
    connection: sa.Connection, ana: Account, role: Role, granted: str, restricted: bool, token: str
) -> None:
    accounts.set_role(connection, "ana", role)
    grant(connection, granted, restricted=restricted)
    policy = policy_of(connection, accounts.get(connection, "ana"), TOKENS[token], [Scope.READ, Scope.UPLOAD])
    only = TOKENS[token] or None
    in_closed = GRANTED[granted] if restricted and role is not Role.ADMIN else role

    assert policy.view.shows("open") == (only in (None, "open"))
    assert policy.view.shows("closed") == (only in (None, "closed") and in_closed is not None)
    assert policy.view.shows(None) == (only is None)
    assert policy.role_in("open") is role
    if in_closed is not None:
        assert policy.role_in("closed") is in_closed
        assert lets(policy.require_upload_into, "closed") == in_closed.includes(Role.UPLOADER) or only == "open"
    assert lets(policy.require_upload_into, "open") == role.includes(Role.UPLOADER) or only == "closed"


@pytest.mark.parametrize("granted", list(Role))
def test_who_is_granted_a_role_in_a_dataset_is_no_administrator_of_the_server(
    connection: sa.Connection, ana: Account, granted: Role
) -> None:
    access.put(connection, "closed", Access(True, [Grant("ana", None, granted)]))
    policy = Policy.of(connection, Caller.signed_in(ana))

    assert policy.role_in("closed") is granted
    assert not lets(policy.require, Role.ADMIN, [Scope.ADMIN])
    assert lets(policy.require, Role.UPLOADER, [Scope.UPLOAD]) == granted.includes(Role.UPLOADER)
    assert lets(policy.require, Role.VIEWER, [Scope.READ])


@pytest.mark.parametrize(("role", "scope"), list(product(Role, Scope)))
def test_a_token_may_do_what_its_scope_and_its_owners_role_both_allow(
    connection: sa.Connection, ana: Account, role: Role, scope: Scope
) -> None:
    account = accounts.set_role(connection, "ana", role)
    policy = policy_of(connection, account, "", [scope])

    for wanted, needed in product(Role, Scope):
        assert lets(policy.require, wanted, [needed]) == (needed is scope and role.includes(wanted))


def test_a_token_of_a_dataset_may_do_nothing_that_concerns_the_whole_server(
    connection: sa.Connection, ana: Account
) -> None:
    account = accounts.set_role(connection, "ana", Role.ADMIN)

    assert not lets(policy_of(connection, account, "open", list(Scope)).require_whole_server)
    assert lets(policy_of(connection, account, "", list(Scope)).require_whole_server)
    assert lets(policy_of(connection, account, None, []).require_whole_server)


def test_people_are_limited_by_no_scope(connection: sa.Connection, ana: Account) -> None:
    policy = Policy.of(connection, Caller.signed_in(ana))

    assert all(lets(policy.require, Role.VIEWER, [scope]) for scope in Scope)


def test_the_single_user_may_do_everything_and_the_reporter_only_report(connection: sa.Connection) -> None:
    access.put(connection, "closed", Access(True, []))
    single, reporter = (Policy.of(connection, caller) for caller in (SINGLE_USER, REPORTER))

    assert single.view == EVERYTHING
    assert all(lets(single.require, role, [scope]) for role, scope in product(Role, Scope))
    assert [scope for scope in Scope if lets(reporter.require, Role.UPLOADER, [scope])] == [Scope.NOTIFY]
    assert not lets(reporter.require, Role.ADMIN, [Scope.NOTIFY])


def test_the_policies_of_several_are_those_of_each(connection: sa.Connection, ana: Account) -> None:
    grant(connection, "its group")
    bob, root = add_account(connection, "bob", Role.UPLOADER), add_account(connection, "root", Role.ADMIN)
    callers = [*map(Caller.signed_in, (ana, bob, root)), Caller.signed_in(ana, 7), SINGLE_USER, REPORTER]
    found = Policy.of_all(connection, callers)

    assert found == [Policy.of(connection, caller) for caller in callers]
    assert [policy.caller for policy in found] == callers
    assert [policy.view for policy in found[:3]] == [EVERYTHING, View(frozenset({"closed"})), EVERYTHING]


def test_who_sees_the_same_has_equal_views(connection: sa.Connection, ana: Account) -> None:
    access.put(connection, "closed", Access(True, []))
    access.put(connection, "other", Access(True, [Grant("ana", None, Role.VIEWER)]))
    bob, cleo = add_account(connection, "bob"), add_account(connection, "cleo", Role.UPLOADER)
    views = [Policy.of(connection, Caller.signed_in(each)).view for each in (ana, bob, cleo)]

    assert views[1] == views[2] != views[0]
    assert len({*views}) == 2
