"""The short PDF, set by typst from the same content as the page."""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typst

from medaudit.errors import DataError
from medaudit.files import atomic, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE = "report.typ"
MOST_PAGES = 6
SIZES = (9.0, 8.5, 8.25, 8.0, 7.75, 7.5, 7.25, 7.0, 6.75, 6.5)
"""Sizes of the text in points; the first with which the report fits its pages is taken."""


def write(
    content: Mapping[str, Any], path: Path, *, figures: Mapping[str, Path], pictures: Path
) -> None:
    """Set the PDF at the largest text size that fits `MOST_PAGES` pages."""
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        furnish(room, content, figures=figures, pictures=pictures)
        compiler = fitting(room)
        with atomic(path) as part:
            part.write_bytes(compiler.compile(format="pdf"))


def furnish(
    room: Path, content: Mapping[str, Any], *, figures: Mapping[str, Path], pictures: Path
) -> None:
    """Put template, content and pictures where typst may read them."""
    template = resources.files("medaudit.reporting") / "templates" / TEMPLATE
    (room / TEMPLATE).write_bytes(template.read_bytes())
    write_json(room / "content.json", content)
    for folder in ("figures", "pictures"):
        (room / folder).mkdir()
    for name, path in figures.items():
        shutil.copyfile(path, room / "figures" / f"{name}.svg")
    for path in pictures.glob("*.png"):
        shutil.copyfile(path, room / "pictures" / path.name)


def fitting(room: Path) -> Any:
    """A compiler at the largest text size with which the report fits."""
    for size in SIZES:
        compiler = compiler_at(size, room)
        if pages(compiler) <= MOST_PAGES:
            return compiler
    raise DataError(
        f"the PDF does not fit {MOST_PAGES} pages at {SIZES[-1]} pt; lower cases.per_kind"
    )


def compiler_at(size: float, room: Path) -> Any:
    """Typst for one text size in points."""
    # Fonts of the machine would make another PDF on another machine.
    return typst.Compiler(
        room / TEMPLATE, root=room, ignore_system_fonts=True, sys_inputs={"size": str(size)}
    )


def pages(compiler: Any) -> int:
    """Number of pages that the template counted."""
    return int(json.loads(compiler.query("<pages>", field="value", one=True)))
