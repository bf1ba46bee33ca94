"""The commands `bulk-upload user`, `token` and `audit`: what administrators do without the pages."""

import getpass
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from jobs import datasets
from jobs.database import Database
from jobs.errors import DatasetNotFoundError
from jobs.events import timestamp
from jobs.people import accounts, administration, audit, names, passwords, tokens
from jobs.people.audit import Actor, AuditQuery, Via
from jobs.people.passwords import Hashed
from jobs.people.roles import Role, Scope

#: Entries that are read at once.
ENTRIES_READ = 500


def add_user(database: Database, name: str, role: Role, password: str | None, server: str) -> None:
    """Without a password, print an invitation link. server: its address.

    Raises InvalidNameError, NameTakenError, UnsafePasswordError, NoAdministratorError.
    """
    hashed = None if password is None else passwords.hashed(password, names.checked(name))
    with database.transaction() as connection:
        account = administration.add_account(connection, actor(), name, role, hashed)
        secret = None if hashed else administration.invite(connection, actor(), account)
    click.echo(f"Added the account “{account.name}”: {account.role}.")
    if secret is not None:
        click.echo(f"To choose a password, within seven days: {server}/invitation/{secret}")


def show_users(database: Database) -> None:
    """Print a line per account: name, role, state, when it was used last."""
    with database.reading() as connection:
        found = accounts.all_accounts(connection)
    lines = [
        (each.name, str(each.role), "disabled" if each.is_disabled else "active", _moment(each.used_at))
        for each in found
    ]
    _print([("NAME", "ROLE", "STATE", "LAST USED"), *lines] if lines else [("No accounts yet.",)])


def set_role(database: Database, name: str, role: Role) -> None:
    """Raises AccountNotFoundError, LastAdministratorError."""
    with database.transaction() as connection:
        account = administration.change_account(connection, actor(), name, role=role)
    click.echo(f"The role of “{account.name}” is {account.role}.")


def set_disabled(database: Database, name: str, disabled: bool) -> None:
    """Raises AccountNotFoundError, LastAdministratorError."""
    with database.transaction() as connection:
        account = administration.change_account(connection, actor(), name, disabled=disabled)
    click.echo(f"The account “{account.name}” is {'disabled: its sessions have ended' if disabled else 'enabled'}.")


def set_password(database: Database, name: str, password: str) -> None:
    """Raises AccountNotFoundError, UnsafePasswordError."""
    with database.reading() as connection:
        account = accounts.get(connection, name)
    hashed: Hashed = passwords.hashed(password, account.name)
    with database.transaction() as connection:
        administration.set_password(connection, actor(), name, hashed)
    click.echo(f"The password of “{account.name}” is set, and its sessions have ended.")


def add_token(
    database: Database, user: str, name: str, scopes: Sequence[Scope], dataset: str | None, expires: datetime | None
) -> None:
    """Print the token alone on stdout, so that a script can keep it. Raises AccountNotFoundError,
    DatasetNotFoundError, InvalidGrantError."""
    with database.transaction() as connection:
        account = accounts.get(connection, user)
        if dataset is not None and not datasets.exists(connection, dataset):
            raise DatasetNotFoundError(dataset)
        token, secret = administration.add_token(
            connection, actor(), account, name=name, scopes=scopes, dataset=dataset, expires_at=expires
        )
    click.echo(f"Token {token.id} of “{account.name}”. It is not shown again:", err=True)
    click.echo(secret)


def show_tokens(database: Database, user: str | None) -> None:
    """Print a line per token, of one account or of all. Raises AccountNotFoundError."""
    with database.reading() as connection:
        if user is None:
            found = tokens.all_tokens(connection)
        else:
            found = tokens.of_account(connection, accounts.get(connection, user).id)
        owners = accounts.by_ids(connection, {each.account_id for each in found})
    lines = [
        (
            str(each.id),
            owners[each.account_id].name,
            each.name,
            ",".join(sorted(each.scopes)),
            each.dataset or "all",
            _moment(each.expires_at),
            _moment(each.used_at),
        )
        for each in found
    ]
    head = ("ID", "USER", "NAME", "SCOPES", "DATASET", "EXPIRES", "LAST USED")
    _print([head, *lines] if lines else [("No tokens.",)])


def revoke_token(database: Database, token_id: int) -> None:
    """Raises TokenNotFoundError."""
    with database.transaction() as connection:
        token = administration.revoke_token(connection, actor(), token_id)
    click.echo(f"Token {token.id} ({token.name}) is revoked.")


def show_audit(database: Database, query: AuditQuery, limit: int) -> None:
    """Print a line per entry, the newest first; its parts are separated by tabs."""
    before: int | None = None
    while limit > 0:
        with database.reading() as connection:
            found = audit.page(connection, query, limit=min(limit, ENTRIES_READ), before=before)
        for each in found:
            parts = [
                timestamp(each.at),
                each.actor or "-",
                each.via,
                each.address or "-",
                each.action,
                each.object,
                each.result,
                each.detail,
            ]
            click.echo("\t".join(map(_printable, parts)))
        if not found:
            return
        before, limit = found[-1].id, limit - len(found)


def read_password() -> str:
    """The first line of stdin, without its end. Raises click's UsageError if there is none."""
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.UsageError("There is no password on stdin.")
    return line


def parse_expiry(text: str | None) -> datetime | None:
    """A day, in UTC, or a time. Raises click's BadParameter."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter("must be a day like 2026-12-31, or a time.", param_hint="--expires") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def actor() -> Actor:
    """Whoever runs this command on the server's machine."""
    try:
        return Actor(_printable(getpass.getuser())[: audit.TYPED], Via.CLI)
    except (KeyError, OSError):  # a user without a name
        return Actor(None, Via.CLI)


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _printable(text: str) -> str:
    """Nothing that a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print(table: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
