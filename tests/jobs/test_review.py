"""Looking at files before their import, on both databases: what holds them, and how they go on."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from jobs import bulk_upload, datasets, review, uploads
from jobs.database import Database
from jobs.datasets import Mode
from jobs.errors import InvalidMappingError, RefusedError
from jobs.import_options import ImportOptions
from jobs.lanes import Lane
from jobs.pipeline.shadow import Shadow
from jobs.process import shutdown
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.uploads import Claim, HoldCode, Phase, Review, Status, Target, Task, Upload
from jobs.work import inspection
from tests import ROOT
from tests.support.files import store
from tests.support.workbooks import of_sheets

PEOPLE = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "email", "type": "string", "aliases": ["mail address"]},
        {"name": "born", "type": "date"},
    ],
    "primaryKey": "id",
}
ROWS = "1,ann@example.org,1990-01-31\n2,bob@example.org,1991-02-01\n"

Job = Callable[..., Upload]


@pytest.fixture
def job(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Sends a file and runs its job, or runs that of an upload again."""
    for name, value in settings.model_copy(update={"chunk_bytes": 256, "lease": 20}).environment().items():
        monkeypatch.setenv(name, value)

    def run(content: str | Upload, *, review: Review = Review.AUTO, **more: Any) -> Upload:
        if isinstance(content, Upload):
            upload_id = content.id
        else:
            with database.transaction() as connection:
                file = store(settings, content, "people.csv")
                upload_id = uploads.create(connection, file, review=review, **more).id
        bulk_upload.run(upload_id)
        return now(database, upload_id)

    return run


@pytest.fixture
def people(database: Database) -> str:
    with database.transaction() as connection:
        return datasets.declare(connection, "people", TableSchema.parse(PEOPLE), Mode.UPSERT).name


def now(database: Database, upload_id: int) -> Upload:
    with database.reading() as connection:
        return uploads.get(connection, upload_id)


def shown(database: Database, upload: Upload) -> dict[str, Any]:
    with database.reading() as connection:
        return review.as_json(connection, upload)


def codes(upload: Upload) -> list[str]:
    return [each["code"] for each in upload.hold]


def approved(database: Database, upload: Upload) -> Upload:
    with database.transaction() as connection:
        review.require_complete(connection, uploads.get(connection, upload.id))
        return uploads.approve(connection, upload.id)


def cells(database: Database, name: str = "people") -> list[list[str]]:
    with database.reading() as connection:
        dataset = datasets.get(connection, name)
        return [row.cells for row in datasets.each_after(connection, dataset, None, limit=99)]


def mapped(database: Database, upload: Upload, columns: dict[str, str | None], *, remember: bool = False) -> Upload:
    with database.transaction() as connection:
        found = uploads.get(connection, upload.id)
        return review.map_columns(connection, found, columns, remember=remember)


@pytest.mark.parametrize("how", [Review.NEVER, Review.AUTO])
@pytest.mark.parametrize("header", ["id,email,born", "ID,Mail Address,Born"])
def test_a_file_that_fits_goes_in_in_its_first_attempt(
    database: Database, job: Job, people: str, how: Review, header: str
) -> None:
    upload = job(f"{header}\n{ROWS}", review=how, dataset=people)

    assert (upload.status, upload.attempt, upload.rows_success, upload.hold) == (Status.COMPLETED, 1, 2, [])


def test_a_renamed_column_holds_the_file_until_somebody_says_what_it_is(
    database: Database, job: Job, people: str
) -> None:
    upload = job(f"id,e-mail adress,born\n{ROWS}", dataset=people)

    assert (upload.status, upload.phase, codes(upload)) == (Status.HELD, Phase.CHECK, [HoldCode.COLUMNS])
    assert (upload.rows_processed, upload.worker, upload.lease_until, upload.finished_at) == (0, None, None, None)
    assert cells(database) == []
    column = shown(database, upload)["columns"][1]
    assert (column["name"], column["samples"], column["filled"]) == (
        "e-mail adress", ["ann@example.org", "bob@example.org"], 1.0
    )  # fmt: skip
    mapped(database, upload, {"e-mail adress": "email"})
    ended = job(approved(database, upload))
    assert (ended.status, ended.rows_success, ended.warnings) == (Status.COMPLETED, 2, [])
    assert cells(database)[0] == ["1", "ann@example.org", "1990-01-31"]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (of_sheets("June", "July"), HoldCode.SHEET, "Only the worksheet “June” would be imported. “July” has"),
        ("1,2.5,true\n4,5.5,false\n7,8.5,true\n", HoldCode.HEADER, "so its first row would be imported as data. If"),
        ("1,2,3\n4,5,6\n7,8,9\n051301,1,1\n", HoldCode.HEADER, "If it is, choose “First row is data”."),
    ],
)
def test_what_was_guessed_is_told_as_what_would_happen(job: Job, content: str, code: HoldCode, words: str) -> None:
    upload = job(content)

    assert (upload.status, codes(upload)) == (Status.HELD, [code])
    assert words in upload.hold[0]["detail"]


