"""Hostile files and requests against running instances: `make hostile`.

Each case runs with a normal import beside it, which has to complete. A case beyond its bounds is reported with what was
found, and the run goes on; the exit status is 1 if there is any. Then mutants of small files and forms are sent for a
while; those beyond the bounds are kept, and `--replay` sends one again.
"""

import argparse
import fnmatch
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.hostile import report
from tests.benchmarks.hostile.case import Case
from tests.benchmarks.hostile.cases import all_cases
from tests.benchmarks.hostile.fuzzer import Fuzzer, replay
from tests.benchmarks.hostile.instance import Instance
from tests.benchmarks.hostile.report import Result
from tests.benchmarks.hostile.trial import Trial
from tests.support.services import PostgresServer

#: Instances at once, each with a case: more would slow down each other on a small machine.
LANES = 2


def main() -> None:
    words = _words()
    chosen = [case for case in all_cases() if not words.only or _matches(case.name, words.only)]
    if words.list:
        print("\n".join(case.name for case in chosen))
        return
    with ExitStack() as stack:
        urls = _database_urls(words.database, stack)
        lanes = [stack.enter_context(_lane(next(urls), words.patience)) for _ in range(_lanes(words, len(chosen)))]
        if words.replay:
            found = [replay(lanes[0], path) for path in words.replay]
        else:
            found = run(chosen, lanes)
            if words.fuzz:
                found += Fuzzer(lanes, words.seed, words.keep).run(words.fuzz)
    sys.exit(1 if any(result.violations for result in found) else 0)


def run(cases: list[Case], lanes: list[Trial]) -> list[Result]:
    """Run the cases, one at a time in each lane, and print what was found."""
    began, results = time.monotonic(), []
    waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    printing = threading.Lock()
    print(report.HEAD, flush=True)

    def work(trial: Trial) -> None:
        while True:
            try:
                case = waiting.get_nowait()
            except queue.Empty:
                return
            result = trial.run(case)
            with printing:
                results.append(result)
                print(result.lines, flush=True)

    threads = [threading.Thread(target=work, args=[trial]) for trial in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(report.summary(results, sum(trial.normal.imported for trial in lanes), time.monotonic() - began), flush=True)
    return results


@contextmanager
def _lane(database_url: str | None, patience: float) -> Iterator[Trial]:
    with tempfile.TemporaryDirectory(prefix="bulk-hostile-") as folder:
        instance = Instance(Path(folder), database_url=database_url)
        try:
            with Trial(instance, patience=patience) as trial:
                yield trial
        finally:
            instance.end()


def _database_urls(wanted: str, stack: ExitStack) -> Iterator[str | None]:
    """The database of each lane: its own SQLite file, its own in a throwaway PostgreSQL, or the one that was named."""
    if wanted == "postgresql":
        server = PostgresServer()
        stack.callback(server.remove)
        while True:
            yield server.create()
    while True:
        yield None if wanted == "sqlite" else wanted


def _lanes(words: argparse.Namespace, cases: int) -> int:
    """A database that was named has room for one instance."""
    alone = words.replay or words.database not in ("sqlite", "postgresql") or (cases == 1 and not words.fuzz)
    return 1 if alone else int(words.lanes)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern if "*" in pattern else f"*{pattern}*") for pattern in patterns)


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hostile", description=__doc__)
    parser.add_argument(
        "--only", action="append", metavar="PATTERN", help="cases whose name has this in it, or fits it"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--fuzz", type=float, default=0, metavar="SECONDS", help="send mutants for so long")
    parser.add_argument("--seed", type=int, help="of the mutants [default: a new one, which is printed]")
    parser.add_argument("--replay", type=Path, action="append", metavar="FILE", help="send a mutant that was kept")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "bulk-upload-hostile", help="folder of mutants"
    )
    parser.add_argument(
        "--database", default="sqlite", metavar="URL", help="sqlite, postgresql (a throwaway server) or a URL"
    )
    parser.add_argument("--lanes", type=int, default=LANES, help="instances at once [default: %(default)s]")
    parser.add_argument(
        "--patience", type=float, default=1.0, help="multiplies the bounds in seconds, on a busy machine"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
