"""Text that becomes values."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from jobs import validator
from jobs.datasets import Field, Schema

TRUE_OR_FALSE = {"trueValues": ["TRUE"], "falseValues": ["FALSE"]}


def chunk(*columns: list[str], first: int = 1) -> pd.DataFrame:
    """Text as the reader gives it, numbered from `first` on."""
    text = pd.ArrowDtype(pa.string())
    rows = pd.DataFrame({name: pd.Series(cells, dtype=text) for name, cells in zip("ab", columns, strict=False)})
    rows.index = pd.RangeIndex(first, first + len(rows), name="_row_number")
    return rows


@pytest.mark.parametrize(
    ("field", "cells", "kind", "values"),
    [
        (Field("a", "integer"), ["1", "", "-999999999999999999"], pa.int64(), [1, None, -999999999999999999]),
        (Field("a", "number"), ["0.1", "", "2"], pa.float64(), [0.1, None, 2.0]),
        (Field("a", "boolean", TRUE_OR_FALSE), ["TRUE", "", "FALSE"], pa.bool_(), [True, None, False]),
        (Field("a", "date"), ["2024-02-29", ""], pa.string(), ["2024-02-29", None]),
        (Field("a", "datetime"), ["2024-02-29T10:00:00Z", ""], pa.string(), ["2024-02-29T10:00:00Z", None]),
        (Field("a", "string"), ["Zoë", "", " "], pa.string(), ["Zoë", None, " "]),
    ],
)
def test_cells_become_values_of_their_columns_type_and_empty_ones_are_missing(
    field: Field, cells: list[str], kind: pa.DataType, values: list[Any]
) -> None:
    typed = validator.typed(chunk(cells), Schema([field]))

    assert pd.ArrowDtype(kind) == typed["a"].dtype
    assert values == typed["a"].array.__arrow_array__().to_pylist()


def test_rows_keep_their_numbers_and_columns_their_order() -> None:
    schema = Schema([Field("a", "string"), Field("b", "integer")])
    typed = validator.typed(chunk(["x"] * 3, ["1"] * 3, first=41), schema)

    assert list(typed.columns) == ["a", "b"]
    assert typed.index.tolist() == [41, 42, 43]


def test_no_rows_stay_no_rows_of_the_right_types() -> None:
    typed = validator.typed(chunk([], []), Schema([Field("a", "integer"), Field("b", "boolean", TRUE_OR_FALSE)]))

    assert [pd.ArrowDtype(pa.int64()), pd.ArrowDtype(pa.bool_())] == list(typed.dtypes)


def test_a_value_that_does_not_fit_its_type_is_not_made_to() -> None:
    with pytest.raises(pa.ArrowInvalid, match="7a"):
        validator.typed(chunk(["7", "7a"]), Schema([Field("a", "integer")]))