def test_what_is_remembered_never_holds_again_nor_changes_what_was_chosen_for_another_file(
    database: Database, job: Job, people: str
) -> None:
    content = f"id,e-mail adress,born,notes\n{ROWS.replace('31', '31,x').replace('02-01', '02-01,y')}"
    first = job(content, dataset=people)
    mapped(database, first, {"e-mail adress": "email", "notes": None}, remember=True)
    job(approved(database, first))
    for how in (Review.AUTO, Review.NEVER):
        again = job(content.replace("ann@", "eve@"), dataset=people, review=how)

        assert (again.status, again.rows_success, again.warnings) == (Status.COMPLETED, 2, [])
    assert cells(database)[0][1] == "eve@example.org"


def test_a_key_without_a_column_holds_the_file_and_is_not_imported_without_one(
    database: Database, job: Job, people: str
) -> None:
    upload = job("email,born\na@example.org,1990-01-31\n", dataset=people)

    assert codes(upload) == [HoldCode.COLUMNS]
    assert "“id”" in upload.hold[0]["detail"]
    with pytest.raises(RefusedError, match="“id”"):
        approved(database, upload)
    assert now(database, upload.id).status is Status.HELD


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (
            "id,email,born\n1,a@example.org,31.12.\n2,b@example.org,never\n3,c@example.org,1990-01-31\n",
            HoldCode.FAILING,
        ),
        ("1,a@example.org,1990-01-31\n2,b@example.org,1990-01-31\n", HoldCode.HEADER),
    ],
)
def test_what_is_likely_to_go_wrong_is_asked(
    database: Database, job: Job, people: str, content: str, code: HoldCode
) -> None:
    upload = job(content, dataset=people)
    told = job(content, dataset=people, review=Review.NEVER)

    assert (upload.status, codes(upload)) == (Status.HELD, [code])
    assert told.status is Status.COMPLETED


def test_a_file_of_a_new_dataset_is_held_without_creating_it(database: Database, job: Job) -> None:
    upload = job("id,name\n1,Zoë\n", review=Review.ALWAYS)
    seen = shown(database, upload)

    assert (upload.status, upload.dataset, codes(upload)) == (Status.HELD, None, [HoldCode.REVIEW])
    assert seen["options"] | {"encoding": "utf-8", "delimiter": ",", "header_row": 1, "sheet": None} == seen["options"]
    assert [(each["name"], each["type"]) for each in seen["fields"]] == [("id", "integer"), ("name", "string")]
    assert seen["rows"] == [["1", "Zoë"]]
    assert (seen["check"]["rows"], seen["check"]["would_insert"]) == (1, 1)
    with database.reading() as connection:
        assert datasets.names(connection) == []
    ended = job(approved(database, upload))
    assert (ended.status, ended.dataset, ended.rows_success) == (Status.COMPLETED, "people", 1)


def test_other_options_are_looked_at_anew(database: Database, job: Job, people: str) -> None:
    upload = job(f"Our people\nid,email,born\n{ROWS}", review=Review.ALWAYS, dataset=people)
    with database.transaction() as connection:
        uploads.order(connection, upload.id, Task.LOOK, options=ImportOptions(header_row=2))
    again = job(upload)

    assert (again.status, again.header) == (Status.HELD, ["id", "email", "born"])
    assert shown(database, again)["check"] is None


