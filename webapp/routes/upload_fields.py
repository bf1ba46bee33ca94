"""The fields that an upload of a file may have, in a form or in the query: for the description of the API."""

from typing import Any

from jobs.dialect import CHOICES
from jobs.uploads import Processor, Review
from webapp import parameters
from webapp.operation import BINARY
from webapp.parameters import Parameter


def _field(name: str, description: str, **schema: Any) -> Parameter[str]:
    return parameters.text(name, description, longest=0, schema=schema)


FIELDS = (
    _field("dataset", "The dataset, or the name of a new one."),
    _field("encoding", "Of the text, such as cp1252; it is detected by default."),
    _field("delimiter", "The delimiter of the file; it is detected by default.", examples=list(CHOICES)),
    _field("header_row", "The number of the header row; 0: the first row is data.", pattern="^[0-9]{0,6}$"),
    _field("sheet", "The worksheet."),
    _field("types", "auto, text, or a JSON object of columns and their types."),
    _field("duplicates", "hold: hold a file that was imported before.", enum=["", "import", "hold"]),
    _field("review", "Whether somebody looks at the file before its import.", enum=["", *Review]),
    _field("processor", "Who imports the file.", enum=["", *Processor]),
)
FILENAME = _field("filename", "Of the file, if the body is the file itself.")
#: In the query, if the body is the file itself.
OF_FILE = (FILENAME, *FIELDS)


def form() -> dict[str, Any]:
    """The schema of a form."""
    fields = {each.name: {**each.schema, "description": each.description} for each in FIELDS}
    return {"type": "object", "properties": {"file": BINARY, **fields}, "required": ["file"]}
