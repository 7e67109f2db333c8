"""Tensors out of files: safetensors, and what `torch.save` writes of a state dict."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from medaudit.core.errors import ModelError
from medaudit.model.exported import archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

State = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model")
MAKER = "torch.save(model.state_dict())"
MEMBER = re.compile(r"data\.pkl|data/\d+|byteorder|version|\.\w+|\.data/\w+")
# What the readers raise for a file that is damaged, depending on where.
UNREADABLE = (
    *(SafetensorError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError),
    *(AssertionError, ArithmeticError, MemoryError, OSError, struct.error, zipfile.BadZipFile),
)


def read_state(path: Path) -> State:
    """Tensors of a safetensors file or of a torch state dict; nothing else is unpickled."""
    if not path.is_file():
        raise ModelError(
            f"train.weights: no file {path}; known words are none, imagenet and bundled"
        )
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of odd protocols; it reads them or not
            content = torch.load(checked(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path}: holds Python objects besides tensors, which could run code when read; "
            f"save `model.state_dict()` or a safetensors file instead"
        ) from None
    except UNREADABLE as error:
        raise ModelError(f"{path}: not a readable weights file ({type(error).__name__})") from None
    return _tensors(content, path)


def read_safetensors(path: Path) -> State:
    """Tensors of a safetensors file, by their names."""
    try:
        return dict(safetensors.torch.load_file(path))
    except UNREADABLE as error:
        raise ModelError(f"{path}: not a readable weights file ({type(error).__name__})") from None


def _tensors(content: Any, path: Path) -> State:
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise ModelError(f"{path}: expected a state dict of tensors, got {type(content).__name__}")
    odd = [str(key)[:80] for key, value in content.items() if not _is_plain(value)]
    if odd:
        raise ModelError(f"{path}: {odd[0]!r} is sparse, quantised or without numbers")
    return {str(key): value for key, value in content.items()}


def _is_plain(value: Tensor) -> bool:
    dense = value.layout == torch.strided and not value.is_quantized and not value.is_nested
    return dense and value.device.type == "cpu" and type(value) in {Tensor, torch.nn.Parameter}


def checked(path: Path) -> io.BytesIO:
    """A file of `torch.save` whose pickles were looked at; an archive is built anew.

    Raises:
        ModelError: compressed, of other members, or with pickles that could not be read in time.
    """
    if not zipfile.is_zipfile(path):
        if path.stat().st_size > archive.LARGEST:
            raise ModelError(f"{path}: larger than {archive.LARGEST >> 30} GiB")
        content = path.read_bytes()
        _check_pickles(path, content, sizes=None)
        return io.BytesIO(content)
    members = archive.read(path, maker=MAKER)
    odd = [name for name in members if not MEMBER.fullmatch(name)]
    if odd or "data.pkl" not in members:
        found = f"holds {odd[0][:80]!r}" if odd else "holds no data.pkl"
        raise ModelError(f"{path}: not a file of `{MAKER}`: {found}; a TorchScript program is none")
    sizes = {name.removeprefix("data/"): len(part) for name, part in members.items()}
    _check_pickles(path, members["data.pkl"], sizes=sizes)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as target:
        for name, part in members.items():
            target.writestr(f"m/{name}", part)
    held.seek(0)
    return held


MOST_OPERATIONS, MOST_OBJECTS = 1_000_000, 50_000_000
LONGEST_INTEGER = 16  # bytes
LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys; then bytes follow
DEEPEST = 200


class Item(NamedTuple):
    """Something on the stack: objects, if all references are followed; levels; a constant."""

    size: int
    depth: int
    value: Any


def _check_pickles(path: Path, content: bytes, *, sizes: Mapping[str, int] | None) -> None:
    """Raise for pickles whose reading would not end, or that claim more than the file holds.

    Args:
        path: for errors.
        content: begins with the pickles.
        sizes: bytes of every storage by its name; `None` in files of before torch 1.6, where all
            lie behind the pickles.
    """
    stream, left = io.BytesIO(content), MOST_OPERATIONS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in damaged names
            for _ in range(1 if sizes is not None else LEGACY_PICKLES):
                machine = _Machine(sizes, largest=len(content))
                left -= machine.follow(stream, at_most=left)
    except _ExcessError as found:
        raise ModelError(f"{path}: not a readable weights file: {found}") from None
    except UNREADABLE as error:
        raise ModelError(f"{path}: not a readable weights file ({type(error).__name__})") from None


class _ExcessError(Exception):
    """Something in a pickle that no state dict needs."""


class _Machine:
    """The stack of an unpickler, on which nothing is made: only sizes and constants."""

    def __init__(self, sizes: Mapping[str, int] | None, *, largest: int) -> None:
        self.stack: list[Item | None] = []  # None is a mark
        self.memo: dict[int, Item] = {}
        self.sizes, self.largest = sizes, largest

    def follow(self, stream: io.BytesIO, *, at_most: int) -> int:
        """Follow the next pickle; says how many operations it has."""
        n = 0
        for n, (operation, argument, _) in enumerate(pickletools.genops(stream), start=1):
            if n > at_most:
                raise _ExcessError(f"more than {MOST_OPERATIONS} operations")
            self.step(operation, argument)
        return n

    def step(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        """Follow one operation."""
        name = operation.name
        if name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            self.memo[len(self.memo) if argument is None else argument] = self._top()
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.stack.append(None)
        elif name == "DUP":
            self.stack.append(self._top())
        else:
            self._change(operation, argument)

    def _top(self) -> Item:
        if not self.stack or self.stack[-1] is None:
            raise EOFError
        return self.stack[-1]

    def _change(self, operation: pickletools.OpcodeInfo, argument: Any) -> None:
        taken = list(self._taken(operation))[::-1]
        if operation.name == "BINPERSID":
            self._check_storage(taken[0].value)
        if isinstance(argument, int) and argument.bit_length() > 8 * LONGEST_INTEGER:
            raise _ExcessError(f"an integer of {argument.bit_length()} bits")
        if operation.stack_after:
            size = 1 + sum(item.size for item in taken)
            depth = _depth(operation, taken)
            if size > MOST_OBJECTS:
                raise _ExcessError(
                    f"more than {MOST_OBJECTS} objects, each counted where it stands"
                )
            if depth > DEEPEST:
                raise _ExcessError(f"nested more than {DEEPEST} deep")
            is_tuple = operation.name.startswith("TUPLE")
            value = [item.value for item in taken] if is_tuple else argument
            self.stack.append(Item(size, depth, value))

    def _taken(self, operation: pickletools.OpcodeInfo) -> Iterator[Item]:
        """What an operation takes from the stack, the last first."""
        before = operation.stack_before
        if pickletools.stackslice in before:
            while (item := self.stack.pop()) is not None:
                yield item
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            found = self.stack.pop()
            if found is None:
                raise EOFError
            yield found

    def _check_storage(self, value: Any) -> None:
        """Raise where a storage is larger than the bytes that are there for it."""
        if not isinstance(value, list) or len(value) < 5 or value[0] != "storage":
            raise _ExcessError("an unknown reference")
        kind, name, n = str(value[1]), str(value[2]), value[4]
        there = self.largest if self.sizes is None else self.sizes.get(name, -1)
        if not isinstance(n, int) or not 0 <= n * _bytes_each(kind) <= there:
            raise _ExcessError(
                f"a storage of {str(n)[:30]} numbers, for which {there} bytes are there"
            )


FILLING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}


def _depth(operation: pickletools.OpcodeInfo, taken: list[Item]) -> int:
    """Levels of what an operation leaves; a container that is filled is one above its items."""
    if operation.name in FILLING and taken:
        return max(taken[0].depth, 1 + max((item.depth for item in taken[1:]), default=0))
    return 1 + max((item.depth for item in taken), default=0)


def _bytes_each(kind: str) -> int:
    """Bytes of a number in a storage, `torch FloatStorage`; the least that they could be."""
    name = kind.rpartition(" ")[2]
    names = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}
    names |= {"ComplexDouble": 16, "ComplexFloat": 8}
    return names.get(name.removesuffix("Storage"), 1)
