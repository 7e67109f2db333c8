"""Every audit of the product has one shape: `freeze(..., params)`, `audit(test, frozen, ...)`."""

import inspect
import pkgutil
import typing
from importlib import import_module

import pytest

from medaudit import audits
from medaudit.audits.drift import NewImages
from medaudit.core.findings import Findings
from medaudit.stats.bootstrap import Bootstrap
from medaudit.tables.scoring import Conditions, ScoredPredictions

NAMES = [f"medaudit.audits.{each.name}" for each in pkgutil.iter_modules(audits.__path__)]
AUDITS = {name: import_module(name) for name in NAMES if hasattr(import_module(name), "audit")}
KNOWN = {"calibrate", "drift", "evaluate", "selective", "slices", "stress"}
KNOWN |= {"discovery", "label_issues", "role_drift", "shortcuts"}


def test_no_audit_is_overlooked():
    assert {name.rpartition(".")[2] for name in AUDITS} >= KNOWN


def hints(function, module):
    """Annotations by parameter; those that are imported for checking only are found by name."""
    names = {each.__name__: each for each in (Bootstrap, Conditions, Findings, ScoredPredictions)}
    annotations = inspect.get_annotations(function)
    return {key: names.get(told, getattr(module, told, told)) for key, told in annotations.items()}


@pytest.mark.parametrize("name", AUDITS)
def test_the_shape_of_an_audit(name):
    module = AUDITS[name]
    told = hints(module.audit, module)
    assert list(told) == ["test", "frozen", "params", "bootstrap", "return"]
    assert told["test"] in {ScoredPredictions, Conditions, NewImages}
    assert told["bootstrap"] is Bootstrap
    assert told["return"] is Findings
    parameters = inspect.signature(module.audit).parameters.values()
    assert {each.kind for each in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert not [each for each in parameters if each.default is not inspect.Parameter.empty]


@pytest.mark.parametrize("name", AUDITS)
def test_what_is_frozen_is_what_is_audited_with(name):
    """`freeze` sees the params and never the test role; its result is the second argument."""
    freeze, audit = AUDITS[name].freeze, AUDITS[name].audit
    first, params, *more = inspect.signature(freeze).parameters.values()
    assert params.name == "params"
    assert first.name != "test"
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in more)
    own, told = inspect.get_annotations(freeze), inspect.get_annotations(audit)
    assert own["return"] == told["frozen"]
    assert own["params"] == told["params"]
    assert typing.get_origin(own["return"]) is None
