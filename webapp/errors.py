"""What can stop a start, beyond the settings."""

from jobs.errors import BulkUploadError


class CannotStartError(BulkUploadError):
    """This process cannot begin its work: what is in the way, and what to do about it."""
