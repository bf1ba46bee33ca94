"""SQLite counts no memory, in whatever way the product is started, and works all the same where it still does."""

import subprocess
import sys

import pytest

from jobs import sqlite_library

USED = """
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE a (b)")
library = ctypes.CDLL(_sqlite3.__file__)
library.sqlite3_memory_used.restype = ctypes.c_int64
print(library.sqlite3_memory_used() > 0, connection.execute("SELECT count(*) FROM a").fetchone())
"""


def counted(before: str) -> str:
    """Whether memory is counted in a process."""
    script = f"{before}\nimport ctypes, sqlite3, _sqlite3\n{USED}"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.mark.parametrize("module", ["webapp.cli", "webapp.app", "jobs.worker", "jobs.export.file"])
def test_what_the_product_runs_counts_no_memory(module: str) -> None:
    assert counted(f"import {module}") == "False (0,)"


def test_without_the_product_it_is_counted() -> None:
    assert counted("") == "True (0,)"


def test_a_process_that_has_used_sqlite_before_goes_on_as_it_was() -> None:
    before = "import sqlite3; other = sqlite3.connect(':memory:'); other.execute('CREATE TABLE a (b)'); import jobs"
    assert counted(before) == "True (0,)"


@pytest.mark.parametrize("origin", [None, "no such file"])
def test_a_python_whose_library_is_not_to_be_found_goes_on_as_it_was(
    monkeypatch: pytest.MonkeyPatch, origin: str | None
) -> None:
    class Found:
        has_location = origin is not None

    Found.origin = origin  # type: ignore[attr-defined]
    monkeypatch.setattr(sqlite_library, "find_spec", lambda _: Found() if origin else None)

    assert not sqlite_library.leave_out_statistics()
