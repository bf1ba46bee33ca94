"""The versions of a row as its page shows them: a card for each, the newest first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import escape

from jobs.datasets import Dataset
from jobs.excerpt import excerpt
from jobs.repair.rules import Rule
from jobs.undo.row_history import Version
from jobs.uploads import Upload
from webapp.views.run import RuledView

#: Versions on a page.
VERSIONS_SHOWN = 20
#: Characters of a value, cells of a version, and bytes of HTML for all versions.
VALUE_LENGTH, CELLS_SHOWN, CARDS_BYTES = 200, 100, 300_000


@dataclass(frozen=True)
class CellView:
    """A cell before and after. None: the row was not there, or that is not kept."""

    title: str
    before: str | None
    after: str | None

    @property
    def html_bytes(self) -> int:
        texts = (self.title, self.before or "", self.after or "")
        return 120 + sum(len(str(escape(text)).encode()) for text in texts)


@dataclass(frozen=True)
class Card:
    """A version. what: what happened, in a word or two. changed, same: its cells. left_out: cells for which there is no
    room."""

    version: Version
    what: str
    filename: str
    changed: list[CellView]
    same: list[CellView]
    left_out: int
    rules: list[RuledView]

    @property
    def upload(self) -> Upload:
        return self.version.upload


def cards(dataset: Dataset, versions: Iterable[Version], rules: Sequence[Rule]) -> list[Card]:
    made, room = [], CARDS_BYTES
    for version in versions:
        cells = _cells(dataset, version)
        shown = []
        for cell in cells[:CELLS_SHOWN]:
            room -= cell.html_bytes
            if room > 0:
                shown.append(cell)
        changed = [each for each in shown if each.before != each.after]
        same = [each for each in shown if each.before == each.after]
        filename = "deleted upload" if version.upload.is_deleted else excerpt(version.upload.filename, 80)
        ruled = RuledView.all_of(version.upload, rules) if version.row_number is not None else []
        made.append(Card(version, _what(version), filename, changed, same, len(cells) - len(shown), ruled))
    return made


def _cells(dataset: Dataset, version: Version) -> list[CellView]:
    """Those that changed first: the rest of a long row may have no room."""
    count = len(dataset.schema.fields)
    nothing: list[str | None] = [None] * count
    before, after = version.before or nothing, version.after or nothing
    order = sorted(range(count), key=lambda place: before[place] == after[place])
    return [
        CellView(
            excerpt(dataset.schema.fields[place].title or dataset.schema.fields[place].name, 80),
            _shown(before[place], after[place]),
            _shown(after[place], before[place]),
        )
        for place in order
    ]


def _shown(text: str | None, other: str | None) -> str | None:
    """The beginning of a value, or that and where it differs from the other one."""
    if text is None or len(text) <= VALUE_LENGTH or text == other:
        return text and excerpt(text, VALUE_LENGTH)
    common = next((place for place, pair in enumerate(zip(text, other or "", strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, common - VALUE_LENGTH // 4)
    return ("…" if start else "") + excerpt(text[start:], VALUE_LENGTH)


def _what(version: Version) -> str:
    upload = version.upload
    if upload.is_undo:
        if version.after is None:
            return "Removed by an undo"
        return "Put back by an undo" if version.before is None else "Earlier values restored by an undo"
    if version.after is None:
        return "Replaced" if version.after_lost else "Removed: all rows were replaced"
    corrected = "by a repair" if upload.kind == "repair" else ""
    word = "Changed" if version.before is not None or version.before_lost else "Added"
    return f"{word} {corrected}".rstrip()
