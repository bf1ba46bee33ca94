"""Work horses that are killed at a certain moment of an import."""

import signal
import subprocess
import sys
from typing import NamedTuple

from jobs import uploads
from jobs.database import Database
from jobs.uploads import Claim, Status, Upload
from tests import ROOT


class Death(NamedTuple):
    """When a work horse is killed: as a function is called. found: imports what has the function, as `Doomed`. call:
    how often it was called then."""

    found: str
    function: str
    call: int


_PROGRAM = """
import os, signal, itertools
{0}
calls, alive = itertools.count(1), getattr(Doomed, {1!r})
def doomed(*args, **named):
    if next(calls) == {2}:
        os.kill(os.getpid(), signal.SIGKILL)
    return alive(*args, **named)
setattr(Doomed, {1!r}, doomed)
from jobs import bulk_upload
bulk_upload.run({3})
"""


def killed(database: Database, upload: Upload, death: Death) -> Upload:
    """Import an upload, which is the next one, in a process of its own until that is killed. Returns the upload as it
    is then; it is handed back, as its worker does. The settings come from the environment."""
    program = _PROGRAM.format(*death, upload.id)
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)
    with database.reading() as connection:
        found = uploads.get(connection, upload.id)
    assert (ended.returncode, found.status) == (-signal.SIGKILL, Status.PROCESSING), ended.stderr
    with database.transaction() as connection:
        uploads.hand_back(connection, Claim(found.id, found.attempt), because="its process ended")
    return found
