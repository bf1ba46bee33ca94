"""Errors of the web application, in addition to those of `jobs`."""

from collections.abc import Sequence
from math import ceil
from typing import Literal

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


class TusError(BulkUploadError):
    """A request does not follow the protocol tus. The message says what is wrong."""


class TusVersionError(BulkUploadError):
    """A request does not say which version of tus it follows, or another one than ours."""


class NotAPartError(BulkUploadError):
    """The body of a request is not declared as a part of a file."""


class WrongOffsetError(BulkUploadError):
    """A part does not begin where the file ends."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            f"The next byte that is missing has the offset {offset}. Ask for it with HEAD, and go on there."
        )


class ConnectionBrokenError(BulkUploadError):
    """The connection of a request broke before its whole body had arrived."""

    def __init__(self) -> None:
        super().__init__("The connection broke before the whole part was sent.")


class FileLockedError(BulkUploadError):
    """Another request sends a part of the same file."""

    def __init__(self) -> None:
        super().__init__("Another request sends a part of this file. Try again when it has ended.")


class ChecksumError(BulkUploadError):
    """A part does not have the checksum that came with it."""

    def __init__(self) -> None:
        super().__init__("The part arrived changed: it does not have the checksum in Upload-Checksum. Send it again.")


class ServerBusyError(BulkUploadError):
    """All threads for this kind of work were occupied for too long."""


class InvalidCredentialsError(BulkUploadError):
    """An API token is unknown, revoked or expired, or its owner is disabled."""

    def __init__(self) -> None:
        super().__init__("This API token is not valid: it is unknown, revoked or expired.")


class RejectedSignInError(BulkUploadError):
    """Somebody may not sign in with OpenID Connect. The message says why. kind: what the page to sign in tells."""

    def __init__(self, reason: str, kind: Literal["rejected", "late", "disabled"] = "rejected") -> None:
        super().__init__(reason)
        self.kind = kind


class IssuerUnavailableError(BulkUploadError):
    """The issuer of OpenID Connect does not answer, or not as the standard says."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The issuer of OpenID Connect cannot be used: {reason}.")


class TooManyAttemptsError(BulkUploadError):
    """Somebody tried wrong passwords or tokens too often. retry_after: seconds."""

    def __init__(self, reason: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"{reason} Try again in {ceil(retry_after)} s.")


class TooManyStreamsError(BulkUploadError):
    """This process, or one client address, already has its maximum number of open event streams."""
