"""Errors of a request name the part that is wrong."""

from webapp.errors import InvalidBodyError, InvalidHeaderError, InvalidQueryError


def test_a_query_error_and_a_header_error_begin_with_the_name() -> None:
    query, header = InvalidQueryError("limit", "must be 1 or more."), InvalidHeaderError("Host", "must be one name.")

    assert (query.parameter, str(query)) == ("limit", "`limit` must be 1 or more.")
    assert (header.header, str(header)) == ("Host", "`Host` must be one name.")


def test_a_body_error_has_the_path_of_each_problem() -> None:
    error = InvalidBodyError([("", "is not JSON"), ("rows[1]", "is no number")])

    assert error.problems == (("", "is not JSON"), ("rows[1]", "is no number"))
    assert str(error) == "is not JSON; rows[1]: is no number"
