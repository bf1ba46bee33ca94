"""The errors, one class for each that callers handle differently."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobs.excerpt import excerpt


class BulkUploadError(Exception):
    """Base class of all errors. The message is a sentence that may be shown to people."""

    #: The field of a form that the error is about.
    field: str | None = None


class SettingsError(BulkUploadError):
    """The environment or the command line has an invalid setting.

    problems: one sentence per setting.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class SchemaError(BulkUploadError):
    """A Table Schema is invalid. problems: the path of each invalid part, and what is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class RefusedError(BulkUploadError):
    """An upload is rejected. The message says what is wrong and what to do."""

    field = "file"


class TooLargeError(RefusedError):
    """The file is larger than `max_upload_bytes`."""


class DiskFullError(RefusedError):
    """There is no room on the server's disk."""

    def __init__(self, consequence: str) -> None:
        """consequence: the rest of the sentence."""
        super().__init__(
            f"The server's disk is full, so {consequence}. Ask the administrator of this server to free space, then try"
            " again."
        )


class StoreUnavailableError(BulkUploadError):
    """The store of uploaded files does not respond, or refuses."""

    def __init__(self, why: str = "") -> None:
        """why: for the log."""
        super().__init__("The store of uploaded files does not respond. Please try again shortly.")
        self.why = why


class BackupError(BulkUploadError):
    """Files cannot be moved, or there can be no backup, or it cannot be restored."""


class InvalidImportOptionError(BulkUploadError):
    """An import option has an invalid value. The message names it and the valid ones."""

    def __init__(self, sentence: str, option: str | None = None) -> None:
        super().__init__(sentence)
        self.field = option


class InvalidDatasetNameError(BulkUploadError):
    """A dataset cannot have this name. The message says which names are valid."""

    field = "dataset"


class InvalidPositionError(BulkUploadError):
    """This position does not belong to the dataset."""

    def __init__(self) -> None:
        super().__init__("This is not a position in this dataset. Start again from its first page.")


class UploadNotFoundError(BulkUploadError):
    """No upload has this id."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"There is no upload #{upload_id}.")
        self.upload_id = upload_id


class UploadDeletedError(BulkUploadError):
    """Somebody deleted the upload, so that nothing can be done with it."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"Upload #{upload_id} was deleted. Its rows are still in the dataset.")
        self.upload_id = upload_id


class NoReceiptError(BulkUploadError):
    """An upload has no receipt. why: the rest of the sentence."""

    def __init__(self, upload_id: int, why: str) -> None:
        super().__init__(f"Upload #{upload_id} has no receipt: {why}")
        self.upload_id = upload_id


class HeldError(BulkUploadError):
    """An upload is held until a person decides."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"Upload #{upload_id} waits for a person. Review it alone to import it.")


class UndoRefusedError(BulkUploadError):
    """An upload cannot be undone. The message says why."""


class RetryRefusedError(UndoRefusedError):
    """An upload cannot begin again or go on because of an undo. The message says why."""


class InvalidMappingError(BulkUploadError):
    """Columns cannot be mapped in this way. field: of the request. problem: what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


class DatasetNotFoundError(BulkUploadError):
    """No dataset has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no dataset called “{name}”.")
        self.name = name


class RowNotFoundError(BulkUploadError):
    """There is no such row, or no longer."""

    def __init__(self) -> None:
        super().__init__("There is no such row. It may have been replaced since the page was loaded.")


class DatasetExistsError(BulkUploadError):
    """The name is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(f"A dataset named “{name}” already exists. Choose another name.")
        self.name = name


class DatasetInUseError(BulkUploadError):
    """Uploads into the dataset wait, run or are held, or somebody reads it for long. The message says what to do."""


class DatasetChangedError(BulkUploadError):
    """A dataset is no longer as it was read: an import into it begins again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The dataset “{name}” was changed meanwhile.")


class DatasetTakenError(BulkUploadError):
    """Something else is imported into a dataset, or somebody reads its rows, so that all of them cannot be replaced."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Other uploads are imported into “{name}”, or its rows are read.")
        self.name = name


class DatasetDeletedError(BulkUploadError):
    """The dataset of an upload was deleted."""

    def __init__(self, upload_id: int, name: str) -> None:
        super().__init__(
            f"The dataset “{name}” of upload #{upload_id} was deleted, so it cannot be retried. Upload the file again."
        )


class MappingNotFoundError(BulkUploadError):
    """Nothing is remembered of columns of such a name."""

    def __init__(self, dataset: str, column: str) -> None:
        super().__init__(f"Nothing is remembered of columns of “{dataset}” called “{excerpt(column, 80)}”.")


class RuleNotFoundError(BulkUploadError):
    """The dataset has no such rule."""

    def __init__(self, dataset: str, rule: int) -> None:
        super().__init__(f"“{dataset}” has no rule {rule}.")


class FieldNotFoundError(BulkUploadError):
    """The dataset has no such column."""

    def __init__(self, dataset: str, field: str) -> None:
        super().__init__(f"The dataset “{dataset}” has no column “{excerpt(field, 80)}”.")


