"""Uploads are undone, on both databases."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, failed_rows, uploads
from jobs.attempts import UploadLog
from jobs.changes import Changes
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.errors import UndoRefusedError
from jobs.modes import Mode
from jobs.people.audit import Actor, Via
from jobs.repair import open_rows
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.undo import orders as undo_orders
from jobs.undo import previews as undo_previews
from jobs.undo.orders import Effect, Preview
from jobs.undo.versions import Versions
from jobs.upkeep import deletion
from jobs.uploads import Claim, Phase, Status, Upload
from jobs.work.undoing import Undoing
from tests.support.dying import Death, killed
from tests.support.files import store

STOCK: dict[str, Any] = {
    "fields": [{"name": "sku", "type": "integer"}, {"name": "price", "type": "number"}],
    "primaryKey": "sku",
}

SOMEBODY = Actor(None, Via.CLI)

Send = Callable[..., Upload]


@pytest.fixture
def send(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Imports a file into the dataset `stock`, which is empty."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)

    def record(prices: dict[int, float] | str, **more: Any) -> Upload:
        content = prices if isinstance(prices, str) else csv(prices)
        with database.transaction() as connection:
            found = uploads.create(connection, store(settings, content, "stock.csv"), **{"dataset": "stock", **more})
        return run(database, found)

    with database.transaction() as connection:
        datasets.declare(connection, "stock", TableSchema.parse(STOCK), Mode.UPSERT)
    return record


def csv(prices: dict[int, float]) -> str:
    return "sku,price\n" + "".join(f"{sku},{price}\n" for sku, price in prices.items())


def run(database: Database, upload: Upload) -> Upload:
    bulk_upload.run(upload.id)
    return now(database, upload)


def undo(database: Database, upload: Upload, *, repairs: bool = False) -> Upload:
    return run(database, ordered(database, upload, repairs=repairs))


def ordered(database: Database, upload: Upload, *, repairs: bool = False) -> Upload:
    with database.transaction() as connection:
        return undo_orders.order(connection, upload, repairs=repairs)


def preview(database: Database, upload: Upload) -> Preview:
    with database.reading() as connection:
        found = uploads.get(connection, upload.id)
        undo_orders.require_possible(connection, found)
        effect = Effect.of(connection, "stock", [upload.id], 0)
        versions = Versions(connection, datasets.get(connection, "stock"), effect, chunk_rows=100)
    return versions.preview(database, [found], [], lambda: None)


def test_rows_with_one_version_are_counted_by_the_database(database: Database, send: Send) -> None:
    second = send(dict.fromkeys(range(900), 2.5))
    removed = ticks(database, second)
    restored = ticks(database, undo(database, second))

    assert (removed, restored) == (2, 3)  # at the beginning, and for the last pages, which are empty


def ticks(database: Database, upload: Upload) -> int:
    """How often a preview tells that it goes on: for each hundred rows that are looked at."""
    found: list[None] = []
    with database.reading() as connection:
        effect = Effect.of(connection, "stock", [upload.id], 0)
        versions = Versions(connection, datasets.get(connection, "stock"), effect, chunk_rows=100)
    versions.preview(database, [now(database, upload)], [], lambda: found.append(None))
    return len(found)


def now(database: Database, upload: Upload) -> Upload:
    with database.reading() as connection:
        return uploads.get(connection, upload.id)


def rows(database: Database) -> dict[int, float]:
    with database.reading() as connection:
        found = connection.execute(sa.text("SELECT sku, price FROM data_stock")).all()
        assert catalogue.entry(connection, "stock").rows == len(found)
    return {row.sku: row.price for row in found}


def test_rows_that_an_upload_inserted_go_and_come_back(database: Database, send: Send) -> None:
    send(dict.fromkeys(range(50), 1.5))
    second = send(dict.fromkeys(range(100, 420), 2.5))

    assert preview(database, second) == Preview(320, 0, {}, 0)
    undone = undo(database, second)
    assert (undone.status, undone.phase, undone.kind, undone.parent) == (
        Status.COMPLETED,
        Phase.UNDO,
        "undo",
        second.id,
    )
    assert (undone.rows_success, undone.rows_failed, undone.rows_total, undone.progress) == (320, 0, 320, 100)
    assert rows(database) == dict.fromkeys(range(50), 1.5)
    assert now(database, second).undone_by == undone.id
    with pytest.raises(UndoRefusedError, match=f"was undone already, by #{undone.id}"):
        ordered(database, second)

    assert preview(database, undone) == Preview(0, 320, {}, 0)
    redone = undo(database, undone)
    assert (redone.status, redone.rows_success, redone.rows_added) == (Status.COMPLETED, 320, 320)
    assert len(rows(database)) == 370
    assert now(database, second).undone_by is None
    assert now(database, undone).undone_by == redone.id


def test_the_middle_one_of_three_overlapping_upserts_is_undone(database: Database, send: Send) -> None:
    first = send(dict.fromkeys(range(10), 1.0))
    second = send(dict.fromkeys(range(5, 15), 2.0))
    third = send(dict.fromkeys(range(8, 12), 3.0) | {12: 2.0})

    found = preview(database, second)
    assert found == Preview(remove=2, restore=3, keep={third.id: 5}, gone=0)  # 13 and 14; 5 to 7; 8 to 12
    undone = undo(database, second)
    assert (undone.rows_success, undone.rows_removed, undone.rows_added) == (5, 2, 0)
    assert rows(database) == dict.fromkeys(range(8), 1.0) | dict.fromkeys(range(8, 12), 3.0) | {12: 2.0}

    undo(database, third)  # so that those of the second, which is undone, stay away
    assert rows(database) == dict.fromkeys(range(10), 1.0)
    undo(database, undone)
    assert rows(database) == dict.fromkeys(range(5), 1.0) | dict.fromkeys(range(5, 15), 2.0)
    undo(database, first)
    assert rows(database) == dict.fromkeys(range(5, 15), 2.0)


@pytest.mark.parametrize("seed", range(3))
def test_after_any_undos_the_rows_are_those_of_the_uploads_in_effect(database: Database, send: Send, seed: int) -> None:
    """As if only these had been imported, one after the other."""
    chance = random.Random(seed)
    sent: dict[int, tuple[bool, dict[int, float]]] = {}
    ended: list[Upload] = []
    for _ in range(14):
        undoable = [each for each in ended if now(database, each).undone_by is None]
        if undoable and chance.random() < 0.5:
            chosen = chance.choice(undoable)
            found = preview(database, chosen)
            before = rows(database)
            ended.append(undo(database, chosen))
            after = rows(database)
            assert ended[-1].status is Status.COMPLETED
            assert (ended[-1].rows_success, ended[-1].rows_removed) == (found.remove + found.restore, found.remove)
            assert found.remove == len(before.keys() - after.keys())
        else:
            replaces = chance.random() < 0.2
            prices = {sku: float(chance.randrange(3)) for sku in chance.sample(range(12), chance.randrange(1, 9))}
            ended.append(send(prices, **({"mode": Mode.REPLACE} if replaces else {})))
            sent[ended[-1].id] = replaces, prices
        expected: dict[int, float] = {}
        for upload_id, (replaces, prices) in sent.items():
            with database.reading() as connection:
                if uploads.get(connection, upload_id).undone_by is None:
                    expected = ({} if replaces else expected) | prices
        assert rows(database) == expected, [(each.kind, each.id, each.undoes) for each in ended]


#: Where the work horse of an undo is killed, one death after the other.
DEATHS = [
    Death("from jobs import datasets as Doomed", "count_rows", 2),  # inside a chunk
    Death("from jobs.work.undoing import Undoing as Doomed", "_change", 2),  # between two chunks
    Death("from jobs import uploads as Doomed", "mark_undone", 1),  # as it is completed
]


def test_an_undo_that_is_killed_goes_on_and_changes_no_row_twice(database: Database, send: Send) -> None:
    send(dict.fromkeys(range(250), 1.5))
    second = send(dict.fromkeys(range(150, 500), 2.5))
    ordered_undo = ordered(database, second)
    seen = []
    for death in DEATHS:
        found = killed(database, ordered_undo, death)
        assert now(database, second).undone_by is None
        seen.append((found.rows_success, len(rows(database))))
    ended = run(database, ordered_undo)

    assert [done for done, _ in seen] == [100, 200, 350]
    assert (ended.status, ended.attempt, ended.rows_success) == (Status.COMPLETED, 4, 350)
    assert (ended.rows_removed, ended.rows_added) == (250, 0)
    assert rows(database) == dict.fromkeys(range(250), 1.5)
    assert now(database, second).undone_by == ended.id
    undo(database, ended)
    assert rows(database) == dict.fromkeys(range(150), 1.5) | dict.fromkeys(range(150, 500), 2.5)


def test_an_undo_that_is_stopped_is_continued_or_undone(
    settings: Settings, database: Database, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send(dict.fromkeys(range(450), 1.5))
    going_on = Undoing._change

    def stop(attempt: Undoing, connection: sa.Connection, **named: Any) -> Upload:
        changed = going_on(attempt, connection, **named)
        return (
            uploads.cancel(connection, changed.id)
            if (changed.parent, changed.rows_success) == (sent.id, 200)
            else changed
        )

    monkeypatch.setattr(Undoing, "_change", stop)
    stopped = undo(database, sent)
    assert (stopped.status, stopped.rows_success, len(rows(database))) == (Status.CANCELLED, 200, 250)
    assert now(database, sent).undone_by is None
    with pytest.raises(UndoRefusedError, match=f"Its undo, #{stopped.id}, was stopped after 200 rows"):
        ordered(database, sent)
    with database.reading() as connection, pytest.raises(UndoRefusedError, match="was stopped after 200 rows"):
        undo_orders.require_retry(connection, sent)

    back = undo(database, stopped)
    assert (back.status, back.rows_success, len(rows(database))) == (Status.COMPLETED, 200, 450)
    with database.reading() as connection, pytest.raises(UndoRefusedError, match=f"was undone, by #{back.id}"):
        undo_orders.require_retry(connection, now(database, stopped))

    with pytest.raises(UndoRefusedError, match=f"#{stopped.id}, .* stopped half-way. Undo #{sent.id} instead."):
        ordered(database, back)

    again = undo(database, sent)
    assert (again.status, len(rows(database))) == (Status.CANCELLED, 250)
    with database.transaction() as connection:
        undo_orders.require_retry(connection, again)
        uploads.retry(connection, again.id)
    monkeypatch.setattr(Undoing, "_change", going_on)
    ended = run(database, again)
    assert (ended.status, ended.rows_success, rows(database)) == (Status.COMPLETED, 450, {})
    assert now(database, sent).undone_by == again.id


def test_a_value_that_is_unique_stays_with_the_row_that_has_it(database: Database, send: Send) -> None:
    """And goes from row to row among those that get their earlier values back, whichever comes first."""
    price = {"name": "price", "type": "number", "constraints": {"unique": True}}
    with database.transaction() as connection:
        datasets.remove(connection, datasets.get(connection, "stock"))
        schema = TableSchema.parse({**STOCK, "fields": [STOCK["fields"][0], price]})
        datasets.declare(connection, "stock", schema, Mode.UPSERT)
    before = {sku: float(sku) for sku in range(1, 302)}
    send(before)
    # Row 300 takes the value that row 1 gives up: they are restored in one step, though many rows are between them.
    second = send({1: 999.0} | {sku: sku + 5_000.0 for sku in range(3, 250)} | {300: 1.0, 301: 2_000.0})
    third = send({400: 301.0})

    found = preview(database, second)
    assert found == Preview(0, 249, {third.id: 1}, 0)
    undone = undo(database, second)
    assert (undone.status, undone.rows_success) == (Status.COMPLETED, 249)
    assert rows(database) == before | {301: 2_000.0, 400: 301.0}
    assert undo(database, undone).rows_success == 249
    assert (rows(database)[1], rows(database)[300]) == (999.0, 1.0)


def test_no_upload_is_undone_twice_because_an_undo_comes_into_effect_again(database: Database, send: Send) -> None:
    sent = send({1: 1.0})
    first = undo(database, sent)
    back = undo(database, first)
    second = undo(database, sent)
    with pytest.raises(UndoRefusedError, match=f"Upload #{sent.id} was undone since, by #{second.id}"):
        ordered(database, back)
    undo(database, second)
    assert rows(database) == {1: 1.0}


def test_rows_that_somebody_deleted_are_gone(database: Database, send: Send) -> None:
    sent = send({1: 1.0, 2: 2.0, 3: 3.0})
    with database.transaction() as connection:
        connection.execute(sa.text("DELETE FROM data_stock WHERE sku = 2"))
        datasets.count_rows(connection, "stock", -1)

    assert preview(database, sent) == Preview(2, 0, {}, 1)
    assert undo(database, sent).rows_success == 2


def test_a_deleted_upload_is_undone_and_put_back_and_nobody_is_told_of_it(database: Database, send: Send) -> None:
    sent = send({1: 1.0, 2: 2.0})
    with database.transaction() as connection:
        deletion.delete(connection, sent.id, SOMEBODY)

    undone = undo(database, sent)
    assert (undone.status, undone.rows_success, rows(database)) == (Status.COMPLETED, 2, {})
    assert (now(database, sent).undone_by, now(database, sent).seq) == (undone.id, sent.seq)
    back = undo(database, undone)
    assert (back.status, rows(database)) == (Status.COMPLETED, {1: 1.0, 2: 2.0})
    assert (now(database, sent).undone_by, now(database, sent).seq) == (None, sent.seq)
    with database.reading() as connection:
        assert UploadLog.read(connection, uploads.get(connection, sent.id)).entries == []


def test_without_images_only_what_inserted_alone_is_undone(
    database: Database, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULK_UPLOAD_UNDO_DAYS", "0")
    first = send({1: 1.0, 2: 2.0})
    second = send({2: 3.0, 3: 3.0})

    with pytest.raises(UndoRefusedError, match="this server keeps no rows that uploads replace"):
        ordered(database, second)
    undone = undo(database, first)
    assert (undone.rows_success, rows(database)) == (1, {2: 3.0, 3: 3.0})
    with pytest.raises(UndoRefusedError, match="removed rows that are not kept"):
        ordered(database, undone)


def test_repairs_are_taken_along_if_somebody_says_so(database: Database, send: Send) -> None:
    parent = send("sku,price\n1,1.5\n2,dear\n")
    child = send(f"sku,price,_upload_id,_row_number,_error\n2,2.5,{parent.id},2,\n")
    assert (child.parent, rows(database)) == (parent.id, {1: 1.5, 2: 2.5})

    alone = undo(database, parent)
    assert rows(database) == {2: 2.5}
    undo(database, alone)
    both = undo(database, parent, repairs=True)
    assert (both.undoes, both.rows_success, rows(database)) == ([parent.id, child.id], 2, {})
    assert now(database, child).undone_by == both.id
    undo(database, both)
    assert rows(database) == {1: 1.5, 2: 2.5}
    assert now(database, child).undone_by is None


def counts(database: Database, upload: Upload) -> tuple[int, int, int]:
    """Of its failed rows: how many were corrected, failed again, and are open."""
    found = now(database, upload)
    return found.rows_corrected, found.rows_failed_again, found.rows_open


def open_numbers(database: Database, upload: Upload) -> list[int]:
    with database.reading() as connection:
        return [row.row_number for row in open_rows.page(connection, upload.id, limit=99)]


def reasons(database: Database, upload: Upload) -> int:
    """For how many open rows the reasons of an upload are counted."""
    with database.reading() as connection:
        return sum(each.rows for each in failed_rows.failures(connection, upload.id, limit=9))


def corrections(parent: Upload, *lines: str) -> str:
    return "\n".join(["sku,price,_upload_id,_row_number,_error", *(f"{line}," for line in lines), ""])


def test_failed_rows_that_an_undone_upload_had_corrected_are_open_until_the_undo_is_undone(
    database: Database, send: Send
) -> None:
    parent = send("sku,price\n1,1.5\n2,dear\n3,cheap\n4,none\n")
    child = send(corrections(parent, f"2,2.5,{parent.id},2", f"3,3.5,{parent.id},3", f"4,still,{parent.id},4"))
    grandchild = send(corrections(child, f"4,4.5,{child.id},3"))
    assert counts(database, parent) == (3, 0, 0)

    undone = undo(database, grandchild)
    assert (counts(database, parent), counts(database, child)) == ((2, 1, 0), (0, 0, 1))
    assert (open_numbers(database, parent), open_numbers(database, child)) == ([], [3])
    undo(database, undone)
    assert (counts(database, parent), counts(database, child)) == ((3, 0, 0), (1, 0, 0))

    undone = undo(database, child)
    assert counts(database, parent) == (1, 0, 2)
    assert open_numbers(database, parent) == [2, 3]
    assert reasons(database, parent) == 2
    undo(database, undone)
    assert counts(database, parent) == (3, 0, 0)
    assert (open_numbers(database, parent), reasons(database, parent)) == ([], 0)
    assert rows(database) == {1: 1.5, 2: 2.5, 3: 3.5, 4: 4.5}


def test_rows_that_failed_again_in_an_undone_upload_are_open_where_they_were(database: Database, send: Send) -> None:
    parent = send("sku,price\n1,1.5\n2,dear\n3,cheap\n4,none\n")
    child = send(corrections(parent, f"2,2.5,{parent.id},2", f"3,still,{parent.id},3", f"4,naught,{parent.id},4"))
    grandchild = send(corrections(child, f"3,again,{child.id},2", f"4,4.5,{child.id},3"))
    chain = parent, child, grandchild

    def found() -> list[tuple[list[int], int]]:
        """Of each upload: its open rows, and how many of them the reasons are counted for."""
        assert [len(open_numbers(database, each)) for each in chain] == [counts(database, each)[2] for each in chain]
        return [(open_numbers(database, each), reasons(database, each)) for each in chain]

    assert found() == [([], 0), ([], 0), ([1], 1)]
    undone = undo(database, grandchild)
    assert found() == [([], 0), ([2, 3], 2), ([], 0)]
    both = undo(database, child)
    assert found() == [([2, 3, 4], 3), ([], 0), ([], 0)]
    undo(database, undone)
    assert found() == [([2], 1), ([], 0), ([1], 1)]
    undo(database, both)
    assert found() == [([], 0), ([], 0), ([1], 1)]
    assert rows(database) == {1: 1.5, 2: 2.5, 4: 4.5}


def test_a_row_that_another_upload_corrected_meanwhile_is_open_only_if_both_are_undone(
    database: Database, send: Send
) -> None:
    parent = send("sku,price\n1,1.5\n2,dear\n")
    first = send(corrections(parent, f"2,2.5,{parent.id},2"))
    undone = undo(database, first)
    second = send(corrections(parent, f"2,3.5,{parent.id},2"))
    assert counts(database, parent) == (1, 0, 0)

    undo(database, undone)
    undo(database, second)
    assert counts(database, parent) == (1, 0, 0)
    undo(database, first)
    assert counts(database, parent) == (0, 0, 1)
    assert rows(database) == {1: 1.5}


def test_rows_that_a_repair_wrote_over_those_of_its_parent_are_counted_once(database: Database, send: Send) -> None:
    parent = send("sku,price\n1,1.5\n2,dear\n2,2.0\n")
    child = send(f"sku,price,_upload_id,_row_number,_error\n2,2.5,{parent.id},2,\n")
    assert (child.parent, rows(database)) == (parent.id, {1: 1.5, 2: 2.5})

    found = undo_previews.count(database, now(database, parent), repairs=True)
    assert (found.remove, found.restore, found.keep, found.gone) == (2, 0, {}, 0)


def test_what_others_wrote_between_two_rows_of_a_file_comes_back_with_its_undo(
    send: Send, database: Database, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = "".join(f"{sku},0\n" for sku in range(100, 200))
    send({1: 1})
    advance = uploads.advance

    def stop_after_the_first_chunk(connection: sa.Connection, claim: Claim, **more: Any) -> Upload:
        advanced = advance(connection, claim, **more)
        uploads.cancel(connection, claim.upload_id)
        return advanced

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "advance", stop_after_the_first_chunk)
        stopped = send(f"sku,price\n1,2\n{rest}1,1\n100,5\n")
    assert stopped.status is Status.CANCELLED
    send({1: 3})
    changes.make(lambda connection: uploads.retry(connection, stopped.id))
    ended = run(database, stopped)

    assert (ended.status, ended.rows_success) == (Status.COMPLETED, 103)
    assert rows(database)[1] == 1
    undo(database, ended)
    assert rows(database) == {1: 3}
