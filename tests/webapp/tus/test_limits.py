"""Files that are sent in several requests: whose they are, what they may take, and for how long."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from jobs import incoming
from jobs.incoming import Incoming
from jobs.people.roles import Role, Scope
from jobs.settings import Settings
from jobs.store.folder import FolderStore
from jobs.upkeep.leftovers import ABANDONED_AFTER, Leftovers
from tests.support.databases import ONE_DATABASE
from tests.support.resumable import Sender
from tests.support.serving import Served
from tests.support.sockets import head
from tests.support.team import BROWSER, Team, a_team
from tests.support.waiting import until
from webapp.server.connections import Connections, Deadlines

SIZE = 5_000
PART = b"a\n" + b"1\n" * 999


@pytest.fixture
def team(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Team]:
    """A server with the settings of the test's parameter, and with two uploaders."""
    with a_team(settings.model_copy(update=getattr(request, "param", {}))) as team:
        team.add("ana", Role.UPLOADER)
        team.add("ben", Role.UPLOADER)
        yield team


def stored(served: Served, path: str) -> Path:
    return served.settings.files / path.rpartition("/")[2]


@ONE_DATABASE
def test_a_file_exists_for_the_account_that_created_it_alone(team: Team) -> None:
    ana, ben, root = (Sender(team.program(name)) for name in ("ana", "ben", "root"))
    path = ana.created(SIZE)
    ana.append(path, 0, PART)
    of_others = [other.head(path).status_code for other in (ben, root)]
    of_others += [other.append(path, len(PART), PART).status_code for other in (ben, root)]
    of_others += [other.ask("DELETE", path).status_code for other in (ben, root)]

    assert set(of_others) == {404}
    assert ben.append(path, len(PART), PART).json() == ben.append("/api/v1/uploads/tus/none", 0, PART).json()
    assert ana.offset(path) == len(PART)


@ONE_DATABASE
def test_a_token_for_a_dataset_has_only_the_files_that_it_began(team: Team) -> None:
    team.served.records.dataset("prices")
    whole = Sender(team.program("ana", [Scope.UPLOAD]))
    limited = Sender(team.program("ana", [Scope.UPLOAD], dataset="prices"))
    other, own = whole.created(SIZE), limited.created(SIZE)

    assert (limited.head(other).status_code, limited.head(own).status_code) == (404, 200)
    assert whole.head(own).status_code == 200
    assert limited.create(SIZE, dataset="others").status_code == 403