class InvalidChangeError(BulkUploadError):
    """A dataset cannot be changed in this way. problems: where in the request, and what is wrong there."""

    def __init__(self, problems: Sequence[tuple[str, str]], message: str | None = None) -> None:
        """message: of all problems, if they are no sentences of their own."""
        super().__init__(message or " ".join(sentence for _, sentence in problems))
        self.problems = tuple(problems)


class ValuesDoNotFitError(BulkUploadError):
    """Values that a column has do not fit what it should become. fit: as the API tells it."""

    def __init__(self, field: str, rows: int, fit: Mapping[str, Any]) -> None:
        """rows: those that do not fit."""
        which = "1 row does" if rows == 1 else f"{rows:,} rows do"
        values = ", ".join(f"“{each['value']}”" if each["value"] else "no value" for each in fit["values"][:5])
        super().__init__(f"The values of {which} not fit “{excerpt(field, 80)}”: {values}. Nothing was changed.")
        self.fit = fit


class CheckTookTooLongError(BulkUploadError):
    """The values of a column could not be checked, or stored, in the time that there is."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"There are too many values: checking them took longer than {seconds:g} s. Nothing was changed. Declare a"
            " new dataset and upload the files again."
        )


class InvalidNameError(BulkUploadError):
    """An account or a group cannot have this name. The message says which names are valid."""


class NameTakenError(BulkUploadError):
    """Another account, or group, has this name."""

    def __init__(self, what: str, name: str) -> None:
        """what: account, group."""
        super().__init__(f"There is already {'an' if what == 'account' else 'a'} {what} called “{name}”.")


class AccountNotFoundError(BulkUploadError):
    """No account has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no account called “{name}”.")


class GroupNotFoundError(BulkUploadError):
    """No group has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no group called “{name}”.")


class TokenNotFoundError(BulkUploadError):
    """The account has no API token with this number."""

    def __init__(self, token_id: int) -> None:
        super().__init__(f"There is no API token #{token_id}.")


class UnsafePasswordError(BulkUploadError):
    """The password is too easy to guess. The message says why."""


class LastAdministratorError(BulkUploadError):
    """The change would leave no administrator who can sign in."""

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” is the only administrator. Make another account an administrator first.")


class NoAdministratorError(BulkUploadError):
    """An account would be made that nobody could ever change."""

    def __init__(self) -> None:
        super().__init__("There is no administrator yet. Make the first account one: its role must be “admin”.")


class QuotaExceededError(BulkUploadError):
    """An account, or the server, has reached a quota. The message says what is left and when there is more.

    retry_after: seconds; None if it cannot be foreseen.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaTooSmallError(QuotaExceededError):
    """This file is larger than what is left of a quota. A smaller one may pass."""


class IncomingNotFoundError(BulkUploadError):
    """No file that arrives in several requests has this id, or it is somebody else's."""

    def __init__(self) -> None:
        super().__init__("There is no upload at this address. Create a new one.")


class IncomingGoneError(BulkUploadError):
    """A file that arrived in several requests was cancelled, or expired."""

    def __init__(self) -> None:
        super().__init__("This upload was cancelled, or nothing arrived for too long. Create a new one.")


class IncomingMovedError(BulkUploadError):
    """Another request has added to an incoming file, or has finished it."""

    def __init__(self) -> None:
        super().__init__(
            "Another request has changed this file meanwhile. Ask how far it is with HEAD, and go on there."
        )


class InvalidGrantError(BulkUploadError):
    """A token or a grant cannot be as it was asked for. The message says why."""


class NotAllowedError(BulkUploadError):
    """Whoever asks may not do this. The message says what it takes."""


class TransitionError(BulkUploadError):
    """The upload's state does not allow the change."""

    def __init__(self, upload_id: int, status: str, action: str) -> None:
        super().__init__(f"Upload #{upload_id} is {status}, so it cannot be {action}.")
        self.upload_id = upload_id
        self.status = status


class OptionsFixedError(BulkUploadError):
    """The import options can no longer be changed. The message says why, and what to do."""

    def __init__(self, upload_id: int, reason: str) -> None:
        super().__init__(
            f"The import options of upload #{upload_id} cannot be changed: {reason} Upload the file again instead."
        )
        self.upload_id = upload_id


class ReportError(BulkUploadError):
    """A report is rejected: its counts decrease or exceed the total, or it must not report on this upload."""

    def __init__(self, upload_id: int, reason: str) -> None:
        super().__init__(f"Upload #{upload_id} {reason}")
        self.upload_id = upload_id


class KeyReusedError(BulkUploadError):
    """An Idempotency-Key was used before with a different request body."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key “{key}” was used before with a different request body. Use a new key for each request."
        )
        self.key = key


class NoFileError(BulkUploadError):
    """The server does not store the upload's file."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"The file of upload #{upload_id} is not stored here: an external script imports it.")
        self.upload_id = upload_id


