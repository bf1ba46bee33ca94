"""Workers killed at random moments of real imports: `python -m tests.benchmarks.soak`, which `make soak` runs.

Two workers import one file after the other while their horses and they themselves are killed, and one horse is frozen
beyond its lease and let go again. Whatever happens, every good row has to be in the table once, every bad one among the
failed rows once, the counters right, and the end told once on each channel. Then imports are undone, and these undos
too, under kills: no row may be left, and then every one has to be there again.
"""

import argparse
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from redis import Redis

from jobs import datasets, files, uploads
from jobs.changes import Changes
from jobs.database import Database, migrate
from jobs.datasets import Mode
from jobs.events import GENERAL_CHANNEL, Event, Publisher, channel_of
from jobs.queue import UploadQueue
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.tables import failed_rows, failure_counts
from jobs.undo import orders as undo_orders
from jobs.uploads import Status, Upload
from tests import ROOT
from tests.benchmarks import data
from tests.support.services import PostgresServer, RedisServer
from tests.support.supervised import children_of, is_running, kill
from tests.support.waiting import until

#: Seconds that a silent worker keeps an upload, and between two sweeps.
LEASE, SWEEP = 2.0, 0.3
#: Workers that are kept running.
WORKERS = 2
#: Seconds from a commit to the next kill, at most: some chunks later, in the middle of one.
DELAY = 0.4
#: Seconds for the slowest step, which is two new workers loading their libraries on a busy machine.
PATIENCE = 90.0
#: Seconds that a server may still need for a statement of a process that stands still.
IN_FLIGHT = 0.02
#: Seconds after the last upload's end in which nothing more may be heard of any.
SILENCE = 1.0


class Kill(StrEnum):
    """What is done to those who import."""

    HORSE = "horse killed"
    PARENT = "parent killed, its horse works on"
    BOTH = "parent and horse killed"
    FREEZE = "horse frozen beyond its lease, then let go"


class Workers:
    """Some worker processes, of which a dead one is replaced."""

    def __init__(self, settings: Settings, log: Path, count: int = WORKERS, lane: str = "all") -> None:
        self._count, self._lane = count, lane
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.environment()}
        self._log = log
        self._processes: list[subprocess.Popen[bytes]] = []
        self._horses: set[int] = set()

    def keep_running(self) -> None:
        self._processes = [process for process in self._processes if process.poll() is None]
        while len(self._processes) < self._count:
            with self._log.open("ab") as log:
                command = [sys.executable, "-m", "webapp.cli", "worker", "--lane", self._lane]
                process = subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=log, stderr=log)
            self._processes.append(process)

    def parent_of(self, horse: int) -> int | None:
        """The worker that waits for a horse; None when it was killed before."""
        self._horses.add(horse)
        return next((process.pid for process in self._processes if horse in children_of(process.pid)), None)

    def end(self) -> None:
        for process in self._processes:
            self._horses.update(children_of(process.pid))
            process.kill()
            process.wait(10)
        for horse in self._horses:
            if _is_ours(horse):
                kill(horse)


