# ruff: noqa: RUF001  # letters and signs of many scripts
"""Repairs of numbers: separators, signs, currencies, units and notes around them.

A number is read only if it has one reading. 1.204 and 1,204 have two: which mark is before the decimals is told by the
other values of the column, or nobody can tell. A unit is left out only if the column has no other.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.mending.words import unquoted
from jobs.repair.repairs import Step
from jobs.schema import SchemaField, TableSchema

#: Currencies by their signs, codes and names.
_CURRENCIES = {
    "EUR": "€ eur euro euros", "USD": "$ us$ usd dollar dollars", "GBP": "£ gbp", "JPY": "¥ 円 jpy yen",
    "CHF": "chf fr. sfr. sfr", "SEK": "sek", "NOK": "nok", "DKK": "dkk", "kr": "kr kr.", "PLN": "zł pln",
    "CZK": "kč czk", "HUF": "huf", "RON": "lei ron", "BGN": "лв лв. bgn", "RUB": "₽ руб руб. rub", "UAH": "₴ uah",
    "TRY": "₺ tl try", "INR": "₹ rs rs. inr", "BRL": "r$ brl", "KRW": "₩ krw", "ILS": "₪ ils nis", "CNY": "cny rmb 元",
    "AUD": "a$ au$ aud", "CAD": "c$ ca$ cad", "NZD": "nz$ nzd", "HKD": "hk$ hkd", "SGD": "s$ sgd", "MXN": "mx$ mxn",
    "ZAR": "zar", "AED": "aed", "SAR": "sar", "THB": "฿ thb", "VND": "₫ vnd", "PHP": "₱ php", "NGN": "₦ ngn",
}  # fmt: skip
#: Words for pieces, which change nothing about a number.
_PIECES = (
    "pc pc. pcs pcs. piece pieces stk stk. stck stück st. unit units ea ea. each pz pz. pzs pieza piezas ud uds"
    " ud. uds."
    " unidad unidades un. szt szt. ks шт шт. pièce pièces pce pces item items stuks st"
)
_MEASURES = (
    "kg g mg t lb lbs lb. lbs. oz oz. m cm mm km in ft ft. pound pounds yd mi l ml cl dl hl gal h hr hrs hour hours"
    " min mins minutes s sec"
    " secs seconds ms d day days tage week weeks month months year years yr yrs jahre m2 m3 km2 ha °c °f c° kwh"
    " mwh wh kw"
    " mw w v a hz khz mhz ghz kb mb gb tb km/h mph rpm pts points"
)
_UNITS = {
    **{word: code for code, those in _CURRENCIES.items() for word in those.split()},
    **{word: f"({word})" for word in _MEASURES.split()},
    **dict.fromkeys(_PIECES.split(), "pcs"),
    **dict.fromkeys(("%", "percent", "per cent", "pct", "prozent"), "%"),
}
#: Units that say how large a number is: a number with one and a number without may not mean the same.
_SIZED = frozenset(code for code in _UNITS.values() if code.startswith("("))
#: Notes that do not change a number.
_BEFORE = r"(?:approx\.?|approximately|about|ca\.?|circa|c\.|etwa|rund|env\.|environ|aprox\.?|~|≈)"
_AFTER = (
    r"(?:\((?:est\.?|estimated|approx\.?|ca\.?|circa|provisional|prov\.|geschätzt|vorl\.)\)|est\.|approx\.?|[*†‡]+)"
)
_PRICE_DASH = re.compile(r"(?<=\d)[.,](?:--?|=)(?=\D*$)")

_NUMBER = re.compile(
    rf"(?P<open>\()? ?(?:{_BEFORE} ?)?(?P<sign>[+-])? ?(?P<before>[^\d+\-.,()'*]{{1,12}}?\.?)?? ?(?P<sign2>[+-])? ?"
    rf"(?P<core>\d[\d.,' _]*(?<=\d)|[.,]\d+) ?(?P<after>[^\d+\-,()'*][^+\-,()'*]{{0,12}}?)?? ?(?:{_AFTER})? ?"
    r"(?P<close>\))?(?: ?(?P<trailing>[+-]))?(?:(?<=[)+-]) ?(?P<last>[^\d\s+\-.,()'*]{1,4}))?",
    re.IGNORECASE,
)
_GROUPED_BY_SPACE = re.compile(r"(\d{1,3}(?:(?P<group>[ '_])\d{3})(?:(?P=group)\d{3})*)(?:[.,](\d+))?")
_GROUPS = re.compile(r"\d{1,3}(?:\D\d{3})+|\d{1,2}(?:,\d{2})*,\d{3}")
_MINUS = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\u2014\ufe63\uff0d\u207b"), "-")
_APOSTROPHES = dict.fromkeys(map(ord, "\u2019\u2018\u02bc`\u00b4"), "'")
_INVISIBLE = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x2066, 0x206A), *range(0x202A, 0x202F), 0x2060, 0xFEFF, 0xAD]
)

#: Digits of the most that good values may have after the mark before decimals, so that three digits are a group.
_USUAL_DECIMALS = 2
#: Good values that must support the mark before decimals, and that say how large values usually are.
_ENOUGH = 3


@dataclass(frozen=True)
class Number:
    """whole, decimals: digits. mark: of an ambiguous number, what is between them: before decimals, or a group.
    evidence: which mark is before decimals, as far as the number tells it. unit: "" for none."""

    is_negative: bool
    whole: str
    decimals: str = ""
    mark: str | None = None
    evidence: str | None = None
    unit: str = ""

    def digits(self, decimal_mark: str | None) -> tuple[str, str] | None:
        """Whole part and decimals; None if the number has two readings."""
        if self.mark is None:
            return self.whole, self.decimals
        if decimal_mark is None:
            return None
        return (self.whole, self.decimals) if decimal_mark == self.mark else (self.whole + self.decimals, "")

    def value(self, decimal_mark: str | None) -> float | None:
        digits = self.digits(decimal_mark)
        return None if digits is None else float(f"{digits[0]}.{digits[1] or 0}") * (-1 if self.is_negative else 1)


def read(text: str) -> Number | None:
    """The number that a text is; None if it is something else, or more than one number."""
    cleaned = _cleaned(text)
    found = _NUMBER.fullmatch(cleaned) if cleaned is not None else None
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    signs = [each for each in (found["sign"], found["sign2"], found["trailing"]) if each]
    if len(signs) + bool(found["open"]) > 1:
        return None
    before = _unit(found["before"]) if found["before"] and found["before"].strip() else ""
    units = {_unit(each) for each in (found["after"], found["last"]) if each and each.strip()}
    if before is None or before == "pcs" or before in _SIZED:  # A4 is a size of paper
        return None
    units |= {before} if before else set()
    if len(units) > 1 or None in units:
        return None
    core = _core(found["core"])
    if core is None:
        return None
    is_negative = signs == ["-"] or bool(found["open"])
    return Number(is_negative, *core, unit=next(iter(units), None) or "")


def _cleaned(text: str) -> str | None:
    """A text in its usual characters; None if it has digits that are no digits of a number (½, ², ①)."""
    text = unquoted(text)
    text = re.sub(r"(?<=m)[²³]", lambda each: "23"["²³".index(each[0])], text)
    if any(unicodedata.category(each) == "No" for each in text):
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_MINUS).translate(_APOSTROPHES)).translate(_INVISIBLE)
        text = "".join(
            str(unicodedata.decimal(each)) if each.isdecimal() and not each.isascii() else each for each in text
        )
        text = re.sub(r"\u066b(\d+)", r".\g<1>0", text.replace("\u066c", ""))
    text = " ".join(text.replace("`", "'").split())
    return _PRICE_DASH.sub("", text)


def _unit(text: str) -> str | None:
    """The canonical unit of what stands beside a number; None if it is unknown."""
    word = text.strip()
    if found := _UNITS.get(word.lower()):
        # 5 M are five millions, 5 K thousands.
        return None if word in ("M", "K", "G", "T", "MM") else found
    if len(word) == 1 and unicodedata.category(word) == "Sc":
        return word
    return None


def _core(text: str) -> tuple[str, str, str | None, str | None] | None:
    """Whole digits, decimals, the mark of an ambiguous number, and the mark that is surely before decimals."""
    marks = [each for each in text if not each.isdigit()]
    if not marks:
        return text, "", None, None
    if set(marks) & {" ", "'", "_"}:
        found = _GROUPED_BY_SPACE.fullmatch(text)
        if found is None:
            return None
        mark = next((each for each in marks if each in ".,"), None)
        return re.sub(r"\D", "", found[1]), found[3] or "", None, mark
    last = marks[-1]
    whole, _, decimals = text.rpartition(last)
    if len(set(marks)) == 2:
        other = "," if last == "." else "."
        if marks.count(last) > 1 or not _GROUPS.fullmatch(whole):
            return None
        return whole.replace(other, ""), decimals, None, last
    if len(marks) > 1:
        other = "," if last == "." else "."
        return (text.replace(last, ""), "", None, other) if _GROUPS.fullmatch(text) else None
    if len(decimals) == 3 and 1 <= len(whole) <= 3 and not whole.startswith("0"):
        return whole, decimals, last, None
    return whole or "0", decimals, None, last


@dataclass(frozen=True)
class _How:
    """decimal_mark: of ambiguous numbers. unit: the one that is left out. is_fraction: 5 % is 0.05."""

    decimal_mark: str | None
    unit: str
    is_fraction: bool

    @classmethod
    def from_step(cls, step: Step) -> "_How":
        number = re.match(r"\d[\d.,]*", step.source or "")
        example = number[0] if number else ""
        mark = next((each for each in reversed(example) if each in ".,"), None)
        rest = (step.source or "")[len(example) :].strip()
        return cls(mark, _unit(rest) or "" if rest else "", step.target == "fraction")

    def to_step(self) -> Step:
        example = {",": "1.234,5", ".": "1,234.5", None: "12" if self.unit else ""}[self.decimal_mark]
        source = f"{example} {self.unit.strip('()')}".strip()
        return Step("number", source or None, "fraction" if self.is_fraction else None)


def mend_of(step: Step, field: SchemaField, _schema: TableSchema) -> Callable[[str], str | None] | None:
    """What reads a number and writes it as the field takes it."""
    if field.type not in ("integer", "number"):
        return None
    how = _How.from_step(step)
    own = _own_unit(field)

    def mend(text: str) -> str | None:
        number = read(text)
        if number is None or number.unit not in ("", how.unit, own) or (own == "%" and number.unit != "%"):
            return None
        digits = number.digits(how.decimal_mark)
        if digits is None or (field.type == "integer" and number.mark == how.decimal_mark is not None):
            return None  # 98.000 is a whole number with a group, or there is no telling
        if number.unit == "%" and how.is_fraction:
            digits = _hundredth(*digits)
        return _spelled(field, number.is_negative, *digits)

    return mend


def quick(step: Step, field: SchemaField) -> Callable[[pa.Array], pa.Array] | None:
    """What reads the usual spellings of a whole column at once, as the function of `mend_of` does one by one. Values
    that it does not know stay. None: nothing does, as the field has a spelling of its own."""
    if field.type not in ("integer", "number") or field.decimal_char != "." or field.prefix or field.suffix:
        return None
    how = _How.from_step(step)
    words = [re.escape(word) for word, unit in _UNITS.items() if unit == how.unit and word.isalpha() and len(word) > 1]
    unit = f"([0-9])(?i: ?(?:{'|'.join(words)}))$" if words and not how.is_fraction else ""
    patterns = [
        (mark, group, _usual(field, re.escape(mark), re.escape(group), is_told=mark == how.decimal_mark))
        for mark, group in ((",", "."), (".", ","))
    ]

    def read_all(values: pa.Array) -> pa.Array:
        text = pc.replace_substring_regex(values, unit, r"\1") if unit else values
        if unit:  # whole numbers that were nothing but a unit away from being valid
            bare = pc.and_(pc.match_substring_regex(text, "^-?[1-9][0-9]*$"), pc.not_equal(text, values))
            values = pc.if_else(bare, text, values)
        for mark, group, pattern in patterns:
            matches = pc.match_substring_regex(text, pattern)
            if pc.all(matches).as_py():
                return _shortest(pc.replace_substring(pc.replace_substring(text, group, ""), mark, "."))
            if pc.any(matches).as_py():
                plain = pc.replace_substring(pc.replace_substring(text.filter(matches), group, ""), mark, ".")
                values = pc.replace_with_mask(values, matches, _shortest(plain))
        return values

    return read_all


def _usual(field: SchemaField, mark: str, group: str, *, is_told: bool) -> str:
    """Numbers that have one reading; or also those that have one because the mark before decimals is told."""
    grouped = rf"[1-9][0-9]{{0,2}}(?:{group}[0-9]{{3}})+"
    if field.type == "integer":
        return rf"^-?{grouped}(?:{mark}0+)?$" if is_told else rf"^-?{grouped}{mark}0+$"
    return rf"^-?(?:{grouped}(?:{mark}[0-9]+)?|[0-9]+{mark}[0-9]+)$" if is_told else rf"^-?{grouped}{mark}[0-9]+$"


def _shortest(plain: pa.Array) -> pa.Array:
    """Numbers with a point without the zeros that say nothing."""
    found = pc.replace_substring_regex(plain, r"^(-?)0*([0-9]+?)(?:(\.[0-9]*?[1-9])0*|\.0*)?$", r"\1\2\3")
    return pc.if_else(pc.equal(found, "-0"), "0", found)


def _own_unit(field: SchemaField) -> str:
    """The unit that the values of a field are written with; "" if they have none, or it is unknown."""
    word = (field.prefix or field.suffix).strip()
    return (_unit(word) or word) if word else ""


def _hundredth(whole: str, decimals: str) -> tuple[str, str]:
    padded = whole.zfill(3)
    return padded[:-2], padded[-2:] + decimals


def _spelled(field: SchemaField, is_negative: bool, whole: str, decimals: str) -> str | None:
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    sign = "-" if is_negative and (whole != "0" or decimals) else ""
    if field.type == "integer":
        return None if decimals else f"{sign}{whole}"
    number = f"{whole}{field.decimal_char}{decimals}" if decimals else whole
    return f"{sign}{field.prefix}{number}{field.suffix}"


def propose(field: SchemaField, wrong: Mapping[str, int], good: Sequence[str]) -> Iterable[Step]:
    """wrong: values that are not valid, with their rows. good: some that are. Steps that turn none into a wrong one."""
    if field.type not in ("integer", "number"):
        return
    numbers = [number for text in wrong if (number := read(text)) is not None]
    if not numbers:
        return
    right = [number for text in good if (number := read(text)) is not None]
    mark = _decimal_mark(field, numbers, right)
    values = sorted(value for number in right if (value := number.value(field.decimal_char)) is not None)
    units = {number.unit for number in numbers} - {"", _own_unit(field)}
    yield _How(mark, "", is_fraction=False).to_step()
    if len(units) == 1:
        (unit,) = units
        mine = [value for number in numbers if number.unit == unit and (value := number.value(mark)) is not None]
        if unit == "%":
            if (is_fraction := _is_fraction(values)) is not None:
                yield _How(mark, unit, is_fraction).to_step()
        elif unit not in _SIZED or _is_alike(mine, values):
            yield _How(mark, unit, is_fraction=False).to_step()


def _decimal_mark(field: SchemaField, wrong: Sequence[Number], right: Sequence[Number]) -> str | None:
    """Which mark is before decimals in ambiguous numbers, also of later files; None if the column does not tell."""
    votes = {number.evidence for number in wrong if number.evidence}
    if len(votes) > 1:
        return None
    votes |= _votes_of_good(field, right)
    if len(votes) == 1:
        return votes.pop()
    return _mark_of_whole(wrong, right) if field.type == "integer" and not votes else None


def _votes_of_good(field: SchemaField, right: Sequence[Number]) -> set[str]:
    """Values that are valid have the field's own mark. With three decimals, they are no evidence about others."""
    if field.type == "integer":
        return set()
    decimals = [number.decimals for number in right if number.decimals]
    mark = field.decimal_char
    if not decimals or mark not in ".,":
        return set()
    if max(map(len, decimals)) > _USUAL_DECIMALS:
        return {mark, "," if mark == "." else "."}
    return {mark} if len(decimals) >= _ENOUGH else set()


def _mark_of_whole(wrong: Sequence[Number], right: Sequence[Number]) -> str | None:
    """Whole numbers of four digits and more beside others that are as large: the mark is between their groups."""
    marks = {number.mark for number in wrong if number.mark}
    ambiguous = [number for number in wrong if number.mark]
    if len(marks) != 1 or all(set(number.decimals) == {"0"} for number in ambiguous):
        return None
    values = [value for number in right if (value := number.value(".")) is not None]
    if len(values) < _ENOUGH or max(map(abs, values)) < 100:
        return None
    return "," if marks == {"."} else "."


def _is_fraction(values: Sequence[float]) -> bool | None:
    """Whether the valid values are fractions, so that 5 % is 0.05; None if they do not tell."""
    others = [abs(value) for value in values if value]
    if len(others) < _ENOUGH:
        return None
    if max(others) <= 1 and min(others) < 1:
        return True
    return False if min(others) >= 1 and max(others) > 1 else None


def _is_alike(values: Sequence[float], right: Sequence[float]) -> bool:
    """Whether numbers with a unit are as large as those without."""
    if len(right) < _ENOUGH or not values:
        return False
    return right[0] <= median(values) <= right[-1]
