"""Checkpointer: copies the write-ahead log of a SQLite database into its file while an import goes on writing.

A commit appends its pages to the log. A checkpoint copies them from there into the file and waits for the disk
(https://www.sqlite.org/wal.html#checkpointing). SQLite runs one inside the commit at which the log has
`wal_autocheckpoint` pages; once nothing is left to copy, the next transaction begins the log anew. In a large import
these commits took a sixth of the time. With a checkpoint beside each transaction they find little left to copy.
"""

import logging
import threading

import adbc_driver_sqlite.dbapi as adbc

from jobs.database import LOG_PAGES_OF_IMPORTS

log = logging.getLogger(__name__)

#: Commits that a checkpoint may miss: on a slow disk, the log would otherwise grow by whatever is written meanwhile.
COMMITS_MISSED = 2


class Checkpointer:
    """Runs checkpoints in a thread of its own, for the one thread that calls its methods."""

    def __init__(self, path: str) -> None:
        self._connection = adbc.connect(path, autocommit=True)  # there is no checkpoint inside a transaction
        self._changed = threading.Condition()
        self._is_wanted = self._is_running = self._is_closed = False
        #: How many pages the log had at the last checkpoint, and how many commits the one that runs has missed.
        self._log_pages = self._missed = 0
        self._thread = threading.Thread(target=self._work, name="checkpointer", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Copy what is committed by now, unless a checkpoint still runs: then the next one copies it."""
        with self._changed:
            if self._is_running:
                self._missed += 1
                return
            self._missed = 0
            self._is_wanted = self._is_running = True
            self._changed.notify_all()

    def make_way(self) -> None:
        """To be called before a commit. Wait for the checkpoint that runs if it has missed several commits, or if the
        log is long: the commit then runs one itself, so that the log begins anew, and there is never one beside it."""
        with self._changed:
            if self._log_pages >= LOG_PAGES_OF_IMPORTS or self._missed >= COMMITS_MISSED:
                self._changed.wait_for(lambda: not self._is_running)

    def close(self) -> None:
        """Wait for the checkpoint that runs, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while self._is_asked():
            try:
                self._log_pages = self._copy()
            finally:
                with self._changed:
                    self._is_running = False
                    self._changed.notify_all()

    def _is_asked(self) -> bool:
        """Wait for the next checkpoint that is wanted. Returns False once there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_wanted or self._is_closed)
            asked, self._is_wanted = self._is_wanted, False
            return asked

    def _copy(self) -> int:
        """Copy what no reader keeps from being copied. Returns the pages of the log."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                ((_is_busy, pages, _copied),) = cursor.fetchall()
                return int(pages)
        except adbc.Error as error:
            log.warning("The log of the database was not copied (%s); a later commit does so.", error)
            return LOG_PAGES_OF_IMPORTS
