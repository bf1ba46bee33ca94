"""What can go wrong in the web application, beyond the errors of `jobs`."""

from collections.abc import Sequence

from jobs.errors import BulkUploadError


class CannotStartError(BulkUploadError):
    """This process cannot begin its work: what is in the way, and what to do about it."""


class InvalidQueryError(BulkUploadError):
    """A query parameter of the address has a value that is not possible."""

    def __init__(self, parameter: str, problem: str) -> None:
        """problem: the rest of the sentence, which says what the parameter must be."""
        super().__init__(f"`{parameter}` {problem}")
        self.parameter = parameter


class InvalidHeaderError(BulkUploadError):
    """A header of the request has a value that is not possible."""

    def __init__(self, header: str, problem: str) -> None:
        """problem: the rest of the sentence, which says what the header must be."""
        super().__init__(f"`{header}` {problem}")
        self.header = header


class InvalidBodyError(BulkUploadError):
    """The JSON of a request is not what it should be. problems: the path of each wrong thing, and what is wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {what}" if path else what for path, what in problems))
        self.problems = tuple(problems)


class BodyTooLargeError(BulkUploadError):
    """The JSON of a request is larger than the server reads."""


class TooManyStreamsError(BulkUploadError):
    """This process holds as many event streams open as it may."""
