"""Every import from outside is declared in pyproject.toml, and the lock holds what is declared."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN_TIME = ("src", "stages")
EVERYTHING = (*RUN_TIME, "tools", "benchmarks", "tests")
TORCH = "torch"  # pip takes it from where it is configured to: a version, no hash


def normal(name):
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower()


def declared(*, extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][name] for name in extras)]
    return {normal(line) for names in lists for line in names}


def files(folders):
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def imported(folders):
    """Top names imported anywhere in these folders, without ours and Python's."""
    names = set()
    for path in files(folders):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    ours = {"medaudit", *EVERYTHING, *(path.stem for path in files(("tests",)))}
    return names - ours - sys.stdlib_module_names


@pytest.mark.parametrize(
    ("folders", "extras"), [(RUN_TIME, ("onnx",)), (EVERYTHING, ("onnx", "dev"))]
)
def test_every_import_is_declared(folders, extras):
    distributions = packages_distributions()
    known = declared(extras=extras)
    missing = {
        name
        for name in imported(folders)
        if not known & {normal(found) for found in distributions.get(name, [])}
    }
    assert missing == set()


def test_the_lock_holds_every_declared_package_with_a_hash():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n(?=[A-Za-z])", text) if "==" in block]
    assert all("--hash=sha256:" in block for block in blocks)
    locked = {normal(block) for block in blocks if not block.startswith("#")}
    assert declared(extras=("onnx", "dev")) - {TORCH} <= locked
    assert TORCH not in locked
    assert not {name for name in locked if name.startswith(("nvidia-c", "triton", "cuda"))}
    assert "://" not in text
