"""Signing in and out at an issuer that nobody here wrote, with httpx as the browser."""

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from jobs.people import accounts, audit, groups, sessions
from jobs.people.accounts import Account
from jobs.people.audit import AuditQuery
from jobs.people.roles import Role
from jobs.settings import Settings
from tests.support.issuers import CLIENT_ID, CLIENT_SECRET, Provider
from tests.support.serving import Records, Served
from tests.support.team import LIFETIME, add_account


class Visitor:
    """A browser with which somebody signs in."""

    def __init__(self, served: Served, subject: str) -> None:
        self.client = httpx.Client(base_url=served.url, verify=False)
        self._subject = subject

    def ask(self, target: str = "/datasets") -> str:
        """Follow the link. Returns the address at the issuer."""
        answer = self.client.get("/sign-in/oidc", params={"next": target})
        assert answer.status_code == 303
        return answer.headers["location"]

    def agree(self, url: str, **form: str) -> str:
        """What the issuer's form does. Returns the address to which the browser is sent back."""
        answer = httpx.post(url, data=form or {"sub": self._subject})
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    def sign_in(self, target: str = "/datasets") -> httpx.Response:
        return self.client.get(self.agree(self.ask(target)))


Visit = Callable[[str], Visitor]


@pytest.fixture
def visit(served: Served) -> Iterator[Visit]:
    """Opens a browser for a user of the issuer."""
    opened: list[Visitor] = []

    def begin(subject: str) -> Visitor:
        opened.append(Visitor(served, subject))
        return opened[-1]

    yield begin
    for visitor in opened:
        visitor.client.close()


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def all_accounts(served: Served) -> dict[str, Account]:
    with served.records.database.reading() as connection:
        return {each.name: each for each in accounts.all_accounts(connection)}


def actions(served: Served) -> list[tuple[str | None, str, str, str, str]]:
    with served.records.database.reading() as connection:
        found = audit.page(connection, AuditQuery(), limit=100)[::-1]
    return [(each.actor, each.action, each.object, each.result, each.detail) for each in found]


