"""Options of the command line that hold several values."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaudit import cli as options
from medaudit.core.errors import ParamsError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, ()),
        ("", ()),
        (" , ", ()),
        ("Edema", ("Edema",)),
        ("Edema, Pleural Effusion ,Mass", ("Edema", "Pleural Effusion", "Mass")),
    ],
)
def test_names_are_separated_by_commas(text, found):
    assert options.names(text) == found


@given(st.lists(st.text("abc -_", min_size=1).map(str.strip).filter(bool), max_size=6))
def test_names_come_back(names):
    assert options.names(",".join(names)) == tuple(names)


def test_pairs_keep_their_order_and_later_equal_signs():
    found = options.pairs(["b = 1", "a=x=y"], option="--conditions")
    assert list(found.items()) == [("b", "1"), ("a", "x=y")]
    assert options.pairs((), option="--conditions") == {}


@pytest.mark.parametrize("item", ["blur", "blur=", "=file.csv", "=", "", " = "])
def test_what_is_no_pair_is_quoted_with_its_option(item):
    with pytest.raises(ParamsError, match="--conditions: expected name=value, got") as caught:
        options.pairs([item], option="--conditions")
    assert repr(item) in str(caught.value)


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(ParamsError, match="--conditions: 'blur-1' is given twice"):
        options.paths(["blur-1=a.csv", "blur-1 = b.csv"], option="--conditions")


def test_paths():
    found = options.paths(["blur-1=~a/b.csv"], option="--conditions")
    assert found == {"blur-1": Path("~a/b.csv")}


def test_counts():
    assert options.counts(["age=4", "size=10"], option="--quantiles") == {"age": 4, "size": 10}


@pytest.mark.parametrize("value", ["four", "4.5", "-4", "²"])
def test_what_is_no_whole_number_is_quoted(value):
    with pytest.raises(ParamsError, match="--quantiles: expected whole numbers, got age=") as told:
        options.counts([f"age={value}"], option="--quantiles")
    assert str(told.value).endswith(value)
