"""What an issuer must not get away with: answers that are forged, expired, for others, broken or missing."""

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from jobs.people import accounts, passwords
from jobs.people.roles import Role
from jobs.settings import Settings
from tests.support.issuers import CLIENT_ID, CLIENT_SECRET, Liar
from tests.support.serving import Served
from tests.support.team import PASSWORD


@pytest.fixture
def browser(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, verify=False) as client:
        yield client


def sign_in(browser: httpx.Client, liar: Liar) -> str:
    """Where the browser is sent in the end."""
    url = browser.get("/sign-in/oidc?next=/datasets").headers["location"]
    liar.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    answer = browser.get("/sign-in/oidc/callback", params={"code": "a code", "state": liar.asked["state"]})
    assert answer.status_code == 303
    return answer.headers["location"]


def names(served: Served) -> list[str]:
    with served.records.database.reading() as connection:
        return [each.name for each in accounts.all_accounts(connection)]


def test_an_honest_answer_signs_in(served: Served, liar: Liar, browser: httpx.Client) -> None:
    assert sign_in(browser, liar) == "/datasets"
    assert names(served) == ["Ana"]


def test_the_code_is_redeemed_with_the_verifier_and_the_secret(
    served: Served, liar: Liar, browser: httpx.Client
) -> None:
    sign_in(browser, liar)
    digest = hashlib.sha256(liar.redeemed["code_verifier"].encode()).digest()
    basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()

    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == liar.asked["code_challenge"]
    assert (liar.redeemed["grant_type"], liar.redeemed["code"]) == ("authorization_code", "a code")
    assert liar.redeemed["redirect_uri"] == liar.asked["redirect_uri"]
    assert liar.authorization == f"Basic {basic}"
    assert "client_secret" not in liar.redeemed


def test_an_issuer_may_want_the_secret_in_the_form(served: Served, liar: Liar, browser: httpx.Client) -> None:
    liar.metadata["token_endpoint_auth_methods_supported"] = ["private_key_jwt", "client_secret_post"]
    sign_in(browser, liar)

    assert (liar.authorization, liar.redeemed["client_secret"]) == (None, CLIENT_SECRET)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": None},
        {"aud": ["another client"]},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"exp": -120},
        {"exp": None},
        {"exp": "never"},
        {"iat": 3600},
        {"iat": None},
        {"nbf": 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "a\x00b"},
    ],
    ids=lambda claims: str(claims)[:40],
)
def test_a_token_whose_claims_are_wrong_signs_nobody_in(
    served: Served, liar: Liar, browser: httpx.Client, claims: dict[str, object]
) -> None:
    liar.claims = claims

    assert "problem=rejected" in sign_in(browser, liar)
    assert (names(served), list(browser.cookies)) == ([], [])


@pytest.mark.parametrize(
    "claims",
    [{"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}, {"exp": 3600}],
    ids=str,
)
def test_a_token_whose_claims_are_right_in_other_words_signs_in(
    served: Served, liar: Liar, browser: httpx.Client, claims: dict[str, object]
) -> None:
    liar.claims = claims

    assert sign_in(browser, liar) == "/datasets"


def unsigned(liar: Liar) -> None:
    payload = liar.signed().split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    liar.identity_token = f"{header}.{payload}."


def changed(liar: Liar) -> None:
    header, _payload, signature = liar.signed().split(".")
    liar.claims = {"sub": "somebody else"}
    liar.identity_token = f"{header}.{liar.signed().split('.')[1]}.{signature}"


def of_another_key(liar: Liar) -> None:
    liar.signing_key = RSAKey.generate_key(2048, {"kid": "one"})


def of_an_unknown_key(liar: Liar) -> None:
    liar.header = {"kid": "two"}


def with_the_clients_secret(liar: Liar) -> None:
    liar.signing_key, liar.header = OctKey.import_key(CLIENT_SECRET * 2, {"kid": "one"}), {"alg": "HS256"}


def with_the_public_key(liar: Liar) -> None:
    """Used as if it were the secret of HMAC."""
    payload = liar.signed().split(".")[1]
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "one"}).encode()).rstrip(b"=").decode()
    signature = hmac.digest(liar.key.as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    liar.identity_token = f"{header}.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def with_an_algorithm_that_it_does_not_offer(liar: Liar) -> None:
    liar.header = {"alg": "PS256"}


def no_token(liar: Liar) -> None:
    liar.identity_token = "no token"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned, changed, of_another_key, of_an_unknown_key, with_the_clients_secret, with_the_public_key,
        with_an_algorithm_that_it_does_not_offer, no_token,
    ],
)  # fmt: skip
def test_a_token_that_the_issuer_did_not_sign_signs_nobody_in(
    served: Served, liar: Liar, browser: httpx.Client, forge: Callable[[Liar], None]
) -> None:
    liar.metadata["id_token_signing_alg_values_supported"] = ["RS256", "HS256", "none"]
    url = browser.get("/sign-in/oidc").headers["location"]
    liar.asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    forge(liar)
    answer = browser.get("/sign-in/oidc/callback", params={"code": "a code", "state": liar.asked["state"]})

    assert "problem=rejected" in answer.headers["location"]
    assert (names(served), list(browser.cookies)) == ([], [])


