"""What can go wrong in the web application, beyond the errors of `jobs`."""

from jobs.errors import BulkUploadError


class CannotStartError(BulkUploadError):
    """This process cannot begin its work: what is in the way, and what to do about it."""


class QueryError(BulkUploadError):
    """What stands behind the ? of an address cannot be understood: which word of it, and what would be."""


class TooManyStreamsError(BulkUploadError):
    """This process holds as many event streams open as it may."""
