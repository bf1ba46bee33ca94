"""The places of uploads that wait."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import forecast, tables, uploads
from jobs.database import Database
from jobs.files import StoredFile
from jobs.forecast import Candidate, Pace, Place, Running, Scene, Workers
from jobs.lanes import QUICK_BYTES, Lane
from jobs.uploads import Claim, Upload

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MB = 1_000_000
PACE = Pace(bytes_per_second=1.0 * MB, quick_seconds=0.5)


def waiting(number: int, sender: str = "a", dataset: str | None = None, lane: Lane = Lane.BULK) -> Candidate:
    return Candidate(number, lane, sender, dataset, 10 * MB)


def running(seconds: float | None, sender: str = "a", dataset: str | None = None, lane: Lane = Lane.BULK) -> Running:
    return Running(lane, sender, dataset, seconds)


def places(workers: Workers, *, dataset_imports: int = 4, **scene: Any) -> dict[int, tuple[int, float | None]]:
    """Position, and seconds to the start, of each upload."""
    found = Scene(NOON, **{"pace": PACE, **scene}).places(workers, dataset_imports=dataset_imports)
    for place in found.values():
        since = None if place.expected_start is None else (place.expected_start - NOON).total_seconds()
        assert place.starts_in == pytest.approx(since)
    return {number: (place.position, place.starts_in) for number, place in found.items()}


def test_an_upload_for_which_a_worker_is_free_starts_now() -> None:
    assert places(Workers(1), waiting=[waiting(1)]) == {1: (0, 0)}


def test_uploads_start_when_those_before_them_end() -> None:
    found = places(Workers(2), running=[running(30), running(4)], waiting=[waiting(1), waiting(2), waiting(3)])

    assert found == {1: (0, 4), 2: (1, 14), 3: (2, 24)}


def test_a_quick_upload_starts_on_a_worker_of_its_own_beside_large_imports() -> None:
    small = waiting(2, lane=Lane.QUICK)

    assert places(Workers(both=2, quick=1), running=[running(30), running(40)], waiting=[waiting(1), small]) == {
        1: (0, 30),
        2: (0, 0),
    }


def test_a_worker_for_both_takes_quick_uploads_first_and_then_a_large_one() -> None:
    small = [waiting(number, lane=Lane.QUICK) for number in (2, 3)]
    found = places(Workers(1), running=[running(10)], waiting=[waiting(1), *small])

    assert found == {2: (0, 10), 1: (0, 10.5), 3: (1, 20.5)}


def test_senders_take_turns() -> None:
    many = [waiting(number, "many") for number in range(1, 5)]
    scene: dict[str, Any] = {"running": [running(5, "many")], "waiting": [*many, waiting(9, "one")]}

    assert places(Workers(1), **scene)[9] == (1, 15)
    assert places(Workers(1), **scene, served={"many": NOON})[9] == (0, 5)


def test_uploads_into_a_full_dataset_are_passed_and_start_when_it_has_a_place() -> None:
    into_sales = [waiting(1, dataset="sales"), waiting(2, dataset="sales")]
    found = places(
        Workers(2),
        dataset_imports=1,
        running=[running(50, dataset="sales"), running(5)],
        waiting=[*into_sales, waiting(3, dataset="people")],
    )

    assert found == {3: (0, 5), 1: (1, 50), 2: (2, 60)}


@pytest.mark.parametrize(
    ("workers", "pace", "seconds_left"),
    [(Workers(), PACE, 1.0), (Workers(quick=1), PACE, 1.0), (Workers(1), Pace(), None)],
)
def test_without_a_worker_or_a_pace_no_start_is_foretold(
    workers: Workers, pace: Pace, seconds_left: float | None
) -> None:
    found = places(workers, pace=pace, running=[running(seconds_left)], waiting=[waiting(1), waiting(2)])

    assert found == {1: (0, None), 2: (1, None)}


def test_more_uploads_than_are_played_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "MOST_PLAYED", 2)
    found = places(Workers(1), running=[running(1)], waiting=[waiting(number) for number in range(4)])

    assert found == {0: (0, 1), 1: (1, 11), 2: (2, None), 3: (3, None)}


def test_a_later_upload_is_placed_into_a_scene_that_was_read_before() -> None:
    scene = Scene(NOON, [running(5)], [waiting(1)], pace=PACE).with_waiting(waiting(2))

    assert scene.places(Workers(1), dataset_imports=4)[2] == Place(1, NOON + timedelta(seconds=15), 15)


# Read from the database


def sent(database: Database, size: int) -> Upload:
    with database.transaction() as connection:
        return uploads.create(connection, StoredFile("june.csv", "00ff", size, "beef"), sender="a")


def claimed(database: Database, upload: Upload, **values: Any) -> Upload:
    """The upload under a claim, with other values in its record."""
    with database.transaction() as connection:
        found = uploads.claim(connection, upload.id, worker="here:1", lease=60)
        assert found is not None
        if values:
            connection.execute(sa.update(tables.uploads).where(tables.uploads.c.id == upload.id).values(values))
    return found


def ago(database: Database, seconds: float) -> datetime:
    with database.reading() as connection:
        return uploads.now(connection) - timedelta(seconds=seconds)


def test_the_pace_is_that_of_the_imports_that_run(database: Database) -> None:
    first = sent(database, 40 * MB)
    half = {"next_byte": 200, "bytes_total": 400, "rows_processed": 1000, "counting_from": 0}
    claimed(database, first, **half, counting_since=ago(database, 10))
    last = sent(database, 10 * MB)
    with database.reading() as connection:
        scene = forecast.read(connection)
    [place] = scene.places(Workers(1), dataset_imports=4).values()

    assert [each.id for each in scene.waiting] == [last.id]
    assert scene.pace.bytes_per_second == pytest.approx(2 * MB, rel=0.2)
    assert place.starts_in == pytest.approx(10, rel=0.2)


def test_an_attempt_that_resumed_counts_what_it_imported_itself(database: Database) -> None:
    upload = sent(database, 40 * MB)
    half = {"next_byte": 200, "bytes_total": 400, "rows_processed": 1000, "counting_from": 500}
    claimed(database, upload, **half, counting_since=ago(database, 10))
    with database.reading() as connection:
        assert forecast.read(connection).pace.bytes_per_second == pytest.approx(1 * MB, rel=0.2)


def test_while_no_import_runs_the_pace_is_that_of_the_last_ones(database: Database) -> None:
    for size, seconds in ((30 * MB, 10), (2000, 3)):
        upload = claimed(database, sent(database, size), started_at=ago(database, seconds))
        with database.transaction() as connection:
            uploads.complete(connection, Claim(upload.id, upload.attempt))
    with database.reading() as connection:
        pace = forecast.read(connection).pace

    assert pace.bytes_per_second == pytest.approx(3 * MB, rel=0.2)
    assert pace.quick_seconds == pytest.approx(3, rel=0.2)


def test_an_import_that_takes_longer_than_foretold_still_takes_a_while(database: Database) -> None:
    done = claimed(database, sent(database, 30 * MB), started_at=ago(database, 10))
    with database.transaction() as connection:
        uploads.complete(connection, Claim(done.id, done.attempt))
    claimed(database, sent(database, 30 * MB), counting_since=ago(database, 100))
    with database.reading() as connection:
        [late] = forecast.read(connection).running

    assert late.seconds_left == pytest.approx(1, rel=0.2)
    assert QUICK_BYTES < 30 * MB
