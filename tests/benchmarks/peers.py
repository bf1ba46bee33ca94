"""Other ways to get a CSV file into SQLite, as whole processes with their start-up, beside ours.

They get the clean file, ours the one with bad rows. sqlite-utils and django-import-export belong to nobody's lock here:
`python -m venv peers && peers/bin/pip install 'sqlite-utils>=4' django-import-export` and `--peers peers/bin/python`.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import data
from tests.benchmarks.ours import Place
from tests.benchmarks.report import Line, table
from tests.support.services import RedisServer

#: How much faster than each peer that validates ours has to be.
REQUIRED = 10
OURS = "ours, 1% bad rows"
SCRIPTS = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """needs: a package. words: of its command, behind a Python; FILE and DATABASE are filled in."""

    name: str
    needs: str
    words: tuple[str, ...]
    validates: bool


PEERS = [
    Peer(
        "`sqlite-utils insert --csv`, which detects types",
        "sqlite_utils",
        ("-m", "sqlite_utils", "insert", "DATABASE", "rows", "FILE", "--csv", "--pk", "key"),
        validates=False,
    ),
    Peer("pandas `to_sql`", "pandas", (str(SCRIPTS / "peer_pandas.py"), "FILE", "DATABASE"), validates=False),
    Peer(
        "pydantic and SQLAlchemy's ORM, a row at a time",
        "pydantic",
        (str(SCRIPTS / "peer_orm.py"), "FILE", "DATABASE"),
        validates=True,
    ),
    Peer(
        "django-import-export, in bulk, 1,000 a batch",
        "import_export",
        (str(SCRIPTS / "peer_django.py"), "FILE", "DATABASE"),
        validates=True,
    ),
]


def compared(rows: int, rounds: int, redis: RedisServer, other_python: Path | None) -> str:
    bad, clean = data.csv_file(rows), data.csv_file(rows, clean=True)
    python_of = {peer: _python_with(peer.needs, other_python) for peer in PEERS}
    found: dict[str, list[float]] = {OURS: [], **{peer.name: [] for peer in PEERS if python_of[peer]}}
    for _ in range(rounds):
        found[OURS].append(_ours(bad, redis))
        for peer in PEERS:
            if python := python_of[peer]:
                found[peer.name].append(_seconds(peer, python, clean))
    ours = median(found[OURS])
    notes = [
        f"{rows:,} rows into SQLite, whole processes with their start-up, median of {rounds} alternating rounds",
        "`synchronous`: ours NORMAL with WAL, peers as they come (FULL, rollback journal; the ORM loop WAL and NORMAL)",
        "compared: how many times as long as ours a peer takes",
    ]
    lines = [Line(OURS, f"{ours:.1f} s", 1.0), *(_line(peer, found.get(peer.name), ours) for peer in PEERS)]
    return table("Peers", notes, lines)


def _line(peer: Peer, seconds: list[float] | None, ours: float) -> Line:
    name = f"{peer.name} ({'validates' if peer.validates else 'does not validate'})"
    if not seconds:
        return Line(name, f"skipped: {peer.needs} is not installed")
    found = median(seconds)
    return Line(name, f"{found:.1f} s", found / ours, REQUIRED if peer.validates else None)


def _ours(file: Path, redis: RedisServer) -> float:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        place = Place(Path(folder), redis.url)
        place.declare()
        return place.run(file).whole


def _seconds(peer: Peer, python: Path, file: Path) -> float:
    with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
        filled = {"FILE": str(file), "DATABASE": str(Path(folder) / "peer.db")}
        command = [str(python), *(filled.get(word, word) for word in peer.words)]
        os.sync()
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started


def _python_with(package: str, other: Path | None) -> Path | None:
    """The first of the two Pythons that has a package."""
    for python in filter(None, [other, Path(sys.executable)]):
        found = subprocess.run([python, "-c", f"import {package}"], stderr=subprocess.DEVNULL, check=False)
        if found.returncode == 0:
            return python
    return None
