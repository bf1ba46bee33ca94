"""How many columns the matching assigns, and how many of them rightly."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.pipeline.accepting import fields_of
from jobs.pipeline.matching import match
from tests.matching.pairs import Pair

#: What either half of the pairs must reach. A wrong assignment is worse than none.
LEAST_PRECISION, LEAST_RECALL = 0.97, 0.85


@dataclass
class Measure:
    """right, wrong: columns that were assigned. missed: columns that should have been. Those left open do not count.

    right_open, missed_open: the columns that a person would have to think about.
    """

    right: int = 0
    wrong: int = 0
    missed: int = 0
    right_open: int = 0
    missed_open: int = 0
    mistakes: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Of the assigned columns, the share that is assigned rightly."""
        return self.right / (self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Of the columns that have a field beyond doubt, the share that is assigned rightly."""
        return self.right / (self.right + self.missed)

    @property
    def recall_of_all(self) -> float:
        """The same with the columns that a person would have to think about."""
        right = self.right + self.right_open
        return right / (right + self.missed + self.missed_open)


def measure(pairs: Iterable[Pair]) -> Measure:
    found = Measure()
    for pair in pairs:
        _judge(pair, found)
    return found


def _judge(pair: Pair, found: Measure) -> None:
    for each in match(pair.columns, fields_of(pair.schema, pair.columns), {}):
        right = pair.right[each.column]
        is_open = each.column in pair.open
        if each.field is not None and each.field != right:
            found.wrong += 1
            score = f"{each.matched_by} {each.score}"
            found.mistakes.append(f"wrong   {pair.name}: {each.column} → {each.field} ({score}), not {right}")
        elif each.field is not None:
            found.right += not is_open
            found.right_open += is_open
        if right is not None and each.field != right:
            found.missed += not is_open
            found.missed_open += is_open
            found.mistakes.append(f"{'open  ' if is_open else 'missed'}  {pair.name}: {each.column} is {right}")
