"""What a check found."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, but not as well as it could, or could not be checked
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """detail: what is there, or what is wrong and how to mend it, in sentences."""

    check: str
    status: Status
    detail: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(check: str, detail: str) -> Finding:
    return Finding(check, Status.OK, detail)


def warning(check: str, detail: str) -> Finding:
    return Finding(check, Status.WARNING, detail)


def failed(check: str, detail: str) -> Finding:
    return Finding(check, Status.FAILED, detail)


def worst(findings: list[Finding]) -> int:
    """The exit status: 0 if all is well, 1 if there is a warning, 2 if a check failed."""
    return max((list(Status).index(each.status) for each in findings), default=0)
