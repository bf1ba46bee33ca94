"""The places of the uploads that wait: how many are ahead of each, and when it is expected to start.

A forecast plays what the workers will do: each takes the upload whose turn it is (uploads.claim_next), for as long as
its size and the measured pace say. It knows neither what is uploaded meanwhile nor how long a file really takes.
"""

import heapq
import itertools
import math
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

import sqlalchemy as sa

from jobs.lanes import Lane
from jobs.tables import uploads
from jobs.uploads import Processor, Status, now

#: Uploads whose start is played; the places of more are counted without a time. A few milliseconds of work.
MOST_PLAYED = 1_000
#: The newest uploads among which completed ones are looked for, and how many of these measure the pace.
LATELY, MEASURED = 500, 20
#: Seconds after which no start is foretold.
FARTHEST = 30 * 24 * 3600.0
#: Of the time that an import was expected to take, the part that it still takes if it is late already.
LATE = 0.1


@dataclass(frozen=True)
class Workers:
    """How many workers take both lanes, only quick uploads, only bulk uploads."""

    both: int = 0
    quick: int = 0
    bulk: int = 0

    @property
    def total(self) -> int:
        return self.both + self.quick + self.bulk

    def taking(self, lane: Lane | None) -> int:
        """How many take uploads of a lane."""
        return self.both + (self.quick if lane is Lane.QUICK else self.bulk)


@dataclass(frozen=True)
class Place:
    """position: uploads of the lane that start before. expected_start: None if nothing can be said. starts_in: the
    seconds from the forecast to it."""

    position: int
    expected_start: datetime | None = None
    starts_in: float | None = None


@dataclass(frozen=True)
class Candidate:
    """An upload that waits."""

    id: int
    lane: Lane
    sender: str
    dataset: str | None
    size: int

    def goes_before(self, other: "Candidate") -> bool:
        """Whether the other one waits behind this one, whoever else waits."""
        same = (self.sender, self.dataset, self.lane) == (other.sender, other.dataset, other.lane)
        return same and self.id < other.id


@dataclass(frozen=True)
class Running:
    """An import that runs. seconds_left: None if it is not known."""

    lane: Lane
    sender: str
    dataset: str | None
    seconds_left: float | None


@dataclass(frozen=True)
class Pace:
    """How fast imports are. bytes_per_second: of a large file. quick_seconds: that a small one takes. None: nothing was
    measured."""

    bytes_per_second: float | None = None
    quick_seconds: float | None = None

    def seconds(self, upload: Candidate) -> float:
        """How long the import of an upload takes; infinite if nothing can be said."""
        if upload.lane is Lane.QUICK:
            return math.inf if self.quick_seconds is None else self.quick_seconds
        return upload.size / self.bytes_per_second if self.bytes_per_second else math.inf


@dataclass(frozen=True)
class Scene:
    """What a forecast goes by. waiting: oldest first. served: when an upload of each sender was claimed last."""

    moment: datetime
    running: Sequence[Running] = ()
    waiting: Sequence[Candidate] = ()
    served: dict[str, datetime] = field(default_factory=dict)
    pace: Pace = Pace()

    def with_waiting(self, new: Candidate) -> Self:
        """The scene with an upload that was created since."""
        others = [each for each in self.waiting if each.id != new.id]
        return replace(self, waiting=sorted([*others, new], key=lambda each: each.id))

    def places(self, workers: Workers, *, dataset_imports: int) -> dict[int, Place]:
        """The place of each upload that waits, by id. dataset_imports: that may run into one dataset at once."""
        return _Play(self, workers, dataset_imports).run()


def read(connection: sa.Connection) -> Scene:
    """The scene as the database has it now. Reads few columns: many uploads may wait."""
    moment = now(connection)
    columns = uploads.c
    wanted = [
        columns.id, columns.status, columns.lane, columns.sender, columns.dataset, columns.size, columns.next_byte,
        columns.bytes_total, columns.rows_processed, columns.counting_from, columns.counting_since,
    ]  # fmt: skip
    by_worker = columns.processor == Processor.WORKER
    active = connection.execute(
        sa.select(*wanted)
        .where(columns.status.in_([Status.PENDING, Status.PROCESSING]), by_worker, columns.lane.is_not(None))
        .order_by(columns.id)
    ).all()
    running = [row for row in active if row.status == Status.PROCESSING]
    waiting = [
        Candidate(row.id, Lane(row.lane), row.sender, row.dataset, row.size)
        for row in active
        if row.status == Status.PENDING
    ]
    pace = _pace(connection, moment, running)
    return Scene(
        moment,
        [Running(Lane(row.lane), row.sender, row.dataset, _seconds_left(row, moment, pace)) for row in running],
        waiting,
        _served(connection),
        pace,
    )


