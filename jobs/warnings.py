"""Warnings: what a person may not expect of an import that otherwise succeeds. An upload with one is not green.

A warning is JSON: `code` and `detail`, a sentence for people, and what belongs to the code. A list in it has at most
MAX_LISTED entries, and `more` says how many were left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jobs.excerpt import excerpt

UploadWarning = dict[str, Any]

#: Entries of a list in a warning.
MAX_LISTED = 20
#: Warnings of one upload: a file may have one in each of its columns.
MAX_WARNINGS = 50
#: Names that a sentence has, and characters of each.
_NAMED, _NAME_LENGTH = 5, 60


def columns_ignored(names: Sequence[str]) -> UploadWarning:
    """Columns of the file that no field of the dataset takes."""
    which = f"{_columns(names)} of the file {'is' if len(names) == 1 else 'are'} not in the dataset"
    verb = "was" if len(names) == 1 else "were"
    return _listing("columns_ignored", f"{which} and {verb} not imported.", "columns", names)


def fields_empty(names: Sequence[str]) -> UploadWarning:
    """Fields of the dataset that no column of the file fills."""
    which = f"{_columns(names)} of the dataset {'has' if len(names) == 1 else 'have'} no column in the file"
    return _listing("fields_empty", f"{which}, so nothing was written into {_them(names)}.", "fields", names)


def sheets_ignored(sheets: Mapping[str, int], read: str) -> UploadWarning:
    """Worksheets with data that were not read. sheets: name → rows without the header. read: the name of the other."""
    which = "Another worksheet has" if len(sheets) == 1 else f"{len(sheets):,} other worksheets have"
    named = ", ".join(f"{_quoted(name)} ({rows:,} {_rows(rows)})" for name, rows in list(sheets.items())[:_NAMED])
    rest = f" and {len(sheets) - _NAMED:,} more" if len(sheets) > _NAMED else ""
    detail = f"{which} data that was not imported: {named}{rest}. Only {_quoted(read)} was read."
    listed = [{"name": excerpt(name), "rows": rows} for name, rows in sheets.items()]
    return _listing("sheets_ignored", detail, "sheets", listed)


def no_header() -> UploadWarning:
    """The first row was taken as data."""
    return {
        "code": "no_header",
        "detail": "The file seems to have no header, so its first row was imported as data. If it is a header,"
        " upload the file again with header row 1.",
    }


def header_guessed(names: Sequence[str]) -> UploadWarning:
    """The first row was taken as the header although it could as well be data."""
    return {
        "code": "header_guessed",
        "detail": f"The first row ({_listed(names)}) was taken as the header, but it could as well be data. If it"
        " is, upload the file again with “First row is data”.",
    }


def values_as_missing(column: str, words: Mapping[str, int]) -> UploadWarning:
    """Words that were taken for missing values although nobody declared them. words: word → cells."""
    named = ", ".join(f"{_quoted(word)} ({cells:,})" for word, cells in list(words.items())[:_NAMED])
    rest = f" and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return {
        "code": "values_as_missing",
        "detail": f"In the column {_quoted(column)}, {named}{rest} {'was' if len(words) == 1 else 'were'} taken as"
        " missing.",
        "column": column,
        "words": {excerpt(word): cells for word, cells in list(words.items())[:MAX_LISTED]},
    } | _more(len(words))


def lines_skipped(lines: int, first: int) -> UploadWarning:
    """Second headers and second tables inside the file. lines: how many. first: the line of the first of them."""
    which = f"Line {first:,} repeats" if lines == 1 else f"{lines:,} lines, the first at line {first:,}, repeat"
    ignored = f"{which} the header, or {'begins' if lines == 1 else 'belong to'} a second table"
    detail = f"{ignored}, and {'was' if lines == 1 else 'were'} not imported."
    return {"code": "lines_skipped", "detail": detail, "lines": lines, "first": first}


def surplus_cells(rows: int) -> UploadWarning:
    """Every, or nearly every, row has an empty cell more than the header."""
    verb = "has" if rows == 1 else "have"
    detail = f"{rows:,} {_rows(rows)} {verb} an empty cell more than the header, which was ignored."
    return {"code": "surplus_cells", "detail": detail, "rows": rows}


def values_rounded(*, numbers: bool, times: bool) -> UploadWarning:
    """Values of a typed format that are longer than any that a dataset keeps."""
    what = ["numbers"] * numbers + ["times"] * times
    sentences = ["Numbers of more than 15 digits were rounded to 15."] * numbers
    sentences += ["Times were cut to microseconds."] * times
    return {"code": "values_rounded", "detail": " ".join(sentences), "what": what}


def totals(problems: Sequence[str], balance: Sequence[Mapping[str, Any]]) -> UploadWarning:
    """What was expected of the import is not what was found. problems: about each that differs, in words."""
    named = "; ".join(problems[:_NAMED]) + (f"; and {len(problems) - _NAMED:,} more" if len(problems) > _NAMED else "")
    return _listing("totals", f"Does not balance: {named}.", "balance", [dict(each) for each in balance])


def kept(found: Iterable[UploadWarning]) -> list[UploadWarning]:
    """The first warnings, as many as an upload has at most."""
    return list(found)[:MAX_WARNINGS]


def merged(before: Sequence[UploadWarning], found: Iterable[UploadWarning]) -> list[UploadWarning]:
    """The warnings of an upload with those of a chunk: numbers of `lines_skipped` and `surplus_cells` are added up."""
    by_code = {each["code"]: each for each in before if each["code"] in ("lines_skipped", "surplus_cells")}
    rest = [each for each in before if each["code"] not in by_code]
    for new in found:
        old = by_code.get(new["code"])
        if old is None:
            by_code[new["code"]] = new
        elif new["code"] == "surplus_cells":
            by_code[new["code"]] = surplus_cells(old["rows"] + new["rows"])
        else:
            by_code[new["code"]] = lines_skipped(old["lines"] + new["lines"], min(old["first"], new["first"]))
    tallies = [by_code[code] for code in sorted(by_code)]  # in the same order whatever the chunk size
    return [*rest[: MAX_WARNINGS - len(tallies)], *tallies]


def _listing(code: str, detail: str, name: str, entries: Sequence[Any]) -> UploadWarning:
    return {"code": code, "detail": detail, name: list(entries[:MAX_LISTED])} | _more(len(entries))


def _more(count: int) -> dict[str, int]:
    return {"more": count - MAX_LISTED} if count > MAX_LISTED else {}


def _columns(names: Sequence[str]) -> str:
    return f"{'Column' if len(names) == 1 else 'Columns'} {_listed(names)}"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_quoted(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")


def _quoted(name: str) -> str:
    return f"“{excerpt(name, _NAME_LENGTH)}”"
