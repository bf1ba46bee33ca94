"""`python -m tests.benchmarks.streaming`: what a thousand open streams cost, beside their yardsticks.

Prints Markdown. Only the ratios mean something elsewhere: all sides of each are measured in the same run.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import httpx
from redis import Redis

from jobs.database import migrate
from jobs.events import Event, channels, timestamp
from jobs.people.roles import Role
from jobs.settings import Settings
from jobs.tables import uploads as table_of_uploads
from tests.benchmarks.crowd import Crowded
from tests.benchmarks.processes import cpu_seconds, kernel_bytes, resident
from tests.benchmarks.report import Line, table
from tests.benchmarks.stream_yardsticks import Nchan, Subscriptions
from tests.support import people
from tests.support.services import RedisServer
from tests.support.serving import Records, Web
from tests.support.waiting import until

SECTIONS = ["cost", "restricted", "quiet", "pages", "memory", "stalled", "storm"]
LIBRARIES = ["sse-starlette", "starlette", "uvicorn", "redis"]

CLIENTS, UPLOADS, A_SECOND = 1_000, 20, 200
#: Seconds before a measurement begins, and after the last event until everybody must have it.
WARM_UP, SETTLE = 2.0, 2.0
#: Clients that stall, and that read beside them.
STALLED, PROMPT = 50, 100
#: Small imports after each other, the states of each, and the seconds between two states and before each import.
IMPORTS, STATES, BETWEEN, QUIET = 20, 4, 0.015, 0.5
#: Restricted datasets, with an upload each, and as many accounts that see all of these but one.
RESTRICTED = 5
#: Rounds of page views, and requests of each kind in a round.
VIEW_ROUNDS, VIEWS = 5, 200
KB = 1_000

GENERAL, HISTORY = "/api/v1/events", "/uploads/events"
OURS, OURS_HISTORY = "ours, `/api/v1/events`", "ours, the history page's stream"
NCHAN, NAIVE = "nginx with nchan", "one Redis subscription a client"

#: Runs in the web process first: counts what is asked of the database, and writes it down when told to.
COUNT_QUERIES = """
import json, pathlib, signal
from sqlalchemy import event
from sqlalchemy.engine import Engine
asked = []
event.listen(Engine, "before_cursor_execute", lambda *words: asked.append(words[2]))
signal.signal(signal.SIGUSR1, lambda *_: pathlib.Path({path!r}).write_text(json.dumps(asked)))
"""


class Server(Protocol):
    port: int
    path: str
    pid: int


class Ours:
    """A web process on SQLite with uploads under way."""

    def __init__(self, folder: Path, redis: RedisServer, path: str = GENERAL, restricted: int = 0, **more: Any) -> None:
        """restricted: uploads that go into a restricted dataset each."""
        more = {"streams_per_address": CLIENTS * 2, "port": 0} | more
        settings = Settings.load(data=folder / "data", redis_url=redis.url, **more)
        settings.data.mkdir(parents=True)
        migrate(settings)
        self.records = Records(settings)
        for number in range(UPLOADS):
            dataset = f"restricted_{number}" if number < restricted else "june"
            self.records.processing(f"file {number}.csv", rows=1_000_000, dataset=dataset)
        self._asked = folder / "asked"
        # Its log must say where it listens, so the level is lowered only then.
        self._web = Web(settings.model_copy(update={"log_level": "INFO"}), COUNT_QUERIES.format(path=str(self._asked)))
        self.port, self.path, self.pid = httpx.URL(self._web.url).port or 0, path, self._web.process.pid

    def asked(self) -> list[str]:
        """Statements that the process has sent to its database."""
        self._asked.unlink(missing_ok=True)
        self._web.process.send_signal(signal.SIGUSR1)
        text = until(lambda: self._asked.exists() and self._asked.read_text("utf-8"), "the statements")
        found: list[str] = json.loads(str(text))
        return found

    def close(self) -> None:
        self._web.__exit__()
        self.records.close()


@contextmanager
def ours(redis: RedisServer, path: str = GENERAL, **more: Any) -> Iterator[Ours]:
    folder = Path(tempfile.mkdtemp(prefix="bulk-bench-"))
    server = Ours(folder, redis, path, **more)
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


class Teller:
    """Tells of 20 uploads, so many events a second, each at its own moment."""

    def __init__(self, publish: Callable[[Event], None], records: Records | None = None) -> None:
        """records: where each state is written before it is told; None where nobody reads it."""
        self._publish = publish
        self._records = records
        found = records.all() if records else []
        by_id = {upload.id: upload.seq for upload in found} or dict.fromkeys(range(1, UPLOADS + 1), 1)
        datasets = {upload.id: upload.dataset for upload in found}
        self.states = {
            upload_id: Event(
                event="bulk_upload_progress", file_id=upload_id, seq=seq, attempt=1, filename=f"file {upload_id}.csv",
                dataset=datasets.get(upload_id, "june"), status="processing", progress=0, rows_total=1_000_000,
                rows_processed=0, rows_success=0, rows_failed=0, error=None, timestamp="",
            )
            for upload_id, seq in by_id.items()
        }  # fmt: skip
        self.told = 0

    def tell(self, seconds: float) -> None:
        began = time.monotonic()
        for round_ in range(int(seconds * A_SECOND / UPLOADS)):
            self._next_states()
            for number, upload_id in enumerate(self.states):
                at = began + (round_ * UPLOADS + number) / A_SECOND
                time.sleep(max(0.0, at - time.monotonic()))
                self._tell(upload_id)

    def tell_one(self) -> Event:
        """The next state of the first upload."""
        upload_id = min(self.states)
        self.states[upload_id] = replace(self.states[upload_id], seq=self.states[upload_id].seq + 1)
        self._tell(upload_id)
        return self.states[upload_id]

    def finish(self) -> None:
        """The last state of each."""
        self._next_states(event="bulk_upload_complete", status="completed", progress=100)
        for upload_id in self.states:
            self._tell(upload_id)

    def _next_states(self, **changes: Any) -> None:
        for upload_id, state in self.states.items():
            rows = min(state.rows_processed + 1_000, 1_000_000)
            self.states[upload_id] = replace(
                state, seq=state.seq + 1, rows_processed=rows, rows_success=rows, progress=rows // 10_000
            )
            if changes:
                self.states[upload_id] = replace(self.states[upload_id], **changes)
        if self._records:
            self._write(self._records)

    def _write(self, records: Records) -> None:
        with records.database.transaction() as connection:
            for state in self.states.values():
                values = {name: getattr(state, name) for name in ("seq", "status", "rows_processed", "rows_success")}
                connection.execute(
                    table_of_uploads.update()
                    .where(table_of_uploads.c.id == state.file_id)
                    .values(updated_at=datetime.now(UTC), **values)
                )

    def _tell(self, upload_id: int) -> None:
        event = self.states[upload_id] = replace(self.states[upload_id], timestamp=timestamp(datetime.now(UTC)))
        self._publish(event)
        self.told += 1

    @property
    def expected(self) -> list[Any]:
        return sorted([state.file_id, [state.seq, state.status]] for state in self.states.values())


def to_redis(redis: RedisServer) -> Callable[[Event], None]:
    """As a job does: to both channels in one round trip."""
    client = Redis.from_url(redis.url)

    def publish(event: Event) -> None:
        data = event.json()
        with client.pipeline(transaction=False) as pipeline:
            for channel in channels(event.file_id):
                pipeline.publish(channel, data)
            pipeline.execute()

    return publish


@dataclass(frozen=True)
class Run:
    """cpu: seconds, of the server and of the load client. conveyed: the fraction of all events for all clients."""

    cpu: float
    redis_cpu: float
    client_cpu: float
    events: int
    conveyed: float
    p50: float
    p99: float
    right: int
    kilobytes: float

    @property
    def deliveries(self) -> float:
        """A processor second."""
        return self.events / self.cpu


def measured(
    server: Server,
    teller: Teller,
    redis: RedisServer,
    seconds: float,
    kind: str = "json",
    tokens: Sequence[str] = (),
) -> Run:
    with Crowded(server.port, server.path, CLIENTS, kind, tokens) as crowd:
        before = resident(server.pid)
        crowd.ask("open")
        time.sleep(1)
        idle = (resident(server.pid) - before) / CLIENTS / KB
        teller.tell(WARM_UP)
        crowd.ask("measure")
        cpu, redis_cpu, told = cpu_seconds(server.pid), cpu_seconds(redis.process.pid), teller.told
        teller.tell(seconds)
        cpu, redis_cpu = cpu_seconds(server.pid) - cpu, cpu_seconds(redis.process.pid) - redis_cpu
        found, told = crowd.ask("stop"), teller.told - told
        crowd.ask("keep")
        teller.finish()
        time.sleep(SETTLE)
        said: dict[str, int] = crowd.ask("states")["said"]
    right = sum(count for states, count in said.items() if json.loads(states) == teller.expected)
    conveyed = found["events"] / (told * CLIENTS)
    return Run(cpu, redis_cpu, found["cpu"], found["events"], conveyed, found["p50"], found["p99"], right, idle)


def cost(redis: RedisServer, words: argparse.Namespace) -> str:
    found: dict[str, list[Run]] = {}
    for _ in range(words.rounds):
        for what, run in _round_of_cost(redis, words.seconds):
            found.setdefault(what, []).append(run)
    runs = {what: _medians(several) for what, several in found.items()}
    general, history, naive, nchan = runs[OURS], runs[OURS_HISTORY], runs[NAIVE], runs.get(NCHAN)
    tick = Settings.model_fields["stream_batch_interval"].default * 1000
    notes = [
        f"{CLIENTS:,} clients, {A_SECOND} events/s over {UPLOADS} uploads for {words.seconds:g} s, tick {tick:g} ms;"
        f" medians of {words.rounds} rounds; all clients in one process, whose own processor time is in brackets",
        "an event counts as conveyed only if it arrived itself; one that a newer state of its upload overtook within a"
        " tick does not",
        "nchan is told the same number of events by POST, however long that takes; its processor time is compared",
        "times are from PUBLISH to the client's socket, read of one client in forty",
    ]
    if nchan is None:
        notes.append("nginx with nchan is not installed here (`apt install libnginx-mod-nchan`): not compared with it")
    lines = [_cost_line(what, run) for what, run in runs.items()]
    lines += [
        Line("deliveries a CPU second, against one subscription a client",
             f"{general.deliveries:,.0f} : {naive.deliveries:,.0f}", general.deliveries / naive.deliveries, 5.0),
        Line("p99 from PUBLISH to the socket", f"{general.p99 * 1000:.0f} ms", general.p99 * 1000, 80, at_most=True,
             unit=" ms"),
        Line("clients with the right last state of every upload", f"{general.right:,}", general.right / CLIENTS, 1.0),
        Line("the same on the history page", f"{history.right:,}", history.right / CLIENTS, 1.0),
    ]  # fmt: skip
    if nchan:
        lines.append(
            Line("CPU against nchan", f"{general.cpu:.1f} : {nchan.cpu:.1f} s", general.cpu / nchan.cpu, 0.35,
                 at_most=True)
        )  # fmt: skip
    return table("Cost", notes, lines)


def _round_of_cost(redis: RedisServer, seconds: float) -> Iterator[tuple[str, Run]]:
    with ours(redis) as server:
        yield OURS, measured(server, Teller(to_redis(redis)), redis, seconds)
    if Nchan.is_installed():
        with Nchan() as nchan:
            yield NCHAN, measured(nchan, Teller(lambda event: nchan.publish(event.json())), redis, seconds)
    with Subscriptions(redis.url) as subscriptions:
        yield NAIVE, measured(subscriptions, Teller(to_redis(redis)), redis, seconds)
    with ours(redis, HISTORY) as server:
        yield OURS_HISTORY, measured(server, Teller(to_redis(redis), server.records), redis, seconds, "html")


def _medians(runs: list[Run]) -> Run:
    """The median of each figure; of the clients that are right, the fewest."""
    figures = {name: median(getattr(run, name) for run in runs) for name in vars(runs[0])}
    return Run(**figures | {"right": min(run.right for run in runs)})


def _cost_line(what: str, run: Run) -> Line:
    return Line(
        what,
        f"{run.cpu:.1f} s CPU, Redis {run.redis_cpu:.1f} s ({run.client_cpu:.1f} s), {run.conveyed:.2f} conveyed,"
        f" {run.p50 * 1000:.0f} / {run.p99 * 1000:.0f} ms, {run.right:,} right, {run.kilobytes:.0f} KB a client",
    )


def restricted(redis: RedisServer, words: argparse.Namespace) -> str:
    """Everybody has signed in; half of the clients do not see all uploads, in several ways."""
    found: dict[bool, list[Run]] = {False: [], True: []}
    for _ in range(words.rounds):
        for is_restricted, runs in found.items():
            with ours(redis, restricted=RESTRICTED) as server:
                tokens = _people(server, is_restricted)
                runs.append(
                    measured(server, Teller(to_redis(redis), server.records), redis, words.seconds, tokens=tokens)
                )
    whole, half = (_medians(runs) for runs in found.values())
    notes = [
        f"{CLIENTS:,} clients with API tokens, {A_SECOND} events/s over {UPLOADS} uploads for {words.seconds:g} s;"
        f" medians of {words.rounds} rounds",
        f"half of them are of {RESTRICTED} accounts, from each of which one upload in {UPLOADS} is hidden",
    ]
    lines = [
        _cost_line("everybody sees all", whole),
        _cost_line("half with restricted views", half),
        Line("CPU against everybody seeing all", f"{half.cpu:.1f} : {whole.cpu:.1f} s", half.cpu / whole.cpu, 1.15,
             at_most=True),
        Line("clients that see all, with the right last state of every upload", f"{half.right:,}",
             half.right / (CLIENTS / 2), 1.0),
    ]  # fmt: skip
    return table("Restricted views", notes, lines)


def _people(server: Ours, is_restricted: bool) -> list[str]:
    """API tokens that clients take by turns: of an administrator and, if half of them are restricted, of viewers who
    see all restricted datasets but one."""
    database, names = server.records.database, [f"viewer {number}" for number in range(RESTRICTED)]
    everything = people.add(database, "root", Role.ADMIN)
    viewers = [people.add(database, name) for name in names]
    for number in range(RESTRICTED):
        server.records.declare(f"restricted_{number}", {"name": "a"})
        grants = {name: Role.VIEWER for other, name in enumerate(names) if other != number}
        people.restrict(database, f"restricted_{number}", grants)
    address = f"http://127.0.0.1:{server.port}/api/v1/uploads"
    until(lambda: httpx.get(address).status_code == 401, "the accounts to take effect")
    return [token for viewer in viewers for token in (everything, viewer)] if is_restricted else [everything]


def quiet(redis: RedisServer, _words: argparse.Namespace) -> str:
    """Small imports one after the other, told as jobs do."""
    times: list[list[float]] = []
    with ours(redis) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.settimeout(10)
        client.sendall(f"GET {GENERAL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        teller = Teller(to_redis(redis), server.records)
        until(lambda: b'"file_id":' in client.recv(1 << 20), "the snapshot")
        for _ in range(IMPORTS):
            time.sleep(QUIET)
            times.append([_heard_after(client, teller) for _ in range(STATES)])
    notes = [
        f"{STATES} states of one upload, {BETWEEN * 1000:g} ms after each other, after {QUIET:g} s without any; medians"
        f" of {IMPORTS}, from before PUBLISH to the socket of one client"
    ]
    found = [median(each) * 1000 for each in zip(*times, strict=True)]
    lines = [
        Line("the first state", f"{found[0]:.1f} ms"),
        Line("the slowest of the others", f"{max(found[1:]):.1f} ms", max(found[1:]), 10, at_most=True, unit=" ms"),
    ]
    return table("After a quiet time", notes, lines)


def _heard_after(client: socket.socket, teller: Teller) -> float:
    time.sleep(BETWEEN)
    began = time.perf_counter()
    state = teller.tell_one()
    awaited, received = f'"file_id":{state.file_id},"seq":{state.seq},'.encode(), b""
    while awaited not in received:
        received += client.recv(1 << 20)
    return time.perf_counter() - began


def pages(redis: RedisServer, _words: argparse.Namespace) -> str:
    """One reader, who asks for page after page."""
    rates: dict[str, list[float]] = {}
    with ours(redis) as server:
        upload = server.records.all()[0]
        paths = {"/healthz": "/healthz", "an upload's page": f"/uploads/{upload.id}", "the history": "/uploads"}
        for _ in range(VIEW_ROUNDS):
            for what, path in paths.items():
                rates.setdefault(what, []).append(_views_a_second(server.port, path))
    health, detail, history = (median(each) for each in rates.values())
    notes = [
        f"one client, one connection, {VIEWS} requests of each kind by turns, compressed; medians of {VIEW_ROUNDS}"
        " rounds"
    ]
    lines = [
        Line("`/healthz`", f"{health:,.0f} requests/s"),
        Line("an upload's page", f"{detail:,.0f} pages/s, {health / detail:.0f} `/healthz` each", detail, 150,
             unit=" pages/s"),
        Line(f"the history, {UPLOADS} uploads", f"{history:,.0f} pages/s, {health / history:.0f} `/healthz` each"),
    ]  # fmt: skip
    return table("Page views", notes, lines)


def _views_a_second(port: int, path: str) -> float:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    began = time.perf_counter()
    for _ in range(VIEWS):
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
    seconds = time.perf_counter() - began
    connection.close()
    return VIEWS / seconds


def memory(redis: RedisServer, _words: argparse.Namespace) -> str:
    lines = []
    for name, path in (("general stream", GENERAL), ("history page's stream", HISTORY)):
        with ours(redis, path) as server:
            with Crowded(server.port, path, 20) as few:  # what is loaded with the first clients is not theirs
                few.ask("open")
                time.sleep(1)
            before = resident(server.pid)
            with Crowded(server.port, path, CLIENTS) as crowd:
                crowd.ask("open")
                time.sleep(3)
                found = (resident(server.pid) - before) / CLIENTS / KB
        lines.append(Line(f"idle client, {name}", f"{found:.1f} KB", found, 25, at_most=True, unit=" KB"))
    return table("Memory", [f"growth of the web process with {CLIENTS:,} clients that are told nothing"], lines)


def stalled(redis: RedisServer, _words: argparse.Namespace) -> str:
    with ours(redis, stream_write_timeout=120) as server, Crowded(server.port, GENERAL, PROMPT) as crowd:
        crowd.ask("open")
        teller = Teller(to_redis(redis))
        teller.tell(10)
        crowd.ask("measure")
        teller.tell(10)
        alone = crowd.ask("stop")
        before, queued = resident(server.pid), sum(kernel_bytes(server.port))
        clients = [_stall(server.port) for _ in range(STALLED)]
        crowd.ask("measure")
        teller.tell(60)
        beside = crowd.ask("stop")
        process = (resident(server.pid) - before) / STALLED / KB
        kernel = (sum(kernel_bytes(server.port)) - queued) / STALLED / KB
        for client in clients:
            client.close()
    notes = [f"{STALLED} clients that read nothing for 60 s at {A_SECOND} events/s, beside {PROMPT} that do"]
    lines = [
        Line("a stalled client", f"{process:.0f} KB in the process, {kernel:.0f} KB in the kernel", process + kernel,
             200, at_most=True, unit=" KB"),
        Line("p99 of those that read", f"{beside['p99'] * 1000:.0f} ms, {alone['p99'] * 1000:.0f} ms before"),
    ]  # fmt: skip
    return table("Stalled clients", notes, lines)


def _stall(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(f"GET {GENERAL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def storm(redis: RedisServer, _words: argparse.Namespace) -> str:
    lines = []
    for name, path, kind in (("general stream", GENERAL, "json"), ("history page's stream", HISTORY, "html")):
        with ours(redis, path) as server, Crowded(server.port, path, CLIENTS, kind) as crowd:
            crowd.ask("connect")
            crowd.ask("leave")
            time.sleep(1)
            asked = len(server.asked())
            found = crowd.ask("connect")
            time.sleep(0.5)
            statements = server.asked()[asked:]
        queries = sum("SELECT" in statement for statement in statements)
        lines += [
            Line(f"{name}: all have their snapshot", f"{found['seconds']:.2f} s, {found['begun']:,} clients",
                 found["seconds"], 1.0, at_most=True, unit=" s"),
            Line(f"{name}: queries meanwhile, the hub's own included", str(queries)),
        ]  # fmt: skip
    return table("A storm", [f"{CLIENTS:,} clients that connect at once"], lines)


def main() -> None:
    words = _words()
    print(f"# Streams, measured on {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    print(f"\nLoad of the machine before: {os.getloadavg()[0]:.1f}. Times mean little unless it is idle.", flush=True)
    measurements: dict[str, Callable[[RedisServer, argparse.Namespace], str]] = {
        "cost": cost,
        "restricted": restricted,
        "quiet": quiet,
        "pages": pages,
        "memory": memory,
        "stalled": stalled,
        "storm": storm,
    }
    redis = RedisServer()
    try:
        for section in words.only or SECTIONS:
            print(measurements[section](redis, words), flush=True)
    finally:
        redis.remove()


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streaming", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement of cost [default: 20]")
    parser.add_argument("--rounds", type=int, default=3, help="of cost, whose medians are printed [default: 3]")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="one section; may be given several times")
    return parser.parse_args()


if __name__ == "__main__":
    main()
