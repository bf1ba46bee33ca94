"""bulk-upload doctor: what it says of a system that works, and of those that do not."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from redis import Redis

from jobs.database import Database
from jobs.queue import QUEUES, VERSION_FIELD
from jobs.settings import Settings
from tests.support.databases import BOTH_DATABASES, ONE_DATABASE
from tests.support.proxies import Caddy
from tests.support.queueing import NOWHERE
from tests.support.serving import Served, Worker
from webapp.cli import main
from webapp.doctor import machine, parts, proxy
from webapp.doctor.finding import Finding, Status

OK, WARNING, FAILED = Status.OK, Status.WARNING, Status.FAILED


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BULK_UPLOAD_TOKEN", raising=False)


def by_check(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {each.check: each for each in findings}


def only(findings: Iterator[Finding], status: Status, words: str) -> None:
    """There is one finding, with this status and these words."""
    [found] = findings
    assert (found.status, words in found.detail) == (status, True), found


def examined(settings: Settings, *words: str, **variables: str) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status of the command, and what it prints by check."""
    environment = {**settings.environment(), **variables}
    result = CliRunner().invoke(main, ["doctor", "--json", *words], env=environment)
    found = json.loads(result.stdout)
    assert all(each.keys() == {"check", "status", "detail"} for each in found)
    return result.exit_code, {each["check"]: each for each in found}


@BOTH_DATABASES
def test_of_a_system_that_works_everything_is_ok(settings: Settings) -> None:
    with Served(settings) as served, Worker(settings):
        status, found = examined(settings, BULK_UPLOAD_BASE_URL=served.url)
        as_text = CliRunner().invoke(main, ["doctor"], env=settings.environment())
        alive = CliRunner().invoke(main, ["worker", "--check"], env=settings.environment())
    expected = {"settings", "python", "libraries", "storage", "disk", "open files", "database", "migrations", "redis"}
    expected |= {"clock of Redis", "workers quick", "workers bulk", "worker versions", "proxy", "proxy buffering"}
    expected.add("sqlite" if settings.sqlite_folder else "clock of the database")

    assert {name: each for name, each in found.items() if each["status"] != "ok"} == {}
    assert found.keys() == expected
    assert status == 0
    assert as_text.exit_code == alive.exit_code == 0
    assert "ok       migrations: The schema is the newest" in as_text.stdout
    assert "ok       proxy: Not checked: set BULK_UPLOAD_BASE_URL" in as_text.stdout


@ONE_DATABASE
def test_without_redis_and_workers_it_fails(settings: Settings) -> None:
    with_others = settings.model_copy(update={"redis_url": NOWHERE})
    status, found = examined(with_others, BULK_UPLOAD_WORKER="3")

    assert status == 2
    assert found["redis"]["status"] == "failed"
    assert "directory. Check REDIS_URL" in found["redis"]["detail"]
    assert found["workers"]["status"] == "warning"
    assert "no effect: BULK_UPLOAD_WORKER." in found["settings"]["detail"]

    status, found = examined(settings)
    assert status == 2
    assert "Start `bulk-upload worker --lane bulk`" in found["workers bulk"]["detail"]
    for each in (settings, with_others):
        assert CliRunner().invoke(main, ["worker", "--check"], env=each.environment()).exit_code == 1


def test_invalid_settings_are_all_that_is_said(tmp_path: Path) -> None:
    status, found = examined(Settings(data=tmp_path), BULK_UPLOAD_PORT="none")

    assert status == 2
    assert found.keys() == {"settings"}
    assert found["settings"]["detail"].startswith("PORT: ")


def test_settings_that_do_not_fit_together(tmp_path: Path) -> None:
    only(machine.settings(Settings(data=tmp_path, host="0.0.0.0", open=True)), WARNING, "bulk-upload user add")
    secure = Settings(data=tmp_path, base_url="https://uploads.example.org")
    only(machine.settings(secure), WARNING, "BULK_UPLOAD_TRUSTED_PROXIES")
    only(machine.settings(secure.model_copy(update={"trusted_proxies": "10.0.0.1"})), OK, "All are valid")


def test_a_library_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "requires", lambda _: ["redis>=99", "nothing-like-it", "rq>=1; extra == 'postgres'"])
    found = by_check(machine.versions(Settings(data=tmp_path)))["libraries"]

    assert found.status is FAILED
    assert "nothing-like-it is not installed; redis " in found.detail
    assert "rq" not in found.detail.split(". ")[0]


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    missing, public, a_file = tmp_path / "missing", tmp_path / "public", tmp_path / "file"
    public.mkdir()
    public.chmod(0o777)
    a_file.touch(0o600)

    only(machine.storage(Settings(data=missing)), WARNING, "`bulk-upload migrate` creates it")
    only(machine.storage(Settings(data=public)), FAILED, f"chmod o-w {public}")
    only(machine.storage(Settings(data=a_file)), FAILED, "Not a directory")
    assert not missing.exists()


def test_a_disk_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(data=tmp_path)
    monkeypatch.setattr(machine, "FEW_FREE_BYTES", 1 << 60)
    only(machine.free_space(settings), WARNING, "free some")
    monkeypatch.setattr("jobs.process.disk.LEAST_FREE_BYTES", 1 << 60)
    only(machine.free_space(settings), FAILED, "no upload starts")


def test_too_few_open_files(tmp_path: Path) -> None:
    only(machine.open_files(Settings(data=tmp_path, streams=1 << 40)), WARNING, "LimitNOFILE")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://nobody@127.0.0.1:1/none", "Check DATABASE_URL, and that it runs"),
        ("postgresql://nobody:secret@host.invalid/none", "Check DATABASE_URL, and that it runs"),
    ],
)
def test_a_database_that_does_not_answer(url: str, words: str, tmp_path: Path) -> None:
    [found] = parts.database(Settings(data=tmp_path, database_url=url))

    assert (found.status, words in found.detail, "secret" in found.detail) == (FAILED, True, False)


