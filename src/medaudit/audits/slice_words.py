"""Slices in words: values, bins and what they are called by people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.core.arrays import Float64Array

# What the lowest and the highest bin of a column are, and what all of its bins are sorted by.
EXTREMES: Mapping[str, tuple[str, str, str]] = {
    "brightness": ("darkest", "brightest", "brightness"),
    "contrast": ("lowest-contrast", "highest-contrast", "contrast"),
    "sharpness": ("least-sharp", "sharpest", "sharpness"),
    "ruler_ticks": ("least-ruler-like", "most-ruler-like", "ruler marks"),
    "hair_share": ("least-hairy", "hairiest", "share of hair"),
    "dark_corners": ("lightest-cornered", "darkest-cornered", "darkness of corners"),
    "lesion_area": ("smallest-lesion", "largest-lesion", "lesion area"),
    "lesion_centre": (
        "most-central-lesion",
        "least-central-lesion",
        "distance of the lesion from the middle",
    ),
    "lesion_solidity": ("least-solid-lesion", "most-solid-lesion", "solidity of the lesion"),
    "lesion_contrast": ("faintest-lesion", "strongest-lesion", "contrast of lesion and skin"),
    "image_width": ("narrowest", "widest", "image width"),
    "image_height": ("shortest", "tallest", "image height"),
    "megapixels": ("lowest-resolution", "highest-resolution", "megapixels"),
}
NOUNS: Mapping[str, str] = {
    "follow_up": "follow-up number",
    "n_findings": "number of findings",
    "dataset": "source",
    "view": "view",
    "image_size": "image size",
    "touches_border": "lesion border",
}
VALUES: Mapping[str, str] = {
    "sex": "{} patients",
    "dataset": "source {}",
    "localization": "lesions of the site {}",
    "view": "{} views",
    "image_size": "images of {} pixels",
}
TOUCHES = {"yes": "lesion touches the border", "no": "lesion clear of the border"}
NOT_RECORDED = ("missing", "nan", "")
PARTS = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 10: "tenth"}
RANKS = {2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def noun(column: str) -> str:
    """What a column holds, in words."""
    known = EXTREMES[column][2] if column in EXTREMES else NOUNS.get(column)
    return known or column.replace("_", " ").strip()


def value_words(column: str, value: str) -> str:
    """A value in words: `female patients`, `age not recorded`; else column and value.

    >>> value_words("sex", "female"), value_words("age", "missing"), value_words("scan_site", "B")
    ('female patients', 'age not recorded', 'scan site B')
    """
    if value.strip().lower() in NOT_RECORDED:
        return f"{noun(column)} not recorded"
    if value.strip().lower() == "unknown":
        return f"{noun(column)} unknown"
    if column == "touches_border" and value in TOUCHES:
        return TOUCHES[value]
    # A column that nobody foresaw may have braces in its name.
    return VALUES[column].format(value) if column in VALUES else f"{noun(column)} {value}"


def bin_words(
    column: str, inside: Float64Array, inner: Float64Array, *, place: int, even: bool
) -> str:
    """A bin in words: `lowest-contrast quarter (0.05 to 0.08)`, or `age over 60`.

    Args:
        column: that is cut.
        inside: the values in the bin; they close the range of the first and the last one.
        inner: inner edges.
        place: number of the bin, from 0.
        even: whether bins hold equally many; if not, none of them is a quarter.
    """
    bins = len(inner) + 1
    if bins == 1:
        return f"any {noun(column)}"
    low, high = range_texts(inside, inner, place=place)
    if column not in EXTREMES or not even or bins not in PARTS:
        return f"{noun(column)} {open_range(low, high, place=place, bins=bins)}"
    ends = f"{low} to {high}" if low and high else open_range(low, high, place=place, bins=bins)
    return f"{part_words(column, place=place, bins=bins)} ({ends})"


def range_texts(inside: Float64Array, inner: Float64Array, *, place: int) -> tuple[str, str]:
    """Both ends of a bin; the outer one of the first and last is the outermost value inside."""
    known = inside.size > 0
    texts = ["", *edge_texts(inner), ""]
    low = f"{inside.min():.3g}" if place == 0 and known else texts[place]
    high = f"{inside.max():.3g}" if place == len(inner) and known else texts[place + 1]
    return low, high


def open_range(low: str, high: str, *, place: int, bins: int) -> str:
    """`up to 30`, `over 30 up to 50`, `over 50`."""
    if place == 0:
        return f"up to {high}"
    return f"over {low}" if place == bins - 1 else f"over {low} up to {high}"


def part_words(column: str, *, place: int, bins: int) -> str:
    """`lowest-contrast quarter`, `second-lowest quarter by contrast`, `middle third by ...`."""
    lowest, highest, by = EXTREMES[column]
    if place in (0, bins - 1):
        return f"{highest if place else lowest} {PARTS[bins]}"
    if 2 * place == bins - 1:
        return f"middle {PARTS[bins]} by {by}"
    rank = place + 1 if 2 * place < bins else bins - place
    side = "lowest" if 2 * place < bins else "highest"
    return f"{RANKS[rank]}-{side} {PARTS[bins]} by {by}"


def edge_texts(inner: Float64Array) -> list[str]:
    """Edges with as few digits as tell them apart, three at least."""
    return next(
        texts
        for digits in range(3, 18)
        if len(set(texts := [f"{edge:.{digits}g}" for edge in inner])) == len(inner)
    )
