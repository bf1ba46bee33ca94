"""Random histories of a dataset, compared with a model in plain Python of what undoing means.

The model keeps, for each key, the versions that were written and who vouches for each: the upload that wrote it, and
those that found it unchanged. Some uploads keep no images, so that they cannot be undone. `UNDO_EXAMPLES` says how many
histories are tried on each database, other ones each time; without it, a few that are always the same.
"""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st

from jobs import bulk_upload, datasets, uploads
from jobs.changes import Changes
from jobs.database import Database
from jobs.dataset_admin import catalogue
from jobs.errors import UndoRefusedError
from jobs.modes import Mode
from jobs.pipeline import reader, stored_range, upserting
from jobs.schema import TableSchema
from jobs.settings import Settings
from jobs.undo import orders as undo_orders
from jobs.undo import previews as undo_previews
from jobs.undo import versions
from jobs.uploads import Status, Upload
from tests.support.files import store

EXAMPLES = int(os.environ.get("UNDO_EXAMPLES", "0"))
SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "sku", "type": "integer"},
        {"name": "price", "type": "integer"},
        {"name": "note", "type": "string"},
    ],
    "primaryKey": "sku",
}
BAD = "dear"

Values = tuple[int | None, str | None]


@dataclass(frozen=True)
class Send:
    """A file: (key, price, note) of each row. has_notes: whether it has that column. stop: after how many chunks
    somebody cancels it. keeps: whether what it replaces is kept."""

    mode: Mode
    rows: tuple[tuple[int, int | str, str], ...]
    has_notes: bool = True
    stop: int | None = None
    keeps: bool = True

    @property
    def content(self) -> str:
        lines = [f"{sku},{price},{note}" if self.has_notes else f"{sku},{price}" for sku, price, note in self.rows]
        return "\n".join(["sku,price,note" if self.has_notes else "sku,price", *lines, ""])


@dataclass(frozen=True)
class Repair:
    """Corrects the failed rows of an upload, the number of which is counted among those that have any."""

    which: int
    price: int


@dataclass(frozen=True)
class Undo:
    """Of an upload or an undo, counted from the newest one."""

    which: int
    repairs: bool = False
    stop: int | None = None


@dataclass(frozen=True)
class Continue:
    """Of an upload that was stopped, counted from the newest one. keeps: if it is no undo."""

    which: int
    stop: int | None = None
    keeps: bool = True


Step = Send | Repair | Undo | Continue

KEEPS = st.sampled_from([True, True, True, False])
STOPS = st.one_of(st.none(), st.none(), st.integers(1, 2))
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([0, 1, 2, 1, 2, BAD]), st.sampled_from(["", "x"])),
    min_size=1,
    max_size=10,
)
SENDS = st.builds(
    Send,
    st.sampled_from([Mode.UPSERT, Mode.UPSERT, Mode.UPSERT, Mode.INSERT, Mode.ONLY_NEW, Mode.REPLACE]),
    ROWS.map(tuple),
    st.booleans(),
    STOPS,
    KEEPS,
)
UNDOS = st.builds(Undo, st.integers(0, 5), st.booleans(), STOPS)
STEPS = st.one_of(
    SENDS, SENDS, UNDOS, UNDOS, st.builds(Continue, st.integers(0, 2), STOPS, KEEPS),
    st.builds(Repair, st.integers(0, 2), st.integers(0, 2)),
)  # fmt: skip


A, B, C = ((1, 1), (2, 1), (3, 1)), ((1, 2), (2, 1), (4, 1)), ((1, 1), (2, 2), (4, 1))


def send(rows: Sequence[tuple[int, int]], mode: Mode = Mode.UPSERT) -> Send:
    """Of keys and prices. Two rows fill a chunk."""
    return Send(mode, tuple((key, price, 5 * "n") for key, price in rows))


@dataclass(eq=False)
class Version:
    """A row as an upload wrote it."""

    upload_id: int
    number: int
    values: Values