class Ear:
    """Hears both kinds of channels from the start, as (channel, event) in the order they came."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(redis_url)
        self._pubsub: Any = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py's
        self._pubsub.subscribe(GENERAL_CHANNEL)
        self._pubsub.psubscribe(f"{GENERAL_CHANNEL}:*")
        self.heard: list[tuple[str, Event]] = []

    def listen(self) -> None:
        """Take what has come in."""
        while message := self._pubsub.get_message(timeout=0.05):
            self.heard.append((message["channel"].decode(), Event.parse(message["data"])))

    def close(self) -> None:
        self._pubsub.close()
        self._redis.close()


class Repeating:
    """Calls a function again and again in a thread, inside the block. What it raises is kept."""

    def __init__(self, action: Callable[[], None], interval: float) -> None:
        self._action = action
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.errors: list[Exception] = []

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            try:
                self._action()
            except Exception as error:
                self.errors.append(error)

    def __enter__(self) -> "Repeating":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)


class Soak:
    """Imports on one database until a plan of kills is carried out. `kills` counts them, `violations` are sentences."""

    def __init__(self, settings: Settings, *, rows: int, seed: int) -> None:
        """settings: of a migrated database; chunk_bytes small enough that one import outlives several kills."""
        self._settings = settings
        self._rows = rows
        self._random = random.Random(seed)
        self._file = data.csv_file(rows)
        self._database = Database(settings.database)
        settings.data.mkdir(parents=True, exist_ok=True)
        self._workers = Workers(settings, settings.data / "workers.log")
        self._queue, self._publisher = UploadQueue(settings.redis), Publisher(settings.redis)
        self._changes = Changes(
            self._database,
            self._publisher,
            self._queue,
            settings.files,
            dataset_imports=settings.dataset_imports,
        )
        self._ear = Ear(settings.redis)
        self._frozen: set[tuple[int, int]] = set()
        self.imported: list[Upload] = []
        self.undos: list[Upload] = []
        #: The seqs with which uploads told that they were undone, or are in effect again.
        self._marks: defaultdict[int, list[int]] = defaultdict(list)
        self.kills: Counter[Kill] = Counter()
        self.violations: list[str] = []

    def run(self, plan: Sequence[Kill], undo_plan: Sequence[Kill] = ()) -> None:
        """The plan is carried out in order, over as many imports as it takes; then the other one, over undos."""
        left, left_of_undos = list(reversed(plan)), list(reversed(undo_plan))
        sweeping = Repeating(Sweeper(self._changes, external_timeout=3600).sweep, SWEEP)
        staffing, hearing = Repeating(self._workers.keep_running, SWEEP), Repeating(self._ear.listen, 0)
        self._workers.keep_running()
        try:
            with hearing, staffing, sweeping:
                while left:
                    self._import(left)
                while left_of_undos:
                    self._undo(self.imported[-1], left_of_undos)
                time.sleep(SILENCE)
            for upload in (*self.imported, *self.undos):
                self._check_told(upload)
            for errors in (sweeping.errors, staffing.errors, hearing.errors):
                self.violations += [f"an error beside the workers: {error!r}" for error in errors]
        finally:
            self._workers.end()
            self._close()

    def _import(self, left: list[Kill]) -> None:
        """One import, killed as often as it can be: each kill takes the next of the plan from `left`."""
        ended = self._ended(self._record(), left)
        self.imported.append(ended)
        self._check_rows(ended)

    def _undo(self, upload: Upload, left: list[Kill]) -> None:
        """Undo an import, then the undo, each killed as often as it can be."""
        removed = self._undone(upload, left)
        with self._database.reading() as connection:
            dataset = datasets.get(connection, str(upload.dataset))
            has_rows = datasets.has_rows(connection, dataset) or datasets.row_count(connection, dataset) > 0
        self._expect(upload, "rows that an undo left", False, has_rows)
        self._expect(removed, "rows removed", upload.rows_success, removed.rows_removed)
        restored = self._undone(removed, left)
        self._expect(restored, "rows put back", upload.rows_success, restored.rows_added)
        self._check_rows(upload)

    def _undone(self, upload: Upload, left: list[Kill]) -> Upload:
        """The undo of an upload, which has ended."""
        with self._database.transaction() as connection:
            undo = undo_orders.order(connection, upload)
        self._publisher.publish(undo)
        self._queue.enqueue(undo)
        ended = self._ended(undo.id, left)
        self.undos.append(ended)
        self._expect(ended, "status", Status.COMPLETED, ended.status)
        self._expect(ended, "rows undone", upload.rows_success, ended.rows_success)
        for marked in (upload.id, *upload.undoes):
            self._marks[marked].append(self._now(marked).seq)
        self._expect(upload, "undone by", ended.id, self._now(upload.id).undone_by)
        return ended

    def _ended(self, upload_id: int, left: list[Kill]) -> Upload:
        """An upload at its end, killed as often as it can be."""
        accounted = 0
        while upload := self._advanced(upload_id, beyond=accounted):
            accounted = upload.rows_processed
            if left and self._strike(upload_id, left[-1]):
                left.pop()
        return self._now(upload_id)

    def _record(self) -> int:
        """A new upload into a new dataset, in the line."""
        with files.Arrival(self._settings.files, self._file.name, limit=1 << 40) as arrival:
            arrival.write(self._file.read_bytes())
            stored = arrival.keep()
        name = f"soak_{len(self.imported) + 1}"
        with self._database.transaction() as connection:
            datasets.declare(connection, name, TableSchema.parse(data.SCHEMA), Mode.INSERT)
            upload = uploads.create(connection, stored, dataset=name)
        self._publisher.publish(upload)
        self._queue.enqueue(upload)
        return upload.id

    def _now(self, upload_id: int) -> Upload:
        with self._database.reading() as connection:
            return uploads.get(connection, upload_id)

    def _advanced(self, upload_id: int, *, beyond: int) -> Upload | None:
        """The upload, in process, once rows have been committed since the last kill; None when it is at its end.

        So no five attempts in a row commit nothing, after which an upload is rightly given up.
        """

        def has_come_further() -> Upload | None:
            upload = self._now(upload_id)
            further = upload.status is Status.PROCESSING and upload.rows_processed > beyond
            return upload if further or not upload.is_active else None

        upload = until(has_come_further, f"upload {upload_id} to come further than row {beyond}", PATIENCE)
        return upload if upload.is_active else None

    def _strike(self, upload_id: int, wanted: Kill) -> bool:
        """Wait for a random moment, then kill or freeze. Says whether what was wanted could be done.

        A horse whose parent was killed before has none that could be: it is killed alone, and what was wanted waits.
        """
        time.sleep(self._random.uniform(0, DELAY))
        horse = _horse_of(self._now(upload_id))
        parent = horse and self._workers.parent_of(horse)
        if horse is None:
            return False
        if wanted is Kill.FREEZE:
            return self._freeze(upload_id, horse)
        kind = wanted if parent else Kill.HORSE
        if not self._kill(upload_id, horse, parent, kind):
            return False
        self.kills[kind] += 1
        return kind is wanted

    def _kill(self, upload_id: int, horse: int, parent: int | None, kind: Kill) -> bool:
        """Not done if the record does not say `processing`, by this horse, at the very moment."""
        with _standing_still(horse) as stands:
            time.sleep(IN_FLIGHT)
            if not stands or _horse_of(self._now(upload_id)) != horse:
                return False
            if parent and kind is not Kill.HORSE:
                kill(parent)
            if kind is not Kill.PARENT:
                kill(horse)
        return True

    def _freeze(self, upload_id: int, horse: int) -> bool:
        """Freeze the horse until another has its upload and has committed rows, then let it go and see it give up."""
        with _standing_still(horse) as stands:
            time.sleep(IN_FLIGHT)
            frozen = self._now(upload_id)
            if not stands or _horse_of(frozen) != horse or self._holds_the_turn():
                return False
            self._frozen.add((upload_id, frozen.attempt))
            self.kills[Kill.FREEZE] += 1

            def succeeded() -> bool:
                upload = self._now(upload_id)
                return upload.attempt > frozen.attempt and upload.rows_processed > frozen.rows_processed

            try:
                until(succeeded, "another worker to go on", PATIENCE)
            except AssertionError as error:
                self.violations.append(f"upload {upload_id}, whose horse was frozen: {error}")
        with suppress(AssertionError):
            until(lambda: not is_running(horse), "the horse to give up", PATIENCE)
            return True
        self.violations.append(f"upload {upload_id}: the horse that had lost its claim works on")
        return True

    def _holds_the_turn(self) -> bool:
        """Whether somebody, perhaps the process that stands still, is writing to SQLite or stands in the queue for it.

        SQLite cannot end the transaction of a process that stands still, as PostgreSQL does: nobody could write before
        it continues (docs/architecture.md, SQLite among processes). So on SQLite a horse is frozen between two
        transactions, on PostgreSQL anywhere.
        """
        if not self._database.is_sqlite:
            return False
        path = sa.make_url(self._settings.database).database
        return any(_is_locked(Path(f"{path}.{name}")) for name in ("line", "turn", "waiting", "imports"))

    def _check_rows(self, upload: Upload) -> None:
        """That each row of the file is where it has to be, once, and that the counters say so."""
        bad = data.bad_numbers(self._rows)
        wrong = set(bad)
        good = [(n, data.key_of(n)) for n in range(1, self._rows + 1) if n not in wrong]
        with self._database.reading() as connection:
            table = sa.table(f"data_{upload.dataset}", sa.column("_row_number"), sa.column("key"))
            found = connection.execute(sa.select(table)).all()
            failed = connection.execute(
                sa.select(failed_rows.c.row_number).where(failed_rows.c.upload_id == upload.id)
            ).scalars()
            kept = sorted(failed)
            reasons = connection.execute(
                sa.select(sa.func.sum(failure_counts.c.rows)).where(failure_counts.c.upload_id == upload.id)
            ).scalar_one()
            counted = datasets.row_count(connection, datasets.get(connection, str(upload.dataset)))
        counters = (upload.rows_total, upload.rows_processed, upload.rows_success, upload.rows_failed)
        self._expect(upload, "status", Status.COMPLETED, upload.status)
        self._expect(upload, "counters", (self._rows, self._rows, len(good), len(bad)), counters)
        self._expect(upload, "failures by reason", len(bad), int(reasons or 0))
        self._expect_same(upload, "rows of the table", good, sorted((int(n), str(key)) for n, key in found))
        self._expect_same(upload, "failed rows", bad, kept)
        self._expect(upload, "rows of the dataset", len(found), counted)

    def _check_told(self, upload: Upload) -> None:
        """That each channel heard of one end, as the last state of all, and of states in their order.

        A horse that was frozen between its commit and its event tells it late, as an old `seq` that everyone drops.
        """
        for channel in (GENERAL_CHANNEL, channel_of(upload.id)):
            events = [event for name, event in self._ear.heard if name == channel and event.file_id == upload.id]
            ends = [event.seq for event in events if event.is_terminal]
            self._expect(upload, f"ends told on {channel}", [upload.seq, *self._marks[upload.id]], ends)
            newest = 0
            for event in events:
                if event.seq <= newest and (upload.id, event.attempt) not in self._frozen:
                    self._violated(upload, f"seq {event.seq} was told on {channel} behind {newest}")
                newest = max(newest, event.seq)
            last = [upload.seq, *self._marks[upload.id]][-1]
            self._expect(upload, f"newest seq told on {channel}", last, newest)

    def _expect(self, upload: Upload, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            self._violated(upload, f"{what}: expected {expected}, found {actual}")

    def _expect_same(self, upload: Upload, what: str, expected: Sequence[Any], actual: Sequence[Any]) -> None:
        """Of long lists, only by how much they differ is said."""
        if expected != actual:
            missing, twice = set(expected) - set(actual), len(actual) - len(set(actual))
            strange = set(actual) - set(expected)
            self._violated(upload, f"{what}: {len(missing)} missing, {twice} twice, {len(strange)} that should not be")

    def _violated(self, upload: Upload, sentence: str) -> None:
        self.violations.append(f"upload {upload.id} ({upload.status}, attempt {upload.attempt}): {sentence}")

    def _close(self) -> None:
        for part in (self._ear, self._queue, self._publisher, self._database):
            part.close()


def _horse_of(upload: Upload) -> int | None:
    """The process that imports it, if the record says that one does."""
    host, _, pid = (upload.worker or "").rpartition(":")
    return int(pid) if upload.status is Status.PROCESSING and host == socket.gethostname() else None


@contextmanager
def _standing_still(pid: int) -> Iterator[bool]:
    """A process stopped, all its threads, inside the block: False when there is none. What it still is then goes on."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        yield False
        return
    try:
        until(lambda: _has_stopped(pid), f"process {pid} to stand still")
        yield is_running(pid)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _has_stopped(pid: int) -> bool:
    """Whether no thread of it runs any more, or none is left."""
    states = []
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            states.append(thread.read_text("utf-8").rpartition(")")[2].split()[0])
    return all(state in "TtZX" for state in states)


