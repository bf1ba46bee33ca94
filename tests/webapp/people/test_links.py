"""Where a form may lead afterwards: only to this site."""

import pytest

from webapp.people import links


@pytest.mark.parametrize(
    "wanted",
    ["/uploads", "/", "/datasets/sales?name[contains]=a%20b", "/uploads/1#failed", "/uploads?q=http://x", "/ü"],
)
def test_a_path_of_this_site_is_taken(wanted: str) -> None:
    assert links.next_path(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "uploads",
        "//evil.example",
        "///evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nSet-Cookie: a=b",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "/\u2028x",
        "/\x00",
        "/\x7f",
        "@evil.example",
        "?next=x",
    ],
)
def test_anything_else_leads_home(wanted: str) -> None:
    assert links.next_path(wanted) == "/uploads"
