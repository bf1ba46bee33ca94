"""Files as objects of a real S3 server, which fails where a test wants it to."""

import hashlib
import os
import random
from pathlib import Path

import pytest

from jobs import uploads
from jobs.database import Database
from jobs.errors import RefusedError, StoreUnavailableError, TooLargeError, UnreadableFileError
from jobs.files import StoredFile
from jobs.people.audit import Actor, Via
from jobs.settings import Settings
from jobs.store import unfinished
from jobs.store.bucket import PART_BYTES, BucketStore
from jobs.upkeep import deletion
from jobs.upkeep.retention import Retention
from tests.support.buckets import FaultyS3, S3Server, bucket_of
from tests.support.databases import ONE_DATABASE
from tests.support.files import nothing

pytestmark = ONE_DATABASE

SMALL = b"id,name\n1,Ada\n"
LARGE = b"id,name\n" + random.Random(1).randbytes(PART_BYTES * 5 // 4).hex().encode()


@pytest.fixture
def store(in_bucket: Settings) -> BucketStore:
    return bucket_of(in_bucket)


def stored(store: BucketStore, content: bytes, filename: str = "june.csv") -> StoredFile:
    with store.receive(filename, limit=1 << 30) as arrival:
        for at in range(0, len(content), 1 << 20):
            arrival.write(content[at : at + (1 << 20)])
        return arrival.keep()


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_an_object_is_exactly_the_bytes_that_were_uploaded(store: BucketStore, s3: S3Server, content: bytes) -> None:
    file = stored(store, content)

    assert s3.objects() == {f"uploads/{file.stored_as}": content}
    assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert b"".join(store.blocks(file.stored_as, 5, len(content))) == content[5:]
    assert store.beginning(file.stored_as, 100) == content[:100]
    assert list(store.names()) == [file.stored_as]

    copy = store.again(file)
    store.remove(file.stored_as)
    store.remove(file.stored_as)

    assert s3.objects() == {f"uploads/{copy.stored_as}": content}
    assert store.state(file.stored_as) is None
    with pytest.raises(FileNotFoundError):
        store.again(file)
    with pytest.raises(FileNotFoundError):
        list(store.blocks(file.stored_as, 0, 10))


def test_nothing_stays_of_what_is_refused_or_breaks_off(store: BucketStore, s3: S3Server) -> None:
    with store.receive("june.csv", limit=PART_BYTES * 2) as arrival:
        arrival.write(b"x" * PART_BYTES)
        arrival.write(b"x" * PART_BYTES)
        with pytest.raises(TooLargeError):
            arrival.write(b"x")
    with pytest.raises(RefusedError), store.receive("june.bin", limit=1 << 30) as arrival:
        arrival.write(bytes(range(256)) * 100)
    with store.receive("june.csv", limit=1 << 30) as arrival:
        arrival.write(LARGE)

    assert (s3.objects(), s3.unfinished()) == ({}, [])


def test_a_copy_to_work_on_goes_with_what_was_made_of_it(store: BucketStore) -> None:
    file = stored(store, LARGE)
    with store.at_work(file, nothing) as path, store.at_work(file, nothing) as same:
        assert path == same
        assert path.read_bytes() == LARGE
        path.with_name(f"{path.name}.table-1").write_text("a spool")
        store.tidy()

        assert path.exists()

    assert list(path.parent.iterdir()) == []


def test_what_a_killed_worker_left_is_tidied(store: BucketStore) -> None:
    file = stored(store, SMALL)
    if (child := os.fork()) == 0:
        path = store.work / file.stored_as
        store.work.mkdir(parents=True)
        path.write_bytes(SMALL)
        path.with_name(f"{path.name}.table-1").write_text("a spool")
        os._exit(0)
    os.waitpid(child, 0)
    store.tidy()

    assert list(store.work.iterdir()) == []


def test_a_file_whose_bytes_changed_is_not_imported(store: BucketStore) -> None:
    file = stored(store, SMALL)
    store.put(file.stored_as, iter([SMALL.replace(b"Ada", b"Eve")]))

    with pytest.raises(UnreadableFileError), store.at_work(file, nothing):
        pass
    assert list(store.work.iterdir()) == []


@pytest.mark.parametrize("fault", ["500", "slow", "half", "lost"])
def test_a_server_that_fails_now_and_then_is_asked_again(in_bucket: Settings, s3: S3Server, fault: str) -> None:
    with FaultyS3(s3) as faulty:
        store = bucket_of(in_bucket.model_copy(update={"s3_endpoint": faulty.url}))
        faulty.faults = [("PUT", fault), ("POST", fault)] if fault in ("500", "slow") else []
        file = stored(store, LARGE)
        faulty.faults = [("GET", fault), ("GET", fault)]
        with store.at_work(file, nothing) as path:
            assert path.read_bytes() == LARGE
        assert not faulty.faults

    assert s3.objects() == {f"uploads/{file.stored_as}": LARGE}
    assert s3.unfinished() == []


def test_a_server_that_goes_on_failing_keeps_nothing(
    in_bucket: Settings, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.store.bucket.RETRIES", 1)
    with FaultyS3(s3) as faulty:
        store = bucket_of(in_bucket.model_copy(update={"s3_endpoint": faulty.url}))
        for fault in ([("PUT", "500")] * 20, [("POST", "half")]):
            faulty.faults = fault
            with pytest.raises(StoreUnavailableError):
                stored(store, LARGE)
        faulty.faults = [("PUT", "500")] * 20
        with pytest.raises(StoreUnavailableError):
            stored(store, LARGE)

    assert (s3.objects(), s3.unfinished()) == ({}, [])


def test_parts_that_a_killed_process_left_are_ended(store: BucketStore, s3: S3Server) -> None:
    other = store.writer("uploads/" + "0" * 32)
    other.write(LARGE)
    other.write(LARGE)
    del other

    assert len(s3.unfinished()) == 1
    assert unfinished.end_abandoned(store.access) is not None
    assert len(s3.unfinished()) == 1  # somebody may write it at this moment

    unfinished.end_abandoned(store.access, after=-60)

    assert s3.unfinished() == []


def test_a_key_that_does_not_fit_is_an_error_that_can_be_shown(in_bucket: Settings, tmp_path: Path) -> None:
    nowhere = bucket_of(in_bucket.model_copy(update={"store": "s3://another-bucket"}))

    with pytest.raises((StoreUnavailableError, FileNotFoundError)):
        stored(nowhere, SMALL)


def test_an_object_goes_with_its_upload_and_when_it_is_kept_no_longer(in_bucket: Settings, s3: S3Server) -> None:
    database, bucket = Database(in_bucket.database), bucket_of(in_bucket)
    try:
        with database.transaction() as connection:
            sent = [uploads.create(connection, stored(bucket, SMALL)) for _ in range(3)]
            for upload in sent[:2]:
                uploads.cancel(connection, upload.id)
        with database.transaction() as connection:
            deleted = deletion.delete(connection, sent[0].id, Actor("ann", Via.WEB))
        deletion.remove_file(database, in_bucket, deleted)
        assert len(s3.objects()) == 2

        Retention(database, in_bucket.model_copy(update={"keep_originals_days": 1e-9})).step()
        assert s3.objects() == {f"uploads/{sent[2].stored_as}": SMALL}
    finally:
        database.close()
