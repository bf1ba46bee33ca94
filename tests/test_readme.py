"""The README tells the truth about what can be set and run."""

import re
from pathlib import Path

import pytest

from jobs.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
VARIABLES = {"redis_url": "REDIS_URL", "database_url": "DATABASE_URL"}


def test_the_table_of_settings_is_that_of_the_code() -> None:
    written = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.*) \|$", README, re.MULTILINE)
    expected = [
        (VARIABLES.get(name, f"BULK_UPLOAD_{name.upper()}"), str(field.default or ""), field.description)
        for name, field in Settings.model_fields.items()
    ]

    assert [(name, default if default != "False" else "", what) for name, default, what in written] == expected


@pytest.mark.parametrize("target", re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
def test_every_make_target_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("path", re.findall(r"`((?:jobs|webapp|templates|static|deploy)/[\w/.]*)`", README))
def test_every_path_it_names_exists(path: str) -> None:
    assert (ROOT / path).exists()
