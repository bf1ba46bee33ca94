"""`python -m jobs.dataset_admin.value_check`: checks values against a field as an import does, in a process of its own
(value_process.py).

The first line on stdin is a Table Schema of one field, as JSON. Each further line is a list of texts, the answer to
which is a line on stdout: a list of the values that they stand for, and one of the places of those that the field does
not take. The process ends with stdin. It knows no database, and keeps nothing between two lines.
"""

import json
import os
import sys
from typing import Any

import pandas as pd

from jobs.pipeline.validator import Validator
from jobs.schema import TableSchema

#: How much this process gives way to others, of which most answer requests.
_NICENESS = 5


def check(schema: TableSchema, texts: list[str]) -> tuple[list[Any], list[int]]:
    """The values that some texts stand for, None for a missing one, and the places of those that are not valid."""
    [name] = schema.names
    rows = pd.DataFrame({name: pd.array(texts, dtype="string[pyarrow]")})
    validated = Validator(schema, {name: name}).validate(rows)
    values: list[Any] = [None] * len(texts)
    good = validated.good[name]
    for place, value in zip(good.index.tolist(), good.array.__arrow_array__().to_pylist(), strict=True):
        values[place] = value
    return values, [row.row_number for row in validated.failed]


def main() -> None:
    os.nice(_NICENESS)
    schema = TableSchema.stored(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(check(schema, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
