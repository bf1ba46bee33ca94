"""Filters of the templates, and URLs of static files."""

from datetime import datetime, timedelta, timezone

import pytest

from webapp.templating import Templates, coded, duration, number, size, when


@pytest.mark.parametrize(("value", "expected"), [(0, "0"), (999, "999"), (1000, "1,000"), (3367760, "3,367,760")])
def test_a_number_is_grouped(value: int, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (2, "2 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (31_053_850, "31.1 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (999_999, "1.0 MB"),
        (10 * 1024**3, "10.7 GB"),
        (5 * 10**15, "5,000.0 TB"),
    ],
)
def test_a_size_has_a_decimal_unit(value: int, expected: str) -> None:
    assert size(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "< 0.1 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (3725, "1 h 2 min"),
        (400_000, "111 h 6 min"),
    ],
)
def test_a_duration_has_readable_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_time_is_an_element_in_utc() -> None:
    berlin = datetime(2026, 7, 1, 1, 30, 59, tzinfo=timezone(timedelta(hours=2)))

    assert when(berlin) == '<time datetime="2026-06-30T23:30:59Z">2026-06-30 23:30 UTC</time>'
    assert (
        when(berlin, "clock") == '<time datetime="2026-06-30T23:30:59Z" data-style="clock">2026-06-30 23:30 UTC</time>'
    )


def test_the_address_of_a_static_file_changes_with_its_content() -> None:
    templates = Templates()
    html = templates.render("error.html", {"status": 404, "title": "Page not found", "detail": ""})

    assert html.count("/static/") == html.count("?v=")


def test_values_in_a_sentence_are_code_and_never_markup() -> None:
    assert coded("not: `<b>` (1), `n/a` (2) & `") == ("not: <code>&lt;b&gt;</code> (1), <code>n/a</code> (2) &amp; `")
