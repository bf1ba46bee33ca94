"""The parameters that choose rows of a dataset, besides its columns, for the description of the API."""

from jobs.rows.filters import SEARCH, SORT, UPLOAD
from webapp import parameters
from webapp.parameters import MOST_DIGITS

#: `row_filters.parse` reads them.
ALL = (
    parameters.number(UPLOAD, "Only rows that came from this upload.", least=0, most=10**MOST_DIGITS - 1, default=None),
    parameters.found_by(SEARCH, "Only rows with this text in a column of text.", str, "", None),
    parameters.found_by(SORT, "The column that orders the rows; with - in front it descends.", str, "", None),
)
