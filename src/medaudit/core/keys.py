"""Keys by content, and unfinished work kept under them, outside the outputs of any stage."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import json
import logging
import shutil
import sys
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from medaudit.core.errors import DataError
from medaudit.core.files import digest, make_folder, read_json, write_json
from medaudit.core.layout import RESUME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

PACKAGE = "medaudit"

Definition = tuple[str, str]  # module, and the name of a function, class, method or value in it


def content_key(parts: Mapping[str, object]) -> str:
    """SHA-256 (hexadecimal) over named JSON values; NaN and unknown types are errors."""
    named = json.dumps(parts, sort_keys=True, allow_nan=False)
    return digest([named.encode()])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of packages, read without importing them."""
    return {package: metadata.version(package) for package in packages}


def identity(function: Any) -> dict[str, object]:
    """What a function of a table is: its source, and the settings that are bound to it.

    Args:
        function: at the top level of a module; or `functools.partial` of one with keywords; or an
            instance of a frozen dataclass with `__call__`. Settings must be JSON values.

    Raises:
        ValueError: a lambda, or a function made inside another, whose source does not tell all.
    """
    if isinstance(function, functools.partial) and not function.args:
        return {"settings": function.keywords, **identity(function.func)}
    if dataclasses.is_dataclass(function) and not isinstance(function, type):
        return {"settings": dataclasses.asdict(function), **identity(type(function))}
    return {"source": source_digest([_place(function)])}


def source_digest(starts: Iterable[Definition], *, apart_from: Collection[str] = ()) -> str:
    """SHA-256 over these definitions and all of the package's that they use, found by name.

    Names of other packages count as names; their versions are the caller's part. Which file holds
    a definition does not count, so moving one changes nothing.

    Args:
        starts: where to begin; a method is `Class.method`.
        apart_from: names that are not followed, such as a table that lists every function.
    """
    found: dict[Definition, str] = {}
    stack = list(starts)
    while stack:
        place = stack.pop()
        if place in found or place[1] in apart_from:
            continue
        source = _source(place[0])
        found[place] = source.text(place[1])
        stack += source.used_by(place[1])
    return digest(f"{name} {text}".encode() for name, text in sorted(_unplaced(found)))


def module_digest(path: Path) -> str:
    """SHA-256 over what a source file does: without comments, docstrings and annotations."""
    return digest([_dump(_bare(ast.parse(path.read_text(encoding="utf-8")))).encode()])


def _unplaced(found: Mapping[Definition, str]) -> Iterator[tuple[str, str]]:
    return ((name, text) for (_, name), text in found.items())


def _place(function: Callable[..., Any]) -> Definition:
    plain = inspect.unwrap(function)
    module, name = plain.__module__, plain.__qualname__
    if getattr(sys.modules[module], name, None) is not function:
        raise ValueError(
            f"{module}.{name}: expected a function at the top level of a module, by its own name; "
            f"the source of others does not tell what they do"
        )
    return module, name


