"""Where the web process listens, and when it must not."""

import logging
import socket
import threading

import pytest

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.errors import CannotStartError
from webapp.supervisor import listener

NEAR = {"host": "0.0.0.0", "allowed_hosts": "imports.example"}


def _never() -> bool:
    raise AssertionError("the database need not be asked")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_this_machine_alone_needs_no_permission(host: str, caplog: pytest.LogCaptureFixture) -> None:
    listener.check_host(Settings.load(host=host))
    listener.check_access(Settings.load(host=host), _never)

    assert caplog.records == []


def test_an_address_for_others_needs_the_names_by_which_they_reach_it() -> None:
    with pytest.raises(SettingsError, match=r"0\.0\.0\.0.*BULK_UPLOAD_ALLOWED_HOSTS") as refused:
        listener.check_host(Settings.load(host="0.0.0.0"))
    with pytest.raises(SettingsError, match="BULK_UPLOAD_ALLOWED_HOSTS") as refused_though_open:
        listener.check_host(Settings.load(host="0.0.0.0", open=True))
    listener.check_host(Settings.load(**NEAR))

    assert "`bulk-upload user add NAME" in str(refused.value)
    assert "--open" in str(refused.value)
    assert len(refused_though_open.value.problems) == 1


def test_an_address_for_others_is_refused_while_nobody_has_to_sign_in(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingsError, match=r"`bulk-upload user add NAME .*BULK_UPLOAD_SETUP=1.*--open"):
        listener.check_access(Settings.load(**NEAR), lambda: False)
    listener.check_access(Settings.load(**NEAR), lambda: True)

    assert caplog.records == []


@pytest.mark.parametrize(
    "more",
    [
        {"setup": True},
        {"auth_header": "X-User", "trusted_proxies": "127.0.0.1"},
        {"oidc_issuer": "https://issuer.example", "oidc_client_id": "x", "oidc_client_secret": "x"},
    ],
    ids=["set-up", "header", "issuer"],
)
def test_a_server_without_accounts_may_listen_if_they_come_from_elsewhere(more: dict[str, object]) -> None:
    listener.check_access(Settings.load(**NEAR, **more), _never)


def test_open_is_an_explicit_choice_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    listener.check_access(Settings.load(**NEAR, open=True), lambda: False)

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
