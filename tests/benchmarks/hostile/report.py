"""What was found, a line for each case, and the summary."""

from dataclasses import dataclass

from tests.benchmarks.hostile.case import MB
from tests.benchmarks.hostile.watch import Seen

#: Characters of a name and of an outcome.
NAME, OUTCOME = 44, 60
HEAD = f"{'case':{NAME}} {'seconds':>8} {'worker':>8} {'web':>7} {'growth':>7} {'health':>8}  outcome"


@dataclass(frozen=True)
class Result:
    """violations: sentences about what is beyond its bounds."""

    name: str
    outcome: str
    seconds: float
    seen: Seen
    left_over: list[str]
    violations: list[str]

    @property
    def lines(self) -> str:
        """A line with the figures, and a line for each violation."""
        left = f"; left over: {', '.join(self.left_over[:3])}" if self.left_over else ""
        figures = (
            f"{_shortened(self.name, NAME):{NAME}} {self.seconds:6.1f} s {self.seen.worker / MB:5.0f} MB"
            f" {self.seen.web / MB:4.0f} MB {self.seen.growth / MB:4.0f} MB {self.seen.health * 1000:5.0f} ms"
            f"  {_shortened(self.outcome, OUTCOME)}{left}"
        )
        return "\n".join([figures, *(f"    BEYOND: {each}" for each in self.violations)])


def summary(results: list[Result], normal_imports: int, seconds: float) -> str:
    beyond = [result.name for result in results if result.violations]
    what = f"{len(beyond)} beyond their bounds: {', '.join(beyond)}" if beyond else "none beyond its bounds"
    peak = max((result.seen.worker for result in results), default=0) / MB
    web = max((result.seen.web for result in results), default=0) / MB
    return (
        f"\n{len(results)} cases in {seconds:.0f} s, {what}. {normal_imports} normal imports completed beside them."
        f" Peaks: worker {peak:.0f} MB, web {web:.0f} MB."
    )


def _shortened(text: str, length: int) -> str:
    text = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return text if len(text) <= length else f"{text[: length - 1]}…"
