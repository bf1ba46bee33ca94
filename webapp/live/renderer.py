"""Renders records and events as messages of the streams. What many clients receive is rendered once."""

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from sse_starlette import ServerSentEvent

from jobs.events import Event
from jobs.uploads import Page, Upload
from webapp.history import HistoryView
from webapp.history_filters import HistoryFilters
from webapp.live.delivery.queue_monitor import QueueMonitor
from webapp.review.view import ReviewView
from webapp.templating import Templates
from webapp.upload_page import UploadRecords
from webapp.views.dataset import DatasetState, Shown
from webapp.views.failed_rows import FailedRowsView
from webapp.views.run import RunView
from webapp.views.upload import UploadView

log = logging.getLogger(__name__)

#: Rendered pieces that are kept: rows, toasts and JSON messages of a few hundred uploads that change right now.
MAX_PIECES = 1_000
#: Milliseconds after which a client of a JSON stream reconnects.
JSON_RETRY_MS = 2_000

#: The failed rows of a page that nobody has paged or filtered.
FIRST_FAILED_ROWS = "#failed-rows[data-page=first]"
#: Seconds for which the first failed rows are sent again after they no longer change.
FAILED_ROWS_REPEATED = 3.0

T = TypeVar("T")


@dataclass(frozen=True)
class UploadPage:
    """What an upload's page shows: the upload, the course of its import, a page of its failed rows, and its review."""

    upload: Upload
    view: UploadView
    run: RunView
    failed: FailedRowsView
    review: ReviewView | None = None

    @property
    def context(self) -> dict[str, Any]:
        """The variables of its templates."""
        return {"upload": self.view, "run": self.run, "failed": self.failed, "review": self.review}

    @property
    def is_large(self) -> bool:
        """Whether it takes long to render."""
        return self.failed.is_large or self.review is not None


