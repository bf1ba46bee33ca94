"""How fast the history answers with 300,000 uploads: each filter, a search and the pages, through HTTP."""

import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psycopg
import sqlalchemy as sa

from jobs import tables
from jobs.database import Database, migrate
from jobs.history_query import search_text
from jobs.settings import Settings
from tests.benchmarks.report import Line, table
from tests.benchmarks.yardsticks import DurablePostgres
from tests.support.services import RedisServer
from tests.support.serving import Web

UPLOADS = 300_000
#: Rows that one statement inserts.
BATCH = 5_000
#: Requests of each kind, after WARM_UP others.
REQUESTS, WARM_UP = 20, 3
#: Seconds in which each page must be answered, and in which it should be.
REQUIRED, GOAL = 0.2, 0.05

NAMES = ["orders", "Customer export", "inventory", "june", "sensor readings", "Rechnungen", "invoices", "Bestellungen"]
#: One status in so many of each: two pending, and no upload that is held.
STATUSES = {"completed": 93_000, "failed": 5_000, "cancelled": 1_998, "processing": 1, "pending": 1}

#: What is asked for. The rarest come last in the table, or not at all: then the whole index is read.
QUERIES = {
    "first page": "",
    "page in the middle": "cursor=150000",
    "last page": "cursor=25",
    "status=completed": "status=completed",
    "status=failed": "status=failed",
    "status=pending": "status=pending",
    "outcome=clean": "outcome=clean",
    "outcome=failed_rows": "outcome=failed_rows",
    "outcome=warnings": "outcome=warnings",
    "outcome=held (no upload)": "outcome=held",
    "dataset of 30,000": "dataset=june_1",
    "dataset of few": "dataset=june_1999",
    "since=30d": "since=30d",
    "one old day": "since=301d&until=300d",
    "q of many": "q=june",
    "q of one": "q=june+000123",
    "q of none": "q=zzzz",
    "q of none, completed": "q=zzzz&status=completed",
    "dataset, none failed since": "dataset=june_1&outcome=failed_rows&since=1h",
    "five filters, no upload": "q=csv&status=completed&outcome=warnings&dataset=june_7&since=30d&until=1h",
}


def of_many_uploads(redis: RedisServer) -> str:
    server = DurablePostgres()
    try:
        return "\n".join(
            _section(name, url, redis) for name, url in [("SQLite", None), ("PostgreSQL", server.create())]
        )
    finally:
        server.remove()


def _section(name: str, url: str | None, redis: RedisServer) -> str:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        settings = Settings.load(data=Path(folder) / "data", redis_url=redis.url, database_url=url, port=0)
        settings.data.mkdir(parents=True)
        migrate(settings)
        _fill(settings, url)
        with Web(settings) as web:
            lines = [_measured(web.client, what, query) for what, query in QUERIES.items()]
    notes = [
        f"{UPLOADS:,} uploads; `GET /api/v1/uploads?limit=25` and `GET /uploads`, medians of {REQUESTS}, one request"
        " after the other; the slower of the two is compared"
    ]
    return table(f"History, {name}", notes, lines)


def _measured(client: httpx.Client, what: str, query: str) -> Line:
    listed, shown = (_seconds(client, f"{path}{query}") for path in ("/api/v1/uploads?limit=25&", "/uploads?"))
    measured = f"{listed * 1000:.1f} ms, page {shown * 1000:.1f} ms"
    return Line(what, measured, max(listed, shown), REQUIRED, GOAL, at_most=True, unit=" s")


def _seconds(client: httpx.Client, path: str) -> float:
    found = []
    for _ in range(WARM_UP + REQUESTS):
        began = time.perf_counter()
        client.get(path).raise_for_status()
        found.append(time.perf_counter() - began)
    return median(found[WARM_UP:])


def _fill(settings: Settings, url: str | None) -> None:
    database = Database(settings.database)
    batch: list[dict[str, Any]] = []
    with database.transaction() as connection:
        for record in _records():
            batch.append(record)
            if len(batch) == BATCH:
                connection.execute(sa.insert(tables.uploads), batch)
                batch = []
    database.close()
    if url is not None:
        with psycopg.connect(url, autocommit=True) as session:
            session.execute("VACUUM ANALYZE")  # as autovacuum does


def _records() -> Iterator[dict[str, Any]]:
    """Uploads of the last year, the newest ones last."""
    rng = random.Random(7)
    began = datetime.now(UTC) - timedelta(days=365)
    statuses = list(STATUSES)
    for number in range(1, UPLOADS + 1):
        [status] = rng.choices(statuses, list(STATUSES.values()))
        filename = f"{rng.choice(NAMES)} {rng.randrange(10**6):06}.csv"
        dataset = f"{rng.choice(NAMES).lower().replace(' ', '_')}_{int(rng.paretovariate(0.6)) % 2000}"
        rows, failed = rng.randrange(10, 100_000), rng.randrange(1, 20) if rng.random() < 0.08 else 0
        moment = began + timedelta(days=365) * number / UPLOADS
        is_warned = rng.random() < 0.05
        warning = {"code": "columns_ignored", "detail": "Column “x” was not imported.", "columns": ["x"]}
        yield {
            "id": number, "seq": 6, "attempt": 1, "attempts_without_progress": 0, "status": status,
            "filename": filename, "dataset_wanted": "", "dataset": dataset, "options": {},
            "header": [f"column {column}" for column in range(12)], "stored_as": f"{number:032x}", "size": rows * 60,
            "sha256": f"{number:064x}", "next_byte": rows * 60, "bytes_total": rows * 60, "rows_total": rows,
            "rows_processed": rows, "rows_success": rows - failed, "rows_failed": failed,
            "error": "The file cannot be read as a table. " * 2 if status == "failed" else None,
            "notes": ["Read as UTF-8."], "warnings": [warning] if is_warned else [], "counting_from": 0,
            "created_at": moment, "started_at": moment, "finished_at": moment, "updated_at": moment,
            "processor": "worker", "search_text": search_text(filename, dataset), "lane": "quick",
            "sender": "192.0.2.1",
        }  # fmt: skip
