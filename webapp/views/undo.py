"""What a page says before an upload is undone."""

from collections.abc import Sequence
from dataclasses import dataclass

from jobs.siblings import Sibling
from jobs.undo.orders import Preview
from jobs.uploads import Upload

#: Later uploads because of which rows stay that the page lists: those with the most rows.
KEPT_SHOWN = 20


@dataclass(frozen=True)
class Kept:
    """Rows that stay because of an upload."""

    upload: Sibling
    rows: int


class UndoView:
    """An undo that somebody thinks about. preview: None while a worker counts. problem: why it is not possible."""

    def __init__(
        self,
        upload: Upload,
        preview: Preview | None,
        known: Sequence[Sibling],
        *,
        repairs: bool,
        problem: str | None,
        refusal: str | None,
    ) -> None:
        """known: the uploads that the page names. repairs: whether those are undone too that corrected failed rows.
        refusal: why whoever reads the page may not undo it."""
        self.upload, self.preview = upload, preview
        self.takes_repairs, self.problem, self.refusal = repairs, problem, refusal
        by_id = {each.id: each for each in known}
        kept = sorted(preview.keep.items(), key=lambda each: (-each[1], each[0])) if preview else []
        self.keep = [Kept(by_id[each], rows) for each, rows in kept if each in by_id][:KEPT_SHOWN]
        self.kept_rows = sum(rows for _, rows in kept)
        self.kept_more = len(kept) - len(self.keep)
        self.repairs = [by_id[each] for each in preview.repairs if each in by_id] if preview else []
        self.undoes = [by_id[each] for each in upload.undoes if each in by_id]

    @property
    def title(self) -> str:
        return f"Undo the undo of #{self.upload.parent}?" if self.upload.is_undo else f"Undo {self.upload.filename}?"

    @property
    def is_counting(self) -> bool:
        return self.preview is None and self.problem is None

    @property
    def button(self) -> str:
        rows = self.preview.changes if self.preview else 0
        if self.upload.is_undo:
            return "Put back 1 row" if rows == 1 else f"Put back {rows:,} rows" if rows else "Undo the undo"
        return "Undo 1 row" if rows == 1 else f"Undo {rows:,} rows" if rows else "Mark as undone"
