"""The commands `bulk-upload dataset add`, `list` and `show`."""

import json
from collections.abc import Sequence
from typing import Any

import click

from jobs import datasets
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.dataset_admin import changes as dataset_changes
from jobs.datasets import Dataset, Mode
from jobs.errors import InvalidDatasetNameError, SchemaError
from jobs.schema import TableSchema
from webapp.commands.people import actor

#: Bytes of a file with a schema: more than the longest schema has, with all its characters escaped.
MAX_BYTES = 32 << 20


def add(database: Database, name: str, schema: TableSchema, mode: Mode, review: str | None = None) -> None:
    """review: whether a person looks at its uploads first (uploads.Review).

    Raises SchemaError, DatasetExistsError, and click's BadParameter for a name that no dataset can have.
    """
    try:
        with database.transaction() as connection:
            dataset = dataset_changes.declare(connection, actor(), name, schema, mode, review)
    except InvalidDatasetNameError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    what = f"upsert on {', '.join(schema.primary_key)}" if mode is Mode.UPSERT else mode
    click.echo(f"Added the dataset “{dataset.name}”: {_columns(dataset)}, {what}.")


def show_all(database: Database) -> None:
    """Print a line per dataset: name, mode, rows, columns."""
    with database.reading() as connection:
        found = catalogue.entries(connection)
    if not found:
        click.echo("No datasets yet.")
        return
    lines = [(each.name, str(each.mode), f"{each.rows:,}", f"{each.columns:,}") for each in found]
    for line in _aligned([("NAME", "MODE", "ROWS", "COLUMNS"), *lines]):
        click.echo(line)


def show(database: Database, name: str) -> None:
    """Print the schema on stdout as `add` reads it, and mode and row count on stderr. Raises DatasetNotFoundError."""
    with database.reading() as connection:
        dataset = datasets.get(connection, name)
        rows = datasets.row_count(connection, dataset)
    click.echo(f"# {name}: mode {dataset.mode}, {rows:,} {'row' if rows == 1 else 'rows'}", err=True)
    click.echo(json.dumps(dataset.schema.as_json(), ensure_ascii=False, indent=2))


def read(path: str) -> TableSchema:
    """The schema in a file, or on stdin if the path is "-". Raises SchemaError, and click's FileError."""
    try:
        with click.open_file(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.FileError(path, error.strerror) from error
    source = "stdin" if path == "-" else click.format_filename(path, shorten=True)
    if len(content) > MAX_BYTES:
        raise SchemaError([f"{source} has more than {MAX_BYTES:,} bytes, the limit for a schema."])
    return TableSchema.parse(_json(content, source))


def _json(content: bytes, source: str) -> Any:
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise SchemaError([f"{source} is not JSON: line {error.lineno}, column {error.colno}: {what}."]) from error
    except UnicodeDecodeError as error:
        raise SchemaError(
            [f"{source} is not JSON: byte {error.start + 1:,} is not valid {error.encoding.upper()}."]
        ) from error
    except RecursionError as error:
        raise SchemaError([f"{source} is nested too deeply."]) from error
    except ValueError as error:  # more digits than Python converts
        raise SchemaError([f"{source} contains a number with too many digits."]) from error


def _columns(dataset: Dataset) -> str:
    count = len(dataset.schema.fields)
    return f"{count:,} {'column' if count == 1 else 'columns'}"


def _aligned(table: Sequence[tuple[str, str, str, str]]) -> list[str]:
    """Lines of a table whose last two columns are numbers."""
    name, mode, rows, columns = (max(map(len, column)) for column in zip(*table, strict=True))
    return [f"{a:<{name}}  {b:<{mode}}  {c:>{rows}}  {d:>{columns}}" for a, b, c, d in table]
