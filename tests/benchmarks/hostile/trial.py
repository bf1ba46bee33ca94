"""Runs hostile cases, one at a time for each instance, with a normal import beside each."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx

from tests.benchmarks.hostile.case import (
    MB,
    START_SECONDS,
    Bounds,
    Case,
    FileCase,
    Outcome,
    RequestCase,
    allowed_seconds,
)
from tests.benchmarks.hostile.instance import POLL_SECONDS, Instance
from tests.benchmarks.hostile.looks import Looks
from tests.benchmarks.hostile.normal import NormalImport
from tests.benchmarks.hostile.report import Result
from tests.benchmarks.hostile.watch import HEALTH_TIMEOUT, Seen, Watch

#: Seconds after a case until nothing of it may be left on disk.
TIDY_SECONDS = 5.0
#: Beginnings of sentences that no upload may end with: nobody can do anything with them.
FORBIDDEN = ("Stopped after",)
#: What an upload ends with when its work horse was killed twice.
CUT = "could not be read within the limits"


class Trial:
    """An instance on which one case runs after the other. Entered, it is under watch."""

    def __init__(self, instance: Instance, *, patience: float = 1.0) -> None:
        """patience: by which bounds in seconds are multiplied, for a busy machine."""
        self.instance = instance
        self.normal = NormalImport(instance)
        self.patience = patience
        self._watch = Watch(instance)

    def __enter__(self) -> "Trial":
        self.normal.run()  # loads what is loaded once
        self._watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.__exit__()

    def run(self, case: Case) -> Result:
        """Run a case and a normal import to their ends, and judge."""
        if isinstance(case, RequestCase):
            return self._judged(case.name, lambda: case.attack(self.instance), case.bounds)
        content = case.build()
        bounds = replace(case.bounds, seconds=None)  # of the upload, not of everything that is done beside it
        return self._judged(case.name, lambda: self._upload(case, content), bounds)

    def measured(self, name: str, action: Callable[[], str]) -> Result:
        """Anything else, with a normal import beside it. What it returns is the outcome."""
        return self._judged(name, lambda: Outcome(action()), Bounds())

    def peak_of(self, pid: int) -> int:
        """Bytes of a work horse at its peak, as far as it was seen."""
        return self._watch.peak_of(pid)

    def _judged(self, name: str, attack: Callable[[], Outcome], bounds: Bounds) -> Result:
        children, logged = dict(self.instance.children), self.instance.log_size
        self._watch.begin()
        beside = _Beside(self.normal)
        began = time.monotonic()
        try:
            outcome = attack()
        except Exception as error:
            outcome = Outcome(f"{error!r}", [f"the attack could not be carried out: {error!r}"])
        seconds = time.monotonic() - began
        violations = [*outcome.violations, *beside.violations(), *self._unfinished()]
        violations += self._defects(children, logged)
        left_over = self._left_over()
        seen = self._watch.seen
        violations += _beyond(bounds, seen, seconds, self.patience)
        violations += [f"left over: {name}" for name in left_over[:5]]
        if seen.growth > bounds.growth or seen.health > HEALTH_TIMEOUT / 2:
            self.instance.restart_web()  # or the next case would answer for this one
        return Result(name, outcome.text, seconds, seen, left_over, violations)

    def _upload(self, case: FileCase, content: bytes) -> Outcome:
        answer = self.instance.post(content, case.filename, **case.fields)
        if answer.status_code != 201:
            return refused(answer)
        seconds = allowed_seconds(case, len(content)) * self.patience
        upload_id = answer.json()["id"]
        upload = self.instance.ended(upload_id, seconds)
        if upload is None:
            return self._stopped(upload_id, seconds)
        text = upload["error"] or f"{upload['rows_success']:,} rows, {upload['rows_failed']:,} failed"
        violations = [*violations_of(upload), *Looks(self.instance).at(upload)]
        if case.beyond_postgresql and not self.instance.is_sqlite:
            if case.beyond_postgresql not in (upload["error"] or ""):
                violations.append(f"it should have failed, “{case.beyond_postgresql}”: {text}")
        elif case.must_complete and upload["status"] != "completed":
            violations.append(f"it should have been completed: {upload['error']}")
        if case.cells is not None and upload["status"] == "completed":
            violations += self._wrong_cells(upload, case.cells)
        return Outcome(f"{upload['status']}: {text}", violations)

    def _stopped(self, upload_id: int, seconds: float) -> Outcome:
        """Cancel an upload that has not ended in time."""
        upload = self.instance.upload(upload_id)
        by_itself = self.instance.cancel(upload_id)
        killed = [] if by_itself else ["its work horse did not end within 2 s of the cancel, and was killed"]
        said = f"attempt {upload['attempt']}, {upload['rows_processed']:,} rows"
        return Outcome(
            f"{upload['status']} after {seconds:.0f} s ({said})",
            [f"has not ended after {seconds:.0f} s ({said})", *killed],
        )

    def _wrong_cells(self, upload: dict[str, Any], expected: list[list[str]]) -> list[str]:
        found = self.instance.client.get(f"/api/v1/datasets/{upload['dataset']}/rows", params={"limit": 500}).json()
        cells = [item["cells"] for item in found["items"]]
        if cells == expected:
            return []
        return [f"stored {str(cells)[:150]}, not {str(expected)[:150]}"]

    def _unfinished(self) -> list[str]:
        """Wait for uploads that requests have made, and cancel those that do not end."""
        deadline = time.monotonic() + START_SECONDS * self.patience
        while (found := self.instance.active()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for upload_id in found:
            self.instance.cancel(upload_id)
        return [f"upload {upload_id} has not ended" for upload_id in found]

    def _defects(self, children: dict[str, int], logged: int) -> list[str]:
        """Processes that have died, and tracebacks in the log."""
        now = self.instance.children
        died = [f"{name} has died" for name, pid in children.items() if now.get(name) != pid]
        text = self.instance.log_since(logged)
        if "Traceback (most recent call last)" not in text:
            return died
        last = [line for line in text.partition("Traceback")[2].splitlines()[1:] if line and not line.startswith(" ")]
        return [*died, f"a traceback is in the log: {' '.join(last[:1])[:200]}"]

    def _left_over(self) -> list[str]:
        deadline = time.monotonic() + TIDY_SECONDS
        while (found := self.instance.left_over()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found


class _Beside:
    """A normal import in a thread."""

    def __init__(self, normal: NormalImport) -> None:
        self._found: list[str] = []
        self._thread = threading.Thread(target=lambda: self._found.extend(normal.run()))
        self._thread.start()

    def violations(self) -> list[str]:
        """Wait for its end."""
        self._thread.join()
        return self._found


def refused(answer: httpx.Response) -> Outcome:
    violations = [f"was answered with {answer.status_code}"] if answer.status_code >= 500 else []
    try:
        detail = answer.json().get("detail", "")
    except ValueError:
        detail = answer.text
    return Outcome(f"{answer.status_code}: {detail}", violations)


def violations_of(upload: dict[str, Any]) -> list[str]:
    error = upload["error"] or ""
    found = []
    if upload["status"] == "failed" and (not error or error.startswith(FORBIDDEN)):
        found.append(f"failed without a reason that helps: {error}")
    if CUT in error:
        found.append(f"its work horse was cut: {error}")
    elif upload["attempt"] > 1:
        found.append(f"needed {upload['attempt']} attempts")
    return found


def _beyond(bounds: Bounds, seen: Seen, seconds: float, patience: float) -> list[str]:
    found = []
    if bounds.seconds is not None and seconds > bounds.seconds * patience:
        found.append(f"took {seconds:.1f} s, more than {bounds.seconds * patience:.0f} s")
    if seen.worker > bounds.worker:
        found.append(f"a worker held {seen.worker / MB:,.0f} MB, more than {bounds.worker / MB:,.0f} MB")
    if seen.growth > bounds.growth:
        found.append(f"the web process grew by {seen.growth / MB:,.0f} MB, more than {bounds.growth / MB:,.0f} MB")
    if seen.health > bounds.health * patience:
        found.append(f"/healthz took {seen.health:.1f} s, more than {bounds.health * patience:.1f} s")
    return found
