"""What is there of a file that arrives in several requests."""

import hashlib
import os
from pathlib import Path

import pytest

from jobs import files, incoming
from jobs.database import Database
from jobs.errors import DiskFullError, IncomingGoneError, RefusedError, TooLargeError
from jobs.incoming import Incoming, IncomingFile
from jobs.settings import Settings
from jobs.uploads import NOBODY
from tests.support.databases import ONE_DATABASE
from tests.support.disks import SmallDisk

CONTENT = b"id,name\n" + b"".join(b"%d,some name\n" % number for number in range(2_000))
ID = "0" * 31 + "1"


def recorded(database: Database, size: int = len(CONTENT), filename: str = "june.csv") -> Incoming:
    with database.transaction() as connection:
        return incoming.create(connection, ID, filename, size, "", NOBODY, seconds=60)


def opened(folder: Path, found: Incoming) -> IncomingFile:
    file = IncomingFile.open(folder, found)
    assert file is not None
    return file


@ONE_DATABASE
@pytest.mark.parametrize("parts", [1, 2, 7])
def test_the_hash_is_that_of_the_whole_however_it_came(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    monkeypatch.setattr(incoming, "HASHED_AT_ONCE", 5_000)
    monkeypatch.setattr(incoming, "_READ_BYTES", 1_000)
    found, step = recorded(database), -(-len(CONTENT) // parts)
    steps = 0
    for at in range(0, len(CONTENT), step):
        with opened(tmp_path, found) as file:
            assert (file.offset, file.is_complete) == (at, False)
            file.write(CONTENT[at : at + step])
            if file.is_complete:
                steps = sum(1 for _ in file.hashing())
                stored = file.stored()

    assert (stored.stored_as, stored.size) == (ID, len(CONTENT))
    assert stored.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (tmp_path / ID).read_bytes() == CONTENT
    assert (steps > 3) == (parts > 1)


@ONE_DATABASE
def test_what_is_cut_off_is_not_hashed(database: Database, tmp_path: Path) -> None:
    found = recorded(database)
    with opened(tmp_path, found) as file:
        file.write(CONTENT[:100])
        file.write(b"wrong")
        file.cut(100)
        file.write(CONTENT[100:])
        list(file.hashing())

        assert file.stored().sha256 == hashlib.sha256(CONTENT).hexdigest()


@ONE_DATABASE
def test_a_file_is_changed_by_one_at_a_time(database: Database, tmp_path: Path) -> None:
    found = recorded(database)
    with opened(tmp_path, found) as file:
        file.write(CONTENT[:100])

        assert IncomingFile.open(tmp_path, found) is None
        assert incoming.durable_size(tmp_path, ID) == 100
    with opened(tmp_path, found) as file:
        file.remove()
    assert incoming.durable_size(tmp_path, ID) == 0


@ONE_DATABASE
def test_a_file_that_is_removed_while_somebody_waits_for_it_is_not_written(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recorded(database)
    lock = files.try_lock

    def removed_first(descriptor: int, how: int) -> bool:
        os.unlink(tmp_path / ID)
        return lock(descriptor, how)

    monkeypatch.setattr(files, "try_lock", removed_first)

    assert IncomingFile.open(tmp_path, found) is None
    assert not (tmp_path / ID).exists()


@ONE_DATABASE
def test_no_more_is_written_than_the_file_has(database: Database, tmp_path: Path) -> None:
    with opened(tmp_path, recorded(database, 10)) as file:
        file.write(b"a,b\n1,2\n")
        with pytest.raises(TooLargeError, match="than the 10 that the file has"):
            file.write(b"345")

        assert file.offset == 8


@ONE_DATABASE
def test_the_kind_of_a_small_file_is_checked_at_its_end(database: Database, tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(20)
    with opened(tmp_path, recorded(database, len(picture), "picture")) as file:
        file.write(picture[:9])
        with pytest.raises(RefusedError):
            file.write(picture[9:])
        list(file.hashing())
        with pytest.raises(RefusedError):
            file.stored()


@ONE_DATABASE
def test_on_a_full_disk_what_had_room_stays(database: Database, disk: SmallDisk) -> None:
    found, part = recorded(database, 1 << 30), b"x" * (1 << 20)
    with opened(disk.path, found) as file:
        disk.fill(leave=3 << 19)
        file.write(part)
        with pytest.raises(DiskFullError):
            file.write(part)

        assert file.offset == (disk.path / ID).stat().st_size > 1 << 20


def test_a_file_that_ended_is_not_kept_and_gets_no_upload(database: Database, settings: Settings) -> None:
    recorded(database)
    with database.transaction() as connection:
        assert incoming.arriving_among(connection, [ID, "other"]) == {ID}
        assert not incoming.end(connection, ID, expired=True)
        assert incoming.end(connection, ID)
        assert not incoming.end(connection, ID)
        assert incoming.arriving_among(connection, [ID]) == set()
        with pytest.raises(IncomingGoneError):
            incoming.keep(connection, ID, seconds=1)
        with pytest.raises(IncomingGoneError):
            incoming.finish(connection, lambda _: pytest.fail("an upload was created"), ID)