def test_the_browser_is_sent_with_a_challenge_a_state_and_a_nonce(
    served: Served, issuer: Provider, visit: Visit
) -> None:
    visitor = visit("ana")
    first, second = query(visitor.ask()), query(visitor.ask())

    assert visitor.ask().startswith(f"{issuer.url}/oauth2/authorize?")
    assert {name: first[name] for name in ("response_type", "client_id", "redirect_uri", "code_challenge_method")} == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{served.url}/sign-in/oidc/callback",
        "code_challenge_method": "S256",
    }
    assert first["scope"].split()[0] == "openid"
    assert min(len(first[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert not {first[name] for name in ("state", "nonce", "code_challenge")} & set(second.values())


def test_what_the_browser_keeps_meanwhile_is_sealed_and_short_lived(served: Served) -> None:
    answer = httpx.get(f"{served.url}/sign-in/oidc")
    cookie = answer.headers["set-cookie"]

    assert cookie.startswith("sign-in=")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=600"} <= set(cookie.split("; "))
    sent = query(answer.headers["location"])
    assert sent["state"] not in cookie
    assert sent["nonce"] not in cookie
    assert answer.headers["cache-control"] == "no-store"


def test_the_first_sign_in_makes_a_viewer_and_the_next_one_knows_it(
    served: Served, issuer: Provider, visit: Visit
) -> None:
    issuer.know("ana-1", preferred_username="Ana", email="ana@example.org")
    visitor = visit("ana-1")
    answer = visitor.sign_in("/datasets?q=1")
    cookies = answer.headers.get_list("set-cookie")

    assert (answer.status_code, answer.headers["location"]) == (303, "/datasets?q=1")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["sign-in", "session"]
    assert "Max-Age=0" in cookies[0]
    assert {"HttpOnly", "SameSite=lax"} <= set(cookies[1].split("; "))
    assert visitor.client.get("/datasets").status_code == 200
    visit("ana-1").sign_in()
    account = all_accounts(served)["Ana"]
    assert (account.role, account.has_password, account.subject) == (Role.VIEWER, False, f"{issuer.url} ana-1")
    assert actions(served) == [
        ("Ana", "user.add", "user Ana", "ok", "viewer, at the first sign-in with OpenID Connect"),
        ("Ana", "sign_in", "user Ana", "ok", ""),
        ("Ana", "sign_in", "user Ana", "ok", ""),
    ]


def test_a_name_that_is_taken_is_never_taken_over(served: Served, issuer: Provider, visit: Visit) -> None:
    with served.records.database.transaction() as connection:
        local = add_account(connection, "Ana", Role.ADMIN)
    issuer.know("ana-2", preferred_username="ANA")
    issuer.know("ana-3", preferred_username="ana")
    for subject in ("ana-2", "ana-3"):
        visit(subject).sign_in()
    found = all_accounts(served)

    assert {name: account.role for name, account in found.items()} == {
        "Ana": Role.ADMIN,
        "ANA-2": Role.VIEWER,
        "ana-3": Role.VIEWER,
    }
    assert found["Ana"] == local


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Zoë"}, "Zoë"),
        ({"preferred_username": "", "email": "zoe@example.org"}, "zoe@example.org"),
        ({"preferred_username": "a\x00b", "name": "Zoë Ng"}, "Zoë Ng"),
        ({"preferred_username": "z" * 100}, "z" * 64),
        ({}, "subject"),
    ],
)
def test_an_account_has_the_first_claim_that_can_be_its_name(
    served: Served, issuer: Provider, visit: Visit, claims: dict[str, str], name: str
) -> None:
    issuer.know("subject", **claims)
    visit("subject").sign_in()

    assert list(all_accounts(served)) == [name]


@pytest.mark.parametrize(
    ("claim", "role"),
    [
        ("admin", Role.ADMIN),
        ("uploader", Role.UPLOADER),
        (["viewer", "uploader", "something"], Role.UPLOADER),
        ("root", Role.VIEWER),
        (["Admin"], Role.VIEWER),
        ([], Role.VIEWER),
        (7, Role.VIEWER),
        (None, Role.VIEWER),
    ],
)
def test_the_role_is_that_of_the_claim(
    served: Served, issuer: Provider, visit: Visit, claim: object, role: Role
) -> None:
    issuer.know("ana-4", preferred_username="Ana", bulk={"role": claim})
    visit("ana-4").sign_in()

    assert all_accounts(served)["Ana"].role is role


def test_role_and_groups_follow_the_claims_at_each_sign_in(served: Served, issuer: Provider, visit: Visit) -> None:
    with served.records.database.transaction() as connection:
        add_account(connection, "Root", Role.ADMIN)
        for name in ("Sales", "Stock", "Finance"):
            groups.add(connection, name)

    def sign_in(role: str, *names: str) -> tuple[Role, list[str]]:
        issuer.know("ana-5", preferred_username="Ana", bulk={"role": role}, groups=list(names))
        visit("ana-5").sign_in()
        with served.records.database.reading() as connection:
            account = accounts.get(connection, "Ana")
            return account.role, groups.names_of(connection, account.id)

    assert sign_in("admin", "sales", "STOCK", "unknown", "x\x00", "y" * 200) == (Role.ADMIN, ["Sales", "Stock"])
    with served.records.database.transaction() as connection:
        groups.put_member(connection, "Finance", accounts.get(connection, "Ana"))
    assert sign_in("uploader", "Stock") == (Role.UPLOADER, ["Finance", "Stock"])
    assert ("Ana", "user.role", "user Ana", "ok", "admin → uploader, claimed by the issuer") in actions(served)


def test_the_only_administrator_remains_one(served: Served, issuer: Provider, visit: Visit) -> None:
    for role in ("admin", "viewer"):
        issuer.know("ana-6", preferred_username="Ana", bulk={"role": role})
        assert visit("ana-6").sign_in().headers["location"] == "/datasets"

    assert all_accounts(served)["Ana"].role is Role.ADMIN


def test_a_disabled_account_is_refused(served: Served, issuer: Provider, visit: Visit) -> None:
    issuer.know("bo", preferred_username="Bo")
    visit("bo").sign_in()
    with served.records.database.transaction() as connection:
        add_account(connection, "Root", Role.ADMIN)
        accounts.disable(connection, "Bo")
    visitor = visit("bo")
    answer = visitor.sign_in()

    assert answer.headers["location"].startswith("/sign-in?problem=disabled")
    assert "session" not in visitor.client.cookies
    assert "your account here is disabled" in visitor.client.get(answer.headers["location"]).text
    assert actions(served)[-1] == (None, "sign_in", "", "refused", "OpenID Connect: This account is disabled.")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda url: url.replace("state=", "state=x"), "late"),
        (lambda url: url.partition("&state=")[0], "late"),
        (lambda url: url.replace("code=", "code=x"), "rejected"),
        (lambda url: url.replace("code=", "kode="), "rejected"),
        (lambda url: f"{url}&iss=https://evil.example", "rejected"),
    ],
    ids=["state", "no state", "code", "no code", "issuer"],
)
def test_an_answer_that_was_changed_signs_nobody_in(
    served: Served, issuer: Provider, visit: Visit, spoil: Callable[[str], str], problem: str
) -> None:
    visitor = visit("ana")
    url = visitor.agree(visitor.ask())
    spoilt = spoil(url)
    assert spoilt != url
    answer = visitor.client.get(spoilt)

    assert answer.headers["location"].startswith(f"/sign-in?problem={problem}&")
    assert list(visitor.client.cookies) == []
    assert all_accounts(served) == {}
    assert [entry[1:4] for entry in actions(served)] == [("sign_in", "", "refused")]


def test_an_answer_in_another_browser_signs_nobody_in(served: Served, issuer: Provider, visit: Visit) -> None:
    """A page of somebody else's makes a browser follow the end of their own sign-in."""
    theirs, mine = visit("evil"), visit("ana")
    stolen = theirs.agree(theirs.ask())

    assert "problem=late" in mine.client.get(stolen).headers["location"]
    mine.ask()
    assert "problem=late" in mine.client.get(stolen).headers["location"]
    assert all_accounts(served) == {}


