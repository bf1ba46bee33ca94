"""The process that makes the file of an export which cannot be streamed (jobs/export/file.py)."""

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from jobs.errors import NotExportableError
from jobs.export.blocks import ExportStoppedError
from jobs.export.file_order import REFUSED, FileOrder

log = logging.getLogger(__name__)

#: What the process runs: by its name, because a web process loads nothing of it.
_MODULE = "jobs.export.file"


class FileMaker:
    """Makes one file. Nothing of it has a name but what the process needs meanwhile, in a folder of its own."""

    def __init__(self, folder: Path, order: FileOrder) -> None:
        """folder: in which the process has its own."""
        self._folder = folder
        self._order = order
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def make(self) -> BinaryIO:
        """The file, to be read from its start. Blocks. Raises NotExportableError, and ExportStoppedError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file: BinaryIO = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # it is returned
        try:
            with _own_folder(self._folder) as folder, self._started(file) as process:
                self._wait(process, replace(self._order, folder=str(folder)))
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def _started(self, file: BinaryIO) -> subprocess.Popen[bytes]:
        path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._lock:
            if self._is_stopped:
                raise ExportStoppedError
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.PIPE,
            )
            return self._process

    def _wait(self, process: subprocess.Popen[bytes], order: FileOrder) -> None:
        assert process.stdin is not None
        assert process.stderr is not None
        with suppress(BrokenPipeError):  # it was stopped
            process.stdin.write(order.as_line())
            process.stdin.flush()
        problem = process.stderr.read().decode("utf-8", "replace").strip()
        status = process.wait()
        if self._is_stopped:
            raise ExportStoppedError
        if status == REFUSED:
            raise NotExportableError(problem)
        if status != 0:
            raise RuntimeError(f"The export of {order.dataset} ended with status {status}: {problem[-2_000:]}")

    def stop(self) -> None:
        """End the process. For any thread."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None:
                self._process.kill()


@contextmanager
def _own_folder(parent: Path) -> Iterator[Path]:
    """A folder that is locked as long as it is in use."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of processes that were killed together with the web process."""
    for folder in parent.glob("tmp*/"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            log.info("Removed %s, which an export left behind.", folder)
        except BlockingIOError:
            pass  # an export of another process uses it
        finally:
            os.close(descriptor)
