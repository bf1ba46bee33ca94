"""What the rules of a dataset cost its imports."""

import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from jobs.repair.repairs import Repair
from tests.benchmarks import data, yardsticks
from tests.benchmarks.ours import Place, Run
from tests.benchmarks.report import Line, rate, table
from tests.support.services import RedisServer

#: The least share of the speed of an import without rules that one with five rules has.
REQUIRED = 0.9
RULES = [
    Repair.single("quantity", "number", "1 pcs"),
    Repair.single("price", "number", "1.234,5"),
    Repair.single("sold", "date", "%d/%m/%Y"),
    Repair.single("paid", "boolean"),
    Repair.single("category", "case"),
]
#: Shares of rows in which the rules have five cells to change.
SHARES = (0, 0.15, 1)


def beside_imports(rows: int, rounds: int, redis: RedisServer) -> str:
    """In each round a clean file is imported without rules; then it and the same rows in other spellings, with five."""
    server = yardsticks.DurablePostgres()
    found: dict[str, list[Run]] = defaultdict(list)
    try:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
                for database, is_sqlite in (("SQLite", True), ("PostgreSQL", False)):
                    for share in (None, *SHARES):
                        url = None if is_sqlite else server.create()
                        place = Place(Path(folder) / f"{database}-{share}", redis.url, url)
                        place.declare()
                        file = data.messy_file(rows, share) if share else data.csv_file(rows, clean=True)
                        if share is not None:
                            place.add_rules(RULES)
                        found[f"{database} {share}"].append(place.run(file, bad=0))
                        place.remove()
                        if url is not None:
                            server.drop(url)
    finally:
        server.remove()
    lines = []
    for database in ("SQLite", "PostgreSQL"):
        plain = found[f"{database} None"]
        for share in SHARES:
            runs = found[f"{database} {share}"]
            seconds, before = (median(run.seconds for run in each) for each in (runs, plain))
            processor, usual = (median(run.processor for run in each) for each in (runs, plain))
            what = f"{database}: cells to change in {share:.0%} of the rows (processor time x {processor / usual:.2f})"
            lines.append(Line(what, rate(rows, seconds), before / seconds, REQUIRED if share < 1 else None))
    notes = [
        f"{rows:,} rows x {len(data.NAMES)} columns, five rules, median of {rounds} rounds",
        "yardstick: the import of the same rows, spelled as the dataset has them, without rules",
    ]
    return table("Rules", notes, lines)
