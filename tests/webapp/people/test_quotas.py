"""What somebody is told whose upload a quota refuses: before it is sent, and while it arrives."""

from collections.abc import Iterator

import httpx
import pytest

from jobs.people.roles import Role
from jobs.settings import Settings
from tests.support.databases import ONE_DATABASE
from tests.support.team import Team, a_team

pytestmark = ONE_DATABASE


@pytest.fixture
def quotas(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Team]:
    """A server with the quotas of the test's parameter."""
    with a_team(settings.model_copy(update=request.param)) as team:
        team.add("ana", Role.UPLOADER)
        team.add("ben", Role.UPLOADER)
        yield team


def send(client: httpx.Client, size: int, **more: object) -> httpx.Response:
    content = b"a\n" + b"1\n" * (size // 2 - 1)
    return client.post("/api/v1/uploads?filename=june.csv", content=content)


def send_in_pieces(client: httpx.Client, size: int) -> httpx.Response:
    """Without a Content-Length: the server sees what it is only while it arrives."""
    return client.post("/api/v1/uploads?filename=june.csv", content=iter([b"a\n", b"1\n" * (size // 2 - 1)]))


def check_refused(answer: httpx.Response, status: int, detail: str) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["title"] == "Quota reached"
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize("quotas", [{"quota_bytes_per_day": 1_000}], indirect=True, ids=["1,000 bytes a day"])
def test_the_bytes_of_a_day(quotas: Team) -> None:
    ana, ben = quotas.program("ana"), quotas.program("ben")
    assert send(ana, 600).status_code == 201

    for sending in (send, send_in_pieces):
        answer = sending(ana, 500)
        check_refused(answer, 413, "You may upload 1,000 bytes a day, and 400 of them are left.")
        assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
    assert len(quotas.served.stored) == 1
    assert send(ben, 1_000).status_code == 201
    assert send(ana, 400).status_code == 201
    check_refused(send(ana, 2), 429, "0 of them are left. The next day begins at ")


@pytest.mark.parametrize("quotas", [{"quota_uploads_per_day": 1}], indirect=True, ids=["1 upload a day"])
def test_the_uploads_of_a_day(quotas: Team) -> None:
    ana = quotas.program("ana")
    assert send(ana, 10).status_code == 201

    answer = send(ana, 10)
    check_refused(answer, 429, "You may upload 1 files a day, and none of them is left.")
    assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
    assert send(quotas.program("ben"), 10).status_code == 201


@pytest.mark.parametrize("quotas", [{"quota_active_uploads": 1}], indirect=True, ids=["1 active upload"])
def test_the_uploads_that_wait_or_run(quotas: Team) -> None:
    ana = quotas.program("ana")
    upload = send(ana, 10).json()

    answer = send(ana, 10)
    check_refused(answer, 429, "Try again when one has ended.")
    assert "retry-after" not in answer.headers
    assert ana.post(f"{upload['links']['self']}/cancel").status_code == 200
    assert send(ana, 10).status_code == 201


@pytest.mark.parametrize("quotas", [{"quota_total_bytes": 1_000}], indirect=True, ids=["1,000 bytes in all"])
def test_the_bytes_of_all_files(quotas: Team) -> None:
    assert send(quotas.program("ben"), 600).status_code == 201
    ana = quotas.program("ana")

    for sending in (send, send_in_pieces):
        check_refused(sending(ana, 500), 413, "may take 1,000 bytes, and 400 of them are left. Ask an administrator")
    assert len(quotas.served.stored) == 1
    assert send(ana, 400).status_code == 201
