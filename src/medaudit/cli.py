"""The command line: set up data and parameters; the pipeline itself runs under `dvc repro`."""

import difflib
import logging
import shutil
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medaudit.core import runner
from medaudit.core.errors import ParamsError, lookup
from medaudit.core.files import atomic
from medaudit.core.layout import PARAMS, PROFILES

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Audit medical image models. The pipeline itself runs with `dvc repro`.",
)
log = logging.getLogger(__name__)


class Kind(StrEnum):
    """What the numbers of a prediction file are."""

    probabilities = "probabilities"
    logits = "logits"


class Privacy(StrEnum):
    """What may be said of patients."""

    open = "open"
    pseudonymous = "pseudonymous"
    aggregate = "aggregate"


@app.command()
def use(
    profile: Annotated[str, typer.Argument(help="Name of a file in profiles/, without .yaml.")],
    force: Annotated[bool, typer.Option(help="Overwrite hand edits of params.yaml.")] = False,
) -> None:
    """Make a profile the current parameters: copy profiles/PROFILE.yaml over params.yaml."""
    _run(lambda: _choose(profile, force=force))


@app.command()
def profiles() -> None:
    """List the profiles; the current one is marked."""
    _run(_show)


def _choose(name: str, *, force: bool) -> None:
    """Copy a profile over `params.yaml`, showing the difference.

    Raises:
        UnknownNameError: no such profile.
        ParamsError: hand edits would be lost without `force`.
    """
    files = _known()
    new = lookup("profile", name, files).read_text(encoding="utf-8")
    old = _current()
    edited = old and all(old != path.read_text(encoding="utf-8") for path in files.values())
    if edited and not force:
        raise ParamsError(
            f"{PARAMS} was edited by hand and equals no profile; keep a copy, then: "
            f"medaudit use {name} --force"
        )
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), "before", name, n=0):
        typer.echo(line.rstrip("\n"))
    with atomic(PARAMS) as part:
        part.write_text(new, encoding="utf-8")
    log.info("params.yaml is now profile %s; next: dvc repro", name)


def _current() -> str:
    """What `params.yaml` says now, to be shown and compared; bytes of no text are escaped."""
    return PARAMS.read_text(encoding="utf-8", errors="backslashreplace") if PARAMS.exists() else ""


