"""How soon a small file is completed in a system that runs: web process, worker and Redis, started by `serve`."""

import tempfile
import threading
import time
from pathlib import Path
from queue import Queue
from statistics import median

import httpx

from jobs.events import Event
from tests.benchmarks.report import Line, table
from tests.support.supervised import Serve
from tests.support.waiting import until

ROWS = 20
#: Uploads that are measured, and those before that are not: the first ones find nothing in any cache.
UPLOADS, WARM_UP = 20, 2

CONTENT = "key,name,quantity,price,sold\n" + "".join(
    f'K{n:09},"Müller, Zoë",{n},{n}.50,2026-01-31\n' for n in range(1, ROWS + 1)
)


def small_files() -> str:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        serve = Serve(Path(folder), "data")
        try:
            seconds = _measured(serve.url)
        finally:
            serve.kill_everything()
    found, worst = median(seconds), max(seconds)
    notes = [
        f"{UPLOADS} uploads of {ROWS} rows one after the other, each into a new dataset, SQLite, one worker that runs"
        " already; from the 201 to the `completed` event on `/api/v1/events`"
    ]
    lines = [
        Line("median", f"{found * 1000:.0f} ms", found, 0.3, 0.1, at_most=True, unit=" s"),
        Line("slowest", f"{worst * 1000:.0f} ms"),
    ]
    return table("Latency", notes, lines)


def _measured(url: str) -> list[float]:
    completed: Queue[tuple[int, float]] = Queue()
    listening = threading.Event()
    threading.Thread(target=listen, args=(url, completed, listening), daemon=True).start()
    until(listening.is_set, "the stream to open")
    with httpx.Client(base_url=url) as client:
        until(lambda: client.get("/readyz").is_success, "the system to be ready")
        return [_one(client, completed) for _ in range(WARM_UP + UPLOADS)][WARM_UP:]


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
