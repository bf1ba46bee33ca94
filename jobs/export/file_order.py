"""FileOrder: what a process is to write (file.py)."""

from dataclasses import asdict, dataclass
from json import dumps, loads
from typing import Literal, Self

Extension = Literal["csv", "jsonl", "parquet", "xlsx"]

#: Exit status of the process if the rows do not fit the format.
REFUSED = 3


@dataclass(frozen=True)
class FileOrder:
    """database: its URL. query: the parameters that choose rows. is_raw: formulas are not escaped, in CSV. provenance:
    with the columns that tell the upload and the row of the file. folder: for temporary files."""

    database: str
    dataset: str
    query: list[tuple[str, str]]
    extension: Extension
    is_raw: bool
    provenance: bool
    folder: str = ""

    def as_line(self) -> bytes:
        return dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        found = loads(text)
        return cls(**{**found, "query": [(name, value) for name, value in found["query"]]})
