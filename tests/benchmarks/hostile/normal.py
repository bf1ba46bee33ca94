"""A normal import beside a hostile one, which has to complete with every row right."""

import csv
import io
import itertools

from tests.benchmarks.hostile.instance import Instance

#: Rows of a normal file, and seconds that its import may take, the queue included.
ROWS, SECONDS = 300, 60.0
HEADER = ["number", "name", "day", "paid"]


def normal_file(rows: int = ROWS) -> str:
    """A table as people send it: quotes, letters beyond ASCII, a date, an empty cell now and then."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number in range(1, rows + 1):
        name = f"Müller, {number}" if number % 3 else f'“{number}” "in" quotes'
        writer.writerow([number, name, f"2026-01-{number % 28 + 1:02}", "true" if number % 2 else ""])
    return text.getvalue()


class NormalImport:
    """Imports a normal file into a new dataset each time."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._numbers = itertools.count(1)
        self._content = normal_file()
        self.imported = 0

    def run(self) -> list[str]:
        """Import a file to its end. Returns sentences about what is not as it has to be."""
        name = f"normal_{next(self._numbers)}"
        try:
            answer = self._instance.post(self._content.encode(), "normal.csv", dataset=name)
            if answer.status_code != 201:
                return [f"the normal import was answered with {answer.status_code}: {answer.text[:200]}"]
            upload = self._instance.ended(answer.json()["id"], SECONDS)
            found = self._violations(name, upload)
        except Exception as error:
            return [f"the normal import: {error!r}"]
        self.imported += not found
        return found

    def _violations(self, name: str, upload: dict[str, object] | None) -> list[str]:
        if upload is None:
            return [f"the normal import has not ended after {SECONDS:g} s"]
        if upload["status"] != "completed" or (upload["rows_success"], upload["rows_failed"]) != (ROWS, 0):
            return [f"the normal import is {upload['status']}: {upload['error']}"]
        csv_text = self._instance.client.get(f"/api/v1/datasets/{name}/rows.csv").text
        if list(csv.reader(io.StringIO(csv_text))) != list(csv.reader(io.StringIO(self._content))):
            return [f"rows of the normal import are not those of its file: {csv_text[:200]!r}"]
        return []
