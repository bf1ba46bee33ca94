"""An import whose workers are killed and frozen, on both databases: a few kills of what `make soak` does at length."""

from pathlib import Path

import pytest

from jobs.settings import Settings
from tests.benchmarks.soak import LEASE, SWEEP, Kill, Soak
from tests.support.parts import require

#: Rows of the file, in chunks of so many bytes: some hundreds of chunks, of which a kill takes a few.
ROWS, CHUNK_BYTES = 60_000, 16 * 1024
SEED = 7

PLAN = [Kill.HORSE, Kill.FREEZE, Kill.BOTH, Kill.PARENT]


@pytest.mark.timeout(180)
def test_whoever_is_killed_every_row_is_there_once_and_the_end_is_told_once(settings: Settings) -> None:
    require(Path("/proc/self/task").exists(), "needs /proc to look at processes")
    changed = {"lease": LEASE, "sweep": SWEEP, "chunk_bytes": CHUNK_BYTES}
    soak = Soak(settings.model_copy(update=changed), rows=ROWS, seed=SEED)
    soak.run(PLAN)

    assert soak.violations == []
    assert set(PLAN) <= set(soak.kills)
