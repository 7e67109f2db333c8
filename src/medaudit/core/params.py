"""Sections of `params.yaml` as frozen pydantic models."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medaudit.core.errors import ParamsError, listed
from medaudit.core.layout import PARAMS

# Keys of earlier versions, and what they are called now.
RENAMED = {
    "prepare.fractions.tune": "prepare.fractions.validation",
    "train.tune_metric": "train.validation_metric",
    "evaluate.confidence": "evaluate.assurance",
    "stress.reference": "stress.baseline_model",
}

# Keys of earlier versions that nothing takes the place of, and why.
GONE = {
    "slice.primary": "sensitivity and specificity lead together",
    "slice.tested": "sensitivity, specificity and standardised accuracy are tested",
}


class Section(BaseModel):
    """One section of `params.yaml`; unknown keys are refused and values cannot be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    section: ClassVar[str]


S = TypeVar("S", bound=Section)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a `ParamsError` names the line where it is not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParamsError(
            f"{path}: expected sections such as `train:`, got {type(content).__name__}"
        )
    return content


def parse(model: type[S], content: dict[str, Any], *, source: os.PathLike[str]) -> S:
    """Validate one section out of the whole content of a parameter file."""
    name = model.section
    if name not in content:
        raise ParamsError(f"{source}: section `{name}` is missing; profiles/phantom.yaml shows it")
    try:
        return model.model_validate(content[name] or {})
    except ValidationError as error:
        raise ParamsError(f"{source}: {_explain(model, error)}") from None


def load(model: type[S], path: Path | None = None) -> S:
    """Read and validate the section that `model` names, from `params.yaml` by default."""
    path = path or PARAMS
    return parse(model, read_yaml(path), source=path)


def each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same names; a validation error where one stands twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{listed(twice)} stands twice")
    return names


def _explain(model: type[Section], error: ValidationError) -> str:
    # A misspelt key is also a missing one; the misspelling is what the user has to see.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = ".".join([model.section, *(str(part) for part in first["loc"])])
    if key in RENAMED:
        return f"`{key}` is now called `{RENAMED[key]}`; rename it"
    if key in GONE:
        return f"`{key}` is gone, {GONE[key]}; remove it"
    if first["type"] == "extra_forbidden":
        known = _keys(model, first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}"
        return f"unknown key `{key}`; {hint}"
    # Of a rule between keys the input is the whole section, which the file shows better.
    shows_input = first["type"] != "missing" and first["loc"]
    got = f", got {first['input']!r}" if shows_input else ""
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"`{key}`: {first['msg']}{got}{more}"


def _keys(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys that stand at a place below a section."""
    for part in place:
        field = model.model_fields.get(str(part))
        inner = _model_in(field.annotation) if field else None
        model = inner or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(each) for each in get_args(annotation))
    return next((each for each in found if each is not None), None)
