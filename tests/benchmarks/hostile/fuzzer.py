"""Sends mutants to running instances, several at once, and keeps those that are beyond the bounds."""

import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from tests.benchmarks.hostile import report
from tests.benchmarks.hostile.case import MB, START_SECONDS, WORKER_BYTES
from tests.benchmarks.hostile.looks import Looks
from tests.benchmarks.hostile.mutation import Mutant, Mutator
from tests.benchmarks.hostile.report import Result
from tests.benchmarks.hostile.trial import Trial, refused, violations_of
from tests.benchmarks.hostile.wire import exchange, request

#: Mutants in flight on each instance: as many as it has workers, and some that wait.
IN_FLIGHT = 4
#: One of so many mutants is looked at on all pages.
LOOKED_AT = 5
#: Seconds between two looks at an upload.
POLL_SECONDS = 0.05
#: The heaviest and the slowest mutants that are named at the end.
NAMED = 5


@dataclass(frozen=True)
class Shot:
    """What became of a mutant. memory: bytes of its work horse at its peak, 0 if it ended too soon to be seen."""

    mutant: Mutant
    outcome: str
    seconds: float
    memory: int
    violations: list[str]


class Fuzzer:
    """Sends mutants for a while. Those beyond the bounds are written to a folder, for `replay`."""

    def __init__(self, trials: list[Trial], seed: int | None, keep: Path) -> None:
        self._trials = trials
        self._seed = random.SystemRandom().randrange(10**6) if seed is None else seed
        self._mutator = Mutator(self._seed)
        self._numbers = itertools.count(1)
        self._keep = keep
        self._lock = threading.Lock()
        self._shots: list[Shot] = []

    def run(self, seconds: float) -> list[Result]:
        print(f"\nMutants for {seconds:.0f} s, seed {self._seed}:", flush=True)
        deadline = time.monotonic() + seconds
        with ThreadPoolExecutor(len(self._trials)) as lanes:
            results = list(lanes.map(lambda trial: self._lane(trial, deadline), self._trials))
        self._print_summary()
        beyond = [shot for shot in self._shots if shot.violations]
        return results + [
            Result(shot.mutant.name, shot.outcome, shot.seconds, results[0].seen, [], shot.violations)
            for shot in beyond
        ]

    def _lane(self, trial: Trial, deadline: float) -> Result:
        """Mutants on one instance, with one normal import after the other beside them."""

        def attack() -> str:
            normal: list[str] = []
            with ThreadPoolExecutor(IN_FLIGHT + 1) as pool:
                shooting = [pool.submit(self._shoot, trial, deadline) for _ in range(IN_FLIGHT)]
                while time.monotonic() < deadline:
                    normal += trial.normal.run()
                for each in shooting:
                    each.result()
            if normal:
                raise AssertionError("; ".join(normal[:3]))
            return "mutants"

        result = trial.measured(f"fuzz: all mutants of lane {self._trials.index(trial) + 1}", attack)
        print(result.lines, flush=True)
        return result

    def _shoot(self, trial: Trial, deadline: float) -> None:
        while time.monotonic() < deadline:
            with self._lock:
                number = next(self._numbers)
            shot = fire(trial, self._mutator.mutant(number), looks=number % LOOKED_AT == 0)
            with self._lock:
                self._shots.append(shot)
                if shot.violations:
                    self._report(shot)

    def _report(self, shot: Shot) -> None:
        path = keep(shot.mutant, self._keep)
        print(f"{shot.mutant.name}: {shot.outcome} ({shot.seconds:.1f} s, {len(shot.mutant.content):,} bytes)")
        print("\n".join(f"    BEYOND: {each}" for each in shot.violations))
        print(f"    again: make hostile ARGS='--replay {path}'", flush=True)

    def _print_summary(self) -> None:
        outcomes: dict[str, int] = {}
        for shot in self._shots:
            key = f"{shot.mutant.kind} {shot.outcome.partition(':')[0].partition(' after')[0]}"
            outcomes[key] = outcomes.get(key, 0) + 1
        print(f"{len(self._shots)} mutants: " + ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())))
        for what, figure in (("slowest", "seconds"), ("heaviest", "memory")):
            worst = sorted(self._shots, key=attrgetter(figure), reverse=True)[:NAMED]
            named = [f"{shot.mutant.name} ({shot.seconds:.1f} s, {shot.memory / MB:.0f} MB)" for shot in worst]
            print(f"The {what}: {', '.join(named)}", flush=True)


