"""What can go wrong, one class for each thing that a caller handles differently."""

from collections.abc import Sequence


class BulkUploadError(Exception):
    """Base of all errors of this product. Its text is a sentence that may be shown to a person."""


class SettingsError(BulkUploadError):
    """The environment or the command line says something that cannot be.

    problems: one sentence a setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class SchemaError(BulkUploadError):
    """A Table Schema is wrong. problems: the path of each wrong thing, and what is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class RefusedError(BulkUploadError):
    """An upload is not accepted: what is wrong with it and what to do."""


class TooLargeError(RefusedError):
    """The file is larger than `max_upload_bytes`."""


class InvalidImportOptionError(BulkUploadError):
    """The sender says something about how to import a file that is not possible: what it is, and what is possible."""


class InvalidDatasetNameError(BulkUploadError):
    """No dataset can have this name: why, and which names are possible."""


class InvalidPositionError(BulkUploadError):
    """The dataset has no such position, so no row comes before or after it."""

    def __init__(self) -> None:
        super().__init__("This is not a position in this dataset. Start again from its first page.")


class UploadNotFoundError(BulkUploadError):
    """No upload has this id."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"There is no upload #{upload_id}.")
        self.upload_id = upload_id


class DatasetNotFoundError(BulkUploadError):
    """No dataset has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no dataset called “{name}”.")
        self.name = name


class DatasetExistsError(BulkUploadError):
    """The name is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(f"A dataset named “{name}” already exists. Choose another name.")
        self.name = name


class TransitionError(BulkUploadError):
    """The upload's state does not allow what was asked."""

    def __init__(self, upload_id: int, status: str, action: str) -> None:
        super().__init__(f"Upload #{upload_id} is {status}, so it cannot be {action}.")
        self.upload_id = upload_id
        self.status = status


class ReportError(BulkUploadError):
    """What a script says of an upload cannot be: it goes backwards, exceeds the total, is none of its business."""

    def __init__(self, upload_id: int, reason: str) -> None:
        super().__init__(f"Upload #{upload_id} {reason}")
        self.upload_id = upload_id


class KeyReusedError(BulkUploadError):
    """An Idempotency-Key came with another body than before."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key “{key}” was used before with a different request body. Use a new key for each request."
        )
        self.key = key


class NoFileError(BulkUploadError):
    """The upload's file is not kept here."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"The file of upload #{upload_id} is not stored here: an external script imports it.")
        self.upload_id = upload_id


class ClaimLostError(BulkUploadError):
    """The upload is no longer this claimant's: cancelled, or given to another worker. Nothing was written."""


class UnreadableFileError(BulkUploadError):
    """The file cannot be imported. The text says what it seems to be, and what is expected."""


class MissingColumnsError(UnreadableFileError):
    """The file lacks columns that every row must have."""

    def __init__(self, missing: Sequence[str], found: Sequence[str]) -> None:
        def listed(names: Sequence[str]) -> str:
            return ", ".join(f"“{name}”" for name in names[:20]) + (" …" if len(names) > 20 else "")

        super().__init__(
            f"The file lacks {listed(missing)}, without which no row can be imported. Its columns are {listed(found)}."
        )
        self.missing = tuple(missing)


class DatabaseBusyError(BulkUploadError):
    """Another process has been writing for so long that this one gave up waiting."""


class MixedAccessError(BulkUploadError):
    """This process opened a SQLite file through one driver and now asks for it through another (see database.py)."""
