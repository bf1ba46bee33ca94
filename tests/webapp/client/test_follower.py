"""Following uploads: each state is reported once, across reconnections."""

import json
import re
from dataclasses import replace
from itertools import islice

import httpx
import pytest

from tests.support.answering import answering, stream, upload
from webapp.client import follower
from webapp.client.follower import Follower, State, outcome
from webapp.client.remote import Remote, RemoteError, Server, ServerUnavailableError


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "PAUSES", (0.0,))


def state(status: str = "processing", *, done: int = 0, failed: int = 0, total: int | None = None) -> State:
    return State(7, 1, "june.csv", status, 0, total, done, failed, None, "2026-01-31T09:00:00.000000Z")


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (state("completed", done=1_234), ("completed, 1,234 rows", 0)),
        (state("completed", done=1), ("completed, 1 row", 0)),
        (
            state("completed", done=1_234, failed=12),
            ("completed with errors: 12 of 1,234 rows failed, see http://host/uploads/7", 1),
        ),
        (
            replace(state("completed", done=9), warnings=("The columns “a” were not imported.",)),
            ("completed with warnings, 9 rows, see http://host/uploads/7", 0),
        ),
        (state("cancelled", done=9), ("cancelled after 9 rows, see http://host/uploads/7", 1)),
        (State(7, 1, "june.csv", "failed", 0, None, 0, 0, "It is a picture.", ""), ("failed: It is a picture.", 1)),
    ],
)
def test_an_outcome_is_a_sentence_and_a_status(of: State, expected: tuple[str, int]) -> None:
    assert expected == outcome(of, "http://host/uploads/7")


def test_only_an_upload_without_failed_rows_and_warnings_is_clean() -> None:
    warned = replace(state("completed", done=9), warnings=("It has no header.",))

    assert [each.is_clean for each in (state("completed"), state("completed", failed=1), warned, state())] == [
        True, False, False, False,
    ]  # fmt: skip


def test_the_warnings_of_a_state_are_sentences_on_one_line() -> None:
    data = json.loads(upload("completed", warnings=[{"code": "no_header", "detail": "It has\n\x1b[31mno header."}]))

    assert State.from_json(data).warnings == ("It has [31mno header.",)
    assert State.from_json({name: value for name, value in data.items() if name != "warnings"}).warnings == ()


UNAVAILABLE = (503, "application/problem+json", "{}")


def test_a_repeated_or_older_state_is_not_reported() -> None:
    answers = [
        stream(upload(seq=2), upload(seq=3), upload(seq=3), upload(seq=1), ping="now"),
        stream(upload(seq=3), upload(seq=4), upload("completed", seq=5), upload(seq=6)),
    ]
    with answering(*answers) as (url, _), Remote(Server(httpx.URL(url))) as remote:
        states = list(Follower(remote, 7).states())

    assert [state.seq for state in states] == [2, 3, 4, 5]


def test_following_all_uploads_resumes_after_the_newest_state() -> None:
    answers = [
        stream(upload("completed", seq=9), upload(seq=3, file_id=8)),
        UNAVAILABLE,
        stream(upload(seq=10), upload(seq=4, file_id=8)),
    ]
    with answering(*answers) as (url, requests), Remote(Server(httpx.URL(url))) as remote:
        states = list(islice(Follower(remote).states(), 4))

    newest = "2026-01-31T09:00:09.000000Z"
    assert [(state.file_id, state.seq) for state in states] == [(7, 9), (8, 3), (7, 10), (8, 4)]
    assert requests == [("/api/v1/events", None), ("/api/v1/events", newest), ("/api/v1/events", newest)]


def test_a_follower_without_a_state_resumes_from_the_servers_clock() -> None:
    answers = [stream(ping="2026-01-31T08:00:00.000000Z"), stream(upload(seq=1))]
    with answering(*answers) as (url, requests), Remote(Server(httpx.URL(url))) as remote:
        next(Follower(remote).states())

    assert [last_id for _, last_id in requests] == [None, "2026-01-31T08:00:00.000000Z"]


def test_disconnecting_and_reconnecting_are_reported_once_each() -> None:
    told: list[str] = []
    answers = [stream(upload(seq=1)), UNAVAILABLE, UNAVAILABLE, stream(upload(seq=1)), stream(upload("failed", seq=2))]
    with answering(*answers) as (url, _), Remote(Server(httpx.URL(url))) as remote:
        follow = Follower(remote, 7, on_open=lambda: told.append("open"), on_disconnect=lambda: told.append("lost"))
        list(follow.states())

    assert told == ["open", "lost", "open"]


@pytest.mark.parametrize("patient", [False, True])
def test_only_a_patient_follower_retries_without_limit(patient: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "MAX_ATTEMPTS", 3)
    answers = [UNAVAILABLE] * 4 + [stream(upload("completed", seq=1))]
    with answering(*answers) as (url, requests), Remote(Server(httpx.URL(url))) as remote:
        follow = Follower(remote, 7, patient=patient)
        if patient:
            assert [state.seq for state in follow.states()] == [1]
        else:
            with pytest.raises(ServerUnavailableError, match=f"^{url} does not respond"):
                list(follow.states())

    assert len(requests) == (5 if patient else 4)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            (404, "application/problem+json", '{"status": 404, "detail": "There is no upload #7."}'),
            "There is no upload",
        ),
        ((200, "text/html", "<p>Hello"), "Check the address."),
        ((200, "application/json", upload()), "Check the address."),
        ((302, "text/html", ""), "answered 302 Found"),
    ],
)
def test_a_server_without_the_stream_is_not_asked_again(answer: tuple[int, str, str], sentence: str) -> None:
    with (
        answering(answer) as (url, requests),
        Remote(Server(httpx.URL(url))) as remote,
        pytest.raises(RemoteError, match=re.escape(sentence)),
    ):
        list(Follower(remote, 7, patient=True).states())

    assert len(requests) == 1


def test_a_state_cannot_send_control_characters_to_a_terminal() -> None:
    data = json.loads(upload("failed", filename="a\x1b]0;b\x07\u202e.csv", error="Row 1:\r\n\x1b[2J gone\0"))
    told = State.from_json(data)

    assert (told.filename, told.error) == ("a]0;b.csv", "Row 1: [2J gone")