def fire(trial: Trial, mutant: Mutant, *, looks: bool) -> Shot:
    """Send a mutant and wait for its end. looks: at its pages too."""
    began = time.monotonic()
    try:
        return _send_form(trial, mutant) if mutant.content_type else _upload(trial, mutant, looks)
    except Exception as error:
        return Shot(mutant, f"{error!r}", time.monotonic() - began, 0, [f"could not be sent: {error!r}"])


def _send_form(trial: Trial, mutant: Mutant) -> Shot:
    """A form; its answer counts. If it became an upload, that ends beside the others."""
    content = request(trial.instance, "POST", "/api/v1/uploads", mutant.content, Content_Type=mutant.content_type)
    reply = exchange(trial.instance, content)
    wrong = reply.status is None or reply.status >= 500
    return Shot(mutant, str(reply), reply.seconds, 0, [f"was answered: {reply}"] if wrong else [])


def _upload(trial: Trial, mutant: Mutant, looks: bool) -> Shot:
    instance = trial.instance
    answer = instance.post(mutant.content, mutant.filename)
    if answer.status_code != 201:
        outcome = refused(answer)
        return Shot(mutant, outcome.text, 0, 0, outcome.violations)
    upload_id, allowed = answer.json()["id"], START_SECONDS * trial.patience
    upload, seconds, memory = _watched(trial, upload_id, allowed)
    if upload is None:
        by_itself = instance.cancel(upload_id)
        killed = [] if by_itself else ["its work horse did not end within 2 s of the cancel, and was killed"]
        return Shot(mutant, "not ended", seconds, memory, [f"has not ended after {seconds:.0f} s", *killed])
    violations = violations_of(upload)
    if memory > WORKER_BYTES:
        violations.append(f"its work horse held {memory / MB:,.0f} MB")
    if looks:
        violations += Looks(instance).at(upload)
    return Shot(mutant, f"{upload['status']}: {upload['error'] or ''}", seconds, memory, violations)


def _watched(trial: Trial, upload_id: int, allowed: float) -> tuple[dict[str, Any] | None, float, int]:
    """The upload at its end, or None; seconds since a worker took it; the peak of its work horse."""
    began, memory = None, 0
    while (upload := trial.instance.upload(upload_id))["status"] in ("pending", "processing"):
        if upload["status"] == "processing":
            began = began or time.monotonic()
            if horse := trial.instance.horse_of(upload_id):
                memory = max(memory, trial.peak_of(horse))
            if time.monotonic() - began > allowed:
                return None, time.monotonic() - began, memory
        time.sleep(POLL_SECONDS)
    return upload, time.monotonic() - began if began else 0.0, memory


def keep(mutant: Mutant, folder: Path) -> Path:
    """Write a mutant and what is needed to send it again."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / mutant.name
    path.write_bytes(mutant.content)
    about = {"kind": mutant.kind, "filename": mutant.filename, "content_type": mutant.content_type}
    path.with_name(f"{mutant.name}.json").write_text(json.dumps(about))
    return path


def replay(trial: Trial, path: Path) -> Result:
    """Send a mutant that was kept, or any other file, and print what became of it."""
    about_path = path.with_name(f"{path.name}.json")
    about = json.loads(about_path.read_text()) if about_path.exists() else {"kind": "file", "filename": path.name}
    mutant = Mutant(path.name, content=path.read_bytes(), **about)
    shots: list[Shot] = []

    def attack() -> str:
        shots.append(fire(trial, mutant, looks=True))
        return shots[0].outcome

    result = trial.measured(mutant.name, attack)
    result.violations.extend(shots[0].violations if shots else [])
    print(f"{report.HEAD}\n{result.lines}", flush=True)
    return result
