"""Retention removes what the settings do not keep, and nothing that is still needed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import failure_map, files, idempotency, tables, uploads
from jobs.errors import OriginalNeededError
from jobs.failed_rows import FailedRow, Reason
from jobs.failure_map import FailureMap
from jobs.idempotency import Answer
from jobs.people import audit
from jobs.people.audit import Actor, Via
from jobs.upkeep import retention
from jobs.upkeep.retention import Retention
from jobs.uploads import Upload
from tests.support.serving import Records

FAILED = [FailedRow(11, ["x", ""], [Reason("a", "is not a number", "x")])]


def ended_days_ago(records: Records, upload: Upload, days: float) -> Upload:
    moment = datetime.now(UTC) - timedelta(days=days)
    change = sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(finished_at=moment)
    with records.database.transaction() as connection:
        connection.execute(change)
    return upload


def passed(records: Records, **kept: Any) -> None:
    """One whole pass with these settings."""
    step = Retention(records.database, records.settings.model_copy(update=kept))
    step.step()
    while step._pass is not None:
        step.step()


def has_file(records: Records, upload: Upload) -> bool:
    return files.path_of(records.settings.files, upload.stored_as).exists()


def failed_rows_of(records: Records, upload: Upload) -> int:
    rows = tables.failed_rows
    with records.database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(rows).where(rows.c.upload_id == upload.id)
        return connection.execute(count).scalar_one()


def test_originals_go_when_their_upload_ended_so_many_days_ago(records: Records) -> None:
    old, young = (ended_days_ago(records, records.completed(), days) for days in (31, 29))
    held = records.pending()
    records.change(lambda connection: uploads.hold_as_duplicate(connection, held, names_it=False))
    waiting, running = records.pending(), records.processing()
    script = ended_days_ago(records, records.report(records.external(), "complete", progress=100), 99)
    passed(records, keep_originals_days=30)

    assert not has_file(records, old)
    assert records.get(old).original_removed_at is not None
    assert not records.get(old).keeps_file
    assert all(has_file(records, each) for each in (young, held, waiting, running))
    assert all(records.get(each).original_removed_at is None for each in (young, held, waiting, running, script))


def test_without_settings_everything_stays(records: Records) -> None:
    old = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, FAILED)), 9_999)
    passed(records, keep_idempotency_days=0)

    assert has_file(records, old)
    assert failed_rows_of(records, old) == 1


def test_the_oldest_originals_go_until_the_others_fit(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FILES_AT_ONCE", 1)
    sent = [records.complete(records.processing(f"{day}.csv")) for day in range(4)]
    for day, upload in enumerate(sent):
        ended_days_ago(records, upload, 10 - day)
    running = records.processing()
    passed(records, keep_bytes=sent[0].size * 3)

    assert [has_file(records, each) for each in sent] == [False, False, True, True]
    assert has_file(records, running)


def test_an_upload_without_its_original_cannot_be_retried(records: Records) -> None:
    failed = ended_days_ago(records, records.fail(records.processing()), 31)
    passed(records, keep_originals_days=30)

    with pytest.raises(OriginalNeededError, match=r"The file of upload #\d+ was removed on .* so it cannot be retried"):
        records.retry(failed)


def test_failed_rows_go_but_their_reasons_stay_counted(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 2)
    rows = [FailedRow(number, ["x", ""], [Reason("a", "is not a number", "x")]) for number in range(11, 16)]
    old = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, rows)), 8)
    young = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, FAILED)), 6)
    with records.database.transaction() as connection:
        failure_map.write(connection, old.id, FailureMap().adding(range(11, 16)))
    passed(records, keep_failed_rows_days=7)

    assert (failed_rows_of(records, old), failed_rows_of(records, young)) == (0, 1)
    assert (records.get(old).rows_failed, records.get(old).rows_open) == (5, 0)
    counts = tables.failure_counts
    with records.database.reading() as connection:
        [row] = connection.execute(sa.select(counts).where(counts.c.upload_id == old.id))
        where = failure_map.read(connection, old.id)
    assert (row.rows, row.found_values) == (5, None)
    assert where == FailureMap().adding(range(11, 16))


def test_failed_rows_that_somebody_corrects_now_stay(records: Records) -> None:
    old = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, FAILED)), 8)
    correcting = records.processing("corrected.csv", parent=old.id)
    passed(records, keep_failed_rows_days=7)
    assert failed_rows_of(records, old) == 1

    records.complete(correcting)
    passed(records, keep_failed_rows_days=7)
    assert failed_rows_of(records, old) == 0


def test_edits_that_were_not_imported_are_said_to_be_lost(records: Records) -> None:
    old = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, FAILED)), 8)
    with records.database.transaction() as connection:
        edited = sa.update(tables.failed_rows).where(tables.failed_rows.c.upload_id == old.id)
        connection.execute(edited.values(edits={"a": "7"}))
    passed(records, keep_failed_rows_days=7)

    assert records.get(old).notes[0].endswith("retention removed 1 failed row that was edited and not imported.")


def test_failed_rows_that_a_killed_process_left_go_too(records: Records) -> None:
    old = ended_days_ago(records, records.complete(records.advance(records.processing(), 10, FAILED)), 8)
    with records.database.transaction() as connection:
        noted = sa.update(tables.uploads).where(tables.uploads.c.id == old.id)
        connection.execute(noted.values(failed_rows_removed_at=datetime.now(UTC)))
    passed(records, keep_failed_rows_days=7)

    assert failed_rows_of(records, old) == 0


def test_old_entries_of_the_audit_log_and_old_answers_go(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ENTRIES_AT_ONCE", 2)
    for days in (9, 8, 8, 6, 0):
        moment = datetime.now(UTC) - timedelta(days=days)
        with records.database.transaction() as connection:
            audit.write(connection, Actor("ann", Via.WEB), "sign_in", f"{days}")
            idempotency.once(connection, f"{moment}", {}, lambda: Answer(200, {}))
            is_new = tables.audit.c.id == sa.select(sa.func.max(tables.audit.c.id)).scalar_subquery()
            connection.execute(sa.update(tables.audit).where(is_new).values(at=moment))
            is_new = tables.idempotency_keys.c.key == f"{moment}"
            connection.execute(sa.update(tables.idempotency_keys).where(is_new).values(created_at=moment))
    passed(records, keep_audit_days=7, keep_idempotency_days=7)

    with records.database.reading() as connection:
        entries = connection.execute(sa.select(tables.audit.c.object).order_by(tables.audit.c.id)).scalars().all()
        answers = connection.execute(sa.select(sa.func.count()).select_from(tables.idempotency_keys)).scalar()
    assert entries == ["6", "0"]
    assert answers == 2
