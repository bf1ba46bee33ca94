"""DateFormats: which number formats of a workbook show dates and times, and which show durations."""

from datetime import date, datetime, time, timedelta

from jobs.pipeline.xlsx.package import MAX_STYLES_BYTES, Package
from jobs.pipeline.xlsx.xml_part import Handler, local, parse

#: Characters of a format's code that are looked at. Excel allows 255.
MAX_CODE = 255


class DateFormats:
    """Converts numbers to dates, times and durations according to their format.

    dates, durations: the numbers of formats as cells refer to them, as text.
    """

    def __init__(self, dates: frozenset[str], durations: frozenset[str], *, from_1904: bool) -> None:
        from openpyxl.utils import datetime as rules  # takes 0.2 s, and few workbooks need it

        self.dates = dates
        self._durations = durations
        self._epoch = rules.MAC_EPOCH if from_1904 else rules.WINDOWS_EPOCH
        self._from_excel = rules.from_excel
        self._from_iso = rules.from_ISO8601

    @classmethod
    def from_package(cls, package: Package) -> "DateFormats":
        styles = _Styles()
        if package.styles is not None:
            for _ in parse(package.pieces(package.styles, MAX_STYLES_BYTES), styles):
                pass
        dates = frozenset(str(number) for number, kind in enumerate(styles.used) if kind in styles.dates)
        durations = frozenset(str(number) for number, kind in enumerate(styles.used) if kind in styles.durations)
        return cls(dates, durations, from_1904=package.from_1904)

    def convert(self, number: float, style: str) -> date | datetime | time | timedelta:
        """Raises ValueError or OverflowError if there is no such date."""
        converted: date | datetime | time | timedelta = self._from_excel(
            number, self._epoch, timedelta=style in self._durations
        )
        return converted

    def from_iso(self, text: str) -> date | datetime | time | timedelta:
        """A date, a time or a duration in ISO 8601. Raises ValueError."""
        converted: date | datetime | time | timedelta = self._from_iso(text)
        return converted


class _Styles(Handler):
    """used: the format of each style, in their order. dates, durations: the formats that show them."""

    def __init__(self) -> None:
        from openpyxl.styles import numbers

        self._is_date, self._is_duration = numbers.is_date_format, numbers.is_timedelta_format
        self.used: list[str] = []
        self.dates: set[str] = set()
        self.durations: set[str] = set()
        self._in_cells = False
        for number, code in numbers.BUILTIN_FORMATS.items():
            self._classify(str(number), code)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        name = local(name)
        if self.depth == 2:
            self._in_cells = name == "cellXfs"
        elif self.depth == 3 and self._in_cells and name == "xf":
            self.used.append(attributes.get("numFmtId", "0"))
        elif self.depth == 3 and name == "numFmt":
            self._classify(attributes.get("numFmtId", ""), attributes.get("formatCode", "")[:MAX_CODE])

    def end(self, name: str) -> None:
        self.depth -= 1

    def _classify(self, number: str, code: str) -> None:
        for found, matches in ((self.dates, self._is_date), (self.durations, self._is_duration)):
            if matches(code):
                found.add(number)
            else:
                found.discard(number)
