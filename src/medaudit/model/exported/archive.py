"""Archives of `torch.export.save`: taken apart, checked against what is known, and built anew.

Nothing of a file reaches torch as it lies there. Its members are read by one reader, held against
lists of what a plain graph of tensor operations needs, and written into a new archive in memory,
so that no second reader can see something else. Example inputs (a pickle), notes about source
code, guards (Python source) and whatever else lies in the file are left behind.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

from medaudit.core.errors import ModelError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST = 8 * 2**30  # bytes of a file
LARGEST_JSON = 256 * 2**20  # bytes of one text in it
MOST_MEMBERS = 200_000
EXAMPLES, GRAPH = "data/sample_inputs/model.pt", "models/model.json"
WEIGHTS, CONSTANTS = "data/weights/", "data/constants/"
CONFIGS = (f"{WEIGHTS}model_weights_config.json", f"{CONSTANTS}model_constants_config.json")
PAYLOAD = re.compile(r"(?:weight|tensor)_\d{1,9}")
PLAIN = re.compile(
    rf"{WEIGHTS}weight_\d+|{CONSTANTS}tensor_\d+|extra/.*|archive_format|archive_version|"
    r"byteorder|version|\.data/\w+|" + "|".join(map(re.escape, (EXAMPLES, GRAPH, *CONFIGS)))
)
OPERATION = re.compile(
    r"torch\.ops\.(?:aten|prims|quantized|quantized_decomposed)\.(?:[a-zA-Z]|_(?!_))\w*\.[a-zA-Z]\w*|"
    r"torch\.ops\.aten\.__i?(?:and|or|xor|lshift|rshift)__\.[a-zA-Z]\w*|"
    r"torch\.ops\.higher_order\.(?:cond|while_loop|map_impl|scan|associative_scan|"
    r"wrap_with_set_grad_enabled|wrap_with_autocast)|"
    r"_operator\.(?:add|sub|mul|floordiv|truediv|mod|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)|"
    r"math\.(?:ceil|floor|trunc)|torch\._?sym_\w+"
)
REACHES_OUT = re.compile(r"torch\.ops\.\w+\.(?:from_file|save|load|_?print|warn)\b.*")
NAME, WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII), re.compile(r"[\w.+-]*", re.ASCII)
FULL_NAME = re.compile(r"[\w./:-]*", re.ASCII)
TEXT = re.compile(r"[ -~]{0,1000}")
# What a text may be, by the key below which it stands; whatever is not listed must be a WORD.
# Names become names in source that torch writes and runs.
TEXTS = {
    "name": re.compile(rf"(?:{NAME.pattern})?", re.ASCII),
    "forward_arg_names": NAME,
    "fqn": FULL_NAME,
    "parameter_name": FULL_NAME,
    "buffer_name": FULL_NAME,
    "tensor_constant_name": FULL_NAME,
    "as_string": TEXT,
    "as_strings": TEXT,
}
LEFT_BEHIND: dict[str, Any] = {"metadata": {}, "guards_code": [], "treespec_namedtuple_fields": {}}
REFUSED_KEYS = {"as_custom_obj", "custom_obj", "as_operator", "script_object", "token"}
LARGEST_NUMBER = 2**64

Content = dict[str, bytes]


def rebuilt(path: Path) -> bytes:
    """The archive in a file, built anew from what was checked.

    Raises:
        ModelError: it holds something that is not known to be part of a plain graph.
    """
    try:
        return _archive(_checked(read(path)))
    except _RefusedError as found:
        raise ModelError(
            f"{path}: {found}, which could run code when read; "
            f"export the model again with `torch.export.save`, or as ONNX"
        ) from None
    except _DamagedError as found:
        raise ModelError(f"{path}: not an archive of `torch.export.save`: {found}") from None


class _RefusedError(Exception):
    """Something in an archive that a plain graph does not need."""


class _DamagedError(Exception):
    """No archive, or a damaged one."""


# What zipfile and zlib raise about damaged archives.
_ODD = (RuntimeError, ValueError, EOFError, OverflowError, LookupError)


def read(path: Path, *, maker: str = "torch.export.save") -> Content:
    """Members of an archive by their names below its root, none of them compressed.

    Args:
        path: of the file.
        maker: what writes such files, for errors.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ModelError(f"{path}: larger than {LARGEST >> 30} GiB, the most that is read")
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_members(infos, size=path.stat().st_size)
            return {info.filename.partition("/")[2]: archive.read(info) for info in infos}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; expected one of `{maker}`") from None
    except (zipfile.BadZipFile, OSError, *_ODD) as error:
        raise ModelError(
            f"{path}: not a readable file ({type(error).__name__}); expected one of `{maker}`"
        ) from None
    except _DamagedError as found:
        raise ModelError(f"{path}: not an archive of `{maker}`: {found}") from None


