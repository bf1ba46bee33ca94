"""Which events are new to a client after its snapshot."""

from dataclasses import replace

from jobs.events import Event
from tests.support.hubs import EVENT, at
from webapp.live.delivery.batch import Batch
from webapp.live.streams.known_states import NOTHING_KNOWN, KnownStates

END = replace(EVENT, event="bulk_upload_complete", status="completed")


def batch(*events: Event, newest: str = "") -> Batch:
    return Batch(1, list(events), set(), newest or max((event.timestamp for event in events), default=""))


def test_an_event_is_unseen_unless_the_snapshot_had_the_same_or_a_newer_state() -> None:
    known = KnownStates({1: 5})
    events = [replace(EVENT, seq=seq) for seq in (4, 5, 6)] + [replace(EVENT, file_id=2)]

    assert known.unseen(events) == events[2:]
    assert NOTHING_KNOWN.unseen(events) == events


def test_an_end_is_unseen_if_it_is_newer_than_the_moment() -> None:
    known = KnownStates({}, moment=at(10).timestamp)
    old, new = replace(END, timestamp=at(10).timestamp), replace(END, file_id=2, timestamp=at(11).timestamp)

    assert known.unseen_ends([old, new, at(12, file_id=3)]) == {2}


def test_an_end_is_unseen_if_the_client_saw_the_upload_as_active_though_it_is_older_than_the_moment() -> None:
    known = KnownStates({}, moment=at(10).timestamp, active={1: 3})
    end = replace(END, timestamp=at(9).timestamp)

    assert known.unseen_ends([replace(end, seq=4)]) == {1}
    assert known.unseen_ends([replace(end, seq=3)]) == set()
    assert known.unseen_ends([replace(end, file_id=2, seq=4)]) == set()


def test_an_end_that_the_client_has_is_not_unseen() -> None:
    known = KnownStates({1: 7}, moment=at(1).timestamp)

    assert known.unseen_ends([replace(END, seq=7, timestamp=at(9).timestamp)]) == set()


def test_known_states_precede_a_batch_whose_events_are_all_newer() -> None:
    known = KnownStates({}, moment=at(5).timestamp, newest=at(7).timestamp)

    assert known.precede(batch(at(8), at(9, file_id=2)))
    assert not known.precede(batch(at(7)))
    assert not known.precede(batch(at(6), at(9, file_id=2)))
    assert NOTHING_KNOWN.precede(batch(at(0)))


def test_known_states_precede_a_batch_without_events_of_a_feed_that_is_as_new() -> None:
    known = KnownStates({}, moment=at(5).timestamp)

    assert known.precede(batch(newest=at(5).timestamp))
    assert not known.precede(batch(newest=at(4).timestamp))
