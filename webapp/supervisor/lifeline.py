"""The lifeline: a pipe through which a process notices that its supervisor has ended, even if it was killed."""

import os
import signal
import threading
import time

#: Seconds that a process has to shut down after its supervisor has ended.
GRACE_SECONDS = 15.0


def watch(fd: int = 0) -> None:
    """End this process when the other end of the pipe `fd`, which only the supervisor holds, is closed.

    A thread sends SIGTERM to this process, so that it shuts down as usual, and SIGKILL if that takes too long. A fork
    of this process has the pipe but not the thread, so it does not end.
    """
    threading.Thread(target=_end_with, args=(fd,), name="lifeline", daemon=True).start()


def _end_with(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
