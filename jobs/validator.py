"""A chunk of text → rows in their columns' types. No I/O.

A dataset that was made from the file it is filled with has types that every value fits: what is left to do is to cast.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.datasets import Field, Schema


def typed(rows: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """rows: text, one column a field, in order. The same rows with missing values missing and the rest cast.

    Dates and moments stay the ISO text they are: both databases take them so. Raises pyarrow.ArrowInvalid.
    """
    columns = {
        each.name: pd.Series(
            pd.arrays.ArrowExtensionArray(_cast(rows[each.name].array.__arrow_array__(), each)), rows.index
        )
        for each in schema.fields
    }
    return pd.DataFrame(columns, copy=False)


def _cast(values: pa.ChunkedArray | pa.Array, each: Field) -> pa.ChunkedArray | pa.Array:
    present = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    if each.type == "integer":
        return pc.cast(present, pa.int64())
    if each.type == "number":
        return pc.cast(present, pa.float64())
    if each.type == "boolean":
        return pc.equal(present, each.details["trueValues"][0])
    return present
