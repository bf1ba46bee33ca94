"""Whether this process must stop: a work horse then hands its upload back after the current chunk."""

import threading

#: The worker's signal handlers set it (worker.py); the job reads it (bulk_upload.py).
requested = threading.Event()
