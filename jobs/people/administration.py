"""Changes of accounts, groups, access and tokens, each with its entry in the audit log. Pages, API and commands make
them through here only."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from jobs.people import access, accounts, audit, groups, invitations, sessions, tokens
from jobs.people.access import Access
from jobs.people.accounts import Account
from jobs.people.audit import Actor
from jobs.people.groups import Group
from jobs.people.passwords import Hashed
from jobs.people.roles import Role, Scope
from jobs.people.tokens import Token


def add_account(
    connection: sa.Connection, actor: Actor, name: str, role: Role, hashed: Hashed | None = None
) -> Account:
    """Raises InvalidNameError, NameTakenError, NoAdministratorError."""
    accounts.require_administrator(connection, role)
    account = accounts.add(connection, name, role, hashed=hashed)
    audit.write(connection, actor, "user.add", _user(account), detail=role)
    return account


def invite(connection: sa.Connection, actor: Actor, account: Account) -> str:
    """The secret of a link with which a person sets the password of an account."""
    secret = invitations.invite(connection, account)
    audit.write(connection, actor, "user.invite", _user(account))
    return secret


def set_up(connection: sa.Connection, actor: Actor, secret: str, name: str, hashed: Hashed) -> Account | None:
    """Make the first administrator with a set-up link; None if it is not valid. Raises InvalidNameError."""
    account = invitations.set_up(connection, secret, name, hashed)
    if account is not None:
        own = replace(actor, name=account.name)
        audit.write(connection, own, "user.add", _user(account), detail=f"{account.role}, with the set-up link")
    return account


def accept(connection: sa.Connection, actor: Actor, secret: str, hashed: Hashed) -> Account | None:
    """Set a password with an invitation; None if it is not valid."""
    account = invitations.accept(connection, secret, hashed)
    if account is not None:
        own = replace(actor, name=account.name)
        audit.write(connection, own, "user.password", _user(account), detail="with an invitation")
    return account


def change_account(
    connection: sa.Connection, actor: Actor, name: str, *, role: Role | None = None, disabled: bool | None = None
) -> Account:
    """None: as it is. Raises AccountNotFoundError, LastAdministratorError."""
    account = accounts.get(connection, name)
    if disabled is False and account.is_disabled:
        account = accounts.enable(connection, name)
        audit.write(connection, actor, "user.enable", _user(account))
    if role is not None and role is not account.role:
        before = account.role
        account = accounts.set_role(connection, name, role)
        audit.write(connection, actor, "user.role", _user(account), detail=f"{before} → {role}")
    if disabled and not account.is_disabled:
        account = accounts.disable(connection, name)
        audit.write(connection, actor, "user.disable", _user(account))
    return account


def set_password(
    connection: sa.Connection, actor: Actor, name: str, hashed: Hashed, *, except_session: int | None = None
) -> Account:
    """And end all sessions of the account but one. Raises AccountNotFoundError."""
    account = accounts.set_password(connection, name, hashed, except_session=except_session)
    audit.write(connection, actor, "user.password", _user(account))
    return account


def end_session(connection: sa.Connection, actor: Actor, account: Account, session_id: int) -> bool:
    """Returns whether the account had this session."""
    if not sessions.end(connection, account.id, session_id):
        return False
    audit.write(connection, actor, "session.end", _user(account))
    return True


def end_other_sessions(connection: sa.Connection, actor: Actor, account: Account, session_id: int | None) -> int:
    """End all sessions of an account but one. Returns how many."""
    ended = sessions.end_others(connection, account.id, session_id)
    if ended:
        audit.write(connection, actor, "session.end", _user(account), detail=f"{ended:,} others")
    return ended


def add_group(connection: sa.Connection, actor: Actor, name: str) -> Group:
    """Raises InvalidNameError, NameTakenError."""
    group = groups.add(connection, name)
    audit.write(connection, actor, "group.add", f"group {group.name}")
    return group


def remove_group(connection: sa.Connection, actor: Actor, name: str) -> None:
    """And what was granted to it. Raises GroupNotFoundError."""
    group = groups.get(connection, name)
    groups.remove(connection, name)
    audit.write(connection, actor, "group.remove", f"group {group.name}", detail=f"{len(group.members):,} members")


def put_member(connection: sa.Connection, actor: Actor, group_name: str, user: str) -> None:
    """It may be one already. Raises GroupNotFoundError, AccountNotFoundError."""
    group, account = groups.get(connection, group_name), accounts.get(connection, user)
    if groups.put_member(connection, group.name, account):
        audit.write(connection, actor, "group.member_add", f"group {group.name}", detail=_user(account))


def remove_member(connection: sa.Connection, actor: Actor, group_name: str, user: str) -> None:
    """It may be none. Raises GroupNotFoundError, AccountNotFoundError."""
    group, account = groups.get(connection, group_name), accounts.get(connection, user)
    if groups.remove_member(connection, group.name, account):
        audit.write(connection, actor, "group.member_remove", f"group {group.name}", detail=_user(account))


def put_access(connection: sa.Connection, actor: Actor, dataset: str, wanted: Access) -> None:
    """Replace the access of a dataset that exists. Raises AccountNotFoundError, GroupNotFoundError,
    InvalidGrantError."""
    access.put(connection, dataset, wanted)
    granted = [f"{'user' if each.user else 'group'} {each.user or each.group}: {each.role}" for each in wanted.grants]
    detail = ", ".join(["restricted" if wanted.restricted else "open", *granted])
    audit.write(connection, actor, "dataset.access", f"dataset {dataset}", detail=detail)


def add_token(
    connection: sa.Connection,
    actor: Actor,
    account: Account,
    *,
    name: str,
    scopes: Collection[Scope],
    dataset: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """The new token, and its secret, which is shown once. Raises InvalidGrantError."""
    token, secret = tokens.add(connection, account.id, name=name, scopes=scopes, dataset=dataset, expires_at=expires_at)
    where = f" in {dataset}" if dataset else ""
    detail = f"{token.name}, of {account.name}: {', '.join(sorted(token.scopes))}{where}"
    audit.write(connection, actor, "token.add", f"token {token.id}", detail=detail)
    return token, secret


def revoke_token(connection: sa.Connection, actor: Actor, token_id: int, *, account_id: int | None = None) -> Token:
    """account_id: of the only account whose token it may be. Raises TokenNotFoundError."""
    token = tokens.revoke(connection, token_id, account_id=account_id)
    owner = accounts.by_id(connection, token.account_id)
    detail = f"{token.name}, of {owner.name}" if owner else token.name
    audit.write(connection, actor, "token.revoke", f"token {token.id}", detail=detail)
    return token


def _user(account: Account) -> str:
    return f"user {account.name}"
