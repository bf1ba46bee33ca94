"""The `bulk-upload` command. Each command imports what it needs when it runs, so that --help is fast."""

import os
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
            help="Allow other machines to connect. There is no sign-in: anyone who can connect can do everything.",
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
        _prepare(settings)

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
@click.option("--url", help="Address of the server.  [default: http://127.0.0.1:8000]")
@click.pass_context
def load(context: click.Context, files: tuple[Path, ...], dataset: str, url: str | None) -> None:
    """Upload files to a running server and follow each import to its end.

    Exit status: 0 if all rows of all files were imported, 1 if some were not, 2 if a file could not be sent.
    """
    from jobs.settings import Settings
    from webapp.client import load as client
    from webapp.client import remote

    context.exit(client.run(files, dataset, remote.server_url(url, Settings.load)))


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
@_data
def add(name: str, schema: str, mode: str, **flags: object) -> None:
    """Declare a dataset. Use - to read its schema from stdin."""
    from jobs.datasets import Mode
    from jobs.settings import Settings
    from webapp import dataset_commands

    parsed = dataset_commands.read(schema)
    with _database(Settings.load(**flags)) as database:
        dataset_commands.add(database, name, parsed, Mode(mode))


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
