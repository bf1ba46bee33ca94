"""What workers do with the failed rows of an upload: check edits, apply repairs, try suggestions, and put the rows that
are right into a file, which is then imported as any other file of corrections.
"""

import csv
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa

from jobs import corrections, uploads
from jobs.database import Database
from jobs.failed_rows import FailedRow
from jobs.files import StoredFile
from jobs.pipeline.bench import Bench, Change, Mended
from jobs.pipeline.mending import evidence
from jobs.pipeline.mending.measuring import Measure
from jobs.process import horse_state
from jobs.repair import open_rows
from jobs.repair import orders as repair_orders
from jobs.repair.open_rows import Edited, OpenRow
from jobs.repair.orders import Repairable, Wanted
from jobs.settings import Settings
from jobs.store.chosen import store_of
from jobs.upkeep import leftovers
from jobs.uploads import Claim, Upload

log = logging.getLogger(__name__)

#: Failed rows that are worked on at once.
BATCH_ROWS = 5_000
#: How often a worker begins again because somebody edits rows meanwhile, before it keeps the others waiting.
TRIES = 3
#: Bytes of the largest file of repaired rows.
_FILE_LIMIT = 1 << 40


@dataclass
class Harvest:
    """What repairs make of rows. right: the numbers of those that can be imported. wrong: those that changed and remain
    wrong. edits: how many edits the upload's rows had when they were read."""

    edits: int
    right: list[int] = field(default_factory=list)
    wrong: list[Mended] = field(default_factory=list)


class Mender:
    """Works on the failed rows of one upload."""

    def __init__(self, database: Database, upload_id: int, *, tick: Callable[[], None]) -> None:
        """tick: called during long work. Raises NotRepairableError."""
        self._database = database
        self._upload_id = upload_id
        self.tick = tick
        with database.reading() as connection:
            self._of = Repairable.of(connection, uploads.get(connection, upload_id))
        self._bench = Bench(self._of.dataset.schema, self._of.sources, self._of.header, self._of.rules)

    def apply(self, repairs: Sequence[Change], *, title: str, by: str | None) -> dict[str, int]:
        """Apply repairs as edits. Returns how many rows changed, and how many of them are right now."""
        found: list[Mended] = []

        def change(connection: sa.Connection, mended: Sequence[Mended]) -> None:
            rows = [
                (each.row, Edited(each.row.row_number, each.row.version, each.edits, each.wrong)) for each in mended
            ]
            open_rows.write(connection, self._upload_id, rows, title=title, by=by)

        for last in self._tries():
            if last:
                with self._database.transaction() as connection:
                    open_rows.begin_edit(connection, self._upload_id)
                    found = list(self._mended(connection, repairs))
                    change(connection, found)
                break
            with self._database.reading() as connection:
                edits = open_rows.edits_of(connection, self._upload_id)
                found = list(self._mended(connection, repairs))
            with self._database.transaction() as connection:
                if open_rows.begin_edit(connection, self._upload_id) == edits:
                    change(connection, found)
                    break
        return {"rows": len(found), "right": sum(not each.wrong for each in found)}

    def preview(self, repairs: Sequence[Change], *, samples: int) -> dict[str, Any]:
        """What repairs would change: how many rows, how many of them would be right, and pairs of values."""
        rows = right = 0
        pairs: dict[tuple[str, str], None] = {}
        with self._database.reading() as connection:
            for each in self._mended(connection, repairs):
                rows, right = rows + 1, right + (not each.wrong)
                if len(pairs) < samples:
                    texts = dict(zip(self._of.header, each.row.texts(self._of.header), strict=True))
                    pairs |= {(texts[name], text): None for name, text in each.edits.items() if texts[name] != text}
        return {"rows": rows, "right": right, "samples": [list(pair) for pair in list(pairs)[:samples]]}

    def _mended(self, connection: sa.Connection, repairs: Sequence[Change]) -> Iterator[Mended]:
        for batch in open_rows.batches(connection, self._upload_id, size=BATCH_ROWS):
            self.tick()
            yield from self._bench.mend(batch, repairs)

    def _tries(self) -> Iterator[bool]:
        """Whether each try is the last."""
        for number in range(TRIES):
            yield number == TRIES - 1

    def harvest(self, connection: sa.Connection, wanted: Wanted, write: Callable[[Sequence[str]], None]) -> Harvest:
        """Write the rows that are right as records of a file of corrections."""
        header, found = self._of.header, Harvest(open_rows.edits_of(connection, self._upload_id))
        write(corrections.header(header))
        for row, texts in self._ripe(connection, wanted, found):
            found.right.append(row.row_number)
            as_failed = FailedRow(row.row_number, list(texts), [])
            write(corrections.record(as_failed, self._upload_id, len(header)))
        return found

    def _ripe(
        self, connection: sa.Connection, wanted: Wanted, found: Harvest
    ) -> Iterator[tuple[OpenRow, Sequence[str]]]:
        """The rows that can be imported. Those that changed and cannot are added to what was found."""
        header = self._of.header
        for batch in open_rows.batches(connection, self._upload_id, size=BATCH_ROWS, only_right=wanted.edited):
            self.tick()
            if wanted.edited:  # what was right may be wrong by now, if the dataset was changed
                judged = self._bench.judge([(row, row.edits) for row in batch])
                mended = [Mended(row, row.edits, wrong) for row, wrong in zip(batch, judged, strict=True)]
            else:
                mended = self._bench.mend(batch, wanted.repairs)
            for each in mended:
                if each.wrong:
                    found.wrong.append(each)
                else:
                    yield each.row, OpenRow(0, None, each.row.cells, [], edits=each.edits).texts(header)

    def record(self, connection: sa.Connection, found: Harvest, taken_by: int, *, title: str, by: str | None) -> None:
        """Note which rows a repair has in its file, and keep what it changed of the others as an edit."""
        open_rows.take(connection, self._upload_id, found.right, taken_by)
        stored = open_rows.some(connection, self._upload_id, [each.row.row_number for each in found.wrong])
        rows = [
            (each.row, Edited(each.row.row_number, each.row.version, each.edits, each.wrong))
            for each in found.wrong
            if each.row.row_number in stored
        ]
        open_rows.write(connection, self._upload_id, rows, title=title, by=by)


