"""The two pages in a real browser, straight from the web process and through real proxies, with faults under them."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from jobs.settings import Settings
from jobs.uploads import Status, Upload
from tests.support.databases import ONE_DATABASE
from tests.support.imports import Imports
from tests.support.proxies import Caddy, Nginx
from tests.support.services import RedisServer
from tests.support.serving import Records, Web
from tests.support.waiting import until

#: Number of the upload whose page is watched: it goes on through all faults, and its page stays connected at its end.
FAILING = 2
#: Each upload that a page shows, with seq and status.
ROWS = """() => [...document.querySelectorAll("#upload-rows tr")]
    .map(row => [Number(row.dataset.key), Number(row.dataset.seq), row.dataset.status])"""
SECTION = """() => [...document.querySelectorAll("#upload")]
    .map(page => [Number(location.pathname.split("/").pop()), Number(page.dataset.seq), page.dataset.status])"""
PROTOCOL = "() => performance.getEntriesByType('navigation')[0].nextHopProtocol"


class Window:
    """A page that was opened once and never again."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        page.goto(url)
        expect(page.locator("#connection")).to_have_attribute("data-state", "live")
        self.navigations: list[str] = []
        page.on("framenavigated", lambda frame: self.navigations.append(frame.url))

    @property
    def is_history(self) -> bool:
        return self.url.endswith("/uploads")

    @property
    def shown(self) -> dict[int, tuple[int, str]]:
        """Seq and status of each upload that it shows."""
        look = ROWS if self.is_history else SECTION
        return {upload_id: (seq, status) for upload_id, seq, status in self.page.evaluate(look)}

    def until_up_to_date(self, uploads: list[Upload]) -> None:
        """Until it shows these states, or newer ones."""

        def is_up_to_date() -> bool:
            shown = self.shown
            seqs = {upload.id: upload.seq for upload in uploads if self.is_history or upload.id in shown}
            return bool(seqs) and all(shown.get(i, (0, ""))[0] >= seq for i, seq in seqs.items())

        until(is_up_to_date, f"{self.url} to show {uploads}")

    def until_over(self, uploads: list[Upload]) -> None:
        """Until it shows exactly these states, and still listens."""
        states = {upload.id: (upload.seq, str(upload.status)) for upload in uploads}
        until(lambda: self.shown == states, f"{self.url} to show {states}")
        expect(self.page.locator("#connection")).to_have_attribute("data-state", "live")


@ONE_DATABASE
def test_through_a_proxy_or_not_both_pages_show_the_truth_whatever_dies_or_hangs(
    settings: Settings, redis: RedisServer, browser: Browser, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"redis_url": redis.url})
    with ExitStack() as stack:
        web = stack.enter_context(Web(settings))
        nginx = stack.enter_context(Nginx(tmp_path / "nginx", web.url))
        caddy = stack.enter_context(Caddy(tmp_path / "caddy", web.url))
        imports = stack.enter_context(Imports(settings, "june", hands=6, seed=0))
        imports.begin(5)
        failing = next(upload_id for upload_id, number in imports.numbers.items() if number == FAILING)
        context = stack.enter_context(browser.new_context(ignore_https_errors=True))
        urls = [each.url + path for each in (web, nginx, caddy) for path in ("/uploads", f"/uploads/{failing}")]
        windows = [Window(context.new_page(), url) for url in urls]
        records = stack.enter_context(Records(settings))

        hit(redis.kill, records)
        until_shown(windows, records)
        imports.end(1)
        imports.until_ended()
        redis.start()
        until_shown(windows, records)

        hit(redis.freeze, records)
        imports.end(1)
        imports.until_ended()
        until_shown(windows, records)
        redis.thaw()
        until_shown(windows, records)

        hit(web.kill, records)
        imports.begin(1)
        web.restart()
        until_shown(windows, records)
        imports.end(4)
        imports.until_ended()
        ended = records.all()
        for window in windows:
            window.until_over([each for each in ended if window.is_history or each.id == failing])

        assert len(ended) == 6
        assert [window.navigations for window in windows] == [[]] * 6
        assert [window.page.evaluate(PROTOCOL) for window in windows] == ["http/1.1"] * 4 + ["h2"] * 2


def hit(fault: Callable[[], object], records: Records) -> None:
    """Let a fault happen while all uploads that have not ended are in process, by the database's word."""
    fault()
    statuses = {upload.status for upload in records.all() if upload.is_active}

    assert statuses == {Status.PROCESSING}


def until_shown(windows: list[Window], records: Records) -> None:
    """Until each window shows what the database says now."""
    uploads = records.all()
    for window in windows:
        window.until_up_to_date(uploads)
