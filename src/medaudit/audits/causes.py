"""Causes of wrong predictions that evidence can support, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Cause:
    """What can be behind a wrong prediction, and what to do about it.

    Args:
        phrase: the cause in words, to stand after "evidence for".
        mitigation: what to change, in training or before inference.
        residual: what can still go wrong after that.
    """

    phrase: str
    mitigation: str
    residual: str


CAUSES: Mapping[str, Cause] = {
    "hair": Cause(
        "thin dark lines",
        "fill thin dark lines before inference, or draw such lines into training images",
        "filling also takes away thin dark structure that is real, and bright lines are not found",
    ),
    "frame_artefact": Cause(
        "marks or dark corners at the frame",
        "crop or mirror the outer frame in training and at inference",
        "marks that reach what the image is about stay in it",
    ),
    "background": Cause(
        "what surrounds the masked region",
        "train on images whose background is exchanged between classes and sources",
        "surroundings that are real evidence lose weight as well",
    ),
    "context_shortcut": Cause(
        "a decision that does not need the masked region",
        "train with the masked region hidden as a reject class; compare sources before any use",
        "shortcuts that no mask separates from it stay unseen",
    ),
    "colour_cast": Cause(
        "the colour of the light",
        "colour constancy (Shades of Gray) in training and at inference alike",
        "colour that belongs to what the image is about is shifted too where it fills the frame",
    ),
    "contrast": Cause(
        "the range of luma in the image",
        "stretch contrast in training and at inference alike; vary it in augmentation",
        "values that the camera clipped do not come back",
    ),
    "exposure": Cause(
        "over- or underexposure",
        "vary brightness in augmentation; have images retaken outside the tested range",
        "values that the camera clipped do not come back",
    ),
    "small_lesion": Cause(
        "a masked region that is small in the frame",
        "crop to the masked region or raise the input size",
        "the crop needs a segmentation, whose failures then become misses",
    ),
    "noise": Cause(
        "noise of single pixels",
        "add noise in augmentation; filter before inference",
        "filtering takes away fine structure that separates classes",
    ),
    "blur": Cause(
        "loss of sharpness",
        "add blur in augmentation; measure sharpness and have blurred images retaken",
        "structure that was lost in the picture cannot be sharpened back",
    ),
    "compression": Cause(
        "compression artefacts",
        "store images with a higher quality; add compression in augmentation",
        "images that arrive compressed stay as they are",
    ),
    "instability": Cause(
        "a decision that is not stable under meaningless changes",
        "average over flips and turns, and defer where they disagree",
        "the case stays near the boundary between classes",
    ),
}

CAUSE_OF_CORRUPTION: Mapping[str, str] = {
    "gaussian_noise": "noise",
    "gaussian_blur": "blur",
    "down_up_sampling": "blur",
    "jpeg": "compression",
    "brightness_up": "exposure",
    "brightness_down": "exposure",
    "contrast_up": "contrast",
    "contrast_down": "contrast",
    "colour_cast_warm": "colour_cast",
    "colour_cast_blue": "colour_cast",
}

CORRECTIVE = (
    "brightness_up",
    "brightness_down",
    "contrast_up",
    "contrast_down",
    "colour_cast_warm",
    "colour_cast_blue",
)
"""Signed changes: applied to a clean image they undo a deviation of the opposite sign."""


def cause(name: str) -> Cause:
    """The cause of that name; a corruption without a row of its own is its own cause."""
    words = name.replace("_", " ")
    unlisted = Cause(
        words,
        f"add {words} in augmentation; have images beyond the tested severity retaken",
        "changes of other kinds and severities were not trained on",
    )
    return CAUSES.get(name, unlisted)


def cause_of(corruption: str) -> str:
    """Name of the cause that a corruption stands for."""
    return CAUSE_OF_CORRUPTION.get(corruption, corruption)
