"""Slices in words: values, bins of every kind, missing values and crossed slices."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaudit.audits import slice_words, slicing
from medaudit.audits.slicing import SliceParams


def words_of(column, values, bins, test=None):
    """Words of the slices of a number column, edges from `values`."""
    train = pd.DataFrame({column: np.asarray(values, dtype=float)})
    rows = train if test is None else pd.DataFrame({column: np.asarray(test, dtype=float)})
    params = SliceParams(quantiles={column: bins})
    return [each.words for each in slicing.slices(rows, slicing.edges(train, params), params)]


HUNDRED = np.arange(1, 101) / 1000  # 0.001 to 0.1


@pytest.mark.parametrize(
    ("bins", "expected"),
    [
        (2, ["lowest-contrast half (0.001 to 0.0505)", "highest-contrast half (0.0505 to 0.1)"]),
        (
            3,
            [
                "lowest-contrast third (0.001 to 0.034)",
                "middle third by contrast (0.034 to 0.067)",
                "highest-contrast third (0.067 to 0.1)",
            ],
        ),
        (
            4,
            [
                "lowest-contrast quarter (0.001 to 0.0257)",
                "second-lowest quarter by contrast (0.0257 to 0.0505)",
                "second-highest quarter by contrast (0.0505 to 0.0752)",
                "highest-contrast quarter (0.0752 to 0.1)",
            ],
        ),
        (
            5,
            [
                "lowest-contrast fifth (0.001 to 0.0208)",
                "second-lowest fifth by contrast (0.0208 to 0.0406)",
                "middle fifth by contrast (0.0406 to 0.0604)",
                "second-highest fifth by contrast (0.0604 to 0.0802)",
                "highest-contrast fifth (0.0802 to 0.1)",
            ],
        ),
    ],
)
def test_equal_parts_have_names(bins, expected):
    assert words_of("contrast", HUNDRED, bins) == expected


def test_parts_without_a_name_are_ranges():
    found = words_of("contrast", HUNDRED, 7)
    assert found[0] == "contrast up to 0.0151"
    assert found[1] == "contrast over 0.0151 up to 0.0293"
    assert found[6] == "contrast over 0.0859"


def test_a_column_of_ties_has_no_quarters():
    # Half of the images have no hair at all: the lowest of the bins is no quarter.
    found = words_of("hair_share", [*[0.0] * 60, *np.linspace(0.01, 0.4, 40)], 4)
    assert found == [
        "share of hair up to 0",
        "share of hair over 0 up to 0.153",
        "share of hair over 0.153",
    ]


def test_bins_of_unequal_size_are_no_quarters():
    # All four bins are there, but the first holds 46 of 100.
    values = [*[0.1] * 46, *np.linspace(0.2, 1, 54)]
    edges = slicing.inner_edges(pd.Series(values), bins=2)
    assert not slicing.is_even(np.array(values), edges, bins=3)
    assert slicing.is_even(np.arange(100.0), np.array([24.5, 49.5, 74.5]), bins=4)


def test_one_value_is_no_quarter():
    assert words_of("contrast", [0.5] * 10, 4) == ["contrast up to 0.5", "contrast over 0.5"]
    none = slice_words.bin_words("contrast", np.ones(3), np.array([]), place=0, even=True)
    assert none == "any contrast"


def test_ages_are_ranges_and_may_be_missing():
    found = words_of("age", [*range(21, 81), np.nan], 3)
    assert found == [
        "age up to 40.7",
        "age over 40.7 up to 60.3",
        "age over 60.3",
        "age not recorded",
    ]


def test_edges_are_those_of_train_and_the_ends_those_of_test():
    found = words_of("lesion_area", np.linspace(0, 1, 101), 4, test=[0.1, 0.2, 0.9])
    assert found[0] == "smallest-lesion quarter (0.1 to 0.25)"
    assert found[3] == "largest-lesion quarter (0.75 to 0.9)"
    empty = words_of("lesion_area", np.linspace(0, 1, 101), 4, test=[0.6])
    assert empty[0] == "smallest-lesion quarter (up to 0.25)"
    assert empty[3] == "largest-lesion quarter (over 0.75)"


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("sex", "female", "female patients"),
        ("dataset", "vienna_dias", "source vienna_dias"),
        ("localization", "lower extremity", "lesions of the site lower extremity"),
        ("view", "AP", "AP views"),
        ("image_size", "600x450", "images of 600x450 pixels"),
        ("touches_border", "yes", "lesion touches the border"),
        ("touches_border", "no", "lesion clear of the border"),
        ("scan_site", "B", "scan site B"),
        ("{0} %s", "{1}", "{0} %s {1}"),
        ("sex", "{x}", "{x} patients"),
        ("sex", "missing", "sex not recorded"),
        ("sex", "unknown", "sex unknown"),
        ("dataset", "missing", "source not recorded"),
        ("touches_border", "missing", "lesion border not recorded"),
    ],
)
def test_values_have_words(column, value, expected):
    assert slice_words.value_words(column, value) == expected


ROWS = pd.DataFrame(
    {
        "sex": ["female", "male", "female", "male", None, "male"],
        "site": ["A", "A", "B", "A", "C", "A"],
        "contrast": [0.1, 0.2, 0.5, 0.4, 0.3, 0.6],
    }
)


def cut(**params):
    """Slices of `ROWS`, by label."""
    asked = SliceParams(**params)
    return {each.label: each for each in slicing.slices(ROWS, slicing.edges(ROWS, asked), asked)}


def test_crossed_slices_are_overlaps_joined_by_and():
    found = cut(columns=("sex", "site"), quantiles={"contrast": 2}, crossed=(("sex", "contrast"),))
    crossed = found["sex=female and contrast <=0.35"]
    assert crossed.column == "sex and contrast"
    assert crossed.name == "female and <=0.35"
    assert crossed.words == "female patients and lowest-contrast half (0.1 to 0.35)"
    pairs = [
        f"sex={sex} and contrast {side}0.35" for sex in ("female", "male") for side in ("<=", ">")
    ]
    for label in pairs:
        one, other = label.split(" and ")
        assert (found[label].mask == (found[one].mask & found[other].mask)).all()
    assert found["sex=female and contrast <=0.35"].mask.tolist() == [True, *[False] * 5]


def test_a_crossed_slice_is_neither_empty_nor_another_slice_again():
    found = cut(columns=("sex", "site"), crossed=(("sex", "site"),))
    crossed = {label for label in found if " and " in label}
    # All men and one of two women are of site A, the other woman is all of B.
    assert crossed == {"sex=female and site=A"}


@pytest.mark.parametrize(
    ("crossed", "message"),
    [
        ([["sex", "sexx"]], "crossed: sexx stands neither under columns nor under quantiles"),
        ([["sex", "sex"]], "pairs of two different columns"),
        ([["sex", "site"], ["site", "sex"]], "stands twice"),
        ([["sex"]], "crossed"),
    ],
)
def test_pairs_that_cannot_be_crossed(crossed, message):
    with pytest.raises(ValueError, match=message):
        SliceParams(columns=("sex", "site"), crossed=crossed)


def test_pairs_of_an_absent_column_are_not_crossed(caplog):
    params = SliceParams(columns=("sex", "dataset"), crossed=(("dataset", "sex"),))
    absent = slicing.absent_columns(ROWS, params)
    assert absent == ("dataset",)
    left = slicing.without(params, absent)
    assert (left.columns, left.crossed) == (("sex",), ())
    assert "dataset is not in this data set" in caplog.text


@given(
    values=st.lists(st.floats(0, 1, width=16), min_size=8, max_size=60),
    bins=st.integers(2, 8),
    column=st.sampled_from(["contrast", "age", "something_else"]),
)
def test_no_two_bins_share_their_words_and_nobody_is_lost(values, bins, column):
    rows = pd.DataFrame({column: values})
    params = SliceParams(quantiles={column: bins})
    found = list(slicing.slices(rows, slicing.edges(rows, params), params))
    assert len({each.words for each in found}) == len(found)
    assert sum(each.mask for each in found).tolist() == [1] * len(values)
