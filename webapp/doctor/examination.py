"""All checks, one after the other, and their report."""

import json
from collections.abc import Callable, Iterator

import click

from jobs.errors import SettingsError
from jobs.settings import Settings
from webapp.doctor import machine, parts, proxy
from webapp.doctor.finding import Finding, Status, failed, worst

#: Before the name of a check: what a terminal shows of its status.
MARKS = {Status.OK: "ok     ", Status.WARNING: "warning", Status.FAILED: "FAILED "}


def run(load: Callable[[], Settings], token: str | None, *, as_json: bool) -> int:
    """Print what was found, and return the exit status. load: the settings; raises SettingsError."""
    try:
        settings = load()
    except SettingsError as error:
        findings = [failed("settings", each) for each in error.problems]
    else:
        findings = list(_examine(settings, token))
    if as_json:
        click.echo(json.dumps([each.as_json() for each in findings], indent=2, ensure_ascii=False))
    else:
        for each in findings:
            click.echo(f"{MARKS[each.status]}  {each.check}: {each.detail}")
    return worst(findings)


def _examine(settings: Settings, token: str | None) -> Iterator[Finding]:
    for check in (
        machine.settings,
        machine.versions,
        machine.storage,
        machine.free_space,
        machine.open_files,
        parts.bucket,
        parts.database,
        parts.redis,
        parts.workers,
    ):
        yield from check(settings)
    yield from proxy.check(settings, token)
