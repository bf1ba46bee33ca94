"""Every page in every state, with data that the product has imported: for the checks of what people see, and for
`make screenshots`."""

import csv
import fcntl
import io
import json
import os
import random
import signal
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import sqlalchemy as sa
from playwright.sync_api import Page
from redis import Redis
from rq.utils import utcformat
from rq.worker_registration import get_keys

from jobs import tables
from jobs.database import Database
from jobs.datasets import Position
from jobs.settings import Settings
from tests import ROOT
from tests.support import commands, demo_data, workbooks
from tests.support.clients import client_of
from tests.support.supervised import Serve, children_of, is_running, kill
from tests.support.waiting import until
from webapp.templating import STATIC, Templates

#: A worker imports many chunks, so that a state in the middle can be caught; whatever is frozen keeps its claim.
_VARIABLES = {
    "BULK_UPLOAD_CHUNK_BYTES": "131072",
    "BULK_UPLOAD_LEASE": "3600",
    "BULK_UPLOAD_EXTERNAL_TIMEOUT": "36000",
    "BULK_UPLOAD_UNDO_DAYS": "365",
    "BULK_UPLOAD_NOTIFY_TOKEN": "secret-of-the-gallery",
}
#: Each of them is frozen in the middle of something.
_WORKERS = 2
_REAL = ROOT / "tests" / "corpus" / "real"

_COUNTRIES = ["DE", "FR", "ES", "IT", "PL", "SE"]
#: A dataset that is declared, whose rows have a key and constraints.
_CUSTOMERS = {
    "fields": [
        {"name": "customer_id", "type": "integer", "constraints": {"required": True}},
        {"name": "email", "constraints": {"required": True, "pattern": r"[^@\s]+@[^@\s]+\.[a-z]+"}},
        {"name": "name", "type": "string"},
        {"name": "country", "constraints": {"enum": _COUNTRIES}},
        {"name": "amount", "type": "number", "constraints": {"minimum": 0}},
        {"name": "signup", "type": "date"},
    ],
    "primaryKey": "customer_id",
}
_NAMES = ("Ana Souza", "Zoë Ng", "Jonas Weber", "Élise Martin", "Marta Kowalska", "Pablo Ruiz", "Ingrid Åberg")
#: What people write into such files, by column, with what is wrong about it.
_MISTAKES = (
    ("signup", "31/02/2024"),
    ("signup", "n/a"),
    ("amount", "twelve"),
    ("amount", "1,5 k"),
    ("email", ""),
    ("email", "no address"),
    ("country", "Germny"),
)


@dataclass(frozen=True)
class View:
    """A page in a state. path: what to open. act: what to do there before it is looked at."""

    name: str
    url: str
    act: Callable[[Page], None] | None = None
    status: int = 200

    def show(self, page: Page) -> None:
        """Open it, and wait until it is complete."""
        answer = page.goto(self.url)
        assert answer is not None
        assert answer.status == self.status, f"{self.name}: {answer.status}"
        if page.locator("#live").count():
            page.locator("#connection[data-state=live]").wait_for(state="attached")
        if self.act is not None:
            self.act(page)


