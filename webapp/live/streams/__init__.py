"""The four event streams: which messages a client gets first, and which ones follow."""
