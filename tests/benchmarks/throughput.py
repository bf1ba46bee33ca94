"""Rows a second into SQLite and PostgreSQL, against each database's own tool, in alternating rounds."""

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from jobs.modes import OF_DATASETS, Mode
from tests.benchmarks import data, yardsticks
from tests.benchmarks.ours import Place
from tests.benchmarks.report import Line, rate, table
from tests.support.services import RedisServer

#: What was measured → seconds, a round each.
Rounds = dict[str, list[float]]

IMPORT, UPSERT_NEW, UPSERT_SAME = "import", "upsert into an empty table", "upsert of the same file again"
UPSERT_KNOWN = "upsert, every row changes, and replaced rows are kept"
UPSERT_ALONE = "upsert, every row changes, and nothing is kept"
COPY = r"`psql \copy` (yardstick)"
KEYED, ROWID = "`.import`, WITHOUT ROWID", "`.import`, rowid table"


def sqlite(rows: int, rounds: int, redis: RedisServer) -> str:
    bad, clean = data.csv_file(rows), data.csv_file(rows, clean=True)

    def one_round(folder: Path, found: Rounds) -> None:
        for what, with_rowid in [(KEYED, False), (ROWID, True)]:
            found[what].append(_settled(lambda: yardsticks.sqlite_import(folder, clean, with_rowid=with_rowid)))  # noqa: B023  # run at once
        for mode in OF_DATASETS:
            _ours(Place(folder / mode, redis.url), mode, bad, found)
        _upsert_alone(Place(folder / "alone", redis.url, undo_days=0), bad, found)

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
        _line(UPSERT_SAME, rows, found, yardstick, 0.8),
        _line(UPSERT_KNOWN, rows, found, yardstick, 0.5),
        _line(UPSERT_ALONE, rows, found, yardstick, 0.8),
    ]
    return table("SQLite", notes, lines)


def postgresql(rows: int, rounds: int, redis: RedisServer) -> str:
    bad, clean = data.csv_file(rows), data.csv_file(rows, clean=True)
    server = yardsticks.DurablePostgres()

    def one_round(folder: Path, found: Rounds) -> None:
        url = server.create()
        found[COPY].append(_settled(lambda: yardsticks.postgresql_copy(url, clean)))
        server.drop(url)
        for mode in OF_DATASETS:
            url = server.create()
            place = Place(folder / mode, redis.url, url)
            _ours(place, mode, bad, found)
            server.drop(url)
        url = server.create()
        _upsert_alone(Place(folder / "alone", redis.url, url, undo_days=0), bad, found)
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
        _line(UPSERT_SAME, rows, found, yardstick, 0.5),
        _line(UPSERT_KNOWN, rows, found, yardstick, 0.12),
        _line(UPSERT_ALONE, rows, found, yardstick, 0.25, 0.35),
    ]
    return table("PostgreSQL", notes, lines)


def _ours(place: Place, mode: Mode, file: Path, found: Rounds) -> None:
    """One import; into a dataset that upserts the file comes twice, then with another value in each row."""
    place.declare(mode)
    if mode is Mode.INSERT:
        found[IMPORT].append(_settled(lambda: place.run(file).seconds))
    else:
        changed = data.changed_file(sum(1 for _ in file.open("rb")) - 1)
        for what, sent in ((UPSERT_NEW, file), (UPSERT_SAME, file), (UPSERT_KNOWN, changed)):
            found[what].append(_settled(lambda: place.run(sent).seconds))  # noqa: B023  # run at once
    place.remove()


def _upsert_alone(place: Place, file: Path, found: Rounds) -> None:
    """An upsert that changes every row of the file, without keeping what was there."""
    place.declare(Mode.UPSERT)
    place.run(file)
    changed = data.changed_file(sum(1 for _ in file.open("rb")) - 1)
    found[UPSERT_ALONE].append(_settled(lambda: place.run(changed).seconds))
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
