"""The limits on open event streams."""

from contextlib import ExitStack

import pytest

from webapp.errors import TooManyStreamsError
from webapp.live.limiter import StreamLimiter


def test_a_stream_counts_for_the_duration_of_its_block() -> None:
    limiter = StreamLimiter(limit=2, limit_per_address=2)
    with limiter.slot("10.0.0.1"), limiter.slot("10.0.0.1"):
        assert limiter.open == 2
    assert limiter.open == 0


def test_a_stream_does_not_count_after_an_error() -> None:
    limiter = StreamLimiter(limit=1, limit_per_address=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot("10.0.0.1"):
            raise ZeroDivisionError

    assert limiter.open == 0


def test_an_address_has_a_limit_and_others_still_get_their_share() -> None:
    limiter = StreamLimiter(limit=10, limit_per_address=2)
    with ExitStack() as stack:
        for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
            stack.enter_context(limiter.slot(address))
        with pytest.raises(TooManyStreamsError, match=r"Your address, 10\.0\.0\.1, has reached its limit of 2 open"):
            stack.enter_context(limiter.slot("10.0.0.1"))
        stack.enter_context(limiter.slot("10.0.0.2"))

        assert limiter.open == 4


def test_a_process_has_a_limit() -> None:
    limiter = StreamLimiter(limit=3, limit_per_address=2)
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(limiter.slot(f"10.0.0.{number}"))
        with pytest.raises(TooManyStreamsError, match="This server has reached its limit of 3 open event streams"):
            stack.enter_context(limiter.slot("10.0.0.9"))


def test_the_log_says_what_to_do_once_until_a_stream_ends(caplog: pytest.LogCaptureFixture) -> None:
    limiter = StreamLimiter(limit=1, limit_per_address=1)
    for _ in range(2):
        with limiter.slot("10.0.0.1"):
            for _ in range(5):
                with pytest.raises(TooManyStreamsError), limiter.slot("10.0.0.2"):
                    pass

    assert len(caplog.records) == 2
    assert "BULK_UPLOAD_TRUSTED_PROXIES" in caplog.text
