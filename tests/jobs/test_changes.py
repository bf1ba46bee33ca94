"""Commit, then publish, then enqueue: in that order, and nothing if the change is rolled back."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from jobs import uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.files import StoredFile
from jobs.settings import Settings
from jobs.uploads import Processor, Status, Upload
from tests.support.listening import listening
from tests.support.queueing import claimed, now, recorded, rung_for

FILE = StoredFile("june.csv", "00ff", 8, "beef")


def creation(**more: object) -> Callable[[sa.Connection], Upload]:
    return lambda connection: uploads.create(connection, FILE, **more)  # type: ignore[arg-type]  # of create's own


def test_a_change_is_committed_published_on_both_channels_and_enqueued(
    settings: Settings, database: Database, changes: Changes
) -> None:
    upload = recorded(settings, database)
    with database.transaction() as connection:
        uploads.cancel(connection, upload.id)
    with listening(settings, upload) as heard:
        retried = changes.make(lambda connection: uploads.retry(connection, upload.id))

    assert now(database, upload) == retried
    assert {name: [event.seq for event in events] for name, events in heard.items()} == {
        "bulk_upload": [retried.seq],
        f"bulk_upload:{upload.id}": [retried.seq],
    }
    assert rung_for(settings) == [upload.id]


def test_a_change_is_committed_before_it_is_published(
    settings: Settings, database: Database, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Upload] = []
    monkeypatch.setattr(changes._publisher, "publish", lambda upload: seen.append(now(database, upload)))
    upload = changes.make(creation())

    assert seen == [upload]


def test_a_change_that_raises_is_rolled_back_and_not_published(settings: Settings, changes: Changes) -> None:
    def broken(connection: sa.Connection) -> Upload:
        creation()(connection)
        raise LookupError("no such luck")

    with pytest.raises(LookupError):
        changes.make(broken)
    with changes.database.reading() as connection:
        assert uploads.page(connection, limit=9).items == []
    assert rung_for(settings) == []


def test_a_change_that_did_not_apply_is_not_published(settings: Settings, changes: Changes) -> None:
    assert changes.make(lambda connection: None) is None
    assert rung_for(settings) == []


def test_an_upload_that_does_not_wait_for_a_worker_is_not_enqueued(
    settings: Settings, database: Database, changes: Changes
) -> None:
    changes.make(creation(processor=Processor.EXTERNAL))
    claim = claimed(database, recorded(settings, database), lease=60)
    changes.make(lambda connection: uploads.cancel(connection, claim.id))

    assert now(database, claim).status is Status.CANCELLED
    assert rung_for(settings) == []


def test_several_changes_are_committed_together_and_each_is_published(settings: Settings, changes: Changes) -> None:
    def several(connection: sa.Connection) -> tuple[str, list[Upload]]:
        return "done", [creation()(connection) for _ in range(2)]

    assert changes.make_several(several) == "done"
    assert rung_for(settings) == [1, 2]
