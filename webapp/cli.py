"""The `bulk-upload` command. What a command needs is imported when it runs, so that --help answers at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobs.errors import BulkUploadError, SchemaError, SettingsError

if TYPE_CHECKING:
    from jobs.database import Database
    from jobs.settings import Settings

Command = Callable[..., None]


class _Group(click.Group):
    """Ends with the sentence of an error of ours, not with a traceback: 2 for settings and schemas, 1 for the rest."""

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

    What a server is told by an option can also be set in the environment: --port as BULK_UPLOAD_PORT. The option wins.
    """


def _data(command: Command) -> Command:
    path = click.Path(file_okay=False, path_type=Path)
    return click.option("--data", type=path, help="Folder that holds all state.  [default: data]")(command)


def _address(command: Command) -> Command:
    options = [
        click.option("--host", help="Address to listen on.  [default: 127.0.0.1]"),
        click.option("--port", type=int, help="Port to listen on; 0 takes a free one.  [default: 8000]"),
        click.option(
            "--open",
            is_flag=True,
            default=None,
            help="Listen beyond this machine although nobody signs in: whoever reaches it may do everything.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


_lifeline = click.option("--lifeline", is_flag=True, hidden=True, help="End when stdin, a pipe, is closed.")


@main.command()
@_data
@_address
@click.option("--workers", type=int, help="Workers to start.  [default: 2]")
def serve(**flags: object) -> None:
    """Run everything: the web page, the workers and, unless REDIS_URL names one, a private Redis."""
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
@click.option("--fd", type=int, hidden=True, help="A listening socket that was inherited.")
def web(fd: int | None, lifeline: bool, **flags: object) -> None:
    """Run one web process, beside workers and a Redis that run already."""
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
def worker(lifeline: bool, **flags: object) -> None:
    """Run one worker, which imports one upload after the other."""
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

    work(settings)


@main.command()
@_data
@_lifeline
def migrate(lifeline: bool, **flags: object) -> None:
    """Bring the database to the newest schema; safe to repeat."""
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
    """Import an upload that failed or was cancelled again, from where it stopped."""
    from jobs import uploads
    from jobs.changes import Changes
    from jobs.settings import Settings

    settings = Settings.load(**flags)
    with _database(settings) as database, Changes.opened(settings, database) as changes:
        upload = changes.make(lambda connection: uploads.retry(connection, upload_id))
    whom = "reports of its script" if upload.is_external else "a worker"
    click.echo(f"Upload #{upload.id} ({upload.filename}) waits for {whom} again.")


@main.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--dataset", metavar="NAME", default="", help="Dataset for the rows.  [default: one after the file]")
@click.option("--url", help="Where the server is.  [default: http://127.0.0.1:8000]")
@click.pass_context
def load(context: click.Context, files: tuple[Path, ...], dataset: str, url: str | None) -> None:
    """Upload files to a running server, and watch each until every row is in.

    The exit status is 0 when every row of every file is in, 1 when some are not, 2 when a file could not be sent.
    """
    from jobs.settings import Settings
    from webapp.client import load as client
    from webapp.client import remote

    context.exit(client.run(files, dataset, remote.server_of(url, Settings.load)))


@main.command()
@click.argument("upload_id", metavar="[ID]", required=False, type=click.IntRange(1, 2**63 - 1))
@click.option("--url", help="Where the server is.  [default: http://127.0.0.1:8000]")
@click.pass_context
def watch(context: click.Context, upload_id: int | None, url: str | None) -> None:
    """Print what a running server says of its uploads, a line a change; or of one upload, until its end.

    It comes back by itself when the connection breaks. With an ID the exit status is 0 when every row of the upload is
    in, 1 when it failed, was cancelled or has rows that failed; 2 when there is no such upload or no server.
    """
    from jobs.settings import Settings
    from webapp.client import remote
    from webapp.client import watch as client

    context.exit(client.run(upload_id, remote.server_of(url, Settings.load)))


@main.group()
def dataset() -> None:
    """Declare the shape of rows, as a Table Schema, before any file comes."""


@dataset.command()
@click.argument("name")
@click.argument("schema", metavar="SCHEMA.json", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--mode", type=click.Choice(["insert", "upsert"]), default="insert", show_default=True,
              help="Whether a row whose key is there already fails, or replaces it.")  # fmt: skip
@_data
def add(name: str, schema: str, mode: str, **flags: object) -> None:
    """Declare a dataset; - reads its schema from stdin."""
    from jobs.datasets import Mode
    from jobs.settings import Settings
    from webapp import dataset_commands

    parsed = dataset_commands.read(schema)
    with _database(Settings.load(**flags)) as database:
        dataset_commands.add(database, name, parsed, Mode(mode))


@dataset.command("list")
@_data
def list_(**flags: object) -> None:
    """Name every dataset, with its mode, its rows and its columns."""
    from jobs.settings import Settings
    from webapp import dataset_commands

    with _database(Settings.load(**flags)) as database:
        dataset_commands.show_all(database)


@dataset.command()
@click.argument("name")
@_data
def show(name: str, **flags: object) -> None:
    """Print a dataset's schema, as `add` takes it."""
    from jobs.settings import Settings
    from webapp import dataset_commands

    with _database(Settings.load(**flags)) as database:
        dataset_commands.show(database, name)


@contextmanager
def _database(settings: "Settings") -> Iterator["Database"]:
    """The database of the settings, with the newest schema."""
    from jobs.database import Database

    _prepare(settings)
    database = Database(settings.database)
    try:
        yield database
    finally:
        database.close()


def _prepare(settings: "Settings") -> None:
    """Make the data folder and the newest schema, which several processes may do at once; `serve` did it already."""
    from importlib.util import find_spec

    from sqlalchemy.exc import OperationalError

    from jobs import database
    from webapp.errors import CannotStartError
    from webapp.supervisor import banner, data_folder

    if settings.database.startswith("postgresql") and find_spec("psycopg") is None:
        raise CannotStartError(
            "DATABASE_URL names a PostgreSQL database, but psycopg, the driver for it, is not installed. "
            "Install it with: pip install 'bulk-upload[postgres]'"
        )
    data_folder.prepare(settings.data)
    try:
        database.migrate(settings)
    except OperationalError as error:
        raise CannotStartError(f"The database ({banner.database(settings)}) cannot be used: {error.orig}") from error


if __name__ == "__main__":
    main()
