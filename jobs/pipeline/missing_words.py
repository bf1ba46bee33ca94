"""Words that mean "no value" among numbers, dates and times. Among texts they are texts.

A word is compared in lower case and without the spaces around it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.pipeline.parsing import Mask

#: Not an answer in any language or program: also among yes and no.
ALWAYS = frozenset({
    "na", "n/a", "#n/a", "#na", "n.a.", "n.a", "<na>", "null", "(null)", "<null>", "nan", "\\n", "-", "--", "---",
    "\u2013", "\u2014", "k.a.",
})  # fmt: skip
#: Among yes and no they are a third answer.
AMONG_VALUES = ALWAYS | {
    "none", "nil", "?", ".", "..", "...", "(none)", "<none>", "missing", "unknown", "not available", "not applicable",
    "no data", "nodata", "(blank)", "blank", "(empty)", "empty", ":",
}  # fmt: skip
#: Characters of the longest word.
LONGEST = max(map(len, AMONG_VALUES))


def are_missing(words: pa.Array, among: frozenset[str]) -> Mask:
    """Which of these words, without spaces around them, are among those that mean no value."""
    short = pc.less_equal(pc.binary_length(words), 3 * LONGEST)
    lowered = pc.utf8_lower(pc.if_else(short, words, pa.scalar(None, pa.string())))
    found: Mask = pc.is_in(lowered, value_set=pa.array(sorted(among))).to_numpy(zero_copy_only=False)
    return found.astype(np.bool_)
