"""Detects the encoding of a text, with the evidence, and transcodes the text to UTF-8.

Most files are UTF-8. This can be validated: text in other encodings is hardly ever valid UTF-8 by accident. Code pages
for Latin letters differ in a few letters only, so character statistics confuse them; they are scored by the words that
decoding produces. charset-normalizer detects the encodings of other scripts.
"""

import codecs
import itertools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

import charset_normalizer
import numpy as np
import pyarrow as pa

from jobs.errors import MisreadFileError, UnreadableFileError
from jobs.import_options import UTF_8, codec_of
from jobs.pipeline.long_call import run_with_ticks, seconds_for

#: Bytes that are validated or transcoded at once: about 20 ms of work.
CHUNK_BYTES = 4 << 20
#: Bytes at the beginning of a file that decide whether it is text.
HEAD_BYTES = 1 << 16
#: Bytes of lines in the sample that is used to detect encodings other than UTF-8.
SAMPLE_BYTES = 1 << 17
#: Bytes that the sample may have with a line of each chunk, however many chunks there are.
MAX_SAMPLE_BYTES = 1 << 20
#: Bytes of a line that the sample keeps, before its first non-ASCII byte and from there on.
LINE_BYTES = 1 << 12
#: Non-ASCII sequences that are decoded as UTF-8 one by one if a chunk is invalid: about 0.1 s of work.
MAX_SEQUENCES = 100_000
#: Distinct words that are scored to distinguish Latin code pages: about 50 ms of work.
MAX_WORDS = 2_000
#: Characters of an example word in a note.
LONGEST_EXAMPLE = 30
#: Share of the non-ASCII words that must be possible words for a Latin code page to be chosen.
MIN_FIT = 0.7
#: How much higher than Windows-1252 another code page must score to be chosen. Hungarian scores 0.06 higher: in
#: Windows-1252, each of its accented letters is a letter of a western language.
MIN_LEAD = 0.05

