"""Uploads without HTTP: the record, the queue, the files, the import and the events."""
