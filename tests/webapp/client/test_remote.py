"""The address of the server, and the check of its responses."""

import httpx
import pytest

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.client.remote import Remote, RemoteError, Server, server_url


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1", "ftp://host", "http://", "http://host:port", ""])
def test_a_url_without_a_server_is_rejected(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        server_url(url, Settings)

    assert refused.value.problems == (
        f"URL: {url} is not the address of a server. Use a form like http://127.0.0.1:8000.",
    )


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8123"),
        ("localhost", "http://localhost:8123"),
        ("::1", "http://[::1]:8123"),
        ("0.0.0.0", "http://127.0.0.1:8123"),
        ("::", "http://[::1]:8123"),
    ],
)
def test_the_address_of_the_settings_is_reachable(host: str, url: str) -> None:
    assert url == str(server_url(None, lambda: Settings.load(host=host, port=8123)))


def test_an_unknown_port_requires_a_url() -> None:
    with pytest.raises(SettingsError, match="--url"):
        server_url(None, lambda: Settings.load(port=0))


def test_a_password_in_the_address_is_not_shown() -> None:
    with Remote(Server(httpx.URL("http://someone:secret@imports.example:8000/behind/"))) as remote:
        assert remote.name == "http://imports.example:8000/behind"
        assert remote.page(7) == "http://imports.example:8000/behind/uploads/7"
        assert "secret" not in str(remote.unavailable())


INVALID = [
    (httpx.Response(422, json={"status": 422, "detail": "“a.png” is no table."}), "“a.png” is no table."),
    (httpx.Response(403, json={"status": 403, "detail": "Start with --open."}), "Start with --open."),
    (httpx.Response(403, text="Forbidden by a proxy."), "http://host answered 403 Forbidden, which"),
    (httpx.Response(200, html="<p>Hello"), "http://host answered 200 OK, which is not a response of Bulk Upload."),
    (httpx.Response(201, json={"id": 7}), "http://host answered 201 Created, which"),
    (httpx.Response(200, json=[7]), "http://host answered 200 OK, which"),
    (httpx.Response(200, json={"name": "x"}), "http://host answered 200 OK, which"),
]


@pytest.mark.parametrize(("response", "sentence"), INVALID)
def test_a_response_without_an_upload_is_an_error(response: httpx.Response, sentence: str) -> None:
    with Remote(Server(httpx.URL("http://host"))) as remote, pytest.raises(RemoteError) as refused:
        remote.parse_upload(response, 200)

    assert str(refused.value).startswith(sentence)


def test_an_upload_is_parsed() -> None:
    with Remote(Server(httpx.URL("http://host"))) as remote:
        assert remote.parse_upload(httpx.Response(200, json={"id": 7}), 200) == {"id": 7}
