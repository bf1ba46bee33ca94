"""View: which datasets, and uploads into them, exist for whoever asks."""

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class View:
    """hidden: datasets that do not exist for the caller. only: the single one that does; None: all that are not hidden.

    Two callers with equal views see the same, so what is rendered for one may be sent to the other.
    """

    hidden: frozenset[str] = frozenset()
    only: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is hidden."""
        return not self.hidden and self.only is None

    def shows(self, dataset: str | None) -> bool:
        """Whether a dataset exists, or an upload into it. None: of an upload whose dataset does not exist yet."""
        if self.only is not None and dataset != self.only:
            return False
        return dataset not in self.hidden

    def condition(self, dataset: sa.ColumnElement[str | None]) -> sa.ColumnElement[bool]:
        """The same of a column with the names of datasets."""
        conditions: list[sa.ColumnElement[bool]] = []
        if self.only is not None:
            conditions.append(dataset == self.only)
        if self.hidden:
            conditions.append(dataset.is_(None) | dataset.not_in(sorted(self.hidden)))
        return sa.and_(sa.true(), *conditions)


#: Of single users, of administrators, and of the server itself.
EVERYTHING = View()
