"""Which store the settings choose: one object for each process, because connections do not survive a fork."""

import os
from functools import lru_cache

from jobs.settings import FILE, Settings
from jobs.store.access import Access
from jobs.store.both import BothStores
from jobs.store.bucket import BucketStore
from jobs.store.folder import FolderStore
from jobs.store.store import Store


def store_of(settings: Settings) -> Store:
    """What uploaded files are read from, and new ones written to."""
    return _store_of(settings, os.getpid())


@lru_cache(maxsize=8)
def _store_of(settings: Settings, _process: int) -> Store:
    first = named(settings, settings.store)
    if settings.store_before is not None:
        return BothStores(first, named(settings, settings.store_before))
    return first if isinstance(first, FolderStore) else BothStores(first, FolderStore(settings.files))


def named(settings: Settings, name: str) -> Store:
    """name: as BULK_UPLOAD_STORE has it."""
    if name == FILE:
        return FolderStore(settings.files)
    return BucketStore(Access.of(name, settings), settings.data / "work")
