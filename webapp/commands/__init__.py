"""Groups of the `bulk-upload` command."""
