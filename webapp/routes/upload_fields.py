"""The fields that an upload of a file may have, in a form or in the query: for the description of the API."""

from typing import Any

from jobs.formats.dialect import CHOICES
from jobs.modes import Mode
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
    _field("sheet", "The worksheet. Repeated: each is an upload of its own."),
    _field("member", "The file in an archive. Repeated: each is an upload of its own."),
    _field("parts", "all, or a JSON list of worksheets or files: each is an upload of its own."),
    _field("types", "auto, text, or a JSON object of columns and their types."),
    _field("duplicates", "hold: hold a file that was imported before.", enum=["", "import", "hold"]),
    _field("mode", "What the rows do with those of the dataset, which must allow it.", enum=["", *Mode]),
    _field("review", "Whether somebody looks at the file before its import.", enum=["", *Review]),
    _field("expect_rows", "How many rows are to be imported.", pattern="^[0-9,]*$"),
    _field("expect_sums", "Sums of columns: amount = 1204.50; tax = 12. Or a field expect_sum.<column> for each."),
    _field("expect_sha256", "The SHA-256 of the file."),
    _field("processor", "Who imports the file.", enum=["", *Processor]),
)
FILENAME = _field("filename", "Of the file, if the body is the file itself.")
#: In the query, if the body is the file itself.
OF_FILE = (FILENAME, *FIELDS)


def form() -> dict[str, Any]:
    """The schema of a form."""
    fields = {each.name: {**each.schema, "description": each.description} for each in FIELDS}
    return {"type": "object", "properties": {"file": BINARY, **fields}, "required": ["file"]}
