"""Which samples of a file the fields of a dataset accept, for matching: asked of the validator itself."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from jobs.pipeline.matching import PROBES, Column, FieldOf
from jobs.pipeline.validator import Validator
from jobs.schema import SchemaField, TableSchema


def fields_of(schema: TableSchema, columns: Sequence[Column]) -> list[FieldOf]:
    """The fields as matching needs them. columns: those of the file; a field knows only their samples.

    Each distinct sample is validated once for each kind of field, all of them together.
    """
    texts = list(dict.fromkeys([*PROBES, *(text for column in columns for text in column.samples)]))
    accepted: dict[str, frozenset[str]] = {}
    fields = []
    for field in schema.fields:
        is_text = _is_text(field)
        rules = field.model_dump_json(exclude={"name", "title", "description", "aliases"})
        if not is_text and rules not in accepted:
            accepted[rules] = _accepted(schema, field, texts)
        accepts = frozenset[str]().__contains__ if is_text else accepted[rules].__contains__
        fields.append(FieldOf(field.name, field.title, tuple(field.aliases), accepts, is_text))
    return fields


def _is_text(field: SchemaField) -> bool:
    """Whether a field accepts nearly any text."""
    rules = field.constraints
    return field.type == "string" and field.format == "default" and rules.pattern is None and rules.enum is None


def _accepted(schema: TableSchema, field: SchemaField, texts: list[str]) -> frozenset[str]:
    alone = TableSchema.model_construct(fields=[field], missing_values=schema.missing_values, primary_key=[])
    rows = pd.DataFrame({"text": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(texts, pa.string())))})
    failed = {row.row_number for row in Validator(alone, {field.name: "text"}).validate(rows).failed}
    return frozenset(text for number, text in enumerate(texts) if number not in failed)
