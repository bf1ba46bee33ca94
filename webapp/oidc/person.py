"""From what an issuer says of a person to an account, its role and its groups."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Self

import sqlalchemy as sa

from jobs.errors import AccountNotFoundError, InvalidNameError, LastAdministratorError
from jobs.people import accounts, audit, groups, names
from jobs.people.accounts import Account
from jobs.people.audit import Actor
from jobs.people.roles import Role
from jobs.settings import Settings
from webapp.errors import RejectedSignInError

log = logging.getLogger(__name__)

#: The claims that may name an account, the best first.
NAMES = ("preferred_username", "email", "name", "sub")
#: Groups of which an account is made a member, at most.
MOST_GROUPS = 1_000
#: Characters of the longest subject (OpenID Connect Core, 2).
LONGEST_SUBJECT = 255


@dataclass(frozen=True)
class Person:
    """subject: who it is, for ever. role, groups: None if no claim decides them."""

    subject: str
    name: str
    role: Role | None
    groups: list[str] | None

    @classmethod
    def from_claims(cls, issuer: str, claims: Mapping[str, Any], settings: Settings) -> Self:
        """Raises RejectedSignInError."""
        role_claim, group_claim = settings.oidc_role_claim, settings.oidc_group_claim
        subject = str(claims["sub"])
        if len(subject) > LONGEST_SUBJECT or not subject.isprintable():
            raise RejectedSignInError("The issuer's name for this user is not valid.")
        return cls(
            f"{issuer} {subject}",
            _name(claims),
            None if role_claim is None else _role(_texts(claims, role_claim)),
            None if group_claim is None else _groups(_texts(claims, group_claim)),
        )

    def account(self, connection: sa.Connection, actor: Actor) -> Account:
        """The account, made now if there is none, with the role and the groups of the claims. Raises
        RejectedSignInError if it is disabled."""
        account = accounts.by_subject(connection, self.subject)
        if account is None:
            account = accounts.add(
                connection, _free(connection, self.name), self.role or Role.VIEWER, subject=self.subject
            )
            detail = f"{account.role}, at the first sign-in with OpenID Connect"
            audit.write(
                connection, replace(actor, name=account.name), "user.add", f"user {account.name}", detail=detail
            )
        if account.is_disabled:
            raise RejectedSignInError("This account is disabled.", "disabled")
        if self.role is not None and self.role is not account.role:
            account = _with_role(connection, account, self.role, replace(actor, name=account.name))
        if self.groups is not None:
            groups.set_claimed(connection, account, self.groups)
        return account


def _with_role(connection: sa.Connection, account: Account, role: Role, actor: Actor) -> Account:
    """The only administrator remains one: else nobody could make another."""
    try:
        changed = accounts.set_role(connection, account.name, role)
    except LastAdministratorError as error:
        log.warning("The issuer claims the role %s for %s. %s", role, account.name, error)
        return account
    detail = f"{account.role} → {role}, claimed by the issuer"
    audit.write(connection, actor, "user.role", f"user {account.name}", detail=detail)
    return changed


def _name(claims: Mapping[str, Any]) -> str:
    for claim in NAMES:
        try:
            return names.checked(str(claims.get(claim) or "")[: names.LONGEST])
        except InvalidNameError:
            continue
    return "user"


def _free(connection: sa.Connection, name: str) -> str:
    """The name, with a number if another account has it: nobody takes an account over by its name."""
    for number in count(1):
        suffix = "" if number == 1 else f"-{number}"
        tried = name[: names.LONGEST - len(suffix)].strip() + suffix
        try:
            accounts.get(connection, tried)
        except AccountNotFoundError:
            return tried
    raise AssertionError("count never ends")


def _role(claimed: Iterable[str]) -> Role:
    """The highest role that a claim names; a viewer if it names none."""
    known = {role.value for role in Role}
    return max((Role(each) for each in claimed if each in known), key=list(Role).index, default=Role.VIEWER)


def _groups(claimed: Iterable[str]) -> list[str]:
    """Those that can be names of groups."""
    return [each for each in claimed if len(each) <= names.LONGEST and each.isprintable()][:MOST_GROUPS]


def _texts(claims: Mapping[str, Any], path: str) -> list[str]:
    """The texts of a claim: one, or a list. path: its name, or names with dots for a claim in a claim."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]
