"""Files that no upload needs are removed, and no others."""

import errno
import fcntl
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from jobs import files, tables, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.files import KERNEL, Arrival
from jobs.settings import Settings
from jobs.store.folder import FolderStore
from jobs.upkeep import leftovers
from jobs.upkeep.leftovers import ABANDONED_AFTER, Leftovers
from jobs.uploads import Status, Upload
from tests import ROOT
from tests.support.databases import ONE_DATABASE
from tests.support.files import store
from tests.support.queueing import claimed, recorded

#: Names of a spool, beside the name of its file.
SPOOL = (".table", ".table.json", ".table-0123456789ab", f".table.{'0' * 32}.part")


@pytest.fixture
def folder(settings: Settings) -> Path:
    settings.files.mkdir(parents=True)
    return settings.files


def put(folder: Path, name: str, *, age: float = 0, size: int = 3) -> Path:
    """A file as if it had not been changed for so many seconds."""
    path = folder / name
    path.write_bytes(b"x" * size)
    moment = time.time() - age
    os.utime(path, (moment, moment))
    return path


def spools(folder: Path, upload: Upload) -> list[Path]:
    return [put(folder, upload.stored_as + suffix) for suffix in SPOOL]


def passed(database: Database, folder: Path) -> set[str]:
    """What is in the folder after one pass."""
    sweeping = Leftovers(database, FolderStore(folder))
    sweeping.step()
    return set(os.listdir(folder))


OLD = ABANDONED_AFTER + 60