def _known() -> dict[str, Path]:
    """Profile files by name, sorted."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}


def _show() -> None:
    """Echo every profile with the first comment line of its file."""
    current = _current()
    for name, path in _known().items():
        text = path.read_text(encoding="utf-8")
        mark = "*" if text == current else " "
        typer.echo(f"{mark} {name:<16} {text.splitlines()[0].lstrip('# ')}")


@app.command()
def audit(
    predictions: Annotated[
        Path, typer.Option(help="Outputs, a row per sample: .csv, .csv.gz, .parquet or .npy.")
    ],
    kind: Annotated[
        Kind, typer.Option(help="What these numbers are; never guessed.", show_default=False)
    ],
    targets: Annotated[Path, typer.Option(help="File of the truth: .csv, .csv.gz or .parquet.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be absent or empty.")],
    label: Annotated[
        str | None, typer.Option(help="Truth: column with one class name per sample.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Truth: columns of 0 and 1, separated by commas.")
    ] = None,
    label_list: Annotated[
        str | None, typer.Option(help="Truth: column that lists labels, as in `Edema|Effusion`.")
    ] = None,
    separator: Annotated[str, typer.Option(help="Between labels in --label-list.")] = "|",
    critical: Annotated[
        str | None, typer.Option(help="Class or label that must not be missed.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="Column of sample ids; else the first column.")
    ] = None,
    target_id: Annotated[
        str | None, typer.Option(help="The same in the truth, where it differs from --id.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Taken off the output columns, e.g. `prob_`.")] = "",
    outputs: Annotated[
        str | None,
        typer.Option(help="Outputs, separated by commas; needed for .npy, in column order."),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="Text file, one id a line; needed for .npy.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="Table with groups, roles, slices; may be --targets.")
    ] = None,
    metadata_id: Annotated[
        str | None, typer.Option(help="Its id column, where it differs from --id.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of the patient: intervals resample patients.")
    ] = None,
    role: Annotated[
        str | None, typer.Option(help="Column that says calibration (or val) and test.")
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Column to cut slices on; repeatable.")
    ] = None,
    quantiles: Annotated[
        list[str] | None,
        typer.Option("--quantiles", help="Numeric column and bins, `age=4`; repeatable."),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            "--conditions", help="Outputs under a shift, `gaussian_blur-2=file`; repeatable."
        ),
    ] = None,
    calibration: Annotated[
        float,
        typer.Option(
            help="Share of the samples that freezes thresholds, without --role; 0 tests all of "
            "them, each by thresholds from the other folds."
        ),
    ] = 0.3,
    seed: Annotated[int, typer.Option(help="Of that division.")] = 1234,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file whose audit sections are used.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the report.")] = None,
    discover: Annotated[
        bool, typer.Option(help="Look for slices and drift of roles that nobody named.")
    ] = True,
    privacy: Annotated[
        Privacy | None,
        typer.Option(
            help="What metrics/, plots/ and report/ may say of patients; else report.privacy of "
            "--params, or pseudonymous. artifacts/ holds ids in any case."
        ),
    ] = None,
) -> None:
    """Audit predictions that were made elsewhere: no image and no model is needed.

    Rows of all files are matched by id. Say where the truth stands with exactly one of --label,
    --labels and --label-list.
    """

    def run() -> None:
        from medaudit.commands import audit as audit_command
        from medaudit.data.external_tables import MetadataColumns, Split, TruthColumns

        bins = counts(quantiles or (), option="--quantiles")
        request = audit_command.Request(
            predictions=predictions,
            kind=kind.value,
            targets=targets,
            truth=TruthColumns(label, names(labels), label_list, separator, target_id or id_column),
            metadata=MetadataColumns(
                metadata, metadata_id or id_column, group, role, (*(slices or ()), *bins)
            ),
            out=out,
            id_column=id_column,
            prefix=prefix,
            names=names(outputs),
            ids=ids,
            conditions=paths(conditions or (), option="--conditions"),
            quantiles=bins,
            critical=critical,
            split=Split(calibration, seed),
            params=params,
            title=title,
            discover=discover,
            privacy=privacy.value if privacy else None,
        )
        audit_command.audit(request)

    _run(run)


@app.command()
def validate(
    model: Annotated[
        Path, typer.Option(help="Folder of the model; the other artefacts lie beside it.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of new images, with or without folders.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must be absent or empty.")],
    table: Annotated[
        Path | None, typer.Option("--csv", help="Labels, groups or slice columns of the images.")
    ] = None,
    image_column: Annotated[
        str | None,
        typer.Option(help="Paths or names; else `image_path`, or the first of unique values."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of class names; else the one that holds them.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Columns of 0 and 1, by commas; else those called like the labels."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of the patient: intervals resample patients.")
    ] = None,
    slices: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Column to cut slices on; repeatable; else all that fit."),
    ] = None,
    calibrator: Annotated[
        str | None,
        typer.Option(help="Of the printed probabilities; else temperature, if it was fitted."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per forward pass; else predict.batch_size.", min=1)
    ] = None,
    params: Annotated[
        Path | None, typer.Option(help="Parameter file; else params.yaml beside the artefacts.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Of the report.")] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Run the model's .pt2 file, a program of whoever made it."),
    ] = False,
) -> None:
    """Apply a model with its frozen thresholds to new images; labels are welcome, not needed.

    Writes predictions.csv (whom to defer, and why), drift.csv and prediction_drift.csv (against
    the training images), summary.json, and with labels metrics/, plots/ and report/.
    """

    def run() -> None:
        from medaudit.commands import validate as validate_command
        from medaudit.commands.label_tables import LabelColumns
        from medaudit.commands.validate import Request

        columns = LabelColumns(image_column, label, names(labels), group, tuple(slices or ()))
        request = Request(
            model=model,
            images=images,
            out=out,
            table=table,
            columns=columns,
            calibrator=calibrator,
            batch_size=batch_size,
            params=params,
            title=title,
            trust=trust,
        )
        validate_command.validate(request)

    _run(run)


@app.command()
def verify(
    rev: Annotated[str, typer.Argument(help="Commit, branch or tag to compare with.")] = "HEAD",
    brief: Annotated[bool, typer.Option("--brief", help="The two lines of the verdict.")] = False,
) -> None:
    """Compare the headline numbers of this run, metrics/, with those that a commit holds.

    Exit code 0: equal, or within the spread of retraining where that was measured
    (profiles/spread). 1: outside. 2: cannot compare, as with other parameters or no such commit.
    """

    def run() -> None:
        from medaudit.commands import verify as verify_command

        raise typer.Exit(verify_command.verify(rev, brief=brief))

    _run(run)


@app.command()
def clean() -> None:
    """Remove checkpoints and finished predictions that are kept for resuming."""
    _run(lambda: shutil.rmtree(".resume", ignore_errors=True))


def _run(action: Callable[[], object]) -> None:
    runner.configure_logging()
    runner.heed_signals()
    message = runner.outcome(action)
    if message is not None:
        log.error("%s", message[1])
        sys.exit(message[0])


def names(text: str | None) -> tuple[str, ...]:
    """Names that are separated by commas."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(part for part in parts if part)


def pairs(items: Iterable[str], *, option: str) -> dict[str, str]:
    """`name=value` items; an error quotes what is none, or stands twice."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise ParamsError(f"{option}: expected name=value, got {item!r}")
        if name in found:
            raise ParamsError(f"{option}: {name!r} is given twice; name every one once")
        found[name] = value
    return found


def paths(items: Iterable[str], *, option: str) -> dict[str, Path]:
    """`name=file` items."""
    return {name: Path(value) for name, value in pairs(items, option=option).items()}


def counts(items: Iterable[str], *, option: str) -> dict[str, int]:
    """`name=number` items with whole numbers."""
    found = pairs(items, option=option)
    wrong = [f"{name}={value}" for name, value in found.items() if not value.isdecimal()]
    if wrong:
        raise ParamsError(f"{option}: expected whole numbers, got {', '.join(wrong)}")
    return {name: int(value) for name, value in found.items()}
