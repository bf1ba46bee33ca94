"""Everything an upload needs that is not HTTP: the record, the queue, the file, the import, the events."""
