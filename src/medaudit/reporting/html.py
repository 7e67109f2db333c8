"""One HTML page that holds everything it needs: no network, no other file."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from medaudit.errors import DataError
from medaudit.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEMPLATE = "report.html.j2"
MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


def render(content: Mapping[str, Any], *, figures: Mapping[str, Path], pictures: Path) -> str:
    """The page as text.

    Args:
        content: what `content.build` made.
        figures: paths of the drawn figures by name.
        pictures: folder of the pictures of the cases.
    """
    environment = Environment(
        loader=PackageLoader("medaudit.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda name: data_uri(figures[name])
    environment.filters["picture"] = lambda name: data_uri(pictures / name)
    return environment.get_template(TEMPLATE).render(content)


def write(
    content: Mapping[str, Any], path: Path, *, figures: Mapping[str, Path], pictures: Path
) -> None:
    """Render and write the page."""
    write_text(path, render(content, figures=figures, pictures=pictures))


def data_uri(path: Path) -> str:
    """A file as an address that holds it."""
    try:
        encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run the cases stage again") from None
    return f"data:{MEDIA[path.suffix]};base64,{encoded}"
