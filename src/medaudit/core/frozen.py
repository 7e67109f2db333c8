"""What is frozen for deployment: sealed by digests when it was made, checked before it is used.

Frozen are the model, what it was trained on, and every number that was fitted or chosen for it. One
flipped bit in a threshold or a weight gives other answers and no error; so a run ends with a list
of digests, and whoever applies what was frozen compares it first.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from medaudit.core.errors import DataError, MedauditError, listed
from medaudit.core.files import file_digest, read_json, write_text
from medaudit.core.layout import ARTIFACTS, CALIBRATORS, CLEAN, DEFERRAL, OPERATING_POINTS, SEALED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIST = SEALED.name

# Of the folder of artefacts: files, and patterns of files of which there are several.
MODEL_FILES = "model/*"
PREPARED_FILES = ("prepared/manifest.parquet", "prepared/schema.json")
PIXELS = "prepared/pixels/*"
CHOSEN = tuple(
    path.relative_to(ARTIFACTS).as_posix() for path in (CALIBRATORS, DEFERRAL, OPERATING_POINTS)
)
PREDICTIONS = CLEAN.relative_to(ARTIFACTS).as_posix()
FROZEN = (*CHOSEN, MODEL_FILES, PREDICTIONS, *PREPARED_FILES, PIXELS)
# These only widen what is said of new images; who deploys may leave them behind, as a whole.
OPTIONAL = (PREDICTIONS, PIXELS)

_HEAD = "# sha256 of the lines below: "
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def seal(folder: Path = ARTIFACTS) -> None:
    """Write the list of digests of all frozen files, which `sha256sum --check` reads as well.

    Raises:
        DataError: something of it is not there.
    """
    found = {name: _files(folder, name) for name in FROZEN}
    absent = [name for name, paths in found.items() if not paths]
    if absent:
        raise DataError(f"{folder}: {listed(absent)} not found; run all stages first")
    names = sorted(name for each in found.values() for name in each)
    lines = (f"{file_digest(folder / name)}  {name}\n" for name in names)
    write_text(folder / LIST, _headed("".join(lines)))


def check(folder: Path, *, model: str = "model") -> None:
    """Refuse frozen files that are not, to the last bit, those that were sealed.

    Args:
        folder: of the artefacts.
        model: name of the model's folder in it.

    Raises:
        DataError: names the damaged, missing or unexpected file.
    """
    sealed = read_list(folder / LIST)
    if model != MODEL_FILES.partition("/")[0]:
        raise DataError(
            f"{folder / model}: {LIST} beside it is of the model in `model/`; give the folder that "
            f"name, with what was frozen for it beside it"
        )
    for name in FROZEN:
        listed_here = {each for each in sealed if PurePosixPath(each).match(name)}
        there = _files(folder, name)
        if name in OPTIONAL and not there:
            continue
        _compare(folder, sealed, listed_here, there)


def _files(folder: Path, pattern: str) -> set[str]:
    """Names of what is there, without the hidden files of desktops."""
    found = (path for path in folder.glob(pattern) if not path.name.startswith("."))
    return {path.relative_to(folder).as_posix() for path in found}


def _compare(
    folder: Path, sealed: Mapping[str, str], listed_here: set[str], there: set[str]
) -> None:
    for name in sorted(listed_here | there):
        path = folder / name
        if name not in there:
            raise DataError(f"{path}: not found, but listed in {LIST}; {_MEND}")
        if name not in listed_here:
            raise DataError(f"{path}: not listed in {LIST}, so nobody signed it off; {_MEND}")
        if not path.is_file() or (got := file_digest(path)) != sealed[name]:
            what = "not a file" if not path.is_file() else f"got {got[:_SHOWN]}"
            raise DataError(
                f"{path}: damaged or changed since the run was finished: expected the SHA-256 "
                f"{sealed[name][:_SHOWN]}, {what}; {_MEND}"
            )


_SHOWN = 12  # characters of a digest
_MEND = "copy the artefacts anew, or run `dvc checkout --force` or `dvc repro`"


def read_list(path: Path) -> dict[str, str]:
    """Digests by name of file, relative to the folder of the list.

    Raises:
        DataError: there is no list, or it is damaged itself.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(
            f"{path}: not found, so damage would go unnoticed; the report stage writes it: "
            f"run `dvc repro`"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: damaged itself; {_MEND}") from None
    body = text.partition("\n")[2]
    rows = [_LINE.fullmatch(line) for line in body.splitlines()]
    if text != _headed(body) or not all(rows):
        raise DataError(f"{path}: damaged itself; {_MEND}")
    return {row[2]: row[1] for row in rows if row}


def _headed(body: str) -> str:
    return f"{_HEAD}{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


T = TypeVar("T")
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


def read_facts(
    kind: type[T], path: Path, *, stage: str, error: type[MedauditError] = DataError
) -> T:
    """The JSON object of a stage as a pydantic model or dataclass, nothing converted."""
    return parse_facts(kind, read_json(path, stage=stage), path=path, stage=stage, error=error)


def parse_facts(
    kind: type[T],
    content: object,
    *,
    path: Path,
    stage: str,
    error: type[MedauditError] = DataError,
) -> T:
    """`read_facts` of what was read already.

    Raises:
        error: with one line of what is wrong first, and where.
    """
    try:
        # Strict, and as JSON, where a list may stand for a tuple.
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as wrong:
        raise error(f"{path}: {_first(wrong.errors())}; run the {stage} stage again") from None


def _first(errors: Iterable[Any]) -> str:
    found = list(errors)
    first = found[0]
    place = ".".join(map(str, first["loc"]))
    got = "" if first["type"] in {"missing", "extra_forbidden"} else f", got {first['input']!r:.80}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"`{place}`: {first['msg']}{got}{more}" if place else f"{first['msg']}{more}"
