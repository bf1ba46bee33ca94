"""The lanes in which uploads wait, and whose turn it is."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import forecast, tables, uploads
from jobs.database import Database
from jobs.files import StoredFile
from jobs.forecast import Workers
from jobs.lanes import QUICK_BYTES, Lane
from jobs.modes import Mode
from jobs.tables import uploads as records
from jobs.uploads import REPAIR, UNDO, Claim, Processor, Status, Upload, Waiting

FOR_EVER = {"worker": "here:1", "lease": 3600.0}
#: Imports that may run into one dataset.
LIMIT = 2


def sent(database: Database, sender: str = "a", dataset: str | None = None, lane: Lane = Lane.QUICK) -> Upload:
    file = StoredFile("june.csv", "00ff", 8 if lane is Lane.QUICK else QUICK_BYTES + 1, "beef")
    with database.transaction() as connection:
        return uploads.create(connection, file, sender=sender, dataset=dataset)


def take(database: Database, lane: Lane = Lane.QUICK, limit: int = LIMIT) -> Upload | None:
    with database.transaction() as connection:
        return uploads.claim_next(connection, lane, **FOR_EVER, dataset_imports=limit)  # type: ignore[arg-type]  # mixed


def completed(database: Database, upload: Upload) -> None:
    with database.transaction() as connection:
        uploads.complete(connection, Claim(upload.id, upload.attempt))


def taken(database: Database, count: int, lane: Lane = Lane.QUICK) -> list[int | None]:
    return [None if upload is None else upload.id for upload in (take(database, lane) for _ in range(count))]


@pytest.mark.parametrize(("size", "lane"), [(0, Lane.QUICK), (100, Lane.QUICK), (101, Lane.BULK)])
def test_the_size_of_a_file_decides_its_lane(size: int, lane: Lane) -> None:
    assert Lane.of(size, 100) is lane


def test_a_worker_takes_uploads_of_its_lane_only(database: Database) -> None:
    large, small = sent(database, lane=Lane.BULK), sent(database)
    sent(database, lane=Lane.BULK)

    assert taken(database, 2, Lane.QUICK) == [small.id, None]
    assert taken(database, 1, Lane.BULK) == [large.id]


def test_uploads_of_external_scripts_have_no_lane(database: Database) -> None:
    with database.transaction() as connection:
        announced = uploads.create(connection, StoredFile("a.csv", "", 0, ""), processor=Processor.EXTERNAL)

    assert announced.lane is None
    assert [take(database, lane) for lane in Lane] == [None, None]


def test_one_upload_does_not_wait_for_the_many_of_another_sender(database: Database) -> None:
    many = [sent(database, "many") for _ in range(5)]
    one = sent(database, "one")

    assert taken(database, 4) == [many[0].id, one.id, many[1].id, many[2].id]


def test_one_upload_does_not_wait_for_the_many_where_one_worker_takes_one_after_the_other(database: Database) -> None:
    many = [sent(database, "many") for _ in range(5)]
    first = take(database)
    assert first is not None
    one = sent(database, "one")
    completed(database, first)

    assert taken(database, 2) == [one.id, many[1].id]


def test_a_retried_upload_keeps_its_sender_and_its_lane(database: Database) -> None:
    upload = sent(database, "a", lane=Lane.BULK)
    with database.transaction() as connection:
        uploads.cancel(connection, upload.id)
        retried = uploads.retry(connection, upload.id)

    assert (retried.sender, retried.lane) == ("a", Lane.BULK)


def test_an_upload_waits_while_its_dataset_is_full_and_others_pass_it(database: Database) -> None:
    into_full = [sent(database, "a", "sales") for _ in range(4)]
    other = sent(database, "a", "people")
    new = sent(database, "a")
    first = take(database)
    assert first is not None
    rest = taken(database, 4)
    completed(database, first)

    assert [first.id, *rest] == [into_full[0].id, into_full[1].id, other.id, new.id, None]
    assert taken(database, 2) == [into_full[2].id, None]


def test_uploads_count_as_waiting_as_far_as_their_datasets_have_places(database: Database) -> None:
    quick = [sent(database, "a", "sales") for _ in range(4)]
    bulk = [sent(database, "a", "people", Lane.BULK) for _ in range(3)]
    new = sent(database, lane=Lane.BULK)
    assert take(database) is not None
    with database.reading() as connection:
        found = uploads.waiting_by_lane(connection, dataset_imports=LIMIT)

    assert found == {Lane.QUICK: Waiting(1, quick[1].id), Lane.BULK: Waiting(3, min(bulk[0].id, new.id))}


def test_others_are_looked_for_when_an_import_ends_for_which_they_had_to_wait(database: Database) -> None:
    for _ in range(LIMIT + 1):
        sent(database, "a", "sales")
    sent(database, "a", "people")
    for _ in range(LIMIT):
        assert take(database) is not None

    def found(**known: Any) -> list[bool]:
        with database.reading() as connection:
            return [
                uploads.waits_for(connection, name, **{"dataset_imports": LIMIT, "was_alone": False, **known})
                for name in ("sales", "people", "none")
            ]

    assert found() == [True, False, False]
    assert found(dataset_imports=LIMIT + 1) == [True, False, False], "the one that ended took the last place"
    assert found(dataset_imports=LIMIT + 2) == [False, False, False], "those that wait had a place before"
    assert found(was_alone=True) == [True, True, False]


@pytest.mark.parametrize("kind", [{"kind": UNDO}, {"kind": REPAIR}, {"mode": Mode.REPLACE}])
def test_others_are_looked_for_when_one_waits_that_nothing_may_run_beside(
    database: Database, kind: dict[str, object]
) -> None:
    waiting = sent(database, "a", "sales")
    with database.transaction() as connection:
        connection.execute(sa.update(records).where(records.c.id == waiting.id).values(**kind))
    with database.reading() as connection:
        found = uploads.waits_for(connection, "sales", dataset_imports=LIMIT + 9, was_alone=False)

    assert found


def test_workers_that_claim_at_once_keep_the_limit_of_a_dataset(database: Database) -> None:
    waiting = [sent(database, f"sender {n % 3}", "sales") for n in range(12)]
    at_once = threading.Barrier(6)

    def claim() -> list[int]:
        at_once.wait(60)
        return [upload.id for upload in (take(database, limit=4) for _ in range(2)) if upload is not None]

    with ThreadPoolExecutor(6) as pool:
        claims = [pool.submit(claim) for _ in range(6)]
        found = [each for claiming in claims for each in claiming.result(30)]

    assert len(found) == len(set(found)) == 4
    assert set(found) <= {upload.id for upload in waiting}


@dataclass
class Model:
    """What `claim_next` does, in a few lines of Python over a list."""

    uploads: list[Upload]
    running: list[Upload]
    served: list[str]

    def next(self, lane: Lane) -> Upload | None:
        imports = Counter(upload.sender for upload in self.running)
        into = Counter(upload.dataset for upload in self.running if upload.dataset is not None)
        may_start = [each for each in self.uploads if each.lane is lane and into[each.dataset or ""] < LIMIT]

        def turn(upload: Upload) -> tuple[int, int, int]:
            sender = upload.sender
            last = len(self.served) - self.served[::-1].index(sender) if sender in self.served else 0
            return imports[sender], last, upload.id

        return min(may_start, key=turn, default=None)

    def take(self, upload: Upload) -> None:
        self.uploads = [each for each in self.uploads if each.id != upload.id]
        self.running.append(upload)
        self.served.append(upload.sender)


@pytest.mark.parametrize("seed", range(6))
def test_the_turn_is_that_of_a_simple_model(database: Database, seed: int, ticking: Callable[[], None]) -> None:
    chance = random.Random(seed)
    model = Model([], [], [])
    for _ in range(60):
        ticking()
        match chance.choice(["send", "send", "take", "take", "end", "cancel"]):
            case "send":
                dataset = chance.choice([None, "sales", "people"])
                model.uploads.append(sent(database, chance.choice("abc"), dataset, chance.choice(list(Lane))))
            case "take":
                lane = chance.choice(list(Lane))
                wanted, found = model.next(lane), take(database, lane)
                assert (wanted and wanted.id) == (found and found.id)
                if found is not None:
                    model.take(found)
            case "end" if model.running:
                completed(database, model.running.pop(chance.randrange(len(model.running))))
            case "cancel" if model.uploads:
                cancelled = model.uploads.pop(chance.randrange(len(model.uploads)))
                with database.transaction() as connection:
                    uploads.cancel(connection, cancelled.id)


@pytest.mark.parametrize("seed", range(4))
def test_the_positions_are_the_order_in_which_workers_claim(
    database: Database, seed: int, ticking: Callable[[], None]
) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        sent(database, chance.choice("abcd"))
    for _ in range(3):
        ticking()
        assert take(database) is not None
    with database.reading() as connection:
        places = forecast.read(connection).places(Workers(), dataset_imports=LIMIT)
    order = []
    for _ in range(27):
        ticking()
        upload = take(database)
        assert upload is not None
        order.append(upload.id)

    assert [places[upload_id].position for upload_id in order] == list(range(27))


@pytest.fixture
def ticking(database: Database) -> Callable[[], None]:
    """Gives each import that runs a moment of its claim of its own: two claims may have the same millisecond."""
    columns = tables.uploads.c
    moments: dict[int, datetime] = {}

    def tick() -> None:
        with database.transaction() as connection:
            running = connection.scalars(sa.select(columns.id).where(columns.status == Status.PROCESSING)).all()
            for each in sorted(set(running) - moments.keys()):
                moments[each] = datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=len(moments))
                changed = sa.update(tables.uploads).where(columns.id == each)
                connection.execute(changed.values(counting_since=moments[each]))

    return tick