def test_columns_are_mapped_one_to_one_or_not_at_all(database: Database, job: Job, people: str) -> None:
    upload = job(f"id,email,born\n{ROWS}", review=Review.ALWAYS, dataset=people)
    impossible: tuple[dict[str, str | None], ...] = ({"born": "email"}, {"absent": "email"}, {"born": "absent"})
    for wrong in impossible:
        with pytest.raises(InvalidMappingError):
            mapped(database, upload, wrong)
    swapped = mapped(database, upload, {"born": "email", "email": None})

    assert swapped.mapping == {"id": "id", "email": None, "born": "email"}
    assert shown(database, swapped)["check"] is None


#: Where a work horse dies, by what it is asked to do.
DEATHS = {
    Task.LOOK: "from jobs.work.look import Look as Doomed; name = 'reasons'",
    Task.CHECK: "from jobs.pipeline.shadow import Shadow as Doomed; name = 'compare'",
    Task.IMPORT: "from jobs.work.attempt import Attempt as Doomed; name = '_count'",
}
KILLED = "import os, signal; {}; setattr(Doomed, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))"


@pytest.mark.parametrize("task", DEATHS)
def test_a_worker_that_is_killed_leaves_the_file_to_the_next_one(
    database: Database, job: Job, people: str, task: Task
) -> None:
    held = job(f"id,e-mail adress,born\n{ROWS}", dataset=people)
    if task is Task.IMPORT:
        approved(database, held)
    else:
        with database.transaction() as connection:
            uploads.order(connection, held.id, task)
    program = f"{KILLED.format(DEATHS[task])}; from jobs import bulk_upload; bulk_upload.run({held.id})"
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)
    found = now(database, held.id)
    with database.transaction() as connection:  # as the worker does when its work horse dies
        uploads.hand_back(connection, Claim(found.id, found.attempt), because="its process ended")
    waiting = now(database, held.id)
    nothing = cells(database)
    ended = job(held)

    assert (killed.returncode, found.status) == (-signal.SIGKILL, Status.PROCESSING), killed.stderr
    assert (waiting.status, waiting.task, waiting.mapping, waiting.rows_processed) == (
        Status.PENDING, task, held.mapping, 0
    )  # fmt: skip
    assert nothing == []
    assert (ended.status, ended.attempt) == (Status.COMPLETED if task is Task.IMPORT else Status.HELD, 3)
    assert len(cells(database)) == (2 if task is Task.IMPORT else 0)
    assert ended.attempts_without_progress == 0
    if task is Task.CHECK:
        assert shown(database, ended)["check"]["would_insert"] == 2