@dataclass
class Model:
    """What should be so."""

    present: dict[int, Version] = field(default_factory=dict)
    #: Of each key, who vouches for which version, in the order of time.
    vouchers: dict[int, list[tuple[int, int, Version]]] = field(default_factory=dict)
    #: When uploads replaced all rows.
    replaced: dict[int, int] = field(default_factory=dict)
    #: What undos undo, of those that have ended, and of the others.
    undoes: dict[int, list[int]] = field(default_factory=dict)
    time: Iterator[int] = field(default_factory=itertools.count)
    #: Versions that an upload replaced and kept.
    before: dict[tuple[int, int], Version] = field(default_factory=dict)
    #: Versions that nobody kept, and the uploads that replaced them.
    lost: set[Version] = field(default_factory=set)
    losers: set[int] = field(default_factory=set)
    #: What each upload found unchanged: keys, or rows if it leaves out those that exist.
    unchanged: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def undone_by(self, upload_id: int) -> int | None:
        found = [each for each, ids in self.undoes.items() if upload_id in ids and self.undone_by(each) is None]
        assert len(found) <= 1, "undone twice"
        return found[0] if found else None

    def best(self, key: int) -> tuple[int, Version] | None:
        """The version of a row that counts, and who vouches for it."""
        floor = max((at for each, at in self.replaced.items() if self.undone_by(each) is None), default=-1)
        found = [
            (upload_id, version)
            for at, upload_id, version in self.vouchers.get(key, [])
            if at >= floor and self.undone_by(upload_id) is None
        ]
        return found[-1] if found else None

    def expected(self) -> dict[int, Version]:
        return {key: found[1] for key in self.vouchers if (found := self.best(key)) is not None}

    def write(self, key: int, version: Version) -> None:
        self.present[key] = version
        self.vouch(key, version.upload_id, version)

    def vouch(self, key: int, upload_id: int, version: Version) -> None:
        self.vouchers.setdefault(key, []).append((next(self.time), upload_id, version))

    def forget(self, key: int, version: Version) -> None:
        self.vouchers[key] = [each for each in self.vouchers[key] if each[2] is not version]

    def receive(self, upload_id: int, sent: Send, chunks: Sequence[range], *, keeps: bool) -> None:
        """The rows of some chunks of a file, by their numbers. keeps: images, so that chunks make no difference."""
        for chunk in chunks:
            rows = [(number, *sent.rows[number - 1]) for number in chunk]
            last = {key: number for number, key, price, _ in rows if not isinstance(price, str)}
            for number, key, price, note in rows:
                is_last = keeps or last.get(key) == number
                if isinstance(price, str) or (sent.mode is Mode.UPSERT and not is_last):
                    continue
                stored = self.present.get(key)
                kept = stored.values[1] if stored is not None and not sent.has_notes else None
                version = Version(upload_id, number, (price, (note or None) if sent.has_notes else kept))
                if stored is None:
                    self.write(key, version)
                elif sent.mode is Mode.ONLY_NEW:
                    self.unchanged[upload_id].add(number)
                elif sent.mode is not Mode.INSERT:
                    self.upsert(key, stored, version, keeps=keeps)

    def upsert(self, key: int, stored: Version, version: Version, *, keeps: bool) -> None:
        upload_id, found = version.upload_id, self.unchanged[version.upload_id]
        if stored.upload_id == upload_id:
            self.forget(key, stored)
            before = self.before.get((upload_id, key)) if keeps else None
            if before is not None and before.values == version.values:
                del self.before[upload_id, key]
                self.present[key] = before
                self.vouch(key, upload_id, before)
                found.add(key)
            else:
                self.write(key, version)
        elif stored.values == version.values:
            self.vouch(key, upload_id, stored)
            found.add(key)
        else:
            if keeps:
                self.before[upload_id, key] = stored
            else:
                self.lose([stored], upload_id)
            found.discard(key)
            self.write(key, version)

    def lose(self, versions: Collection[Version], upload_id: int) -> None:
        if versions:
            self.lost.update(versions)
            self.losers.add(upload_id)

    def replace(self, upload_id: int, sent: Send, *, keeps: bool) -> None:
        if not keeps:
            self.lose(self.present.values(), upload_id)
        self.present = {}
        self.replaced[upload_id] = next(self.time)
        self.receive(upload_id, sent, [range(1, len(sent.rows) + 1)], keeps=True)


