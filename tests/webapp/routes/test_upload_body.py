"""An upload's request → a stored file."""

import asyncio
import hashlib
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from starlette.requests import ClientDisconnect

from jobs.errors import RefusedError, TooLargeError
from jobs.files import StoredFile
from jobs.settings import Settings
from jobs.store.folder import FolderStore
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Web
from tests.support.sockets import head, response_of
from tests.support.waiting import until
from webapp.routes.upload_body import BATCH_BYTES, FORM_BYTES, MAX_BOUNDARY, MAX_PARTS, FormBody, RawBody, batches

BOUNDARY = "----a-boundary"
LIMIT = 1 << 22


def part(content: bytes, disposition: str) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: text/csv\r\n\r\n"
    return head.encode() + content + b"\r\n"


def a_file(content: bytes, filename: str = "june.csv") -> bytes:
    return part(content, f'name="file"; filename="{filename}"')


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def received(folder: Path, *batches: bytes, limit: int = LIMIT) -> tuple[StoredFile, dict[str, str]]:
    body = FormBody(f"multipart/form-data; boundary={BOUNDARY}", FolderStore(folder), limit)
    try:
        for batch in batches:
            body.feed(batch)
        return body.finish(), body.fields
    finally:
        body.discard()


def stored(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("*")]


def random_csv(size: int) -> bytes:
    digits = random.Random(size).randbytes(size // 2).hex()
    return ("id,text\r\n" + "ü,\r\n".join(digits[start : start + 60] for start in range(0, size, 60))).encode()[:size]


HARD = {
    "plain": b"a,b\n1,2\n",
    "no line end": b"a",
    "a delimiter's beginning": f"a\r\n--{BOUNDARY[:-1]}\r\n1".encode(),
    "a delimiter in a line": f"a,--{BOUNDARY}\n1,2\n".encode(),
    "a delimiter behind a line feed": f"a\n--{BOUNDARY}\n1\n".encode(),
    "line ends and dashes": b"\r\n\r\n--\r\n-\r\r\n\n--\r\n--\r\n",
    "every byte": bytes(range(256)) * 3,
}


@pytest.mark.parametrize("content", HARD.values(), ids=HARD.keys())
@pytest.mark.parametrize("step", [1, 2, 7, 10_000])
def test_a_file_in_a_form_is_stored_unchanged(tmp_path: Path, content: bytes, step: int) -> None:
    data = form(part(b"sales", 'name="dataset"'), a_file(content))
    file, fields = received(tmp_path, *(data[start : start + step] for start in range(0, len(data), step)))

    assert stored(tmp_path) == [content]
    assert file == StoredFile("june.csv", file.stored_as, len(content), hashlib.sha256(content).hexdigest())
    assert fields == {"dataset": "sales"}


def test_a_form_may_arrive_in_any_parts(tmp_path: Path) -> None:
    content = HARD["a delimiter's beginning"]
    data = form(a_file(content), part("июнь".encode(), 'name="dataset"'))
    for cut in range(0, len(data), 2):
        folder = tmp_path / str(cut)
        _, fields = received(folder, data[:cut], data[cut:])

        assert stored(folder) == [content]
        assert fields == {"dataset": "июнь"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("june.csv", "june.csv"),
        ("juni & Zürich 数.csv", "juni & Zürich 数.csv"),
        ("../../etc/june.csv", "june.csv"),
        ("/home/me/june.csv", "june.csv"),
        ("C:\\\\Users\\\\me\\\\june.csv", "june.csv"),
        ("C:\\Users\\me\\june.csv", "june.csv"),
        ('say \\"hello\\".csv', 'say "hello".csv'),
        ("ju\tne\x7f.csv", "june.csv"),
        ("  june.csv ", "june.csv"),
        ("JUNE.CSV", "JUNE.CSV"),
        ("; name=x.csv", "; name=x.csv"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_a_name_is_kept_without_its_path(tmp_path: Path, sent: str, expected: str) -> None:
    file, _ = received(tmp_path, form(a_file(b"a\n1\n", sent)))

    assert file.filename == expected


REFUSED = {
    "no part": (form(), "No file was sent."),
    "only a field": (form(part(b"sales", 'name="dataset"')), "No file was sent."),
    "no file chosen": (form(a_file(b"", "")), "No file was sent."),
    "an empty file": (form(a_file(b"")), "“june.csv” is empty."),
    "another kind": (form(a_file(b"a", "june.pdf")), "The file type of “june.pdf” is not supported."),
    "no ending": (form(a_file(b"\1", "june")), "The file type of “june” is not supported."),
    "two files": (form(a_file(b"a\n1\n"), a_file(b"a\n1\n", "july.csv")), "Send one file at a time."),
    "no end": (a_file(b"a\n1\n"), "The form ended before it was complete."),
    "an end within the file": (a_file(b"a\n1\n")[:-5], "The form ended before it was complete."),
    "nothing": (b"", "The form ended before it was complete."),
    "no form": (b"a,b\n1,2\n", "The form could not be read:"),
    "another boundary": (form(a_file(b"a\n1\n")).replace(b"a-bound", b"x-bound"), "The form could not be read:"),
    "a file, then none": (form(a_file(b"a\n1\n"), a_file(b"", "")), "Send one file at a time."),
    "a file, then nonsense": (a_file(b"a\n1\n") + f"--{BOUNDARY}xy\r\n".encode(), "The form ended before"),
    "a file, then a long field": (
        form(a_file(b"a\n1\n"), part(b"x" * (FORM_BYTES + 1), 'name="dataset"')),
        "The fields of the form are too long.",
    ),
    "a broken header": (f"--{BOUNDARY}\r\nno colon\r\n\r\n".encode(), "The form could not be read:"),
    "an endless header": (f"--{BOUNDARY}\r\nX: ".encode() + b"x" * 9999, "The form could not be read:"),
    "a long field": (form(part(b"x" * (FORM_BYTES + 1), 'name="dataset"')), "The fields of the form are too long."),
    "many long fields": (
        form(*(part(b"x" * 9999, f'name="{n}"') for n in range(MAX_PARTS))),
        "The fields of the form are too long.",
    ),
    "many fields": (
        form(*(part(b"", f'name="{n}"') for n in range(MAX_PARTS + 1))),
        "The form has more than 40 fields",
    ),
    "a file, then many fields": (
        form(a_file(b"a\n1\n"), *(part(b"", f'name="{n}"') for n in range(MAX_PARTS))),
        "The form has more than 40 fields.",
    ),
    "a million empty parts": (f"--{BOUNDARY}\r\n\r\n\r\n".encode() * 1_000_000, "The form has more than 40 fields."),
    "a preamble": (b"\r\n" * FORM_BYTES + form(a_file(b"a\n1\n")), "The form has more than 65,536 bytes besides"),
    "an epilogue": (form(a_file(b"a\n1\n")) + b"x" * FORM_BYTES, "The form has more than 65,536 bytes besides"),
    "padding behind a boundary": (
        f"--{BOUNDARY}\r\n\r\n\r\n--{BOUNDARY}".encode() + b" " * FORM_BYTES,
        "The form has more than 65,536 bytes besides",
    ),
    "many headers": (f"--{BOUNDARY}\r\n".encode() + b"X: y\r\n" * 9, "The form could not be read:"),
    "an endless name of a header": (f"--{BOUNDARY}\r\n".encode() + b"X" * 9999, "The form could not be read:"),
    "a header of spaces": (f"--{BOUNDARY}\r\nX:".encode() + b" " * 9999, "The form could not be read:"),
    "a long name of a field": (form(part(b"", f'name="{"x" * 9999}"')), "The form could not be read:"),
    "too large": (form(a_file(b"x" * (LIMIT + 1))), "The file is larger than 4,194,304 bytes"),
}


@pytest.mark.parametrize(("body", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_rejected_form_stores_nothing(tmp_path: Path, body: bytes, sentence: str) -> None:
    with pytest.raises(RefusedError) as caught:
        received(tmp_path, body)

    assert str(caught.value).startswith(sentence)
    assert stored(tmp_path) == []


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/csv",
        "multipart/form-data",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 71}",
        f"multipart/form-data; boundary={'x' * 10_000_000}",
        f"multipart/form-data; {'a=b;' * 1000} boundary=x",
    ],
)
def test_a_form_needs_its_content_type(tmp_path: Path, content_type: str) -> None:
    with pytest.raises(RefusedError, match="Send the file as multipart/form-data"):
        FormBody(content_type, FolderStore(tmp_path), LIMIT)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=", 'Multipart/Form-Data; charset=utf-8; boundary="'])
def test_a_content_type_may_be_written_in_several_ways(tmp_path: Path, kind: str) -> None:
    body = FormBody(kind + BOUNDARY + '"' * kind.endswith('"'), FolderStore(tmp_path), LIMIT)
    body.feed(form(a_file(b"a\n1\n")) + b"whatever comes behind")
    body.finish()
    body.discard()

    assert stored(tmp_path) == [b"a\n1\n"]


def test_the_last_line_of_a_form_need_not_end(tmp_path: Path) -> None:
    received(tmp_path, form(a_file(b"a\n1\n")).removesuffix(b"\r\n"))

    assert stored(tmp_path) == [b"a\n1\n"]


def test_a_boundary_may_have_as_many_characters_as_the_standard_allows(tmp_path: Path) -> None:
    boundary = "x" * MAX_BOUNDARY
    body = FormBody(f"multipart/form-data; boundary={boundary}", FolderStore(tmp_path), LIMIT)
    body.feed(form(a_file(b"a\n1\n")).replace(BOUNDARY.encode(), boundary.encode()))
    body.finish()
    body.discard()

    assert stored(tmp_path) == [b"a\n1\n"]


def test_a_file_of_the_largest_size_may_have_fields(tmp_path: Path) -> None:
    content = b"x" * LIMIT
    data = form(part(b"y" * 50_000, 'name="dataset"'), a_file(content))
    received(tmp_path, *(data[start : start + BATCH_BYTES] for start in range(0, len(data), BATCH_BYTES)))

    assert stored(tmp_path) == [content]


def test_a_raw_body_is_the_file(tmp_path: Path) -> None:
    body = RawBody({"filename": "june.tsv", "dataset": "sales"}, FolderStore(tmp_path), LIMIT)
    for _ in range(3):
        body.feed(b"1\t2\n")
    file = body.finish()
    body.discard()

    assert stored(tmp_path) == [b"1\t2\n" * 3]
    assert (file.filename, file.size, body.fields["dataset"]) == ("june.tsv", 12, "sales")


def test_a_raw_body_may_be_too_large(tmp_path: Path) -> None:
    body = RawBody({"filename": "june.csv"}, FolderStore(tmp_path), 10)
    body.feed(b"x" * 10)
    with pytest.raises(TooLargeError):
        body.feed(b"x")
    body.discard()

    assert stored(tmp_path) == []


@ONE_DATABASE
@pytest.mark.parametrize("way", ["form", "raw", "chunked form", "chunked raw"])
def test_a_large_file_arrives_whole_with_its_size_and_hash(served: Served, way: str) -> None:
    content = random_csv(5 * BATCH_BYTES + 17)
    body = form(a_file(content)) if "form" in way else content
    kind = f"multipart/form-data; boundary={BOUNDARY}" if "form" in way else "text/csv"
    pieces = (body[start : start + 300_001] for start in range(0, len(body), 300_001))
    answer = served.client.post(
        "/api/v1/uploads?filename=june.csv",
        content=pieces if "chunked" in way else body,
        headers={"Content-Type": kind},
    ).json()

    assert (answer["size"], answer["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert [path.read_bytes() == content for path in served.stored] == [True]


@ONE_DATABASE
@pytest.mark.parametrize("way", ["told by its length", "found out as it comes"])
@pytest.mark.parametrize("kind", ["form", "raw"])
def test_a_file_that_is_too_large_is_rejected_with_the_limit(settings: Settings, way: str, kind: str) -> None:
    with Served(settings.model_copy(update={"max_upload_bytes": 100_000})) as served:
        large = b"x" * 1_000_000
        body = form(a_file(large)) if kind == "form" else large
        answer = served.client.post(
            "/api/v1/uploads?filename=june.csv",
            content=body if way == "told by its length" else iter([body[:50_000], body[50_000:]]),
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}" if kind == "form" else "text/csv"},
        )
        allowed = served.post(b"x" * 100_000)

        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert "100,000 bytes" in answer.json()["detail"]
        assert "BULK_UPLOAD_MAX_UPLOAD_BYTES" in answer.json()["detail"]
        assert allowed.status_code == 201
        assert len(served.stored) == len(served.records.all()) == 1


@ONE_DATABASE
@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("size", [10_000_000, 10**18])
@pytest.mark.parametrize("kind", [f"multipart/form-data; boundary={BOUNDARY}", "text/csv"])
def test_a_length_that_is_too_large_is_rejected_before_the_body(
    settings: Settings, kind: str, size: int, asks: bool
) -> None:
    with Served(settings.model_copy(update={"max_upload_bytes": 100_000})) as served:
        headers = [f"Content-Type: {kind}", f"Content-Length: {size}", *(["Expect: 100-continue"] if asks else [])]
        with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), timeout=10) as client:
            client.sendall(head("POST", "/api/v1/uploads?filename=june.csv", *headers))
            answer = response_of(client)

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"100,000 bytes" in answer
        assert served.stored == []


@ONE_DATABASE
@pytest.mark.parametrize("filename", ["june.csv", "june.xlsx"], ids=["an upload", "one that is refused"])
def test_a_client_that_disconnects_stores_nothing(settings: Settings, filename: str) -> None:
    with Web(settings) as web:
        address = httpx.URL(web.url)
        with socket.create_connection((address.host, address.port or 0)) as client:
            request = f"POST /api/v1/uploads?filename={filename} HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
            client.sendall(f"{request}Content-Length: 9000000\r\n\r\n".encode() + b"x" * 3_000_000)
            if filename == "june.csv":
                until(lambda: list(settings.files.glob("*.part")), "the file to begin to arrive")
        until(lambda: not list(settings.files.glob("*")), "what arrived to be removed")
        answer = web.client.get("/api/v1/uploads")

        assert answer.json()["items"] == []
        assert web.terminate() == 0
        assert "Traceback" not in web.log


@ONE_DATABASE
def test_expect_100_continue_is_answered(served: Served) -> None:
    """curl asks before it sends more than a megabyte."""
    address = httpx.URL(served.url)
    with socket.create_connection((address.host, address.port or 0), timeout=10) as client:
        request = f"POST /api/v1/uploads?filename=june.csv HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
        client.sendall(f"{request}Content-Length: 8\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        interim = client.recv(4096)
        client.sendall(b"a,b\n1,2\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert re.match(rb"HTTP/1.1 201 ", answer)


@pytest.mark.parametrize("is_cut", [False, True])
def test_the_last_bytes_before_a_cut_are_passed_on(is_cut: bool) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x" * BATCH_BYTES
        yield b"the rest"
        if is_cut:
            raise ClientDisconnect

    async def read() -> list[bytes]:
        found = []
        with suppress(ClientDisconnect):
            async for batch in batches(body()):
                found.append(batch)
        return found

    assert asyncio.run(read()) == [b"x" * BATCH_BYTES, b"the rest"]