def test_a_check_that_is_interrupted_leaves_nothing_and_begins_again(
    database: Database, job: Job, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Shadow.write

    def stop(*arguments: Any) -> Any:
        shutdown.requested.set()
        return written(*arguments)

    rows = "".join(f"{number},{number}@example.org,1990-01-31\n" for number in range(200))
    with monkeypatch.context() as patched:
        patched.setattr(Shadow, "write", stop)
        interrupted = job(f"id,email,born\n{rows}", review=Review.ALWAYS, dataset=people)
    shutdown.requested.clear()
    ended = job(interrupted)

    assert (interrupted.status, interrupted.task, interrupted.rows_processed) == (Status.PENDING, Task.CHECK, 0)
    assert (ended.status, shown(database, ended)["check"]["would_insert"]) == (Status.HELD, 200)
    assert cells(database) == []


def test_progress_never_falls_within_an_attempt_that_checks(
    database: Database, job: Job, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "CHECK_INTERVAL", 0.0)
    written, seen = Shadow.write, list[tuple[int, int]]()

    def note(shadow: Any, connection: sa.Connection, rows: Any) -> Any:
        with database.reading() as reading:
            [upload] = uploads.active(reading)
        seen.append((upload.attempt, upload.progress))
        if upload.attempt == 1 and len(seen) > 5:
            shutdown.requested.set()
        return written(shadow, connection, rows)

    monkeypatch.setattr(Shadow, "write", note)
    rows = "".join(f"{number},{number}@example.org,1990-01-31\n" for number in range(200))
    interrupted = job(f"id,email,born\n{rows}", review=Review.ALWAYS, dataset=people)
    shutdown.requested.clear()
    held = job(interrupted)

    assert (held.status, held.attempt) == (Status.HELD, 2)
    assert [seen[-1][0], seen[-1][1] > 50] == [2, True]
    assert sorted(seen) == seen
    assert (2, 0) in seen
    assert held.progress >= seen[-1][1]


def test_an_upload_that_is_cancelled_during_its_check_stays_cancelled(
    database: Database, job: Job, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "CHECK_INTERVAL", 0.0)
    written = Shadow.write

    def cancel(shadow: Any, connection: sa.Connection, rows: Any) -> Any:
        with database.reading() as reading:
            [upload] = uploads.active(reading)
        with database.transaction() as writing:
            uploads.cancel(writing, upload.id)
        monkeypatch.setattr(Shadow, "write", written)
        return written(shadow, connection, rows)

    monkeypatch.setattr(Shadow, "write", cancel)
    rows = "".join(f"{number},{number}@example.org,1990-01-31\n" for number in range(200))
    upload = job(f"id,email,born\n{rows}", review=Review.ALWAYS, dataset=people)

    assert (upload.status, upload.hold, upload.mapping) == (Status.CANCELLED, [], None)


def test_the_database_serves_others_while_a_check_writes_into_its_shadow(
    settings: Settings, database: Database, job: Job, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Shadow.write
    sent: list[int] = []

    def meanwhile(*arguments: Any) -> Any:
        found = written(*arguments)
        with database.transaction() as connection:
            sent.append(uploads.create(connection, store(settings, "id\n1\n"), dataset=people).id)
        return found

    monkeypatch.setattr(Shadow, "write", meanwhile)
    upload = job(f"id,email,born\n{ROWS}", review=Review.ALWAYS, dataset=people)

    assert upload.status is Status.HELD
    assert len(sent) == 1


def test_a_review_is_bounded_whatever_the_file_has(database: Database, job: Job) -> None:
    wide = ",".join(f"c{number}" for number in range(300))
    row = ",".join(["x" * 3_000] * 300)
    upload = job(f"{wide}\n{row}\n{row}\n", review=Review.ALWAYS)

    assert len(json.dumps(shown(database, upload))) < 1_000_000


def test_a_held_upload_is_cancelled_when_nobody_decides(database: Database, job: Job, people: str) -> None:
    upload = job(f"id,e-mail adress,born\n{ROWS}", dataset=people)
    with database.transaction() as connection:
        early = uploads.expire(connection, upload.id, for_seconds=60, error="Nobody decided.")
        late = uploads.expire(connection, upload.id, for_seconds=-1, error="Nobody decided.")
        again = uploads.retry(connection, upload.id)

    assert early is None
    assert late is not None
    assert (late.status, late.error, late.hold) == (Status.CANCELLED, "Nobody decided.", [])
    assert (again.mapping, again.is_approved) == (None, False)
    assert job(again).status is Status.HELD


def test_an_import_begins_when_it_was_approved(database: Database, job: Job, people: str) -> None:
    held = job(f"id,email,born\n{ROWS}", dataset=people, review=Review.ALWAYS)
    with database.transaction() as connection:
        approved = uploads.approve(connection, held.id)
    done = job(approved)

    assert held.started_at is not None
    assert approved.started_at is None
    assert done.started_at is not None
    assert done.started_at > held.started_at


def test_a_retry_is_reviewed_again_unless_somebody_approved_the_file(database: Database, job: Job, people: str) -> None:
    held = job(f"id,email,born\n{ROWS}", dataset=people, review=Review.ALWAYS)
    with database.transaction() as connection:
        uploads.cancel(connection, held.id)
        again = uploads.retry(connection, held.id)
    assert (again.task, job(again).status) == (Task.CHECK, Status.HELD)
    with database.transaction() as connection:
        uploads.cancel(connection, held.id)
        otherwise = uploads.retry_with(connection, held.id, ImportOptions(header_row=1))
    assert (otherwise.task, job(otherwise).status) == (Task.CHECK, Status.HELD)
    with database.transaction() as connection:
        uploads.approve(connection, held.id)
        uploads.cancel(connection, held.id)
        approved_once = uploads.retry(connection, held.id)

    assert (approved_once.task, job(approved_once).status) == (Task.IMPORT, Status.COMPLETED)


def test_a_look_takes_the_quick_lane_and_an_import_that_of_its_size(
    settings: Settings, database: Database, job: Job, people: str
) -> None:
    upload = job(f"id,e-mail adress,born\n{ROWS}", dataset=people, quick_bytes=1)
    with database.transaction() as connection:
        looked = uploads.order(connection, upload.id, Task.LOOK, quick_bytes=1)
    held = job(looked)
    with database.transaction() as connection:
        checked = uploads.order(connection, held.id, Task.CHECK, quick_bytes=1)
    job(checked)
    with database.transaction() as connection:
        imported = uploads.approve(connection, held.id, quick_bytes=1)

    assert [each.lane for each in (upload, looked, checked, imported)] == [Lane.BULK, Lane.QUICK, Lane.BULK, Lane.BULK]


NOTES = f"id,email,born,Weight (kg)\n{ROWS.replace(chr(10), ',1.5' + chr(10))}"


def test_a_column_becomes_a_new_field_of_the_dataset_when_the_file_is_imported(
    database: Database, job: Job, people: str
) -> None:
    job(f"id,email,born\n{ROWS}", dataset=people)
    upload = job(NOTES, review=Review.ALWAYS, dataset=people)
    [offered] = [each["new_field"] for each in shown(database, upload)["columns"] if "new_field" in each]
    with database.transaction() as connection:
        mapping = {"Weight (kg)": "weight"}
        field = {**offered, "name": "weight", "constraints": {"unique": False}}
        review.map_columns(connection, now(database, upload.id), mapping, remember=False, new_fields=[field])
        ordered = uploads.order(connection, upload.id, Task.CHECK)
    checked = job(ordered)
    seen, before = shown(database, checked), cells(database)
    approved(database, checked)
    ended = job(checked)

    assert (offered["name"], offered["type"]) == ("Weight (kg)", "number")
    assert [each["name"] for each in seen["fields"] if each.get("is_new")] == ["weight"]
    assert (seen["check"]["would_update"], seen["check"]["would_fail"]) == (2, 0)
    assert [update["after"]["weight"] for update in seen["check"]["updates"]] == ["1.5", "1.5"]
    assert [len(row) for row in before] == [3, 3]
    assert (ended.status, ended.error) == (Status.COMPLETED, None)
    assert [row[-1] for row in cells(database)] == ["1.5", "1.5"]


def test_a_cancelled_upload_has_added_no_field(database: Database, job: Job, people: str) -> None:
    upload = job(NOTES, review=Review.ALWAYS, dataset=people)
    with database.transaction() as connection:
        field = {"name": "weight", "type": "number", "constraints": {"unique": True}}
        review.map_columns(connection, upload, {"Weight (kg)": "weight"}, remember=False, new_fields=[field])
        uploads.cancel(connection, upload.id)
        dataset = datasets.get(connection, people)

    assert dataset.schema.names == ["id", "email", "born"]


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({"name": "email"}, "already"),
        ({"name": "EMAIL"}, "only in case"),
        ({"name": "weight", "type": "heavy"}, "not valid"),
        ({"name": "weight", "constraints": {"required": True}}, "no value"),
    ],
)
def test_a_new_field_that_is_not_possible_changes_nothing(
    database: Database, job: Job, people: str, field: dict[str, Any], problem: str
) -> None:
    job(f"id,email,born\n{ROWS}", dataset=people)
    upload = job(NOTES, review=Review.ALWAYS, dataset=people)
    mapping = {"Weight (kg)": field["name"]}
    with database.transaction() as connection, pytest.raises(InvalidMappingError, match=problem):
        review.map_columns(connection, upload, mapping, remember=False, new_fields=[field])

    assert now(database, upload.id) == upload


