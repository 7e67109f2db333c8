"""The extensions of docs/extending.md: its code, applied as a reader would, and what it names."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from small_repo import ROOT

TEXT = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.DOTALL | re.MULTILINE))


def places(row: str) -> set[str]:
    """The files that a row of the table names, `*` for what a reader chooses."""
    cells = next(line for line in TEXT.splitlines() if line.startswith(f"| {row} |")).split("|")
    named = re.findall(r"`([^`]+)`", cells[2])
    return {re.sub(r"<\w+>", "*", name) for name in named if re.search(r"/|\.yaml$", name)}


def blocks(section: str, language: str) -> list[str]:
    """The code of a section."""
    return re.findall(rf"```{language}\n(.*?)```", SECTIONS[section], flags=re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """Code of the document: the file that it belongs to, what is defined, and what is listed.

    Args:
        path: of the file, which the first line names.
        definitions: imports, functions; they go before the list.
        opening: of the list that has a new entry, up to `...`.
        entry: that goes to its end.
    """

    path: str
    definitions: str
    opening: str
    entry: str

    @classmethod
    def of(cls, code: str) -> "Snippet":
        head, _, rest = code.partition("\n")
        before, dots, after = rest.partition("        ...\n" if "return (" in rest else "    ...\n")
        if not dots:
            return cls(head.removeprefix("# "), rest, "", "")
        lines = before.splitlines(keepends=True)
        start = max(i for i, line in enumerate(lines) if re.match(r"\w+ = \{|def ", line))
        entry = "".join(after.splitlines(keepends=True)[:-1])
        return cls(head.removeprefix("# "), "".join(lines[:start]), lines[start], entry)

    def apply(self, root: Path) -> None:
        """Write it into the file below `root`, and nothing else."""
        path = root / self.path
        text = path.read_text(encoding="utf-8")
        assert ast.parse(self.definitions) is not None
        if not self.opening:
            path.write_text(f"{text}\n\n{self.definitions}", encoding="utf-8")
            return
        name = re.match(r"(?:def )?(\w+)", self.opening)[1]
        node = next(each for each in ast.parse(text).body if name in names_of(each))
        lines = text.splitlines(keepends=True)
        lines.insert(node.end_lineno - 1, self.entry)
        at = node.lineno - 1
        imports = [line for line in self.definitions.splitlines(True) if is_import(line)]
        others = [line for line in self.definitions.splitlines(True) if not is_import(line)]
        lines[at:at] = others
        at = next(i for i, line in enumerate(lines) if is_import(line) and "__future__" not in line)
        lines[at:at] = imports
        path.write_text("".join(lines), encoding="utf-8")


def is_import(line: str) -> bool:
    return line.startswith(("import ", "from "))


def names_of(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def apply(section: str, root: Path) -> None:
    """All Python code of a section."""
    for code in blocks(section, "python"):
        Snippet.of(code).apply(root)
