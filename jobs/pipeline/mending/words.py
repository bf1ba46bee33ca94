# ruff: noqa: RUF001, RUF002  # letters and signs of many scripts
"""Repairs of words: no value, yes and no, the allowed values of a list.

All work on single values, and return None for a value that they leave as it is.
"""

import itertools
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from rapidfuzz import process
from rapidfuzz.distance import OSA

from jobs.pipeline.missing_words import AMONG_VALUES

#: Words for no value in other languages than English, besides those that are taken as missing in new datasets.
MISSING = AMONG_VALUES | {
    "k. a.", "keine angabe", "keine angaben", "ohne angabe", "unbekannt", "nicht bekannt", "nicht verfügbar", "inconnu",
    "inconnue", "non disponible", "non renseigné", "n.d.", "n.d", "nd", "n/d", "s/d", "s.d.", "desconocido",
    "desconocida", "sin datos", "sin dato", "no disponible", "no aplica", "sconosciuto", "non disponibile",
    "desconhecido", "não disponível", "não se aplica", "sem dados", "onbekend", "niet beschikbaar", "n.v.t.", "nvt",
    "okänd", "ukendt", "ukjent", "nieznany", "brak danych", "brak", "неизвестно", "нет данных", "n. a.", "n / a",
    "not known", "no value", "no answer", "undefined", "#n/v", "not provided", "not specified", "unspecified",
    "not given", "not stated", "nicht angegeben", "leer", "non spécifié", "sans objet", "vide", "no especificado",
    "vacío", "non specificato", "vuoto", "não informado", "vazio", "niet opgegeven", "leeg", "не указано", "なし",
    "不明", "未知", "暂无", "无", "없음",
}  # fmt: skip

_YES = (
    "true yes y t on 1 1.0 ja j wahr richtig oui vrai si verdadero vero sim verdadeiro waar sand sann kylla jah tak"
    " prawda ano igen igaz da taip ja. ναι evet да так истина правда ya có ndiyo bai bəli بله نعم हाँ हां כן ใช่"
    " 是 はい 예 네 ✓ ✔ ☑ ✅"
)
_NO = (
    "false no n f off 0 0.0 nein falsch non faux falso nao nee onwaar nej nei falsk ei nie falsz ne nem hamis nu"
    " nesa οχι hayir нет не ні ложь неправда tidak không hapana ez xeyr خیر لا नहीं לא ไม่"
    " 否 いいえ 아니요 아니오 ✗ ✘ ☐ ❌"
)

#: Signs around a value that a program or a person put there to keep it a text.
QUOTES = "\"'\u201c\u201d\u201e\u00ab\u00bb\u2018\u2019`"
#: Letters of the same row of a keyboard; neighbours are mistyped for each other.
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = frozenset(pair for row in _KEYS for a, b in itertools.pairwise(row) for pair in (a + b, b + a))
_VOWELS = frozenset("aeiouy")
#: Allowed values from which on a misspelling is compared only with those that begin as it does.
MANY = 500
#: Letters and digits of the shortest word whose misspelling can be told from another word; of those in which any letter
#: may be another; and of those that may have two mistakes: Australia is not Austria.
_SHORTEST, _LONG, _VERY_LONG = 5, 9, 11


def unquoted(text: str) -> str:
    """Without quotes around it. 12" are inches."""
    text = text.strip()
    return text.strip(QUOTES) if text[:1] in tuple(QUOTES) else text


def plain(text: str) -> str:
    """Letters and digits in small letters, without accents: "Côte d’Ivoire" → "cotedivoire"."""
    folded = unicodedata.normalize("NFKD", text.casefold().replace("&", " and ")).casefold()
    return "".join(each for each in folded if each.isalnum()).replace("\u0131", "i")


def _expanded(text: str) -> str:
    """As it is written where there are no umlauts: Österreich → oesterreich."""
    lowered = text.casefold()
    for letter, instead in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ø", "oe"), ("å", "aa"), ("æ", "ae")):
        lowered = lowered.replace(letter, instead)
    return plain(lowered)


