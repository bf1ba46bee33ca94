"""Uploads without HTTP: the record, the queue, the files, the import and the events."""

from jobs import sqlite_library

sqlite_library.leave_out_statistics()
