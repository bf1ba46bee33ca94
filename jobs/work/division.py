"""Division: a worker makes uploads of the parts of a file, or asks which of them are wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from jobs import parts, review, uploads, warnings
from jobs.changes import Changes
from jobs.errors import RefusedError, SeveralFilesError, UnreadableFileError
from jobs.files import StoredFile
from jobs.parts import Part, Target
from jobs.people.policy import Policy
from jobs.store.store import Store
from jobs.uploads import Claim, HoldCode, Review, Task, Upload


@dataclass(frozen=True)
class Division:
    """Of one upload, under a claim. store: of the files. quick_bytes: of the largest file on the quick lane."""

    changes: Changes
    claim: Claim
    upload: Upload
    store: Store
    quick_bytes: int

    def divide(self, found: Sequence[Part]) -> bool:
        """Make uploads of the parts that are wanted, if any are and the file has several.

        Raises UnreadableFileError.
        """
        upload = self.upload
        wanted, named = upload.parts_wanted, (upload.options.sheet, upload.options.member)
        if wanted is None or not found or any(each is not None for each in named):
            return False
        chosen = parts.chosen(found, wanted)
        if not chosen:
            raise UnreadableFileError("The file has no part that can be imported.")
        stored = parts.stored(self.store, upload, len(chosen))
        self.changes.make_several(self._making(found, chosen, stored))
        return True

    def _making(
        self, found: Sequence[Part], chosen: Sequence[Part], stored: Sequence[StoredFile]
    ) -> Callable[[sa.Connection], tuple[None, list[Upload]]]:
        upload, is_all = self.upload, self.upload.parts_wanted == parts.ALL
        hidden = {part.name: part.rows or 0 for part in found if part not in chosen and part.kind == "sheet"}
        about = [warnings.sheets_ignored(hidden, chosen[-1].name)] if hidden and is_all else []
        notes = [f"“{part.name}” is not imported. {part.problem}" for part in found if is_all and part.problem]

        def make(connection: sa.Connection) -> tuple[None, list[Upload]]:
            policy = Policy.of_sender(connection, upload)
            if not policy.may_upload_into(upload.dataset):
                into = f"“{upload.dataset}”" if upload.dataset else "a new dataset"
                raise UnreadableFileError(f"You may not upload into {into}.")
            targets = [Target(each, upload.dataset, upload.dataset_wanted or each.dataset_name) for each in chosen]
            try:
                parts.require_one_replacement(upload, targets)
            except RefusedError as error:
                raise UnreadableFileError(str(error)) from error
            made = parts.create(
                connection,
                upload,
                targets,
                stored,
                policy=policy,
                quick_bytes=self.quick_bytes,
                holds_duplicates=not upload.is_approved,
            )
            known = parts.as_made(targets, made)
            return None, [uploads.divide(connection, self.claim, known, notes=notes, warnings=about), *made]

        return make

    def hold(self, error: SeveralFilesError) -> bool:
        """Hold the upload of an archive until somebody chooses files in it, if its sender may be asked."""
        upload = self.upload
        if upload.review is Review.NEVER and upload.task is Task.IMPORT:
            return False
        duplicate = [each for each in upload.hold if each["code"] == HoldCode.DUPLICATE]
        question = f"The archive contains {len(error.parts):,} files. Choose the ones to import."
        hold = [*duplicate, uploads.hold_of(HoldCode.SHEET, question)]

        def held(connection: sa.Connection) -> Upload:
            found = uploads.hold_for_review(
                connection, self.claim, hold, header=[], mapping=None, notes=[], warnings=[]
            )
            review.record(connection, upload.id, review.of_parts(error.parts), None)
            return found

        self.changes.make(held)
        return True