def test_a_database_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    only(parts.database(Settings(data=tmp_path)), WARNING, "`bulk-upload migrate` creates it")
    assert list(tmp_path.iterdir()) == []


def test_sqlite_on_the_disk_of_another_machine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    if settings.sqlite_folder is None:
        return
    monkeypatch.setattr(machine, "_file_system", lambda _: "nfs4")
    found = by_check(parts.database(settings))["database"]

    assert (found.status, "rows can be lost" in found.detail) == (FAILED, True)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ("UPDATE alembic_version SET version_num = '0019'", FAILED, "Run `bulk-upload migrate`"),
        ("UPDATE alembic_version SET version_num = '9999'", WARNING, "a newer one runs already"),
        ("DROP TABLE alembic_version", WARNING, "The database is empty"),
    ],
)
@BOTH_DATABASES
def test_a_schema_of_another_release(settings: Settings, change: str, status: Status, words: str) -> None:
    database = Database(settings.database)
    with database.transaction() as connection:
        connection.execute(sa.text(change))
    database.close()
    found = by_check(parts.database(settings))["migrations"]

    assert (found.status, words in found.detail) == (status, True)


def test_a_clock_that_is_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # only ever asked for UTC
            return datetime.now(UTC) + timedelta(seconds=9)

    monkeypatch.setattr(parts, "datetime", Later)
    monkeypatch.setattr("webapp.doctor.parts.time.time", lambda: datetime.now(UTC).timestamp() - 2)
    redis = by_check(parts.redis(settings))["clock of Redis"]
    assert (redis.status, "ahead of" in redis.detail) == (WARNING, True)
    if settings.sqlite_folder is None:
        database = by_check(parts.database(settings))["clock of the database"]
        assert (database.status, "behind" in database.detail) == (FAILED, True)


@ONE_DATABASE
def test_a_redis_that_may_drop_uploads(settings: Settings) -> None:
    with Redis.from_url(settings.redis) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = by_check(parts.redis(settings))["redis"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert (found.status, "CONFIG SET maxmemory-policy noeviction" in found.detail) == (FAILED, True)


@ONE_DATABASE
def test_workers_of_another_release(settings: Settings) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    with Redis.from_url(settings.redis) as client:
        for name, release in (("a", "0.0.9"), ("b", None)):
            key = f"rq:worker:{name}"
            client.hset(key, mapping={"last_heartbeat": now, **({VERSION_FIELD: release} if release else {})})
            for queue in QUEUES.values():
                client.sadd(f"rq:workers:{queue}", key)
    found = by_check(parts.workers(settings))

    assert found["workers quick"].status is OK
    assert found["worker versions"].status is WARNING
    assert "1 of 0.0.9, 1 of an earlier release. Restart them" in found["worker versions"].detail


class _Buffering(BaseHTTPRequestHandler):
    """A proxy that lets through everything but streams, of which it waits for the end."""

    statuses: ClassVar[dict[str, int]] = {"/readyz": 200}
    encoding: str | None = None

    def do_GET(self) -> None:
        if self.path != proxy.STREAM:
            self.send_response(self.statuses.get(self.path, 200))
            self.send_header("x-request-id", "1")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.encoding is None:
            time.sleep(1)
            return
        self.send_response(200)
        self.send_header("content-encoding", self.encoding)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_proxy_that_buffers_or_compresses_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "PATIENCE", 0.3)
    with listening(_Buffering) as url:
        buffered = by_check(proxy.check(Settings(data=tmp_path, base_url=url), None))
        monkeypatch.setattr(_Buffering, "encoding", "gzip")
        compressed = by_check(proxy.check(Settings(data=tmp_path, base_url=url), None))
        monkeypatch.setattr(_Buffering, "statuses", {"/readyz": 404})
        elsewhere = by_check(proxy.check(Settings(data=tmp_path, base_url=url), None))

    assert buffered["proxy"].status is OK
    assert (buffered["proxy buffering"].status, "proxy_buffering off" in buffered["proxy buffering"].detail) == (
        FAILED, True
    )  # fmt: skip
    assert (compressed["proxy buffering"].status, "compresses" in compressed["proxy buffering"].detail) == (
        FAILED,
        True,
    )
    assert "does not lead to this server" in elsewhere["proxy"].detail
    only(proxy.check(Settings(data=tmp_path, base_url=url), None), FAILED, "cannot be reached")


@ONE_DATABASE
def test_a_proxy_with_tls(settings: Settings, tmp_path: Path) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    knowing = settings.model_copy(update={"trusted_proxies": "127.0.0.1"})
    with Served(knowing) as served, Caddy(tmp_path / "trusted", served.url) as caddy:
        through = settings.model_copy(update={"base_url": caddy.url})
        right = by_check(proxy.check(through, None, trusting))
        only(proxy.check(through, None), FAILED, "certificate")
    with Served(settings) as served, Caddy(tmp_path / "unknown", served.url) as caddy:
        wrong = by_check(proxy.check(settings.model_copy(update={"base_url": caddy.url}), None, trusting))

    assert {name: each.status for name, each in right.items()} == {
        "proxy": OK, "proxy TLS": OK, "proxy buffering": OK
    }  # fmt: skip
    assert (wrong["proxy TLS"].status, "BULK_UPLOAD_TRUSTED_PROXIES" in wrong["proxy TLS"].detail) == (FAILED, True)
