"""The command line: set up data and parameters; the pipeline itself runs under `dvc repro`."""

import difflib
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from medaudit import stage
from medaudit.errors import ParamsError, lookup
from medaudit.files import atomic

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Audit medical image models. The pipeline itself runs with `dvc repro`.",
)
log = logging.getLogger(__name__)

PROFILES = Path("profiles")
PARAMS = Path("params.yaml")


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="Folder to write; must be absent or empty.")],
    n: Annotated[int, typer.Option(help="Number of images.")] = 900,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
) -> None:
    """Write a procedural dermoscopy data set in the HAM10000 layout, with planted failures."""
    from medaudit.data.phantom import generate

    _run(lambda: generate(out, n=n, seed=seed))


@app.command()
def use(
    profile: Annotated[str, typer.Argument(help="Name of a file in profiles/, without .yaml.")],
    force: Annotated[bool, typer.Option(help="Overwrite hand edits of params.yaml.")] = False,
) -> None:
    """Make a profile the current parameters: copy profiles/PROFILE.yaml over params.yaml."""
    _run(lambda: choose_profile(profile, force=force))


@app.command()
def profiles() -> None:
    """List the profiles; the current one is marked."""
    _run(list_profiles)


@app.command()
def clean() -> None:
    """Remove checkpoints and finished predictions that are kept for resuming."""
    _run(lambda: shutil.rmtree(".resume", ignore_errors=True))


def choose_profile(name: str, *, force: bool) -> None:
    """Copy a profile over `params.yaml`, showing the difference.

    Raises:
        UnknownNameError: no such profile.
        ParamsError: hand edits would be lost without `force`.
    """
    known = known_profiles()
    new = lookup("profile", name, known).read_text(encoding="utf-8")
    old = PARAMS.read_text(encoding="utf-8") if PARAMS.exists() else ""
    edited = old and all(old != path.read_text(encoding="utf-8") for path in known.values())
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


def known_profiles() -> dict[str, Path]:
    """Profile files by name, sorted."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}


def list_profiles() -> None:
    """Echo every profile with the first comment line of its file."""
    current = PARAMS.read_text(encoding="utf-8") if PARAMS.exists() else ""
    for name, path in known_profiles().items():
        text = path.read_text(encoding="utf-8")
        mark = "*" if text == current else " "
        typer.echo(f"{mark} {name:<16} {text.splitlines()[0].lstrip('# ')}")


def _run(action: Callable[[], object]) -> None:
    stage.configure_logging()
    message = stage.outcome(action)
    if message is not None:
        log.error("%s", message[1])
        sys.exit(message[0])
