"""The import options that a sender chooses."""

from typing import Any

import pytest

from jobs.errors import InvalidImportOptionError
from jobs.formats.dialect import DELIMITERS
from jobs.import_options import ImportOptions, codec_of


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"encoding": "klingon"}, "Unknown encoding “klingon”."),
        ({"encoding": ""}, "Unknown encoding “”."),
        ({"delimiter": "x"}, "Unsupported delimiter “x”. Use one of , ; |, a tab or a space."),
        ({"delimiter": ""}, "Unsupported delimiter “”."),
        ({"header_row": -3}, "header_row cannot be -3: the first line is 1, and 0 means that there is no header."),
    ],
)
def test_an_invalid_import_option_is_rejected(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidImportOptionError) as refused:
        ImportOptions(**options)

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_every_delimiter_that_is_detected_may_be_chosen(delimiter: str) -> None:
    assert delimiter == ImportOptions(delimiter=delimiter).delimiter


def test_without_options_everything_is_detected() -> None:
    assert ImportOptions() == ImportOptions(encoding=None, delimiter=None, header_row=None, sheet=None)


def test_all_options_may_be_combined() -> None:
    said = ImportOptions(encoding="latin1", delimiter=";", header_row=3, sheet="June")

    assert (said.encoding, said.delimiter, said.header_row, said.sheet) == ("latin1", ";", 3, "June")


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UTF8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("ASCII", "utf-8"),
        ("windows-1252", "cp1252"),
        ("latin1", "iso8859-1"),
    ],
)
def test_an_encoding_has_many_names(name: str, codec: str) -> None:
    assert codec == codec_of(name)


@pytest.mark.parametrize(
    "name", ["", "windows-1", "base64", "rot13", "zip", "idna", "unicode_escape", "a\0b", "undefined"]
)
def test_an_unknown_encoding_is_rejected(name: str) -> None:
    with pytest.raises(InvalidImportOptionError, match="Unknown encoding"):
        codec_of(name)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ('{"price": "number"}', {"price": "number"}),
        (' {"sold": "date:%d/%m/%Y", "at": "time"}', {"sold": "date:%d/%m/%Y", "at": "time"}),
        ("{}", {}),
        ("auto", "auto"),
        ("text", "text"),
    ],
)
def test_types_are_chosen_for_all_columns_or_for_some(text: str, types: Any) -> None:
    options = ImportOptions.from_fields({"types": text})

    assert options.types == types
    assert options == ImportOptions.from_json(options.as_json())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "integer",
            "types must be auto (infer them from the file), text (keep every column as text), or a JSON object",
        ),
        ('{"price": ', "types must be auto"),
        ('{"price": 5}', "types must be auto"),
        ("[" * 100_000, "types must be auto"),
        ('{"a":' * 30_000, "types must be auto"),
        ('{"price": "money"}', "types.price is “money”. Use one of string, integer, number,"),
        ('{"sold": "date:%d"}', "types.sold has the format “%d”, which is not one of the type date."),
        ('{"price": "number:%d"}', "types.price has the format “%d”"),
        ('{"a": "' + "x" * 300_000 + '"}', "types has more than 200,000 characters."),
        ("{" + ",".join(f'"{n}": "date"' for n in range(1501)) + "}", "types names 1,501 columns; at most 1,500"),
    ],
)
def test_types_that_do_not_exist_are_rejected(text: str, sentence: str) -> None:
    with pytest.raises(InvalidImportOptionError) as refused:
        ImportOptions.from_fields({"types": text})

    assert str(refused.value).startswith(sentence)
