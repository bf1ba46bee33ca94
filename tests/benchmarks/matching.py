"""`python -m tests.benchmarks.matching`: how many columns of real headers are matched to the right field.

The exit status is 1 if either half of the pairs is below the least precision or recall.
"""

import argparse
import sys

from tests.matching.measure import LEAST_PRECISION, LEAST_RECALL, Measure, measure
from tests.matching.pairs import HELD_OUT, TUNING, pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show each column that is not as expected")
    words = parser.parse_args()
    is_good = True
    for title, path in [("for tuning", TUNING), ("held out", HELD_OUT)]:
        chosen = pairs(path)
        print(f"{title}: {len(chosen)} pairs of header sets")
        for language in sorted({pair.language for pair in chosen}):
            _print(language, measure(pair for pair in chosen if pair.language == language))
        found = measure(chosen)
        _print("all", found)
        is_good &= found.precision >= LEAST_PRECISION and found.recall >= LEAST_RECALL
        if words.verbose:
            print("\n".join(f"    {each}" for each in found.mistakes))
    sys.exit(not is_good)


def _print(label: str, found: Measure) -> None:
    print(
        f"  {label:4} precision {found.precision:.3f}  recall {found.recall:.3f}  "
        f"({found.right + found.right_open} right, {found.wrong} wrong, {found.missed} missed; "
        f"recall with doubtful columns {found.recall_of_all:.3f})"
    )


if __name__ == "__main__":
    main()
