"""What can go wrong between a request and the jobs, and what can stop a start beyond the settings."""

from collections.abc import Sequence

from jobs.errors import BulkUploadError


class CannotStartError(BulkUploadError):
    """This process cannot begin its work: what is in the way, and what to do about it."""


class BodyError(BulkUploadError):
    """The JSON of a request is not what it should be. problems: the path of each wrong thing, and what is wrong."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {what}" if path else what for path, what in problems))
        self.problems = tuple(problems)
