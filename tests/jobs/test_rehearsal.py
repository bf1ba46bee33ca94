"""What a worker does before its first fork, in a process of its own as a worker is."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import uploads
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.events import channels
from jobs.settings import Settings
from jobs.uploads import Status
from tests.support.databases import ONE_DATABASE
from tests.support.files import store
from tests.support.listening import listening
from tests.support.queueing import now, recorded

#: Rehearses if the first argument is "1", forks, and imports the other arguments in the fork. Prints what the last of
#: them loaded and compiled.
SCRIPT = """
import json, logging, os, sys
from jobs.rehearsal import rehearse
from jobs.settings import Settings

class Lines(logging.Handler):
    def emit(self, record):
        lines.append(record.getMessage())

rehearsed, *ids = sys.argv[1:]
if rehearsed == "1":
    rehearse(Settings.load())
if os.fork() == 0:
    loaded, lines = set(sys.modules), []
    logger = logging.getLogger("sqlalchemy.engine")
    logger.setLevel(logging.INFO)
    logger.addHandler(Lines())
    from jobs import bulk_upload, upload_log  # as RQ does, in the fork
    upload_log.FIRST_INTERVAL = float("inf")  # a slow import would log a milestone, with one statement more
    for each in ids:
        bulk_upload.run(int(each))
    compiled = [line for line in lines if line.startswith("[generated in")]
    libraries = [name for name in set(sys.modules) - loaded if name.startswith(("adbc", "pyarrow.", "jobs", "pandas"))]
    print(json.dumps({"compiled": len(compiled), "run": len(lines), "libraries": libraries}))
    sys.stdout.flush()
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
#: A file with a failed row.
CONTENT = "number,name,day\n1,a,2026-01-31\n2,b,2026-02-01\n3,c,2026-02-02,9\n"


@pytest.fixture
def opened(settings: Settings) -> Iterator[Database]:
    """The database as the web process opens it."""
    with closing(Database(settings.database)) as database:
        yield database


def _run(settings: Settings, *words: object, expect: str = "") -> dict[str, Any]:
    """What the script printed. expect: part of what it logged; by default it logs nothing."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert expect in ended.stderr if expect else not ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_after_a_rehearsal_a_fork_loads_no_library_and_compiles_no_statement(
    settings: Settings, opened: Database
) -> None:
    cold = _run(settings, 0, recorded(settings, opened, CONTENT).id)
    warm = _run(settings, 1, recorded(settings, opened, CONTENT).id)

    assert cold["compiled"] > 5
    assert cold["libraries"]
    assert 0 < warm["run"] <= cold["run"]
    assert warm["compiled"] <= 1, "only the insertion into the table of these columns may be new"
    assert warm["libraries"] == []


def test_after_a_rehearsal_imports_go_into_the_database_of_the_settings(settings: Settings, opened: Database) -> None:
    first = recorded(settings, opened, CONTENT)
    with opened.transaction() as connection:
        second = uploads.create(connection, store(settings, CONTENT), dataset_wanted="others")

    _run(settings, 1, first.id, second.id)

    for upload in (now(opened, first), now(opened, second)):
        assert (upload.status, upload.rows_success, upload.rows_failed) == (Status.COMPLETED, 2, 1)


def test_a_rehearsal_leaves_nothing_behind(settings: Settings, opened: Database) -> None:
    with opened.reading() as connection:
        before = _tables(connection)
    upload = recorded(settings, opened, CONTENT)
    stored = sorted(settings.files.iterdir())

    with listening(settings, upload) as heard:
        _run(settings, 1)

    with opened.reading() as connection:
        assert _tables(connection) == before
        assert catalogue.entries(connection) == []
    assert sorted(settings.files.iterdir()) == stored
    assert all(heard[channel] == [] for channel in channels(upload.id))
    assert recorded(settings, opened, CONTENT).id == upload.id + 1


def test_a_fork_inherits_no_connection_from_a_rehearsal(settings: Settings) -> None:
    script = """
import psutil
from jobs.rehearsal import rehearse
from jobs.settings import Settings
rehearse(Settings.load())
me = psutil.Process()
print(len(me.net_connections()), [file.path for file in me.open_files()])
"""
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == "0 []\n"
    assert ended.stderr == ""


@ONE_DATABASE
def test_a_worker_that_cannot_rehearse_says_so_and_goes_on(settings: Settings, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"})

    found = _run(elsewhere, 1, expect="could not rehearse")

    assert found["run"] == 0


def _tables(connection: sa.Connection) -> list[str]:
    return sorted(sa.inspect(connection).get_table_names())
