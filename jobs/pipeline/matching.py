"""Which column of a file is which field of a dataset. No I/O but the words of headers, which are read once.

A column that a person has assigned before stays assigned, then equal names and aliases are taken. What is left is
scored, each column with each field:

    score = words * (0.7 + 0.3 * values)

*words* compares the names: the share of their words that mean the same, weighted by how much each word says. Words are
equal, or of equal meaning in four languages (business_words.txt), or abbreviate each other, or have a typing error. A
word that is in many names of one side says less, so that `length` does not decide between five lengths. *values* is the
share of a column's samples that the field accepts; of a text field, which accepts anything, it is TEXT. The rest to 1
shrinks by EXCLUSIVE if a column and a field, among all that are left, accept only each other, and if one name is the
main word of the other and neither has a rival.

A pair is assigned if its score is at least SURE and ahead of every other pair of the column or of the field by MARGIN:
a wrong assignment is worse than none. The result does not depend on the order of columns or fields.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rapidfuzz import fuzz

#: The score from which a pair is assigned, and how far it must be ahead. From the corpus's half for tuning.
SURE, MARGIN = 0.72, 0.06
#: The score from which a column that is left over resembles a field that is left over.
RESEMBLING = 0.45
#: The share of accepted samples that counts for a field that accepts anything.
TEXT = 0.8
#: What the share of accepted samples counts of the score.
VALUES = 0.3
#: By how much two that accept only each other are nearer to 1.
EXCLUSIVE = 0.3
#: The score of a column and a field that share no word, but whose values are unmistakable.
UNMISTAKABLE = 0.75
#: Texts that a field with a wide type accepts. One that accepts none of them knows its values by their form.
PROBES = ("0", "1", "7", "12.5", "2026-01-31", "2026-01-31T09:00:00Z", "09:00", "true", "text", "AB")
#: Words of at least this many letters may differ by a typing error, if they are this similar.
LONG_WORD, SIMILAR_WORDS = 5, 84.0
#: What a word counts that is cut short or has a typing error, and one without its vowels.
ABBREVIATED, WITHOUT_VOWELS = 0.85, 0.75
#: Two whole names that are this similar, from this many letters on, resemble each other, whatever their words mean: too
#: little to assign `prise` to `price`, enough to ask.
MISSPELLED, LEAST_LETTERS = 0.75, 4
#: Two names that count differently (`address 2`, `address 3`) are not more alike than this.
DIFFERENT_NUMBERS = 0.4
#: The share of samples from which a field accepts a column's values.
FITTING = 0.9
#: What being called by its form counts: a column whose values are e-mail addresses may be called that.
BY_FORM = 0.9
#: Pairs of names that are less alike have no influence.
NEGLIGIBLE = 0.3
#: Words of a name that are looked at.
MAX_WORDS = 12
#: How much of a score its rivals may have at most, so that it stands alone.
ALONE = 0.6
#: What a part of a name counts that names several things.
OF_SEVERAL = 0.9
#: Different samples of a column that are looked at.
MAX_SAMPLES = 20


@dataclass(frozen=True)
class Column:
    """A column of a file. samples: some of its values, as text."""

    name: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True)
class FieldOf:
    """A field of a dataset. accepts: whether a text is a value of the field. is_text: it accepts anything."""

    name: str
    title: str | None = None
    aliases: tuple[str, ...] = ()
    accepts: Callable[[str], bool] = lambda _: True
    is_text: bool = True


@dataclass(frozen=True)
class Match:
    """What a column is. matched_by: "remembered", "name", "alias", "similar", "values"; None where nothing matched.

    score: from 0 to 1, None where nothing matched. A column that is remembered as ignored has no field.
    """

    column: str
    field: str | None = None
    matched_by: str | None = None
    score: float | None = None


def match(columns: Sequence[Column], fields: Sequence[FieldOf], remembered: Mapping[str, str | None]) -> list[Match]:
    """A match for each column, in order; each field at most once.

    remembered: columns and the fields that a person assigned to them, None for a column to ignore.
    """
    found: dict[str, Match] = {}
    free = {field.name: field for field in fields}

    def take(column: Column, field: FieldOf, by: str, score: float) -> None:
        found[column.name] = Match(column.name, field.name, by, round(score, 2))
        del free[field.name]

    for column in columns:
        if column.name in remembered:
            name = remembered[column.name]
            if name is None:
                found[column.name] = Match(column.name, None, "remembered")
            elif name in free:
                take(column, free[name], "remembered", 1.0)
    for by, names_of in _EQUAL:
        for field in list(free.values()):
            left = [column for column in columns if column.name not in found]
            if (named := names_of(field, left)) is not None:
                take(named, field, by, 1.0)
    left = [column for column in columns if column.name not in found]
    for column, field, by, score in _assigned(_scores(left, list(free.values()))):
        take(column, field, by, score)
    return [found.get(column.name, Match(column.name)) for column in columns]


def reassigned(matches: Sequence[Match], column: str, field: str | None) -> list[Match]:
    """The matches after a person has changed one column. Only a column that had the field loses it; no other moves."""
    changed = []
    for each in matches:
        if each.column == column:
            changed.append(Match(column, field, "remembered", None if field is None else 1.0))
        elif field is not None and each.field == field:
            changed.append(Match(each.column))
        else:
            changed.append(each)
    return changed


def resembling(
    matches: Sequence[Match], columns: Sequence[Column], fields: Sequence[FieldOf]
) -> list[tuple[str, str, float]]:
    """Columns that are left over and resemble a field that is left over: column, field and score, the best first.

    A column that a person ignores is not left over.
    """
    taken = {each.field for each in matches}
    ignored = {each.column for each in matches if each.matched_by is not None}
    left = [column for column in columns if column.name not in ignored]
    scores = _scores(left, [field for field in fields if field.name not in taken])
    likely = {(column.name, field.name): score for (column, field, _, score) in scores if score >= RESEMBLING}
    free = [(field.name, _plain(field.name)) for field in fields if field.name not in taken]
    for name, plain in ((column.name, _plain(column.name)) for column in left):
        for other, wanted in free:
            if (score := _as_spelled(plain, wanted)) >= MISSPELLED:
                likely.setdefault((name, other), score)
    alike = [(*names, round(score, 2)) for names, score in likely.items()]
    return sorted(alike, key=lambda each: (-each[2], each[0], each[1]))


# Equal names -----------------------------------------------------------------


def _plain(name: str) -> str:
    """As names are compared everywhere: regardless of case, spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", name.lstrip("'").casefold())


