"""Where the web process listens, and when it must not."""

import logging
import socket
import threading

import pytest

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.errors import CannotStartError
from webapp.supervisor import listener


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_machine_alone_needs_no_permission(host: str, caplog: pytest.LogCaptureFixture) -> None:
    listener.check_host(Settings.load(host=host))

    assert caplog.records == []


def test_an_address_for_others_is_refused_unless_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0"):
        listener.check_host(Settings.load(host="0.0.0.0"))
    listener.check_host(Settings.load(host="0.0.0.0", open=True))

    [warning] = caplog.records
    assert (warning.levelno, "0.0.0.0" in warning.getMessage()) == (logging.WARNING, True)


def test_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.invalid"):
        listener.check_host(Settings.load(host="nowhere.invalid"))


def test_port_0_is_any_free_port() -> None:
    with listener.listen(Settings.load(port=0)) as found:
        port = found.getsockname()[1]

        assert port > 0
        assert listener.url(found) == f"http://127.0.0.1:{port}"


def test_all_addresses_are_reached_at_this_machines_own() -> None:
    with listener.listen(Settings.load(host="0.0.0.0", port=0)) as found:
        assert listener.url(found) == f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_port_that_is_taken_is_refused_with_its_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotStartError, match=str(port)):
            listener.listen(Settings.load(port=port))


def test_a_port_that_is_free_in_time_is_waited_for() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    release = threading.Timer(0.2, taken.close)
    release.start()
    with listener.listen(Settings.load(port=port), patience=30) as found:
        assert found.getsockname()[1] == port
    release.join()


def test_an_address_of_another_machine_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):  # kept for documentation by RFC 5737
        listener.listen(Settings.load(host="192.0.2.1", port=0))
