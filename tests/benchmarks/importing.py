"""`python -m tests.benchmarks.importing`: speed, memory and latency of imports, beside their yardsticks.

Prints Markdown. Only the ratios mean something elsewhere: both sides of each are measured in the same run.
"""

import argparse
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks import (
    checks,
    dataset_page,
    export,
    forms,
    history,
    lanes,
    latency,
    memory,
    peers,
    ruling,
    throughput,
)
from tests.support.services import RedisServer

SECTIONS = [
    "sqlite",
    "postgresql",
    "memory",
    "xlsx",
    "check",
    "rules",
    "latency",
    "small",
    "forms",
    "lanes",
    "export",
    "history",
    "dataset-page",
    "peers",
]
LIBRARIES = ["pyarrow", "pandas", "adbc-driver-sqlite", "psycopg", "sqlalchemy"]


def main() -> None:
    words = _words()
    print(f"# Imports, measured on {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES), flush=True)
    redis = RedisServer()
    few = min(words.rows, 100_000)
    measurements: dict[str, Callable[[], str]] = {
        "sqlite": lambda: throughput.sqlite(words.rows, words.rounds, redis),
        "postgresql": lambda: throughput.postgresql(words.rows, words.rounds, redis),
        "memory": lambda: memory.csv(words.rows, redis),
        "xlsx": lambda: memory.xlsx(few, redis),
        "check": lambda: checks.beside_imports(words.rows, words.rounds, redis),
        "latency": latency.small_files,
        "small": lambda: latency.many_small_files(words.rounds),
        "forms": lambda: forms.beside_imports(words.rows * 3),
        "lanes": lambda: lanes.beside_imports(words.rows * 4),
        "rules": lambda: ruling.beside_imports(words.rows, words.rounds, redis),
        "export": lambda: export.flights(redis, words.rounds),
        "history": lambda: history.of_many_uploads(redis),
        "dataset-page": lambda: dataset_page.pages(redis, words.rounds),
        "peers": lambda: peers.compared(few, words.rounds, redis, words.peers),
    }
    try:
        for section in words.only or SECTIONS:
            print(measurements[section](), flush=True)
    finally:
        redis.remove()


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.importing", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large file [default: 1,000,000]")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds, of which the median counts")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="one section; may be given several times")
    parser.add_argument("--peers", type=Path, help="a Python that has sqlite-utils and django-import-export")
    return parser.parse_args()


if __name__ == "__main__":
    main()
