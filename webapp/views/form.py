"""A form that was refused, as its page shows it again: with what was entered, and what is wrong with which field."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from jobs.errors import BulkUploadError
from jobs.import_options import ImportOptions
from webapp.problems import details


@dataclass(frozen=True)
class FormView:
    """values, errors: by the name of the field. A file is never among the values: no browser sends its path."""

    values: Mapping[str, str]
    errors: Mapping[str, str]
    status: HTTPStatus

    @classmethod
    def refused(cls, error: BulkUploadError, values: Mapping[str, str]) -> Self:
        """Raises the error if it is not about a field."""
        if error.field is None:
            raise error
        return cls(defaultdict(str, values), {error.field: str(error)}, HTTPStatus(details(error)["status"]))

    @property
    def is_about_options(self) -> bool:
        """Whether it was refused for one of the import options, which a form may hide."""
        return bool(self.errors.keys() & set(ImportOptions.names()))

    @property
    def general(self) -> str:
        """What is wrong with the file, or with a field that no form of ours has."""
        shown = {"dataset", "mode", *ImportOptions.names()}
        return " ".join(sentence for name, sentence in self.errors.items() if name not in shown)