class _Source:
    """The definitions of one module and the names that it imports."""

    def __init__(self, module: str, path: Path) -> None:
        self.module = module
        tree = _bare(ast.parse(path.read_text(encoding="utf-8")))
        self.statements = _bindings(tree)
        self.imports = dict(_imports(tree, package=_package(module, path)))

    def text(self, name: str) -> str:
        """What a definition says; the dotted name where it comes from another package."""
        if name in self.imports and name not in self.statements:
            dotted = self.imports[name]
            return "" if self._is_ours(dotted) else dotted
        return "\n".join(_dump(node) for node in self._nodes(name))

    def used_by(self, name: str) -> Iterator[Definition]:
        """What a definition refers to, as far as its module knows the name."""
        if name in self.imports and name not in self.statements:
            yield from self._resolved(name)
            return
        for node in (each for held in self._nodes(name) for each in ast.walk(held)):
            if isinstance(node, ast.Name):
                yield from self._resolved(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                alias = self.imports.get(node.value.id)
                if alias is not None:
                    yield from self._defined(f"{alias}.{node.attr}")

    def _nodes(self, name: str) -> list[ast.stmt]:
        """All statements that bind a name, or the method of a class."""
        outer, _, inner = name.partition(".")
        held = self.statements.get(outer, [])
        if inner:
            bodies = (each for node in held for each in getattr(node, "body", []))
            held = [each for each in bodies if getattr(each, "name", None) == inner]
        if not held:
            raise ValueError(f"{self.module} does not define {name}")
        return held

    def _resolved(self, name: str) -> Iterator[Definition]:
        dotted = self.imports.get(name)
        if name in self.statements or (dotted is not None and not self._is_ours(dotted)):
            yield self.module, name
        elif dotted is not None:
            yield from self._defined(dotted)

    def _defined(self, dotted: str) -> Iterator[Definition]:
        """A definition of the package; a module by itself is none, only what is used of it."""
        module, _, name = dotted.rpartition(".")
        if self._is_ours(dotted) and _file(module) and not _file(dotted):
            yield module, name

    def _is_ours(self, dotted: str) -> bool:
        return dotted.partition(".")[0] in {PACKAGE, self.module.partition(".")[0]}


@functools.cache
def _file(module: str) -> Path | None:
    """The file of a module, found without importing it; `None` where there is no such module."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded:
        return Path(loaded)
    package, _, name = module.rpartition(".")
    if not package:
        spec = importlib.util.find_spec(name) if name else None
        return Path(spec.origin) if spec is not None and spec.origin else None
    parent = _file(package)
    if parent is None or parent.name != "__init__.py":
        return None
    places = (parent.with_name(name) / "__init__.py", parent.with_name(f"{name}.py"))
    return next((place for place in places if place.is_file()), None)


@functools.cache
def _source(module: str) -> _Source:
    path = _file(module)
    if path is None:
        raise ValueError(f"module {module} has no source file")
    return _Source(module, path)


def _package(module: str, path: Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _bindings(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """Top-level statements by the names that they bind or change."""
    found: defaultdict[str, list[ast.stmt]] = defaultdict(list)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        for name in dict.fromkeys(_bound(statement)):
            found[name].append(statement)
    return found


def _bound(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and not isinstance(
            node.ctx, ast.Load
        ):
            root: ast.expr = node
            while isinstance(root, ast.Attribute | ast.Subscript):
                root = root.value
            if isinstance(root, ast.Name):
                yield root.id


def _imports(tree: ast.Module, *, package: str) -> Iterator[tuple[str, str]]:
    """Every imported name with the dotted name that it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, whole
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            for alias in node.names:
                yield alias.asname or alias.name, f"{base}.{alias.name}"


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings, annotations of functions, and imports that only types need."""

    def visit(self, node: ast.AST) -> Any:
        node = self.generic_visit(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return node.orelse or None
        if isinstance(getattr(node, "body", None), list):
            node.body = [each for each in node.body if not _is_text(each)]  # type: ignore[attr-defined]
        return node


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _bare(tree: ast.Module) -> ast.Module:
    bare: ast.Module = _Bare().visit(tree)
    return bare


def _dump(node: object) -> str:
    """A node as text that is the same on every Python: without places and what is empty."""
    if isinstance(node, ast.AST):
        held = ((name, _dump(value)) for name, value in ast.iter_fields(node) if _is_kept(value))
        return f"{type(node).__name__}({', '.join(f'{name}={text}' for name, text in held)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _is_kept(value: object) -> bool:
    return value is not None and value != [] and not isinstance(value, ast.expr_context)


KEY_LENGTH = 16
RECORD = "users.json"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def store(kind: str, key: str, *, root: Path = RESUME) -> Iterator[Path]:
    """The folder of this kind and key, held alone; older keys go once the block ends well."""
    make_folder(root)
    with _held(root / f"{kind}.lock"):
        folder = root / f"{kind}-{key[:KEY_LENGTH]}"
        make_folder(folder)
        yield folder
        for other in root.glob(f"{kind}-*"):
            if other != folder and len(other.name) == len(folder.name):
                shutil.rmtree(other)


@contextlib.contextmanager
def entries(kind: str, *, user: str, names: Collection[str], root: Path = RESUME) -> Iterator[Path]:
    """The folder of finished files of this kind, held alone while the block runs.

    Args:
        kind: of the work.
        user: who asks, for example a stage.
        names: of all files that this run of the user will read or write.
        root: holds the folder.
    """
    folder = root / kind
    make_folder(folder)
    with _held(root / f"{kind}.lock"):
        record = folder / RECORD
        used = _users(record) if record.exists() else {}
        # Noted before the work, so that nobody else removes what an interruption leaves behind.
        write_json(record, used | {user: sorted({*used.get(user, []), *names})})
        yield folder
        used[user] = sorted(names)
        write_json(record, used)
        kept = {RECORD, *(name for each in used.values() for name in each)}
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink()


def _users(record: Path) -> dict[str, list[str]]:
    """Who uses which finished files."""
    found = read_json(record)
    for names in found.values():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{record}: expected lists of file names; remove {record.parent}")
    return found


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s is held by another process; waiting for it to end", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
