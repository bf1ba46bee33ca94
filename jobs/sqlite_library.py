"""The SQLite library that Python uses: it does not count the memory that it takes.

By default it does, under a lock that all threads share. It takes memory for nearly each value that it computes: an
export takes 0.65 of the processor time without the count, and only then do two threads take less time than one.
SQLite's own advice is to leave it out (https://www.sqlite.org/compile.html, SQLITE_DEFAULT_MEMSTATUS).
"""

import ctypes
from importlib.util import find_spec

#: The numbers of SQLITE_CONFIG_MEMSTATUS and SQLITE_OK.
_STATISTICS, _OK = 9, 0


def leave_out_statistics() -> bool:
    """Before Python's sqlite3 is imported, which makes the library ready. Returns whether it had an effect.

    Where the library's functions are not to be found, as in a Python that has it inside, it keeps counting.
    """
    module = find_spec("_sqlite3")
    try:
        configure = ctypes.CDLL(module.origin if module and module.has_location else None).sqlite3_config
    except (OSError, AttributeError):
        return False
    configure.argtypes = [ctypes.c_int]  # where those that follow are passed in another way, it has to be known
    return bool(configure(_STATISTICS, 0) == _OK)
