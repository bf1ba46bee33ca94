"""Which encoding a text is in, on what evidence, and its way into UTF-8.

Most files are UTF-8, and that can be checked: other encodings hardly ever look like it by accident. Of the rest, those
in Latin letters are told apart by the words that come out, since their code pages differ in a few letters only and
statistics of characters take one for the other; for other scripts charset-normalizer is asked.
"""

import codecs
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import BinaryIO

import charset_normalizer
import numpy as np
import pyarrow as pa

from jobs.errors import UnreadableFileError
from jobs.import_options import UTF_8, codec_of

#: Bytes that are looked at or transcoded at once: some 20 ms of work.
CHUNK_BYTES = 4 << 20
#: Bytes at a file's beginning in which text is told from what is none.
HEAD_BYTES = 1 << 16
#: Bytes of lines that are kept as the sample which decides on an encoding other than UTF-8.
SAMPLE_BYTES = 1 << 17
#: Bytes of a line that are kept in the sample, before its first byte beyond ASCII and from there on.
LINE_BYTES = 1 << 12
#: Stretches of bytes beyond ASCII that are tried as UTF-8 one by one, once some are not: about 0.1 s of work.
MAX_STRETCHES = 100_000
#: Different words that are looked at to tell Latin code pages apart: some 50 ms of work.
MAX_WORDS = 2_000
#: Characters of a word that is shown as an example.
LONGEST_EXAMPLE = 30
#: Share of the words beyond ASCII that have to be possible words in a Latin code page for it to be believed.
MIN_FIT = 0.7
#: By how much another code page has to score better than Windows-1252 to be preferred: Hungarian, every accented letter
#: of which is a letter of some western language in Windows-1252, does so by 0.06.
CLEARLY = 0.05

_BOMS = (
    (codecs.BOM_UTF8, UTF_8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WIDE = ("utf-16", "utf-32")

_WESTERN = {
    "German": "äöüß",
    "French": "àâæçéèêëîïôœùûüÿ",
    "Spanish": "áéíñóúü",
    "Portuguese": "áâãàçéêíóôõúü",
    "Italian": "àèéìíîòóùú",
    "Catalan": "àçéèíïóòúü",
    "Dutch": "áéèêëïóöü",
    "Swedish": "åäöéü",
    "Danish": "æøåéäö",
    "Estonian": "äõöüšž",
    "Icelandic": "áðéíóúýþæö",
}
_CENTRAL = {
    "Polish": "ąćęłńóśźż",
    "Czech": "áčďéěíňóřšťúůýž",
    "Slovak": "áäčďéíĺľňóôŕšťúýž",
    "Hungarian": "áéíóöőúüű",
    "Croatian": "čćđšž",
    "Romanian": "ăâîşţșț",
    "German": "äöüß",
}
_TURKISH = {"Turkish": "âçğıîöşûüİ", "German": "äöüß"}
_BALTIC = {"Lithuanian": "ąčęėįšųūž", "Latvian": "āčēģīķļņšūž", "Estonian": "äõöüšž"}
#: Code pages of Latin letters, the likeliest first, and the letters beyond ASCII of the languages written in them.
_LATIN = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859-2": _CENTRAL,
    "cp1254": _TURKISH,
    "cp1257": _BALTIC,
    "mac-roman": _WESTERN,
    "cp850": _WESTERN,
    "cp852": _CENTRAL,
}
#: Turkish in its own code page reads as Icelandic in Windows-1252, letter by letter, and is far more frequent.
_RARE = {"Icelandic": 0.8}
#: Encodings of other scripts that files are in; of several with the same letters the one that has more of them.
_OTHERS = (
    *("cp1251", "koi8-u", "cp866", "iso8859-5", "cp1253", "iso8859-7", "cp1255", "cp1256", "cp874"),
    *("cp932", "euc-jp", "gb18030", "cp950", "cp949"),
)
_CALLED = {
    **{f"cp{number}": f"Windows-{number}" for number in range(1250, 1259)},
    **{f"cp{number}": f"DOS code page {number}" for number in (437, 850, 852, 858, 866)},
    **{f"iso8859-{part}": f"ISO-8859-{part}" for part in range(1, 17)},
    "cp874": "Windows-874",
    "cp932": "Shift-JIS",
    "cp949": "Korean (CP949)",
    "cp950": "Big5",
    "mac-roman": "Mac Roman",
}

#: Signs that stand before a word, behind one, and anywhere in one.
_BEFORE = "“„‚‘«‹¡¿£€¥§°©½¼¾±"  # noqa: RUF001  # the ambiguous ones are meant
_BEHIND = "”“’‘»›™®©°²³¹ªº€£¥¢½¼¾…"  # noqa: RUF001
_ANYWHERE = str.maketrans("", "", "\xa0\xad’·–—…•×µ")  # noqa: RUF001
_WORD = re.compile(r"(?:[^\W\d_]|[^\x00-\x7f])+")
_STRETCH = re.compile(rb"[\x80-\xff]+")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LINE_END = re.compile(rb"[\r\n]")
_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r"})
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd]")

