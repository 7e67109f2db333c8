"""What the project imports: the rooms that a stage needs, read from the code."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"medaudit": Path("src/medaudit"), "stages": Path("stages")}


def module_file(name: str, root: Path = ROOT) -> Path | None:
    """The file of a dotted module name of this project, relative to its root, or `None`."""
    head, *rest = name.split(".")
    if head not in PACKAGES:
        return None
    base = PACKAGES[head].joinpath(*rest)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((path for path in candidates if (root / path).is_file()), None)


def imported_names(file: Path) -> set[str]:
    """Dotted names that a file imports outside `if TYPE_CHECKING`, with every parent package."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in runtime_nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 2)}


def runtime_nodes(tree: ast.AST) -> list[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`, imports inside functions too."""
    found: list[ast.AST] = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            stack += node.orelse
            continue
        found.append(node)
        stack += ast.iter_child_nodes(node)
    return found


def closure(start: Path, root: Path = ROOT) -> list[str]:
    """Every project file that `start` needs at run time, sorted, `start` included."""
    seen: set[Path] = set()
    stack = [start]
    while stack:
        file = stack.pop()
        if file in seen:
            continue
        seen.add(file)
        files = (module_file(name, root) for name in imported_names(root / file))
        stack += [found for found in files if found is not None]
    return sorted(path.as_posix() for path in seen)


def rooms(stage: str, root: Path = ROOT) -> list[str]:
    """The folders of `src/medaudit` that a stage imports from, sorted."""
    files = closure(Path("stages") / f"{stage}.py", root)
    parts = {file.split("/")[2] for file in files if file.startswith("src/medaudit/")}
    return sorted(f"src/medaudit/{part}" for part in parts if not part.endswith(".py"))
