"""How soon a small file is completed while large imports keep all workers for all files busy."""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from statistics import median
from time import perf_counter

import httpx

from tests.benchmarks.data import csv_file
from tests.benchmarks.latency import CONTENT, listen
from tests.benchmarks.report import Line, table
from tests.support.services import PostgresServer
from tests.support.supervised import Serve
from tests.support.waiting import until

#: Small files that are measured into each dataset, and those before that are not.
UPLOADS, WARM_UP = 10, 1


def beside_imports(rows: int) -> str:
    """rows: of each of the two large files."""
    return "\n".join(_measured(kind, rows) for kind in ("SQLite", "PostgreSQL"))


def _measured(kind: str, rows: int) -> str:
    with _served(kind) as serve, httpx.Client(base_url=serve.url, timeout=60) as client:
        completed: Queue[tuple[int, float]] = Queue()
        listening = threading.Event()
        threading.Thread(target=listen, args=(serve.url, completed, listening), daemon=True).start()
        until(listening.is_set, "the stream to open")
        large = _begin_imports(client, rows)
        alone = [_small(client, completed, CONTENT.encode(), "") for _ in range(WARM_UP + UPLOADS)][WARM_UP:]
        head = b"".join(csv_file(rows, clean=True).open("rb").readlines(20_000)[:21])
        shared = [_small(client, completed, head, large) for _ in range(UPLOADS)]
        busy = _large_imports(client)
    notes = [
        f"{UPLOADS} uploads of 20 rows one after the other into new datasets, then as many into the dataset of a large"
        f" import, on {kind}, while two workers import {rows:,} rows each; {busy} of the two still at it at the end;"
        " one worker for small files; from the POST to the `completed` event on `/api/v1/events`"
    ]
    lines = [
        Line("into new datasets, median", f"{median(alone) * 1000:.0f} ms"),
        Line(
            "into new datasets, slowest", f"{max(alone) * 1000:.0f} ms", max(alone), 1.0, 0.5, at_most=True, unit=" s"
        ),
        Line("into the same dataset, median", f"{median(shared) * 1000:.0f} ms"),
        Line("into the same, slowest", f"{max(shared) * 1000:.0f} ms", max(shared), 1.0, 0.5, at_most=True, unit=" s"),
    ]
    return table(f"A small file beside two large imports, {kind}", notes, lines)


@contextmanager
def _served(kind: str) -> Iterator[Serve]:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        postgres = PostgresServer() if kind == "PostgreSQL" else None
        url = postgres.create() if postgres else ""
        serve = Serve(Path(folder), "data", "--workers", "2", "--quick-workers", "1", DATABASE_URL=url)
        try:
            yield serve
        finally:
            serve.process.terminate()  # in order: a killed worker's import would go on writing for a while
            serve.process.wait(60)
            if postgres:
                postgres.remove()


def _begin_imports(client: httpx.Client, rows: int) -> str:
    """The dataset of the first large import, once both write rows."""
    path = csv_file(rows, clean=True)
    for name in ("one.csv", "two.csv"):
        with path.open("rb") as file:
            client.post(f"/api/v1/uploads?filename={name}", content=file).raise_for_status()
    until(lambda: _large_imports(client) == 2, "both imports to write rows", 120)
    return str(client.get("/api/v1/uploads/1").json()["dataset"])


def _large_imports(client: httpx.Client) -> int:
    found = client.get("/api/v1/uploads?status=processing").json()["items"]
    return sum(each["lane"] == "bulk" and each["rows_processed"] > 0 for each in found)


def _small(client: httpx.Client, completed: "Queue[tuple[int, float]]", content: bytes, dataset: str) -> float:
    sent = perf_counter()
    answer = client.post("/api/v1/uploads", params={"filename": "small.csv", "dataset": dataset}, content=content)
    answer.raise_for_status()
    while True:
        upload_id, moment = completed.get(timeout=60)
        if upload_id == answer.json()["id"]:
            return moment - sent
