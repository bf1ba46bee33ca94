"""Web processes and workers that share a bucket and no disk."""

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.settings import Settings
from tests.support.buckets import FaultyS3, S3Server, shared_server
from tests.support.databases import ONE_DATABASE
from tests.support.resumable import Sender, checksum
from tests.support.serving import Web, Worker
from tests.support.waiting import until
from tests.support.workbooks import of_sheets

pytestmark = ONE_DATABASE


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    yield from shared_server()


def a_file(size: int, seed: int) -> bytes:
    digits = random.Random(seed).randbytes(size // 2).hex()
    return ("id,text\n" + "\n".join(f"1,{digits[at : at + 600]}" for at in range(0, size, 600))).encode()[:size]


def over(client: httpx.Client, upload: int) -> dict[str, Any]:
    """An upload after its end."""

    def found() -> dict[str, Any] | None:
        upload_now: dict[str, Any] = client.get(f"/api/v1/uploads/{upload}").json()
        return upload_now if upload_now["status"] not in ("pending", "processing") else None

    return until(found, f"upload {upload} to end")


def sent(client: httpx.Client, content: bytes, filename: str, **fields: str) -> httpx.Response:
    return client.post("/api/v1/uploads", params={"filename": filename, **fields}, content=content)


def test_files_go_through_the_bucket_whichever_process_has_them(
    settings: Settings, s3: S3Server, tmp_path: Path
) -> None:
    def on(host: str) -> Settings:
        (tmp_path / host).mkdir()
        return s3.settings(settings, data=tmp_path / host / "data")

    content, workbook = a_file(12 << 20, 3), of_sheets("June", "July")
    with Web(on("one")) as one, Web(on("two")) as two, Worker(on("three")):
        divided = sent(one.client, workbook, "year.xlsx", parts="all").json()["id"]
        path = Sender(one.client).created(len(content), filename="large.csv", dataset="large")
        webs, at = [two, one], 0
        for number, size in enumerate([9 << 20, 1 << 20, 300, len(content)]):
            part = content[at : at + size]
            given = checksum("sha256", hashlib.sha256(part).digest()) if number == 1 else {}
            answer = Sender(webs[number % 2].client).append(path, at, part, given)
            at += len(part)

            assert (answer.status_code, int(answer.headers["Upload-Offset"])) == (204, at), answer.text
            assert Sender(webs[(number + 1) % 2].client).offset(path) == at

        large = over(two.client, int(answer.headers["Content-Location"].rpartition("/")[2]))

        assert (large["status"], large["rows_success"]) == ("completed", content.count(b"\n"))
        original = f"/uploads/{large['id']}/original"
        for web in (one, two):
            assert web.client.get(original).content == content
        some = one.client.get(original, headers={"Range": "bytes=10-29"})
        assert (some.status_code, some.content) == (206, content[10:30])
        assert one.client.get(original, headers={"Range": f"bytes={len(content)}-"}).status_code == 416

        parts = [over(two.client, each["upload"])["status"] for each in over(one.client, divided)["parts"]]

        assert parts == ["completed", "completed"]

    stored = s3.objects()

    assert sorted(stored.values()) == sorted([content, workbook, workbook, workbook])
    assert all(name.startswith("uploads/") for name in stored)
    left = [each for host in ("one", "two", "three") for each in (tmp_path / host / "data").rglob("*")]
    assert [each for each in left if each.is_file()] == []


def test_an_outage_of_the_store_is_told_and_ends(settings: Settings, s3: S3Server, tmp_path: Path) -> None:
    s3.empty()
    with FaultyS3(s3) as faulty:
        behind = s3.settings(settings, s3_endpoint=faulty.url)
        quick = "from jobs.store import bucket\nbucket.RETRIES = 1\n"
        with Web(behind, quick) as web:
            faulty.faults = [("PUT", "500")] * 4
            refused = sent(web.client, b"id,name\n1,Ada\n", "june.csv")

            assert (refused.status_code, refused.json()["title"]) == (503, "Storage unavailable")
            assert "Retry-After" in refused.headers
            assert (s3.objects(), web.client.get("/api/v1/uploads").json()["items"]) == ({}, [])

            faulty.faults = [("PUT", "500")] * 2
            sender = Sender(web.client)
            path = sender.created(14)

            assert sender.append(path, 0, b"id,name\n1,Ada\n").status_code == 503
            faulty.faults.clear()
            assert sender.offset(path) == 0
            faulty.faults = [("GET", "500")] * 50
            assert sender.append(path, 0, b"id,name\n1,Ada\n").status_code == 503  # it arrived, but was not read whole
            faulty.faults.clear()
            upload = int(sender.head(path).headers["Content-Location"].rpartition("/")[2])
            faulty.faults = [("GET", "half")] * 8
            with Worker(behind):
                ended = over(web.client, upload)

            assert (ended["status"], ended["rows_success"]) == ("completed", 1), json.dumps(ended)
            assert not faulty.faults
            assert len(s3.objects()) == 1
