"""The rows that an upload found unchanged so far, so that each is counted once, and how they are recorded.

A key may come in several chunks of a file. Its last row counts: a stored row that was found unchanged, and is replaced
by a later row of the file, is not unchanged after all.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from jobs.pipeline.parsing import Mask
from jobs.traces.unchanged_rows import Block

Numbers = npt.NDArray[np.int64]
NO_NUMBERS: Numbers = np.zeros(0, np.int64)

#: Runs of a chunk and an owner beyond which all stand packed in one block.
MOST_EVEN = 8


class FoundUnchanged:
    """The stored rows that were found, by owner and row number: a mark for each."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        """blocks: recorded by earlier attempts."""
        self._marks: dict[int, Mask] = {}
        for block in blocks:
            for _, owner_first, rows in block.stretches():
                numbers = np.arange(owner_first, owner_first + rows)
                self.mark(np.full(rows, block.owner_id), numbers)

    @property
    def is_any(self) -> bool:
        return bool(self._marks)

    def has(self, owners: Numbers, numbers: Numbers) -> Mask:
        """Which of these rows are marked."""
        found = np.zeros(len(owners), dtype=bool)
        for owner in self._marks.keys() & set(_different(owners)):
            marks = self._marks[owner]
            of_owner = (owners == owner) & (numbers < len(marks))
            found[of_owner] = marks[numbers[of_owner]]
        return found

    def mark(self, owners: Numbers, numbers: Numbers, *, value: bool = True) -> None:
        for owner in _different(owners):
            chosen = numbers[owners == owner]
            marks, most = self._marks.get(owner, np.zeros(0, dtype=bool)), int(chosen.max())
            if most >= len(marks):
                marks = np.concatenate([marks, np.zeros(most + 1 + len(marks) // 2 - len(marks), dtype=bool)])
                self._marks[owner] = marks
            marks[chosen] = value


def _different(owners: Numbers) -> list[int]:
    """Each owner once. Usually there is one, which is found out in a hundredth of the time."""
    if len(owners) and (owners == owners[0]).all():
        return [int(owners[0])]
    return [int(each) for each in np.unique(owners)]


def blocks_of(numbers: Numbers, owners: Numbers, owner_numbers: Numbers) -> Iterator[Block]:
    """How rows of a chunk are recorded. numbers: of the upload's rows; owners, owner_numbers: of the stored rows."""
    order = np.argsort(numbers, kind="stable")
    for owner in _different(owners):
        places = order[owners[order] == owner]
        own, stored = numbers[places], owner_numbers[places]
        begins = np.flatnonzero((np.diff(own) != 1) | (np.diff(stored) != 1)) + 1
        starts = np.concatenate([[0], begins])
        lengths = np.diff(np.concatenate([starts, [len(places)]]))
        if len(starts) <= MOST_EVEN:
            for start, rows in zip(starts.tolist(), lengths.tolist(), strict=True):
                yield Block.even(int(own[start]), owner, int(stored[start]), rows)
            continue
        steps = np.stack([np.diff(own[starts], prepend=0), np.diff(stored[starts], prepend=0), lengths], axis=1)
        extent = (int(own[0]), int(own[-1]), int(stored.min()), int(stored.max()))
        yield Block.of(owner, extent, len(places), steps.astype(np.int64).tobytes())
