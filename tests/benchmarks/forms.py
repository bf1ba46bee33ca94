"""How long forms wait beside two imports at once on SQLite: one file holds the one write lock of all."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.benchmarks.data import csv_file
from tests.benchmarks.latency import CONTENT
from tests.benchmarks.report import Line, table
from tests.support.supervised import Serve
from tests.support.waiting import until

#: Form uploads a second, and seconds of them.
A_SECOND, SECONDS = 20, 10


def beside_imports(rows: int) -> str:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        serve = Serve(Path(folder), "data", "--workers", "2")
        try:
            with httpx.Client(base_url=serve.url, timeout=60) as client:
                _begin_imports(client, rows)
                waits, refused = _send_forms(client)
                busy = _processing(client)
        finally:
            serve.process.terminate()  # in order: a killed worker's import would go on writing for a while
            serve.process.wait(60)
    notes = [
        f"{A_SECOND} form uploads a second for {SECONDS} s while two workers import {rows:,} rows each into datasets of"
        f" their own; {busy} of the two still at it at the end; from the POST to its answer"
    ]
    waits.sort()
    lines = [
        Line("slowest form", f"{waits[-1] * 1000:.0f} ms", waits[-1], 2.0, 1.0, at_most=True, unit=" s"),
        Line("median form", f"{waits[len(waits) // 2] * 1000:.0f} ms"),
        Line("forms that failed", str(refused), float(refused), 0.0, 0.0, at_most=True),
    ]
    return table("Forms beside imports", notes, lines)


def _begin_imports(client: httpx.Client, rows: int) -> None:
    path = csv_file(rows, clean=True)
    for name in ("one.csv", "two.csv"):
        with path.open("rb") as file:
            client.post(f"/api/v1/uploads?filename={name}", content=file).raise_for_status()
    until(lambda: _processing(client) == 2, "both imports to be under way")


def _processing(client: httpx.Client) -> int:
    return len(client.get("/api/v1/uploads?status=processing").json()["items"])


def _send_forms(client: httpx.Client) -> tuple[list[float], int]:
    began = time.perf_counter()

    def send(number: int) -> tuple[float, bool]:
        time.sleep(max(0.0, began + number / A_SECOND - time.perf_counter()))
        sent = time.perf_counter()
        answer = client.post("/uploads", files={"file": (f"{number}.csv", CONTENT)}, data={"review": "never"})
        return time.perf_counter() - sent, answer.status_code == 303

    with ThreadPoolExecutor(A_SECOND * 3) as senders:
        found = list(senders.map(send, range(A_SECOND * SECONDS)))
    return [seconds for seconds, _ in found], sum(not accepted for _, accepted in found)
