"""Every part of a system killed, stopped, cut off, its disk filled, its clock moved: what `make chaos` runs, which is
`python -m tests.benchmarks.chaos`.

Each part is a host with a network namespace of its own: a web process, two workers, Redis, and PostgreSQL; on SQLite,
web process and workers share a disk and a clock, as they must. Files are sent all the time, whole and in parts, and a
page is open. At the end every file is an upload, each of its rows is there once, pages show that, and nothing is on the
disk without a record.

It needs root, and libfaketime (the package `faketime` of Debian) to move clocks.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from jobs.database import Database
from jobs.settings import Settings
from jobs.tables import failed_rows, incoming_files, uploads
from tests.support.disks import SmallDisk, small_disk
from tests.support.hosts import Host, Network
from tests.support.load import BAD, GOOD, Page, Senders, insistently, rows
from tests.support.waiting import until

#: Seconds that a silent worker keeps an upload, and between two sweeps.
LEASE, SWEEP = 3.0, 0.5
#: Bytes of each disk, in memory.
DISK_BYTES = 512 << 20
#: Seconds that a part is stopped or cut off, at most; that a disk is full, or a clock wrong; between two faults.
LONGEST, FULL, WRONG, PAUSE = 30.0, 5.0, 5.0, 1.5
#: Seconds by which a clock is moved.
JUMPS = (-3600, -30, 30, 3600)
#: Seconds until all is well after the last fault.
RECOVERY = 120.0
#: Pages that are looked at in the end.
LOOKED_AT = 20

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
#: The last web process removes what nobody has recorded at once, not an hour later.
IMPATIENT = "from jobs.upkeep import leftovers; leftovers.ABANDONED_AFTER = 0.5; "
#: With libfaketime, time.sleep fails at times, because it sleeps until a moment of the monotonic clock.
SLEEP = "import select, time; time.sleep = lambda seconds: select.select([], [], [], seconds) and None; "
RUN = "from webapp.cli import main; main()"
#: What the JSON of an upload has in common with its record.
FIELDS = ("filename", "status", "rows_total", "rows_processed", "rows_success", "rows_failed", "seq", "attempt")


class Clock:
    """What processes read instead of the machine's clock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.move(0)

    def move(self, seconds: int) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(f"{seconds:+d}\n")
        part.chmod(0o644)
        part.rename(self._path)

    @property
    def words(self) -> list[str]:
        """What begins the command of a process that has this clock."""
        if not FAKETIME:
            return []
        return [
            "env",
            f"LD_PRELOAD={FAKETIME[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._path}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        ]


class Chaos:
    """One system, on one kind of database. `done` counts what was done to it, `violations` are sentences."""

    def __init__(self, kind: str, *, minutes: float, seed: int) -> None:
        self.kind = kind
        self._seconds = minutes * 60
        self._random = random.Random(f"{seed} {kind}")
        self.done: Counter[str] = Counter()
        self.violations: list[str] = []
        self.uploads = 0
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bulk-chaos-")))
        self._folder.chmod(0o755)
        self._network = self._stack.enter_context(Network())
        self._clocks: dict[str, Clock] = {}
        self._disks: dict[str, SmallDisk] = {}
        self._hosts: dict[str, Host] = {}

    def run(self) -> None:
        with self._stack:
            self._start()
            self._first()
            with Page(self._client) as page, Senders(self._client, "chaos") as senders:
                self._hurt()
                senders.end()
                self.violations += [f"a sender failed: {error!r}" for error in senders.errors]
                self._check(page, senders)

    def _start(self) -> None:
        for name in ("redis", *(["db"] if self.kind == "postgresql" else []), "web", "worker1", "worker2"):
            self._hosts[name] = self._network.host(name)
        # Those whose clocks differ are machines: on SQLite, web process and workers are one.
        for name in self._hosts:
            place = name if self.kind == "postgresql" or name == "redis" else "machine"
            self._clocks[name] = self._clocks.get(place) or Clock(self._folder / f"clock-{place}")
            self._clocks[place] = self._clocks[name]
        self._disks["data"] = self._disk("data")
        redis, web = self._hosts["redis"], self._hosts["web"]
        redis.run("redis-server", "--bind", redis.address, "--port", "6379", "--protected-mode", "no", "--save", "")
        if self.kind == "postgresql":
            self._start_postgresql(self._hosts["db"])
        self._settings = Settings.load(
            data=self._disks["data"].path / "data",
            redis_url=f"redis://{redis.address}:6379/0",
            database_url=f"postgresql://bulk@{self._hosts['db'].address}/postgres" if "db" in self._hosts else None,
            host=web.address,
            allowed_hosts=web.address,
            open=True,
            lease=LEASE,
            sweep=SWEEP,
            chunk_bytes=2_000,
        )
        self._keep("web", RUN, "web")
        for name in ("worker1", "worker2"):
            self._keep(name, RUN, "worker")
        until(self._is_ready, "the system to be ready", RECOVERY)

    def _disk(self, name: str) -> SmallDisk:
        return self._stack.enter_context(small_disk(self._folder / f"disk-{name}", DISK_BYTES))

    def _start_postgresql(self, host: Host) -> None:
        disk = self._disks["db"] = self._disk("db")
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        for path in (disk.path, host.folder, host.folder / "log"):
            path.touch()
            shutil.chown(path, "postgres")
        words = [str(programs / "initdb"), "--auth=trust", "--username=bulk", "--encoding=UTF8", "--no-sync", "pg"]
        subprocess.run(words, cwd=disk.path, user="postgres", check=True, capture_output=True)
        with (disk.path / "pg" / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.0.0.0/8 trust\n")
        given = [f"listen_addresses={host.address}", "unix_socket_directories=", "max_connections=200"]
        options = " ".join(f"-c {each}" for each in [*given, "max_wal_size=64MB", "restart_after_crash=on"])
        command = " ".join([*self._clocks["db"].words, f"{programs}/postgres -D pg {options}"])
        script = f"cd {disk.path}; while :; do rm -f pg/postmaster.pid; {command}; sleep 0.3; done"
        host.run("sh", "-c", script, user="postgres")

    def _keep(self, name: str, code: str, command: str) -> None:
        """Start it again and again, as a service manager does."""
        words = " ".join([*self._clocks[name].words, f"{sys.executable} -c '{SLEEP}{code}' {command}"])
        script = f"while :; do {words}; sleep 0.3; done"
        self._hosts[name].run("sh", "-c", script, environment=self._settings.environment())

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://{self._hosts['web'].address}:8000", timeout=10)

    def _is_ready(self) -> bool:
        with suppress(httpx.HTTPError), self._client() as client:
            return client.get("/readyz").status_code == 200
        return False

    def _first(self) -> None:
        """The dataset is made of a file without wrong rows."""
        with self._client() as client:
            query = {"filename": "first.csv", "dataset": "chaos"}
            sent = client.post("/api/v1/uploads", params=query, content=rows("first", bad=0)).json()
            until(
                lambda: client.get(sent["links"]["self"]).json()["status"] == "completed", "the first import", RECOVERY
            )

    def _hurt(self) -> None:
        """One fault after another, until the time is over."""
        faults = list(self._faults())
        end, left = time.monotonic() + self._seconds, list[tuple[str, Callable[[float], object]]]()
        while (remaining := end - time.monotonic()) > 0:
            if not left:
                left = self._random.sample(faults, len(faults))
            what, fault = left.pop()
            self.done[what.partition(":")[0]] += 1
            print(f"  {self._seconds - remaining:6.1f} s  {what}", flush=True)
            fault(max(1.0, min(LONGEST, remaining, self._seconds / 12)))
            time.sleep(self._random.uniform(0.2, PAUSE))

    def _faults(self) -> Iterator[tuple[str, Callable[[float], object]]]:
        for name, host in self._hosts.items():
            yield f"killed: {name}", partial(self._kill, host)
            yield f"stopped: {name}", partial(self._hold, host.stop, host.go_on)
            if self.kind == "postgresql" or name == "redis":  # SQLite's processes share a machine
                yield f"cut off: {name}", partial(self._hold, host.cut, host.mend)
        for name, disk in self._disks.items():
            yield f"disk filled: {name}", partial(self._fill, disk)
        if FAKETIME:
            for clock in dict.fromkeys(each for name, each in self._clocks.items() if name != "redis"):
                names = [name for name, each in self._clocks.items() if each is clock and name in self._hosts]
                yield f"clock moved: {', '.join(names)}", partial(self._move, clock)

    def _kill(self, host: Host, _longest: float) -> None:
        host.kill()
        time.sleep(self._random.uniform(0, 1))
        host.start()

    def _hold(self, begin: Callable[[], None], end: Callable[[], None], longest: float) -> None:
        begin()
        time.sleep(self._random.uniform(1, longest))
        end()

    def _fill(self, disk: SmallDisk, longest: float) -> None:
        disk.fill()
        time.sleep(min(longest, FULL))
        disk.empty()

    def _move(self, clock: Clock, longest: float) -> None:
        clock.move(self._random.choice(JUMPS))
        time.sleep(min(longest, WRONG))
        clock.move(0)

    def _check(self, page: Page, senders: Senders) -> None:
        web = self._hosts["web"]
        until(self._is_ready, "the system to be ready again", RECOVERY)
        with self._client() as client:
            until(lambda: self._active(client) == 0, "all uploads to end", RECOVERY)
        web.forget()
        web.kill()
        self._keep("web", IMPATIENT + RUN, "web")
        until(self._is_ready, "the last web process to be ready", RECOVERY)
        database = Database(self._settings.database)
        try:
            with database.reading() as connection:
                self._check_rows(connection, page, senders)
            until(lambda: not self._unrecorded(database), f"no file without a record: {self._unrecorded(database)}")
        except AssertionError as error:
            self.violations.append(str(error))
        finally:
            database.close()

    def _active(self, client: httpx.Client) -> int:
        """-1 while the server does not answer."""
        counts = []
        for status in ("pending", "processing"):
            try:
                counts.append(len(client.get("/api/v1/uploads", params={"status": status}).json()["items"]))
            except (httpx.HTTPError, ValueError, KeyError):
                return -1
        return sum(counts)

    def _check_rows(self, connection: sa.Connection, page: Page, senders: Senders) -> None:
        found = connection.execute(sa.select(uploads)).all()
        self.uploads = len(found)
        self._expect("uploads of files that nobody sent", [], senders.unexpected(row.filename for row in found))
        self._expect("files that are no upload", [], sorted(senders.sent.keys() - {row.filename for row in found}))
        for row in found:
            wanted = ("completed", GOOD, 0 if row.filename == "first.csv" else BAD)
            self._expect(f"upload {row.id} ({row.error})", wanted, (row.status, row.rows_success, row.rows_failed))
        table = sa.table("data_chaos", sa.column("_upload_id"), sa.column("_row_number"), sa.column("key"))
        counted = sa.select(
            table.c._upload_id,
            sa.func.count(),
            sa.func.count(sa.distinct(table.c._row_number)),
            sa.func.count(sa.distinct(table.c.key)),
        ).group_by(table.c._upload_id)
        stored = {row[0]: tuple(row[1:]) for row in connection.execute(counted)}
        self._expect("rows of the dataset", {row.id: (GOOD,) * 3 for row in found}, stored)
        columns, count = failed_rows.c, sa.func.count
        query = sa.select(columns.upload_id, count(), count(columns.row_number.distinct())).group_by(columns.upload_id)
        failed = {row[0]: tuple(row[1:]) for row in connection.execute(query)}
        self._expect("failed rows", {row.id: (BAD,) * 2 for row in found if row.filename != "first.csv"}, failed)
        seqs = {row.id: row.seq for row in found if row.filename != "first.csv"}
        with suppress(AssertionError):
            until(lambda: not page.lacks(seqs), "the page to know all")
        self._expect("what the open page lacks", {}, page.lacks(seqs))
        with self._client() as client:
            listed = {upload["id"]: upload for upload in _listed(client)}
            self._expect("uploads in the list", sorted(row.id for row in found), sorted(listed))
            for row in found:
                record = {field: getattr(row, field) for field in FIELDS}
                detail = insistently(partial(client.get, f"/api/v1/uploads/{row.id}"), 200).json()
                for shown in (detail, listed.get(row.id, {})):
                    self._expect(f"the JSON of upload {row.id}", record, {field: shown.get(field) for field in FIELDS})
            for row in self._random.sample(found, min(LOOKED_AT, len(found))):
                text = insistently(partial(client.get, f"/uploads/{row.id}"), 200).text
                self._expect(
                    f"the page of upload {row.id}", True, "Completed" in text and f"{row.rows_success:,}" in text
                )

    def _unrecorded(self, database: Database) -> list[str]:
        with database.reading() as connection:
            recorded = {*connection.scalars(sa.select(uploads.c.stored_as))}
            arriving = incoming_files.c.upload_id.is_(None) & incoming_files.c.ended_at.is_(None)
            recorded |= {*connection.scalars(sa.select(incoming_files.c.id).where(arriving))}
        return sorted(set(os.listdir(self._settings.files)) - recorded)

    def _expect(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self.violations.append(f"{what}: expected {str(expected)[:300]}, found {str(actual)[:300]}")


def _listed(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """All uploads, page by page."""
    path: str | None = "/api/v1/uploads?limit=50"
    while path:
        page = insistently(partial(client.get, path), 200).json()
        yield from page["items"]
        path = page["links"]["next"]


@contextmanager
def _without_shared_memory() -> Iterator[None]:
    """libfaketime leaves some of killed processes."""
    before = {*Path("/dev/shm").glob("*faketime*")}
    try:
        yield
    finally:
        for path in {*Path("/dev/shm").glob("*faketime*")} - before:
            path.unlink(missing_ok=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of faults on each database [default: 10]")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    given = parser.parse_args(words)
    again = f"--minutes {given.minutes:g} --seed {given.seed}"
    print(f"Chaos with {again}.", flush=True)
    if not FAKETIME:
        print("libfaketime is not installed (apt install faketime), so no clock is moved.")
    fine = True
    for kind in ("sqlite", "postgresql") if given.database == "both" else (given.database,):
        print(f"\n## {kind}\n", flush=True)
        try:
            with _without_shared_memory():
                chaos = Chaos(kind, minutes=given.minutes, seed=given.seed)
                chaos.run()
        except pytest.skip.Exception as reason:
            print(f"This needs root: {reason}")
            return 1
        print(f"\n{chaos.uploads} uploads; " + ", ".join(f"{what} {n} times" for what, n in sorted(chaos.done.items())))
        for violation in chaos.violations:
            print(f"- {violation}")
        print(
            "All was well." if not chaos.violations else f"Wrong: {len(chaos.violations)}. Again with {again}.",
            flush=True,
        )
        fine = fine and not chaos.violations
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
