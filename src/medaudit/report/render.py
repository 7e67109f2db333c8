"""The whole report as plain data, then as files: figures, one HTML page, a short PDF."""

from __future__ import annotations

import base64
import json
import logging
import shutil
import tempfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typst
from jinja2 import Environment, PackageLoader, StrictUndefined

from medaudit.core.errors import DataError
from medaudit.core.files import atomic, write_json, write_text
from medaudit.core.layout import CASES, CHECKLIST, MEASURING_STAGES
from medaudit.core.privacy import AGGREGATE, OPEN, PSEUDONYMOUS
from medaudit.report import checklist, figures, interval_warnings, narrative, reproduction
from medaudit.report.blocks import Context, ReportParams, pruned
from medaudit.report.interval_warnings import explained, footnotes
from medaudit.report.results import read_results
from medaudit.report.sections import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from medaudit.core.privacy import Privacy
    from medaudit.report.blocks import Block
    from medaudit.report.checklist import Checklist
    from medaudit.report.results import Results

HTML_TEMPLATE = "report.html.j2"
MEDIA = {".svg": "image/svg+xml", ".png": "image/png"}


def render_html(content: Mapping[str, Any], *, figures: Mapping[str, Path], pictures: Path) -> str:
    """The page as text.

    Args:
        content: what `content.build` made.
        figures: paths of the drawn figures by name.
        pictures: folder of the pictures of the cases.
    """
    environment = Environment(
        loader=PackageLoader("medaudit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = lambda name: data_uri(figures[name])
    environment.filters["picture"] = lambda name: data_uri(pictures / name)
    return environment.get_template(HTML_TEMPLATE).render(content)


def write_html(
    content: Mapping[str, Any], path: Path, *, figures: Mapping[str, Path], pictures: Path
) -> None:
    """Render and write the page."""
    write_text(path, render_html(content, figures=figures, pictures=pictures))


def data_uri(path: Path) -> str:
    """A file as an address that holds it."""
    try:
        encoded = base64.b64encode(path.read_bytes()).decode("ascii")
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run the cases stage again") from None
    return f"data:{MEDIA[path.suffix]};base64,{encoded}"


PDF_TEMPLATE = "report.typ"
MOST_PAGES = 6
SIZES = (9.0, 8.5, 8.25, 8.0, 7.75, 7.5, 7.25, 7.0, 6.75, 6.5)
"""Sizes of the text in points; the first with which the report fits its pages is taken."""


def write_pdf(
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
    template = resources.files("medaudit.report") / "templates" / PDF_TEMPLATE
    (room / PDF_TEMPLATE).write_bytes(template.read_bytes())
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
        room / PDF_TEMPLATE, root=room, ignore_system_fonts=True, sys_inputs={"size": str(size)}
    )


def pages(compiler: Any) -> int:
    """Number of pages that the template counted."""
    return int(json.loads(compiler.query("<pages>", field="value", one=True)))


WARNING = "Not for clinical use. Research software; its numbers hold for this data set only."


def build(context: Context, *, drawn: Collection[str]) -> dict[str, Any]:
    """Title block, summary, alerts and sections; only figures that were drawn are kept."""
    results = context.results
    summary = narrative.summary(results)
    alerts = interval_warnings.alerts(results, context.params.expected)
    return {
        "title": context.params.title,
        "facts": facts(context),
        "warning": WARNING,
        "summary": summary,
        "alerts": alerts,
        "notes": footnotes([*summary, *alerts], results, results.stages),
        "sections": [
            {"number": number, **each} for number, each in enumerate(sections(context, drawn), 1)
        ],
    }


PATIENTS: dict[str, str] = {
    OPEN: "",
    PSEUDONYMOUS: "named by pseudonyms, rare facts and small counts left out (docs/privacy.md)",
    AGGREGATE: "counts alone, nothing of a single image, small counts left out (docs/privacy.md)",
}
"""What is said of patients, by `report.privacy`; where nothing is kept back there is no need."""


def facts(context: Context) -> list[list[str]]:
    """The title block: data, model, task, code, and where the predictions came from."""
    results = context.results
    sha = context.commit.sha
    found = [
        ["Data set", reproduction.data_set(results)],
        ["Model", results.backbone],
        ["Task", results.preparation.schema.task],
        ["Predictions", context.source],
        ["Code", context.commit.words if sha else f"medaudit {version('medaudit')}"],
        ["Patients", PATIENTS[results.privacy]],
    ]
    return [[name, value] for name, value in found if value]


def sections(context: Context, drawn: Collection[str]) -> Iterator[Block]:
    """The sections that there are results for, with their footnotes."""
    for each in SECTIONS:
        found = each.write(context)
        if found is None:
            continue
        blocks = [kept for block in found["blocks"] if (kept := pruned(block, drawn)) is not None]
        yield explained({**found, "blocks": blocks}, context.results, each.rests_on)


log = logging.getLogger(__name__)


def report(
    root: Path,
    out: Path,
    *,
    stages: tuple[str, ...],
    params: ReportParams,
    privacy: Privacy,
    source: str,
) -> None:
    """Read what stages found and write `report.html`, `report.pdf` and `figures/`.

    Args:
        root: folder that holds `metrics`, `plots` and `artifacts`.
        out: folder to write to.
        stages: whose findings there are. If they are all, everything must be there; otherwise
            the report leaves out, and says so, what rests on the others.
        params: title, and what may be shown.
        privacy: what may be said of patients, with the pseudonyms of the run.
        source: where the predictions came from, for the title block.
    """
    everything = set(stages) == set(MEASURING_STAGES)
    found = read_results(root, only=None if everything else stages, privacy=privacy)
    context = Context(
        results=found,
        params=params,
        checklist=questions(found),
        commit=reproduction.commit(root, found.params),
        source=source,
    )
    drawn = figures.draw_all(found, out / "figures")
    log.info("drew %d figures", len(drawn))
    written = build(context, drawn=drawn)
    pictures = root / CASES
    write_html(written, out / "report.html", figures=drawn, pictures=pictures)
    try:
        write_pdf(written, out / "report.pdf", figures=drawn, pictures=pictures)
    except DataError as error:
        if everything:
            raise
        log.warning("no PDF: %s; report.html holds everything", error)


def questions(found: Results) -> Checklist:
    """The hand-written checklist; predictions made elsewhere may come without, and get ours."""
    path = found.root / CHECKLIST
    if found.complete or path.exists():
        return checklist.read(path)
    ours = resources.files("medaudit.report") / "templates" / CHECKLIST.name
    with resources.as_file(ours) as kept:
        return checklist.read(kept)