def test_a_column_of_a_file_that_makes_a_dataset_is_ignored_and_taken_again(database: Database, job: Job) -> None:
    held = job(f"id,email,born\n{ROWS}", review=Review.ALWAYS)
    with database.transaction() as connection:
        waiting = review.map_columns(connection, held, {"email": None}, remember=False)
    without = job(waiting)
    left = shown(database, without)
    with database.transaction() as connection:
        waiting = review.map_columns(connection, without, {"email": "mail", "born": None}, remember=False)
    again = job(waiting)
    approved(database, again)
    ended = job(again)

    assert (left["check"]["would_insert"], [each["column"] for each in left["fields"]]) == (2, ["id", "born"])
    assert ended.status is Status.COMPLETED
    with database.reading() as connection:
        assert datasets.get(connection, str(ended.dataset)).schema.names == ["id", "mail"]


def test_a_choice_stops_the_check_that_runs_and_is_checked_itself(
    database: Database, job: Job, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "CHECK_INTERVAL", 0.0)
    written = Shadow.write

    def choose(shadow: Any, connection: sa.Connection, rows: Any) -> Any:
        monkeypatch.setattr(Shadow, "write", written)
        with database.transaction() as writing:
            review.map_columns(writing, now(database, upload.id), {"email": None}, remember=False)
        return written(shadow, connection, rows)

    rows = "".join(f"{number},{number}@example.org,1990-01-31\n" for number in range(200))
    upload = job(f"id,email,born\n{rows}", review=Review.ALWAYS, dataset=people)
    with database.transaction() as connection:
        uploads.order(connection, upload.id, Task.CHECK)
    monkeypatch.setattr(Shadow, "write", choose)
    stopped = job(upload)
    if stopped.status is Status.PENDING:
        stopped = job(stopped)

    assert (stopped.status, stopped.mapping) == (Status.HELD, {"id": "id", "email": None, "born": "born"})
    assert shown(database, stopped)["check"]["would_insert"] == 200


