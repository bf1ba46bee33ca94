"""Times that filters name in the URL: a day, a time, or how long ago it was."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

from webapp.errors import InvalidQueryError

#: A number of days or hours before now, as in 7d and 24h.
_AGO = re.compile(r"([1-9][0-9]{0,3})([dh])")


def parse(query: Mapping[str, str], name: str) -> str:
    """A time that a filter names, as it is in the URL; "" for none. Raises InvalidQueryError."""
    text = query.get(name, "").strip()
    if not text:
        return ""
    try:
        beginning(text)
        end(text)
    except (ValueError, OverflowError) as error:
        wanted = "must be a day like 2026-01-31, a time like 2026-01-31T09:00:00Z, or an age like 7d or 24h."
        raise InvalidQueryError(name, wanted) from error
    return text


def beginning(text: str) -> datetime:
    """The moment that a text names, of a day its beginning. Days are in UTC. Raises ValueError, OverflowError."""
    if ago := _AGO.fullmatch(text):
        return datetime.now(UTC) - int(ago[1]) * timedelta(**{"days" if ago[2] == "d" else "hours": 1})
    if day := _day(text):
        return datetime.combine(day, time(), UTC)
    moment = datetime.fromisoformat(text.replace(" ", "+"))  # an unescaped + in a query means a space
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def end(text: str) -> datetime:
    """The moment that a text names, of a day its end. Raises ValueError, OverflowError."""
    return beginning(text) + timedelta(days=1) if _day(text) else beginning(text)


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