Tick = Callable[[], None]


@dataclass(frozen=True)
class Encoding:
    """codec: Python's name. note: a sentence that says what the text is read as, and why."""

    codec: str
    note: str


def called(codec: str) -> str:
    """What people call an encoding."""
    return _CALLED.get(codec, codec.upper())


def as_asked(name: str) -> Encoding:
    """The encoding that somebody named."""
    codec = codec_of(name)
    return Encoding(codec, f"Read as {called(codec)}, as asked.")


def detect(path: Path, tick: Tick) -> Encoding:
    """The encoding of a file, from all of it. Raises UnreadableFileError if it is no text at all."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if wide := _marked(head) or _wide_without_mark(head):
            return wide
        if _looks_binary(head):
            raise UnreadableFileError("This seems to be a binary file, not a table of text.")
        file.seek(0)
        if _is_all_utf8(file, tick):
            return Encoding(UTF_8, "Read as UTF-8.")
        file.seek(0)
        evidence = _Evidence(path.stat().st_size)
        for block in _blocks(file):
            evidence.see(block)
            tick()
    return evidence.verdict()


def transcode(source: BinaryIO, target: BinaryIO, codec: str, tick: Tick) -> None:
    """Write what is in `codec` as UTF-8, block by block.

    Bytes that the encoding does not define are written as they are, where that cannot be taken for UTF-8, else as 0xFF:
    the reader then fails the rows that have them, and no others, naming the place.
    """
    errors = _KEEP_WHOLE if codec.startswith(_WIDE) else _KEEP_BYTE
    decoder = codecs.getincrementaldecoder(codec)(errors)
    while block := source.read(CHUNK_BYTES):
        target.write(decoder.decode(block).encode("utf-8", "surrogateescape"))
        tick()
    target.write(decoder.decode(b"", final=True).encode("utf-8", "surrogateescape"))


def _keep_byte(error: UnicodeError) -> tuple[str, int]:
    """For encodings whose unit is a byte: goes on behind the first byte that does not fit."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start]
    before = error.object[error.start - 1] if error.start else 0
    # Behind the first byte of a UTF-8 sequence, itself perhaps kept, a continuation byte could complete a letter.
    harmless = byte >= 0x80 and not (byte < 0xC0 <= before)
    return chr(0xDC00 + (byte if harmless else 0xFF)), error.start + 1


