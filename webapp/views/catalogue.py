"""CatalogueView: the search and the order of the list of datasets, as its page and the API take them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlencode

from jobs.dataset_admin.catalogue import CatalogueQuery, Order
from webapp import parameters
from webapp.parameters import Parameter

#: Characters of a search that count; no name is longer.
LONGEST_SEARCH = 200


def _order(text: str) -> str:
    """Raises ValueError."""
    Order(text.removeprefix("-") or Order.NAME)
    return text or str(Order.NAME)


SEARCH = parameters.text("q", "Part of the name or title, in any case.", longest=LONGEST_SEARCH)
SORT: Parameter[str] = Parameter(
    "sort",
    "The order; with - in front it descends.",
    _order,
    f"must be one of {', '.join(Order)}, or - and one of them for a descending order.",
    {"type": "string", "enum": [*Order, *(f"-{each}" for each in Order)]},
    str(Order.NAME),
)
_PAGE = parameters.number(
    "page", "Its number.", least=1, most=999_999, default=1, wanted="must be the number of a page."
)


@dataclass(frozen=True)
class CatalogueView:
    """query: what is shown. page: its number, from 1."""

    query: CatalogueQuery
    page: int = 1

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """Raises InvalidQueryError."""
        sort = SORT.read(query)
        chosen = CatalogueQuery(SEARCH.read(query), Order(sort.removeprefix("-")), sort.startswith("-"))
        return cls(chosen, _PAGE.read(query))

    @property
    def search(self) -> str:
        return self.query.search

    def at(self, page: int) -> str:
        """The address of another page."""
        return self._url(self.query, page)

    def sorted_by(self, order: str) -> str:
        """The address of the list in this order; in the opposite one if it is sorted so."""
        chosen = Order(order)
        # The largest and the newest are wanted first, names from the beginning.
        descending = not self.query.descending if chosen is self.query.order else chosen is not Order.NAME
        return self._url(replace(self.query, order=chosen, descending=descending), 1)

    @property
    def cleared(self) -> str:
        """The address of the list without the search."""
        return self._url(replace(self.query, search=""), 1)

    @property
    def sort(self) -> str:
        """`sort=` as the address has it."""
        return f"{'-' if self.query.descending else ''}{self.query.order}"

    def direction_of(self, order: str) -> str | None:
        """`aria-sort` of a column; None if the list is not sorted by it."""
        if order != self.query.order:
            return None
        return "descending" if self.query.descending else "ascending"

    def _url(self, query: CatalogueQuery, page: int) -> str:
        view = CatalogueView(query, page)
        parameters = {
            "q": query.search,
            "sort": "" if view.sort == Order.NAME else view.sort,
            "page": str(page) if page > 1 else "",
        }
        shown = urlencode({name: value for name, value in parameters.items() if value})
        return f"/datasets?{shown}" if shown else "/datasets"
