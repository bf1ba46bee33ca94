"""Errors of the web application, in addition to those of `jobs`."""

from collections.abc import Sequence

from jobs.errors import BulkUploadError


class CannotStartError(BulkUploadError):
    """The process cannot start. The text says why and what to do."""


class InvalidQueryError(BulkUploadError):
    """A query parameter has an invalid value."""

    def __init__(self, parameter: str, problem: str) -> None:
        """problem: the rest of the sentence: what the parameter must be."""
        super().__init__(f"`{parameter}` {problem}")
        self.parameter, self.problem = parameter, problem


class InvalidHeaderError(BulkUploadError):
    """A request header has an invalid value."""

    def __init__(self, header: str, problem: str) -> None:
        """problem: the rest of the sentence: what the header must be."""
        super().__init__(f"`{header}` {problem}")
        self.header = header


class InvalidBodyError(BulkUploadError):
    """The JSON body of a request is invalid. problems: path and description of each problem."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {what}" if path else what for path, what in problems))
        self.problems = tuple(problems)


class BodyTooLargeError(BulkUploadError):
    """The JSON body of a request exceeds the size limit."""


class ServerBusyError(BulkUploadError):
    """All threads for this kind of work were occupied for too long."""


class TooManyStreamsError(BulkUploadError):
    """This process, or one client address, already has its maximum number of open event streams."""