class Gathering:
    """The file of a repair: made once, from the rows that are open when its worker begins."""

    def __init__(self, settings: Settings, database: Database, upload: Upload, *, tick: Callable[[], None]) -> None:
        """upload: the repair. Raises NotRepairableError."""
        assert upload.parent is not None
        self._settings = settings
        self._database = database
        self._upload = upload
        self._parent_id = upload.parent
        self._mender = Mender(database, upload.parent, tick=tick)
        with database.reading() as connection:
            self._wanted = repair_orders.wanted_of(connection, upload.id)

    def run(self, claim: Claim) -> Upload:
        """Make the file and record it together with what became of the rows. The upload has no file if no row is right.

        Raises ClaimLostError."""
        for number in range(TRIES):
            if number == TRIES - 1:
                return self._run_alone(claim)
            with self._database.reading() as connection:
                file, found = self._file(connection)
            try:
                with self._database.transaction() as connection:
                    if open_rows.begin_edit(connection, self._parent_id) == found.edits:
                        return self._record(connection, claim, file, found)
            except BaseException:
                self._forget(file)
                raise
            self._forget(file)
        raise AssertionError("the last try returns")

    def _run_alone(self, claim: Claim) -> Upload:
        """As `run`, while other editors wait: so the claim cannot be renewed meanwhile."""
        self._mender.tick = horse_state.state.progress
        file: StoredFile | None = None
        try:
            with self._database.transaction() as connection:
                open_rows.begin_edit(connection, self._parent_id)
                file, found = self._file(connection)
                return self._record(connection, claim, file, found)
        except BaseException:
            self._forget(file)
            raise

    def _file(self, connection: sa.Connection) -> tuple[StoredFile | None, Harvest]:
        with store_of(self._settings).receive(self._upload.filename, limit=_FILE_LIMIT) as arrival:
            lines = io.StringIO()
            writer = csv.writer(lines)

            def write(record: Sequence[str]) -> None:
                writer.writerow(record)
                if lines.tell() > 1 << 20:
                    flush()

            def flush() -> None:
                arrival.write(lines.getvalue().encode())
                lines.seek(0)
                lines.truncate()

            found = self._mender.harvest(connection, self._wanted, write)
            if not found.right:
                return None, found
            flush()
            return arrival.keep(), found

    def _record(self, connection: sa.Connection, claim: Claim, file: StoredFile | None, found: Harvest) -> Upload:
        title, by = self._wanted.title, self._upload.uploaded_by
        self._mender.record(connection, found, self._upload.id, title=title, by=by)
        if file is None:
            return uploads.renew(connection, claim, lease=self._settings.lease)
        return uploads.receive(connection, claim, file, lease=self._settings.lease)

    def _forget(self, file: StoredFile | None) -> None:
        if file is not None:
            with suppress(OSError, sa.exc.SQLAlchemyError):  # else the sweep removes it
                leftovers.remove_unrecorded(
                    self._database, store_of(self._settings), file.stored_as, may_be_recorded=True
                )


def measure(database: Database, upload_id: int, *, tick: Callable[[], None]) -> None:
    """Try suggestions on the open rows of an upload, and keep what was found. Raises NotRepairableError."""
    with database.reading() as connection:
        of = Repairable.of(connection, uploads.get(connection, upload_id))
        state = repair_orders.state_of(connection, of)
        schema = of.dataset.schema
        bench = Bench(schema, of.sources, of.header, of.rules)
        ruled, known = [rule.repair for rule in of.rules], evidence.sample(connection, of.dataset)
        found = Measure(schema, of.sources, rules=ruled, evidence=known, tick=tick)
        for batch in open_rows.batches(connection, upload_id, size=BATCH_ROWS):
            tick()
            found.see(bench.table(batch), np.array([bench.is_blocked(row) for row in batch], dtype=bool))
    suggestions = found.suggestions()
    with database.transaction() as connection:
        repair_orders.keep_suggestions(connection, upload_id, state, suggestions)