_BOMS = (
    (codecs.BOM_UTF8, UTF_8, "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, because it begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
#: Encodings whose code unit has several bytes: how many.
_WIDE = {"utf-16": 2, "utf-32": 4}

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
#: Code pages for Latin letters, the most likely first, with their languages and the non-ASCII letters of each.
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
#: Weight of a language. Each letter of Turkish in its own code page is a letter of Icelandic in Windows-1252, and
#: Turkish is far more frequent.
_RARE = {"Icelandic": 0.8}
#: Encodings for other scripts. Of several with the same letters, the one with more of them.
_OTHERS = (
    *("cp1251", "koi8-u", "cp866", "iso8859-5", "cp1253", "iso8859-7", "cp1255", "cp1256", "cp874"),
    *("cp932", "euc-jp", "gb18030", "cp950", "cp949"),
)
_DISPLAY_NAMES = {
    **{f"cp{number}": f"Windows-{number}" for number in range(1250, 1259)},
    **{f"cp{number}": f"DOS code page {number}" for number in (437, 850, 852, 858, 866)},
    **{f"iso8859-{part}": f"ISO-8859-{part}" for part in range(1, 17)},
    "cp874": "Windows-874",
    "cp932": "Shift-JIS",
    "cp949": "Korean (CP949)",
    "cp950": "Big5",
    "mac-roman": "Mac Roman",
}

#: Signs that may precede a word, follow it, or occur anywhere in it.
_LEADING = "“„‚‘«‹¡¿£€¥§°©½¼¾±"  # noqa: RUF001  # the ambiguous ones are meant
_TRAILING = "”“’‘»›™®©°²³¹ªº€£¥¢½¼¾…"  # noqa: RUF001
_ANYWHERE = str.maketrans("", "", "\xa0\xad’·–—…•×µ")  # noqa: RUF001
_WORD = re.compile(r"(?:[^\W\d_]|[^\x00-\x7f])+")
_SEQUENCE = re.compile(rb"[\x80-\xff]+")
_NON_ASCII = re.compile(rb"[\x80-\xff]")
_LINE_END = re.compile(rb"[\r\n]")
_CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r"})
_ANOTHER = "Upload it again with another encoding, or leave the encoding out, so that it is detected."
#: Half of a character in UTF-16, except those that stand for a byte.
_LONE_SURROGATE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd]")

#: A progress callback. It may raise an exception to stop the work.
Tick = Callable[[], None]


@dataclass(frozen=True)
class Encoding:
    """codec: Python's name. note: a sentence for people that names the encoding and the evidence. is_proven: whether
    the whole file was decoded, and all of it is valid."""

    codec: str
    note: str
    is_proven: bool = False


def display_name(codec: str) -> str:
    """The name of an encoding for people."""
    return _DISPLAY_NAMES.get(codec, codec.upper())


def chosen(name: str, head: bytes) -> Encoding:
    """The encoding that the sender chose. head: the beginning of the file. Raises UnreadableFileError if it cannot be.

    Every table contains line ends or delimiters, which have NUL bytes in UTF-16 and UTF-32.
    """
    codec = codec_of(name)
    note = f"Read as {display_name(codec)}, as chosen."
    if not codec.startswith(tuple(_WIDE)):
        return Encoding(codec, note)
    marked = next((found for mark, found, _ in _BOMS if head.startswith(mark)), None)
    if marked is None and codec in _WIDE:  # which Python decodes only behind a mark
        width = _WIDE[codec]
        big = head[::width].count(0) > head[width - 1 :: width].count(0)
        codec = f"{codec}-{'be' if big else 'le'}"
    if not codec.startswith(marked or codec) or b"\0" not in head or not _reads_as_text(head, codec):
        raise MisreadFileError(
            f"The file is not {display_name(codec_of(name))}, the encoding that was chosen. {_ANOTHER}"
        )
    return Encoding(codec, note)


def detect(path: Path, tick: Tick) -> Encoding:
    """Detect the encoding of a file, from its whole content. Raises UnreadableFileError if the file is not text."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        if found := _from_bom(head) or _utf16_without_bom(head):
            return found
        if _looks_binary(head):
            raise UnreadableFileError("This looks like a binary file, not a table.")
        file.seek(0)
        if _is_all_utf8(file, tick):
            return Encoding(UTF_8, "Read as UTF-8.", is_proven=True)
        file.seek(0)
        evidence = _Evidence(path.stat().st_size)
        for chunk in _chunks(file):
            evidence.see(chunk)
            tick()
    return run_with_ticks(evidence.verdict, tick, seconds=seconds_for(evidence.size))


def transcode(source: BinaryIO, target: BinaryIO, codec: str, tick: Tick) -> None:
    """Transcode text from `codec` to UTF-8, chunk by chunk.

    Bytes that are invalid in the encoding are written unchanged if they cannot become valid UTF-8, else as 0xFF. The
    reader then fails the rows with such bytes, and no others, and its reasons name the positions.
    """
    errors = _KEEP_WHOLE if codec.startswith(tuple(_WIDE)) else _KEEP_BYTE
    decoder = codecs.getincrementaldecoder(codec)(errors)
    try:
        while chunk := source.read(CHUNK_BYTES):
            target.write(_encoded(decoder.decode(chunk)))
            tick()
        target.write(_encoded(decoder.decode(b"", final=True)))
    except UnicodeError as error:  # not about a byte: those are handled
        raise MisreadFileError(f"The file cannot be read as {display_name(codec)} ({error}). {_ANOTHER}") from error


def _encoded(text: str) -> bytes:
    """A text as UTF-8. Surrogates that a codec lets through, as UTF-7 does, become 0xFF like other invalid bytes."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _LONE_SURROGATE.sub("\udcff", text).encode("utf-8", "surrogateescape")


def _keep_byte(error: UnicodeError) -> tuple[str, int]:
    """Error handler for encodings whose code unit is a byte: skips one invalid byte."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    byte = error.object[error.start]
    before = error.object[error.start - 1] if error.start else 0
    # After the first byte of a UTF-8 sequence, which may itself be invalid here, a continuation byte could be valid.
    harmless = byte >= 0x80 and not (byte < 0xC0 <= before)
    return chr(0xDC00 + (byte if harmless else 0xFF)), error.start + 1


def _keep_whole(error: UnicodeError) -> tuple[str, int]:
    """Error handler for encodings whose code unit has several bytes: replaces the whole unit.

    Its bytes could be a comma or a quote. Half a line end at the end of the file counts as a line end.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    unit = error.object[error.start : error.end]
    return "\n" if unit == b"\n" else "\udcff", error.end


_KEEP_BYTE, _KEEP_WHOLE = "bulk_upload.keep_byte", "bulk_upload.keep_whole"
codecs.register_error(_KEEP_BYTE, _keep_byte)
codecs.register_error(_KEEP_WHOLE, _keep_whole)


def _looks_binary(head: bytes) -> bool:
    """Only many control characters make a file binary: a few, such as NUL bytes, fail only their rows."""
    return len(head) - len(head.translate(None, _CONTROLS)) > max(len(head) // 50, 4)


def _from_bom(head: bytes) -> Encoding | None:
    for mark, codec, name in _BOMS:
        if head.startswith(mark):
            if codec != UTF_8 and not _reads_as_text(head, codec):
                raise UnreadableFileError("This looks like a binary file, not a table.")
            return Encoding(codec, f"Read as {name}, according to its byte order mark.")
    return None


def _utf16_without_bom(head: bytes) -> Encoding | None:
    """UTF-16 without a byte order mark: every ASCII character has a NUL byte, always in the same half of its pair."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    codec, which = ("utf-16-le", "second") if odd > even else ("utf-16-be", "first")
    fewer, more = sorted((even, odd))
    share = more * 2 / (len(head) or 1)
    if more >= 4 and share > 0.02 and fewer * 20 <= more and _reads_as_text(head, codec):
        return Encoding(codec, f"Read as UTF-16: in {share:.0%} of its byte pairs, the {which} byte is NUL.")
    return None


def _reads_as_text(head: bytes, codec: str) -> bool:
    """In random bytes, 3% of the code units are unpaired surrogates; in text, hardly any are."""
    text = codecs.getincrementaldecoder(codec)("replace").decode(head)
    return len(_NOT_TEXT.findall(text)) <= max(len(text) // 200, 2)


def _is_all_utf8(file: BinaryIO, tick: Tick) -> bool:
    """Two threads read large files: an import has nothing else to do yet, and both release the GIL."""
    starts = range(0, os.fstat(file.fileno()).st_size, CHUNK_BYTES)
    if len(starts) <= 1:
        return _is_utf8_from(file, 0)
    with ThreadPoolExecutor(2, "encoding") as pool:
        for first in range(0, len(starts), 2):
            for is_valid in pool.map(partial(_is_utf8_from, file), starts[first : first + 2]):
                if not is_valid:
                    return False
                tick()
    return True


def _is_utf8_from(file: BinaryIO, start: int) -> bool:
    """Whether the characters are valid that begin in the chunk at this offset."""
    longest = 3  # bytes of a character behind its first one
    chunk = os.pread(file.fileno(), CHUNK_BYTES + longest, start)
    begin = _behind_character(chunk, 0, longest) if start else 0
    end = _behind_character(chunk, CHUNK_BYTES, longest) if len(chunk) > CHUNK_BYTES else len(chunk)
    return begin >= end or _is_utf8(chunk, begin, end)


def _behind_character(chunk: bytes, place: int, longest: int) -> int:
    """The first byte from a place on that continues no character."""
    end = place
    while end < min(place + longest, len(chunk)) and chunk[end] & 0xC0 == 0x80:
        end += 1
    return end


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """A file in chunks that end with a whole line, or at least with a whole UTF-8 character."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        chunk = rest + chunk
        end = chunk.rfind(b"\n") + 1 or _end_of_characters(chunk)
        rest = chunk[end:]
        yield chunk[:end]
    if rest:
        yield rest


def _end_of_characters(chunk: bytes) -> int:
    """The end of the last complete UTF-8 character."""
    for back in range(1, min(4, len(chunk))):
        byte = chunk[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(chunk) - back if back < length else len(chunk)
    return len(chunk)


def _is_utf8(chunk: bytes, begin: int, end: int) -> bool:
    """Whether a part of a chunk is valid. Arrow validates several GB/s in place; Python would copy it first."""
    offsets = pa.py_buffer(np.array([begin, end], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(chunk)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass
class _Evidence:
    """Evidence for and against UTF-8, and a sample of lines from the whole file for other encodings.

    valid, invalid: non-ASCII sequences that are UTF-8 or not. Whole sequences are valid by accident less often than
    single characters: many characters of East Asian encodings are also valid UTF-8. tried: sequences that were decoded.
    kept: bytes in the sample.
    """

    size: int
    valid: int = 0
    invalid: int = 0
    tried: int = 0
    sample: list[bytes] = field(default_factory=list)
    kept: int = 0

    def see(self, chunk: bytes) -> None:
        if chunk.isascii():
            return
        if _is_utf8(chunk, 0, len(chunk)):
            self.valid += _count_sequences(chunk)
            return
        self._try_sequences(chunk)
        self._keep_lines(chunk)

    def _try_sequences(self, chunk: bytes) -> None:
        """Decode the sequences of an invalid chunk. At least one is invalid, even if it is beyond MAX_SEQUENCES."""
        room = MAX_SEQUENCES - self.tried
        tried = [_decodes(sequence[0]) for sequence in itertools.islice(_SEQUENCE.finditer(chunk), room)]
        self.tried += len(tried)
        self.valid += sum(tried)
        self.invalid += max(len(tried) - sum(tried), 1)

    def _keep_lines(self, chunk: bytes) -> None:
        """Add lines to the sample: the chunk's share of SAMPLE_BYTES, but at least one line."""
        room, end = SAMPLE_BYTES * len(chunk) // (self.size or 1), 0
        while room >= 0 and self.kept < MAX_SAMPLE_BYTES and (beyond := _NON_ASCII.search(chunk, end)):
            middle = beyond.start()
            before = _LINE_END.split(chunk[max(end, middle - LINE_BYTES) : middle])[-1]
            behind = _LINE_END.split(chunk[middle : middle + LINE_BYTES], maxsplit=1)[0]
            self.sample.append(before + behind)
            room -= len(self.sample[-1])
            self.kept += len(self.sample[-1])
            end = middle + len(behind)

    def verdict(self) -> Encoding:
        sequences = self.valid + self.invalid
        if self.valid > self.invalid:
            share = f"{self.invalid:,} of {sequences:,} non-ASCII sequences {'is' if self.invalid == 1 else 'are'}"
            return Encoding(UTF_8, f"Read as UTF-8, although {share} invalid: rows that contain one fail.")
        partly = f" (only {self.valid:,} of {sequences:,} non-ASCII sequences)" if self.valid else ""
        return _other_than_utf8(b"\n".join(self.sample), f"it is not valid UTF-8{partly}")


def _count_sequences(chunk: bytes) -> int:
    beyond = np.frombuffer(chunk, np.uint8) >= 0x80
    return int(beyond[0]) + int(np.count_nonzero(beyond[1:] > beyond[:-1]))


def _decodes(sequence: bytes) -> bool:
    try:
        sequence.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class _Fit:
    """How well a sample fits a Latin code page.

    score: 0 to 1.5. words: number of distinct non-ASCII words. possible: how many of them could be words of a language.
    example: one of these.
    """

    codec: str
    score: float = 0.0
    words: int = 0
    possible: int = 0
    example: str = ""


def _other_than_utf8(sample: bytes, because: str) -> Encoding:
    fits = [_fit(sample, codec, languages) for codec, languages in _LATIN.items()]
    usual, best = fits[0], max(fits, key=lambda fit: fit.score)
    latin = best if best.score > usual.score + MIN_LEAD else usual
    if latin.possible > MIN_FIT * latin.words:
        return Encoding(
            latin.codec,
            f"Read as {display_name(latin.codec)}: {because}, and {latin.possible:,} of {latin.words:,} distinct words"
            f" with non-ASCII letters look right, for example “{latin.example}”.",
        )
    other = charset_normalizer.from_bytes(sample, cp_isolation=list(_OTHERS)).best()
    if other is not None and not _mixes_letters(sample, codec_of(other.encoding)):
        codec = codec_of(other.encoding)
        return Encoding(
            codec, f"Read as {display_name(codec)}: {because}, and this encoding fits its letters best. {_DOUBT}"
        )
    return Encoding(latin.codec, f"Read as {display_name(latin.codec)}: {because}, and no encoding fits well. {_DOUBT}")


def _mixes_letters(sample: bytes, codec: str) -> bool:
    """Whether most words with letters of another script have ASCII letters, too: English with a few damaged bytes."""
    found = _WORD.findall(sample.decode(codec, "replace"))
    words = list(itertools.islice(dict.fromkeys(word for word in found if not word.isascii()), MAX_WORDS))
    return sum(any(letter.isascii() for letter in word) for word in words) * 2 > len(words)


_DOUBT = "If letters look wrong, upload the file again and choose its encoding."


def _fit(sample: bytes, codec: str, languages: dict[str, str]) -> _Fit:
    """Score a code page by words: each should be possible in a language, and ideally all in the same one."""
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
    """For each language: 0 if the word is impossible in it, else 1, or less for a rare language."""
    core = word.lstrip(_LEADING).rstrip(_TRAILING).translate(_ANYWHERE)
    beyond = {letter for letter in core if letter > "\x7f"}
    if not beyond:
        return [1.0 for _ in languages]
    foreign = len(core) > 1 and all(
        letter > "\x7f" for letter in core
    )  # most letters of a word in a Latin script are ASCII
    if foreign or any(a.islower() and b > "\x7f" and b.isupper() for a, b in itertools.pairwise(core)):
        return [0.0 for _ in languages]
    return [
        _RARE.get(language, 1.0) if beyond <= _both_cases(letters) else 0.0 for language, letters in languages.items()
    ]


@cache
def _both_cases(letters: str) -> frozenset[str]:
    return frozenset(letters) | {letter.upper() for letter in letters}
