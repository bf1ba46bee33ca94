"""Spellings: a type together with the way in which the values of a column are written.

A spelling fits a value only if the value that is read from it, written again (jobs/rows/spelling.py), is the same text.
A few are possible for every column. The others are proposed by a sample of a column's own values, so that a column is
compared with few of the hundreds that exist.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.parsing import SIGNIFICANT_DIGITS, example_of, parse
from jobs.rows.spelling import format_value
from jobs.schema import MONTHS, OFFSET, SchemaField, TableSchema

#: Whole numbers that fit into 64 bits and print as they were written.
INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
#: Decimal numbers of at most 15 digits: a double prints the same digits again.
NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?$"
#: Spellings that a sample of a column proposes, at most.
MAX_PROPOSALS = 40

#: The words for true and false of a column, in lower case. Both must occur: "no" alone could be of several languages.
_PAIRS = (
    ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"),
    ("ja", "nein"), ("j", "n"), ("wahr", "falsch"), ("oui", "non"), ("vrai", "faux"), ("sí", "no"), ("si", "no"),
    ("sì", "no"), ("verdadero", "falso"), ("vero", "falso"), ("sim", "não"), ("sim", "nao"), ("verdadeiro", "falso"),
    ("ja", "nee"), ("waar", "onwaar"), ("ja", "nej"), ("ja", "nei"), ("já", "nei"), ("kyllä", "ei"), ("jah", "ei"),
    ("tak", "nie"), ("prawda", "fałsz"), ("áno", "nie"), ("ano", "ne"), ("igen", "nem"), ("da", "nu"), ("da", "ne"),
    ("taip", "ne"), ("jā", "nē"), ("да", "нет"), ("да", "не"), ("так", "ні"), ("ναι", "όχι"), ("evet", "hayır"),  # noqa: RUF001
)  # fmt: skip
_TRUE_FALSE = (("true", "false"), ("True", "False"), ("TRUE", "FALSE"))

#: Signs and codes that may stand before or after a number, besides the characters that Unicode calls currencies.
_CODES = frozenset({
    "%", "‰", "US$", "A$", "AU$", "C$", "CA$", "NZ$", "HK$", "S$", "R$", "MX$", "kr", "kr.", "Kr", "Kr.", "zł", "Kč",
    "Ft", "lei", "лв", "лв.", "руб", "руб.", "R", "RM", "Rp", "Rs", "Rs.", "Fr.", "SFr.",  # noqa: RUF001
    "USD", "EUR", "GBP", "CHF", "JPY", "CNY", "AUD", "CAD", "NZD", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON",
    "BGN", "RUB", "UAH", "TRY", "INR", "BRL", "MXN", "ZAR", "KRW", "SGD", "HKD", "ILS", "AED", "SAR", "ISK", "THB",
})  # fmt: skip
#: Currencies whose amounts have a comma between thousands, never before decimals.
_WITH_COMMA_GROUPS = frozenset({"$", "£", "US$", "A$", "AU$", "NZ$", "HK$", "S$", "¥", "₹", "₩", "USD", "GBP", "JPY"})
_GROUPS = (",", ".", " ", "'", "\u2019", "\xa0", "\u202f", "\u2009")
_AFFIXED = re.compile(
    r"(-?)([^\d\s+\-.,'\u2019()]{0,4}\.?[ \xa0\u202f]?)"
    r"(\d[\d.,'\u2019 \xa0\u202f\u2009]*?)([ \xa0\u202f]?[^\d\s+\-,'\u2019()]{0,4})"
)
_WITH_EXPONENT = re.compile(r"-?\d(\.\d{1,14})?([eE])([+-]?)\d{1,3}")
_EXPONENT = (
    r"^-?((0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?|[0-9](\.[0-9]{1,14})?[eE][+-][0-9]{1,3}"
    r"|[0-9]\.[0-9]{1,14}[eE][0-9]{1,3})$"
)

_TIME_OF_DAY = r"(\d{1,2}):\d\d(:\d\d(\.\d{1,6})?)?( ?)([AaPp][Mm])?"
_ZONE = rf"(Z|{OFFSET.pattern})?"
_MOMENT = re.compile(
    r"(?:(?P<year_first>\d{4})(?P<s1>[-/.])(?P<a1>\d{1,2})(?P=s1)(?P<b1>\d{1,2})"
    r"|(?P<a2>\d{1,2})(?P<s2>[-/.])(?P<b2>\d{1,2})(?P=s2)(?P<year_last>\d{4})"
    r"|(?P<a3>\d{1,2})(?P<s3>[- ])(?P<m3>[A-Za-z]{3,9})(?P=s3)\d{4}"
    r"|(?P<m4>[A-Za-z]{3,9}) (?P<a4>\d{1,2})(?P<s4>,?) \d{4})"
    rf"(?:(?P<gap>T| |, )(?P<clock>{_TIME_OF_DAY})(?P<zone>{_ZONE}))?",
    re.ASCII,
)
_CLOCK = re.compile(_TIME_OF_DAY, re.ASCII)
_NO_SCHEMA = TableSchema.stored({"fields": [{"name": "x"}]})


@dataclass(frozen=True)
class Spelling:
    """details: the properties of a field besides its type. pattern: what its values match (RE2), anchored.

    called, plural: the values in words. rival: the format that could read the same values as other days.
    """

    type: str
    details: dict[str, Any]
    pattern: str
    called: str
    plural: str
    rival: str | None = None
    #: Whether it is considered only for a column that a person gave this type.
    only_if_wanted: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.type, repr(sorted(self.details.items()))

    @property
    def format(self) -> str | None:
        return self.details.get("format")

    @cached_property
    def schema_field(self) -> SchemaField:
        return SchemaField.model_validate({"name": "x", "type": self.type, **self.details})

    def fits(self, words: pa.Array) -> pa.Array:
        """Which of these words, which are not null, are values in this spelling."""
        matches = pc.match_substring_regex(words, self.pattern)
        if self.type in ("integer", "boolean") or not pc.any(matches).as_py():
            return matches
        whole = pc.all(matches).as_py()
        candidates = words if whole else words.filter(matches)
        right = self._are_kept(candidates)
        return right if whole else pc.replace_with_mask(matches, matches, right)

    def _are_kept(self, words: pa.Array) -> pa.Array:
        """Which words that match the pattern are values, and are written again as they are."""
        if self.type == "number" and not self.details:
            digits = pc.utf8_length(pc.replace_substring_regex(words, r"^-?0?\.?0*|\.|-", ""))
            return pc.less_equal(digits, SIGNIFICANT_DIGITS)
        values, _ = parse(self.schema_field, words)
        right = pc.is_valid(values)
        if "exponent" not in self.details:
            return right
        texts = [
            None if value is None else format_value(_NO_SCHEMA, self.schema_field, value)
            for value in values.to_pylist()
        ]
        return pc.fill_null(pc.equal(pa.array(texts, pa.string()), words), False)

    def plain(self, words: pa.Array) -> pa.Array:
        """Numbers of this spelling with a point, and nothing else around the digits."""
        each = self.schema_field
        if each.prefix:
            words = pc.replace_substring(words, each.prefix, "")
        if each.suffix:
            words = pc.replace_substring(words, each.suffix, "")
        if each.group_char:
            words = pc.replace_substring(words, each.group_char, "")
        return words if each.decimal_char == "." else pc.replace_substring(words, each.decimal_char, ".")


def _boolean(yes: str, no: str, *, only_if_wanted: bool = False) -> Spelling:
    pattern = f"^({re.escape(yes)}|{re.escape(no)})$"
    details = {"trueValues": [yes], "falseValues": [no]}
    return Spelling("boolean", details, pattern, f"{yes} or {no}", f"{yes} or {no}", only_if_wanted=only_if_wanted)


_ISO_DATE = Spelling("date", {}, r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "a date like 2026-01-31", "dates like 2026-01-31")
INTEGERS = Spelling("integer", {}, INTEGER, "a whole number", "numbers")
NUMBERS = Spelling("number", {}, NUMBER, "a decimal number", "numbers")
#: Possible for every column, narrowest first.
USUAL = (*(_boolean(*pair) for pair in _TRUE_FALSE), INTEGERS, NUMBERS, _ISO_DATE)


def proposals(sample: Sequence[str]) -> list[Spelling]:
    """Spellings that values of a column suggest, without the usual ones, the preferred first."""
    found: dict[tuple[str, str], Spelling] = {}
    for spelling in (*_booleans(sample), *_numbers(sample), *_moments(sample)):
        found.setdefault(spelling.key, spelling)
        if len(found) == MAX_PROPOSALS:
            break
    return list(found.values())


def _booleans(sample: Sequence[str]) -> Iterator[Spelling]:
    words = set(sample)
    for yes, no in _PAIRS:
        for spelled in (str.lower, str.capitalize, str.upper):
            if words & {spelled(yes), spelled(no)}:
                yield _boolean(spelled(yes), spelled(no))
    if words & {"0", "1"}:
        yield _boolean("1", "0", only_if_wanted=True)


def _numbers(sample: Sequence[str]) -> Iterator[Spelling]:
    matches = [found for word in sample if (found := _AFFIXED.fullmatch(word))]
    affixes = Counter((found[2], found[4]) for found in matches if _is_affix(found[2]) and _is_affix(found[4]))
    if affixes:
        (prefix, suffix), _ = affixes.most_common(1)[0]
        cores = [found[3] for found in matches if (found[2], found[4]) == (prefix, suffix)]
        used = {character for core in cores for character in core if not character.isdigit()}
        if prefix or suffix or used - {"."} or any(core.count(".") > 1 for core in cores):
            yield from _formatted(prefix, suffix, used)
    exponents = [found for word in sample if (found := _WITH_EXPONENT.fullmatch(word)) and (found[1] or found[3])]
    if exponents:
        yield from _with_exponent(exponents[0][2], {len(found[1] or ".") - 1 for found in exponents})


def _is_affix(text: str) -> bool:
    sign = text.strip()
    return not sign or sign in _CODES or (len(sign) == 1 and unicodedata.category(sign) == "Sc")


def _formatted(prefix: str, suffix: str, used: set[str]) -> Iterator[Spelling]:
    for point in (".", ","):
        for group in (None, *(each for each in _GROUPS if each in used and each != point)):
            if point == "." and group is None and not prefix and not suffix:
                continue  # as NUMBERS
            whole = (
                "(0|[1-9][0-9]{0,14})"
                if group is None
                else f"(0|[1-9][0-9]{{0,2}}({re.escape(group)}[0-9]{{3}}){{0,4}})"
            )
            pattern = rf"^-?{re.escape(prefix)}{whole}({re.escape(point)}[0-9]{{1,14}})?{re.escape(suffix)}$"
            details: dict[str, Any] = {} if point == "." else {"decimalChar": point}
            details |= {} if group is None else {"groupChar": group}
            details |= {"prefix": prefix} if prefix else {}
            details |= {"suffix": suffix} if suffix else {}
            details |= {"bareNumber": False} if prefix or suffix else {}
            number = "1" if group is None else f"1{group}234"
            example = f"{prefix}{number}{point}50{suffix}"
            yield Spelling("number", details, pattern, f"a number like {example}", f"numbers like {example}")


def _with_exponent(letter: str, lengths: set[int]) -> Iterator[Spelling]:
    """lengths: of the digits after the point, before an exponent."""
    for exponent in (letter, *(("auto", "short") if letter == "e" else ())):
        for decimals in {"auto": (0, 1), "short": (0,)}.get(exponent, (0, *sorted(lengths - {0})[:3])):
            details: dict[str, Any] = {"exponent": exponent} | ({"decimals": decimals} if decimals else {})
            yield Spelling("number", details, _EXPONENT, f"a number like 1.5{letter}-05", "numbers")


def _moments(sample: Sequence[str]) -> Iterator[Spelling]:
    for word in sample:
        if found := _MOMENT.fullmatch(word):
            for day, rival in _days(found):
                yield from _spelled_moments(day, rival, found)
        elif found := _CLOCK.fullmatch(word):
            for clock, unpadded in _clocks(found):
                yield _moment("time", clock, unpadded)


@dataclass(frozen=True)
class _Day:
    """format: of the day. unpadded: directives without leading zeros."""

    format: str
    unpadded: str = ""


def _days(found: re.Match[str]) -> Iterator[tuple[_Day, str | None]]:
    """The formats that a day may have, each with the one that could read it as another day."""
    if found["year_first"]:
        format_ = "%Y{0}%m{0}%d".format(found["s1"])
        yield from ((_Day(format_, unpadded), None) for unpadded in _padding(dm=(found["a1"], found["b1"])))
    elif found["year_last"]:
        by_day, by_month = (each.format(found["s2"]) for each in ("%d{0}%m{0}%Y", "%m{0}%d{0}%Y"))
        for unpadded in _padding(dm=(found["a2"], found["b2"])):
            yield _Day(by_day, unpadded), by_month
            yield _Day(by_month, unpadded), by_day
    else:
        name, day = found["m3"] or found["m4"], found["a3"] or found["a4"]
        month = "%B" if name in MONTHS else "%b" if name in {each[:3] for each in MONTHS} else None
        both = [month] if month and name != "May" else ["%b", "%B"] if month else []
        for directive in both:
            format_ = f"%d{found['s3']}{directive}{found['s3']}%Y" if found["m3"] else f"{directive} %d{found['s4']} %Y"
            for unpadded in _padding(dm=(day,)):
                yield _Day(format_, unpadded.replace("m", "")), None


def _padding(dm: Iterable[str] = (), letters: str = "dm") -> Iterator[str]:
    """The letters of directives that may be without leading zeros, as these numbers are."""
    numbers = list(dm)
    if not any(len(number) == 1 for number in numbers):
        yield ""
    if not any(number.startswith("0") and len(number) == 2 for number in numbers):
        yield letters


def _clocks(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    """The formats of a time of day, each with its directives that have no leading zeros."""
    hour, seconds, _, gap, half = found.groups()
    letter = "I" if half else "H"
    if gap and not half:
        return
    tail = "%M" + (":%S" if seconds else "")
    half_day = f"{gap}%p" if half else ""
    for unpadded in _padding((hour,), letter):
        yield f"%{letter}:{tail}{half_day}", unpadded
        if seconds:
            yield f"%{letter}:{tail}.%f{half_day}", unpadded


def _spelled_moments(day: _Day, rival: str | None, found: re.Match[str]) -> Iterator[Spelling]:
    if not found["clock"]:
        if day.format != "%Y-%m-%d" or day.unpadded:
            yield _moment("date", day.format, day.unpadded, rival)
        return
    clock = _CLOCK.fullmatch(found["clock"])
    zone = found["zone"] or ""
    for text, unpadded in _clocks(clock) if clock else ():
        format_ = f"{day.format}{found['gap']}{text}" + ("Z" if zone == "Z" else "%z" if zone else "")
        other = None if rival is None else rival + format_[len(day.format) :]
        offset = {"offset": zone} if zone not in ("", "Z") else {}
        yield _moment("datetime", format_, day.unpadded + unpadded, other, offset)


#: What each directive matches, with and without leading zeros.
_PADDED = {"d": "[0-9]{2}", "m": "[0-9]{2}", "H": "[0-9]{2}", "I": "[0-9]{2}"}
_UNPADDED = dict.fromkeys("dmHI", "(?:[0-9]|[1-9][0-9])")
_MATCHED = {
    "Y": "[0-9]{4}", "M": "[0-9]{2}", "S": "[0-9]{2}", "p": "[AP]M", "B": "(?:" + "|".join(MONTHS) + ")",
    "b": "(?:" + "|".join(month[:3] for month in MONTHS) + ")", "z": "",
}  # fmt: skip


def _moment(
    type_: str, format_: str, unpadded: str, rival: str | None = None, more: dict[str, Any] | None = None
) -> Spelling:
    details: dict[str, Any] = {"format": format_} | ({"unpadded": unpadded} if unpadded else {}) | (more or {})
    pattern = "^"
    for fraction, literal, directive in re.findall(r"(\.%f)|([^%.]+|\.)|%(.)", format_):
        if fraction:
            pattern += r"(\.[0-9]{1,6})?"
        elif literal:
            pattern += re.escape(literal)
        elif directive == "z":
            pattern += re.escape(details.get("offset", ""))
        else:
            pattern += (_UNPADDED if directive in unpadded else _PADDED).get(directive) or _MATCHED[directive]
    each = SchemaField.model_validate({"name": "x", "type": type_, **details})
    noun = {"date": "date", "time": "time", "datetime": "date and time"}[type_]
    plural = {"date": "dates", "time": "times", "datetime": "dates and times"}[type_]
    example = example_of(each)
    return Spelling(type_, details, f"{pattern}$", f"a {noun} like {example}", f"{plural} like {example}", rival)


def has_comma_groups(prefix: str, suffix: str) -> bool:
    """Whether the currency of a number has a comma between its thousands wherever it is used."""
    return bool({prefix.strip(), suffix.strip()} & _WITH_COMMA_GROUPS)
