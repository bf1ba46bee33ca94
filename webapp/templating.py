"""Jinja templates: rendering, URLs of static files, and filters for numbers, sizes and times."""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from jobs.excerpt import excerpt


def _folder(name: str) -> Path:
    """A folder that is inside this package in the wheel, and beside it in the source tree."""
    package = Path(__file__).parent
    packed = package / name
    return packed if packed.is_dir() else package.parent / name


STATIC = _folder("static")
TEMPLATES = _folder("templates")


class Templates:
    """Renders pages and partials. In a template `static(path)` is a file's URL, which changes with its content."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        versions = {
            str(path.relative_to(STATIC)): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            for path in STATIC.rglob("*")
            if path.is_file()
        }
        self._environment.globals["static"] = lambda path: f"/static/{path}?v={versions[path]}"
        self.warn_when(lambda: False)
        self._environment.filters |= {"n": number, "size": size, "when": when, "duration": duration}
        self._environment.filters |= {"excerpt": excerpt, "coded": coded}

    def warn_when(self, is_open: Callable[[], bool]) -> None:
        """is_open: whether everybody who can connect may do everything, which every page then says."""
        self._environment.globals["is_open"] = is_open

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(context)


def number(value: int) -> str:
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes in decimal units: 31.1 MB."""
    if value < 1000:
        return "1 byte" if value == 1 else f"{value} bytes"
    amount, unit = value / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if round(amount, 1) < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.1f} {unit}"


def when(moment: datetime, style: str = "") -> Markup:
    """A <time> in UTC; a script shows in the reader's time zone how long ago it was. style: `clock` or `exact` for the
    time itself, without or with seconds."""
    moment = moment.astimezone(UTC)
    wanted = Markup(' data-style="{}"').format(style) if style else ""
    return Markup('<time datetime="{}"{}>{} UTC</time>').format(
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"), wanted, moment.strftime("%Y-%m-%d %H:%M")
    )


def coded(text: str) -> Markup:
    """Text in which values stand between backquotes, as of columns: each value as <code>."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # escaped before


def duration(seconds: float) -> str:
    """1 h 2 min, 3 min 20 s, 42 s, 0.4 s, < 0.1 s."""
    if round(seconds, 1) < 0.1:
        return "< 0.1 s"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
