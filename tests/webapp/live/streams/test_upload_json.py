"""The JSON stream of one upload, on a real uvicorn."""

from jobs.events import Event, timestamp
from tests.support.databases import ONE_DATABASE
from tests.support.serving import Served
from tests.support.streams import json_of, state, states


def test_it_begins_with_the_state_of_the_upload(served: Served) -> None:
    upload = served.records.advance(served.records.processing(), 7)
    for _ in range(2):
        with served.stream(json_of(upload)) as listener:
            assert listener.next().json() == vars(Event.from_upload(upload))


@ONE_DATABASE
def test_it_ends_with_the_upload_and_a_client_need_not_reconnect(served: Served) -> None:
    for end in (served.records.complete, served.records.fail, served.records.cancel):
        upload = served.records.processing()
        with served.stream(json_of(upload)) as listener:
            listener.next()
            upload = end(upload)
            rest = listener.rest()

            assert states(rest) == [state(upload)]

        with served.stream(json_of(upload), rest[-1].id) as again:
            assert again.response.status_code == 204
            assert again.response.read() == b""


@ONE_DATABASE
def test_the_stream_of_an_upload_that_ended_has_its_state_and_nothing_else(served: Served) -> None:
    before = served.records.processing()
    upload = served.records.fail(before)
    for last_event_id in (None, timestamp(before.updated_at), "", "nonsense"):
        with served.stream(json_of(upload), last_event_id) as listener:
            assert states(listener.rest()) == [state(upload)]

    retried = served.records.retry(upload)
    with served.stream(json_of(upload), timestamp(upload.updated_at)) as listener:
        assert states([listener.next()]) == [state(retried)]
