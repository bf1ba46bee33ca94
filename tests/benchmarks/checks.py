"""What a check of a file takes beside its import: both read, validate and look for collisions."""

import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from jobs.modes import OF_DATASETS, Mode
from tests.benchmarks import data, yardsticks
from tests.benchmarks.ours import Place, Run
from tests.benchmarks.report import Line, rate, table
from tests.support.services import RedisServer

#: Bytes.
MIB = 1 << 20
#: The share of the import's speed that a check has at least.
REQUIRED = 0.9


def beside_imports(rows: int, rounds: int, redis: RedisServer) -> str:
    """In each round a file is checked, then imported; where rows replace others, then once more of each."""
    bad = data.csv_file(rows)
    server = yardsticks.DurablePostgres()
    checks: dict[str, list[Run]] = defaultdict(list)
    imports: dict[str, list[Run]] = defaultdict(list)
    try:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
                for mode in OF_DATASETS:
                    for database, url in (("SQLite", None), ("PostgreSQL", server.create())):
                        place = Place(Path(folder) / f"{mode}-{database}", redis.url, url)
                        place.declare(mode)
                        for state in ["into an empty table", *(["every key exists"] if mode is Mode.UPSERT else [])]:
                            what = f"{database}, {mode}, {state}"
                            checks[what].append(place.check(bad))
                            imports[what].append(place.run(bad))
                        place.remove()
                        if url is not None:
                            server.drop(url)
    finally:
        server.remove()
    lines = []
    for what, runs in checks.items():
        seconds, imported = (median(run.seconds for run in each) for each in (runs, imports[what]))
        peak = max(run.peak_memory for run in runs) / MIB
        lines.append(Line(f"check: {what} ({peak:.0f} MB at most)", rate(rows, seconds), imported / seconds, REQUIRED))
    notes = [
        f"{rows:,} rows x {len(data.NAMES)} columns, 1% bad rows, median of {rounds} rounds",
        "yardstick: the import of the same file into the same dataset, after its check",
    ]
    return table("Checks", notes, lines)
