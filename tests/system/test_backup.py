"""A backup that is taken while a server imports, and what becomes of it elsewhere."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from jobs.people import accounts, sessions
from jobs.people.roles import Role
from jobs.people.sessions import Lifetime
from jobs.settings import Settings
from tests.support.buckets import S3Server, shared_server
from tests.support.databases import ONE_DATABASE, Databases
from tests.support.serving import Records, Web, Worker
from tests.support.waiting import until
from webapp.cli import main

ROWS = 120_000


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    yield from shared_server()


def run(settings: Settings, *words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], env=settings.environment())


def sent(client: httpx.Client, content: bytes, filename: str, **fields: str) -> int:
    return int(client.post("/api/v1/uploads", params={"filename": filename, **fields}, content=content).json()["id"])


def over(client: httpx.Client, upload: int) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        upload_now: dict[str, Any] = client.get(f"/api/v1/uploads/{upload}").json()
        return upload_now if upload_now["status"] not in ("pending", "processing") else None

    return until(found, f"upload {upload} to end")


def elsewhere(settings: Settings, databases: Databases, folder: Path) -> Settings:
    """An empty place of the same kind."""
    folder.mkdir()
    data = folder / "data"
    kind = "sqlite" if settings.sqlite_folder else "postgresql"
    url = f"sqlite:///{data}/bulk_upload.db" if kind == "sqlite" else databases.empty()
    return settings.model_copy(update={"data": data, "database_url": url})


def page(client: httpx.Client, path: str) -> str:
    """What a page says, without the times, and the numbers that let browsers keep what they have."""
    answer = client.get(path)
    assert answer.status_code == 200, path
    return re.sub(r"<time.*?</time>|\?v=\w+|data-seq=\"\d+\"|nonce=\"[^\"]*\"", "", answer.text)


def test_a_backup_of_a_running_import_gives_every_page_and_row_back(
    settings: Settings, databases: Databases, tmp_path: Path
) -> None:
    slow = settings.model_copy(update={"chunk_bytes": 16_000})
    large = b"id,name\n" + b"".join(b"%d,some name %d\n" % (number, number) for number in range(ROWS))
    june = b"id,day\n1,2026-06-01\nx,2026-06-02\n3,2026-06-03\n"
    backup, target = tmp_path / "backup", elsewhere(slow, databases, tmp_path / "there")
    paths = ["/uploads/1", "/uploads/1/failed-rows.csv", "/uploads/1/original", "/datasets/june", "/datasets",
             "/api/v1/uploads/1", "/api/v1/datasets/june/rows", "/api/v1/datasets/june"]  # fmt: skip
    with Web(slow) as web, Worker(slow):
        client = web.client
        over(client, sent(client, june, "june.csv", dataset="june"))
        running = sent(client, large, "large.csv", dataset="large")
        until(lambda: client.get(f"/api/v1/uploads/{running}").json()["rows_success"] > 1_000, "rows")
        made = run(slow, "backup", backup)

        assert made.exit_code == 0, made.stderr
        assert "2 uploads and 2 files" in made.stdout
        assert client.get(f"/api/v1/uploads/{running}").json()["status"] == "processing"
        whole = over(client, running)
        before = [page(client, path) for path in paths]
        rows = client.get("/api/v1/datasets/large/rows.csv").content

    refused = run(slow, "backup", backup)
    assert (refused.exit_code, "not empty" in refused.stderr) == (1, True)
    restored = run(target, "restore", backup)
    assert restored.exit_code == 0, restored.stderr
    for of in (target, slow):
        again = run(of, "restore", backup)
        assert (again.exit_code, len(again.stderr.splitlines())) == (1, 1), again.stderr

    assert (backup.stat().st_mode & 0o077, (target.data / "files").exists()) == (0, True)
    with Records(target) as records:
        records.publisher.close()
        was = next(upload for upload in records.all() if upload.id == running)
        assert was.status == "processing"
        assert 1_000 < was.rows_success < ROWS
    with Web(target) as web, Worker(target):
        again_whole = over(web.client, running)

        assert again_whole["rows_success"] == whole["rows_success"] == ROWS
        assert [page(web.client, path) for path in paths] == before
        assert web.client.get("/api/v1/datasets/large/rows.csv").content == rows
        assert web.client.get(f"/uploads/{running}/original").content == large


@ONE_DATABASE
def test_accounts_are_in_a_backup_and_sessions_are_not(settings: Settings, tmp_path: Path) -> None:
    with Records(settings) as records, records.database.transaction() as connection:
        account = accounts.add(connection, "ada", Role.ADMIN)
        sessions.begin(connection, account.id, Lifetime(60, 60), address="", agent="")
    made = run(settings, "backup", tmp_path / "backup")

    assert made.exit_code == 0, made.stderr
    with closing(sqlite3.connect(tmp_path / "backup" / "database.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM accounts").fetchone() == (1,)
        assert copy.execute("SELECT count(*) FROM sessions").fetchone() == (0,)


@ONE_DATABASE
def test_objects_are_listed_or_copied_and_move_between_stores(
    settings: Settings, databases: Databases, s3: S3Server, tmp_path: Path
) -> None:
    behind = s3.settings(settings)
    contents = {"one.csv": b"a,b\n1,2\n", "two.csv": b"a,b\n3,4\n"}
    with Web(settings) as web:
        ids = [sent(web.client, content, name) for name, content in contents.items()]
    with Web(behind) as web:  # while it serves both
        for id_, content in zip(ids, contents.values(), strict=True):
            assert web.client.get(f"/uploads/{id_}/original").content == content
        moved = run(behind, "store", "move")

        assert (moved.exit_code, moved.stdout.split("(")[0]) == (0, "Moved 2 files "), moved.stderr
        assert sorted(s3.objects().values()) == sorted(contents.values())
        assert list(settings.files.iterdir()) == []
        for id_, content in zip(ids, contents.values(), strict=True):
            assert web.client.get(f"/uploads/{id_}/original").content == content
    listed, copied = run(behind, "backup", tmp_path / "a"), run(behind, "backup", "--objects", tmp_path / "b")

    assert (listed.exit_code, copied.exit_code) == (0, 0), copied.stderr
    lines = [json.loads(line) for line in (tmp_path / "a" / "files.jsonl").read_text().splitlines()]
    assert [(line["size"], line["is_here"]) for line in lines] == [(8, False), (8, False)]
    assert list((tmp_path / "a" / "files").iterdir()) == []

    target = elsewhere(settings, databases, tmp_path / "there")
    restored = run(target, "restore", tmp_path / "b")

    assert (restored.exit_code, restored.stderr) == (0, "")
    assert sorted(path.read_bytes() for path in target.files.iterdir()) == sorted(contents.values())

    back = run(behind.model_copy(update={"store": "file", "store_before": behind.store}), "store", "move")

    assert back.exit_code == 0, back.stderr
    assert s3.objects() == {}
    assert sorted(path.read_bytes() for path in settings.files.iterdir()) == sorted(contents.values())
