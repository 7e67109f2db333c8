"""What a `.pt2` file would run when it is read, and whether that is more than a graph.

`torch.export.load` unpickles without restriction whatever an archive marks as pickled, loads
compiled libraries, and evaluates symbolic sizes as Python. `check` refuses all of that before torch
sees the file, and leaves a graph of tensor operations with its weights.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from typing import TYPE_CHECKING, Any

import torch

from medaudit.core.errors import ModelError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = "data/sample_inputs/model.pt"
GRAPH = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
PLAIN = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|extra/.*|archive_format|archive_version|"
    r"byteorder|version|\.data/\w+|" + "|".join(map(re.escape, (EXAMPLES, GRAPH, *CONFIGS)))
)
OPERATION = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|higher_order)\.[\w.]+|"
    r"_operator\.\w+|math\.\w+|torch\._?sym_\w+"
)
REACHES_OUT = re.compile(r"torch\.ops\.\w+\.(from_file|save|load)\b.*|.*triton.*|.*torchbind.*")
SIZE = re.compile(r"(?:'\w+'|[\w\s=,()*/+<>&|~-]|==|!=)*")
SIZE_NAMES = re.compile(
    r"[a-z]+\d+|\d+|Symbol|Integer|Rational|positive|nonnegative|integer|real|True|False|Add|Mul|Pow|"
    r"Max|Min|Mod|PythonMod|FloorDiv|CeilDiv|CleanDiv|IntTrueDiv|ModularIndexing|PowByNatural|Where|"
    r"FloorToInt|CeilToInt|TruncToInt|Equality|Unequality|(Strict)?(Less|Greater)Than|And|Or|Not"
)

Content = dict[str, bytes]


def check(path: Path) -> None:
    """Raise a `ModelError` that names the first thing in an archive that is not a plain graph."""
    content = _read(path)
    findings = (*_foreign(content), *_pickled(content), *_unsafe(content))
    if findings:
        raise ModelError(
            f"{path}: {findings[0]}, which could run code when read; "
            f"export the model again with `torch.export.save`, or as ONNX"
        )


def _read(path: Path) -> Content:
    """Small files of an archive by their names below its root; weights are left unread."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            roots = {name.partition("/")[0] for name in names}
            if len(roots) != 1 or len(set(names)) != len(names):
                raise ModelError(f"{path}: not an archive of `torch.export.save`")
            below = {name.partition("/")[2]: name for name in names}
            wanted = {EXAMPLES, GRAPH, *CONFIGS}
            return {
                name: archive.read(full) if name in wanted else b"" for name, full in below.items()
            }
    except (zipfile.BadZipFile, FileNotFoundError) as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else "not a readable file"
        raise ModelError(f"{path}: {reason}; expected one of `torch.export.save`") from None


def _foreign(content: Content) -> Iterator[str]:
    odd = [name for name in content if not PLAIN.fullmatch(name)]
    if odd:
        yield f"holds {listed(odd, limit=3)}"


def _pickled(content: Content) -> Iterator[str]:
    for name in CONFIGS:
        payloads = _json(content, name).get("config", {})
        odd = [key for key, payload in payloads.items() if payload.get("use_pickle") is not False]
        if odd:
            yield f"holds the pickled objects {listed(odd, limit=3)}"
    try:
        if content.get(EXAMPLES):
            torch.load(io.BytesIO(content[EXAMPLES]), weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        yield "holds pickled objects as example inputs"


def _unsafe(content: Content) -> Iterator[str]:
    for node in _dicts(_json(content, GRAPH)):
        operation, size = node.get("target"), node.get("expr_str")
        if "inputs" in node and isinstance(operation, str) and not _is_operation(operation):
            yield f"calls {operation[:80]}"
        if size is not None and not _is_size(str(size)):
            yield f"holds the size {str(size)[:80]!r}"


def _is_operation(name: str) -> bool:
    return bool(OPERATION.fullmatch(name)) and not REACHES_OUT.fullmatch(name)


def _is_size(text: str) -> bool:
    if "__" in text or not SIZE.fullmatch(text):
        return False
    bare = re.sub(r"'\w+'", "", text)
    return all(SIZE_NAMES.fullmatch(word) for word in re.findall(r"\w+", bare))


def _json(content: Content, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content[name])
    except (KeyError, ValueError):
        raise ModelError(f"not an archive of `torch.export.save`: no readable {name}") from None
    if not isinstance(found, dict):
        raise ModelError(f"not an archive of `torch.export.save`: {name} holds no object")
    return found


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
