"""Rows a second into SQLite and PostgreSQL, against each database's own tool, in alternating rounds."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from jobs.datasets import Mode
from tests.benchmarks import data, yardsticks
from tests.benchmarks.ours import Place
from tests.benchmarks.report import Line, rate, table
from tests.support.services import RedisServer

#: What was measured → seconds, a round each.
Rounds = dict[str, list[float]]

IMPORT, UPSERT_NEW, UPSERT_KNOWN = "import", "upsert into an empty table", "upsert, every key exists"
COPY = r"`psql \copy` (yardstick)"
KEYED, ROWID = "`.import`, WITHOUT ROWID", "`.import`, rowid table"


def sqlite(rows: int, rounds: int, redis: RedisServer) -> str:
    bad, clean = data.csv_file(rows), data.csv_file(rows, clean=True)

    def one_round(folder: Path, found: Rounds) -> None:
        for what, with_rowid in [(KEYED, False), (ROWID, True)]:
            found[what].append(_settled(lambda: yardsticks.sqlite_import(folder, clean, with_rowid=with_rowid)))  # noqa: B023  # run at once
        for mode in Mode:
            place = Place(folder / mode, redis.url)
            _ours(place, mode, bad, found)

    found = _rounds(rounds, one_round)
    yardstick = min(median(found[KEYED]), median(found[ROWID]))
    notes = [
        f"{rows:,} rows x {len(data.NAMES)} columns, median of {rounds} alternating rounds",
        "yardstick: `sqlite3 .import` of the clean file into the same typed table with its key, the faster of two"
        " kinds of table; ours: 1% bad rows, from claim to `completed`, events to a real Redis",
        "both sides: `journal_mode = WAL`, `synchronous = NORMAL`",
    ]
    lines = [
        *(Line(what, rate(rows, median(found[what])), yardstick / median(found[what])) for what in (KEYED, ROWID)),
        _line(IMPORT, rows, found, yardstick, 1.3, 1.6),
        _line(UPSERT_NEW, rows, found, yardstick, 0.8),
        _line(UPSERT_KNOWN, rows, found, yardstick, 0.8),
    ]
    return table("SQLite", notes, lines)


def postgresql(rows: int, rounds: int, redis: RedisServer) -> str:
    bad, clean = data.csv_file(rows), data.csv_file(rows, clean=True)
    server = yardsticks.DurablePostgres()

    def one_round(folder: Path, found: Rounds) -> None:
        url = server.create()
        found[COPY].append(_settled(lambda: yardsticks.postgresql_copy(url, clean)))
        server.drop(url)
        for mode in Mode:
            url = server.create()
            place = Place(folder / mode, redis.url, url)
            _ours(place, mode, bad, found)
            server.drop(url)

    try:
        found, version = _rounds(rounds, one_round), server.version
    finally:
        server.remove()
    yardstick = median(found[COPY])
    notes = [
        f"{rows:,} rows x {len(data.NAMES)} columns, median of {rounds} alternating rounds",
        r"yardstick: `psql \copy` of the clean file into the same typed table with its key; ours: 1% bad rows, from"
        " claim to `completed`, events to a real Redis",
        f"both sides: one server, {version} with its default settings (`fsync` and `synchronous_commit` on)",
    ]
    lines = [
        Line(COPY, rate(rows, yardstick), 1.0),
        _line(IMPORT, rows, found, yardstick, 0.75, 1.0),
        _line(UPSERT_NEW, rows, found, yardstick, 0.35, 0.6),
        _line(UPSERT_KNOWN, rows, found, yardstick, 0.25, 0.35),
    ]
    return table("PostgreSQL", notes, lines)


def _ours(place: Place, mode: Mode, file: Path, found: Rounds) -> None:
    """One import; into a dataset that upserts the file comes twice, and the second time every key is there."""
    place.declare(mode)
    for what in [IMPORT] if mode is Mode.INSERT else [UPSERT_NEW, UPSERT_KNOWN]:
        found[what].append(_settled(lambda: place.run(file).seconds))
    place.remove()


def _rounds(rounds: int, one_round: Callable[[Path, Rounds], None]) -> Rounds:
    found: Rounds = defaultdict(list)
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bulk-bench-") as folder:
            one_round(Path(folder), found)
    return found


def _settled(measure: Callable[[], float]) -> float:
    """The measurement, begun when nothing of the one before it waits to be written to disk any more."""
    os.sync()
    return measure()


def _line(what: str, rows: int, found: Rounds, yardstick: float, required: float, goal: float | None = None) -> Line:
    seconds = median(found[what])
    return Line(f"ours: {what}", rate(rows, seconds), yardstick / seconds, required, goal)
