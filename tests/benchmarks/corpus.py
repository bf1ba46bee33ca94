"""`python -m tests.benchmarks.corpus`: imports every file of the corpus and compares with its right table.

The exit status is 1 if any file ends green but wrong, or if fewer than 98% are exactly right.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.settings import Settings
from tests.corpus.case import Case, Judgement, Verdict, judge
from tests.corpus.desk import opened
from tests.corpus.files import cases
from tests.support.services import PostgresServer, RedisServer

#: The least share of files that must be exactly right.
LEAST_EXACT = 0.98


def main() -> None:
    words = _words()
    chosen = cases(words.only)
    width = max((len(each.name) for each in chosen), default=0)
    judged: list[Judgement] = []
    with _settings(words.database) as settings, opened(settings) as desk:
        for each in chosen:
            judged.append(judge(each, desk.send(each)))
            if not words.wrong or judged[-1].verdict is not Verdict.EXACT or judged[-1].wrong_types:
                _print_line(each, judged[-1], width, is_verbose=words.verbose)
    sys.exit(_summary(chosen, judged))


def _print_line(case: Case, judgement: Judgement, width: int, *, is_verbose: bool) -> None:
    types = f"{judgement.types_right}/{judgement.types_sure}" if judgement.types_sure else ""
    print(f"{case.name:{width}}  {judgement.verdict:18}  {types}".rstrip(), flush=True)
    if is_verbose:
        for detail in filter(None, [judgement.difference, *judgement.wrong_types]):
            print(f"    {detail}", flush=True)


def _summary(chosen: list[Case], judged: list[Judgement]) -> int:
    """Print the totals. Returns the exit status."""
    verdicts = Counter(each.verdict for each in judged)
    right, sure = sum(each.types_right for each in judged), sum(each.types_sure for each in judged)
    share = verdicts[Verdict.EXACT] / (len(chosen) or 1)
    print(f"\n{len(chosen)} files: {verdicts[Verdict.EXACT]} exactly right ({share:.1%}), ", end="")
    print(", ".join(f"{verdicts[each]} {each}" for each in Verdict if each is not Verdict.EXACT))
    print(f"Types: {right} of {sure} right ({right / (sure or 1):.1%})")
    return int(verdicts[Verdict.GREEN] > 0 or share < LEAST_EXACT)


@contextmanager
def _settings(database: str) -> Iterator[Settings]:
    """Settings of an instance that is removed afterwards."""
    redis = RedisServer()
    postgres = PostgresServer() if database == "postgresql" else None
    try:
        with tempfile.TemporaryDirectory(prefix="bulk-") as folder:
            url = postgres.create() if postgres else None
            yield Settings(data=Path(folder) / "data", redis_url=redis.url, database_url=url)
    finally:
        if postgres:
            postgres.remove()
        redis.remove()


def _words() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.corpus", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], help="a part of a file's name; may be given several times"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="the first difference of each file, and every wrong type"
    )
    parser.add_argument("--wrong", action="store_true", help="only the files that are not exactly right")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    return parser.parse_args()


if __name__ == "__main__":
    main()
