"""The two lanes in which uploads wait, so that a small file never waits for large ones."""

from enum import StrEnum
from typing import Self

#: Bytes of the largest file on the quick lane, by default: its import is one chunk and takes a fraction of a second.
QUICK_BYTES = 1 << 20


class Lane(StrEnum):
    QUICK = "quick"
    BULK = "bulk"

    @classmethod
    def of(cls, size: int, quick_bytes: int) -> Self:
        """The lane of a file. size, quick_bytes: bytes."""
        return cls("quick" if size <= quick_bytes else "bulk")


#: The lanes that a worker takes, by the option of its command. A worker that takes both looks at quick first.
WORKER_LANES = {"all": (Lane.QUICK, Lane.BULK), "quick": (Lane.QUICK,), "bulk": (Lane.BULK,)}