def _keep_whole(error: UnicodeError) -> tuple[str, int]:
    """For encodings whose unit has several bytes: one mark for the whole unit, whose bytes could be a comma or a quote.

    Of a line's end that was cut in two at the file's end, the first half is enough.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    unit = error.object[error.start : error.end]
    return "\n" if unit == b"\n" else "\udcff", error.end


_KEEP_BYTE, _KEEP_WHOLE = "bulk_upload.keep_byte", "bulk_upload.keep_whole"
codecs.register_error(_KEEP_BYTE, _keep_byte)
codecs.register_error(_KEEP_WHOLE, _keep_whole)


def _looks_binary(head: bytes) -> bool:
    """A few NUL bytes, or others that are no characters, are the fault of the rows that have them."""
    return len(head) - len(head.translate(None, _CONTROLS)) > max(len(head) // 50, 4)


def _marked(head: bytes) -> Encoding | None:
    for mark, codec, name in _BOMS:
        if head.startswith(mark):
            if codec != UTF_8 and not _reads_as_text(head, codec):
                raise UnreadableFileError("This seems to be a binary file, not a table of text.")
            return Encoding(codec, f"Read as {name}, as the byte order mark at its beginning says.")
    return None


def _wide_without_mark(head: bytes) -> Encoding | None:
    """UTF-16 without its mark: of each two bytes, the same one is NUL wherever the text has a character of ASCII."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    codec, which = ("utf-16-le", "second") if odd > even else ("utf-16-be", "first")
    fewer, more = sorted((even, odd))
    share = more * 2 / (len(head) or 1)
    if more >= 4 and share > 0.02 and fewer * 20 <= more and _reads_as_text(head, codec):
        return Encoding(codec, f"Read as UTF-16: of its pairs of bytes, the {which} is NUL in {share:.0%}.")
    return None


