"""Write the code dependencies of every stage into dvc.yaml: exactly what it imports.

python tools/deps.py           rewrite the `deps` of every stage
python tools/deps.py --check   exit 1 and print the difference instead

A stage depends on its own file and on every module of the project that it imports, directly or
through others, inside functions too, and on the files in `templates/` beside those modules. Data
dependencies (everything outside `src/` and `stages/`) stay as they are.
"""

import argparse
import ast
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"medaudit": Path("src/medaudit"), "stages": Path("stages")}
CODE = ("src/", "stages/")


def module_file(name: str, root: Path) -> Path | None:
    """The file of a dotted module name of this project, or `None`."""
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
    """All nodes but those under `if TYPE_CHECKING`."""
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
    stack = [start, Path("stages/__init__.py")]
    while stack:
        file = stack.pop()
        if file in seen:
            continue
        seen.add(file)
        files = (module_file(name, root) for name in imported_names(root / file))
        stack += [found for found in files if found is not None]
    folders = {(root / path).parent / "templates" for path in seen}
    templates = {path.relative_to(root) for folder in folders for path in folder.glob("*.*")}
    return sorted(path.as_posix() for path in seen | templates)


def wanted(pipeline: dict, root: Path = ROOT) -> dict[str, list[str]]:
    """The complete `deps` of every stage: data as written, then code."""
    return {
        name: [dep for dep in stage["deps"] if not dep.startswith(CODE)]
        + closure(Path("stages") / f"{name}.py", root)
        for name, stage in pipeline["stages"].items()
    }


def rewritten(text: str, deps: dict[str, list[str]]) -> str:
    """The text of dvc.yaml with new `deps` lists; everything else, comments too, is kept."""
    out: list[str] = []
    stage, skipping = "", False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if indent == 2 and line.strip().endswith(":"):
            stage = line.strip()[:-1]
        if skipping and indent >= 6 and line.strip().startswith("-"):
            continue
        skipping = False
        out.append(line)
        if indent == 4 and line.strip() == "deps:":
            out += [f"      - {dep}" for dep in deps[stage]]
            skipping = True
    return "\n".join(out) + "\n"


def main() -> None:
    """Rewrite or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="do not write, exit 1 on a difference")
    check = parser.parse_args().check
    path = ROOT / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    pipeline = yaml.safe_load(text)
    deps = wanted(pipeline)
    stale = {name for name, found in deps.items() if pipeline["stages"][name]["deps"] != found}
    if check and stale:
        names = ", ".join(sorted(stale))
        sys.exit(f"dvc.yaml: deps of {names} are not what is imported; run tools/deps.py")
    if stale:
        path.write_text(rewritten(text, deps), encoding="utf-8")
    print(f"{len(stale)} stages changed")


if __name__ == "__main__":
    main()