def _served(connection: sa.Connection) -> dict[str, datetime]:
    senders = sa.select(uploads.c.sender).where(uploads.c.status == Status.PENDING).distinct().subquery()
    claimed = uploads.alias()
    last = sa.select(sa.func.max(claimed.c.counting_since)).where(claimed.c.sender == senders.c.sender)
    found = connection.execute(sa.select(senders.c.sender, last.scalar_subquery()))
    return {sender: moment for sender, moment in found if moment is not None}


def _pace(connection: sa.Connection, moment: datetime, running: Sequence[sa.Row[Any]]) -> Pace:
    """Measured on the imports that run, else on those that were completed last."""
    columns = uploads.c
    newest = sa.select(sa.func.max(columns.id)).scalar_subquery()
    completed = connection.execute(
        sa.select(columns.lane, columns.size, columns.started_at, columns.finished_at)
        .where(columns.id > newest - LATELY, columns.status == Status.COMPLETED, columns.lane.is_not(None))
        .where(columns.attempt == 1)
        .order_by(columns.id.desc())
    ).all()
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in completed:
        took[row.lane].append((row.size, (row.finished_at - row.started_at).total_seconds()))
    quick = [seconds for _, seconds in took[Lane.QUICK][:MEASURED]]
    bulk = [measured for row in running if row.lane == Lane.BULK and (measured := _measured(row, moment))]
    bulk = bulk or took[Lane.BULK][:MEASURED]
    seconds = sum(each for _, each in bulk)
    return Pace(
        sum(size for size, _ in bulk) / seconds if seconds else None, sum(quick) / len(quick) if quick else None
    )


def _measured(row: sa.Row[Any], moment: datetime) -> tuple[float, float] | None:
    """Bytes of the file that this attempt has imported, and the seconds that it took; None if there are none yet."""
    if row.counting_since is None or not row.bytes_total or row.rows_processed <= row.counting_from:
        return None
    by_this_attempt = (row.rows_processed - row.counting_from) / row.rows_processed
    size = row.size * min(1.0, row.next_byte / row.bytes_total) * by_this_attempt
    return size, max((moment - row.counting_since).total_seconds(), 0.001)


def _seconds_left(row: sa.Row[Any], moment: datetime, pace: Pace) -> float | None:
    measured = _measured(row, moment)
    if measured is not None and measured[0]:
        left = row.size * (1 - min(1.0, row.next_byte / row.bytes_total))
        return float(left * measured[1] / measured[0])
    whole = pace.seconds(Candidate(row.id, Lane(row.lane), row.sender, row.dataset, row.size))
    if math.isinf(whole) or row.counting_since is None:
        return None
    return float(max(whole - (moment - row.counting_since).total_seconds(), whole * LATE))


@dataclass
class _Worker:
    """lanes: that it takes. quick_last: whether it has just imported a quick upload. import_: what it imports."""

    lanes: tuple[Lane, ...]
    quick_last: bool = False
    import_: Running | Candidate | None = None

    @property
    def wanted(self) -> tuple[Lane, ...]:
        """The lanes in the order in which it looks at them: after a quick upload a bulk one goes first."""
        return self.lanes[::-1] if self.quick_last else self.lanes


_Group = tuple[str, str | None, Lane]  # sender, dataset, lane


