"""A spelling on trial: how many values of a column fit it, which do not, and how those that fit are written."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.spellings import Spelling, has_comma_groups

#: Different values that do not fit, of which a trial keeps the text; and characters of each.
MAX_MISFITS, MISFIT_LENGTH = 20, 60
#: Different numbers that are kept, to find one that is spelled in two ways in different chunks.
MAX_KEPT = 10_000
#: No 0 before the point, and no four digits.
_LIKE_THOUSANDS = r"^-?[1-9][0-9]{0,2}\.[0-9]{3}$"
#: Times such as 9:30 are times of a day, and no durations, if one of them is in the afternoon.
_AFTERNOON = 13


@dataclass
class Trial:
    """fits, misfits: cells. examples: some values that do not fit, each with its cells. proof: the first of them."""

    spelling: Spelling
    fits: int = 0
    misfits: int = 0
    examples: dict[str, int] = field(default_factory=dict)
    proof: str | None = None
    #: Numbers: the fewest and the most digits after the point, and the most of those that end with a zero.
    fewest: int | None = None
    most: int = 0
    most_with_zero: int = 0
    #: Numbers that have a point, without the zeros at their end; and two spellings of one number.
    two_ways: tuple[str, str] | None = None
    has_point: bool = False
    #: Whether all numbers with a point could be whole ones with a separator between thousands.
    like_thousands: bool = True
    #: Groups of digits: the fewest and the most separators of a value.
    separators: tuple[int, int] | None = None
    words_seen: set[str] = field(default_factory=set)
    last_hour: int = 0
    _kept: list[pa.Array] = field(default_factory=list)
    _count_kept: int = 0

    @property
    def is_clean(self) -> bool:
        return self.misfits == 0

    @property
    def is_hopeless(self) -> bool:
        return self.misfits > self.fits

    def see(self, words: pa.Array, times: pa.Array, fitting: pa.Array) -> None:
        """fitting: which of these different words fit. times: cells of each."""
        if pc.all(fitting).as_py():
            self._note(words)
            self.fits += pc.sum(times).as_py()
            return
        others, counts = words.filter(pc.invert(fitting)), times.filter(pc.invert(fitting))
        self.misfits += pc.sum(counts).as_py()
        self.fits += pc.sum(times.filter(fitting)).as_py() or 0
        self._note(words.filter(fitting))
        self.proof = self.proof or str(others[0])
        for word, count in zip(others[:MAX_MISFITS].to_pylist(), counts[:MAX_MISFITS].to_pylist(), strict=True):
            short = word[:MISFIT_LENGTH]
            if short in self.examples or len(self.examples) < MAX_MISFITS:
                self.examples[short] = self.examples.get(short, 0) + count

    def _note(self, words: pa.Array) -> None:
        """How values that fit are written."""
        if not len(words):
            return
        match self.spelling.type:
            case "number" if "exponent" not in self.spelling.details:
                self._note_number(words)
            case "boolean":
                if len(self.words_seen) < 2:
                    self.words_seen.update(pc.unique(words).to_pylist())
            case "time" | "datetime":
                self._note_moment(words)

    def _note_number(self, words: pa.Array) -> None:
        if self.spelling.details.get("groupChar"):
            counts = pc.min_max(pc.count_substring(words, self.spelling.details["groupChar"])).as_py()
            fewest, most = self.separators or (counts["min"], counts["max"])
            self.separators = min(fewest, counts["min"]), max(most, counts["max"])
        plain = self.spelling.plain(words)
        points = pc.find_substring(plain, ".")
        has_point = pc.greater_equal(points, 0)
        if not pc.any(has_point).as_py():
            self.fewest = 0
            return
        self.has_point = True
        decimals = pc.if_else(has_point, pc.subtract(pc.subtract(pc.binary_length(plain), points), 1), 0)
        self._note_decimals(decimals, pc.and_(has_point, pc.ends_with(plain, "0")))
        dotted = plain.filter(has_point)
        if self.like_thousands:
            self.like_thousands = pc.all(pc.match_substring_regex(dotted, _LIKE_THOUSANDS)).as_py()
        self._note_two_ways(dotted)

    def _note_decimals(self, decimals: pa.Array, ends_with_zero: pa.Array) -> None:
        least = pc.min(decimals).as_py()
        self.fewest = least if self.fewest is None else min(self.fewest, least)
        self.most = max(self.most, pc.max(decimals).as_py())
        self.most_with_zero = max(self.most_with_zero, pc.max(decimals.filter(ends_with_zero)).as_py() or 0)

    @property
    def is_regular(self) -> bool:
        """Whether each number has the fewest digits after the point, or more without a zero at their end."""
        return self.most_with_zero <= (self.fewest or 0)

    @property
    def decimals(self) -> int:
        """The digits after the point that every number has at least: 1.50 and 2.00, or 3.0 and 2.25. 0 if that does not
        say how they are written: 1.5 and 2.25 have the shortest decimals."""
        is_least = self.most == self.fewest or self.most_with_zero == self.fewest
        return (self.fewest or 0) if self.is_regular and is_least else 0

    def _note_two_ways(self, dotted: pa.Array) -> None:
        """Keep some numbers, and look for one that is spelled in two ways. dotted: numbers with a point."""
        if self.two_ways is not None:
            return
        if not self.is_regular:
            whole = pa.concat_arrays([*self._kept, dotted])
            self.two_ways = _in_two_ways(pc.unique(whole))
        if self._count_kept < MAX_KEPT:
            self._kept.append(dotted[: MAX_KEPT - self._count_kept])
            self._count_kept += len(self._kept[-1])

    def _note_moment(self, words: pa.Array) -> None:
        format_ = self.spelling.format or ""
        if "%f" in format_:
            fractions = pc.struct_field(
                pc.extract_regex(words, r":[0-9]{2}(?P<f>(?:\.[0-9]{1,6})?)(?:[^0-9.:].*)?$"), "f"
            )
            lengths = pc.fill_null(pc.binary_length(fractions), 0)
            decimals = pc.if_else(pc.greater(lengths, 0), pc.subtract(lengths, 1), 0)
            self._note_decimals(decimals, pc.fill_null(pc.ends_with(fractions, "0"), False))
            self.has_point |= pc.any(pc.greater(lengths, 0)).as_py()
        if self.spelling.type == "time" and self.spelling.details.get("unpadded"):
            hours = pc.cast(pc.utf8_slice_codeunits(words, 0, 2).filter(_is_late(words)), pa.int64())
            self.last_hour = max(self.last_hour, pc.max(hours).as_py() or 0)

    @property
    def is_whole_boolean(self) -> bool:
        """Whether both words occurred, which is not needed for true and false."""
        return len(self.words_seen) == 2 or self.spelling.details["trueValues"][0].lower() == "true"

    @property
    def is_plausible(self) -> bool:
        """Whether values that fit are more than something else that looks alike: codes, durations, phones."""
        spelling = self.spelling
        if spelling.type == "boolean":
            return self.is_whole_boolean
        if spelling.type == "time" and spelling.details.get("unpadded") == "H":
            return self.last_hour >= _AFTERNOON
        if "%f" in (spelling.format or ""):
            return self.has_point and self.is_regular
        if self.separators is not None and spelling.details["groupChar"] not in (",", "'", "\u2019"):
            fewest, most = self.separators
            return fewest < most or self.has_point or "bareNumber" in spelling.details or most == 0
        return True

    @property
    def has_groups(self) -> bool:
        return self.separators is not None and self.separators[1] > 0

    @property
    def is_surely_grouped(self) -> bool:
        """Whether the currency says that a comma is between thousands."""
        details = self.spelling.details
        return details.get("groupChar") == "," and has_comma_groups(
            details.get("prefix", ""), details.get("suffix", "")
        )

    @property
    def could_be_thousands(self) -> bool:
        """Whether the mark before decimals may stand between thousands: 999, 1.234, 12.500; or 1,234 and 1234."""
        if not (self.has_point and self.like_thousands) or self.has_groups:
            return False
        return not self.is_regular or self.spelling.details.get("decimalChar") == ","

    def described(self) -> dict[str, Any]:
        """The properties of a field in this spelling."""
        decimals = {"decimals": self.decimals} if self.decimals else {}
        return {**self.spelling.details, **decimals}


def _is_late(words: pa.Array) -> pa.Array:
    return pc.match_substring_regex(words, "^[0-9]{2}:")


def _in_two_ways(dotted: pa.Array) -> tuple[str, str] | None:
    """Two spellings of one number among these different ones, if there are any."""
    values = pc.replace_substring_regex(dotted, r"\.?0+$", "")
    values = pc.if_else(pc.match_substring(values, "."), values, pc.binary_join_element_wise(values, "", "."))
    counts = pc.value_counts(values)
    several = counts.filter(pc.greater(counts.field("counts"), 1))
    if not len(several):
        return None
    first, second, *_ = dotted.filter(pc.equal(values, several.field("values")[0])).to_pylist()
    return first, second
