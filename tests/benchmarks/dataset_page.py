"""How long the page of a dataset of 3.4 million rows takes, for each way to sort and filter it, on both databases."""

import tempfile
import time
from pathlib import Path
from statistics import median

import psycopg

from jobs.database import migrate
from jobs.settings import Settings
from tests.benchmarks.report import Line, table
from tests.benchmarks.yardsticks import DurablePostgres
from tests.support import demo_data
from tests.support.services import RedisServer
from tests.support.serving import Web, Worker
from tests.support.waiting import until
from webapp.views.rows import PAGE_LIMIT

#: What is asked for → the query of the page.
QUESTIONS = {
    "first page": "",
    "row 3,000,000": "from_row=3000000",
    "sort by a number": "sort=-distance",
    "sort by a text": "sort=tailnum",
    "sort by a moment": "sort=-time_hour",
    "sort by a text, row 1,000": "sort=tailnum&from_row=1000",
    "text is, many rows": "carrier=UA",
    "text is, no row": "carrier=none",
    "text contains, many rows": "tailnum__contains=n1",
    "text contains, no row": "tailnum__contains=xyz",
    "number from to": "distance__gte=1000&distance__lte=1100",
    "number from to, no row": "distance__gte=90000",
    "empty": "dep_time__empty=1",
    "moment of one day": "time_hour=2013-07-04",
    "contains and sort": "tailnum__contains=n1&sort=-distance",
    "search, many rows": "search=JFK",
    "search, no row": "search=nowhere",
    "search and sort": "search=JFK&sort=-distance",
}


def pages(redis: RedisServer, rounds: int) -> str:
    server = DurablePostgres()
    parts = []
    try:
        for name, url in [("SQLite", None), ("PostgreSQL", server.create())]:
            with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
                parts.append(_section(name, Path(folder), redis, url, rounds))
    finally:
        server.remove()
    return "\n".join(parts)


def _section(name: str, folder: Path, redis: RedisServer, url: str | None, rounds: int) -> str:
    settings = Settings.load(data=folder / "data", redis_url=redis.url, database_url=url, port=0)
    settings.data.mkdir(parents=True)
    migrate(settings)
    demo_data.write(folder / "demo")
    with Web(settings) as web:
        with Worker(settings):
            rows = _import(web, folder / "demo" / "flights-tenfold.csv")
        if url is not None:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
        lines = [_line(web, what, query, rounds) for what, query in QUESTIONS.items()]
    note = f"{rows:,} rows x 19 columns; the page, its rows and the number of those that match, median of {rounds}"
    return table(f"Page of a dataset, {name}", [note], lines)


def _import(web: Web, path: Path) -> int:
    with path.open("rb") as file:
        answer = web.client.post("/api/v1/uploads?filename=flights.csv", content=file, timeout=600)
    answer.raise_for_status()
    address = answer.json()["links"]["self"]
    until(lambda: web.client.get(address).json()["status"] == "completed", "the import", 900)
    return int(web.client.get("/api/v1/datasets/flights").json()["rows"])


def _line(web: Web, what: str, query: str, rounds: int) -> Line:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer = web.client.get(f"/datasets/flights?{query}", timeout=60)
        seconds.append(time.perf_counter() - began)
    found = median(seconds) * 1000
    said = f"{found:,.0f} ms{'' if answer.is_success else f', {answer.status_code}'}"
    return Line(f"{what} (`{query}`)" if query else what, said, found, 1000 * PAGE_LIMIT, at_most=True, unit=" ms")
