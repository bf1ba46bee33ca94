"""The hostile files and requests, by what they are."""

from tests.benchmarks.hostile.case import Case
from tests.benchmarks.hostile.cases import (
    archives,
    bodies,
    connections,
    json_files,
    pages,
    parquet_files,
    schemas,
    strangers,
    tables,
    workbooks,
)


def all_cases() -> list[Case]:
    """Every case, in the order of their names' first words."""
    return [
        *tables.cases(),
        *workbooks.cases(),
        *archives.cases(),
        *json_files.cases(),
        *parquet_files.cases(),
        *strangers.cases(),
        *bodies.cases(),
        *connections.cases(),
        *schemas.cases(),
        *pages.cases(),
    ]