def _as_spelled(plain: str, other: str) -> float:
    """How similar two plain names are, letter by letter; 0 if they are less than MISSPELLED, or one is very short."""
    if min(len(plain), len(other)) < LEAST_LETTERS:
        return 0.0
    return fuzz.ratio(plain, other, score_cutoff=100 * MISSPELLED) / 100


def _only(columns: Iterable[Column], is_it: Callable[[Column], bool]) -> Column | None:
    return next((column for column in columns if is_it(column)), None)


def _by_name(field: FieldOf, columns: Sequence[Column]) -> Column | None:
    return _only(columns, lambda column: column.name == field.name)


def _by_plain_name(field: FieldOf, columns: Sequence[Column]) -> Column | None:
    wanted = _plain(field.name)
    return _only(columns, lambda column: _plain(column.name) == wanted)


def _by_title(field: FieldOf, columns: Sequence[Column]) -> Column | None:
    wanted = _plain(field.title or "")
    return _only(columns, lambda column: wanted != "" and _plain(column.name) == wanted)


def _by_alias(field: FieldOf, columns: Sequence[Column]) -> Column | None:
    wanted = {_plain(alias) for alias in field.aliases}
    return _only(columns, lambda column: _plain(column.name) in wanted)


_EQUAL = (("name", _by_name), ("name", _by_plain_name), ("alias", _by_alias), ("name", _by_title))


# Scores ----------------------------------------------------------------------

_Score = tuple[Column, FieldOf, str, float]