@pytest.mark.parametrize(
    ("options", "error", "to_blame"),
    [
        ({"sheet": "June", "header_row": 3}, "The workbook has no worksheet called “June”.", "sheet"),
        ({"sheet": "June", "header_row": 3}, "The file has no header row in line 3.", "header_row"),
        ({"delimiter": ";"}, "The first rows differ.", "delimiter"),
        ({"delimiter": ";", "header_row": 3}, "The first rows differ.", None),
        ({}, "The file is empty.", None),
    ],
)
def test_the_option_to_blame_is_one_that_was_chosen(options: dict[str, Any], error: str, to_blame: str | None) -> None:
    assert inspection.option_to_blame(ImportOptions(**options), error) == to_blame


def test_options_that_cannot_be_read_leave_an_upload_held(database: Database, job: Job, people: str) -> None:
    upload = job(f"id,email,born\n{ROWS}", review=Review.ALWAYS, dataset=people)
    with database.transaction() as connection:
        ordered = uploads.order(connection, upload.id, Task.LOOK, options=ImportOptions(header_row=99))
    unread = job(ordered)
    problem = shown(database, unread)["problem"]
    with pytest.raises(RefusedError, match="Change how the file is read first"):
        approved(database, unread)
    with database.transaction() as connection:
        ordered = uploads.order(connection, upload.id, Task.LOOK, options=ImportOptions())
    read = job(ordered)

    assert (unread.status, codes(unread)) == (Status.HELD, ["options"])
    assert (problem["option"], problem["detail"]) == ("header_row", unread.hold[0]["detail"])
    assert (read.status, shown(database, read)["problem"]) == (Status.HELD, None)
    approved(database, read)
    assert job(read).status is Status.COMPLETED


def test_an_upload_goes_into_the_dataset_that_is_chosen_in_its_review(
    database: Database, job: Job, people: str
) -> None:
    upload = job(f"id,email,born\n{ROWS}", review=Review.ALWAYS)
    with database.transaction() as connection:
        ordered = uploads.order(connection, upload.id, Task.LOOK, target=Target(people, people, Mode.ONLY_NEW))
    into_it = job(ordered)
    with database.transaction() as connection:
        ordered = uploads.order(connection, upload.id, Task.LOOK, target=Target(None, "others"))
    into_new = job(ordered)
    approved(database, into_new)
    ended = job(into_new)

    assert (into_it.status, into_it.dataset, into_it.mode) == (Status.HELD, people, Mode.ONLY_NEW)
    assert into_it.mapping == {"id": "id", "email": "email", "born": "born"}
    assert (into_new.dataset, into_new.mode, into_new.mapping) == (None, Mode.INSERT, None)
    assert (ended.status, ended.dataset, ended.rows_success) == (Status.COMPLETED, "others", 2)
    assert cells(database) == []
