"""The stream of the history page, on a real uvicorn."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs import uploads
from jobs.events import timestamp
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served, Stream
from tests.support.streams import (
    HISTORY,
    count_toasts,
    shows,
    toast_of,
)
from webapp.live.renderer import Renderer


def test_it_begins_with_the_table(served: Served) -> None:
    first, second = served.records.pending("june.csv"), served.records.completed("july.csv")
    for _ in range(2):
        with served.stream(HISTORY) as listener:
            table = listener.next()

            assert table.data.startswith('<hx-partial hx-target="#uploads" hx-swap="outerMorph"><section id="uploads"')
            assert re.findall(r'<tr id="upload-(\d+)"', table.data) == [str(second.id), str(first.id)]
            assert table.event == "message"


@ONE_DATABASE
def test_the_table_has_the_filter_and_the_position_of_the_page(served: Served) -> None:
    records = served.records
    shown = [records.fail(records.processing(f"may {n}.csv")) for n in range(3)]
    records.pending("may.csv")
    records.fail(records.processing("june.csv"))
    with served.stream(f"{HISTORY}?q=may&status=failed&cursor={shown[1].id}") as listener:
        table = listener.next().data

        assert re.findall(r'<tr id="upload-(\d+)"', table) == [str(shown[1].id), str(shown[0].id)]
        assert f'href="/uploads?q=may&amp;status=failed&amp;cursor={shown[2].id}"' in table


def test_rows_follow_as_uploads_change_and_appear(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(HISTORY) as listener:
        listener.next()
        upload = records.advance(upload)
        row = listener.until_text(shows(upload))
        new = records.pending("new.csv")
        appeared = listener.until_text(shows(new))

        for text, each in ((row, upload), (appeared, new)):
            insertion = f'<hx-upsert hx-target="#upload-rows" key="data-key" sort="desc"><tr id="upload-{each.id}"'
            assert insertion in text
            assert f'data-key="{each.id}"' in text
            assert "toast" not in text


@ONE_DATABASE
def test_rows_of_a_page_with_a_filter_change_only_in_place(served: Served) -> None:
    upload = served.records.processing()
    for query in ("q=june", "status=processing", "cursor=1"):
        with served.stream(f"{HISTORY}?{query}") as listener:
            listener.next()
            upload = served.records.advance(upload)
            new = served.records.pending()
            text = listener.until_text(f"#upload-{new.id}")
            update = f'<hx-partial hx-target="#upload-{upload.id}" hx-swap="outerMorph"><tr id="upload-{upload.id}"'

            assert "hx-upsert" not in text
            assert update in text


def matches(listener: Stream) -> dict[str, bool]:
    """Which uploads match, as the next message to a page with a filter says."""
    found: dict[str, bool] = listener.until(lambda event: event.event == "matches")[-1].json()
    return found


@ONE_DATABASE
def test_a_page_with_a_filter_learns_which_uploads_match(served: Served) -> None:
    records = served.records
    upload = records.processing("june.csv")
    with served.stream(f"{HISTORY}?status=processing&q=june.c") as listener:
        listener.next()
        for change, expected in (
            (records.advance, True),
            (records.fail, False),
            (records.retry, False),
            (records.claim, True),
        ):
            upload = change(upload)

            assert matches(listener) == {str(upload.id): expected}

        other = records.pending("may.csv")

        assert matches(listener) == {str(other.id): False}


def is_told(upload: Upload) -> Callable[[Any], bool]:
    return lambda event: shows(upload) in event.data


@ONE_DATABASE
def test_a_page_without_a_filter_does_not(served: Served) -> None:
    upload = served.records.processing()
    for query in ("", "?cursor=9"):
        with served.stream(f"{HISTORY}{query}") as listener:
            listener.next()
            upload = served.records.advance(upload)
            messages = listener.until(is_told(upload))

            assert {event.event for event in messages} == {"message"}


@ONE_DATABASE
def test_an_upload_that_ends_is_announced_once(served: Served) -> None:
    for end in (served.records.complete, served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(HISTORY) as listener:
            listener.next()

            assert count_toasts(served, listener, end(upload)) == 1


@ONE_DATABASE
def test_each_end_of_an_upload_is_announced(served: Served) -> None:
    records = served.records
    upload = records.processing()
    with served.stream(HISTORY) as listener:
        listener.next()
        first = records.fail(upload)
        assert count_toasts(served, listener, first) == 1

        second = records.complete(records.claim(records.retry(first)))
        assert count_toasts(served, listener, second) == 1


def test_what_ended_before_is_not_announced(served: Served) -> None:
    upload = served.records.completed()
    address = re.search(r'hx-sse:connect="([^"]+)"', served.client.get("/uploads").text)
    assert address is not None

    for path in (HISTORY, address[1].replace("&amp;", "&")):
        with served.stream(path) as listener:
            assert toast_of(upload) not in listener.next().data
            assert count_toasts(served, listener, upload) == 0


def test_what_ended_between_page_and_stream_is_announced_once(served: Served) -> None:
    upload = served.records.processing()
    address = re.search(r'hx-sse:connect="([^"]+)"', served.client.get("/uploads").text)
    assert address is not None

    upload = served.records.complete(upload)
    with served.stream(address[1].replace("&amp;", "&")) as listener:
        assert toast_of(upload) in listener.next().data
        assert count_toasts(served, listener, upload) == 0


def test_what_ended_while_the_page_was_disconnected_is_announced_once(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(HISTORY) as listener:
        last_event_id = listener.next().id
    upload = served.records.complete(upload)
    with served.stream(f"{HISTORY}?since=2020-01-01T00:00:00.000000Z", last_event_id) as listener:
        snapshot = listener.next()

        assert snapshot.data.count(toast_of(upload)) == 1
        assert count_toasts(served, listener, upload) == 0

    with served.stream(HISTORY, snapshot.id) as listener:
        assert toast_of(upload) not in listener.next().data


@ONE_DATABASE
def test_an_end_that_was_committed_late_is_announced_though_the_snapshot_had_newer_states(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    monkeypatch.setattr(uploads, "newest_change", lambda _: datetime.now(UTC) + timedelta(minutes=1))
    with served.stream(HISTORY) as listener:
        assert shows(upload) in listener.next().data
        upload = served.records.complete(upload)
        assert count_toasts(served, listener, upload) == 1


@ONE_DATABASE
def test_what_ends_between_the_snapshots_queries_is_announced_once_and_shown(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = served.records.processing()
    original, ended = uploads.ended_since, []

    def read(*words: Any, **more: Any) -> Any:
        ended.append(served.records.complete(upload))
        return original(*words, **more)

    monkeypatch.setattr(uploads, "ended_since", read)
    with served.stream(HISTORY, timestamp(upload.updated_at)) as listener:
        assert listener.next().data.count(toast_of(upload)) == 1
        assert toast_of(upload) not in listener.until_text(shows(ended[0]))
        assert count_toasts(served, listener, ended[0]) == 0


@ONE_DATABASE
def test_of_many_that_ended_while_the_page_was_disconnected_a_few_are_announced(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.stream(HISTORY) as listener:
        served.records.pending()
        last_event_id = listener.until_text('id="upload-1"') and timestamp(served.records.all()[0].updated_at)
    ended = [served.records.completed(f"{n}.csv") for n in range(8)]
    with served.stream(HISTORY, last_event_id) as listener:
        text = listener.next().data
        for upload in ended:
            served.records.publisher.publish(upload)  # as the hub does that reads again what changed lately
        text += listener.until_text(shows(served.records.pending()))

        assert [toast_of(upload) in text for upload in ended] == [False] * 3 + [True] * 5


@ONE_DATABASE
def test_a_row_that_cannot_be_rendered_does_not_stop_the_others(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = Renderer.row

    def row(self: Renderer, upload: Upload, *, insert: bool) -> str:
        if upload.filename == "cursed.csv":
            raise ZeroDivisionError
        return original(self, upload, insert=insert)

    monkeypatch.setattr(Renderer, "row", row)
    with served.stream(HISTORY) as listener:
        listener.next()
        cursed = served.records.pending("cursed.csv")
        fine = served.records.pending("fine.csv")

        assert shows(fine) in listener.until_text("fine.csv")
        assert f"Cannot render the row of upload {cursed.id};" in caplog.text