def _check_members(infos: list[zipfile.ZipInfo], *, size: int) -> None:
    names = [info.filename for info in infos]
    if len({name.partition("/")[0] for name in names}) != 1 or len(set(names)) != len(names):
        raise _DamagedError("expected one folder of files with names of their own")
    if len(names) > MOST_MEMBERS:
        raise _DamagedError(f"holds {len(names)} files, more than {MOST_MEMBERS}")
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise _DamagedError("holds compressed files")
    if sum(info.file_size for info in infos) > size:
        raise _DamagedError("its files are larger than itself")


def _checked(content: Content) -> Content:
    """What a plain graph needs, each part checked; the rest is left out."""
    odd = [name for name in content if not PLAIN.fullmatch(name)]
    if odd:
        raise _RefusedError(f"holds {listed([name[:80] for name in odd], limit=3)}")
    if content.get("byteorder", b"little") != b"little":
        raise _DamagedError("its numbers are not little-endian")
    configs = {name: _config(_json(content, name), name) for name in CONFIGS}
    parts = {name: json.dumps(config).encode() for name, config in configs.items()}
    parts[GRAPH] = json.dumps(_graph(_json(content, GRAPH))).encode()
    for name, config in configs.items():
        folder = name.rpartition("/")[0]
        for payload in config["config"].values():
            member = f"{folder}/{payload['path_name']}"
            if member not in content:
                raise _DamagedError(f"lacks {member}")
            parts[member] = content[member]
    return parts


def _archive(parts: Content) -> bytes:
    fixed = {
        "archive_format": b"pt2",
        "archive_version": b"0",
        ".data/version": b"3\n",
        "byteorder": b"little",
        EXAMPLES: b"",
    }
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, part in {**fixed, **parts}.items():
            archive.writestr(f"m/{name}", part)
    return held.getvalue()


def _json(content: Content, name: str) -> dict[str, Any]:
    text = content.get(name, b"")
    if len(text) > LARGEST_JSON:
        raise _DamagedError(f"{name} is larger than {LARGEST_JSON >> 20} MiB")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _DamagedError(f"no readable {name}") from None
    if not isinstance(found, dict):
        raise _DamagedError(f"{name} holds no object")
    return found


def _config(held: dict[str, Any], name: str) -> dict[str, Any]:
    """A list of weights: each the bytes of one member, none of them pickled."""
    payloads = held.get("config")
    if not isinstance(payloads, dict) or not all(isinstance(p, dict) for p in payloads.values()):
        raise _DamagedError(f"{name} lists no weights")
    odd = [key for key, payload in payloads.items() if payload.get("use_pickle") is not False]
    if odd:
        raise _RefusedError(
            f"holds the pickled objects {listed([key[:80] for key in odd], limit=3)}"
        )
    for key, payload in payloads.items():
        if not FULL_NAME.fullmatch(key):
            raise _RefusedError(f"holds weights called {key[:80]!r}")
        if not PAYLOAD.fullmatch(str(payload.get("path_name"))):
            raise _RefusedError(f"holds weights in {str(payload.get('path_name'))[:80]!r}")
    _walk([("", payloads)])
    return {"config": payloads}


def _graph(held: dict[str, Any]) -> dict[str, Any]:
    """The graph, free of notes and guards, with checked names, calls, sizes and tree specs."""
    _strip(held)
    _walk([("", held)])
    return held


