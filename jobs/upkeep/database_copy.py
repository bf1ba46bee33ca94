"""A copy of the database in a folder: SQLite's own by its backup API, PostgreSQL's by pg_dump.

Sessions are left out: whoever has the copy must not be signed in as somebody. Files that were arriving when the copy
was taken are not in a backup, so they are gone for whoever sends them, who begins anew.
"""

import os
import shutil
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from jobs import database as databases
from jobs.database import Database, utc_now
from jobs.errors import BackupError
from jobs.settings import Settings
from jobs.tables import incoming_files, incoming_parts, sessions


class DatabaseCopy(ABC):
    kind: str

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder

    @staticmethod
    def of(settings: Settings, folder: Path) -> "DatabaseCopy":
        return (_SqliteCopy if settings.sqlite_folder is not None else _PostgresqlCopy)(settings, folder)

    @abstractmethod
    def taken(self, database: Database) -> AbstractContextManager[sa.Connection]:
        """Take a copy, in place of one that was taken before. Inside the block, its content can be read."""

    def require_database(self) -> None:
        """Raises BackupError if there is none to copy."""
        try:
            self._require_database()
        except sa.exc.OperationalError as error:
            raise BackupError(f"The database cannot be read: {error.orig}") from error

    def _require_database(self) -> None:
        database = Database(self._settings.database)
        try:
            with database.reading() as connection:
                if not sa.inspect(connection).has_table("uploads"):
                    raise BackupError("The database that the settings name is empty: there is nothing to back up.")
        finally:
            database.close()

    @abstractmethod
    def require_empty(self) -> None:
        """Raises BackupError if there is anything where the copy would be restored."""

    @abstractmethod
    def _put_back(self) -> None:
        """Raises BackupError."""

    def restore(self) -> None:
        """Put the copy where the settings say, and bring it to the latest schema. Raises BackupError."""
        self._put_back()
        databases.migrate(self._settings)
        database = Database(self._settings.database)
        try:
            with database.transaction() as connection:
                is_arriving = incoming_files.c.upload_id.is_(None) & incoming_files.c.ended_at.is_(None)
                connection.execute(sa.delete(incoming_parts))
                connection.execute(sa.update(incoming_files).where(is_arriving).values(ended_at=utc_now(), metadata=""))
        finally:
            database.close()


class _SqliteCopy(DatabaseCopy):
    kind = "sqlite"

    @property
    def _path(self) -> Path:
        return self._folder / "database.sqlite"

    @property
    def _place(self) -> Path:
        return Path(self._settings.database.partition(":///")[2])

    @contextmanager
    def taken(self, database: Database) -> Iterator[sa.Connection]:
        self._path.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._path, isolation_level=None)) as copy:
            with database.reading() as connection:  # all pages in one step: writers do not wait for it
                connection.connection.driver_connection.backup(copy)  # type: ignore[union-attr]  # sqlite3's
            copy.execute("PRAGMA journal_mode = DELETE")
            copy.execute("PRAGMA secure_delete = ON")
            copy.execute(f"DELETE FROM {sessions.name}")
            if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise BackupError("The database is damaged: SQLite's quick_check fails.")
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        engine = sa.create_engine(f"sqlite:///{self._path}", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            yield connection

    def _require_database(self) -> None:
        if not self._place.exists():
            raise BackupError(f"There is no database at {self._place}. Name its folder with --data.")
        super()._require_database()

    def require_empty(self) -> None:
        if self._place.exists():
            raise BackupError(f"{self._place} exists. Restore where there is no database.")

    def _put_back(self) -> None:
        self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._place.with_name(f"{self._place.name}.part")
        try:
            shutil.copyfile(self._path, part)
            part.rename(self._place)
        except OSError as error:
            raise BackupError(f"The database was not restored: {error}.") from error


class _PostgresqlCopy(DatabaseCopy):
    kind = "postgresql"

    @property
    def _path(self) -> Path:
        return self._folder / "database.dump"

    @contextmanager
    def taken(self, database: Database) -> Iterator[sa.Connection]:
        self._path.unlink(missing_ok=True)
        with database.reading() as connection:
            snapshot = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
            words = [
                f"--snapshot={snapshot}",
                "--format=custom",
                "--no-owner",
                "--no-privileges",
                f"--exclude-table-data={sessions.name}",
                f"--file={self._path}",
            ]
            self._run("pg_dump", words)
            yield connection

    def require_empty(self) -> None:
        database = Database(self._settings.database)
        try:
            with database.reading() as connection:
                found = sa.inspect(connection).get_table_names()
        except sa.exc.OperationalError as error:
            raise BackupError(f"The database cannot be reached: {error.orig}") from error
        finally:
            database.close()
        if found:
            raise BackupError(f"The database is not empty: it has the table {found[0]}. Restore into an empty one.")

    def _put_back(self) -> None:
        words = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(self._path)]
        self._run("pg_restore", words)

    def _run(self, program: str, words: Sequence[str]) -> None:
        """The password goes through the environment, where other users do not see it."""
        url = sa.make_url(self._settings.database)
        place = url.set(drivername="postgresql", password=None).render_as_string()
        environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
        try:
            done = subprocess.run(
                [program, f"--dbname={place}", *words], env=environment, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise BackupError(f"{program} was not found. Install PostgreSQL's client programs.") from error
        if done.returncode:
            raise BackupError(f"{program} failed: {done.stderr.strip()[-500:]}")
