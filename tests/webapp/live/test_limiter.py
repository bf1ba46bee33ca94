"""StreamLimiter: so many event streams, in all and for one client address."""

from contextlib import ExitStack

import pytest

from webapp.errors import TooManyStreamsError
from webapp.live.limiter import StreamLimiter


def test_a_seat_is_taken_for_the_time_of_its_block() -> None:
    limiter = StreamLimiter(limit=2, limit_per_address=2)
    with limiter.slot("10.0.0.1"), limiter.slot("10.0.0.1"):
        assert limiter.open == 2
    assert limiter.open == 0


def test_a_seat_is_free_again_after_an_error() -> None:
    limiter = StreamLimiter(limit=1, limit_per_address=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot("10.0.0.1"):
            raise ZeroDivisionError

    assert limiter.open == 0


def test_an_address_gets_no_more_than_its_share_and_others_still_get_theirs() -> None:
    limiter = StreamLimiter(limit=10, limit_per_address=2)
    with ExitStack() as stack:
        for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            stack.enter_context(limiter.slot(address))
        with pytest.raises(TooManyStreamsError, match=r"Your address, 10\.0\.0\.1, holds 2 event streams"):
            stack.enter_context(limiter.slot("10.0.0.1"))
        stack.enter_context(limiter.slot("10.0.0.2"))

        assert limiter.open == 4


def test_a_process_takes_no_more_than_it_may() -> None:
    limiter = StreamLimiter(limit=3, limit_per_address=2)
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(limiter.slot(f"10.0.0.{number}"))
        with pytest.raises(TooManyStreamsError, match="This server holds 3 event streams"):
            stack.enter_context(limiter.slot("10.0.0.9"))


def test_the_log_says_once_what_to_do_until_a_seat_is_free_again(caplog: pytest.LogCaptureFixture) -> None:
    limiter = StreamLimiter(limit=1, limit_per_address=1)
    for _ in range(2):
        with limiter.slot("10.0.0.1"):
            for _ in range(5):
                with pytest.raises(TooManyStreamsError), limiter.slot("10.0.0.2"):
                    pass

    assert len(caplog.records) == 2
    assert "BULK_UPLOAD_TRUSTED_PROXIES" in caplog.text
