"""The web application: pages, API, event streams, and the `bulk-upload` command."""
