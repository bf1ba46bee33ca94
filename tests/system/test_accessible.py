"""No page breaks a rule of WCAG 2.2 AA that axe-core can check: in each state, at two widths, and in both themes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.support.accessibility import violations
from tests.support.gallery import Gallery, gallery
from tests.support.screenshots import THEMES, WIDTHS, dress


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gallery(tmp_path_factory.mktemp("gallery")) as found:
        yield found


@pytest.mark.timeout(1200)  # hundreds of pages, and the making of what they show
def test_no_page_in_any_state_breaks_a_rule_of_accessibility(everything: Gallery, context: BrowserContext) -> None:
    page = context.new_page()
    found: list[str] = []
    for view in everything.views():
        view.show(page)
        for theme, width in [*((THEMES[0], width) for width in WIDTHS), (THEMES[1], WIDTHS[-1])]:
            dress(page, theme, width)
            broken = violations(page, of_colours=theme != THEMES[0])
            found += [f"{view.name} {theme} {width}: {words}" for words in broken]

    assert not found, "\n".join(found)


def test_a_page_that_breaks_rules_is_noticed(context: BrowserContext) -> None:
    page: Page = context.new_page()
    page.set_content(
        "<title>Wrong</title><main><h1>Wrong</h1><img src='data:,'><p style='color: #aaa'>pale</p>"
        "<button style='width: 9px; height: 9px; padding: 0' aria-label='a'></button>"
        "<button style='width: 9px; height: 9px; padding: 0' aria-label='b'></button></main>"
    )

    rules = {each.partition(":")[0] for each in violations(page)}

    assert rules >= {"color-contrast", "html-has-lang", "image-alt", "target-size"}
