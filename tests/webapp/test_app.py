"""The application as a whole: startup, background tasks, shutdown, imports."""

import os
import subprocess
import sys

import pytest
from redis import Redis

from jobs import sweeper, uploads
from jobs.database import Database
from jobs.events import GENERAL_CHANNEL
from jobs.people import accounts
from jobs.people.roles import Role
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.uploads import Status, Upload
from tests import ROOT
from tests.support.databases import ONE_DATABASE
from tests.support.files import store
from tests.support.queueing import rung_for
from tests.support.serving import Records, Served
from tests.support.waiting import until


@pytest.mark.parametrize(
    "heavy",
    [{"pandas", "pyarrow", "numpy", "jobs.pipeline"}, {"authlib", "joserfc", "httpx"}],
    ids=["of workers", "of OpenID Connect"],
)
def test_the_application_does_not_import_what_it_may_not_need(heavy: set[str]) -> None:
    code = f"import sys, webapp.app; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout == "[]\n"


@ONE_DATABASE
def test_the_host_is_checked_in_every_mode(settings: Settings) -> None:
    named: dict[str, object] = {"allowed_hosts": "imports.example"}
    cases: list[tuple[dict[str, object], int]] = [
        ({}, 400), ({"open": True}, 400), ({"setup": True}, 400), (named, 200), ({**named, "open": True}, 200),
    ]  # fmt: skip
    for changes, expected in cases:
        with Served(settings.model_copy(update=changes)) as served:
            answer = served.client.get("/uploads", headers={"Host": "imports.example"})

            assert (answer.status_code, "set-cookie" in answer.headers) == (expected, False), changes
            assert served.client.get("/healthz", headers={"Host": "10.0.0.7"}).status_code == 200


@ONE_DATABASE
def test_every_page_of_a_server_that_is_open_to_everybody_says_so(settings: Settings) -> None:
    words = "Open to everybody."
    with Served(settings.model_copy(update={"open": True})) as served:
        upload = served.records.pending()
        pages = ["/uploads", f"/uploads/{upload.id}", "/datasets", "/nothing"]

        assert [path for path in pages if words not in served.client.get(path).text] == []
        with served.records.database.transaction() as connection:
            accounts.add(connection, "Ana", Role.ADMIN)
    with Served(settings.model_copy(update={"open": True})) as served:
        assert words not in served.client.get("/sign-in").text
    with Served(settings) as served:
        assert words not in served.client.get("/nothing").text


@ONE_DATABASE
def test_a_server_that_nobody_has_set_up_answers_nothing_but_that(settings: Settings) -> None:
    with Served(settings.model_copy(update={"setup": True})) as served:
        client = served.client
        closed = ["/uploads", "/datasets", "/uploads/1/original", "/invitation/x", "/", "/people", "/set-upper"]
        programs = ["/api/v1/uploads", "/api/v1/events", "/uploads/events", "/api/v1/nothing", "/api/v1/session"]
        opened = ["/healthz", "/readyz", "/static/style.css"]

        assert {client.get(path).headers.get("location", "").partition("?")[0] for path in closed} == {"/sign-in"}
        assert {client.get(path).status_code for path in programs} == {401}
        assert {client.post(path).status_code for path in (*closed, *programs)} == {401}
        assert {client.get(path).status_code for path in opened} == {200}
        assert {client.get(path).status_code for path in ("/sign-in/nothing", "/set-up/nothing/here")} == {404}


@ONE_DATABASE
def test_files_that_no_upload_needs_are_removed_at_startup(settings: Settings, records: Records) -> None:
    stored = settings.files / records.pending().stored_as
    lost, foreign = settings.files / f"{'0' * 32}.part", settings.files / "june.csv.part"
    for path in (lost, foreign):
        path.write_bytes(b"a")
    for path in (lost, foreign, stored):
        os.utime(path, (0, 0))
    with Served(settings) as served:
        until(lambda: served.stored == sorted([stored, foreign]), "the left-over file to be removed")


def lost(settings: Settings) -> Upload:
    """A pending upload that is not in the queue."""
    database = Database(settings.database)
    file = store(settings, "a\n1\n")
    with database.transaction() as connection:
        upload = uploads.create(connection, file)
    database.close()
    return upload


def test_a_pending_upload_that_is_not_queued_is_enqueued(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "LOST_AFTER", 0.1)
    upload = lost(settings)
    with Served(settings):
        until(lambda: upload.id in rung_for(settings), "the upload to be enqueued")


def test_an_upload_of_a_dead_worker_is_taken_back_and_published(served: Served) -> None:
    records = served.records
    upload = records.pending()
    with served.stream("/api/v1/events") as stream:
        upload = records.tell(lambda connection: uploads.claim(connection, upload.id, worker="gone", lease=0.3))
        events = stream.until(lambda event: event.json()["status"] == "pending" and event.json()["attempt"] == 1)

    assert events[-1].json()["seq"] == upload.seq + 1
    assert records.get(upload).status is Status.PENDING


@ONE_DATABASE
def test_a_failed_sweep_is_repeated(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sweeps: list[str] = []

    def sweep(_self: Sweeper) -> None:
        sweeps.append("sweep")
        raise OSError("no such luck")

    monkeypatch.setattr(Sweeper, "sweep", sweep)
    with Served(settings) as served:
        until(lambda: len(sweeps) > 1, "a second sweep")

        assert served.client.get("/healthz").status_code == 200

    assert "The sweep for lost uploads failed; trying again in 0.2 s." in caplog.text


@ONE_DATABASE
def test_shutdown_closes_all_connections(settings: Settings) -> None:
    with Redis.from_url(settings.redis) as redis:
        before = {client["id"] for client in redis.client_list()}
        with Served(settings) as served:
            until(lambda: redis.pubsub_numsub(GENERAL_CHANNEL)[0][1] == 1, "the hub to listen")
            served.client.get("/uploads")
        until(lambda: {client["id"] for client in redis.client_list()} <= before, "its connections to be closed")


def test_each_process_delivers_the_changes_of_another(settings: Settings) -> None:
    with Served(settings) as one, Served(settings) as other, other.stream("/uploads/events") as stream:
        stream.next()
        upload_id = one.post("a\n1\n").json()["id"]

        stream.until_text(f'id="upload-{upload_id}"')
        one.client.post(f"/api/v1/uploads/{upload_id}/cancel")
        stream.until_text(f'id="toast-{upload_id}-0"')
