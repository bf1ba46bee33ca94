"""The banner that `serve` prints when everything runs: the address, and the parts in use."""

import sys
from urllib.parse import urlsplit

from jobs.settings import Settings
from webapp import logs


def show(settings: Settings, url: str, redis: str, set_up_url: str | None = None) -> None:
    """Print the banner on stdout, with the address in bold in a terminal. set_up_url: where somebody has to begin."""
    if logs.is_json(settings.log_format):
        begin = f" Nobody has an account yet. Make the first one: {set_up_url}" if set_up_url else ""
        parts = f"{database(settings)}, Redis {redis}, workers: {workers(settings)}"
        print(logs.as_line(f"Bulk Upload is running at {url} ({parts}).{begin}", "serve"), flush=True)
        return
    facts = {
        "Address": f"\N{ESCAPE}[1m{url}\N{ESCAPE}[0m" if sys.stdout.isatty() else url,
        "Data": str(settings.data),
        "Database": database(settings),
        "Redis": redis,
        "Workers": workers(settings),
        **({"Set up": set_up_url} if set_up_url else {}),
    }
    lines = [f"  {name:<10}{value}" for name, value in facts.items()]
    if set_up_url:
        lines += ["", "  Nobody has an account yet. Open the link to make the first one; it works once."]
    print("\n  Bulk Upload is running.\n", *lines, "\n  Press Ctrl-C to stop.\n", sep="\n", flush=True)


def workers(settings: Settings) -> str:
    """How many workers take all files, and how many only small ones."""
    quick = f", and {settings.quick_workers} for small files" if settings.quick_workers else ""
    return f"{settings.workers}{quick}"


def database(settings: Settings) -> str:
    """The database in use, without its password."""
    return _without_secrets("PostgreSQL" if settings.database.startswith("postgresql") else "SQLite", settings.database)


def redis(settings: Settings) -> str:
    """The Redis in use, if it is not the private one, without its password."""
    return _without_secrets("at", settings.redis)


def _without_secrets(kind: str, url: str) -> str:
    parts = urlsplit(url)
    place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    return f"{kind} {place.replace('//', '/')}"
