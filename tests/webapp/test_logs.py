"""The log on stderr, as a process writes it."""

import re
import subprocess
import sys

import pytest

from jobs.settings import Settings
from tests import ROOT

CODE = """
import logging
from jobs.settings import Settings
from webapp import logs

logs.configure(Settings.load(), "web")
for name in ("jobs.sweeper", "alembic.runtime", "uvicorn.error"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "%s %s", name, logging.getLevelName(level))
"""


def logged(level: str) -> list[str]:
    """The lines that a process writes at a log level."""
    process = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env=Settings(log_level=level).environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == ""
    return process.stderr.splitlines()


def test_a_line_has_its_time_level_role_and_process() -> None:
    [line] = (line for line in logged("INFO") if line.endswith("jobs.sweeper INFO"))

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    web\[\d+\] jobs\.sweeper INFO", line)


@pytest.mark.parametrize(
    ("level", "ours", "of_libraries"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARNING", "ERROR"], ["DEBUG", "INFO", "WARNING", "ERROR"]),
        ("INFO", ["INFO", "WARNING", "ERROR"], ["WARNING", "ERROR"]),
        ("ERROR", ["ERROR"], ["ERROR"]),
    ],
)
def test_everyday_lines_of_libraries_are_left_out_unless_everything_is_wanted(
    level: str, ours: list[str], of_libraries: list[str]
) -> None:
    lines = [line.split()[-2:] for line in logged(level)]

    assert [what for name, what in lines if name == "jobs.sweeper"] == ours
    assert [what for name, what in lines if name == "alembic.runtime"] == of_libraries
    assert [what for name, what in lines if name == "uvicorn.error"] == of_libraries
