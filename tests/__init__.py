"""The tests, on real parts. Folders mirror the packages; `system` has what goes through all of them."""

from pathlib import Path

#: The repository.
ROOT = Path(__file__).parent.parent
