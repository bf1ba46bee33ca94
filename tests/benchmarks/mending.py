"""`python -m tests.benchmarks.mending`: how much of dirty columns the suggestions repair, and whether they are right.

The exit status is 1 if a suggestion turns a value into a wrong one, or if too few are offered in either half.
"""

import argparse
import sys

from tests.mending.columns import HELD_OUT, TUNING, columns
from tests.mending.measure import LEAST_OFFERED, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show each value that is not repaired")
    words = parser.parse_args()
    is_good = True
    for title, path in [("for tuning", TUNING), ("held out", HELD_OUT)]:
        found = measure(columns(path))
        print(
            f"{title:10}  {found.columns} columns, {found.repairable} values that a careful person could repair: "
            f"{100 * found.share:.1f} % by the first or second suggestion; made wrong: {len(found.wrong)}"
        )
        is_good &= found.share >= LEAST_OFFERED and not found.wrong
        for each in found.wrong:
            print(f"  WRONG {each}")
        if words.verbose:
            print("\n".join(f"  not offered: {each}" for each in found.missed))
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