def _assigned(scores: list[_Score]) -> list[_Score]:
    """The pairs that are sure, the best first, each ahead of every other whose column and field are still free."""
    ranked = sorted(scores, key=lambda each: (-each[3], each[0].name, each[1].name))
    rivals: dict[str, list[_Score]] = {}
    for each in ranked:
        rivals.setdefault(f"column {each[0].name}", []).append(each)
        rivals.setdefault(f"field {each[1].name}", []).append(each)
    chosen: list[_Score] = []
    columns, fields = set[str](), set[str]()
    for column, field, by, score in ranked:
        if score < SURE:
            break
        near = [
            other
            for other in (*rivals[f"column {column.name}"], *rivals[f"field {field.name}"])
            if (other[0].name, other[1].name) != (column.name, field.name) and other[3] > score - MARGIN
        ]
        is_free = column.name not in columns and field.name not in fields
        if is_free and all(other[0].name in columns or other[1].name in fields for other in near):
            chosen.append((column, field, by, score))
            columns.add(column.name)
            fields.add(field.name)
    return chosen


def _scores(columns: Sequence[Column], fields: Sequence[FieldOf]) -> list[_Score]:
    """The pairs that have anything in common."""
    samples = {column.name: _distinct(column.samples) for column in columns}
    accepted = _Accepted(fields, samples)
    names = _Names(columns, fields, samples)
    alike = names.alike()
    by_name = {column.name: column for column in columns}
    found: list[_Score] = []
    for field in fields:
        only = accepted.only_column_of(field)
        for name in dict.fromkeys([*alike.get(field.name, {}), *([] if only is None else [only])]):
            words, by = alike.get(field.name, {}).get(name, (0.0, "similar"))
            values = accepted.share(field, name)
            score = words * (1 - VALUES + VALUES * (TEXT if values is None else values))
            if name == only:
                score += (1 - score) * EXCLUSIVE * min(1.0, 2 * words)
                if accepted.is_unmistakable(field) and score < UNMISTAKABLE:
                    score, by = UNMISTAKABLE, "values"
            if score > 0:
                found.append((by_name[name], field, by, score))
    return _with_heads(found)


def _with_heads(scores: list[_Score]) -> list[_Score]:
    """Raise the pairs of which one name is the main word of the other, if neither has anything else like it.

    `operator` is `airline operator` then, and `salary` is `annual_salary`.
    """
    best: dict[str, list[float]] = {}
    for column, field, _, score in scores:
        for key in (f"column {column.name}", f"field {field.name}"):
            best[key] = sorted([*best.get(key, []), score], reverse=True)[:2]
    raised = []
    for column, field, by, score in scores:
        others = [best[key] for key in (f"column {column.name}", f"field {field.name}")]
        is_alone = all(scores[0] == score and (len(scores) == 1 or scores[1] <= score * ALONE) for scores in others)
        if is_alone and _are_head_and_whole(column, field):
            score += (1 - score) * EXCLUSIVE
        raised.append((column, field, by, score))
    return raised


def _distinct(samples: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(samples) if text.strip()][:MAX_SAMPLES]


class _Accepted:
    """Which samples the fields accept. Fields of the same rules may share their function, and are asked once."""

    def __init__(self, fields: Sequence[FieldOf], samples: Mapping[str, list[str]]) -> None:
        self._shares: dict[Callable[[str], bool], dict[str, float]] = {}
        for field in fields:
            if not field.is_text and field.accepts not in self._shares:
                self._shares[field.accepts] = {
                    name: sum(map(field.accepts, texts)) / len(texts) for name, texts in samples.items() if texts
                }
        self._fitting = {
            accepts: [name for name, share in shares.items() if share >= FITTING]
            for accepts, shares in self._shares.items()
        }
        self._takers = Counter(name for field in fields if not field.is_text for name in self._fitting[field.accepts])

    def share(self, field: FieldOf, column: str) -> float | None:
        """None: the samples say nothing."""
        return None if field.is_text else self._shares[field.accepts].get(column)

    def only_column_of(self, field: FieldOf) -> str | None:
        """The column whose values the field accepts, if there is one, and no other field accepts them."""
        fitting = [] if field.is_text else self._fitting[field.accepts]
        return fitting[0] if len(fitting) == 1 and self._takers[fitting[0]] == 1 else None

    def is_unmistakable(self, field: FieldOf) -> bool:
        return not any(map(field.accepts, PROBES))


@dataclass(frozen=True)
class _Name:
    """One of the names of a column or field. counts: how much being alike this one counts. by: how that is called."""

    owner: str
    words: tuple[str, ...]
    counts: float = 1.0
    by: str = "similar"