@ONE_DATABASE
def test_only_our_own_files_that_no_upload_needs_are_removed(
    database: Database, folder: Path, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    upload = recorded(settings, database)
    put(folder, upload.stored_as, age=OLD)
    kept = {
        upload.stored_as,
        put(folder, f"{uuid4().hex}", age=ABANDONED_AFTER - 60).name,
        put(folder, f"{uuid4().hex}.0123456789ab.part", age=ABANDONED_AFTER - 60).name,
        *(put(folder, name, age=OLD).name for name in ("june.csv", "june.csv.part", "a.table", "serve.lock", "f" * 31)),
    }
    (folder / uuid4().hex).mkdir()
    (folder / uuid4().hex).symlink_to(put(folder.parent, "elsewhere"))
    kept |= {path.name for path in folder.iterdir() if path.is_dir() or path.is_symlink()}
    for name in (uuid4().hex, f"{uuid4().hex}.part", f"{uuid4().hex}.0123456789ab.part"):
        put(folder, name, age=OLD, size=400)
    put(folder, f"{uuid4().hex}.{KERNEL}.part", size=34)  # of this machine, but nobody has it open

    assert passed(database, folder) == kept
    assert caplog.messages == ["Removed 4 files that no upload needs (1,234 bytes)."]


def test_a_spool_is_kept_until_its_upload_is_over(database: Database, folder: Path, settings: Settings) -> None:
    pending, ended = recorded(settings, database), recorded(settings, database)
    processing = claimed(database, recorded(settings, database), lease=60)
    with database.transaction() as connection:
        uploads.cancel(connection, ended.id)
    kept = {upload.stored_as for upload in (pending, processing, ended)}
    kept |= {path.name for upload in (pending, processing) for path in spools(folder, upload)}
    spools(folder, ended)
    for suffix in SPOOL:
        put(folder, uuid4().hex + suffix)  # of an upload that does not exist

    assert passed(database, folder) == kept


@ONE_DATABASE
def test_a_part_of_a_spool_that_a_killed_work_horse_left_is_removed(
    database: Database, folder: Path, settings: Settings
) -> None:
    upload = recorded(settings, database)
    part = put(folder, f"{upload.stored_as}.table.{uuid4().hex}.part", age=OLD)
    with files.in_use(folder / upload.stored_as):
        assert passed(database, folder) == {upload.stored_as, part.name}
    assert passed(database, folder) == {upload.stored_as}


@ONE_DATABASE
def test_a_file_that_is_being_received_is_kept_however_old_it_is(database: Database, folder: Path) -> None:
    with Arrival(folder, "june.csv", limit=100) as arrival:
        arrival.write(b"a\n")
        [part] = folder.iterdir()
        os.utime(part, (0, 0))

        assert passed(database, folder) == {part.name}
    assert passed(database, folder) == set()


@ONE_DATABASE
def test_a_file_that_another_process_receives_is_kept_until_the_process_dies(database: Database, folder: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from jobs.files import Arrival\n"
        f"arrival = Arrival(Path({str(folder)!r}), 'june.csv', limit=100); arrival.write(b'a,b'); print(flush=True)\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        [part] = os.listdir(folder)

        assert passed(database, folder) == {part}
    finally:
        process.kill()
        process.communicate()
    assert passed(database, folder) == set()


@ONE_DATABASE
def test_without_locks_only_the_age_counts(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    young = put(folder, f"{uuid4().hex}.{KERNEL}.part", age=60)
    put(folder, f"{uuid4().hex}.{KERNEL}.part", age=OLD)

    assert passed(database, folder) == {young.name}


@ONE_DATABASE
def test_the_clock_of_the_file_system_counts_not_that_of_this_machine(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    young, _ = put(folder, uuid4().hex, age=60), put(folder, uuid4().hex, age=OLD)
    late = time.time() + 10 * ABANDONED_AFTER
    monkeypatch.setattr(time, "time", lambda: late)

    assert passed(database, folder) == {young.name}


@ONE_DATABASE
def test_nothing_is_removed_if_most_files_have_no_upload(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "MOST_WITHOUT_RECORDS", 2)
    stored = {put(folder, uuid4().hex, age=OLD).name for _ in range(3)}

    assert passed(database, folder) == stored
    assert caplog.messages == [
        f"3 files in {folder} have no upload in this database, and only 0 have one, so none was removed. Does "
        "DATABASE_URL name the right database?"
    ]


@ONE_DATABASE
def test_a_file_that_cannot_be_removed_is_logged_and_the_others_are_removed(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn, other = (put(folder, f"{uuid4().hex}.part", age=OLD) for _ in range(2))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == stubborn:
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)

    assert passed(database, folder) == {stubborn.name}
    assert f"{stubborn}, which no upload needs, was not removed: Permission denied." in caplog.messages
    assert not other.exists()


@ONE_DATABASE
def test_a_folder_that_does_not_exist_yet_is_passed_over(database: Database, tmp_path: Path) -> None:
    Leftovers(database, FolderStore(tmp_path / "files")).step()

    assert not (tmp_path / "files").exists()


@ONE_DATABASE
def test_a_pass_takes_one_step_for_each_moment_and_begins_again_after_an_hour(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "BATCH", 2)
    monkeypatch.setattr(leftovers, "STEP_SECONDS", -1)  # a step is over after one batch
    for _ in range(6):
        put(folder, f"{uuid4().hex}.part", age=OLD)
    sweeping = Leftovers(database, FolderStore(folder))
    found = []
    for _ in range(4):
        sweeping.step()
        found.append(len(os.listdir(folder)))

    assert found == [4, 2, 0, 0]
    put(folder, f"{uuid4().hex}.part", age=OLD)
    sweeping.step()
    assert len(os.listdir(folder)) == 1

    moment = time.monotonic() + leftovers.PASS_INTERVAL * 1.2
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    sweeping.step()
    assert os.listdir(folder) == []


@ONE_DATABASE
def test_a_pass_that_failed_begins_again(database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, f"{uuid4().hex}.part", age=OLD)
    sweeping = Leftovers(database, FolderStore(folder))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "statuses_of_files", _unreachable)
        with pytest.raises(sa.exc.OperationalError):
            sweeping.step()
    sweeping.step()
    assert len(os.listdir(folder)) == 1  # not at once

    moment = time.monotonic() + leftovers.RETRY_INTERVAL + 1
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    sweeping.step()
    assert os.listdir(folder) == []


def _unreachable(*_: object) -> None:
    raise sa.exc.OperationalError("SELECT", {}, Exception("the database does not respond"))


# At the end of an upload


@pytest.fixture
def over(settings: Settings, database: Database, folder: Path) -> Iterator[Changes]:
    with Changes.opened(settings, database) as changes:
        yield changes


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_every_end_of_an_upload_removes_its_spools(
    database: Database, folder: Path, settings: Settings, over: Changes, status: Status
) -> None:
    other = recorded(settings, database)
    upload = claimed(database, recorded(settings, database), lease=60)
    kept = {upload.stored_as, other.stored_as} | {path.name for path in spools(folder, other)}
    spools(folder, upload)
    claim = uploads.Claim(upload.id, upload.attempt)
    ends = {
        Status.COMPLETED: lambda connection: uploads.complete(connection, claim),
        Status.FAILED: lambda connection: uploads.fail(connection, claim, "The file cannot be read."),
        Status.CANCELLED: lambda connection: uploads.cancel(connection, upload.id),
    }
    over.make(ends[status])

    assert set(os.listdir(folder)) == kept


@ONE_DATABASE
def test_a_spool_in_use_is_removed_after_its_use(
    database: Database, folder: Path, settings: Settings, over: Changes
) -> None:
    upload = claimed(database, recorded(settings, database), lease=60)
    found = {path.name for path in spools(folder, upload)}
    with files.in_use(folder / upload.stored_as):
        over.make(lambda connection: uploads.cancel(connection, upload.id))

        assert set(os.listdir(folder)) == {upload.stored_as, *found}
    over.remove_spools(upload.id)
    assert os.listdir(folder) == [upload.stored_as]


@ONE_DATABASE
def test_a_spool_is_kept_if_its_upload_was_retried_meanwhile(
    database: Database, folder: Path, settings: Settings, over: Changes
) -> None:
    upload = recorded(settings, database)
    found = {path.name for path in spools(folder, upload)}
    over.remove_spools(upload.id)
    leftovers.remove_spools(database, folder, upload.stored_as)

    assert set(os.listdir(folder)) == {upload.stored_as, *found}


@ONE_DATABASE
def test_an_end_is_made_known_even_if_the_spools_cannot_be_removed(
    database: Database,
    settings: Settings,
    over: Changes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upload = recorded(settings, database)
    monkeypatch.setattr(leftovers, "remove_spools", _unreachable)
    ended = over.make(lambda connection: uploads.cancel(connection, upload.id))

    assert ended.status is Status.CANCELLED
    assert any(f"The spool of upload {upload.id} was not removed" in message for message in caplog.messages)


# A file whose upload could not be recorded


@pytest.mark.parametrize("may_be_recorded", [False, True])
def test_a_file_without_a_record_is_removed_where_that_is_certain(
    database: Database, folder: Path, settings: Settings, may_be_recorded: bool
) -> None:
    file = store(settings, "a\n1\n")
    leftovers.remove_unrecorded(database, FolderStore(folder), file.stored_as, may_be_recorded=may_be_recorded)

    assert (folder / file.stored_as).exists() == (may_be_recorded and not database.is_sqlite)


def test_a_file_whose_commit_succeeded_without_an_answer_is_kept(
    database: Database, folder: Path, settings: Settings
) -> None:
    upload = recorded(settings, database)
    leftovers.remove_unrecorded(database, FolderStore(folder), upload.stored_as, may_be_recorded=True)

    assert (folder / upload.stored_as).exists()


@ONE_DATABASE
def test_a_file_is_kept_while_the_database_cannot_tell(
    database: Database, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = store(settings, "a\n1\n")
    monkeypatch.setattr(uploads, "statuses_of_files", _unreachable)
    leftovers.remove_unrecorded(database, FolderStore(folder), file.stored_as, may_be_recorded=True)

    assert (folder / file.stored_as).exists()


@ONE_DATABASE
def test_the_records_of_many_files_are_found_with_an_index(database: Database) -> None:
    with database.reading() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT status FROM {tables.uploads.name} WHERE stored_as IN ('a', 'b')"
        ).all()

    assert "uploads_stored_as" in str(plan)
