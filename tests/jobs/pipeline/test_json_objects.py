"""Reading JSON objects piece by piece."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import UnreadableFileError
from jobs.pipeline import json_objects
from jobs.pipeline.json_objects import Fields, Number, Objects, cells_of
from tests.support.files import nothing, written


def read(folder: Path, text: str | bytes) -> list[dict[str, Any]]:
    path = written(folder, text.encode() if isinstance(text, str) else text)
    with path.open("rb") as file:
        return list(Objects(file, nothing))


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(UnreadableFileError) as refused:
        read(folder, text)
    return str(refused.value)


ROWS = [{"a": "x", "b": None}, {"b": '{["\\', "c": True}, {"a": "\u00e9\n\n", "c": False}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=4),
        "\n".join(map(json.dumps, ROWS)),
        "\r\n\r\n".join(map(json.dumps, ROWS)) + "\r\n\n",
        "".join(map(json.dumps, ROWS)),
        "\ufeff" + json.dumps(ROWS, ensure_ascii=False),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_objects_are_in_an_array_or_one_below_the_other(
    tmp_path: Path, text: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_objects, "PIECE_BYTES", piece)

    assert read(tmp_path, text) == ROWS


def test_numbers_stay_as_they_are_written(tmp_path: Path) -> None:
    (found,) = read(tmp_path, '{"a": 1.10, "b": -0, "c": 1E+2, "d": 12345678901234567890, "e": NaN, "f": true}')

    cells = cells_of(found, list(found))

    assert cells == ["1.10", "-0", "1E+2", "12345678901234567890", "NaN", "true"]
    assert cells_of(found, ["x", "f", "a"]) == [None, "true", "1.10"]


def test_the_fields_are_those_of_all_objects_with_the_kinds_of_their_values(tmp_path: Path) -> None:
    fields = Fields()
    text = '[{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"c": null, "a": 1.5}, {"b": false}]'

    assert [fields.see(found) for found in read(tmp_path, text)] == [False, True, False, True]
    assert fields.kinds == {"a": {Number}, "b": {str, bool}, "c": set()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"a": 1}', "The file is incomplete: its array has no end behind object 1."),
        ('[{"a": 1},', "The file is incomplete: its array has no end behind object 1."),
        ('[{"a": 1}, {"a"', "The file is incomplete: it ends within object 2."),
        ('{"a": 1}\n{"a": "x', "The file is incomplete: it ends within object 2."),
        ('[{"a": 1} {"a": 2}]', "The file is no list of JSON objects (behind object 1)."),
        ('[{"a": 1},]', "The file is no list of JSON objects (behind object 1)."),
        ('[{"a": 1}] {"a": 2}', "The file goes on behind the end of its array (after object 1)."),
        ("[[1]]", "The file is no list of JSON objects (at the beginning)."),
        ('{"a": 1}\n7', "The file is no list of JSON objects (behind object 1)."),
        ('{"a": tru}', "Object 1 is malformed JSON (Expecting value)."),
        ("{'a': 1}", "Object 1 is malformed JSON (Expecting property name enclosed in double quotes)."),
        ('{"a": 1, "b": [1, 2]}', "The field “b” has a list as its value (object 1). Only flat objects"),
        ('{"a": 1}\n{"b": {}}', "The field “b” has an object as its value (object 2). Only flat objects"),
        ('{"a": 1, "b": 2, "a": 3}', "Object 1 has the field “a” twice."),
        ('{"a": ' + "[" * 200_000, "Object 1 is nested too deeply."),
        ('{"a": ' + '{"a":' * 200_000, "Object 1 is nested too deeply."),
    ],
)  # fmt: skip
def test_the_refusal_says_what_is_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    assert refusal(tmp_path, text).startswith(sentence)


def test_a_very_long_object_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_objects, "MAX_OBJECT", 1 << 20)
    path = written(tmp_path, b'{"a": "' + b"x" * (8 << 20))
    ticks = []

    with (
        path.open("rb") as file,
        pytest.raises(UnreadableFileError, match="Object 1 is malformed or has more than 1,048,576 characters"),
    ):
        list(Objects(file, lambda: ticks.append(1)))
    assert len(ticks) <= 3


def test_too_many_fields_and_too_long_names_are_refused() -> None:
    with pytest.raises(UnreadableFileError, match="more than 1,500 different fields"):
        Fields().see({f"f{n}": None for n in range(1_501)})
    with pytest.raises(UnreadableFileError, match="Object 1 has a field whose name has 201 characters"):
        Fields().see({"x" * 201: None})


def test_a_field_that_is_there_twice_among_very_many_is_found_at_once(tmp_path: Path) -> None:
    names = [*(f'"f{n}": 1' for n in range(200_000)), '"f7": 2']

    assert "Object 1 has the field “f7” twice" in refusal(tmp_path, "{" + ",".join(names) + "}")


def test_bytes_that_are_no_utf8_are_kept_for_the_reader_to_refuse(tmp_path: Path) -> None:
    assert read(tmp_path, b'{"a": "\xff"}') == [{"a": "\udcff"}]
