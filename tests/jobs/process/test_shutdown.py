import subprocess
import sys
import threading
import time

from jobs.process.shutdown import Flag

#: A signal arrives at each line of Python that waits for the flag, the standard library's lines included.
INTERRUPTED = """
import signal, sys
from jobs.process.shutdown import Flag

flag = Flag()
signal.signal(signal.SIGUSR1, lambda *_: flag.set())
lines = 0

def trace(frame, event, argument):
    global lines
    if frame.f_code.co_name != "set":
        lines += 1
        flag.clear()
        signal.raise_signal(signal.SIGUSR1)
    return trace

for _ in range(3):
    flag.clear()
    sys.settrace(trace)
    flag.wait(5)
    sys.settrace(None)
print(lines, flag.is_set())
"""


def test_a_signal_may_set_the_flag_at_any_line_of_the_wait_for_it() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=30)

    lines, is_set = ended.stdout.split()
    assert (int(lines) > 5, is_set) == (True, "True"), ended.stderr


def test_who_waits_for_the_flag_goes_on_when_it_is_set() -> None:
    flag = Flag()
    setting = threading.Timer(0.05, flag.set)
    setting.start()

    flag.wait(60)

    assert flag.is_set()
    setting.join()


def test_a_wait_ends_without_the_flag_after_its_time() -> None:
    flag = Flag()
    began = time.monotonic()

    flag.wait(0.01)

    assert not flag.is_set()
    assert time.monotonic() - began >= 0.01
