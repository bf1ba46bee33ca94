"""Pictures of every page in every state, in both themes and at two widths, to look at.

`python -m tests.support.screenshots [folder] [name ...]` takes them, and so does `make screenshots`, into screenshots/.
A name, or its beginning, chooses some: history, upload-failed.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, Page

from tests.support.browsing import chromium, window
from tests.support.gallery import View, gallery

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
#: Pixels: a telephone, and a window on a laptop.
WIDTHS = (390, 1280)
#: Pixels of a window, and of the longest picture.
_HEIGHT, _LONGEST = 900, 2400
#: One transition may begin with the end of another, of a parent's colour. A movement without an end is taken away.
_END_TRANSITIONS = """() => {
  for (let round = 0; round < 5; round += 1)
    for (const each of document.getAnimations())
      each.effect.getComputedTiming().endTime === Infinity ? each.cancel() : each.finish();
}"""


def take(context: BrowserContext, views: Sequence[View], folder: Path) -> int:
    """Take the pictures. Returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    page = context.new_page()
    for view in views:
        view.show(page)
        for theme in THEMES:
            for width in WIDTHS:
                dress(page, theme, width)
                _picture(page, folder / f"{view.name}-{theme}-{width}.png")
    page.close()
    return len(views) * len(THEMES) * len(WIDTHS)


def dress(page: Page, theme: Theme, width: int) -> None:
    """Show the page in a theme at a width, with all its transitions at their end."""
    page.set_viewport_size({"width": width, "height": _HEIGHT})
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.evaluate(_END_TRANSITIONS)


def _picture(page: Page, path: Path) -> None:
    page.evaluate("scrollTo(0, 0)")  # what is sticky would lie over the middle of the picture
    height = page.evaluate("document.documentElement.scrollHeight")
    width = page.evaluate("innerWidth")
    shown = {"x": 0, "y": 0, "width": width, "height": min(max(height, _HEIGHT), _LONGEST)}
    page.screenshot(path=path, full_page=True, clip=shown, animations="disabled")  # type: ignore[arg-type]  # whole numbers


def main() -> None:
    """Take the pictures into the folder named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")
    chosen = tuple(sys.argv[2:]) or ("",)
    with (
        tempfile.TemporaryDirectory() as temporary,
        gallery(Path(temporary)) as found,
        chromium() as browser,
        window(browser) as context,
    ):
        count = take(context, [view for view in found.views() if view.name.startswith(chosen)], folder)
    print(f"{count} pictures in {folder}/")


if __name__ == "__main__":
    main()