@ONE_DATABASE
def test_another_website_can_send_nothing_in_somebodys_name(team: Team) -> None:
    browser = team.browser("ana")
    path = Sender(browser).created(SIZE)
    foreign, blind = {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": None}

    assert Sender(browser).append(path, 0, PART, foreign).status_code == 403
    assert Sender(browser).create(SIZE, headers=foreign).status_code == 403
    del browser.headers["Sec-Fetch-Site"]
    assert Sender(browser).append(path, 0, PART, blind).status_code == 403
    browser.headers.update(BROWSER)
    assert Sender(browser).append(path, 0, PART).status_code == 204


@ONE_DATABASE
def test_a_file_of_the_form_is_reviewed_like_one_that_the_form_sends_at_once(team: Team) -> None:
    for client, review in ((team.browser("ana"), "auto"), (team.program("ana"), "never")):
        path = Sender(client).created(len(PART))
        assert Sender(client).append(path, 0, PART).status_code == 204

        assert team.served.records.all()[0].review == review


@pytest.mark.parametrize("team", [{"quota_bytes_per_day": 9_000}], indirect=True, ids=["9,000 bytes a day"])
def test_bytes_that_are_still_to_come_count(team: Team) -> None:
    ana, ben = Sender(team.program("ana")), Sender(team.program("ben"))
    path = ana.created(SIZE)
    refused = ana.create(SIZE)

    assert refused.status_code == 413
    assert "and 4,000 of them are left" in refused.json()["detail"]
    assert ben.create(SIZE).status_code == 201
    assert team.program("ana").post("/api/v1/uploads?filename=a.csv", content=b"a\n" * 2_001).status_code == 413

    content = b"a\n" + b"1\n" * (SIZE // 2 - 1)
    assert ana.append(path, 0, content).headers["Content-Location"]
    assert ana.create(SIZE).status_code == 413
    other = ana.created(4_000)
    assert ana.ask("DELETE", other).status_code == 204
    assert ana.create(4_000).status_code == 201


@ONE_DATABASE
@pytest.mark.parametrize("team", [{"quota_bytes_per_day": 9_000}], indirect=True, ids=["9,000 bytes a day"])
def test_a_file_that_is_begun_anew_takes_the_place_of_the_old_one_if_a_quota_is_too_small_for_both(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "IDLE_SECONDS", 0.0)
    ana = Sender(team.program("ana"))
    old = ana.created(SIZE, dataset="sales")
    ana.append(old, 0, PART)
    other = ana.create(SIZE, dataset="orders")
    new = ana.create(SIZE, dataset="sales")

    assert (other.status_code, new.status_code, ana.head(old).status_code) == (413, 201, 410)
    assert not stored(team.served, old).exists()


@ONE_DATABASE
@pytest.mark.parametrize(
    "team", [{"quota_active_uploads": 2}, {"quota_uploads_per_day": 2}], indirect=True, ids=["at once", "a day"]
)
def test_files_that_are_arriving_count(team: Team) -> None:
    ana = Sender(team.program("ana"))
    for _ in range(2):
        ana.created(SIZE)

    assert ana.create(SIZE).status_code == 429


@ONE_DATABASE
def test_nobody_begins_files_without_end(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MOST_AT_ONCE", 3)
    ana = Sender(team.program("ana"))
    paths = [ana.created(SIZE) for _ in range(3)]

    assert ana.create(SIZE).status_code == 429
    assert ana.ask("DELETE", paths[0]).status_code == 204
    assert ana.create(SIZE).status_code == 201


def test_a_file_of_which_nothing_arrives_expires(settings: Settings) -> None:
    with Served(settings.model_copy(update={"resume_hours": 1 / 3600})) as served:
        sender = Sender(served.client)
        path = sender.created(SIZE)
        sender.append(path, 0, PART)
        until(lambda: sender.head(path).status_code == 410, "the file to expire")

        assert not stored(served, path).exists()
        assert sender.append(path, len(PART), PART).status_code == 410
        assert not stored(served, path).exists()


@ONE_DATABASE
def test_records_of_removed_files_go_in_the_end(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "GONE_KEPT_SECONDS", 0.0)
    sender = Sender(served.client)
    path = sender.created(SIZE)
    sender.ask("DELETE", path)

    until(lambda: sender.head(path).status_code == 404, "the record to be removed")


@ONE_DATABASE
def test_a_file_that_is_arriving_is_not_left_over_and_one_that_lost_its_record_is(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    sender = Sender(served.client)
    kept, lost = sender.created(SIZE), sender.created(SIZE)
    for path in (kept, lost):
        sender.append(path, 0, PART)
        os.utime(stored(served, path), (0, time.time() - ABANDONED_AFTER - 60))
    with served.records.database.transaction() as connection:
        assert incoming.end(connection, lost.rpartition("/")[2])
    with caplog.at_level(logging.INFO):
        Leftovers(served.records.database, FolderStore(served.settings.files)).step()

    assert [stored(served, path).exists() for path in (kept, lost)] == [True, False]
    assert sender.offset(kept) == len(PART)


@ONE_DATABASE
def test_a_part_that_comes_too_slowly_is_ended_and_kept(settings: Settings) -> None:
    with Served(settings, Connections(deadlines=Deadlines(body=0.5))) as served:
        sender = Sender(served.client)
        path = sender.created(SIZE)
        lines = ("Tus-Resumable: 1.0.0", "Upload-Offset: 0", "Content-Type: application/offset+octet-stream")
        with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), 12) as client:
            client.sendall(head("PATCH", path, *lines, f"Content-Length: {SIZE}") + PART)
            answer = client.recv(1 << 16)

        assert answer.startswith(b"HTTP/1.1 408")
        until(lambda: sender.offset(path) == len(PART), "the bytes to be kept")


def record(served: Served, path: str) -> Incoming:
    with served.records.database.reading() as connection:
        return incoming.get(connection, path.rpartition("/")[2])


@ONE_DATABASE
def test_bytes_that_a_dead_process_did_not_compare_are_cut_off(served: Served) -> None:
    sender = Sender(served.client)
    path = sender.created(SIZE)
    sender.append(path, 0, PART)
    with served.records.database.transaction() as connection:
        incoming.keep(connection, record(served, path).id, seconds=60, unchecked_from=100)

    assert sender.offset(path) == 100
    assert stored(served, path).stat().st_size == 100
    assert record(served, path).unchecked_from is None
