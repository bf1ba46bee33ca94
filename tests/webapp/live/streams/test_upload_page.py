"""The stream of an upload's page, on a real uvicorn."""

import time

from jobs import uploads
from jobs.failed_rows import FailedRow, Reason
from jobs.uploads import Upload
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.streams import page_of, shows, toast_of
from webapp.live.streams.upload_page import REMOVE_CONNECTION


def test_it_begins_with_the_progress(served: Served) -> None:
    upload = served.records.processing()
    for _ in range(2):
        with served.stream(page_of(upload)) as listener:
            progress = listener.next()

            assert progress.data.startswith('<hx-partial hx-target="#upload" hx-swap="outerMorph"><section id="upload"')
            assert shows(upload) in progress.data
            assert progress.event == "message"


def test_it_follows_the_upload_and_the_corrections_of_its_failed_rows_and_whether_it_is_undone(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        listener.next()
        upload = served.records.advance(upload, 7, [FailedRow(3, ["x"], [Reason("a", "is no number")])])
        text = listener.until_text(shows(upload))

        assert "is no number" in text
        assert REMOVE_CONNECTION not in text

        upload = served.records.complete(upload)
        text = listener.until_text(shows(upload))

        assert text.count(toast_of(upload)) == 1
        assert REMOVE_CONNECTION not in text

        upload = corrected(served, upload)
        text = listener.until_text(shows(upload))

        assert toast_of(upload) not in text
        assert f'href="/uploads/{upload.id}/undo"' in text

        upload = served.records.tell(lambda c: uploads.mark_undone(c, upload.id, 41))
        text = listener.until_text(shows(upload))

        assert 'Undone by <a href="/uploads/41">#41</a>' in text
        assert f'href="/uploads/{upload.id}/undo"' not in text
        assert toast_of(upload) not in text

        upload = served.records.tell(lambda c: uploads.mark_undone(c, upload.id, None))
        text = listener.until_text(shows(upload))

        assert "Undone by <a" not in text
        assert f'href="/uploads/{upload.id}/undo"' in text
        assert REMOVE_CONNECTION not in text


def corrected(served: Served, upload: Upload) -> Upload:
    """The upload after its only failed row was corrected, a moment after its end."""
    time.sleep(0.01)
    return served.records.tell(lambda c: uploads.count_corrections(c, upload.id, corrected=1, failed_again=0))


@ONE_DATABASE
def test_the_connection_for_a_completed_upload_is_removed_at_once(served: Served) -> None:
    upload = served.records.completed()
    with served.stream(page_of(upload)) as listener:
        rest = listener.rest()

        assert listener.response.status_code == 200
        assert len(rest) == 1
        assert shows(upload) in rest[0].data
        assert rest[0].data.endswith(REMOVE_CONNECTION)
        assert toast_of(upload) not in rest[0].data


@ONE_DATABASE
def test_the_page_of_an_upload_that_can_be_started_again_stays_connected(served: Served) -> None:
    for end in (served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(page_of(upload)) as listener:
            listener.next()
            upload = end(upload)
            text = listener.until_text(shows(upload))

            assert text.count(toast_of(upload)) == 1
            assert "Try again" in text

            upload = served.records.retry(upload)
            text = listener.until_text(shows(upload))

            assert "toast" not in text
            assert "Try again" not in text

            served.records.complete(served.records.claim(upload))

            assert listener.rest()[-1].data.endswith(REMOVE_CONNECTION)


@ONE_DATABASE
def test_an_end_that_the_page_missed_is_announced_once(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        last_event_id = listener.next().id
    upload = served.records.fail(upload)
    with served.stream(page_of(upload), last_event_id) as listener:
        event = listener.next()

        assert event.data.count(toast_of(upload)) == 1

    with served.stream(page_of(upload), event.id) as listener:
        assert toast_of(upload) not in listener.next().data


@ONE_DATABASE
def test_it_has_no_other_upload(served: Served) -> None:
    upload = served.records.processing()
    with served.stream(page_of(upload)) as listener:
        listener.next()
        other = served.records.completed("other.csv")
        upload = served.records.advance(upload)
        text = listener.until_text(shows(upload))

        assert toast_of(other) not in text
        assert text.count('<section id="upload"') == 1