class World:
    """A dataset, with the model of it."""

    _numbers = itertools.count(1)

    def __init__(self, settings: Settings, database: Database, changes: Changes) -> None:
        self.settings, self.database, self.changes = settings, database, changes
        self.name = f"stock_{next(self._numbers)}"
        self.model = Model()
        self.sent: dict[int, Send] = {}
        self.done: dict[int, int] = {}
        #: Rows that each upload added.
        self.added: Counter[int] = Counter()
        #: All uploads, and undos that were stopped half-way.
        self.ids: list[int] = []
        self.repaired: set[int] = set()
        with database.transaction() as connection:
            datasets.declare(connection, self.name, TableSchema.parse(SCHEMA), Mode.UPSERT)

    def take(self, step: Step) -> None:
        if isinstance(step, Send):
            self.send(step)
        elif isinstance(step, Repair):
            self.repair(step)
        elif isinstance(step, Undo) and self.ids:
            self.undo(self.ids[-1 - step.which % len(self.ids)], step)
        elif isinstance(step, Continue) and (stopped := self.stopped()):
            self.go_on(stopped[-1 - step.which % len(stopped)], step)
        self.compare()

    # What people do -------------------------------------------------------------------------------------------------

    def send(self, sent: Send, content: str = "") -> None:
        stored = store(self.settings, content or sent.content, "stock.csv")
        more: dict[str, Any] = {} if content else {"mode": sent.mode}
        with self.database.transaction() as connection:
            upload = uploads.create(connection, stored, dataset=self.name, **more)
        self.ids.append(upload.id)
        self.sent[upload.id] = replace(sent, mode=upload.mode or sent.mode)
        self.done[upload.id] = 0
        ended, chunks = self.run(upload.id, sent.stop, keeps=sent.keeps)
        if ended.mode is not None:  # a repair does as its parent did
            self.sent[upload.id] = replace(sent, mode=ended.mode)
        self.receive(ended, chunks, keeps=sent.keeps)

    def receive(self, upload: Upload, chunks: Sequence[range], *, keeps: bool) -> None:
        """In the model too."""
        sent, before = self.sent[upload.id], dict(self.model.present)
        if not self.done[upload.id]:  # from the beginning
            self.added[upload.id] = 0
            self.model.unchanged[upload.id].clear()
        if sent.mode is not Mode.REPLACE:
            self.model.receive(upload.id, sent, chunks, keeps=keeps)
            self.added[upload.id] += len(self.model.present) - len(before)
            self.check_counts(upload)
        elif upload.status is Status.COMPLETED:
            self.model.replace(upload.id, sent, keeps=keeps)
            counts = (upload.rows_added, upload.rows_removed, upload.rows_unchanged)
            assert counts == (len(self.model.present), len(before), 0)
        if upload.status is Status.COMPLETED:
            assert upload.rows_processed == len(sent.rows)
        self.done[upload.id] = 0 if sent.mode is Mode.REPLACE or not upload.rows_success else upload.rows_processed

    def check_counts(self, upload: Upload) -> None:
        counts = (upload.rows_added or 0, upload.rows_unchanged or 0)
        assert counts == (self.added[upload.id], len(self.model.unchanged[upload.id]))

    def repair(self, step: Repair) -> None:
        broken = [
            each for each in self.ids
            if each in self.sent and any(price == BAD for _, price, _ in self.sent[each].rows)
            and self.now(each).status is Status.COMPLETED and self.sent[each].has_notes and each not in self.repaired
        ]  # fmt: skip
        if not broken:
            return
        parent = broken[step.which % len(broken)]
        self.repaired.add(parent)
        rows, lines = [], ["sku,price,note,_upload_id,_row_number,_error"]
        for number, (key, price, note) in enumerate(self.sent[parent].rows, 1):
            if price == BAD:
                rows.append((key, step.price, note))
                lines.append(f"{key},{step.price},{note},{parent},{number},")
        self.send(Send(Mode.UPSERT, tuple(rows)), "\n".join([*lines, ""]))

    def undo(self, upload_id: int, step: Undo) -> None:
        upload = self.now(upload_id)
        with self.database.reading() as connection:
            chosen = undo_orders.undoes_of(connection, upload, repairs=step.repairs)
        refused = self.is_refused(upload, chosen)
        try:
            with self.database.transaction() as connection:
                undo_orders.require_all(connection, upload, repairs=step.repairs)
        except UndoRefusedError:
            assert refused, f"#{upload_id} was refused"
            return
        assert not refused, f"#{upload_id} was not refused"
        found = undo_previews.count(self.database, upload, repairs=step.repairs)
        with self.database.transaction() as connection:
            ordered = undo_orders.order(connection, upload, repairs=step.repairs)
        assert ordered.undoes == chosen
        self.ids.append(ordered.id)
        is_clean = not self.open_undos()
        before = dict(self.model.present)
        ended = self.end_undo(ordered, step.stop)
        if ended.status is Status.COMPLETED:
            after = self.model.present
            assert found.remove == len(before.keys() - after.keys()) == ended.rows_removed
            assert found.restore == sum(before.get(key) is not version for key, version in after.items())
            assert ended.rows_added == len(after.keys() - before.keys())
            if is_clean and not self.has_lost(ended.undoes):
                self.check_preview(found, before, ended)

    def check_preview(self, found: undo_orders.Preview, before: dict[int, Version], undo: Upload) -> None:
        """Of the rows that stay. One that is there as an upload wrote it that is in effect again may be left out."""
        keep, perhaps = Counter[int](), Counter[int]()
        gone = 0
        revived = {each.id for target in undo.undoes for each in self.revived(self.now(target))}
        concerned = self.concerned(undo.undoes)
        for key, vouchers in self.model.vouchers.items():
            if any(version.upload_id in concerned for _, _, version in vouchers):
                best = self.model.best(key)
                if best is not None and best[1] is before.get(key):
                    (perhaps if best[1].upload_id in revived else keep)[best[0]] += 1
                gone += best is None and key not in before
        assert found.gone == gone
        assert keep <= Counter(found.keep) <= keep + perhaps

    def has_lost(self, ids: list[int]) -> bool:
        """Whether nobody can tell what became of all rows of the uploads that an undo concerns."""
        return not self.concerned(ids).isdisjoint(each.upload_id for each in self.model.lost)

    def concerned(self, ids: list[int]) -> set[int]:
        """The uploads that become undone, or are in effect again."""
        return {*ids}.union(*(self.concerned(self.now(each).undoes) for each in ids))

    def go_on(self, upload_id: int, step: Continue) -> None:
        upload = self.now(upload_id)
        try:
            with self.database.transaction() as connection:
                undo_orders.require_retry(connection, upload)
                uploads.retry(connection, upload_id)
        except UndoRefusedError:
            assert self.cannot_go_on(upload), f"#{upload_id} cannot go on"
            return
        assert not self.cannot_go_on(upload), f"#{upload_id} can go on"
        if upload.is_undo:
            self.end_undo(upload, step.stop)
        else:
            self.receive(*self.run(upload_id, step.stop, keeps=step.keeps), keeps=step.keeps)

    # What is refused ------------------------------------------------------------------------------------------------

    def open_undos(self) -> list[Upload]:
        """The undos that were stopped after they had changed rows."""
        found = [self.now(each) for each in self.ids]
        return [
            each for each in found
            if each.is_undo and each.status is Status.CANCELLED and each.rows_success and each.undone_by is None
        ]  # fmt: skip

    def is_refused(self, upload: Upload, chosen: list[int]) -> bool:
        for each in map(self.now, chosen):
            concerned = self.concerned([each.id])
            is_completed_undo = each.is_undo and each.status is Status.COMPLETED
            if each.undone_by is not None or not (each.rows_success or is_completed_undo):
                return True
            if any(self.concerned(other.undoes) & concerned for other in self.open_undos() if other.id != each.id):
                return True
            if self.is_twice(each.id) or not self.model.losers.isdisjoint(self.undone(each.id)):
                return True
            if any(undo.is_undo and undo.status is Status.CANCELLED for undo in self.revived(each)):
                return True
        return False

    def undone(self, upload_id: int) -> Iterator[int]:
        """The uploads that an undo of one undoes, directly or because it brings an undo back."""
        yield upload_id
        for undo in self.now(upload_id).undoes:
            for target in self.now(undo).undoes:
                yield from self.undone(target)

    def revived(self, upload: Upload) -> Iterator[Upload]:
        """The uploads that an undo of one brings back."""
        for each in map(self.now, upload.undoes):
            yield each
            for target in each.undoes:
                yield from self.revived(self.now(target))

    def is_twice(self, upload_id: int) -> bool:
        """Whether an undo comes into effect again by this, of uploads that others have undone since."""
        return any(
            self.model.undone_by(target) is not None or self.is_twice(target)
            for undo in self.now(upload_id).undoes
            for target in self.now(undo).undoes
        )

    def cannot_go_on(self, upload: Upload) -> bool:
        if upload.undone_by is not None:
            return True
        concerned = self.concerned([upload.id])
        others = [each for each in self.open_undos() if each.id != upload.id]
        if any(self.concerned(other.undoes) & concerned for other in others):
            return True
        return any(self.model.undone_by(each) is not None or self.is_twice(each) for each in upload.undoes)

    # What a worker does ---------------------------------------------------------------------------------------------

    def run(self, upload_id: int, stop: int | None, *, keeps: bool = True) -> tuple[Upload, list[range]]:
        """Import or undo it. stop: after how many chunks it is cancelled. Returns it, and the rows of each chunk."""
        begun = self.now(upload_id)
        chunks = [range(begun.rows_processed + 1, begun.rows_processed + 1)]

        def watched(commit: Callable[[Any], Upload]) -> Callable[[Any], Upload]:
            def commit_then_stop(change: Any) -> Upload:
                upload = commit(change)
                if upload.rows_processed >= chunks[-1].stop:
                    chunks.append(range(chunks[-1].stop, upload.rows_processed + 1))
                    if len(chunks) - 1 == stop:
                        self.changes.make(partial(uploads.cancel, upload_id=upload_id))
                return upload

            return commit_then_stop

        settings = self.settings.model_copy(update={} if keeps else {"undo_days": 0})
        with pytest.MonkeyPatch.context() as patch:
            for name in ("progress", "progress_with_others"):
                patch.setattr(self.changes, name, watched(getattr(self.changes, name)))
            assert begun.lane is not None
            bulk_upload.import_next(begun.lane, settings, self.changes)
        ended = self.now(upload_id)
        is_empty = ended.status is Status.FAILED and not ended.rows_success and not ended.is_undo
        assert is_empty or ended.status in (Status.COMPLETED, Status.CANCELLED), ended.error
        return ended, chunks

    def leave(self) -> None:
        """So that the next world does not import what a step left that failed."""
        for each in map(self.now, self.ids):
            if each.is_active:
                self.changes.make(partial(uploads.cancel, upload_id=each.id))

    def end_undo(self, undo: Upload, stop: int | None) -> Upload:
        before = dict(self.model.present)
        ended, _ = self.run(undo.id, stop)
        after = self.rows()
        if ended.status is Status.COMPLETED:
            self.model.undoes[undo.id] = list(undo.undoes)
        known = {(each.upload_id, each.number): each for each in self.versions()}
        self.model.present = {key: known[origin] for key, (origin, _) in after.items()}
        changed = {key for key in before.keys() | after.keys() if before.get(key) is not self.model.present.get(key)}
        assert ended.rows_success - undo.rows_success == len(changed)
        return ended

    def versions(self) -> Iterator[Version]:
        for vouchers in self.model.vouchers.values():
            yield from (version for _, _, version in vouchers)

    # What is compared -----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        stored = self.rows()
        assert stored == {key: ((each.upload_id, each.number), each.values) for key, each in self.model.present.items()}
        for each in self.ids:
            assert self.now(each).undone_by == self.model.undone_by(each), f"undone_by of #{each}"
        if not self.open_undos():
            assert self.model.present == self.model.expected()

    def stopped(self) -> list[int]:
        return [each for each in self.ids if self.now(each).status is Status.CANCELLED]

    def now(self, upload_id: int) -> Upload:
        with self.database.reading() as connection:
            return uploads.get(connection, upload_id)

    def rows(self) -> dict[int, tuple[tuple[int, int], Values]]:
        with self.database.reading() as connection:
            statement = f"SELECT sku, _upload_id, _row_number, price, note FROM data_{self.name}"
            found = connection.execute(sa.text(statement)).all()
            assert catalogue.entry(connection, self.name).rows == len(found)
        return {row[0]: ((row[1], row[2]), (row[3], row[4])) for row in found}


