"""An upload → the JSON object of the API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jobs import deleted_names
from jobs.events import Event, timestamp
from jobs.forecast import Place
from jobs.repair import rules
from jobs.uploads import Upload


def as_json(upload: Upload, children: Sequence[int] = (), place: Place | None = None) -> dict[str, Any]:
    """The upload as the API shows it. Absent values are null; links that do not apply are left out.

    children: ids of the uploads that correct its failed rows. place: of an upload that waits for a worker.
    """

    def moment(name: str) -> str | None:
        value = getattr(upload, name)
        return timestamp(value) if value else None

    links = {
        "self": f"/api/v1/uploads/{upload.id}",
        "events": f"/api/v1/uploads/{upload.id}/events",
        "html": f"/uploads/{upload.id}",
    }
    if upload.keeps_file:
        links["original"] = f"/uploads/{upload.id}/original"
    if upload.rows_failed and not (upload.is_external or upload.is_deleted) and upload.failed_rows_removed_at is None:
        links["failed_rows"] = f"/uploads/{upload.id}/failed-rows.csv"
    if upload.dataset and deleted_names.former(upload.dataset) is None:
        links["dataset"] = f"/api/v1/datasets/{upload.dataset}"
    if upload.parent is not None:
        links["parent"] = f"/api/v1/uploads/{upload.parent}"
    return {
        "id": upload.id,
        **vars(Event.from_upload(upload)),
        "processor": upload.processor,
        "mode": upload.mode,
        "rows_added": upload.rows_added,
        "rows_removed": upload.rows_removed,
        "lane": upload.lane,
        "position": place and place.position,
        "expected_start": _from_now_on(place.expected_start) if place and place.expected_start else None,
        "size": upload.size or None,
        "sha256": upload.sha256 or None,
        **{name: moment(name) for name in ("started_at", "finished_at", "silent_since", "deleted_at")},
        "duplicate_of": upload.duplicate_of,
        "parent": upload.parent,
        "children": list(children),
        "part": upload.part,
        "part_of": upload.part_of,
        "parts": upload.parts,
        "notes": upload.notes_shown,
        "rules": rules.cells(upload.rules),
        "original_removed_at": moment("original_removed_at"),
        "failed_rows_removed_at": moment("failed_rows_removed_at"),
        "expected": upload.expected,
        "balance": upload.balance,
        "undoes": upload.undoes,
        "links": links,
    }


def _from_now_on(expected: datetime) -> str:
    """A moment that may have passed since it was foretold: then it is now."""
    return timestamp(max(expected, datetime.now(UTC)))
