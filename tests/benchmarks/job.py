"""One import in a process of its own: `python -m tests.benchmarks.job <upload>`, its settings in the environment.

What a work horse inherits from its worker, which rehearses, is loaded before the clock starts. Prints one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

from jobs import bulk_upload
from jobs.rehearsal import rehearse
from jobs.settings import Settings

KIB = 1024


def peak_memory() -> int:
    """The most bytes this process has ever had in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage counts what the process had in common with its parent before it became this program.
        line = next(line for line in status.read_text("utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    rehearse(Settings.load())
    started, used = time.perf_counter(), time.process_time()
    bulk_upload.run(int(sys.argv[1]))
    seconds = time.perf_counter() - started
    processor = time.process_time() - used
    print(json.dumps({"seconds": seconds, "peak_memory": peak_memory(), "processor": processor}))


if __name__ == "__main__":
    main()
