"""The migrations from an empty database to the latest schema, on both databases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from jobs import migrations, tables, uploads
from jobs.database import Database, migrate
from jobs.files import StoredFile
from jobs.history_query import HistoryQuery
from jobs.settings import Settings
from jobs.uploads import Processor, Status

HISTORY = ScriptDirectory(str(Path(str(migrations.__file__)).parent))


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Opened as in web processes: comparing schemas needs queries that the ADBC driver does not support."""
    database = Database(settings.database)
    yield database
    database.close()


def is_made(dialect: sa.Dialect, thing: object, *_: object) -> bool:
    """Whether a table, or a part of one, is for this database: some are for one of them only."""
    condition = getattr(thing, "_ddl_if", None)
    return condition is None or condition.dialect == dialect.name


def test_the_migrations_are_linear() -> None:
    assert len(HISTORY.get_heads()) == 1
    assert len(HISTORY.get_bases()) == 1


@pytest.mark.filterwarnings("ignore:Computed default on uploads.outcome")  # PostgreSQL spells the expression otherwise
def test_the_migrations_create_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.reading() as connection:
        options = {"compare_server_default": True, "include_object": partial(is_made, connection.dialect)}
        context = MigrationContext.configure(connection, opts=options)

        assert compare_metadata(context, tables.metadata) == []
        assert HISTORY.get_heads() == list(context.get_current_heads())


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=lambda table: str(table.name))
def test_primary_and_foreign_keys_are_those_of_the_code(database: Database, table: sa.Table) -> None:
    with database.reading() as connection:
        found = sa.inspect(connection)
        key = found.get_pk_constraint(table.name)["constrained_columns"]
        foreign = {
            (*each["constrained_columns"], each["referred_table"], *each["referred_columns"])
            for each in found.get_foreign_keys(table.name)
        }

    assert [column.name for column in table.primary_key] == key
    made = [each for each in table.foreign_keys if is_made(database.engine.dialect, each.constraint)]
    assert {(each.parent.name, each.column.table.name, each.column.name) for each in made} == foreign


def test_migrating_again_changes_nothing(settings: Settings, database: Database) -> None:
    with database.transaction() as connection:
        upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))
    migrate(settings)
    with database.reading() as connection:
        found = uploads.get(connection, upload.id)

    assert upload == found


def test_the_schema_of_a_newer_release_stays_as_it_is(
    settings: Settings, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(sa.text("ALTER TABLE uploads ADD COLUMN of_a_newer_release TEXT"))
    migrate(settings)
    with database.transaction() as connection:
        upload = uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"))
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"

    assert upload.status is Status.PENDING
    assert "The database has the schema 9999 of a newer release, with which this one works too." in caplog.messages


#: An upload as the first release recorded it.
OLD_UPLOAD = """
INSERT INTO uploads (
    id, seq, attempt, barren_attempts, status, filename, dataset_wanted, reading, stored_as, size, sha256, next_byte,
    rows_processed, rows_success, rows_failed, notes, counting_from, created_at, updated_at
) VALUES (
    7, 3, 1, 1, 'failed', 'june.csv', '', '{}', '00ff', 8, 'beef', 0, 0, 0, 0, '[]', 0, '2026-01-31', '2026-01-31'
)
"""


def at(settings: Settings, revision: str) -> Database:
    """A database at the schema of an earlier release."""
    database = Database(settings.database)
    config = Config()
    config.set_main_option("script_location", HISTORY.dir)
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return database


def test_uploads_of_a_release_without_external_uploads_belong_to_workers(
    tmp_path: Path, empty_database_url: str
) -> None:
    settings = Settings.load(data=tmp_path / "data", database_url=empty_database_url)
    database = at(settings, "0001")
    with database.transaction() as connection:
        connection.execute(sa.text(OLD_UPLOAD))
    migrate(settings)
    with database.reading() as connection:
        found = uploads.get(connection, 7)
    database.close()

    assert (found.processor, found.status) == (Processor.WORKER, Status.FAILED)
    assert (found.progress_reported, found.silent_since) == (None, None)


def test_uploads_of_a_release_without_a_folded_search_are_found(
    tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(data=tmp_path / "data", database_url=empty_database_url)
    database = at(settings, "0002")
    with database.transaction() as connection:
        old = sa.text(OLD_UPLOAD.replace("7, 3,", ":id, 3,").replace("'june.csv'", ":name"))
        connection.execute(old, [{"id": number, "name": f"Ärger {number}.csv"} for number in range(1, 8)])
        connection.execute(sa.text("UPDATE uploads SET dataset = 'sales' WHERE id = 7"))
    monkeypatch.setattr("jobs.migrations.versions.0003_search_text.BATCH", 3)
    migrate(settings)
    with database.reading() as connection:
        by_name = uploads.page(connection, HistoryQuery("ÄRGER"), limit=9).items
        by_dataset = uploads.page(connection, HistoryQuery("Sales"), limit=9).items
    database.close()

    assert [upload.id for upload in by_name] == [7, 6, 5, 4, 3, 2, 1]
    assert [upload.id for upload in by_dataset] == [7]


def test_the_rows_of_datasets_of_a_release_that_did_not_keep_their_number_are_counted(
    tmp_path: Path, empty_database_url: str
) -> None:
    settings = Settings.load(data=tmp_path / "data", database_url=empty_database_url)
    database = at(settings, "0010")
    with database.transaction() as connection:
        for name, schema in [("sales", '{"fields": [{"name": "id"}], "title": "Ärger"}'), ("empty", '{"fields": []}')]:
            values = f"('{name}', '{schema}', 'insert', '2026-01-31')"
            connection.execute(sa.text(f"INSERT INTO datasets (name, schema, mode, created_at) VALUES {values}"))
            connection.execute(sa.text(f"CREATE TABLE data_{name} (id TEXT)"))
        connection.execute(sa.text("INSERT INTO data_sales VALUES ('a'), ('b')"))
    migrate(settings)
    with database.reading() as connection:
        found = connection.execute(sa.text("SELECT name, rows, search_text FROM datasets ORDER BY name")).all()
    database.close()

    assert [tuple(row) for row in found] == [("empty", 0, ""), ("sales", 2, "ärger")]


def test_several_processes_may_migrate_at_once(tmp_path: Path, empty_database_url: str) -> None:
    settings = Settings.load(data=tmp_path / "data", database_url=empty_database_url)
    words = [sys.executable, "-c", "from jobs.database import Settings, migrate; migrate(Settings.load())"]
    environment = {**os.environ, **settings.environment()}
    processes = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE) for _ in range(3)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    database = Database(settings.database)
    with database.reading() as connection:
        tables_made = set(sa.inspect(connection).get_table_names())
    database.close()

    assert ends == [(b"", 0)] * 3
    assert {*tables.metadata.tables, "alembic_version"} == tables_made


def test_an_id_is_never_reused(database: Database) -> None:
    file = StoredFile("june.csv", "00ff", 8, "beef")
    with database.transaction() as connection:
        first = uploads.create(connection, file)
        connection.execute(sa.delete(tables.uploads))
        second = uploads.create(connection, file)

    assert first.id < second.id
