"""What the page to sign in says of the issuer of OpenID Connect."""

from typing import Literal, TypedDict
from urllib.parse import quote, urlsplit

from webapp.people import links
from webapp.state import AppRequest

Problem = Literal["unavailable", "rejected", "late", "disabled"]
#: After the issuer's name, by the query parameter `problem`.
PROBLEMS: dict[str, str] = {
    "unavailable": "cannot be reached at the moment. Try again shortly, or sign in with a password.",
    "rejected": "did not sign you in. Try again, or ask an administrator.",
    "late": "answered too late, or in another browser than the one that asked. Try again.",
    "disabled": "signed you in, but your account here is disabled. Ask an administrator.",
}


class IssuerView(TypedDict):
    """problem: the rest of a sentence."""

    name: str
    href: str
    problem: str | None


def of(request: AppRequest) -> IssuerView | None:
    """None: the server has no issuer."""
    url = request.state["settings"].oidc_issuer
    if url is None:
        return None
    target = links.next_path(request.query_params.get("next", ""))
    return {
        "name": urlsplit(url).hostname or "",
        "href": f"/sign-in/oidc?next={quote(target, safe='')}",
        "problem": PROBLEMS.get(request.query_params.get("problem", "")),
    }


def sign_in_path(problem: Problem, target: str = links.HOME) -> str:
    """The path of the page to sign in, which says what the problem is."""
    return f"/sign-in?problem={problem}&next={quote(target, safe='')}"
