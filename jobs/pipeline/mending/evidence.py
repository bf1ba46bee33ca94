"""What the valid values of a dataset are like: evidence for what its wrong ones mean."""

import sqlalchemy as sa

from jobs.datasets import Dataset
from jobs.rows.spelling import format_value
from jobs.rows.sql_table import run

#: The types of fields whose values tell something about others.
_TELLING = {"integer", "number", "date", "datetime"}
#: Rows that are looked at.
ROWS = 1_000


def sample(connection: sa.Connection, dataset: Dataset) -> dict[str, list[str]]:
    """Some stored values of numbers and dates, as text in the spelling of their field."""
    fields = [field for field in dataset.schema.fields if field.type in _TELLING]
    if not fields:
        return {}
    rows = run(connection, dataset.table(connection.dialect).some([each.name for each in fields], ROWS)).all()
    return {
        field.name: [format_value(dataset.schema, field, row[place]) for row in rows if row[place] is not None]
        for place, field in enumerate(fields)
    }
