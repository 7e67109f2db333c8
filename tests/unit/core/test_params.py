import importlib
import os
import pkgutil
import re
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

import medaudit
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.stress import StressParams
from medaudit.core.errors import ParamsError
from medaudit.core.params import RENAMED, Section, load
from medaudit.data.manifest import PrepareParams
from medaudit.training.loop import TrainParams

PROFILE = Path(__file__).parents[3] / "profiles/phantom.yaml"
SECTIONS = {
    each.section: each for each in (PrepareParams, TrainParams, EvaluateParams, StressParams)
}


class Toy(Section):
    """Two keys."""

    section: ClassVar[str] = "toy"
    epochs: int
    rate: float = 0.1


class Shares(BaseModel):
    """Two keys below a key."""

    model_config = ConfigDict(extra="forbid")
    left: float = 0.5
    right: float = 0.5


class Deep(Section):
    """A key that holds keys."""

    section: ClassVar[str] = "deep"
    shares: Shares | None = None


@pytest.fixture
def params(tmp_path):
    def write(text):
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_only_the_own_section_is_read(params):
    assert load(Toy, params("toy: {epochs: 3}\nother: {x: 1}")).epochs == 3


def test_a_byte_order_mark_is_harmless(params):
    assert load(Toy, params("\ufefftoy: {epochs: 3}")).epochs == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("toy: {epohcs: 3, epochs: 1}", "unknown key `toy.epohcs`; did you mean `epochs`"),
        ("toy: {epohcs: 3}", "unknown key `toy.epohcs`; did you mean `epochs`"),
        ("toy: {epochs: 3, zzz: 1}", "unknown key `toy.zzz`; known keys: epochs, rate"),
        ("toy: {}", "`toy.epochs`: Field required"),
        ("toy: {epochs: many}", "`toy.epochs`.*got 'many'"),
        ("other: {}", "section `toy` is missing"),
        ("- a", "expected sections"),
        ("toy: [", "not valid YAML"),
    ],
)
def test_mistakes_are_one_line_that_names_the_key(params, text, message):
    with pytest.raises(ParamsError, match=message) as caught:
        load(Toy, params(text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match="root of the repository"):
        load(Toy, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("key", "hint"), [("lefft", "did you mean `left`"), ("zzz", "known keys: left, right")]
)
def test_an_unknown_key_below_a_key_is_answered_from_there(params, key, hint):
    with pytest.raises(ParamsError, match=f"unknown key `deep.shares.{key}`; {hint}"):
        load(Deep, params(f"deep: {{shares: {{{key}: 1}}}}"))


@pytest.mark.parametrize("old", RENAMED)
def test_a_key_of_an_earlier_version_is_answered_with_its_new_name(params, old):
    content = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    *place, key = old.split(".")
    section = content
    for part in place:
        section = section[part]
    section[key] = section.pop(RENAMED[old].rpartition(".")[2])
    with pytest.raises(ParamsError) as caught:
        load(SECTIONS[place[0]], params(yaml.safe_dump(content)))
    assert str(caught.value).endswith(f"`{old}` is now called `{RENAMED[old]}`; rename it")


NOT_PLAIN = {
    "an alias": "toy: &a {epochs: 3}\nother: *a",
    "twice": "toy: {epochs: 3, epochs: 4}",
    "levels of nesting": "toy: " + "[" * 900 + "]" * 900,
    "unprintable character U+001B": 'toy: {epochs: "\\e[2J"}',
    "none of its kind": "toy: {epochs: 2024-99-99}",
    "no mapping": "toy: !!map [1]",
    "at most": "toy: {epochs: 3} #" + "x" * 200_000,
}


@pytest.mark.parametrize("reason", NOT_PLAIN)
def test_yaml_that_is_not_plain_is_one_line(params, reason):
    with pytest.raises(ParamsError, match=re.escape(reason)) as raised:
        load(Toy, params(NOT_PLAIN[reason]))
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("empty", ["0", "[]", "''", "false"])
def test_a_section_that_is_no_mapping_is_refused(params, empty):
    class Free(Section):
        section: ClassVar[str] = "free"
        epochs: int = 1

    assert load(Free, params("free:")).epochs == 1
    with pytest.raises(ParamsError, match="free"):
        load(Free, params(f"free: {empty}"))


def test_a_pipe_instead_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(ParamsError, match="pipe"):
        load(Toy, tmp_path / "params.yaml")


def test_an_error_quotes_little_of_a_long_value(params):
    with pytest.raises(ParamsError) as raised:
        load(Toy, params(f"toy: {{epochs: {'x' * 100_000}}}"))
    assert len(str(raised.value)) < 1000


def sections():
    for module in pkgutil.walk_packages(medaudit.__path__, "medaudit."):
        importlib.import_module(module.name)
    waiting, found = [Section], []
    while waiting:
        found += (known := [c for c in waiting.pop().__subclasses__() if c not in found])
        waiting += known
    return [each for each in found if each.__module__.startswith("medaudit.")]


def unbounded(schema, place):
    """Places in a JSON schema where a number has no floor or no ceiling."""
    if schema.get("type") in ("integer", "number"):
        low, high = {"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}
        if not (low & schema.keys() and high & schema.keys()):
            yield place
    for key, value in schema.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from unbounded(each, f"{place}.{key}")


def test_every_number_of_every_section_has_a_floor_and_a_ceiling():
    found = sections()
    assert len(found) > 12
    assert [p for each in found for p in unbounded(each.model_json_schema(), each.__name__)] == []


@pytest.mark.parametrize("number", [".nan", ".inf", "1e300"])
def test_numbers_beyond_all_bounds_are_refused(params, number):
    with pytest.raises(ParamsError, match="mixup"):
        load(
            TrainParams,
            params(f"train: {{backbone: x, epochs: 1, learning_rate: 0.1, mixup: {number}}}"),
        )
