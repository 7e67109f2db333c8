"""Let torchvision import where its compiled extension cannot be loaded.

On Linux x86_64 the torchvision wheel on PyPI is linked against CUDA.  Beside a
CPU-only torch its shared library does not load; torchvision tolerates that
until it registers fake kernels for ``torchvision::nms`` and
``torchvision::qnms``, whose schemas then do not exist, and the import ends in
a RuntimeError.  Declaring the two schemas is enough for everything written in
Python: models, transforms, datasets.  ``torchvision.io`` and the compiled
``torchvision.ops`` stay unavailable and say so when they are called.

``install()`` imports neither torch nor torchvision.  It wraps the loader of
the first ``import torchvision``: the schemas are declared only after that
import has failed for exactly this reason, so a working pair of wheels is left
alone.  (Declaring them up front is not safe: where the extension does load,
the second registration aborts the process.)
"""

from __future__ import annotations

import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_MISSING = re.compile(r"operator torchvision::\w+ does not exist")
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[object] = []  # a Library takes its definitions with it when it is collected


def _declare() -> None:
    import torch

    lib = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            lib.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(lib)


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        try:
            return super().exec_module(module)
        except RuntimeError as error:
            if _declared or not _MISSING.search(str(error)):
                raise
        for name in [n for n in sys.modules if n.startswith("torchvision.")]:
            del sys.modules[name]  # half-initialised by the failed attempt
        _declare()
        return super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Safe to call many times, and after torchvision has been imported."""
    if "torchvision" in sys.modules or any(isinstance(f, _Finder) for f in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())


def status() -> str:
    """'declared' if the guard had to act, else 'untouched'."""
    return "declared" if _declared else "untouched"
