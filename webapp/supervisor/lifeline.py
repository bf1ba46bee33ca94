"""The lifeline: a supervised process ends when its supervisor does, however that came about."""

import os
import signal
import threading
import time

#: Seconds that a process whose supervisor is gone may take to end in order.
GRACE_SECONDS = 15.0


def watch(fd: int = 0) -> None:
    """End this process once the other end of `fd`, a pipe that only the supervisor holds, is closed.

    The end is asked for with SIGTERM, so that it is the usual one. A fork of this process is not watched: it has the
    pipe but not the thread.
    """
    threading.Thread(target=_end_with, args=(fd,), name="lifeline", daemon=True).start()


def _end_with(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
