"""What was measured, as lines of a Markdown table."""

from collections.abc import Iterable
from dataclasses import dataclass

#: Where processes of a benchmark begin, so that they find its modules.


@dataclass(frozen=True)
class Line:
    """One measurement. measured: with its unit. value: what is compared; None: a yardstick, or nothing is required.
    at_most: less is better."""

    what: str
    measured: str
    value: float | None = None
    required: float | None = None
    goal: float | None = None
    at_most: bool = False
    unit: str = "x"

    def reaches(self, bound: float) -> bool:
        assert self.value is not None
        return self.value <= bound if self.at_most else self.value >= bound

    @property
    def verdict(self) -> str:
        if self.value is None or self.required is None:
            return ""
        if not self.reaches(self.required):
            return "NO"
        return "yes" if self.goal is None or not self.reaches(self.goal) else "yes, and the goal"

    def number(self, value: float | None) -> str:
        return "" if value is None else f"{value:,.2f}{self.unit}" if value < 10 else f"{value:,.0f}{self.unit}"

    @property
    def markdown(self) -> str:
        sign = "≤ " if self.at_most else "≥ "
        bounds = [f"{sign}{self.number(bound)}" if bound is not None else "" for bound in (self.required, self.goal)]
        return f"| {self.what} | {self.measured} | {self.number(self.value)} | {' | '.join(bounds)} | {self.verdict} |"


HEAD = "| what | measured | compared | required | goal | reached |\n|---|---|---|---|---|---|"


def table(title: str, notes: Iterable[str], lines: Iterable[Line]) -> str:
    """A section: how it was measured, and what was found."""
    said = "".join(f"- {note}\n" for note in notes)
    return "\n".join([f"\n## {title}\n", f"{said}", HEAD, *(line.markdown for line in lines)])


def rate(rows: int, seconds: float) -> str:
    return f"{rows / seconds:,.0f} rows/s"
