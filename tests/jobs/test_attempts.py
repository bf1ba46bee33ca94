"""The attempts of an upload, from its log."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from jobs import uploads
from jobs.attempts import UploadLog
from jobs.files import StoredFile
from jobs.upload_log import Kind
from jobs.uploads import Claim, Processor, Status, Upload


def created(connection: sa.Connection, processor: Processor = Processor.WORKER) -> Upload:
    return uploads.create(connection, StoredFile("june.csv", "00ff", 8, "beef"), processor=processor)


def attempts_of(connection: sa.Connection, upload: Upload) -> list[tuple[object, ...]]:
    found = UploadLog.read(connection, uploads.get(connection, upload.id)).attempts
    return [(each.number, each.worker, each.began_at_row, each.ended_at_row, each.end, each.why) for each in found]


def test_an_attempt_that_runs_has_no_end(connection: sa.Connection) -> None:
    upload = created(connection)
    uploads.claim(connection, upload.id, worker="here:1", lease=60)

    assert attempts_of(connection, upload) == [(1, "here:1", 0, None, None, None)]


def test_each_attempt_has_the_rows_at_which_it_began_and_ended(connection: sa.Connection) -> None:
    upload = created(connection)
    uploads.claim(connection, upload.id, worker="here:1", lease=60)
    uploads.advance(connection, Claim(upload.id, 1), lease=60, good=7, bad=0, next_byte=4)
    uploads.hand_back(connection, Claim(upload.id, 1), because="its worker was shut down", at_shutdown=True)
    uploads.claim(connection, upload.id, worker="there:2", lease=60)
    uploads.advance(connection, Claim(upload.id, 2), lease=60, good=3, bad=0, next_byte=8)
    uploads.complete(connection, Claim(upload.id, 2))

    assert attempts_of(connection, upload) == [
        (1, "here:1", 0, 7, Kind.HANDED_BACK, "its worker was shut down"),
        (2, "there:2", 7, 10, Kind.COMPLETED, None),
    ]


def test_a_cancellation_between_two_attempts_ends_neither_of_them(connection: sa.Connection) -> None:
    upload = created(connection)
    uploads.claim(connection, upload.id, worker="here:1", lease=60)
    uploads.hand_back(connection, Claim(upload.id, 1), because="its work horse died")
    uploads.cancel(connection, upload.id)

    assert attempts_of(connection, upload) == [(1, "here:1", 0, 0, Kind.HANDED_BACK, "its work horse died")]


def test_an_upload_that_was_cancelled_before_it_began_has_no_attempt(connection: sa.Connection) -> None:
    upload = created(connection)
    uploads.cancel(connection, upload.id)

    assert attempts_of(connection, upload) == []


def test_the_only_report_of_a_script_is_an_attempt(connection: sa.Connection) -> None:
    upload = created(connection, Processor.EXTERNAL)
    counts: dict[str, Any] = {"rows_total": None, "rows_success": 5, "rows_failed": 0}
    uploads.report(connection, upload, Status.COMPLETED, progress=100, error=None, **counts)

    assert attempts_of(connection, upload) == [(1, None, 0, 5, Kind.COMPLETED, None)]


def test_the_parts_that_are_hidden_are_neither_named_nor_lost(connection: sa.Connection) -> None:
    held = uploads.hold_as_duplicate(connection, created(connection))
    first = [{"name": f"{number}.csv", "upload": number} for number in (7, 8)]
    divided = uploads.divide_held(connection, held, first)
    seen = replace(divided, parts=first[:1])
    again = uploads.divide_held(connection, seen, [{"name": "9.csv", "upload": 9}])
    log = UploadLog.read(connection, replace(again, parts=[again.parts[0]])).entries

    assert [each["upload"] for each in again.parts] == [7, 8, 9]
    assert [each.detail for each in log if each.kind is Kind.COMPLETED] == [
        "Its parts are imported as #7.",
        "Its parts are imported as other uploads.",
    ]
