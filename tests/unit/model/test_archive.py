"""Archives of `torch.export` that could run code when read."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medaudit.core.errors import ModelError
from tests.unit.model.exported_samples import IMAGES, Means, pt2, read


def rewritten(path: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> Path:
    """A copy of an archive with other content, and with more files."""
    other = path.with_name(f"bad_{path.name}")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
        root = source.namelist()[0].partition("/")[0]
        for name, content in more.items():
            target.writestr(f"{root}/{name}", content)
    return other


def swapped(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(_: str, content: bytes) -> bytes:
        return content.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"use_pickle": false', b'"use_pickle": true', "holds the pickled objects linear.weight"),
        (b"torch.ops.aten.linear.default", b"torch.os.system", "calls torch.os.system"),
        (b"torch.ops.aten.linear.default", b"torch.ops.aten.from_file", "calls torch.ops.aten.fr"),
        (b"Symbol('s77'", b"open('s77'", "holds the size"),
        (b"Symbol('s77'", b"s77.__class__('s77'", "holds the size"),
    ],
)
def test_archives_that_could_run_code_are_refused(
    tmp_path: Path, old: bytes, new: bytes, message: str
) -> None:
    whole = pt2(tmp_path / "m.pt2")
    assert read(rewritten(whole, lambda _, content: content)).predict(IMAGES).logits.any()
    with pytest.raises(ModelError, match=f"{message}.*could run code when read"):
        read(rewritten(whole, swapped(old, new)))


def test_archives_with_libraries_or_pickles_are_refused(tmp_path: Path) -> None:
    whole = pt2(tmp_path / "m.pt2")
    library = {"data/aotinductor/model/run.so": b"elf"}
    with pytest.raises(ModelError, match=r"holds data/aotinductor/model/run\.so"):
        read(rewritten(whole, lambda _, content: content, **library))
    torch.save(Means(), tmp_path / "whole.pt")
    pickled = (tmp_path / "whole.pt").read_bytes()
    with pytest.raises(ModelError, match="holds pickled objects as example inputs"):
        read(rewritten(whole, lambda n, c: pickled if n.endswith("model.pt") else c))
