"""The law of events: what changes an upload is committed, published and enqueued in one place."""

import re

from tests import ROOT

#: Calls of what only jobs/changes.py may call; the sweeper enqueues uploads that did not change but were lost.
_CALL = re.compile(r"\.(publish|enqueue|enqueue_missing)\(")
_ALLOWED = {
    ("jobs/changes.py", "publish"),
    ("jobs/changes.py", "enqueue"),
    ("jobs/changes.py", "enqueue_missing"),
    ("jobs/sweeper.py", "enqueue_missing"),
}


def test_only_the_room_of_changes_publishes_and_enqueues() -> None:
    found = {
        (str(path.relative_to(ROOT)), call)
        for package in ("jobs", "webapp")
        for path in (ROOT / package).rglob("*.py")
        for call in _CALL.findall(path.read_text("utf-8"))
    }

    assert found - {("jobs/events.py", "publish")} == _ALLOWED