def _reads_as_text(head: bytes, codec: str) -> bool:
    """Of random bytes, 3% are halves of surrogates without the other; of a text, hardly any."""
    text = codecs.getincrementaldecoder(codec)("replace").decode(head)
    return len(_NO_CHARACTER.findall(text)) <= max(len(text) // 200, 2)


def _is_all_utf8(file: BinaryIO, tick: Tick) -> bool:
    """A character that a block's end has cut is read again with the next one: no block is copied."""
    while block := file.read(CHUNK_BYTES):
        end = _end_of_characters(block) or len(block)
        if not _is_utf8(block, end):
            return False
        file.seek(end - len(block), os.SEEK_CUR)
        tick()
    return True


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """A file in blocks that end with a line, or at least with a whole character of UTF-8."""
    rest = b""
    while block := file.read(CHUNK_BYTES):
        block = rest + block
        end = block.rfind(b"\n") + 1 or _end_of_characters(block)
        rest = block[end:]
        yield block[:end]
    if rest:
        yield rest


def _end_of_characters(block: bytes) -> int:
    """Where the last character of UTF-8 that is not cut off ends."""
    for back in range(1, min(4, len(block))):
        byte = block[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(block) - back if back < length else len(block)
    return len(block)


def _is_utf8(block: bytes, end: int) -> bool:
    """Whether a block is up to a byte. Arrow checks several GB/s in place; Python would make a string of it first."""
    offsets = pa.py_buffer(np.array([0, end], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(block)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass
class _Evidence:
    """What speaks for and against UTF-8, and a sample of lines from all over the file in case it is something else.

    Counted are stretches of bytes beyond ASCII: whole ones are valid UTF-8 by accident less often than single
    characters, of which East Asian encodings have many that could be both.
    """

    size: int
    valid: int = 0
    invalid: int = 0
    tried: int = 0
    sample: list[bytes] = field(default_factory=list)

    def see(self, block: bytes) -> None:
        if block.isascii():
            return
        if _is_utf8(block, len(block)):
            self.valid += _count_stretches(block)
            return
        self._try_stretches(block)
        self._keep_lines(block)

    def _try_stretches(self, block: bytes) -> None:
        """Those of a block that is not all UTF-8. At least one is not, even if there are too many to come to it."""
        room = MAX_STRETCHES - self.tried
        tried = [_decodes(stretch[0]) for stretch in itertools.islice(_STRETCH.finditer(block), room)]
        self.tried += len(tried)
        self.valid += sum(tried)
        self.invalid += max(len(tried) - sum(tried), 1)

    def _keep_lines(self, block: bytes) -> None:
        """As many bytes of a block as give every block of the file its share of the sample, but one line at least."""
        room, end = SAMPLE_BYTES * len(block) // (self.size or 1), 0
        while room >= 0 and (beyond := _BEYOND_ASCII.search(block, end)):
            middle = beyond.start()
            before = _LINE_END.split(block[max(end, middle - LINE_BYTES) : middle])[-1]
            behind = _LINE_END.split(block[middle : middle + LINE_BYTES], maxsplit=1)[0]
            self.sample.append(before + behind)
            room -= len(self.sample[-1])
            end = middle + len(behind)

    def verdict(self) -> Encoding:
        stretches = self.valid + self.invalid
        if self.valid > self.invalid:
            share = f"{self.invalid:,} of {stretches:,} stretches beyond ASCII {'is' if self.invalid == 1 else 'are'}"
            return Encoding(UTF_8, f"Read as UTF-8, although {share} not valid in it: rows that have one fail.")
        partly = f" ({self.valid:,} of {stretches:,} stretches beyond ASCII would be valid)" if self.valid else ""
        return _other_than_utf8(b"\n".join(self.sample), f"it is not UTF-8{partly}")


def _count_stretches(block: bytes) -> int:
    beyond = np.frombuffer(block, np.uint8) >= 0x80
    return int(beyond[0]) + int(np.count_nonzero(beyond[1:] > beyond[:-1]))


def _decodes(stretch: bytes) -> bool:
    try:
        stretch.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class _Fit:
    """How well a sample reads in a Latin code page. score: 0 to 1.5. words: different ones beyond ASCII.
    possible: how many of them could be words. example: one that could."""

    codec: str
    score: float = 0.0
    words: int = 0
    possible: int = 0
    example: str = ""


def _other_than_utf8(sample: bytes, because: str) -> Encoding:
    fits = [_fit(sample, codec, languages) for codec, languages in _LATIN.items()]
    usual, best = fits[0], max(fits, key=lambda fit: fit.score)
    chosen = best if best.score > usual.score + CLEARLY else usual
    if chosen.possible > MIN_FIT * chosen.words:
        return Encoding(
            chosen.codec,
            f"Read as {called(chosen.codec)}: {because}, and {chosen.possible:,} of {chosen.words:,} different words"
            f" beyond ASCII look right that way, for instance “{chosen.example}”.",
        )
    other = charset_normalizer.from_bytes(sample, cp_isolation=list(_OTHERS)).best()
    if other is not None:
        codec = codec_of(other.encoding)
        return Encoding(codec, f"Read as {called(codec)}: {because}, and this fits its letters best. {_DOUBT}")
    return Encoding(chosen.codec, f"Read as {called(chosen.codec)}: {because}, and nothing fits well. {_DOUBT}")


_DOUBT = "If letters came out wrong, upload it again and name its encoding."


def _fit(sample: bytes, codec: str, languages: dict[str, str]) -> _Fit:
    """Judged by words: each should be possible in one of the languages, and best all of them in the same one."""
    found = _WORD.findall(sample.decode(codec, "replace"))
    words = list(itertools.islice(dict.fromkeys(word for word in found if not word.isascii()), MAX_WORDS))
    if not words:
        return _Fit(codec)
    weights = [_weights(word, languages) for word in words]
    apart = sum(max(each) for each in weights)
    together = max(sum(each) for each in zip(*weights, strict=True))
    possible = [word for word, each in zip(words, weights, strict=True) if max(each)]
    example = max(possible[:100], key=len, default="")
    return _Fit(codec, (apart + together / 2) / len(words), len(words), len(possible), example[:LONGEST_EXAMPLE])


def _weights(word: str, languages: dict[str, str]) -> list[float]:
    """How readily a word is taken for one of each language: 1, or 0 when it cannot be one."""
    core = word.lstrip(_BEFORE).rstrip(_BEHIND).translate(_ANYWHERE)
    beyond = {letter for letter in core if letter > "\x7f"}
    if not beyond:
        return [1.0 for _ in languages]
    foreign = len(core) > 1 and all(letter > "\x7f" for letter in core)  # in Latin letters most of a word is ASCII
    if foreign or any(a.islower() and b > "\x7f" and b.isupper() for a, b in itertools.pairwise(core)):
        return [0.0 for _ in languages]
    return [
        _RARE.get(language, 1.0) if beyond <= _both_cases(letters) else 0.0 for language, letters in languages.items()
    ]


@cache
def _both_cases(letters: str) -> frozenset[str]:
    return frozenset(letters) | {letter.upper() for letter in letters}
