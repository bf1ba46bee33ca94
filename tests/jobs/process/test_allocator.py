"""What a worker says to Arrow's allocator comes before Arrow is loaded, and Arrow hears it."""

import os
import subprocess
import sys

import pytest

from jobs.process.allocator import SMALL_PAGES

LOADING = """
import sys, webapp.cli, jobs.worker
from jobs.process import allocator
assert "pyarrow" not in sys.modules, "Arrow has read its settings already"
allocator.use_small_pages()
import pyarrow
assert pyarrow.default_memory_pool().backend_name == "mimalloc"
pyarrow.array(range(100_000))
print(next(line for line in open("/proc/self/status") if line.startswith("THP_enabled:")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells whether a process has huge pages")
@pytest.mark.parametrize(("allow", "expected"), [(None, "0"), ("1", "1")])
def test_a_worker_has_small_pages_unless_the_environment_says_otherwise(allow: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in SMALL_PAGES}
    if allow is not None:
        environment["MIMALLOC_ALLOW_THP"] = allow
    found = subprocess.run(
        [sys.executable, "-c", LOADING], env=environment, capture_output=True, text=True, check=False
    )

    assert (found.stdout.strip(), found.returncode) == (expected, 0), found.stderr
