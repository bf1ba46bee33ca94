"""Where tests keep their files: in memory, if the system has a roomy file system there. They make some thousand
databases, and on a disk they would mostly wait for it."""

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
#: Bytes that all processes of a run need together, with a margin.
NEEDED = 6 << 30


def keep_files_in_memory() -> None:
    """Make the file system in memory the place of temporary files, also for the processes that this one starts. Whoever
    has set TMPDIR has chosen already."""
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= NEEDED:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # so that it is looked up again
