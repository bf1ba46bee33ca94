"""The documents of the repository, in Markdown, and what tests check in them."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Document:
    """One document. path: from the repository's root."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.text = (ROOT / path).read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        """The contents of the code blocks in a language."""
        return [content for found, content in _BLOCK.findall(self.text) if found == language]

    @property
    def prose(self) -> str:
        """Everything outside of code blocks."""
        return _BLOCK.sub("", self.text)

    @property
    def code(self) -> list[str]:
        """What is marked as code within the prose."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    @property
    def links(self) -> list[str]:
        """The targets of links and images that are not addresses of other sites."""
        targets = re.findall(r"\]\(([^)\s]+)\)", self.prose)
        return [target for target in targets if not target.startswith(("http://", "https://"))]

    @property
    def anchors(self) -> set[str]:
        """The names by which links reach a heading, as GitHub makes them."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def section(self, heading: str) -> str:
        """The text below a heading, up to the next one of the same level."""
        found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^\1 |\Z)", self.text, re.MULTILINE | re.DOTALL)
        assert found is not None, f"{self.path} has no heading “{heading}”"
        return found[2]

    def __repr__(self) -> str:
        return self.path


DOCUMENTS = [
    Document(str(path.relative_to(ROOT))) for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))
]


def document(path: str) -> Document:
    return next(each for each in DOCUMENTS if each.path == path)


def rows(markdown: str) -> list[list[str]]:
    """The cells of each row of the tables in a text, without their headers."""
    found: list[list[str]] = []
    in_body = False
    for line in markdown.splitlines():
        if not line.startswith("|"):
            in_body = False
        elif set(line) <= set("|- :"):
            in_body = True
        elif in_body:
            found.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return found


def commands(shell: str) -> Iterator[list[str]]:
    """The simple commands of a block of shell, as words; pipes and lists are taken apart."""
    for line in shell.replace("\\\n", " ").splitlines():
        tokens = shlex.shlex(line, posix=True, punctuation_chars=True)
        tokens.whitespace_split = True
        words: list[str] = []
        for token in [*tokens, ";"]:
            if set(token) <= set(";|&"):
                if words:
                    yield words
                words = []
            else:
                words.append(token)


def sentences() -> list[str]:
    """The texts in the code that people may see: the literals of Python, with … for what is filled in; and the files of
    pages, whole."""
    found = [path.read_text("utf-8") for path in [*_files("templates"), *_files("static", "*.js"), ROOT / "Makefile"]]
    for package in ("jobs", "webapp"):
        for path in _files(package, "*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                text = _literal(node)
                if text:
                    found.append(re.sub(r"%(\.\d+)?[sdgr]", "…", text))
    return found


def is_sentence(symptom: str, texts: list[str]) -> bool:
    """Whether a text in the code can read like this; … stands for anything."""
    pattern = re.compile(".*".join(map(re.escape, symptom.split("…"))), re.DOTALL)
    return any(pattern.search(text) for text in texts)


def _files(folder: str, pattern: str = "*.*") -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob(pattern) if "vendor" not in path.parts)


def _literal(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
