"""What a process costs, read from /proc."""

import os
import re
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
KIB = 1024


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * KIB


def kernel_bytes(port: int) -> list[int]:
    """Bytes that the kernel holds to be sent, for each connection that was accepted on a port."""
    words = ["ss", "--tcp", "--numeric", "--memory", "--no-header", "state", "connected", "sport", "=", f":{port}"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return [max(int(alloc), int(queued)) for alloc, queued in re.findall(r"skmem:\(.*?,t(\d+),.*?,w(\d+),", text)]
