"""Each part on a host of its own, without a common disk: hosts die and are cut off, and every row is there once."""

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from jobs.database import Database
from jobs.settings import Settings
from jobs.store.chosen import named
from jobs.upkeep import leftovers
from jobs.upkeep.leftovers import Leftovers
from tests.support.buckets import BUCKET, KEYS
from tests.support.hosts import Host, Network
from tests.support.load import BAD, GOOD, Page, Senders, insistently, rows
from tests.support.parts import require
from tests.support.waiting import until

#: Seconds that one worker is cut off.
PARTITION = 30.0
#: Seconds for each step, most of which take two: on a busy machine, a worker starts slowly.
PATIENCE = 120.0
#: Right rows of the large file.
MANY = 50_000
LEASE = 3.0

CADDY = """
{{
	auto_https off
	admin off
}}
https://{address} {{
	tls {folder}/cert.pem {folder}/key.pem
	reverse_proxy {first}:8000 {second}:8000 {{
		lb_policy round_robin
		lb_try_duration 5s
		fail_duration 1s
		transport http {{
			dial_timeout 1s
		}}
	}}
}}
"""


def certify(folder: Path, address: str) -> None:
    """Make a key, and a certificate for an address, which is its own authority."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", f"subjectAltName=IP:{address}", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


class System:
    """Two web processes, two workers, PostgreSQL, Redis, an S3 server and Caddy."""

    def __init__(self, network: Network) -> None:
        names = ("db", "redis", "s3", "proxy", "web1", "web2", "worker1", "worker2")
        self.hosts: dict[str, Host] = {name: network.host(name) for name in names}
        self.url = f"https://{self.hosts['proxy'].address}"
        self._start_services()
        environment = self._environment()
        for name in ("web1", "web2"):
            self._run(name, "web", {**environment, "BULK_UPLOAD_HOST": self.hosts[name].address})
        for name in ("worker1", "worker2"):
            self._run(name, "worker", environment)
        self.client = self.connected()

    def _start_services(self) -> None:
        hosts = self.hosts
        database, redis, proxy = hosts["db"], hosts["redis"], hosts["proxy"]
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        for path in (database.folder, database.folder / "log"):
            path.touch()
            subprocess.run(["chown", "postgres", path], check=True)
        initdb = [str(programs / "initdb"), "--auth=trust", "--username=bulk", "--encoding=UTF8", "--no-sync", "data"]
        subprocess.run(initdb, cwd=database.folder, user="postgres", check=True, capture_output=True)
        with (database.folder / "data" / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.0.0.0/8 trust\n")
        options = [f"listen_addresses={database.address}", "unix_socket_directories=", "max_connections=200"]
        words = [word for option in options for word in ("-c", option)]
        database.run(str(programs / "postgres"), "-D", "data", *words, user="postgres")
        certify(redis.folder, redis.address)
        redis.run("redis-server", "--port", "0", "--bind", redis.address, "--tls-port", "6379", "--save", "",
                  "--requirepass", "pass word",
                  "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no",
                  "--tls-ca-cert-file", "cert.pem")  # fmt: skip
        hosts["s3"].run(sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", "5000")
        certify(proxy.folder, proxy.address)
        config = CADDY.format(
            address=proxy.address, folder=proxy.folder, first=hosts["web1"].address, second=hosts["web2"].address
        )
        (proxy.folder / "Caddyfile").write_text(config)
        proxy.run("caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile")
        until(self._has_bucket, "the S3 server")
        until(lambda: self.query("SELECT 1"), "PostgreSQL")

    def _has_bucket(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.put(f"http://{self.hosts['s3'].address}:5000/{BUCKET}").status_code == 200
        return False

    def _environment(self) -> dict[str, str]:
        """A secret is in a file, and all folders are those of the hosts."""
        hosts = self.hosts
        redis = hosts["redis"]
        return {
            "DATABASE_URL": f"postgresql://bulk@{hosts['db'].address}/postgres",
            "REDIS_URL": f"rediss://:pass%20word@{redis.address}:6379/0?ssl_ca_certs={redis.folder}/cert.pem",
            "BULK_UPLOAD_STORE": f"s3://{BUCKET}/files",
            "BULK_UPLOAD_S3_ENDPOINT": f"http://{hosts['s3'].address}:5000",
            "BULK_UPLOAD_ALLOWED_HOSTS": hosts["proxy"].address,
            "BULK_UPLOAD_TRUSTED_PROXIES": hosts["proxy"].address,
            "BULK_UPLOAD_OPEN": "1",
            "BULK_UPLOAD_LEASE": str(LEASE),
            "BULK_UPLOAD_SWEEP": "0.5",
            "BULK_UPLOAD_CHUNK_BYTES": "30000",
            "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
        }

    def _run(self, name: str, command: str, environment: dict[str, str]) -> None:
        """Start it again and again, as a service manager does."""
        host = self.hosts[name]
        script = f"while :; do {sys.executable} -m webapp.cli {command}; sleep 0.5; done"
        host.run("sh", "-c", script, environment={**environment, "BULK_UPLOAD_DATA": str(host.folder / "data")})

    def connected(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.hosts["proxy"].folder / "cert.pem"))
        return httpx.Client(base_url=self.url, verify=context, timeout=10)

    def is_ready(self) -> bool:
        """Whether both web processes answer, and the proxy does."""
        web = (f"http://{self.hosts[name].address}:8000" for name in ("web1", "web2"))
        with suppress(httpx.HTTPError):
            return all(self.client.get(f"{url}/readyz").status_code == 200 for url in (*web, self.url))
        return False

    def stored_files(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """In the bucket, after a pass over it that takes what has no record at once, not an hour later."""
        monkeypatch.setattr(leftovers, "ABANDONED_AFTER", -5.0)
        for name, value in self._environment().items():
            monkeypatch.setenv(name, value)
        settings = Settings.load()
        store, database = named(settings, settings.store), Database(settings.database)
        with closing(database):
            monkeypatch.setattr(leftovers, "STEP_SECONDS", 60.0)
            Leftovers(database, store).step()
        return set(store.names())

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Empty while PostgreSQL does not answer."""
        url = f"postgresql://bulk@{self.hosts['db'].address}/postgres"
        with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2) as connection:
            return connection.execute(statement.encode()).fetchall()
        return []