class _Play:
    """One forecast: events in the order of time, at each of which a worker ends an import and takes the next."""

    def __init__(self, scene: Scene, workers: Workers, dataset_imports: int) -> None:
        self._scene = scene
        self._dataset_imports = dataset_imports
        self._starts = itertools.count()
        self._imports = Counter(each.sender for each in scene.running)
        self._into = Counter(each.dataset for each in scene.running if each.dataset is not None)
        self._served = {sender: moment.timestamp() for sender, moment in scene.served.items()}
        self._groups: dict[_Group, deque[Candidate]] = defaultdict(deque)
        self._of_sender: dict[str, set[_Group]] = defaultdict(set)
        self._blocked: dict[str, set[_Group]] = defaultdict(set)
        self._turns: dict[Lane, list[tuple[tuple[int, float, int], _Group]]] = {lane: [] for lane in Lane}
        for each in scene.waiting:
            group = (each.sender, each.dataset, each.lane)
            self._groups[group].append(each)
            self._of_sender[each.sender].add(group)
        for group in self._groups:
            self._line_up(group)
        self._idle: list[_Worker] = []
        self._events: list[tuple[float, int, _Worker]] = []
        self._employ(workers)
        self._places: dict[int, Place] = {}
        self._ahead: Counter[Lane] = Counter()

    def _employ(self, workers: Workers) -> None:
        """Give the running imports to workers. A lane that no worker takes gets one that never begins."""
        both = [_Worker((Lane.QUICK, Lane.BULK)) for _ in range(workers.both)]
        only = {
            Lane.QUICK: [_Worker((Lane.QUICK,)) for _ in range(workers.quick)],
            Lane.BULK: [_Worker((Lane.BULK,)) for _ in range(workers.bulk)],
        }
        for each in self._scene.running:
            free = only[each.lane] or both
            worker = free.pop() if free else _Worker(())
            worker.import_, worker.quick_last = each, each.lane is Lane.QUICK
            self._end_at(math.inf if each.seconds_left is None else each.seconds_left, worker)
        self._idle = [*only[Lane.QUICK], *only[Lane.BULK], *both]
        for lane in Lane:
            if not workers.taking(lane):
                self._end_at(math.inf, _Worker((lane,)))

    def run(self) -> dict[int, Place]:
        self._take(0.0)
        while self._events and len(self._places) < MOST_PLAYED:
            time, _, worker = heapq.heappop(self._events)
            self._end(worker)
            self._take(time)
        self._count_the_rest()
        return self._places

    def _take(self, time: float) -> None:
        """Let each idle worker take the upload whose turn it is."""
        idle, self._idle = self._idle, []
        for worker in idle:
            upload = next((found for lane in worker.wanted if (found := self._next(lane))), None)
            if upload is None:
                self._idle.append(worker)
                continue
            self._places[upload.id] = self._place(upload.lane, time)
            self._ahead[upload.lane] += 1
            self._begin(upload, worker)
            self._end_at(time + self._scene.pace.seconds(upload), worker)

    def _place(self, lane: Lane, time: float) -> Place:
        if time > FARTHEST:
            return Place(self._ahead[lane])
        return Place(self._ahead[lane], self._scene.moment + timedelta(seconds=time), time)

    def _begin(self, upload: Candidate, worker: _Worker) -> None:
        worker.import_, worker.quick_last = upload, upload.lane is Lane.QUICK
        self._imports[upload.sender] += 1
        self._served[upload.sender] = self._scene.moment.timestamp() + next(self._starts)
        if upload.dataset is not None:
            self._into[upload.dataset] += 1
        self._line_up_all(upload.sender)

    def _end(self, worker: _Worker) -> None:
        ended, worker.import_ = worker.import_, None
        if worker.lanes:
            self._idle.append(worker)
        if ended is None:
            return
        self._imports[ended.sender] -= 1
        self._line_up_all(ended.sender)
        if ended.dataset is not None:
            self._into[ended.dataset] -= 1
            for group in self._blocked.pop(ended.dataset, ()):
                self._line_up(group)

    def _next(self, lane: Lane) -> Candidate | None:
        """The upload whose turn it is, taken from those that wait."""
        turns = self._turns[lane]
        while turns:
            turn, group = heapq.heappop(turns)
            uploads, dataset = self._groups[group], group[1]
            if not uploads or turn != self._turn(group):
                continue  # its sender has begun or ended an import since
            if dataset is not None and self._into[dataset] >= self._dataset_imports:
                self._blocked[dataset].add(group)
                continue
            found = uploads.popleft()
            if not uploads:
                self._of_sender[group[0]].discard(group)
            return found
        return None

    def _turn(self, group: _Group) -> tuple[int, float, int]:
        """What decides whose turn it is, the least first."""
        sender = group[0]
        return self._imports[sender], self._served.get(sender, -math.inf), self._groups[group][0].id

    def _line_up(self, group: _Group) -> None:
        if self._groups[group]:
            heapq.heappush(self._turns[group[2]], (self._turn(group), group))

    def _line_up_all(self, sender: str) -> None:
        for group in self._of_sender[sender]:
            self._line_up(group)

    def _count_the_rest(self) -> None:
        """The places of uploads whose start was not played, in the order of their ids."""
        for upload in self._scene.waiting:
            if upload.id not in self._places:
                self._places[upload.id] = Place(self._ahead[upload.lane])
                self._ahead[upload.lane] += 1

    def _end_at(self, time: float, worker: _Worker) -> None:
        heapq.heappush(self._events, (time, next(self._starts), worker))
