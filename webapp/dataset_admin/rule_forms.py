"""The rules of a dataset on the page of its settings: add, switch, move, remove."""

from contextlib import suppress
from http import HTTPStatus

import sqlalchemy as sa
from starlette.responses import RedirectResponse, Response

from jobs.errors import InvalidChangeError, RuleNotFoundError
from jobs.repair import rules
from jobs.repair.repairs import Repair
from jobs.repair.rules import Wanted
from webapp.access.needs import ADMIN, GuardedRoute
from webapp.dataset_admin import forms, rule_kinds
from webapp.dataset_admin.api import require
from webapp.people import change
from webapp.people.form import Form
from webapp.state import AppRequest

#: The longest number of a rule.
_DIGITS = 18


async def add(request: AppRequest) -> Response:
    form = await Form.read(request)
    try:
        repair = _repair(form)

        def add_it(connection: sa.Connection) -> str:
            name = require(request, connection)
            rules.add(connection, request.state["actor"], name, repair)
            return name

        name = await change.make(request, add_it)
    except InvalidChangeError as error:
        fields = ("column", "kind", "from", "to")
        errors = {f"rule_{path}" if path in fields else "rule_kind": what for path, what in error.problems}
        values = {f"rule_{each}": form[each] for each in fields}
        return await forms.settings_page(request, values, errors, HTTPStatus.UNPROCESSABLE_ENTITY)
    return RedirectResponse(f"/datasets/{name}/settings?done=rule#rules", HTTPStatus.SEE_OTHER)


def _repair(form: Form) -> Repair:
    """Raises InvalidChangeError."""
    kind, source, target = form["kind"], form["from"] or None, form["to"] or None
    if kind in rule_kinds.CASES:
        return Repair.single(form["column"], "case", target=kind)
    if kind == "replace":
        target = target or ""
    elif kind != "number":
        target = None
    if kind in ("trim", "case", "nearest"):
        source = None
    return Repair.from_json({"column": form["column"], "kind": kind, "from": source, "to": target})


async def modify(request: AppRequest) -> Response:
    """Switch a rule on or off, move it, or remove it."""
    form = await Form.read(request)
    actor, number = request.state["actor"], form["rule"]
    rule_id = int(number) if number.isascii() and number.isdecimal() and len(number) <= _DIGITS else 0

    def modify_it(connection: sa.Connection) -> str:
        name = require(request, connection)
        with suppress(RuleNotFoundError):  # somebody else was faster
            rule = rules.get(connection, name, rule_id)
            wanted = {
                "on": Wanted(enabled=True),
                "off": Wanted(enabled=False),
                "up": Wanted(position=max(1, rule.position - 1)),
                "down": Wanted(position=rule.position + 1),
            }.get(form["do"])
            if wanted is not None:
                rules.change(connection, actor, name, rule_id, wanted)
            elif form["do"] == "remove":
                rules.remove(connection, actor, name, rule_id)
        return name

    name = await change.make(request, modify_it)
    return RedirectResponse(f"/datasets/{name}/settings?done=rules#rules", HTTPStatus.SEE_OTHER)


routes = [
    GuardedRoute("/datasets/{name}/add-rule", add, ADMIN, methods=["POST"]),
    GuardedRoute("/datasets/{name}/change-rule", modify, ADMIN, methods=["POST"]),
]
