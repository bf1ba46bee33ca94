"""Loaded by Schemathesis: no request may end the token, or change the account, that it is sent with. And those for one
dataset may be for one that exists."""

import os
from typing import Any

import schemathesis

#: Names of parameters, and what none of them may be.
KEPT = {"token_id": os.environ.get("KEPT_TOKEN", ""), "name": os.environ.get("KEPT_ACCOUNT", "")}


schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


@schemathesis.hook
def before_call(_context: Any, case: Any, _options: Any) -> None:
    if dataset := os.environ.get("DATASET"):
        case.path_parameters["name"] = dataset
    for name, kept in KEPT.items():
        if str((case.path_parameters or {}).get(name, "")).casefold() == kept:
            case.path_parameters[name] = "0"