def _folded(text: str) -> str:
    """A word without its case, accents and the spaces around it."""
    found = unicodedata.normalize("NFKD", text.strip().casefold())
    return "".join(each for each in found if not unicodedata.combining(each)).replace("\u0131", "i").replace("ł", "l")


_TRUTH = {
    **{_folded(word): True for word in _YES.split()},
    **{_folded(word): False for word in _NO.split()},
}


def is_missing(text: str) -> bool:
    return " ".join(text.split()).lower() in MISSING


def truth(text: str, pair: tuple[str, str] | None = None) -> bool | None:
    """What a word says; pair: words for yes and no besides those that are known."""
    word = _folded(text)
    if pair is not None and word in (said := [_folded(each) for each in pair]):
        return word == said[0]
    return _TRUTH.get(word)


class Allowed:
    """The allowed values of a field."""

    def __init__(self, values: Iterable[str]) -> None:
        found: dict[str, set[str]] = {}
        for value in values:
            for key in {plain(value), _expanded(value)} - {""}:
                found.setdefault(key, set()).add(value)
        self._of: Mapping[str, str] = {key: next(iter(those)) for key, those in found.items() if len(those) == 1}
        self._keys = list(found)
        self._beginning: dict[str, list[str]] = {}
        for key in found:
            self._beginning.setdefault(key[0], []).append(key)
        self._values = found

    def same(self, text: str) -> str | None:
        """The only allowed value that differs in case, accents, spaces and punctuation alone."""
        key = plain(text)
        return None if _signs(text) else self._of.get(key)

    @lru_cache(maxsize=10_000)  # noqa: B019  # one for each field, as long as its import
    def nearest(self, text: str) -> str | None:
        """The only allowed value of which this is a misspelling; None if it may as well be another word."""
        key = plain(text)
        if len(key) < _SHORTEST or key in self._values or "?" in text:
            return None
        most = 2 if len(key) >= _VERY_LONG else 1
        digits = _digits(key)
        keys = self._keys if len(self._keys) <= MANY else self._beginning.get(key[0], ())
        found = process.extract(key, keys, scorer=OSA.distance, score_cutoff=most + 1, limit=None)
        near = sorted((int(distance), each) for each, distance, _ in found if _digits(each) == digits)
        if not near or near[0][0] > most:
            return None
        best = near[0][1]
        rivals = {value for distance, each in near if distance <= near[0][0] + 1 for value in self._values[each]}
        if len(rivals) > 1 or len(self._values[best]) > 1 or not _is_misspelling(key, best):
            return None
        return next(iter(self._values[best]))


def _signs(text: str) -> int:
    """Signs that may mean something: a question mark, a plus."""
    return sum(each in "?+#<>=" for each in text)


def _is_misspelling(key: str, word: str) -> bool:
    """Whether somebody who meant the word would write the key: not another word, as undelivered is not delivered."""
    if key[0] != word[0] or len(word) < _SHORTEST:
        return False
    if abs(len(key) - len(word)) == 1:
        return _is_with_surplus(key, word) if len(key) > len(word) else _is_with_gap(key, word)
    if key in word or word in key or abs(len(key) - len(word)) > 1:
        return False
    swapped = [(a, b) for a, b in zip(key, word, strict=False) if a != b] if len(key) == len(word) else []
    if len(swapped) == 1:
        (a, b), *_ = swapped
        is_likely = len(key) >= _LONG or {a, b} <= _VOWELS or a + b in _NEIGHBOURS
        return is_likely and key[-1] == word[-1]  # an employer is no employee
    return True


def _is_with_surplus(key: str, word: str) -> bool:
    """One letter too many: twice the same, or in the middle of a long word. Scales are not sales."""
    place = next((place for place, (a, b) in enumerate(zip(key, word, strict=False)) if a != b), len(word))
    is_doubled = place > 0 and key[place] == key[place - 1]
    return is_doubled or (len(word) >= _LONG and word not in key)


def _is_with_gap(key: str, word: str) -> bool:
    """One letter too few: in the middle of a word, or at the end of a long one. A German is not Germany."""
    is_end = word.startswith(key)
    return len(word) > _LONG if is_end else len(word) > _SHORTEST


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