class _Names:
    """How alike the names of columns and fields are. Only pairs that can reach NEGLIGIBLE are compared word by word."""

    def __init__(self, columns: Sequence[Column], fields: Sequence[FieldOf], samples: Mapping[str, list[str]]) -> None:
        self._columns = [name for column in columns for name in _names_of(column)]
        self._columns += _names_by_form(samples)
        self._fields = [
            _Name(field.name, meanings(each))
            for field in fields
            for each in dict.fromkeys((field.name, field.title or field.name, *field.aliases))
        ]
        self._says = tuple(_rarity(names) for names in (self._columns, self._fields))
        self._fields_of: dict[str, list[int]] = {}
        for place, name in enumerate(self._fields):
            for word in name.words:
                self._fields_of.setdefault(word, []).append(place)
        self._vocabulary = _Vocabulary(self._fields_of)
        self._totals = [sum(self._weight(1, word) for word in name.words) for name in self._fields]

    def alike(self) -> dict[str, dict[str, tuple[float, str]]]:
        """Field → column → how alike their names are, and by what."""
        found: dict[str, dict[str, tuple[float, str]]] = {}
        for mine in self._columns:
            total = sum(self._weight(0, word) for word in mine.words)
            for place, most in self._at_most(mine).items():
                theirs = self._fields[place]
                if most * mine.counts < NEGLIGIBLE * (total + self._totals[place]):
                    continue
                alike = mine.counts * self._alike(mine.words, theirs.words)
                row = found.setdefault(theirs.owner, {})
                if alike > row.get(mine.owner, (0.0, ""))[0]:
                    row[mine.owner] = alike, mine.by
        return found

    def _at_most(self, mine: _Name) -> dict[int, float]:
        """For each field that has a word like one of these, the weight of the words that may be shared, at most."""
        found: dict[int, float] = {}
        for word in mine.words:
            weight = self._weight(0, word)
            for other, how in self._vocabulary.like(word):
                shared = how * (weight + self._weight(1, other))
                for place in self._fields_of[other]:
                    found[place] = found.get(place, 0.0) + shared
        return found

    def _weight(self, side: int, word: str) -> float:
        return _weight(word) / self._says[side].get(word, 1.0)

    def _alike(self, mine: tuple[str, ...], theirs: tuple[str, ...]) -> float:
        my_weights = [self._weight(0, word) for word in mine]
        their_weights = [self._weight(1, word) for word in theirs]
        every = [
            (how, here, theirs.index(other))
            for here, word in enumerate(mine)
            for other, how in self._vocabulary.like(word)
            if other in theirs
        ]
        shared, used_here, used_there = 0.0, set(), set()
        for how, here, there in sorted(every, key=lambda each: (-each[0], each[1], each[2])):
            if here not in used_here and there not in used_there:
                used_here.add(here)
                used_there.add(there)
                shared += how * (my_weights[here] + their_weights[there])
        alike = shared / (sum(my_weights) + sum(their_weights))
        return min(alike, DIFFERENT_NUMBERS) if _numbers(mine) != _numbers(theirs) else alike


def _names_of(column: Column) -> list[_Name]:
    """The name of a column, and the parts of one that names several things: `Payee/Payer`."""
    parts = [part for part in column.name.split("/") if part.strip()]
    others = [_Name(column.name, meanings(part), OF_SEVERAL) for part in parts if len(parts) > 1]
    return [_Name(column.name, meanings(column.name)), *others]


def _names_by_form(samples: Mapping[str, list[str]]) -> list[_Name]:
    """A column whose samples are unmistakable, and no other column's are that, may be called what they are."""
    seen = {column: _form_of(texts) for column, texts in samples.items()}
    times = Counter(seen.values())
    return [
        _Name(column, (form,), BY_FORM, "values")
        for column, form in seen.items()
        if form is not None and times[form] == 1
    ]


def _numbers(words: tuple[str, ...]) -> list[str]:
    """`address` is `address 1`, but not `address 2`."""
    return [word for word in words if word.isdigit()] or ["1"]


