# ruff: noqa: RUF001  # letters and signs of many scripts
"""Repairs of dates and times.

A date is read only if it has one reading. 03/04/2026 has two: the order is told by dates of the same form in the
column that have only one, as long as they agree. A year of two digits is read only if the column's other values are
of the years of one century around it.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

from jobs.pipeline.mending.words import unquoted
from jobs.repair.repairs import Step
from jobs.rows.spelling import format_value
from jobs.schema import SchemaField, TableSchema

_MONTHS = (
    "january jan januar jänner januari januar janvier janv enero ene gennaio gen janeiro tammikuu styczeń"
    " stycznia января"
    " янв ledna leden ocak",
    "february feb februar febr februari février févr fév febrero febbraio fevereiro fev helmikuu luty lutego"
    " февраля фев"
    " února únor şubat",
    "march mar märz mrz maart mars marzo março maaliskuu marzec marca марта мар března březen mart",
    "april apr avril avr abril abr aprile kwiecień kwietnia апреля апр dubna duben nisan",
    "may mai mei maj mayo maggio mag maio toukokuu maja мая май května květen mayıs",
    "june jun juni juin junio giugno giu junho kesäkuu czerwiec czerwca июня июн června červen haziran",
    "july jul juli juillet juil julio luglio lug julho heinäkuu lipiec lipca июля июл července červenec temmuz",
    "august aug augustus août agosto ago elokuu sierpień sierpnia августа авг srpna srpen ağustos",
    "september sep sept septembre septiembre settembre set setembro syyskuu wrzesień września сентября сен září eylül",
    "october oct oktober okt octobre octubre ottobre ott outubro out lokakuu październik października октября окт října"
    " říjen ekim",
    "november nov novembre noviembre novembro marraskuu listopada ноября ноя listopadu kasım",
    "december dec dezember dez décembre déc diciembre dic dicembre dezembro joulukuu grudzień grudnia декабря дек"
    " prosince prosinec aralık",
)
_DAYS_OF_WEEK = (
    "monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun"
    " montag dienstag"
    " mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so lundi mardi mercredi jeudi"
    " vendredi samedi"
    " dimanche lun mer jeu ven sam dim lunes martes miércoles jueves viernes sábado domingo mié jue vie sáb dom"
    " lunedì martedì mercoledì giovedì venerdì sabato domenica gio sab maandag dinsdag woensdag donderdag"
    " vrijdag zaterdag"
    " zondag"
)
_FILLERS = frozenset({"of", "de", "den", "der", "del", "le", "the", "am", "st", "nd", "rd", "th", "er", "º", "ª", "d"})


def _folded(text: str) -> str:
    found = unicodedata.normalize("NFKD", text.casefold())
    return "".join(each for each in found if not unicodedata.combining(each)).replace("\u0131", "i")


_MONTH_OF = {_folded(word): number for number, words in enumerate(_MONTHS, start=1) for word in words.split()}
_WEEKDAYS = frozenset(map(_folded, _DAYS_OF_WEEK.split()))

_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?:(?:[:.]|h ?)(?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?P<fraction>[.,]\d{1,6}\d*)?)?)?"
    r" ?(?P<half>[ap]\.?m\.?)?(?: ?(?:uhr|h|hrs|klo|kl\.?))?(?P<zone> ?(?:z|utc|gmt|[+-]\d{2}(?::?\d{2})?))?",
    re.IGNORECASE,
)
_WITH_CLOCK = re.compile(
    r"(?P<day>.*?\d{2,4}[.,]?)(?:,? (?:um|at|à|a las|alle)? ?|T)(?P<clock>\d{1,2}(?:[:.h].*|\s*[ap]\.?m\.?.*))", re.I
)
_NUMERIC = re.compile(r"(\d{1,4})( ?[-/.] ?| )(\d{1,2})(?: ?[-/.] ?| )(\d{1,4})\.?")
_WITH_SIGNS = re.compile(r"(\d{4}) ?[年년] ?(\d{1,2}) ?[月월] ?(\d{1,2}) ?[日일]")
_COMPACT = re.compile(r"((?:19|20)\d{2})(\d{2})(\d{2})")
_NOTE = re.compile(r" ?(?:\((?:est\.?|estimated|approx\.?|ca\.?|circa|provisional|tbc)\)|[*†]+)$", re.I)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"), "-")
_INVISIBLE = dict.fromkeys([*range(0x200B, 0x2010), 0x2060, 0xFEFF, 0xAD])
#: Years before and after those of the column's values that a year of two digits may be of.
_MARGIN = 10


@dataclass(frozen=True)
class Day:
    """A day as it is written. form: "%d/%m/%Y", in which day and month may be swapped; "" for one that has one order.
    first, second: the numbers of day and month, in the order of the form, if it has one."""

    form: str
    first: int
    second: int
    year: int
    has_short_year: bool = False

    def readings(self, years: "Years | None") -> dict[str, date]:
        """The days that this may be, by their order."""
        year = (years.of(self.year) if years else None) if self.has_short_year else self.year
        if year is None:
            return {}
        orders = {"dm": (self.second, self.first), "md": (self.first, self.second)}
        if not self.form:
            orders = {"": (self.second, self.first)}
        return {order: day for order, (month, of) in orders.items() if (day := _day(year, month, of)) is not None}

    def format(self, order: str) -> str:
        return self.form if order == "dm" else self.form.replace("%d", "%x").replace("%m", "%d").replace("%x", "%m")


@dataclass(frozen=True)
class Years:
    """Fewer than a hundred years, of which a year of two digits may be one."""

    first: int
    last: int

    def of(self, short: int) -> int | None:
        year = self.first + (short - self.first) % 100
        return year if year <= self.last else None


@dataclass(frozen=True)
class Moment:
    """day: None for a time of a day."""

    day: Day | None
    clock: time | None = None


def read(text: str) -> Moment | None:
    text = unquoted(text.translate(_INVISIBLE).translate(_DASHES))
    text = _NOTE.sub("", " ".join(unicodedata.normalize("NFKC", text).split()))
    if not any(map(str.isdigit, text)) or any(each.isdigit() and not each.isascii() for each in text):
        return None
    if found := _WITH_CLOCK.fullmatch(text):
        day, clock = _read_day(found["day"]), _read_clock(found["clock"])
        if day is not None and clock is not None:
            return Moment(day, clock)
    if (day := _read_day(text)) is not None:
        return Moment(day)
    clock = _read_clock(text)
    return None if clock is None else Moment(None, clock)


def _read_day(text: str) -> Day | None:
    if found := _COMPACT.fullmatch(text) or _WITH_SIGNS.fullmatch(text):
        return Day("", int(found[3]), int(found[2]), int(found[1]))
    if found := _NUMERIC.fullmatch(text.removesuffix(",")):
        return _numeric(found)
    return _with_name(text)


def _numeric(found: re.Match[str]) -> Day | None:
    first, mark, second, third = found[1], found[2].strip() or " ", found[3], found[4]
    if len(first) == 4 and len(third) <= 2:
        return Day("", int(third), int(second), int(first))
    if len(first) > 2 or len(third) not in (2, 4):
        return None
    is_short = len(third) == 2
    if is_short and mark in "- ":  # it may as well be 26-01-31
        return None
    form = f"%d{mark}%m{mark}%{'y' if is_short else 'Y'}"
    return Day(form, int(first), int(second), int(third), is_short)


def _with_name(text: str) -> Day | None:
    """31 Dec 2026, Dec 31st, 2026, Mi., 31. Dezember 26."""
    folded = _folded(text)
    tokens = re.findall(r"\d+|[^\W\d_]+", folded)
    if re.sub(r"[\s.,/'-]", "", folded) != "".join(tokens):
        return None
    words = [each for each in tokens if not each.isdigit()]
    numbers = [each for each in tokens if each.isdigit()]
    months = [each for each in words if each in _MONTH_OF]
    if len(months) > 1:  # mar is a Tuesday too
        months = [each for each in months if each not in _WEEKDAYS]
    others = [each for each in words if each not in months]
    if len(months) != 1 or len(numbers) != 2 or any(each not in _WEEKDAYS | _FILLERS for each in others):
        return None
    month = _MONTH_OF[months[0]]
    day, year = numbers
    if len(day) == 4 and tokens.index(months[0]) in (0, 1):
        day, year = year, day
    if len(day) > 2 or len(year) not in (2, 4):
        return None
    is_short = len(year) == 2
    return Day("", int(day), month, int(year), is_short)


def _read_clock(text: str) -> time | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None or (found["minute"] is None and found["half"] is None):
        return None
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    micro = int((found["fraction"] or ".0")[1:7].ljust(6, "0"))
    try:
        return time(hour, int(found["minute"] or 0), int(found["second"] or 0), micro, _zone(found["zone"]))
    except ValueError:
        return None


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    digits = re.sub(r"\D", "", text)
    if not digits:
        return UTC
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return timezone(timedelta(minutes=-minutes if "-" in text else minutes))


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


@dataclass(frozen=True)
class _How:
    """forms: in which ambiguous dates are read. years: of years of two digits."""

    forms: frozenset[str] = frozenset()
    years: Years | None = None

    @classmethod
    def from_step(cls, step: Step) -> "_How":
        forms, years = set[str](), None
        for each in (step.source or "").split("|"):
            form, _, span = each.strip().partition("@")
            forms |= {form.strip()} if form.strip() else set()
            found = re.fullmatch(r"(\d{4})-(\d{4})", span.strip(), re.ASCII)
            years = Years(int(found[1]), int(found[2])) if found else years
        return cls(frozenset(forms), years)

    def to_step(self) -> Step:
        span = f"@{self.years.first:04}-{self.years.last:04}" if self.years else ""
        parts = [each + (span if "%y" in each else "") for each in sorted(self.forms)]
        if span and not any("%y" in each for each in self.forms):
            parts.append(span)
        return Step("date", " | ".join(parts) or None)

    def day(self, day: Day) -> date | None:
        readings = day.readings(self.years)
        if len(set(readings.values())) == 1:
            return next(iter(readings.values()))
        chosen = [found for order, found in readings.items() if day.format(order) in self.forms]
        return chosen[0] if len(chosen) == 1 else None


def mend_of(step: Step, field: SchemaField, schema: TableSchema) -> Callable[[str], str | None] | None:
    """What reads a date or a time and writes it as the field takes it."""
    if field.type not in ("date", "datetime", "time"):
        return None
    how = _How.from_step(step)

    def mend(text: str) -> str | None:
        moment = read(text)
        return None if moment is None else _spelled(schema, field, how, moment)

    return mend


def _spelled(schema: TableSchema, field: SchemaField, how: _How, moment: Moment) -> str | None:
    if field.type == "time":
        is_time = moment.day is None and moment.clock is not None and moment.clock.tzinfo is None
        return format_value(schema, field, moment.clock) if is_time else None
    day = how.day(moment.day) if moment.day is not None else None
    if day is None:
        return None
    if field.type == "date":
        return None if _may_be_another_day(moment.clock) else format_value(schema, field, day)
    if moment.clock is None:
        return None
    found = datetime.combine(day, moment.clock)
    if found.tzinfo is not None and not field.is_in_utc:
        return None
    if found.tzinfo is None and "%z" in field.format:
        return None
    if found.tzinfo is not None and field.offset is None:
        found = found.astimezone(UTC)
    return format_value(schema, field, found)


def _may_be_another_day(clock: time | None) -> bool:
    """Whether a time of a zone may be on another day in the zone of whoever reads it."""
    return clock is not None and clock.tzinfo is not None and clock.replace(tzinfo=None) != time()


def propose(field: SchemaField, wrong: Mapping[str, int], good: Sequence[str]) -> Iterable[Step]:
    """wrong: values that are not valid, with their rows. good: some that are. Steps that turn none into a wrong one."""
    if field.type not in ("date", "datetime", "time"):
        return
    moments = [moment for text in wrong if (moment := read(text)) is not None]
    if not moments:
        return
    days = [moment.day for moment in moments if moment.day is not None]
    years = _years([*_known_years(field, good), *(day.year for day in days if not day.has_short_year)])
    years = years if any(day.has_short_year for day in days) else None
    yield _How(frozenset(_forms(field, days, years)), years).to_step()


def _forms(field: SchemaField, days: Sequence[Day], years: Years | None) -> Iterator[str]:
    """The forms of dates whose order is known, for dates with two readings, also of later files: those in which the
    dates with one reading agree."""
    votes: dict[str, set[str]] = {}
    undecided: set[str] = set()
    for day in days:
        readings = day.readings(years)
        if len(set(readings.values())) > 1:
            undecided.add(day.form)
        elif len(readings) == 1 and day.form:
            votes.setdefault(day.form, set()).add(day.format(next(iter(readings))))
    for form in undecided | votes.keys():
        if len(found := votes.get(form, set())) == 1:
            yield from found
        elif not found and (own := _order_of(field)) is not None:
            yield Day(form, 1, 1, 1).format(own)


def _order_of(field: SchemaField) -> str | None:
    """The order of day and month in which the field itself is written, with numbers and the year last."""
    found = re.match(r"%([dm])[^%A-Za-z]%([dm])[^%A-Za-z]%Y", field.format)
    return None if found is None else found[1] + found[2]


def _known_years(field: SchemaField, good: Sequence[str]) -> Iterator[int]:
    for text in good:
        moment = read(text)
        if moment is not None and moment.day is not None and not moment.day.has_short_year:
            yield moment.day.year


def _years(known: Sequence[int]) -> Years | None:
    """The century around the years that are known, if they leave no doubt."""
    if not known:
        return None
    first, last = max(1, min(known) - _MARGIN), min(9999, max(known) + _MARGIN)
    return Years(first, last) if last - first < 100 else None