def test_user_information_of_another_user_is_refused(served: Served, liar: Liar, browser: httpx.Client) -> None:
    liar.information = {"sub": "2", "bulk": {"role": "admin"}}

    assert "problem=rejected" in sign_in(browser, liar)


def test_user_information_adds_what_the_token_does_not_say(served: Served, liar: Liar, browser: httpx.Client) -> None:
    liar.information = {"sub": "1", "bulk": {"role": "uploader"}, "preferred_username": "Eve"}
    sign_in(browser, liar)
    with served.records.database.reading() as connection:
        [account] = accounts.all_accounts(connection)

    assert (account.name, account.role) == ("Ana", "uploader")


def test_metadata_and_keys_are_asked_for_once(served: Served, liar: Liar, browser: httpx.Client) -> None:
    for _ in range(3):
        sign_in(browser, liar)

    assert liar.counts["/.well-known/openid-configuration"] == 1
    assert liar.counts["/keys"] == 1


def test_a_new_key_is_found_but_not_looked_for_at_each_sign_in(
    served: Served, liar: Liar, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(browser, liar)
    liar.key = liar.signing_key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    liar.header = {"kid": "two"}

    assert "problem=rejected" in sign_in(browser, liar)
    assert "problem=rejected" in sign_in(browser, liar)
    assert liar.counts["/keys"] == 1
    monkeypatch.setattr("webapp.oidc.issuer.NEW_KEY_SECONDS", 0)
    assert sign_in(browser, liar) == "/datasets"
    assert liar.counts["/keys"] == 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": "http://127.0.0.1"},
        {"issuer": None},
        {"jwks_uri": None},
        {"token_endpoint": 7},
    ],
    ids=str,
)
def test_an_issuer_with_wrong_metadata_is_not_used(
    served: Served, liar: Liar, browser: httpx.Client, metadata: dict[str, object]
) -> None:
    liar.metadata = metadata

    assert browser.get("/sign-in/oidc").headers["location"] == "/sign-in?problem=unavailable&next=%2Fuploads"


def test_an_issuer_is_called_exactly_as_it_calls_itself(
    settings: Settings, liar: Liar, caplog: pytest.LogCaptureFixture
) -> None:
    with Served(settings.model_copy(update={"oidc_issuer": f"{liar.url}/"})) as served:
        answer = served.client.get("/sign-in/oidc")

    assert "problem=unavailable" in answer.headers["location"]
    assert f"it calls itself “{liar.url}”, and BULK_UPLOAD_OIDC_ISSUER is “{liar.url}/”" in caplog.text


def test_while_the_issuer_is_down_the_page_says_so_and_passwords_work(
    served: Served, liar: Liar, browser: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with served.records.database.transaction() as connection:
        accounts.add(connection, "Bo", Role.ADMIN, hashed=passwords.hashed(PASSWORD, "Bo"))
    liar.metadata = {"jwks_uri": None}
    location = browser.get("/sign-in/oidc?next=/datasets").headers["location"]
    page = browser.get(location)
    answer = browser.post("/sign-in", data={"name": "Bo", "password": PASSWORD, "next": "/datasets"})

    assert page.status_code == 200
    assert "cannot be reached at the moment" in page.text
    assert "its metadata has no jwks_uri" in caplog.text
    assert (answer.status_code, answer.headers["location"]) == (303, "/datasets")


def test_an_issuer_that_does_not_answer_holds_up_one_sign_in_for_seconds(
    settings: Settings, liar: Liar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.oidc.issuer.TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Served(settings.model_copy(update={"oidc_issuer": url})) as served:
            answer = served.client.get("/sign-in/oidc")

            assert "problem=unavailable" in answer.headers["location"]
            assert served.client.get("/sign-in").status_code == 200


def test_signing_out_at_an_issuer_that_is_down_signs_out_here(
    served: Served, liar: Liar, browser: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(browser, liar)
    monkeypatch.setattr("time.monotonic", lambda clock=time.monotonic: clock() + 7200)  # what was kept is too old
    liar.metadata = {"jwks_uri": None}
    answer = browser.get("/sign-out/oidc")

    assert answer.headers["location"] == "/sign-in"
    assert list(browser.cookies) == []


def test_the_address_to_sign_out_keeps_its_query(served: Served, liar: Liar, browser: httpx.Client) -> None:
    sign_in(browser, liar)

    assert browser.get("/sign-out/oidc").headers["location"].startswith(f"{liar.url}/end?tenant=1&id_token_hint=")