@pytest.fixture
def system() -> Iterator[System]:
    for program in ("ip", "caddy", "redis-server", "openssl", "setpriv"):
        require(shutil.which(program) is not None, f"needs {program}")
    with Network() as network:
        try:
            made = System(network)
            with closing(made.client):
                until(made.is_ready, "the system to be ready", PATIENCE)
                yield made
        finally:
            for host in network.hosts:
                print(f"--- {host.address}\n{host.log[-3_000:]}")  # pytest shows it if the test failed


@contextmanager
def seen_to_go_on(system: System, what: str) -> Iterator[None]:
    """After the block, wait until more rows are imported."""
    yield
    query = "SELECT coalesce(sum(rows_success), 0) FROM uploads"
    [(before,)] = until(lambda: system.query(query), "PostgreSQL to answer", PATIENCE)
    until(lambda: [count for (count,) in system.query(query) if count > before], f"rows after {what}", PATIENCE)


@pytest.mark.timeout(600)
def test_whichever_host_dies_or_is_cut_off_every_row_is_there_once_and_no_page_stays_behind(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = system.hosts
    first = system.client.post("/api/v1/uploads?filename=first.csv&dataset=hosts", content=rows("first", bad=0)).json()
    until(lambda: system.query("SELECT 1 FROM uploads WHERE status = 'completed'"), "the first import", PATIENCE)
    with Page(system.connected) as one, Page(system.connected) as two, Senders(system.connected, "hosts") as senders:
        large = rows("large", MANY)
        big = insistently(
            lambda: system.client.post("/api/v1/uploads?filename=large.csv&dataset=hosts", content=large),
            201,
        ).json()
        until(
            lambda: system.query(f"SELECT 1 FROM uploads WHERE id = {big['id']} AND rows_success > 0"), "rows", PATIENCE
        )
        cut_off = hosts["worker1"]
        cut_off.cut()
        heal_at = time.monotonic() + PARTITION
        for name in ("web1", "redis", "worker2", "proxy", "db", "web2"):
            with seen_to_go_on(system, f"{name} is killed"):
                hosts[name].kill()
                hosts[name].start()
        with seen_to_go_on(system, "the S3 server is cut off"):
            hosts["s3"].cut()
            time.sleep(2)
            hosts["s3"].mend()
        while time.monotonic() < heal_at:
            time.sleep(0.1)
        with seen_to_go_on(system, "worker1 is back"):
            cut_off.mend()
        senders.end()

        assert senders.errors == []
        unfinished = "SELECT id FROM uploads WHERE status IN ('pending', 'processing')"
        until(lambda: system.query("SELECT 1") and not system.query(unfinished), "all imports to end", PATIENCE)
        found = system.query("SELECT id, status, rows_success, rows_failed, seq, filename FROM uploads")
        sent = dict.fromkeys((row[0] for row in found), (GOOD, BAD)) | {first["id"]: (GOOD, 0), big["id"]: (MANY, BAD)}

        assert set(senders.sent.values()) <= sent.keys()
        assert senders.unexpected(row[5] for row in found if row[5] != "large.csv") == []
        assert {row[0]: row[1:4] for row in found} == {id_: ("completed", *counts) for id_, counts in sent.items()}
        stored = system.query(
            "SELECT _upload_id, count(*), count(DISTINCT _row_number), count(DISTINCT key) FROM data_hosts GROUP BY 1"
        )
        assert {row[0]: row[1:] for row in stored} == {id_: (good,) * 3 for id_, (good, _) in sent.items()}
        failed = system.query("SELECT upload_id, count(*), count(DISTINCT row_number) FROM failed_rows GROUP BY 1")
        assert {row[0]: row[1:] for row in failed} == {id_: (bad,) * 2 for id_, (_, bad) in sent.items() if bad}
        seqs = {row[0]: row[4] for row in found if row[0] != first["id"]}  # which ended before a page was opened
        for page in (one, two):
            until(lambda: not page.lacks(seqs), f"a page to know all but {page.lacks(seqs)}")  # noqa: B023
    assert system.stored_files(monkeypatch) == {row[0] for row in system.query("SELECT stored_as FROM uploads")}
    for name in ("worker1", "worker2"):
        work = hosts[name].folder / "data" / "work"
        left = partial(os.listdir, work)
        until(lambda: not left(), f"{name} to end what it does not import any more: {left()}")  # noqa: B023