@pytest.fixture
def worlds(settings: Settings, database: Database, changes: Changes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes worlds whose uploads have chunks of a few rows."""
    monkeypatch.setattr(versions, "LEAST_ROWS", 2)
    monkeypatch.setattr(stored_range, "DENSE", 9)

    def made(guesses: bool) -> World:
        """guesses: whether a sample of a few rows is enough to replace all of a chunk without a comparison; and chunks
        share transactions, and on SQLite are compared with the stored rows in the range of their keys."""
        monkeypatch.setattr(upserting, "FEW", 2 if guesses else 2_000)
        monkeypatch.setattr(upserting, "SAMPLE", 1)
        monkeypatch.setattr(stored_range, "FEW", 1 if guesses else 2_000)
        monkeypatch.setattr(reader, "CHUNK_BYTES", 8 if guesses else 24)  # a transaction is as large as those before it
        small = settings.model_copy(update={"chunk_bytes": 96 if guesses else 24, "lease": 60})
        return World(small, database, changes)

    return made


@pytest.mark.timeout(300 + 10 * EXAMPLES)
def test_rows_are_those_that_the_uploads_in_effect_wrote_or_found(worlds: Any) -> None:
    @hypothesis.settings(
        max_examples=EXAMPLES or 8,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],  # a shrunk history takes minutes to find
        report_multiple_bugs=False,
    )
    @hypothesis.example(True, [send(A), send(B), send(C), Undo(1), Undo(0), Undo(4)])
    @hypothesis.example(True, [send(A), send(B, Mode.REPLACE), send(C), Undo(1), Undo(0), Undo(3)])
    @hypothesis.example(True, [send(A), send(((1, 2), (2, 1), (3, 2), (1, 1), (2, 2), (3, 2))), Undo(0)])
    @hypothesis.example(True, [send(A), send(((1, 1), (2, 2))), Undo(0)])
    @hypothesis.example(True, [send(((1, 1), (1, 1)), Mode.ONLY_NEW)])
    @hypothesis.given(st.booleans(), st.lists(STEPS, min_size=6, max_size=14))
    def holds(guesses: bool, steps: list[Step]) -> None:
        world = worlds(guesses)
        try:
            for step in steps:
                world.take(step)
        finally:
            world.leave()

    holds()
