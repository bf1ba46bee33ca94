"""The number of items on a page of a list, from the query."""

from webapp.errors import InvalidQueryError
from webapp.state import AppRequest

DEFAULT_LIMIT, MAX_LIMIT = 50, 500


def limit_of(request: AppRequest) -> int:
    """Raises InvalidQueryError."""
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or len(text) > 9 or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidQueryError("limit", f"must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)