def _strip(held: dict[str, Any]) -> None:
    for each in _dicts(held):
        each.update({key: empty for key, empty in LEFT_BEHIND.items() if key in each})
        each.update({k: tree(each[k]) for k in ("in_spec", "out_spec") if each.get(k) is not None})


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    """Every object in nested JSON."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            yield each
            stack += each.values()
        elif isinstance(each, list):
            stack += each


def _walk(stack: list[tuple[str, object]]) -> None:
    """Raise for the first key, text or number in nested JSON that is not known to be harmless."""
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            for name in value:
                _check_key(name)
            stack += value.items()
        elif isinstance(value, list):
            stack += [(key, each) for each in value]
        elif isinstance(value, str):
            _check_text(key, value)
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise _RefusedError(f"holds a number of {value.bit_length()} bits as {key[:80]!r}")


def _check_key(name: str) -> None:
    if name in REFUSED_KEYS or not FULL_NAME.fullmatch(name):
        raise _RefusedError(f"holds {name[:80]!r}")


def _check_text(key: str, text: str) -> None:
    if key == "target":
        if not OPERATION.fullmatch(text) or REACHES_OUT.fullmatch(text):
            raise _RefusedError(f"calls {text[:80]}")
    elif key == "expr_str":
        if not is_size(text):
            raise _RefusedError(f"holds the size {text[:80]!r}")
    elif key not in {"in_spec", "out_spec"} and not TEXTS.get(key, WORD).fullmatch(text):
        raise _RefusedError(f"holds {text[:80]!r} as {key[:80]!r}")


CALLS = {
    *("Symbol", "Integer", "Rational", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv"),
    *("CeilDiv", "CleanDiv", "IntTrueDiv", "ModularIndexing", "Where", "FloorToInt", "CeilToInt"),
    *("TruncToInt", "Equality", "Unequality", "LessThan", "GreaterThan", "StrictLessThan"),
    *("StrictGreaterThan", "And", "Or", "Not", "Pow", "PowByNatural"),
}
POWERS = {"Pow", "PowByNatural"}
PARTS = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Name),
    *(ast.Constant, ast.Load, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.USub, ast.Invert, ast.BitAnd, ast.BitOr, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt),
    ast.GtE,
)
LONGEST_SIZE, MOST_POWERS, LARGEST_POWER = 4000, 3, 8
SYMBOL = re.compile(r"[a-z]{1,4}\d{1,9}")
ASSUMPTIONS = {"positive", "nonnegative", "integer", "real", "nonzero", "negative"}


def is_size(text: str) -> bool:
    """Whether a text is a size: sums, products, quotients and small powers of named sizes.

    >>> is_size("Symbol('s77', positive=True, integer=True)//2"), is_size("9**9**9")
    (True, False)
    """
    if len(text) > LONGEST_SIZE:
        return False
    try:
        parts = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    powers = [exponent for part in parts for exponent in _exponents(part)]
    return (
        all(isinstance(part, PARTS) and _is_known(part) for part in parts)
        and len(powers) <= MOST_POWERS
        and all(_is_small(exponent) for exponent in powers)
    )


def _is_known(part: ast.AST) -> bool:
    if isinstance(part, ast.Call):
        return isinstance(part.func, ast.Name) and part.func.id in CALLS
    if isinstance(part, ast.keyword):
        return part.arg in ASSUMPTIONS
    if isinstance(part, ast.Name):
        return part.id in CALLS or SYMBOL.fullmatch(part.id) is not None
    if isinstance(part, ast.Constant):
        if isinstance(part.value, str):
            return SYMBOL.fullmatch(part.value) is not None
        return isinstance(part.value, int) and part.value <= LARGEST_NUMBER
    return True


def _exponents(part: ast.AST) -> Iterator[ast.expr | None]:
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow):
        yield part.right
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id in POWERS:
        yield part.args[1] if len(part.args) == 2 else None


def _is_small(exponent: ast.expr | None) -> bool:
    if isinstance(exponent, ast.Call) and len(exponent.args) == 1:  # Integer(2)
        exponent = exponent.args[0]
    if isinstance(exponent, ast.UnaryOp):
        exponent = exponent.operand
    return isinstance(exponent, ast.Constant) and exponent.value in range(LARGEST_POWER + 1)


TREES = {"builtins.tuple", "builtins.list"}  # without context
DICT = "builtins.dict"
DEEPEST_TREE = 50


def tree(text: object) -> str:
    """A tree spec, how arguments are nested, written anew.

    Tuples, lists and dicts of named leaves alone: other types, and contexts that are objects, make
    torch import modules that they name.
    """
    try:
        protocol, spec = json.loads(text if isinstance(text, str) else "")
    except (ValueError, TypeError, RecursionError):
        raise _RefusedError(f"holds the tree spec {str(text)[:80]!r}") from None
    if protocol != 1:
        raise _RefusedError(f"holds a tree spec of protocol {str(protocol)[:20]}")
    return json.dumps([1, _branch(spec, DEEPEST_TREE)])


def _branch(spec: object, depth: int) -> dict[str, Any]:
    if not isinstance(spec, dict) or set(spec) != {"type", "context", "children_spec"} or not depth:
        raise _RefusedError(f"holds the tree spec {str(spec)[:80]!r}")
    kind, context, children = spec["type"], spec["context"], spec["children_spec"]
    if not isinstance(children, list) or not _is_context(kind, context, len(children)):
        raise _RefusedError(f"holds a tree of {str(kind)[:80]} with {str(context)[:80]!r}")
    below = [_branch(child, depth - 1) for child in children]
    return {"type": kind, "context": context, "children_spec": below}


def _is_context(kind: object, context: object, n: int) -> bool:
    if kind is None:
        return context is None and n == 0
    if kind != DICT:
        return kind in TREES and context == "null"
    try:
        keys = json.loads(context) if isinstance(context, str) else None
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(keys, list)
        and len(keys) == n
        and all(isinstance(key, str) and NAME.fullmatch(key) for key in keys)
    )