class Gallery:
    """A running server with uploads in every state, none of which changes any more, and one without anything."""

    def __init__(self, serve: Serve, empty: Serve, folder: Path) -> None:
        self._serve = serve
        self._folder = folder
        self.url, self.empty_url = serve.url, empty.url
        self._client = client_of(self.url, timeout=60)
        #: Upload ids, by the name of their state.
        self.uploads: dict[str, int] = {}
        self._frozen: list[int] = []
        #: The id of an upload that was deleted.
        self.deleted = 0

    def build(self) -> None:
        """Import everything, and stop time in the middle of an import."""
        demo = self._folder / "files"
        demo_data.write_small(demo)
        planes, flights = (demo / "planes.csv").read_bytes(), (demo / "flights.csv").read_bytes()
        for name in ("airports", "penguins", "seattle_weather", "titanic", "us_employment", "elements"):
            self._import(name, f"{name}.csv", (_REAL / f"{name}.csv").read_bytes())
        self._import("completed", "planes.csv", planes)
        self._import("warnings", "weather.csv", (demo / "weather.csv").read_bytes())
        self._import_customers()
        self._import("failed", "quarterly report.csv", b"%PDF-1.7 quarterly report")
        self._import("unread", "stock.csv", b"sku,amount\n" + b"A1,2\n" * 20, sheet="June", encoding="utf-16")
        self._import("held", "planes (1).csv", planes, duplicates="hold")
        self._import_what_is_reviewed()
        self._cancel_halfway("cancelled", "flights 2012.csv", flights)
        self._import_open_rows()
        self._add_rules()
        self._undo_and_delete()
        self._cancel_halfway("being-undone", "flights 2011.csv", flights)
        self._date_back()
        self._import("external", "legacy export.csv", b"id,total\n1,2\n", processor="external")
        self._report("external", progress=62, rows_processed=31_000, rows_success=30_950, rows_failed=50)
        self._undo("undoing", "being-undone")
        self._freeze_at("undoing", rows=20_000)
        self._send("processing", "flights.csv", flights)
        self._freeze_at("processing", rows=150_000)
        self._send("next", "june.csv", b"a,b\n1,2\n")
        self._send("pending", "july.csv", b"a,b\n3,4\n")

    def views(self) -> list[View]:
        """What there is to see, simple things first."""
        of_uploads = (*self._pages_of_uploads(), *self._pages_about_uploads())
        return [*self._histories(), *of_uploads, *self._datasets(), *self._rows(), *self._shell(), *self._errors()]

    def _histories(self) -> Iterator[View]:
        yield View("history-empty", f"{self.empty_url}/uploads")
        yield View("history", f"{self.url}/uploads")
        yield View("history-completed", f"{self.url}/uploads?status=completed")
        yield View("history-failed", f"{self.url}/uploads?status=failed")
        yield View("history-search", f"{self.url}/uploads?q=customers")
        yield View("history-selected", f"{self.url}/uploads", _select_rows)
        yield View("history-compact", f"{self.url}/uploads", _make_compact)
        yield View("history-no-match", f"{self.url}/uploads?q=nothing+like+this&status=failed")

    def _pages_of_uploads(self) -> Iterator[View]:
        for name, upload_id in self.uploads.items():
            yield View(f"upload-{name}", f"{self.url}/uploads/{upload_id}")
        failed_rows = f"{self.url}/uploads/{self.uploads['failed-rows']}"
        yield View("upload-failed-rows-reason", failed_rows, _choose_reason)
        yield View("upload-failed-rows-page", failed_rows, _turn_page)
        yield View("upload-repair", f"{self.url}/uploads/{self.uploads['open-rows']}/repair", _open_details)
        yield View("upload-repair-nothing-open", f"{failed_rows}/repair")
        yield View("upload-open-details", f"{self.url}/uploads/{self.uploads['failed-rows']}", _open_details)
        failed = f"{self.url}/uploads/{self.uploads['unread']}"
        yield View("upload-options", failed, _open_details)

    def _pages_about_uploads(self) -> Iterator[View]:
        """Before an upload is undone or deleted, and after; and the receipts of uploads."""
        for name, of, query, status in (
            ("undo", "failed-rows", "", 200),
            ("undo-repairs", "failed-rows", "?repairs=1", 200),
            ("undo-kept", "upsert", "", 200),
            ("undo-undo", "undo", "", 200),
            ("undo-refused", "undone", "", 409),
        ):
            yield View(name, f"{self.url}/uploads/{self.uploads[of]}/undo{query}", _open_details, status)
        receipts = {"receipt": "upsert", "receipt-failed-rows": "failed-rows", "receipt-balance": "balanced"}
        for name, of in receipts.items():
            yield View(name, f"{self.url}/uploads/{self.uploads[of]}/receipt")
        for name, of in (("delete", "failed-rows"), ("delete-failed", "failed")):
            yield View(name, f"{self.url}/uploads/{self.uploads[of]}/delete")
        yield View("deleted", f"{self.url}/uploads/{self.deleted}")

    def _rows(self) -> Iterator[View]:
        rows = f"{self.url}/datasets/customers/rows"
        yield View("row", f"{rows}/{Position([1290])}")
        yield View("row-versions", f"{rows}/{Position([950])}", _open_details)
        yield View("row-corrected", f"{rows}/{self._position(upload=self.uploads['corrections'])}")
        yield View("row-removed", f"{rows}/{Position([5003])}")

    def _position(self, **wanted: int) -> str:
        """Of one of the customers."""
        found = self._client.get("/api/v1/datasets/customers/rows", params=wanted).json()["items"]
        return str(found[0]["position"])

    def _datasets(self) -> Iterator[View]:
        yield View("datasets-empty", f"{self.empty_url}/datasets")
        yield View("datasets", f"{self.url}/datasets")
        yield View("dataset", f"{self.url}/datasets/customers")
        yield View("dataset-wide", f"{self.url}/datasets/us_employment")
        yield View("dataset-large", f"{self.url}/datasets/weather")
        yield View("dataset-filtered", f"{self.url}/datasets/customers?country=DE&sort=-amount")
        yield View("dataset-filter", f"{self.url}/datasets/customers", _open_column)
        yield View("dataset-columns", f"{self.url}/datasets/customers/columns")
        yield View("dataset-columns-inferred", f"{self.url}/datasets/penguins/columns")
        yield View("dataset-new", f"{self.url}/new-dataset")
        yield View("dataset-new-refused", f"{self.url}/new-dataset", _refused_dataset)
        yield View("dataset-settings", f"{self.url}/datasets/customers/settings")
        yield View("dataset-add-column", f"{self.url}/datasets/customers/add-column")
        yield View("dataset-edit-column", f"{self.url}/datasets/customers/edit-column?column=amount", _open_details)
        yield View("dataset-edit-key", f"{self.url}/datasets/customers/edit-column?column=customer_id")
        yield View("dataset-check-column", f"{self.url}/datasets/customers/edit-column?column=amount", _check_column)
        yield View("dataset-uploads", f"{self.url}/datasets/customers/uploads")
        yield View("dataset-no-match", f"{self.url}/datasets/customers?country=DE&email=nobody")
        yield View("dataset-open-details", f"{self.url}/datasets/customers", _open_details)

    def _shell(self) -> Iterator[View]:
        yield View("recent", f"{self.url}/uploads/recent")
        yield View("recent-empty", f"{self.empty_url}/uploads/recent")
        yield View("open-recent", f"{self.url}/datasets", _open_recent)
        for page, path in (("history", "/uploads"), ("dataset", "/datasets/customers")):
            for number in range(4 if page == "history" else 2):
                yield View(f"open-menu-{page}-{number + 1}", f"{self.url}{path}", partial(_open_menu, number=number))
        yield View("open-keys", f"{self.url}/datasets", _open_keys)
        yield View("open-toasts", f"{self.url}/uploads", _show_toasts)

    def _errors(self) -> Iterator[View]:
        yield View("error-not-found", f"{self.url}/uploads/999999", status=404)
        yield View("error-no-page", f"{self.url}/no/such/page", status=404)
        yield View("error-query", f"{self.url}/datasets/customers?country__than=DE", status=422)
        yield View("error-form", f"{self.url}/uploads", _refused_upload)
        yield View("error-database", f"{self.url}/uploads", _without_database)

    def _import_customers(self) -> None:
        schema = self._folder / "customers.json"
        schema.write_text(json.dumps(_CUSTOMERS), "utf-8")
        words = ("dataset", "add", "customers", schema, "--mode", "upsert", "--data", self._serve.data)
        status, _, complaint = commands.run(*words)
        assert status == 0, complaint
        chance = random.Random(7)
        self._import("upsert", "customers may.csv", _customers(chance, range(1, 1299)), dataset="customers")
        june = _customers(chance, range(900, 1900), mistakes=150)
        self._import("failed-rows", "customers june.csv", june, dataset="customers")
        failed = self._client.get(f"/uploads/{self.uploads['failed-rows']}/failed-rows.csv").text
        corrected = failed.replace("Germny", "DE").replace("twelve", "12").replace("31/02/2024", "2024-02-29")
        self._import("corrections", "customers june corrected.csv", corrected.encode())

    def _import_open_rows(self) -> None:
        """Failed rows that nobody corrects, with what a worker suggests."""
        april = _customers(random.Random(11), range(2200, 2500), mistakes=60)
        self._import("open-rows", "customers april.csv", april, dataset="customers")
        page = f"/uploads/{self.uploads['open-rows']}/repair"
        until(lambda: 'name="do" value="apply"' in self._client.get(page).text, "suggestions")

    def _add_rules(self) -> None:
        for rule in (
            {"column": "country", "kind": "replace", "from": "Germny", "to": "DE"},
            {"column": "signup", "kind": "date", "from": "%d/%m/%Y"},
            {"column": "amount", "kind": "missing", "enabled": False},
        ):
            assert self._client.post("/api/v1/datasets/customers/rules", json=rule).status_code == 201
        messy = b"customer_id,email,name,country,amount,signup\n9001,a@b.example,Ana,Germny,12,31/12/2025\n"
        self._import("ruled", "customers august.csv", messy, dataset="customers")

    def _undo_and_delete(self) -> None:
        """An upload that is undone, one that is in effect again, and one that is deleted."""
        chance = random.Random(9)
        planes = _customers(chance, [*range(5000, 5040), *range(100, 160)])
        self._import("undone", "customers september.csv", planes, dataset="customers")
        self._undo("undo", "undone")
        self._import("redone", "customers october.csv", _customers(chance, range(930, 960)), dataset="customers")
        self._undo("undone-undo", "redone")
        self._undo("redo", "undone-undo")
        self._import("balanced", "invoices.csv", b"id,total\n1,2\n2,4\n3,1\n", expect_rows="3", expect_sums="total = 7")
        self._import("deleted", "contacts by mistake.csv", b"id,name\n1,Ana\n2,Zo\n")
        self.deleted = self.uploads.pop("deleted")
        parameters = {"confirm": str(self.deleted)}
        self._client.delete(f"/api/v1/uploads/{self.deleted}", params=parameters).raise_for_status()

    def _undo(self, state: str, of: str) -> None:
        answer = self._client.post(f"/api/v1/uploads/{self.uploads[of]}/undo")
        assert answer.status_code == 201, answer.text
        self.uploads[state] = int(answer.json()["id"])
        if state != "undoing":
            self._until_ended(self.uploads[state])

    def _import_what_is_reviewed(self) -> None:
        chance = random.Random(5)
        july = _customers(chance, range(1800, 2100), mistakes=30).decode()
        renamed = july.replace("customer_id,email,name", "Kundennummer,E-mail,Full name", 1).replace("signup", "x1", 1)
        self._import("review", "customers july.csv", renamed.encode(), dataset="customers", review="auto")
        self._import("review-checked", "customers july 2.csv", july.encode(), dataset="customers", review="always")
        orders = (STATIC / "sample-orders.csv").read_bytes()
        self._import("review-new", "orders.csv", orders, review="always")
        self._import("review-sheets", "parts.xlsx", workbooks.of_sheets("Part 1", "Part 2", "Part 3"), review="auto")
        archive = _archive({"2026/orders.csv": orders, "notes.pdf": b"%PDF-1.7", "book.xlsx": workbooks.of_sheets("A")})
        self._import("review-archive", "everything.zip", archive, review="auto")
        self._import("divided", "quarter.xlsx", workbooks.of_sheets("April", "May", "June"), parts='["April", "May"]')

    def _send(self, state: str, filename: str, content: bytes = b"", **fields: str) -> int:
        parameters = {"filename": filename, **fields}
        answer = self._client.post("/api/v1/uploads", params=parameters, content=content or b"a,b\n1,2\n")
        assert answer.status_code == 201, answer.text
        self.uploads[state] = int(answer.json()["id"])
        return self.uploads[state]

    def _import(self, state: str, filename: str, content: bytes = b"", **fields: str) -> None:
        upload_id = self._send(state, filename, content, **fields)
        if "external" not in fields.values():
            self._until_ended(upload_id)

    def _until_ended(self, upload_id: int) -> None:
        until(lambda: self._status(upload_id) not in ("pending", "processing"), f"upload {upload_id} to end")

    def _state(self, upload_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/api/v1/uploads/{upload_id}").json()
        return found

    def _status(self, upload_id: int) -> str:
        return str(self._state(upload_id)["status"])

    def _until_rows(self, upload_id: int, rows: int) -> None:
        until(lambda: self._state(upload_id)["rows_processed"] >= rows, f"{rows} rows of upload {upload_id}")

    def _cancel_halfway(self, state: str, filename: str, content: bytes) -> None:
        upload_id = self._send(state, filename, content)
        self._until_rows(upload_id, 60_000)
        self._client.post(f"/api/v1/uploads/{upload_id}/cancel").raise_for_status()

    def _report(self, state: str, **said: int) -> None:
        report = {"event": "bulk_upload_progress", "file_id": self.uploads[state], "rows_total": 50_000, **said}
        self._client.post(
            "/api/v1/internal/notify", json=report, headers={"Authorization": "Bearer secret-of-the-gallery"}
        ).raise_for_status()

    def _freeze_at(self, state: str, rows: int) -> None:
        """Stop the worker of an upload and its work horse between two transactions, so that everything else goes on."""
        self._until_rows(self.uploads[state], rows)
        worker, horse = self._working()
        for pid in (worker, horse):
            os.kill(pid, signal.SIGSTOP)
        self._frozen += [worker, horse]
        until(partial(self._may_write, worker, horse), "a moment between two transactions")
        with Redis(unix_socket_path=str(self._serve.socket)) as redis:  # so that it does not count as dead soon
            for key in get_keys(connection=redis):
                redis.hset(key, "last_heartbeat", utcformat(datetime.now(UTC) + timedelta(hours=1)))
                redis.persist(key)

    def _working(self) -> tuple[int, int]:
        """The worker that is not frozen and has a work horse, and that."""
        workers = [self._serve.children[f"Worker {number}"] for number in range(1, _WORKERS + 1)]
        horses = {each: children_of(each) for each in workers if each not in self._frozen}
        return next((worker, found[0]) for worker, found in horses.items() if found)

    def _may_write(self, *pids: int) -> bool:
        """Whether no frozen process holds the turn to write; otherwise let these go on for a moment."""
        if _is_free(self._serve.data):
            return True
        for signal_ in (signal.SIGCONT, signal.SIGSTOP):
            for pid in pids:
                os.kill(pid, signal_)
        return False

    def _date_back(self) -> None:
        """Spread what has ended over some weeks, as if people had worked with it."""
        chance = random.Random(3)
        ids = sorted(self.uploads.values(), reverse=True)
        ages = _ages(chance, len(ids))
        database = Database(Settings(data=self._serve.data).database)
        with database.transaction() as connection:
            for upload_id, age in zip(ids, ages, strict=True):
                for table in tables.metadata.tables.values():
                    _make_older(connection, table, upload_id, age)
        database.close()

    def close(self) -> None:
        """End what is frozen."""
        for pid in self._frozen:
            kill(pid)
        until(lambda: not any(map(is_running, self._frozen)), "the work horse to end")
        self._client.close()


@contextmanager
def gallery(folder: Path) -> Iterator[Gallery]:
    """A gallery in a folder of its own; inside the block its servers run."""
    with ExitStack() as stack:
        workers = ["--workers", str(_WORKERS)]
        serve, empty = (
            Serve(folder, "data", *workers, port=0, **_VARIABLES),
            Serve(folder, "empty", port=0, **_VARIABLES),
        )
        stack.callback(serve.kill_everything)
        stack.callback(empty.kill_everything)
        found = Gallery(serve, empty, folder)
        stack.callback(found.close)
        found.build()
        yield found


def _archive(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, each in members.items():
            archive.writestr(name, each)
    return content.getvalue()


def _customers(chance: random.Random, ids: Sequence[int], mistakes: int = 0) -> bytes:
    rows = [_customer(chance, id_) for id_ in ids]
    for row in chance.sample(rows[: len(rows) // 2], mistakes):  # most mistakes stand in one part of a file
        column, value = chance.choice(_MISTAKES)
        row[column] = value
    written = io.StringIO()
    table = csv.DictWriter(written, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return written.getvalue().encode()


def _customer(chance: random.Random, id_: int) -> dict[str, str]:
    return {
        "customer_id": str(id_),
        "email": f"person{id_}@example.com",
        "name": chance.choice(_NAMES),
        "country": chance.choice(_COUNTRIES),
        "amount": f"{chance.uniform(1, 900):.2f}",
        "signup": (date(2023, 1, 1) + timedelta(chance.randrange(900))).isoformat(),
    }


def _ages(chance: random.Random, count: int) -> list[timedelta]:
    """Rising: minutes, hours, then days."""
    first = [timedelta(minutes=3), timedelta(minutes=48), timedelta(hours=3), timedelta(hours=20)]
    later = [timedelta(days=number * 2 - 2, minutes=chance.randrange(500)) for number in range(2, count)]
    return (first + later)[:count]


def _make_older(connection: sa.Connection, table: sa.Table, upload_id: int, age: timedelta) -> None:
    """Shift all times that a table has of an upload."""
    key = table.c.get("upload_id", table.c.id if table is tables.uploads else None)
    times = [column for column in table.columns if isinstance(column.type, tables.UtcDateTime)]
    if key is None or not times:
        return
    primary = list(table.primary_key)
    for row in connection.execute(sa.select(*primary, *times).where(key == upload_id)).all():
        values = {each.name: _earlier(row, each.name, age) for each in times}
        mine = [column == getattr(row, column.name) for column in primary]
        connection.execute(sa.update(table).where(*mine).values(values))


def _earlier(row: sa.Row[Any], name: str, age: timedelta) -> datetime | None:
    moment: datetime | None = getattr(row, name)
    return moment and moment - age


def _is_free(data: Path) -> bool:
    """Whether nobody writes to the SQLite database in a data folder, or is next."""
    for path in (*data.glob("*.turn"), *data.glob("*.line")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    return True


def _open_details(page: Page) -> None:
    page.evaluate("document.querySelectorAll('main details:not(.menu)').forEach(each => each.open = true)")


def _choose_reason(page: Page) -> None:
    page.locator("#upload-reasons a, .reasons a").first.click()
    page.locator("#failed-rows .chip").first.wait_for()


def _turn_page(page: Page) -> None:
    page.locator("#failed-rows [rel=next]").click()
    page.locator("#failed-rows [rel=first]").first.wait_for()


def _open_menu(page: Page, number: int) -> None:
    page.locator("main :is(.menu, .filter details, .upload-into) > summary").nth(number).click()


def _select_rows(page: Page) -> None:
    for row in page.locator("#upload-rows input").all()[:3]:
        row.check()


def _make_compact(page: Page) -> None:
    page.click("#density")
    page.context.clear_cookies()


def _open_column(page: Page) -> None:
    page.locator(".head-menu").nth(1).click()
    page.locator(":popover-open").wait_for()


def _open_recent(page: Page) -> None:
    page.click("#recent-link")
    page.locator("#recent li").first.wait_for()


def _open_keys(page: Page) -> None:
    page.keyboard.press("?")
    page.locator("#keys").wait_for()


def _show_toasts(page: Page) -> None:
    """As if uploads of each outcome had just ended."""
    page.evaluate("""async () => {
        const list = new DOMParser().parseFromString(await (await fetch("/uploads/recent")).text(), "text/html");
        const tones = new Map([...list.querySelectorAll("li")].map((each) => [each.className, each]));
        for (const [tone, each] of tones) {
            const toast = document.createElement("div");
            toast.className = `toast toast-bad ${tone}`; // of those that stay
            toast.append(each.querySelector("p"));
            document.getElementById("toasts").append(toast);
        }
    }""")


def _without_database(page: Page) -> None:
    """What a server answers whose database has stopped."""
    detail = "The database cannot be reached at the moment. Please try again shortly."
    steps = [("Try again", "/uploads"), ("Back to uploads", "/uploads")]
    shown = {"status": 503, "title": "Database unavailable", "detail": detail, "steps": steps}
    html = Templates().render("error.html", shown)
    page.route("**/stopped", lambda route: route.fulfill(status=503, content_type="text/html", body=html))
    page.goto(urljoin(page.url, "/stopped"))


def _refused_dataset(page: Page) -> None:
    page.fill("[name=name]", "customers")
    page.fill("[name=field] >> nth=0", "_upload_id")
    page.click("text=Create the dataset")
    page.locator(".field-error").first.wait_for()


def _check_column(page: Page) -> None:
    page.fill("[name=minimum]", "1000000")
    page.click("text=Check the values")
    page.locator(".notice").wait_for()


def _refused_upload(page: Page) -> None:
    """Send the form as without a script, with a name that no dataset can have."""
    page.set_input_files("#upload-file", {"name": "june.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    page.evaluate("document.querySelector('#upload-form [name=dataset]').value = '?!'")
    with page.expect_navigation():
        page.evaluate("document.getElementById('upload-form').submit()")