def test_an_answer_works_once(served: Served, issuer: Provider, visit: Visit) -> None:
    visitor = visit("ana")
    url = visitor.agree(visitor.ask())
    pending = visitor.client.cookies["sign-in"]
    visitor.client.get(url)
    again = httpx.get(url, headers={"Cookie": f"sign-in={pending}"})

    assert "problem=late" in visitor.client.get(url).headers["location"]
    assert "problem=rejected" in again.headers["location"]


@pytest.mark.parametrize("pending", ["x", "a.b.c.d.e", "eyJhbGciOiJub25lIn0.e30."])
def test_a_forged_cookie_is_refused(served: Served, issuer: Provider, pending: str) -> None:
    answer = httpx.get(f"{served.url}/sign-in/oidc/callback?code=x&state=x", headers={"Cookie": f"sign-in={pending}"})

    assert "problem=late" in answer.headers["location"]


def test_who_is_refused_by_the_issuer_is_told(served: Served, issuer: Provider, visit: Visit) -> None:
    visitor = visit("ana")
    answer = visitor.client.get(visitor.agree(visitor.ask(), action="deny"))

    assert "problem=" in answer.headers["location"]
    assert all_accounts(served) == {}


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "uploads", "javascript:alert(1)", ""]
)
def test_no_other_site_is_next(served: Served, issuer: Provider, visit: Visit, target: str) -> None:
    assert visit("ana").sign_in(target).headers["location"] == "/uploads"


def test_failed_answers_become_too_many(served: Served, issuer: Provider, visit: Visit) -> None:
    visitor = visit("ana")
    statuses = []
    for _ in range(21):
        visitor.ask()
        statuses.append(visitor.client.get("/sign-in/oidc/callback?state=x&code=x").status_code)

    assert statuses == [303] * 20 + [429]


def test_a_sign_in_ends_the_session_that_the_browser_had(served: Served, issuer: Provider, visit: Visit) -> None:
    visitor = visit("ana")
    visitor.sign_in()
    before = visitor.client.cookies["session"]
    visitor.sign_in()
    with served.records.database.reading() as connection:
        found = sessions.find(connection, before, LIFETIME)

    assert before != visitor.client.cookies["session"]
    assert found is None


def test_signing_out_goes_on_at_the_issuer(served: Served, issuer: Provider, visit: Visit) -> None:
    visitor = visit("ana")
    visitor.sign_in()
    secret = visitor.client.cookies["session"]
    answer = visitor.client.get("/sign-out/oidc", headers={"Sec-Fetch-Site": "same-origin"})
    sent = query(answer.headers["location"])

    assert answer.headers["location"].startswith(f"{issuer.url}/oauth2/end_session?")
    assert (sent["post_logout_redirect_uri"], sent["client_id"]) == (f"{served.url}/sign-in", CLIENT_ID)
    assert len(sent["id_token_hint"].split(".")) == 3
    assert httpx.get(answer.headers["location"]).status_code == 200
    assert list(visitor.client.cookies) == []
    assert httpx.get(f"{served.url}/uploads", headers={"Cookie": f"session={secret}"}).status_code == 303
    assert [entry[1] for entry in actions(served)][-1] == "sign_out"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_on_another_site_signs_nobody_out(served: Served, issuer: Provider, visit: Visit, site: str) -> None:
    visitor = visit("ana")
    visitor.sign_in()
    answer = visitor.client.get("/sign-out/oidc", headers={"Sec-Fetch-Site": site})

    assert answer.headers["location"] == "/account"
    assert visitor.client.get("/uploads").status_code == 200


def test_the_page_to_sign_in_has_the_link(served: Served, issuer: Provider) -> None:
    page = httpx.get(f"{served.url}/sign-in?next=/datasets").text

    assert 'href="/sign-in/oidc?next=%2Fdatasets">Sign in with localhost</a>' in page
    assert 'name="password"' in page


def test_no_secret_is_logged_or_noted(
    served: Served, issuer: Provider, visit: Visit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    visitor = visit("ana")
    url = visitor.agree(visitor.ask())
    visitor.client.get(url.replace("code=", "code=x"))
    visitor.sign_in()
    visitor.client.get("/sign-out/oidc")
    logged = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith(("webapp", "jobs")))

    assert CLIENT_SECRET not in caplog.text + str(actions(served))
    assert query(url)["code"] not in logged + str(actions(served))


def test_without_an_issuer_there_is_nothing_at_these_addresses(settings: Settings) -> None:
    off = settings.model_copy(update={"oidc_issuer": None})
    with Records(off) as records, records.database.transaction() as connection:
        add_account(connection, "Ana", Role.ADMIN)
    with Served(off) as served:
        statuses = [served.client.get(path).status_code for path in ("/sign-in/oidc", "/sign-in/oidc/callback")]

        assert statuses == [404, 404]
        assert "/sign-in/oidc" not in served.client.get("/sign-in").text
