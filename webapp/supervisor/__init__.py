"""The supervisor of `bulk-upload serve`: starts Redis, the web process and the workers, and restarts them."""