class RemovedError(BulkUploadError):
    """Retention removed what is asked for (retention.py)."""

    def __init__(self, what: str, upload_id: int, removed_at: datetime, consequence: str = "") -> None:
        """what: such as `The file`. consequence: the rest of the sentence."""
        were = "were" if what.endswith("s") else "was"
        super().__init__(
            f"{what} of upload #{upload_id} {were} removed on {removed_at:%Y-%m-%d} by retention{consequence}."
        )
        self.upload_id = upload_id


class OriginalNeededError(RemovedError):
    """An upload cannot go on without its file."""

    def __init__(self, upload_id: int, removed_at: datetime, consequence: str) -> None:
        super().__init__("The file", upload_id, removed_at, f", so {consequence}. Upload it again")


class ClaimLostError(BulkUploadError):
    """The upload was cancelled or given to another worker. Nothing was written."""


class UnreadableFileError(BulkUploadError):
    """The file cannot be imported. The message says why, and what is expected."""


class SeveralFilesError(UnreadableFileError):
    """An archive contains several files, and nobody said which one is to be imported. parts: see jobs/parts.py."""

    def __init__(self, sentence: str, parts: Sequence[Any]) -> None:
        super().__init__(sentence)
        self.parts = parts


class MisreadFileError(UnreadableFileError):
    """The file cannot be imported as it was read. Other import options, or another dataset, may help."""


class MissingColumnsError(MisreadFileError):
    """The file lacks columns that the dataset requires."""

    def __init__(self, missing: Sequence[str], found: Sequence[str]) -> None:
        def listed(names: Sequence[str]) -> str:
            return ", ".join(f"“{name}”" for name in names[:20]) + (" …" if len(names) > 20 else "")

        super().__init__(
            f"Required columns are missing: {listed(missing)}. The columns of the file are {listed(found)}."
        )
        self.missing = tuple(missing)


class InvalidFilterError(BulkUploadError):
    """A query parameter that chooses rows names no column, or its value does not fit the column."""

    def __init__(self, parameter: str, problem: str) -> None:
        """problem: the rest of the sentence: what the parameter must be."""
        super().__init__(f"`{parameter}` {problem}")
        self.parameter, self.problem = parameter, problem


class TookTooLongError(BulkUploadError):
    """A query reached its time limit. seconds: that limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"Finding these rows took longer than {seconds:g} s. Add a filter that leaves fewer rows, or sort by the"
            " key."
        )
        self.seconds = seconds


class NotExportableError(BulkUploadError):
    """The rows do not fit into a file of the format that was asked for."""


class DatabaseBusyError(BulkUploadError):
    """Another process holds the write lock for too long."""


class MixedAccessError(BulkUploadError):
    """A process opens a SQLite file through two drivers (see database.py)."""


class RowNotOpenError(BulkUploadError):
    """A row of an upload did not fail, is not stored, or is no longer open."""

    def __init__(self, upload_id: int, row_number: int) -> None:
        super().__init__(f"Row {row_number:,} of upload #{upload_id} is not an open failed row.")


class RowChangedError(BulkUploadError):
    """Somebody edited a failed row since it was read."""

    def __init__(self, row_number: int, version: int, by: str | None) -> None:
        who = f" by {by}" if by else ""
        super().__init__(
            f"Row {row_number:,} was edited{who} since you read it; it has the version {version} now. Look at it again."
        )


class RowTakenError(BulkUploadError):
    """A failed row is being imported."""

    def __init__(self, row_number: int, upload_id: int) -> None:
        super().__init__(f"Row {row_number:,} is being imported by upload #{upload_id}, so it cannot be edited.")


class NothingToUndoError(BulkUploadError):
    """No edit of failed rows can be undone."""

    def __init__(self, upload_id: int) -> None:
        super().__init__(f"No edit of the failed rows of upload #{upload_id} can be undone.")


class NothingToImportError(BulkUploadError):
    """No edited row is right, or another upload is about to import those that are."""

    def __init__(self, upload_id: int, *, taken_by: int | None = None) -> None:
        rows = f"the edited rows of upload #{upload_id}"
        super().__init__(f"Upload #{taken_by} imports {rows}." if taken_by else f"None of {rows} is right yet.")


class NotRepairableError(BulkUploadError):
    """The failed rows of an upload cannot be repaired here. The message says why."""


class StaleRepairError(BulkUploadError):
    """A suggestion does not exist, or no longer."""

    def __init__(self, repair: str) -> None:
        super().__init__(
            f"There is no suggestion “{excerpt(repair, 40)}”, or the rows were changed since. Read them again."
        )


class UnknownColumnError(BulkUploadError):
    """A failed row has no such column."""

    def __init__(self, column: str, path: str) -> None:
        super().__init__(f"The file has no column “{excerpt(column, 80)}”.")
        self.field = path


class NoAnswerError(BulkUploadError):
    """No worker answered in time."""

    def __init__(self) -> None:
        super().__init__("No worker answered in time, so nothing was changed. Please try again shortly.")
