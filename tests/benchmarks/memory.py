"""The most memory a worker takes for files of different lengths."""

import tempfile
from pathlib import Path

from tests.benchmarks import data
from tests.benchmarks.ours import Place, Run
from tests.benchmarks.report import Line, rate, table
from tests.benchmarks.yardsticks import DurablePostgres
from tests.support.services import RedisServer

MB = 1_000_000
#: Times as long as the first file the second is, and by how much its peak may differ.
LONGER, APART = 5, 1.10


def csv(rows: int, redis: RedisServer) -> str:
    """A file and one that is five times as long, on both databases."""
    server = DurablePostgres()
    try:
        lines = [*_lines("SQLite", rows, redis, None), *_lines("PostgreSQL", rows, redis, server)]
    finally:
        server.remove()
    return table("Memory", ["peak of a fresh process that runs one import, libraries included (VmHWM)"], lines)


def xlsx(rows: int, redis: RedisServer) -> str:
    """A workbook, on SQLite."""
    run = _run(data.xlsx_file(rows), redis, None)
    lines = [
        Line(f"{rows:,} rows of .xlsx", _megabytes(run), run.peak_memory / MB, 600, at_most=True, unit=" MB"),
        Line("its speed", rate(rows, run.seconds)),
    ]
    return table("XLSX", ["peak of a fresh process that runs one import into SQLite, libraries included"], lines)


def _lines(name: str, rows: int, redis: RedisServer, server: DurablePostgres | None) -> list[Line]:
    runs = [_run(data.csv_file(count), redis, server) for count in (rows, rows * LONGER)]
    growth = runs[1].peak_memory / runs[0].peak_memory
    return [
        *(
            Line(f"{name}: {count:,} rows", _megabytes(run), run.peak_memory / MB, 450, at_most=True, unit=" MB")
            for count, run in zip((rows, rows * LONGER), runs, strict=True)
        ),
        Line(f"{name}: {LONGER} times the rows", "", growth, APART, at_most=True),
    ]


def _run(file: Path, redis: RedisServer, server: DurablePostgres | None) -> Run:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        place = Place(Path(folder), redis.url, server.create() if server else None)
        place.declare()
        return place.run(file)


def _megabytes(run: Run) -> str:
    return f"{run.peak_memory / MB:,.0f} MB in {run.seconds:.1f} s"
