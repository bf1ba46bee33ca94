"""Finds a second table in the first records of a file: names of other columns, behind a blank line.

Proof is what the cells of its header are: text where the table above has numbers or dates, and names above the numbers
or dates of its own rows. It ends the table of the file; a warning tells how much was left out.
"""

from collections.abc import Collection, Sequence

from jobs.formats.header import REGULAR, SAMPLE_RECORDS, are_names, count_evidence, share_like, trimmed

#: Titles that may stand between the blank line and the header.
MAX_TITLES = 3
#: Places that are looked at: a file with more gaps has rows in groups.
MAX_GAPS = 1_000


def find(records: Sequence[Sequence[str]], gaps: Collection[int], names: Sequence[str]) -> int | None:
    """The position at which a second table begins, with its titles; None if there is none.

    records: those below the header; an empty one, or one without values, is a blank line. gaps: positions of records
    that follow a blank line which is not among the records. names: the header of the first table as it is in the file.
    """
    above: list[Sequence[str]] = []
    filled = [place for place, record in enumerate(records) if any(cell.strip() for cell in record)]
    looked_at = 0
    for order, place in enumerate(filled):
        follows_gap = place in gaps or (order > 0 and filled[order - 1] < place - 1)
        if follows_gap and above and looked_at < MAX_GAPS:
            looked_at += 1
            rest = [records[each] for each in filled[order : order + SAMPLE_RECORDS]]
            if _begins_table(rest, above, names):
                return place
        if len(above) < SAMPLE_RECORDS:
            above.append(records[place])
    return None


def _begins_table(rest: Sequence[Sequence[str]], above: Sequence[Sequence[str]], first: Sequence[str]) -> bool:
    """Whether the first of some records is the header of another table, or a title above it. first: the header above;
    when it is repeated, the same table goes on."""
    titles = 0
    while titles < min(MAX_TITLES, len(rest) - 1) and sum(1 for cell in rest[titles] if cell.strip()) == 1:
        titles += 1
    header, below = rest[titles], rest[titles + 1 :]
    names = trimmed(header)
    if len(names) < 2 or not below or not are_names(names) or _stripped(names) == _stripped(first):
        return False
    own = count_evidence(names, below)
    if not own.header or own.data or own.recurring or share_like(names, below[:1]) < REGULAR:
        return False
    if len(names) != len(first):
        return True
    others = count_evidence(names, above)
    return others.header > 0 and not others.data and not others.recurring


def _stripped(cells: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in cells]
