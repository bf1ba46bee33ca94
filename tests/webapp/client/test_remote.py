"""Where the server is, and whether it is one of ours."""

import httpx
import pytest

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.client.remote import Remote, RemoteError, server_of


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1", "ftp://host", "http://", "http://host:port", ""])
def test_a_url_that_names_no_server_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        server_of(url, Settings)

    assert refused.value.problems == (f"URL: {url} is not a server's address. Write it like http://127.0.0.1:8000.",)


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
def test_the_server_of_the_settings_is_where_it_listens(host: str, url: str) -> None:
    assert url == str(server_of(None, lambda: Settings.load(host=host, port=8123)))


def test_a_port_that_is_not_known_must_be_told() -> None:
    with pytest.raises(SettingsError, match="--url"):
        server_of(None, lambda: Settings.load(port=0))


def test_a_password_in_the_address_is_not_shown() -> None:
    with Remote(httpx.URL("http://someone:secret@imports.example:8000/behind/")) as remote:
        assert remote.name == "http://imports.example:8000/behind"
        assert remote.page(7) == "http://imports.example:8000/behind/uploads/7"
        assert "secret" not in str(remote.away())


UNDERSTOOD = [
    (httpx.Response(422, json={"status": 422, "detail": "“a.png” is no table."}), "“a.png” is no table."),
    (httpx.Response(403, json={"status": 403, "detail": "Start with --open."}), "Start with --open."),
    (httpx.Response(403, text="Forbidden by a proxy."), "http://host answered 403 Forbidden, which"),
    (httpx.Response(200, html="<p>Hello"), "http://host answered 200 OK, which Bulk Upload does not say."),
    (httpx.Response(201, json={"id": 7}), "http://host answered 201 Created, which"),
    (httpx.Response(200, json=[7]), "http://host answered 200 OK, which"),
    (httpx.Response(200, json={"name": "x"}), "http://host answered 200 OK, which"),
]


@pytest.mark.parametrize(("response", "sentence"), UNDERSTOOD)
def test_what_is_no_upload_is_told_in_a_sentence(response: httpx.Response, sentence: str) -> None:
    with Remote(httpx.URL("http://host")) as remote, pytest.raises(RemoteError) as refused:
        remote.understood(response, 200)

    assert str(refused.value).startswith(sentence)


def test_an_upload_is_understood() -> None:
    with Remote(httpx.URL("http://host")) as remote:
        assert remote.understood(httpx.Response(200, json={"id": 7}), 200) == {"id": 7}
