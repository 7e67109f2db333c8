"""Keys by content: what counts, what does not, and what is refused."""

import functools
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from medaudit.core import keys
from medaudit.pixels.corruptions import CORRUPTIONS

SOURCE = '''
import math
from keyed_helpers import half as h
import keyed_helpers

TABLE = {}
SCALE = 2.0
OTHER = 5.0

def used(x):
    return SCALE * h(x) + keyed_helpers.third(x)

def beside(x):
    return OTHER * x

class Shape:
    side = SCALE

    def area(self, x):
        """Doc."""
        return beside(x)  # comment

    def other(self):
        return math.pi
'''
HELPERS = """
def half(x):
    return x / inner()

def third(x):
    return x / 3

def unused(x):
    return x

def inner():
    return 2
"""


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The digest of a definition after `old` was replaced by `new` in both modules."""
    monkeypatch.syspath_prepend(tmp_path)

    def of(name: str, old: str = "", new: str = "") -> str:
        assert old in SOURCE + HELPERS
        for module, text in (("keyed", SOURCE), ("keyed_helpers", HELPERS)):
            (tmp_path / f"{module}.py").write_text(text.replace(old, new) if old else text)
        keys._source.cache_clear()
        keys._file.cache_clear()
        monkeypatch.setattr(keys, "PACKAGE", "keyed_helpers")  # else they are another package's
        return keys.source_digest([("keyed", name)])

    return of


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("used", "SCALE * h(x)", "SCALE + h(x)"),
        ("used", "SCALE = 2.0", "SCALE = 3.0"),
        ("used", "x / inner()", "x * inner()"),
        ("used", "return 2\n", "return 4\n"),
        ("used", "x / 3", "x / 4"),
        ("Shape", "math.pi", "math.e"),
        ("Shape", "OTHER = 5.0", "OTHER = 6.0"),
        ("Shape.area", "OTHER * x", "OTHER + x"),
    ],
)
def test_what_a_definition_uses_counts(
    digest: Callable[..., str], name: str, old: str, new: str
) -> None:
    assert digest(name) != digest(name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("used", "OTHER = 5.0", "OTHER = 6.0"),
        ("used", "def unused(x):\n    return x", "def unused(x):\n    return -x"),
        ("used", "def used(x):\n", 'def used(x: float) -> float:\n    """Doc."""\n    # why\n'),
        ("Shape.area", '"""Doc."""', '"""Other."""'),
        ("Shape.area", "  # comment", ""),
        ("Shape.area", "math.pi", "math.e"),
        ("used", "TABLE = {}", "TABLE = {1: 2}"),
    ],
)
def test_what_it_does_not_use_does_not_count(
    digest: Callable[..., str], name: str, old: str, new: str
) -> None:
    assert digest(name) == digest(name, old, new)


def test_names_that_are_not_followed(digest: Callable[..., str]) -> None:
    def apart() -> str:
        return keys.source_digest([("keyed", "used")], apart_from=("h",))

    digest("used")
    before = apart()
    digest("used", "x / inner()", "x * inner()")
    assert apart() != before  # it is the definition's own name that counts
    with pytest.raises(ValueError, match="keyed does not define nothing"):
        keys.source_digest([("keyed", "nothing")])


def test_a_module_counts_without_comments_docstrings_and_types(tmp_path: Path) -> None:
    def of(text: str) -> str:
        (tmp_path / "m.py").write_text(text)
        return keys.module_digest(tmp_path / "m.py")

    base = of("def f(x, n=1):\n    return x + n\n")
    assert base == of('"""Doc."""\n# why\ndef f(x: int, n: int = 1) -> int:\n    return (x + n)\n')
    assert base == of(
        "if TYPE_CHECKING:\n    from a import B\n\ndef f(x, n=1):\n    'doc'\n    return x + n\n"
    )
    assert base != of("def f(x, n=2):\n    return x + n\n")
    assert base != of("def f(x, *, n=1):\n    return x + n\n")
    assert of("A = None\n") != of("A = 'None'\n")


def test_keys_see_every_part() -> None:
    key = keys.content_key({"lr": 0.1, "data": "x"})
    assert key == keys.content_key({"data": "x", "lr": 0.1})
    assert key != keys.content_key({"data": "x", "lr": 0.2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        keys.content_key({"lr": float("nan")})


def scaled(x: float, *, by: float = 1.0) -> float:
    return x * by


@dataclass(frozen=True)
class Scaled:
    by: float

    def __call__(self, x: float) -> float:
        return x * self.by


def test_settings_are_part_of_an_identity() -> None:
    functions = [scaled, functools.partial(scaled, by=2.0), functools.partial(scaled, by=3.0)]
    every = [keys.content_key(keys.identity(f)) for f in (*functions, Scaled(2.0), Scaled(3.0))]
    assert len(set(every)) == 5
    assert keys.identity(Scaled(2.0)) == keys.identity(Scaled(2.0))


def test_functions_whose_source_does_not_tell_all_are_refused() -> None:
    def inner(x: float) -> float:
        return x

    for function in (inner, lambda x: x):
        with pytest.raises(ValueError, match="expected a function at the top level of a module"):
            keys.identity(function)


def test_every_corruption_has_an_identity_of_its_own_function() -> None:
    found = {row.apply: keys.content_key(keys.identity(row.apply)) for row in CORRUPTIONS.values()}
    assert len(set(found.values())) == len(found) == 7


def test_versions_are_read_without_imports() -> None:
    importlib.import_module("numpy")
    assert keys.versions(["numpy"]) == {"numpy": sys.modules["numpy"].__version__}
