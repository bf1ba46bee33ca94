"""All files of the corpus."""

from collections import Counter
from collections.abc import Sequence

from tests.corpus import published
from tests.corpus.case import Case
from tests.corpus.kinds import (
    archives,
    clean,
    datasets,
    dialects,
    encodings,
    headers,
    missing,
    mixtures,
    types,
    widths,
    workbooks,
)
from tests.corpus.kinds import refused as refused_

_KINDS = (
    clean,
    dialects,
    encodings,
    headers,
    widths,
    types,
    missing,
    datasets,
    workbooks,
    archives,
    refused_,
    mixtures,
)


def cases(only: Sequence[str] = ()) -> list[Case]:
    """only: parts of names; none for all."""
    found = [each for kind in _KINDS for each in kind.cases()] + list(published.cases())
    twice = [name for name, times in Counter(each.name for each in found).items() if times > 1]
    if twice:
        raise ValueError(f"Several files of the corpus have the same name: {', '.join(twice)}")
    return [each for each in found if not only or any(part in each.name for part in only)]
