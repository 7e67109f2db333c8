"""Sections of `params.yaml` as frozen pydantic models."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from medaudit.core.errors import DataError, ParamsError, listed, quoted, unprintable
from medaudit.core.files import read_bytes
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


MOST_BYTES = 1 << 17  # of a parameter file; PyYAML reads that in about two seconds
DEEPEST = 20  # levels of a parameter file
LARGEST_SEED = 2**32 - 1  # the largest that scikit-learn takes


class Section(BaseModel):
    """One section of `params.yaml`; unknown keys are refused and values cannot be changed.

    Every number has a floor and a ceiling, so that a slip of a zero ends at once and not in a week.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    section: ClassVar[str]


S = TypeVar("S", bound=Section)


# What PyYAML lets out of values that their tags or forms belie, such as 2024-99-99 or !!int x.
_BELIED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


class _PlainLoader(yaml.SafeLoader):
    """YAML as a person writes it: no aliases, no key twice, and neither deep nor unprintable."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._refuse("an alias (`*name`); write the value out", event)
        if self.depth >= DEEPEST:
            self._refuse(f"more than {DEEPEST} levels of nesting", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _BELIED as error:
            self._refuse(f"a value that is none of its kind ({type(error).__name__})", node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            self._refuse("no mapping where one is declared", node)
        known: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in known:
                self._refuse(f"the key {quoted(key.value)} twice; remove one", key)
            known.add((key.tag, key.value))
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        odd = unprintable(value) if isinstance(value, str) else None
        if odd is not None:
            self._refuse(f"the unprintable character {odd}; remove it", node)
        return value

    def _refuse(self, what: str, place: Any) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=f"found {what}", problem_mark=place.start_mark)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ParamsError: not found, too large, no mapping, or not plain YAML (aliases, keys that stand
            twice, deep nesting, unprintable characters); the line is named.
    """
    try:
        text = read_bytes(path, most=MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the root of the repository") from None
    except DataError as error:
        raise ParamsError(str(error)) from None
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from None
    return parse_yaml(text, path)


def parse_yaml(text: str, source: Path | str) -> dict[str, Any]:
    """The mapping in a YAML text; errors name its source."""
    try:
        content = yaml.load(text, _PlainLoader)  # noqa: S506  a safe loader that refuses more
    except yaml.YAMLError as error:
        raise ParamsError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ParamsError(
            f"{source}: expected sections such as `train:`, got {type(content).__name__}"
        )
    return content


def parse(model: type[S], content: dict[str, Any], *, source: os.PathLike[str]) -> S:
    """Validate one section out of the whole content of a parameter file."""
    name = model.section
    if name not in content:
        raise ParamsError(f"{source}: section `{name}` is missing; profiles/phantom.yaml shows it")
    try:
        return model.model_validate({} if content[name] is None else content[name])
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
    got = f", got {quoted(first['input'])}" if shows_input else ""
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
