"""What axe-core finds wrong on a page: WCAG 2.2 AA, and best practice."""

from typing import Any

from playwright.sync_api import Page

from tests import ROOT

_AXE = (ROOT / "tests/support/vendor/axe-core/axe.min.js").read_text("utf-8")
#: Rules with one of these tags are checked; `target-size` is one of them that axe leaves out unless it is asked for.
_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
    "resultTypes": ["violations"],
    "elementRef": False,
}
#: The rules whose outcome depends on the colours of a theme.
_OF_COLOURS = {**_OPTIONS, "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}, "rules": {}}
#: Elements that are named for each violated rule.
_NAMED = 5


def violations(page: Page, *, of_colours: bool = False) -> list[str]:
    """The violations in words: the rule, what it asks for, and the elements that break it. Transitions must have
    ended: colours are compared as they are. of_colours: only what may differ from one theme to the other."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(_AXE)  # the page's policy forbids a script element
    found = page.evaluate("options => axe.run(document, options)", _OF_COLOURS if of_colours else _OPTIONS)
    return [_in_words(each) for each in found["violations"]]


def _in_words(violation: dict[str, Any]) -> str:
    nodes = violation["nodes"]
    named = [f"{' '.join(map(str, node['target']))} ({_why(node)})" for node in nodes[:_NAMED]]
    more = [f"and {len(nodes) - _NAMED} more"] if len(nodes) > _NAMED else []
    return f"{violation['id']}: {violation['help']}: {'; '.join(named + more)}"


def _why(node: dict[str, Any]) -> str:
    checks = [*node["any"], *node["all"], *node["none"]]
    return ", ".join(check["message"] for check in checks[:2])
