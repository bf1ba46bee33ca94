"""How soon small files are completed, one alone and many at once, in a system that `serve` started."""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Queue
from statistics import median

import httpx

from jobs import datasets
from jobs.database import Database
from jobs.datasets import Mode
from jobs.events import Event
from jobs.queue import UploadQueue
from jobs.schema import TableSchema
from jobs.settings import Settings
from tests.benchmarks import data
from tests.benchmarks.report import Line, table
from tests.support.supervised import Serve
from tests.support.waiting import until

ROWS = 20
#: Uploads that are measured, and those before that are not: the first ones find nothing in any cache.
UPLOADS, WARM_UP = 20, 2

CONTENT = "key,name,quantity,price,sold\n" + "".join(
    f'K{n:09},"Müller, Zoë",{n},{n}.50,2026-01-31\n' for n in range(1, ROWS + 1)
)


#: Files that are sent at once, their rows, and the clients that send them.
MANY, ROWS_OF_MANY, SENDERS = 200, 100, 8


def small_files() -> str:
    with _served(1) as serve:
        seconds = _measured(serve.url)
    found, worst = median(seconds), max(seconds)
    notes = [
        f"{UPLOADS} uploads of {ROWS} rows one after the other, each into a new dataset, SQLite, one worker that runs"
        " already; from the 201 to the `completed` event on `/api/v1/events`"
    ]
    lines = [
        Line("median", f"{found * 1000:.0f} ms", found, 0.07, 0.05, at_most=True, unit=" s"),
        Line("slowest", f"{worst * 1000:.0f} ms"),
    ]
    return table("Latency", notes, lines)


def many_small_files(rounds: int) -> str:
    """rounds: each with a new system."""
    rates = []
    for _ in range(rounds):
        with _served(2) as serve:
            rates.append(MANY / _sent_at_once(serve))
    notes = [
        f"{MANY} files of {ROWS_OF_MANY} rows into one declared dataset, {SENDERS} senders, two workers that run"
        f" already, SQLite; from the first POST to the last `completed` event; median of {rounds} rounds"
    ]
    found = median(rates)
    line = Line("files a second", f"{found:.0f} ({min(rates):.0f} to {max(rates):.0f})", found, 25.0, 50.0, unit="/s")
    return table("Many small files", notes, [line])


@contextmanager
def _served(workers: int) -> Iterator[Serve]:
    """A system that is ready, as its workers are: to start, one takes seconds of a processor."""
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        serve = Serve(Path(folder), "data", "--workers", str(workers))
        try:
            until(lambda: httpx.get(f"{serve.url}/readyz").is_success, "the system to be ready")
            with closing(UploadQueue(Settings(data=serve.data).redis)) as queue:
                until(lambda: queue.status().workers.total == workers, "the workers to report")
            yield serve
        finally:
            serve.kill_everything()


def _sent_at_once(serve: Serve) -> float:
    """Seconds until all of many files are completed."""
    with closing(Database(Settings(data=serve.data).database)) as database, database.transaction() as connection:
        datasets.declare(connection, "many", TableSchema.parse(data.SCHEMA), Mode.INSERT)
    with _completions(serve.url) as completed, httpx.Client(base_url=serve.url) as client:

        def send(number: int) -> None:
            content = _lines(number * ROWS_OF_MANY)
            answer = client.post(f"/api/v1/uploads?filename=many-{number}.csv&dataset=many", content=content)
            answer.raise_for_status()

        began = time.perf_counter()
        with ThreadPoolExecutor(SENDERS) as senders:
            list(senders.map(send, range(MANY)))
        last = max(completed.get(timeout=60)[1] for _ in range(MANY))
        counts = client.get("/api/v1/datasets/many").json()
    if counts["rows"] != MANY * ROWS_OF_MANY:
        sys.exit(f"The imports went wrong: {counts}")
    return last - began


def _lines(first: int) -> bytes:
    """A file with the header and so many rows."""
    rows = (
        f'{data.key_of(n)},"Müller, Zoë",{n},{n}.50,2026-01-31,true,tools,' for n in range(first, first + ROWS_OF_MANY)
    )
    return "\n".join([",".join(data.NAMES), *rows, ""]).encode()


def _measured(url: str) -> list[float]:
    with _completions(url) as completed, httpx.Client(base_url=url) as client:
        return [_one(client, completed) for _ in range(WARM_UP + UPLOADS)][WARM_UP:]


@contextmanager
def _completions(url: str) -> Iterator["Queue[tuple[int, float]]"]:
    """The ids of uploads that end from now on, and when their end is told."""
    completed: Queue[tuple[int, float]] = Queue()
    listening = threading.Event()
    threading.Thread(target=listen, args=(url, completed, listening), daemon=True).start()
    until(listening.is_set, "the stream to open")
    yield completed


def _one(client: httpx.Client, completed: "Queue[tuple[int, float]]") -> float:
    answer = client.post("/api/v1/uploads?filename=small.csv", content=CONTENT.encode())
    accepted = time.perf_counter()
    answer.raise_for_status()
    upload_id, moment = completed.get(timeout=30)

    assert answer.json()["id"] == upload_id

    return max(0.0, moment - accepted)


def listen(url: str, completed: "Queue[tuple[int, float]]", listening: threading.Event) -> None:
    """Notes when each upload is told to be completed, until the server is gone."""
    try:
        with httpx.stream("GET", f"{url}/api/v1/events", timeout=None) as stream:
            listening.set()
            for line in stream.iter_lines():
                if line.startswith("data: {"):
                    event = Event.parse(line.removeprefix("data: "))
                    if event.is_terminal:
                        completed.put((event.file_id, time.perf_counter()))
    except httpx.HTTPError:
        return
