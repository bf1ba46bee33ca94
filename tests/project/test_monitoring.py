"""The dashboard and the alerts refer to metrics that exist, with labels that they have."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests import ROOT
from tests.support.parts import require
from tests.webapp.metrics.test_endpoint import KINDS

ALERTS, DASHBOARD = ROOT / "deploy" / "alerts.yaml", ROOT / "deploy" / "grafana.json"
#: What is behind the name of a metric of each kind.
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
METRICS = {f"{name}{suffix}" for name, kind in KINDS.items() for suffix in SUFFIXES[kind]}
LABELS = {"status", "lane", "result", "le", "instance", "job"}


def panels() -> list[dict[str, Any]]:
    return [each for each in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if each["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return list(group["rules"])


def expressions() -> Iterator[Any]:
    for each in panels():
        for target in each["targets"]:
            yield pytest.param(target["expr"], id=f"dashboard {each['title']} {target['refId']}")
    for rule in rules():
        yield pytest.param(rule["expr"], id=f"alert {rule['alert']}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_refers_to_what_exists(expression: str) -> None:
    named = set(re.findall(r"\b(?:bulk_upload_\w+|up)\b", expression))
    grouped = {label for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in labels.split(", ")}
    matched = set(re.findall(r"[{,](\w+)=", expression))

    assert named
    assert named <= METRICS | {"up"}
    assert (grouped | matched) - {""} <= LABELS


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(target["expr"] for each in panels() for target in each["targets"])

    assert [name for name in KINDS if name not in shown] == []


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for each in panels():
        place = each["gridPos"]
        cells = {(place["x"] + column, place["y"] + row) for column in range(place["w"]) for row in range(place["h"])}
        assert not cells & taken, each["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_every_alert_says_what_is_wrong_and_what_helps() -> None:
    names = [each["alert"] for each in rules()]

    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert all(text.endswith(".") for text in rule["annotations"].values())


def test_prometheus_takes_the_alerts() -> None:
    require(shutil.which("promtool") is not None, "needs promtool: apt install prometheus")

    checked = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
