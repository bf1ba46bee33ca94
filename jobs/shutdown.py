"""Whether this process was asked to stop: a work horse then hands its upload back after the running chunk."""

import threading

#: Set by the worker's signal handlers (worker.py), read by the job (bulk_upload.py).
requested = threading.Event()
