"""What a commit has to pass, held against what a change has to pass."""

import re
from typing import Any

import yaml

from tests import ROOT

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))


def test_a_commit_passes_what_make_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    hooks = [hook for repository in CONFIG["repos"] for hook in repository["hooks"]]

    assert found is not None
    assert [hook["entry"] for hook in hooks] == found[1].replace("$(BIN)", ".venv/bin").replace("\t", "").splitlines()


def test_hooks_are_the_projects_own_and_fetch_nothing() -> None:
    hooks = [hook for repository in CONFIG["repos"] for hook in repository["hooks"]]

    assert {repository["repo"] for repository in CONFIG["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
