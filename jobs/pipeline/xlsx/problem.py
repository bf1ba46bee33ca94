"""Problem: a cell of a worksheet without a value. Also what is said about a damaged workbook."""

from dataclasses import dataclass

from jobs.errors import UnreadableFileError

#: Rows and columns that a worksheet may have.
MAX_ROWS, MAX_COLUMNS = 1 << 20, 1 << 14
#: Problems that a worksheet may have: each takes about 500 bytes of memory.
MAX_PROBLEMS = 1_000_000
#: Characters of a formula or an error that a problem keeps. Excel allows 8,192 in a formula.
MAX_CHARACTERS = 8_192


@dataclass(frozen=True)
class Problem:
    """A cell without a value. text: shown instead of the value. reason: the end of a sentence for people, the same for
    all such cells but for what is in parentheses at its end."""

    text: str
    reason: str


def error_cell(text: str, place: str) -> Problem:
    """A cell whose formula failed. text: what Excel shows, such as #REF!."""
    text = text[:MAX_CHARACTERS] or "#ERROR"
    return Problem(text, f"is an error in the workbook ({text}, cell {place})")


def unresolved_cell(formula: str, place: str) -> Problem:
    """A formula without a stored result."""
    return Problem(
        f"={formula[:MAX_CHARACTERS]}",
        f"is a formula without a stored result in the workbook: open it in Excel and save it again (cell {place})",
    )


def damaged(error: BaseException) -> UnreadableFileError:
    what = " ".join(str(error)[:1_000].split()).strip("'\"")[:200] or type(error).__name__
    return UnreadableFileError(
        f"The workbook is damaged or incomplete ({what}). Open it in Excel and save it, then upload it again."
    )


def too_many_problems() -> UnreadableFileError:
    return UnreadableFileError(
        f"The worksheet has more than {MAX_PROBLEMS:,} cells with errors or formulas without a result."
        " Open it in Excel and save it again, or save the worksheet as CSV, then upload that file."
    )


def column_number(letters: str) -> int:
    """A: 0, Z: 25, AA: 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def column_letters(number: int) -> str:
    """0: A, 25: Z, 26: AA."""
    letters, number = "", number + 1
    while number:
        number, place = divmod(number - 1, 26)
        letters = chr(65 + place) + letters
    return letters
