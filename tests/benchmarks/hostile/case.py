"""A hostile file or request, with what it may cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.benchmarks.hostile.instance import Instance

MB = 1_000_000
#: Seconds of any import, and bytes (after decompression) that it reads in a second, at least.
START_SECONDS, BYTES_A_SECOND = 30.0, 2 * MB
#: Resident bytes that a worker or its work horse may hold: the default of the watchdog and its margin, since it looks
#: a few times a second.
WORKER_BYTES = (2 << 30) + (128 << 20)
#: Bytes by which the web process may grow while a case runs.
WEB_GROWTH_BYTES = 150 * MB
#: Seconds that /healthz may take meanwhile.
HEALTH_SECONDS = 1.0
#: Seconds of a request that has to wait for a deadline of the server, at most.
REQUEST_SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a hostile file or request. violations: sentences about what should not have happened."""

    text: str
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bounds:
    """seconds: None means START_SECONDS and the time for the size. worker, growth: bytes."""

    seconds: float | None = None
    worker: int = WORKER_BYTES
    growth: int = WEB_GROWTH_BYTES
    health: float = HEALTH_SECONDS


@dataclass(frozen=True)
class FileCase:
    """A file that is uploaded.

    fields: of the query. expanded: bytes after decompression; 0: those of the file. cells: the rows that the dataset
    must have if the import completes, as text. must_complete: no other outcome is right.
    beyond_postgresql: on PostgreSQL the import must fail instead, with a sentence that contains this.
    """

    name: str
    build: Callable[[], bytes]
    filename: str
    fields: Mapping[str, str] = field(default_factory=dict)
    expanded: int = 0
    cells: list[list[str]] | None = None
    must_complete: bool = False
    beyond_postgresql: str = ""
    bounds: Bounds = Bounds()


@dataclass(frozen=True)
class RequestCase:
    """Requests, or anything else that is done to an instance."""

    name: str
    attack: Callable[[Instance], Outcome]
    bounds: Bounds = Bounds(seconds=REQUEST_SECONDS)


Case: TypeAlias = FileCase | RequestCase


def allowed_seconds(case: FileCase, size: int) -> float:
    """The time that an import may take, from the answer to the upload until its end. size: bytes of the file."""
    if case.bounds.seconds is not None:
        return case.bounds.seconds
    return START_SECONDS + max(case.expanded, size) / BYTES_A_SECOND
