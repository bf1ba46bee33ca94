"""The `bulk-upload` command. Each command imports what it needs when it runs, so that --help is fast."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jobs.errors import BulkUploadError, SchemaError, SettingsError

if TYPE_CHECKING:
    from jobs.database import Database
    from jobs.settings import Settings

Command = Callable[..., None]


class _Group(click.Group):
    """Prints the message of a BulkUploadError without a traceback. Exit status: 2 for settings and schemas, else 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SettingsError, SchemaError) as error:
            for problem in error.problems:
                click.echo(problem, err=True)
            context.exit(2)
        except BulkUploadError as error:
            click.echo(str(error), err=True)
            context.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="bulk-upload")
def main() -> None:
    """Upload data files through a web page and watch every row land in your database, live.

    Every server option is also an environment variable, for example --port is BULK_UPLOAD_PORT. The option takes
    precedence.
    """
    os.umask(0o077)  # what this program stores may be read by this user only


def _data(command: Command) -> Command:
    path = click.Path(file_okay=False, path_type=Path)
    return click.option("--data", type=path, help="Folder for files, database and Redis.  [default: data]")(command)


def _address(command: Command) -> Command:
    options = [
        click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
        click.option("--port", type=int, help="Port to listen on; 0 picks a free port.  [default: 8000]"),
        click.option(
            "--open",
            is_flag=True,
            default=None,
            help="Allow other machines to connect while there is no account: anyone who can connect can do everything.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_lifeline = click.option("--lifeline", is_flag=True, hidden=True, help="Exit when the pipe on stdin is closed.")


@main.command()
@_data
@_address
@click.option("--workers", type=int, help="Number of workers for all files to start.  [default: 2]")
@click.option("--quick-workers", type=int, help="Number of workers for small files to start on top.  [default: 1]")
def serve(**flags: object) -> None:
    """Run everything: the web process, the workers and, unless REDIS_URL is set, a private Redis."""
    from jobs.settings import Settings
    from webapp import logs
    from webapp.supervisor import serve as supervisor

    settings = Settings.load(**flags)
    logs.configure(settings, "serve")
    supervisor.run(settings)


@main.command()
@_data
@_address
@_lifeline
@click.option("--fd", type=int, hidden=True, help="File descriptor of an inherited listening socket.")
def web(fd: int | None, lifeline: bool, **flags: object) -> None:
    """Run one web process. Start Redis and the workers separately."""
    from jobs.settings import Settings
    from webapp import logs
    from webapp.supervisor import lifeline as lifeline_
    from webapp.supervisor import listener

    settings = Settings.load(**flags)
    logs.configure(settings, "web")
    if lifeline:
        lifeline_.watch()
    else:
        listener.check_host(settings)
        with _database(settings) as database:
            listener.check_access(settings, lambda: _has_account(database))

    from webapp.server import process

    process.run(settings, fd)


@main.command()
@_data
@_lifeline
@click.option("--lane", type=click.Choice(["quick", "bulk", "all"]), default="all", show_default=True,
              help="Which uploads to take: small files, large files, or both, small ones first.")  # fmt: skip
def worker(lifeline: bool, lane: Literal["quick", "bulk", "all"], **flags: object) -> None:
    """Run one worker. It imports one upload at a time."""
    from jobs.settings import Settings
    from webapp import logs
    from webapp.supervisor import lifeline as lifeline_

    settings = Settings.load(**flags)
    logs.configure(settings, "worker")
    if lifeline:
        lifeline_.watch()
    else:
        _prepare(settings)

    from jobs.worker import work

    work(settings, lane)


@main.command()
@_data
@_lifeline
def migrate(lifeline: bool, **flags: object) -> None:
    """Migrate the database to the latest schema. Safe to run again."""
    from jobs.settings import Settings
    from webapp import logs
    from webapp.supervisor import lifeline as lifeline_

    settings = Settings.load(**flags)
    logs.configure(settings, "migrate")
    if lifeline:
        lifeline_.watch()
    _prepare(settings)


@main.command("has-account", hidden=True)
@_data
@_lifeline
def has_account(lifeline: bool, **flags: object) -> None:
    """Exit with 0 if the database has an account, else with 1."""
    from jobs.settings import Settings
    from webapp.supervisor import lifeline as lifeline_

    settings = Settings.load(**flags)
    if lifeline:
        lifeline_.watch()
    with _database(settings) as database:
        sys.exit(0 if _has_account(database) else 1)


@main.command("set-up-link", hidden=True)
@_data
@_lifeline
def print_set_up_link(lifeline: bool, **flags: object) -> None:
    """Print the secret of a new set-up link, if one is wanted. For the supervisor, which opens no database."""
    from jobs.settings import Settings
    from webapp.supervisor import lifeline as lifeline_
    from webapp.supervisor import set_up_link

    if lifeline:
        lifeline_.watch()
    click.echo(set_up_link.make(Settings.load(**flags)) or "", nl=False)


@main.command()
@click.argument("upload_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@_data
def retry(upload_id: int, **flags: object) -> None:
    """Retry a failed or cancelled upload. Its import continues where it stopped."""
    from jobs import lineage
    from jobs.changes import Changes
    from jobs.settings import Settings
    from jobs.upload_log import By, Via

    settings, by = Settings.load(**flags), By(Via.COMMAND)
    with _database(settings) as database, Changes.opened(settings, database) as changes:
        upload = changes.make_several(lambda connection: lineage.retry(connection, upload_id, by=by))
    state = "waiting for its external script" if upload.is_external else "queued"
    click.echo(f"Upload #{upload.id} ({upload.filename}) is {state} again.")


@main.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--dataset", metavar="NAME", default="", help="Dataset for the rows.  [default: named after the file]")
@click.option(
    "--review",
    type=click.Choice(["never", "auto", "always"]),
    help="Whether a person looks at a file before its import: if there is something to ask (auto), or always."
    "  [default: that of the dataset, else never]",
)
@click.option("--url", help="Address of the server.  [default: http://127.0.0.1:8000]")
@click.pass_context
def load(context: click.Context, files: tuple[Path, ...], dataset: str, review: str | None, url: str | None) -> None:
    """Upload files to a running server and follow each import to its end.

    Exit status: 0 if all rows of all files were imported, 1 if some were not, 2 if a file could not be sent, 3 if one
    waits for a review.
    """
    from jobs.settings import Settings
    from webapp.client import load as client
    from webapp.client import remote

    context.exit(client.run(files, dataset, remote.server_url(url, Settings.load), review=review or ""))


@main.command()
@click.argument("upload_id", metavar="[ID]", required=False, type=click.IntRange(1, 2**63 - 1))
@click.option("--url", help="Address of the server.  [default: http://127.0.0.1:8000]")
@click.pass_context
def watch(context: click.Context, upload_id: int | None, url: str | None) -> None:
    """Print each change of a running server's uploads as a line; with an ID, follow that upload to its end.

    The command reconnects when the connection is lost. Exit status with an ID: 0 if all rows were imported; 1 if the
    upload failed, was cancelled or has failed rows; 2 if the upload does not exist or no server responds.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import watch as client

    context.exit(client.run(upload_id, remote.server_url(url, Settings.load)))


@main.group()
def dataset() -> None:
    """Declare datasets with a Table Schema, list them, and show their schemas."""


@dataset.command()
@click.argument("name")
@click.argument("schema", metavar="SCHEMA.json", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--mode", type=click.Choice(["insert", "upsert"]), default="insert", show_default=True,
              help="What to do with a row whose key already exists: reject it, or replace the old row.")  # fmt: skip
@click.option("--review", type=click.Choice(["never", "auto", "always"]),
              help="Whether a person looks at its uploads first.  [default: auto in the form, else never]")  # fmt: skip
@_data
def add(name: str, schema: str, mode: str, review: str | None, **flags: object) -> None:
    """Declare a dataset. Use - to read its schema from stdin."""
    from jobs.datasets import Mode
    from jobs.settings import Settings
    from webapp import dataset_commands

    parsed = dataset_commands.read(schema)
    with _database(Settings.load(**flags)) as database:
        dataset_commands.add(database, name, parsed, Mode(mode), review)


@dataset.command("list")
@_data
def list_(**flags: object) -> None:
    """List all datasets with their mode and their numbers of rows and columns."""
    from jobs.settings import Settings
    from webapp import dataset_commands

    with _database(Settings.load(**flags)) as database:
        dataset_commands.show_all(database)


@dataset.command()
@click.argument("name")
@_data
def show(name: str, **flags: object) -> None:
    """Print the schema of a dataset, in the format that `add` reads."""
    from jobs.settings import Settings
    from webapp import dataset_commands

    with _database(Settings.load(**flags)) as database:
        dataset_commands.show(database, name)


_scope = click.Choice(["read", "upload", "notify", "admin"])
_role = click.Choice(["viewer", "uploader", "admin"])
_password = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of stdin.")


@main.group()
def user() -> None:
    """Add people, list them, and change what they may do. The server may run meanwhile."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=_role, required=True, help="viewer sees, uploader uploads too, admin does everything.")
@_password
@click.option("--url", help="Address of the server, for the link.  [default: http://127.0.0.1:8000]")
@_data
def add_user(name: str, role: str, password_stdin: bool, url: str | None, **flags: object) -> None:
    """Add an account. Without --password-stdin, print a link with which the person chooses a password."""
    from jobs.people.roles import Role
    from jobs.settings import Settings
    from webapp import people_commands
    from webapp.client import remote

    password = people_commands.read_password() if password_stdin else None
    settings = Settings.load(**flags)
    server = "" if password_stdin else str(remote.server_url(url, lambda: settings)).rstrip("/")
    with _database(settings) as database:
        people_commands.add_user(database, name, Role(role), password, server)


@user.command("list")
@_data
def list_users(**flags: object) -> None:
    """List all accounts with their role and when they were used last."""
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.show_users(database)


@user.command("role")
@click.argument("name")
@click.argument("role", type=_role)
@_data
def change_role(name: str, role: str, **flags: object) -> None:
    """Give an account another role."""
    from jobs.people.roles import Role
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_role(database, name, Role(role))


@user.command("disable")
@click.argument("name")
@_data
def disable_user(name: str, **flags: object) -> None:
    """Sign an account out everywhere, and refuse it and its tokens."""
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_disabled(database, name, True)


@user.command("enable")
@click.argument("name")
@_data
def enable_user(name: str, **flags: object) -> None:
    """Let a disabled account sign in again."""
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_disabled(database, name, False)


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from the first line of stdin.")
@_data
def change_password(name: str, password_stdin: bool, **flags: object) -> None:
    """Set the password of an account, and end its sessions."""
    from jobs.settings import Settings
    from webapp import people_commands

    password = people_commands.read_password()
    with _database(Settings.load(**flags)) as database:
        people_commands.set_password(database, name, password)


@main.group()
def token() -> None:
    """Make API tokens for accounts, list them, and revoke them."""


@token.command("add")
@click.argument("user")
@click.option("--name", required=True, help="What uses it.")
@click.option(
    "--scope", "scopes", type=_scope, multiple=True, required=True, help="What it may be used for; repeatable."
)
@click.option("--dataset", help="The only dataset that exists for it.  [default: all that USER sees]")
@click.option("--expires", help="Day or time from which it is refused, such as 2026-12-31.  [default: never]")
@_data
def add_token(
    user: str, name: str, scopes: tuple[str, ...], dataset: str | None, expires: str | None, **flags: object
) -> None:
    """Make a token that acts for USER, and print it on stdout."""
    from jobs.people.roles import Scope
    from jobs.settings import Settings
    from webapp import people_commands

    moment = people_commands.parse_expiry(expires)
    with _database(Settings.load(**flags)) as database:
        people_commands.add_token(database, user, name, [Scope(each) for each in scopes], dataset, moment)


@token.command("list")
@click.argument("user", required=False)
@_data
def list_tokens(user: str | None, **flags: object) -> None:
    """List the tokens of USER, or of everybody."""
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.show_tokens(database, user)


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@_data
def revoke_token(token_id: int, **flags: object) -> None:
    """Refuse a token from now on."""
    from jobs.settings import Settings
    from webapp import people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.revoke_token(database, token_id)


@main.command()
@click.option("--actor", help="Only what this account did.")
@click.option("--action", help="Only this action, such as sign_in.")
@click.option("--object", "object_", metavar="OBJECT", help="Only what was done to this, such as `upload 7`.")
@click.option("--result", type=click.Choice(["ok", "refused"]))
@click.option("--since", help="A day, a time, or an age such as 7d.")
@click.option("--until", help="A day, a time, or an age such as 24h.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Number of entries.")
@_data
def audit(
    actor: str | None,
    action: str | None,
    object_: str | None,
    result: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    **flags: object,
) -> None:
    """Print the audit log: who did what, or was refused, the newest first.

    The parts of a line are separated by tabs: time, account, via, address, action, object, result, detail.
    """
    from jobs.people.audit import AuditQuery
    from jobs.settings import Settings
    from webapp import moments, people_commands

    given = {name: value for name, value in {"since": since, "until": until}.items() if value}
    found = {name: moments.parse(given, name) for name in given}
    query = AuditQuery(
        actor,
        action,
        object_,
        result,
        moments.beginning(found["since"]) if since else None,
        moments.end(found["until"]) if until else None,
    )
    with _database(Settings.load(**flags)) as database:
        people_commands.show_audit(database, query, limit)


@contextmanager
def _database(settings: "Settings") -> Iterator["Database"]:
    """The database of the settings, migrated to the latest schema."""
    from jobs.database import Database

    _prepare(settings)
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.close()


def _has_account(database: "Database") -> bool:
    from jobs.people import accounts

    with database.reading() as connection:
        return accounts.exist(connection)


def _prepare(settings: "Settings") -> None:
    """Create the data folder and migrate the database. Several processes may do so at once; `serve` has done it."""
    from importlib.util import find_spec

    from sqlalchemy.exc import OperationalError

    from jobs import database
    from webapp.errors import CannotStartError
    from webapp.supervisor import banner, data_folder

    if settings.database.startswith("postgresql") and find_spec("psycopg") is None:
        raise CannotStartError(
            "DATABASE_URL names a PostgreSQL database, but its driver, psycopg, is not installed. "
            "Install it with: pip install 'bulk-upload[postgres]'"
        )
    data_folder.prepare(settings.data)
    try:
        database.migrate(settings)
    except OperationalError as error:
        raise CannotStartError(f"The database ({banner.database(settings)}) cannot be used: {error.orig}") from error


if __name__ == "__main__":
    main()