def _is_ours(pid: int) -> bool:
    """Whether a process is a worker still, and not another one that was given its number."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return b"webapp.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _is_locked(path: Path) -> bool:
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def plan_of(kills: int, seed: int) -> list[Kill]:
    """So many kills of every kind in any order, and one freeze amid them."""
    kinds = random.Random(seed).choices([Kill.HORSE, Kill.PARENT, Kill.BOTH], weights=[2, 1, 1], k=kills)
    return [*kinds[: kills // 2], Kill.FREEZE, *kinds[kills // 2 :]]


def prepared(folder: Path, redis: RedisServer, database_url: str | None, *, chunk_bytes: int) -> Settings:
    """The settings of a system on a migrated database of its own."""
    settings = Settings(
        data=folder, redis_url=redis.url, database_url=database_url, lease=LEASE, sweep=SWEEP, chunk_bytes=chunk_bytes
    )
    migrate(settings)
    return settings


def _soak(name: str, words: argparse.Namespace) -> bool:
    """One database. Says whether all was well."""
    redis, server = RedisServer(), PostgresServer() if name == "postgresql" else None
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bulk-soak-") as folder:
        url = server.create() if server else None
        soak = Soak(prepared(Path(folder), redis, url, chunk_bytes=words.chunk_bytes), rows=words.rows, seed=words.seed)
        try:
            soak.run(plan_of(words.kills, words.seed), plan_of(words.undo_kills, words.seed + 1))
        finally:
            redis.remove()
            if server:
                server.remove()
    _print(name, soak, time.monotonic() - started)
    return not soak.violations


def _print(name: str, soak: Soak, seconds: float) -> None:
    attempts = sum(upload.attempt for upload in soak.imported)
    rows = sum(upload.rows_processed for upload in soak.imported)
    print(f"\n## {name}\n\n| what | how often |\n|---|---|")
    for kind in Kill:
        print(f"| {kind} | {soak.kills[kind]} |")
    print(f"| undos | {len(soak.undos)} |\n| attempts of undos | {sum(undo.attempt for undo in soak.undos)} |")
    print(f"| imports | {len(soak.imported)} |\n| attempts | {attempts} |\n| rows | {rows:,} |")
    print(f"| seconds | {seconds:.0f} |\n| violations | {len(soak.violations)} |\n")
    for violation in soak.violations:
        print(f"- {violation}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="on each database [default: 50]")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--rows", type=int, default=300_000, help="of the file [default: 300,000]")
    parser.add_argument("--undo-kills", type=int, default=20, help="of undos, on each database [default: 20]")
    parser.add_argument("--chunk-bytes", type=int, default=64 * 1024, help="of a chunk [default: 64 kB]")
    words = parser.parse_args()
    print(f"Soaking with --seed {words.seed}.", flush=True)
    names = ["sqlite", "postgresql"] if words.database == "both" else [words.database]
    fine = [_soak(name, words) for name in names]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
