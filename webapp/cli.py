"""The `bulk-upload` command. Each command imports what it needs when it runs, so that --help is fast."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from jobs import secret_files
from jobs.errors import BulkUploadError, SchemaError, SettingsError

if TYPE_CHECKING:
    from jobs.database import Database
    from jobs.settings import Settings

Command = Callable[..., None]

#: Commands whose output is the log of a server.
SERVERS = frozenset({"serve", "web", "worker", "migrate"})


class _Group(click.Group):
    """Prints the message of a BulkUploadError without a traceback. Exit status: 2 for settings and schemas, else 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (SettingsError, SchemaError) as error:
            for problem in error.problems:
                _complain(context, problem)
            context.exit(2)
        except BulkUploadError as error:
            _complain(context, str(error))
            context.exit(1)


def _complain(context: click.Context, sentence: str) -> None:
    """Print why a command cannot do what it should. The log of a server may have to be JSON."""
    from webapp import logs

    if context.invoked_subcommand in SERVERS and logs.is_json():
        logs.refuse(sentence, str(context.invoked_subcommand))
    else:
        click.echo(sentence, err=True)


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


def _server(command: Command) -> Command:
    """What finds a running server, and is let in."""
    options = [
        click.option("--url", help="Address of the server.  [default: http://127.0.0.1:8000]"),
        click.option(
            "--token",
            envvar="BULK_UPLOAD_TOKEN",
            default=lambda: secret_files.read("BULK_UPLOAD_TOKEN"),
            help="API token, if the server has accounts.  [env: BULK_UPLOAD_TOKEN, or BULK_UPLOAD_TOKEN_FILE]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


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
@click.option("--check", is_flag=True, help="Run none: exit with 0 if one of this machine is alive, else with 1.")
def worker(lifeline: bool, lane: Literal["quick", "bulk", "all"], check: bool, **flags: object) -> None:
    """Run one worker. It imports one upload at a time."""
    from jobs.settings import Settings
    from webapp import logs
    from webapp.supervisor import lifeline as lifeline_

    settings = Settings.load(**flags)
    if check:
        sys.exit(0 if _has_worker(settings) else 1)
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


@main.command()
@_data
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects with check, status and detail.")
@click.option("--token", envvar="BULK_UPLOAD_TOKEN", default=lambda: secret_files.read("BULK_UPLOAD_TOKEN"),
              help="API token of scope read, to look through the proxy.  [env: BULK_UPLOAD_TOKEN]")  # fmt: skip
@click.pass_context
def doctor(context: click.Context, /, as_json: bool, token: str | None, **flags: object) -> None:
    """Check everything that the server needs, and say what to mend. It changes nothing.

    Exit status: 0 if all is well, 1 if there is a warning, 2 if a check failed.
    """
    from jobs.settings import Settings
    from webapp.doctor import examination

    context.exit(examination.run(lambda: Settings.load(**flags), token, as_json=as_json))


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
    "--mode",
    type=click.Choice(["insert", "upsert", "only_new", "replace"]),
    help="What a row does whose key exists: it fails (insert), replaces the old row (upsert) or changes nothing"
    " (only_new); or the file replaces all rows (replace).  [default: that of the dataset]",
)
@click.option(
    "--review",
    type=click.Choice(["never", "auto", "always"]),
    help="Whether a person looks at a file before its import: if there is something to ask (auto), or always."
    "  [default: that of the dataset, else never]",
)
@click.option(
    "--all-parts", is_flag=True, help="Import every worksheet of a workbook, and every file in an archive, by itself."
)
@click.option("--part", "part", metavar="NAME", multiple=True, help="Import this worksheet or file; may be repeated.")
@click.option("--expect-rows", metavar="N", default="", help="How many rows of each file must be imported.")
@click.option("--expect-sum", metavar="COLUMN=SUM", multiple=True, help="What a column must add up to; repeatable.")
@click.option("--expect-sha256", metavar="SHA256", default="", help="The SHA-256 that the file must have.")
@_server
@click.pass_context
def load(
    context: click.Context,
    files: tuple[Path, ...],
    dataset: str,
    mode: str | None,
    review: str | None,
    all_parts: bool,
    part: tuple[str, ...],
    expect_rows: str,
    expect_sum: tuple[str, ...],
    expect_sha256: str,
    url: str | None,
    token: str | None,
) -> None:
    """Upload files to a running server and follow each import to its end. A large file goes on after a cut; if the
    command ends before, start it again to send the rest.

    Exit status: 0 if all rows of all files were imported, 1 if some were not, or a file does not come to what was
    expected, 2 if a file could not be sent, 3 if one waits for a person.
    """
    from jobs.settings import Settings
    from webapp.client import load as client
    from webapp.client import remote

    if all_parts and part:
        raise click.UsageError("--all-parts and --part exclude each other.")
    wanted = "all" if all_parts else json.dumps(part) if part else ""
    fields = {"dataset": dataset, "mode": mode or "", "review": review or "", "parts": wanted}
    fields |= {"expect_rows": expect_rows, "expect_sha256": expect_sha256}
    for each in expect_sum:
        column, separator, total = each.rpartition("=")
        if not (column.strip() and separator and total.strip()):
            raise click.UsageError(f"--expect-sum {each}: write COLUMN=SUM, such as amount=1204.50.")
        fields[f"expect_sum.{column.strip()}"] = total.strip()
    context.exit(client.run(files, fields, remote.server_at(url, token, Settings.load)))


@main.command()
@click.argument("upload_id", metavar="[ID]", required=False, type=click.IntRange(1, 2**63 - 1))
@_server
@click.pass_context
def watch(context: click.Context, upload_id: int | None, url: str | None, token: str | None) -> None:
    """Print each change of a running server's uploads as a line; with an ID, follow that upload to its end.

    The command reconnects when the connection is lost. Exit status with an ID: 0 if all rows were imported; 1 if the
    upload failed, was cancelled or has failed rows; 2 if the upload does not exist or no server responds.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import watch as client

    context.exit(client.run(upload_id, remote.server_at(url, token, Settings.load)))


@main.command()
@click.argument("upload_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--repairs", is_flag=True, help="Undo the uploads as well that corrected failed rows of it.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do it. Without, the command only says what would happen.")
@_server
@click.pass_context
def undo(
    context: click.Context, upload_id: int, repairs: bool, is_confirmed: bool, url: str | None, token: str | None
) -> None:
    """Undo an upload on a running server: remove the rows that it added, and give those that it replaced their earlier
    values, as far as nothing came later. Without --yes, say how many rows that are.

    Exit status: 0 if all went well; 1 if the undo failed or was stopped; 2 if the server refuses it or does not
    respond.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import undo as client

    server = remote.server_at(url, token, Settings.load)
    context.exit(client.run(upload_id, server, repairs=repairs, is_confirmed=is_confirmed))


@main.command()
@click.argument("upload_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--apply", metavar="SUGGESTION", multiple=True, help="Apply a suggestion. May be repeated.")
@click.option("--replace", metavar="COLUMN FROM TO", nargs=3, multiple=True,
              help="Replace a value of a column wherever it is. May be repeated.")  # fmt: skip
@click.option("--remember", is_flag=True, help="Repair every file of the dataset in this way, by rules.")
@click.option("--import", "edited", is_flag=True, help="Import the edited rows that are right.")
@_server
@click.pass_context
def repair(
    context: click.Context,
    upload_id: int,
    apply: tuple[str, ...],
    replace: tuple[tuple[str, str, str], ...],
    remember: bool,
    edited: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Repair the failed rows of an upload on a running server, and follow the repair to its end. Without an option,
    list why rows failed, and the suggestions that were tried on them.

    Exit status: 0 if all went well; 1 if the repair failed, or some of its rows did; 2 if the server refuses it or does
    not respond.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import repair as client

    server = remote.server_at(url, token, Settings.load)
    status = client.run(upload_id, server, apply=apply, replace=replace, edited=edited, remember=remember)
    context.exit(status)


@main.command()
@click.argument("upload_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@_data
@_server
@click.pass_context
def verify(context: click.Context, upload_id: int, data: "Path | None", url: str | None, token: str | None) -> None:
    """Compare the rows of an upload, as they are now, with its receipt. Reads the database of this machine, or asks a
    running server if --url or --token is given.

    Exit status: 0 if they are as they were imported; 1 if they were changed; 2 if nobody can tell.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import verify as client

    settings = Settings.load(data=data)
    server = remote.server_at(url, token, lambda: settings) if url or token else None
    context.exit(client.run(upload_id, settings, server))


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
    from webapp.commands import datasets as dataset_commands

    parsed = dataset_commands.read(schema)
    with _database(Settings.load(**flags)) as database:
        dataset_commands.add(database, name, parsed, Mode(mode), review)


@dataset.command("list")
@_data
def list_(**flags: object) -> None:
    """List all datasets with their mode and their numbers of rows and columns."""
    from jobs.settings import Settings
    from webapp.commands import datasets as dataset_commands

    with _database(Settings.load(**flags)) as database:
        dataset_commands.show_all(database)


@dataset.command()
@click.argument("name")
@_data
def show(name: str, **flags: object) -> None:
    """Print the schema of a dataset, in the format that `add` reads."""
    from jobs.settings import Settings
    from webapp.commands import datasets as dataset_commands

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
    from webapp.client import remote
    from webapp.commands import people as people_commands

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
    from webapp.commands import people as people_commands

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
    from webapp.commands import people as people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_role(database, name, Role(role))


@user.command("disable")
@click.argument("name")
@_data
def disable_user(name: str, **flags: object) -> None:
    """Sign an account out everywhere, and refuse it and its tokens."""
    from jobs.settings import Settings
    from webapp.commands import people as people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_disabled(database, name, True)


@user.command("enable")
@click.argument("name")
@_data
def enable_user(name: str, **flags: object) -> None:
    """Let a disabled account sign in again."""
    from jobs.settings import Settings
    from webapp.commands import people as people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.set_disabled(database, name, False)


@user.command("password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, required=True, help="Read the password from the first line of stdin.")
@_data
def change_password(name: str, password_stdin: bool, **flags: object) -> None:
    """Set the password of an account, and end its sessions."""
    from jobs.settings import Settings
    from webapp.commands import people as people_commands

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
    from webapp.commands import people as people_commands

    moment = people_commands.parse_expiry(expires)
    with _database(Settings.load(**flags)) as database:
        people_commands.add_token(database, user, name, [Scope(each) for each in scopes], dataset, moment)


@token.command("list")
@click.argument("user", required=False)
@_data
def list_tokens(user: str | None, **flags: object) -> None:
    """List the tokens of USER, or of everybody."""
    from jobs.settings import Settings
    from webapp.commands import people as people_commands

    with _database(Settings.load(**flags)) as database:
        people_commands.show_tokens(database, user)


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@_data
def revoke_token(token_id: int, **flags: object) -> None:
    """Refuse a token from now on."""
    from jobs.settings import Settings
    from webapp.commands import people as people_commands

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
    from webapp import moments
    from webapp.commands import people as people_commands

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


@main.group("store")
def file_store() -> None:
    """Where uploaded files are stored."""


@file_store.command("move")
@click.option(
    "--from", "source", metavar="STORE", help="`file` or s3://bucket/prefix.  [default: BULK_UPLOAD_STORE_BEFORE]"
)
@click.option("--to", "target", metavar="STORE", help="`file` or s3://bucket/prefix.  [default: BULK_UPLOAD_STORE]")
@click.option("--keep", is_flag=True, help="Copy them: remove nothing where they were.")
@_data
def move_files(source: str | None, target: str | None, keep: bool, **flags: object) -> None:
    """Move all uploaded files into the store of the settings, from the one before it.

    Restart the server with its new settings first: it serves files from both. This command may be stopped and run
    again.
    """
    from jobs.settings import Settings
    from webapp.commands import storage as storage_commands

    settings = Settings.load(**flags)
    with _database(settings) as database:
        storage_commands.move(settings, database, source, target, keep=keep)


@main.command("backup")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--objects", is_flag=True, help="Copy the files in a bucket too; else they are only listed.")
@_data
def make_backup(folder: Path, objects: bool, **flags: object) -> None:
    """Write database and files into FOLDER, which must be new or empty. The server may run.

    Sessions are left out. Accounts and tokens are in it, so keep it safe.
    """
    from jobs.settings import Settings
    from webapp.commands import storage as storage_commands

    storage_commands.backup(Settings.load(**flags), folder, objects=objects)


@main.command("restore")
@click.argument("folder", type=click.Path(path_type=Path))
@_data
def restore_backup(folder: Path, **flags: object) -> None:
    """Put the backup in FOLDER into an empty data folder and an empty database."""
    from jobs.settings import Settings
    from webapp.commands import storage as storage_commands

    storage_commands.restore(Settings.load(**flags), folder)


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


def _has_worker(settings: "Settings") -> bool:
    """Whether a worker of this machine had a heartbeat lately."""
    import socket

    from redis import RedisError

    from jobs.queue import UploadQueue

    queue = UploadQueue(settings.redis)
    try:
        return queue.has_worker(socket.gethostname())
    except RedisError as error:
        click.echo(f"Redis does not answer: {error}", err=True)
        return False
    finally:
        queue.close()


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
