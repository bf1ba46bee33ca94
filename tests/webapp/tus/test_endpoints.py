"""tus: files that are sent in several requests."""

import hashlib
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import httpx
import pytest
import sqlalchemy as sa

from jobs import tables
from jobs.settings import Settings
from tests.support.databases import Databases
from tests.support.resumable import PART, PATH, Sender, checksum, metadata
from tests.support.services import RedisServer
from tests.support.serving import Served
from tests.support.waiting import until

CONTENT = b"id,text\n" + b"".join(b"%d,some text\n" % number for number in range(5_000))
HALF = len(CONTENT) // 2


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing(
    request: pytest.FixtureRequest,
    databases: Databases,
    _redis_of_session: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("standing")
    url = databases.migrated(request.param, folder / "data")
    settings = Settings(
        data=folder / "data", database_url=url, redis_url=_redis_of_session.url, port=0, max_upload_bytes=1 << 20
    )
    with Served(settings) as served:
        yield served


@pytest.fixture
def sender(standing: Served) -> Sender:
    return Sender(standing.client)


def title(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["title"])


def upload_of(served: Served, answer: httpx.Response) -> dict[str, object]:
    """The upload that a finished file has become."""
    found: dict[str, object] = served.client.get(answer.headers["Content-Location"]).json()
    return found


def test_the_server_says_what_it_can_do(sender: Sender) -> None:
    for path in (PATH, f"{PATH}/none"):
        answer = sender.ask("OPTIONS", path, {"Tus-Resumable": None})

        assert answer.status_code == 204
        assert answer.headers["Tus-Resumable"] == answer.headers["Tus-Version"] == "1.0.0"
        assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,termination,checksum,expiration"
        assert answer.headers["Tus-Checksum-Algorithm"] == "sha256,sha1,md5"
        assert answer.headers["Tus-Max-Size"] == str(1 << 20)


def test_a_file_that_is_sent_in_parts_becomes_one_upload_with_its_fields(standing: Served, sender: Sender) -> None:
    created = sender.create(len(CONTENT), filename="in parts.csv", dataset="parts", delimiter="semicolon")
    path = created.headers["Location"]

    assert (created.status_code, created.headers["Upload-Offset"]) == (201, "0")
    assert created.headers["Upload-Expires"].endswith(" GMT")
    assert sender.offset(path) == 0

    first = sender.append(path, 0, CONTENT[:HALF])
    asked = sender.head(path)

    assert (first.status_code, first.headers["Upload-Offset"]) == (204, str(HALF))
    assert first.headers["Tus-Resumable"] == "1.0.0"
    assert "Content-Location" not in first.headers
    assert (asked.headers["Upload-Offset"], asked.headers["Upload-Length"]) == (str(HALF), str(len(CONTENT)))
    assert asked.headers["Upload-Metadata"] == metadata(filename="in parts.csv", dataset="parts", delimiter="semicolon")
    assert asked.headers["Cache-Control"] == "no-store"

    last = sender.append(path, HALF, CONTENT[HALF:])
    upload = upload_of(standing, last)

    assert (last.status_code, last.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert "Upload-Expires" not in last.headers
    assert (upload["filename"], upload["size"]) == ("in parts.csv", len(CONTENT))
    assert upload["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert standing.records.all()[0].options.delimiter == ";"
    assert standing.client.get(f"/uploads/{upload['id']}/original").content == CONTENT

    again = sender.head(path)

    assert again.headers["Content-Location"] == last.headers["Content-Location"]
    assert again.headers["Upload-Offset"] == str(len(CONTENT))
    assert sender.append(path, HALF, CONTENT[HALF:]).status_code == 409
    assert sender.append(path, len(CONTENT), b"").headers["Content-Location"] == last.headers["Content-Location"]
    assert sender.ask("DELETE", path).status_code == 403
    assert len([each for each in standing.records.all() if each.filename == "in parts.csv"]) == 1


def test_a_file_may_come_whole_with_its_creation(standing: Served, sender: Sender) -> None:
    whole = sender.create(len(CONTENT), CONTENT, filename="whole.csv")
    begun = sender.create(len(CONTENT), CONTENT[:HALF], filename="begun.csv")

    assert (whole.status_code, upload_of(standing, whole)["filename"]) == (201, "whole.csv")
    assert sender.head(whole.headers["Location"]).headers["Content-Location"] == whole.headers["Content-Location"]
    assert (begun.status_code, begun.headers["Upload-Offset"]) == (201, str(HALF))
    assert sender.append(begun.headers["Location"], HALF, CONTENT[HALF:]).status_code == 204


def test_a_removed_file_is_gone(standing: Served, sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    sender.append(path, 0, CONTENT[:HALF])
    stored = standing.settings.files / path.rpartition("/")[2]
    was_there = stored.exists()

    assert sender.ask("DELETE", path).status_code == 204
    assert (was_there, stored.exists()) == (True, False)
    assert sender.head(path).status_code == 410
    assert title(sender.append(path, HALF, CONTENT[HALF:])) == "Upload removed"
    assert sender.ask("DELETE", path).status_code == 410


def test_a_part_must_have_the_checksum_that_comes_with_it(sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    part = CONTENT[:HALF]
    for algorithm in ("sha256", "sha1", "md5"):
        wrong = sender.append(path, 0, part, checksum(algorithm, hashlib.new(algorithm, b"other").digest()))

        assert (wrong.status_code, title(wrong)) == (460, "Checksum mismatch")
        assert sender.offset(path) == 0

    right = sender.append(path, 0, part, checksum("sha1", hashlib.sha1(part).digest()))

    assert (right.status_code, sender.offset(path)) == (204, HALF)
    assert sender.append(path, HALF, b"x", {"Upload-Checksum": "crc99 AAAA"}).status_code == 400
    assert sender.append(path, HALF, b"x", {"Upload-Checksum": "sha1 ???"}).status_code == 400


def test_what_came_with_a_wrong_checksum_at_the_creation_leaves_nothing(standing: Served, sender: Sender) -> None:
    before = standing.stored
    answer = sender.create(len(CONTENT), CONTENT[:HALF], checksum("sha1", b"other"))

    assert answer.status_code == 460
    assert standing.stored == before


@pytest.mark.parametrize(
    ("size", "headers", "status"),
    [
        (None, {"Upload-Length": None}, 400),
        ("-1", {}, 400),
        ("+5", {}, 400),
        ("1e3", {}, 400),
        ((1 << 20) + 1, {}, 413),
        ("9" * 400, {}, 413),
        ("0", {}, 422),
        (None, {"Upload-Length": None, "Upload-Defer-Length": "1"}, 400),
        (9, {"Upload-Metadata": "filename ???"}, 400),
        (9, {"Upload-Metadata": "filename anVuZS5jc3Y=,filename anVuZS5jc3Y="}, 400),
        (9, {"Upload-Metadata": ","}, 400),
        (9, {"Upload-Metadata": ""}, 422),
        (9, {"Upload-Metadata": metadata(filename="a.csv", header_row="x")}, 422),
        (9, {"Upload-Metadata": metadata(filename="a.csv", review="perhaps")}, 422),
        (9, {"Upload-Metadata": metadata(filename="a.csv", processor="nobody")}, 422),
        (9, {"Upload-Metadata": metadata(filename="a.csv", dataset="!!!")}, 422),
        (9, {"Tus-Resumable": None}, 412),
        (9, {"Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_a_file_that_cannot_become_an_upload_is_refused_before_it_is_sent(
    standing: Served, sender: Sender, size: int | str | None, headers: dict[str, str | None], status: int
) -> None:
    before = files_recorded(standing)
    answer = sender.create("" if size is None else size, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers.get("Tus-Version") == ("1.0.0" if status == 412 else None)
    assert title(answer)
    assert files_recorded(standing) == before


def files_recorded(served: Served) -> int:
    with served.records.database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(tables.incoming_files)).scalar_one())


def test_an_error_in_a_field_is_told_as_in_one_request(standing: Served, sender: Sender) -> None:
    in_parts = sender.create(9, header_row="x").json()
    at_once = standing.post("a,b\n1,2\n", header_row="x").json()

    assert in_parts == at_once


def test_a_part_that_does_not_fit_changes_nothing(sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    sender.append(path, 0, CONTENT[:HALF])
    rest = CONTENT[HALF:]
    answers = {
        sender.append(path, 0, rest): 409,
        sender.append(path, HALF + 1, b"x"): 409,
        sender.append(path, "-1", b"x"): 400,
        sender.append(path, "", b"x"): 400,
        sender.append(path, "9" * 300, b"x"): 409,
        sender.append(path, HALF, rest, {"Content-Type": "text/csv"}): 415,
        sender.append(path, HALF, rest, {"Tus-Resumable": "2.0"}): 412,
        sender.append(path, HALF, rest + b"surplus"): 413,
        sender.append(path, HALF, iter([rest, b"surplus"])): 413,
        sender.append(f"{PATH}/none", 0, b"x"): 404,
        sender.append(f"{PATH}/{'0' * 32}", 0, b"x"): 404,
    }

    assert [answer.status_code for answer in answers] == list(answers.values())
    assert sender.offset(path) == HALF
    assert sender.append(path, HALF, rest).status_code == 204


def test_a_file_that_is_no_table_is_refused_with_its_first_bytes(standing: Served, sender: Sender) -> None:
    path = sender.created(9_000, filename="picture.bin")
    answer = sender.append(path, 0, b"\x89PNG\r\n\x1a\n" + bytes(3_000))

    assert (answer.status_code, title(answer)) == (422, "Upload rejected")
    assert sender.head(path).status_code == 410
    assert not (standing.settings.files / path.rpartition("/")[2]).exists()


def test_clients_that_can_only_post_name_the_method(sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    given = {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0", "Content-Type": PART}

    assert sender.ask("POST", path, given, CONTENT[:HALF]).headers["Upload-Offset"] == str(HALF)
    assert sender.ask("POST", path, {"X-HTTP-Method-Override": "PUT"}).status_code == 400
    assert sender.ask("POST", path, {"X-HTTP-Method-Override": "DELETE"}).status_code == 204


class Slow:
    """A request whose body has begun."""

    def __init__(self, served: Served, path: str, offset: int, size: int, begin: bytes, **headers: str) -> None:
        url = httpx.URL(served.url)
        self._connection = HTTPConnection(url.host, url.port or 0, timeout=12)
        self._connection.putrequest("PATCH", path)
        given = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), "Content-Type": PART, **headers}
        for name, value in {**given, "Content-Length": str(size)}.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(begin)

    def send(self, data: bytes) -> int:
        """The status of the answer to the rest."""
        self._connection.send(data)
        status = self._connection.getresponse().status
        self._connection.close()
        return status

    def cut(self) -> None:
        self._connection.close()


def is_there(served: Served, path: str, size: int) -> bool:
    stored = served.settings.files / path.rpartition("/")[2]
    return stored.exists() and stored.stat().st_size >= size


def test_what_arrived_before_a_cut_stays(standing: Served, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.routes.upload_body.BATCH_SECONDS", 0.0)
    path = sender.created(len(CONTENT))
    slow = Slow(standing, path, 0, len(CONTENT), CONTENT[:HALF])
    until(lambda: is_there(standing, path, HALF), "the first part to be written")
    slow.cut()

    assert sender.offset(path) == HALF
    last = sender.append(path, HALF, CONTENT[HALF:])

    assert upload_of(standing, last)["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_what_arrived_stays_although_its_sender_left_at_once(standing: Served, sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    Slow(standing, path, 0, len(CONTENT), CONTENT[:HALF]).cut()
    until(lambda: sender.offset(path) == HALF, "the bytes to be kept")
    Slow(standing, path, HALF, len(CONTENT) - HALF, CONTENT[HALF:]).cut()
    until(lambda: "Content-Location" in sender.head(path).headers, "the upload to be created")

    assert upload_of(standing, sender.head(path))["sha256"] == hashlib.sha256(CONTENT).hexdigest()


def test_what_nobody_could_check_before_a_cut_goes(standing: Served, sender: Sender) -> None:
    path = sender.created(len(CONTENT))
    sender.append(path, 0, CONTENT[:100])
    digest = checksum("sha1", hashlib.sha1(CONTENT[100:]).digest())
    slow = Slow(standing, path, 100, len(CONTENT) - 100, CONTENT[100:HALF], **digest)
    slow.cut()

    until(lambda: not is_there(standing, path, 101), "the bytes to be removed")
    assert sender.offset(path) == 100
    assert sender.append(path, 100, CONTENT[100:], digest).status_code == 204


def test_one_of_two_parts_at_once_wins(standing: Served, sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.tus.part.LOCK_SECONDS", 0.1)
    monkeypatch.setattr("webapp.routes.upload_body.BATCH_SECONDS", 0.0)
    path = sender.created(len(CONTENT))
    slow = Slow(standing, path, 0, len(CONTENT), CONTENT[:HALF])
    until(lambda: is_there(standing, path, HALF), "the first part to be written")

    other = sender.append(path, HALF, CONTENT[HALF:])

    assert (other.status_code, title(other)) == (423, "File locked")
    assert sender.ask("DELETE", path).status_code == 423
    assert sender.offset(path) == HALF
    assert slow.send(CONTENT[HALF:]) == 204
    assert "Content-Location" in sender.head(path).headers


def test_two_requests_with_the_last_part_create_one_upload(standing: Served) -> None:
    path = Sender(standing.client).created(len(CONTENT), filename="raced.csv")
    statuses: list[int] = []

    def send() -> None:
        with httpx.Client(base_url=standing.url, timeout=12) as client:
            statuses.append(Sender(client).append(path, 0, CONTENT).status_code)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [204, 409, 409, 409]
    assert len([each for each in standing.records.all() if each.filename == "raced.csv"]) == 1