class Renderer:
    """Fills the partials that pages and streams share."""

    def __init__(self, templates: Templates, queue_monitor: QueueMonitor) -> None:
        self._templates = templates
        self._queue_monitor = queue_monitor
        self._pieces: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # least recently used first
        self._full_since: dict[int, float] = {}  # by upload id: when its page of failed rows was first seen full

    def view(self, upload: Upload) -> UploadView:
        """The upload with everything that lists say about it."""
        return UploadView(upload, self._queue_monitor.status)

    def page(self, found: UploadRecords) -> "UploadPage":
        """Everything that an upload's page shows."""
        page, query = found.failed, found.failed.query
        failed = FailedRowsView(
            found.upload,
            page.rows,
            sources=page.sources,
            chosen=query.chosen,
            after=query.after,
            before=query.before,
            first_column=query.first_column,
            matching=page.matching,
            stored=page.stored,
        )
        view = UploadView(
            found.upload,
            self._queue_monitor.status,
            found.corrections,
            open_undo=found.open_undo,
            is_overtaken=found.is_overtaken,
        )
        review = found.review and ReviewView(
            found.upload, found.review, first_column=query.first_column, made=found.parts
        )
        return UploadPage(found.upload, view, RunView(found.upload, found.records), failed, review or None)

    def table_context(self, view: HistoryView, page: Page) -> dict[str, Any]:
        """The variables of `_uploads_table.html`."""
        return {
            "uploads": [self.view(upload) for upload in page.items],
            "filters": HistoryFilters(view),
            "page": {
                "newer_url": view.at(page.newer).url("/uploads") if page.newer else None,
                "older_url": view.at(page.older).url("/uploads") if page.older else None,
            },
        }

    def table(self, view: HistoryView, page: Page) -> str:
        """The table of the history page, as a swap."""
        table = self._templates.render("_uploads_table.html", self.table_context(view, page))
        return f'<hx-partial hx-target="#uploads" hx-swap="outerMorph">{table}</hx-partial>'

    def progress(self, page: "UploadPage") -> str:
        """The parts of an upload's page that change, as swaps. The failed rows are for pages that show the first ones:
        a reader who has paged or filtered them is not thrown back."""
        parts = {
            "#upload": "_upload_progress.html",
            FIRST_FAILED_ROWS: "_failed_rows.html",
            "#upload-aside": "_upload_aside.html",
        }
        if self._failed_rows_are_known(page):
            del parts[FIRST_FAILED_ROWS]
        return "".join(
            f'<hx-partial hx-target="{target}" hx-swap="outerMorph">'
            f"{self._templates.render(template, page.context)}</hx-partial>"
            for target, template in parts.items()
        )

    def _failed_rows_are_known(self, page: "UploadPage") -> bool:
        """Whether every open page has had time to receive the first failed rows, which no longer change."""
        upload_id = page.upload.id
        if not (page.upload.is_active and page.failed.is_full):
            self._full_since.pop(upload_id, None)
            return False
        now = time.monotonic()
        since = self._full_since.setdefault(upload_id, now)
        if len(self._full_since) > MAX_PIECES:
            del self._full_since[next(iter(self._full_since))]
        return now - since > FAILED_ROWS_REPEATED

    def rows(self, records: Iterable[Upload], *, insert: bool, toasts: Container[int]) -> str:
        """Rows of the history page as swaps, then toasts. A row that cannot be rendered is logged and left out.

        insert: add rows that the page does not have. toasts: ids of uploads that ended; one that was started again
        since gets no toast.
        """
        rows, announcements = [], []
        for upload in records:
            try:
                rows.append(self.row(upload, insert=insert))
                if upload.id in toasts and not upload.is_active and not upload.changed_after_end:
                    announcements.append(self.toast(upload))
            except Exception:
                log.exception("Cannot render the row of upload %d; open pages do not show its newest state.", upload.id)
        return "".join(rows + announcements)

    def row(self, upload: Upload, *, insert: bool) -> str:
        """A row of the history page, as a swap. insert: add it, sorted by id, if the page does not have it."""
        view = self.view(upload)

        def render() -> str:
            row = self._templates.render("_upload_row.html", {"upload": view})
            if insert:
                return f'<hx-upsert hx-target="#upload-rows" key="data-key" sort="desc">{row}</hx-upsert>'
            return f'<hx-partial hx-target="#upload-{upload.id}" hx-swap="outerMorph">{row}</hx-partial>'

        return self._once(("row", upload.id, upload.seq, view.waiting, insert), render)

    def dataset(self, state: DatasetState, shown: Shown) -> str:
        """What the page of a dataset says above its rows, as a swap. shown: the state whose rows the page has."""
        return self._once(
            ("dataset", state.key, shown),
            lambda: self._render_dataset(state, shown),
        )

    def _render_dataset(self, state: DatasetState, shown: Shown) -> str:
        html = self._templates.render("_dataset_state.html", self.dataset_context(state, shown))
        return f'<hx-partial hx-target="#dataset-state" hx-swap="outerMorph">{html}</hx-partial>'

    def dataset_context(self, state: DatasetState, shown: Shown) -> dict[str, Any]:
        """The variables of `_dataset_state.html`."""
        return {
            "entry": state.entry,
            "running": [self.view(upload) for upload in state.running],
            "news": shown.news(state.entry),
        }

    def toast(self, upload: Upload) -> str:
        """The announcement that an upload ended, as a swap."""

        def render() -> str:
            toast = self._templates.render("_toast.html", {"upload": self.view(upload)})
            return f'<hx-partial hx-target="#toasts" hx-swap="beforeend">{toast}</hx-partial>'

        return self._once(("toast", upload.id, upload.seq), render)

    def matches(self, view: HistoryView, events: Iterable[Event]) -> bytes:
        """Which of these uploads match a filtered page; the page counts those that it does not show. b"" if the page
        has no filter."""
        matching = {event.file_id: view.includes(event) for event in events} if view.is_filtered else {}
        return ServerSentEvent(json.dumps(matching), event="matches", sep="\n").encode() if matching else b""

    def json_message(self, event: Event) -> bytes:
        """An event as a message of the JSON streams."""

        def render() -> bytes:
            return ServerSentEvent(
                event.json(), event=event.event, id=event.timestamp, retry=JSON_RETRY_MS, sep="\n"
            ).encode()

        return self._once(("json", event.file_id, event.seq), render)

    def json_messages(self, events: Iterable[Event]) -> bytes:
        """Several of them, one after the other."""
        return b"".join(map(self.json_message, events))

    def _once(self, key: tuple[Any, ...], render: Callable[[], T]) -> T:
        if key in self._pieces:
            self._pieces.move_to_end(key)
        else:
            self._pieces[key] = render()
            while len(self._pieces) > MAX_PIECES:
                self._pieces.popitem(last=False)
        found: T = self._pieces[key]
        return found


def message(html: str, moment: str) -> bytes:
    """One or more swaps as one message. moment: its id, with which the client reconnects; "" for none."""
    return ServerSentEvent(html, id=moment or None, sep="\n").encode()