def _rarity(names: Iterable[_Name]) -> dict[str, float]:
    """By what to divide the weight of a word that is in the names of several columns, or of several fields."""
    times = Counter(word for _, word in {(name.owner, word) for name in names for word in name.words})
    return {word: 1 + math.log2(count) for word, count in times.items()}


class _Vocabulary:
    """The words of one side, to find those that are like a word of the other."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = list(words)
        self._like: dict[str, list[tuple[str, float]]] = {}
        self._near: dict[str, list[str]] = {}
        for one, other in _LEXICON.near:
            self._near.setdefault(one, []).append(other)
        # Words that abbreviate each other, or differ by a typing error, begin with the same letter.
        self._by_letter: dict[str, list[str]] = {}
        for word in self._words:
            self._by_letter.setdefault(word[0], []).append(word)
        self._known = set(self._words)

    def like(self, word: str) -> list[tuple[str, float]]:
        if word not in self._like:
            self._like[word] = list(self._found(word).items())
        return self._like[word]

    def _found(self, word: str) -> dict[str, float]:
        found = {word: 1.0} if word in self._known else {}
        is_known = word in _LEXICON.meanings
        for other in self._near.get(word, ()):
            if other in self._known:
                found[other] = _LEXICON.near[word, other]
        if word.isdigit():
            return found
        for other in self._by_letter.get(word[0], ()):
            if other in found or (is_known and other in _LEXICON.meanings):
                continue
            if how := _spelled_alike(word, other):
                found[other] = how
        return found


def _spelled_alike(word: str, other: str) -> float:
    """How sure it is that one word abbreviates the other, or has a typing error."""
    short, long = (word, other) if len(word) <= len(other) else (other, word)
    if len(short) < 3:
        return 0.0
    if long.startswith(short):
        return ABBREVIATED
    if short == _skeleton(long):
        return WITHOUT_VOWELS
    if len(short) >= LONG_WORD and fuzz.ratio(short, long, score_cutoff=SIMILAR_WORDS):
        return ABBREVIATED
    return 0.0


@lru_cache(maxsize=20_000)
def _skeleton(word: str) -> str:
    """A word without its vowels, but for the first letter: `mngr` of `manager`."""
    return word[0] + re.sub("[aeiouy]", "", word[1:])


def _are_head_and_whole(column: Column, field: FieldOf) -> bool:
    names = {field.name, field.title or field.name}
    return any(_is_head(column.name, each) or _is_head(each, column.name) for each in names)


def _is_head(one: str, whole: str) -> bool:
    """Whether a name is the main word of another: the last one, or the first before a preposition (`balance of …`)."""
    head = meanings(one)
    before, _, after = _PREPOSITION.sub("\0", _spaced(whole), count=1).partition("\0")
    words = meanings(before)
    return len(head) == 1 and words[-1:] == head and (len(words) > 1 or bool(after))


# What words mean ----------------------------------------------------------------


@dataclass(frozen=True)
class _Lexicon:
    """meaning_of: words and phrases to their meaning. longest: words of the longest phrase.

    weights: meanings that do not count 1. near: pairs of meanings, both ways.
    together: meanings that are another one.
    """

    meaning_of: dict[tuple[str, ...], str]
    meanings: frozenset[str]
    longest: int
    weights: dict[str, float]
    near: dict[tuple[str, str], float]
    together: dict[frozenset[str], str]


def _lexicon() -> _Lexicon:
    meaning_of: dict[tuple[str, ...], str] = {}
    weights: dict[str, float] = {}
    near: dict[tuple[str, str], float] = {}
    together: dict[frozenset[str], str] = {}
    for line in Path(__file__).with_name("business_words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("="):
            parts, _, name = line.removeprefix("=").partition(":")
            together[frozenset(parts.split())] = name.strip()
        elif line.startswith("≈"):
            one, other, how = line.split()[1:]
            near |= {(one, other): float(how), (other, one): float(how)}
        elif line and not line.startswith("#"):
            meaning, _, words = line.partition(":")
            name = meaning.lstrip("~.")
            if meaning != name or name == "-":
                weights[name] = {"~": 0.5, ".": 0.25, "-": 0.0}[meaning[0]]
            for word in words.split():
                meaning_of.setdefault(tuple(word.split("_")), name)
    return _Lexicon(meaning_of, frozenset(meaning_of.values()), max(map(len, meaning_of)), weights, near, together)


_LEXICON = _lexicon()
_PREPOSITION = re.compile(r" (?:of|for|per|in|nach|von|vom|fuer|pro|de|du|des|d|del|por|par|pour|para) ")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "œ": "oe", "æ": "ae", "ø": "o"})
_SIGNS = {
    "#": " number ",
    "№": " number ",
    "n°": " number ",
    "nº": " number ",
    "%": " percentage ",
    "€": " eur ",
    "$": " usd ",
    "°c": " celsius ",
    "@": " at ",
}
_FORMS = (
    ("email", re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")),
    ("iban", re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7} ?[A-Z0-9]{1,4}")),
    ("url", re.compile(r"https?://\S+")),
)


def _weight(word: str) -> float:
    if word.isdigit():
        return 0.3 if word == "1" else 1.0
    return _LEXICON.weights.get(word, 1.0)


@lru_cache(maxsize=20_000)
def meanings(name: str) -> tuple[str, ...]:
    """The words of a name, those that the lexicon knows as their meaning: `Bestelldatum` is order, date."""
    words = _words_of(name)
    found: list[str] = []
    at = 0
    while at < len(words):
        for length in range(min(_LEXICON.longest, len(words) - at), 0, -1):
            meaning = _meaning(tuple(words[at : at + length]))
            if meaning is not None:
                found.append(meaning)
                at += length
                break
        else:
            found += _parts(words[at]) or [words[at]]
            at += 1
    counting = list(dict.fromkeys(word for word in found if word != "-"))
    for parts, whole in _LEXICON.together.items():
        if parts <= set(counting):
            counting = [whole, *(word for word in counting if word not in parts)]
    return tuple(counting or words)[:MAX_WORDS]


def _spaced(name: str) -> str:
    """A name with its words apart, in lower case and plain letters."""
    text = re.sub(r"\b(?:[^\W\d_]\.){2,}", lambda found: found[0].replace(".", "") + " ", name)
    text = re.sub(r"[^\W\d_]+", lambda found: _humps(found[0]), text)
    text = text.lower().translate(_UMLAUTS)
    for sign, word in _SIGNS.items():
        text = text.replace(sign, word)
    text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return text.replace("_", " ")


def _words_of(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+|\d+", _spaced(name))


def _humps(word: str) -> str:
    """The words of one in camel case. `MwSt` is one word."""
    if (word.lower(),) in _LEXICON.meaning_of:
        return word
    return re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])", " ", word)


def _meaning(words: tuple[str, ...]) -> str | None:
    if (found := _LEXICON.meaning_of.get(words)) is not None:
        return found
    last = words[-1]
    for ending in ("s", "es", "en", "n", "e"):
        if len(last) - len(ending) >= 3 and last.endswith(ending):
            found = _LEXICON.meaning_of.get((*words[:-1], last.removesuffix(ending)))
            if found is not None and found != "-":
                return found
    return None


def _parts(word: str) -> list[str] | None:
    """The meanings of a word that is made of known ones: `rechnungsbetrag`, `orderdate`."""
    if len(word) < 6:
        return None
    for at in range(len(word) - 2, 2, -1):
        first, rest = _meaning_of_part(word[:at]), word[at:]
        if first is None or (len(rest) == 2 and at < 4):
            continue
        last = _LEXICON.meaning_of.get((rest,))
        if last is not None and last != "-":
            return [first, last]
        if len(rest) >= 6 and (others := _parts(rest)) is not None:
            return [first, *others]
    return None


def _meaning_of_part(part: str) -> str | None:
    """German joins words with letters of their own: `rechnung-s-betrag`, `kunde-n-nummer`."""
    for joint in ("", "s", "es", "n", "en", "er", "e"):
        if part.endswith(joint):
            found = _LEXICON.meaning_of.get((part.removesuffix(joint),))
            if found is not None and found != "-" and len(part) - len(joint) >= 3:
                return found
    return None


def _form_of(samples: Sequence[str]) -> str | None:
    """What all samples are by their form, if that has a name."""
    if len(samples) < 2:
        return None
    return next((name for name, form in _FORMS if all(map(form.fullmatch, samples))), None)
