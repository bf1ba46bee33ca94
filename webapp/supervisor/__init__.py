"""Behind `bulk-upload serve`: starts Redis, the web process and the workers, and keeps them running."""
