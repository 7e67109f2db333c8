"""Failure factors: what can be behind a wrong prediction, what to do, and what stays after that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class FailureFactor:
    """What can be behind a wrong prediction, and what to do about it.

    Args:
        phrase: the factor in words, to stand after "evidence for".
        mitigation: what to change, in training or before inference.
        residual: what can still go wrong after that.
    """

    phrase: str
    mitigation: str
    residual: str


FAILURE_FACTORS: Mapping[str, FailureFactor] = {
    "hair": FailureFactor(
        "thin dark lines",
        "fill thin dark lines before inference, or draw such lines into training images",
        "filling also takes away thin dark structure that is real, and bright lines are not found",
    ),
    "frame_artefact": FailureFactor(
        "what stands at the frame (rulers, ink, dark corners, or that none is there)",
        "crop or mirror the outer frame in training and at inference",
        "marks that reach what the image is about stay in it",
    ),
    "background": FailureFactor(
        "what surrounds the masked region",
        "train on images whose background is exchanged between classes and sources",
        "surroundings that are real evidence lose weight as well",
    ),
    "context_shortcut": FailureFactor(
        "a decision that does not need the masked region",
        "train with the masked region hidden as a reject class; compare sources before any use",
        "shortcuts that no mask separates from it stay unseen",
    ),
    "colour_cast": FailureFactor(
        "the colour of the light",
        "colour constancy (Shades of Gray) in training and at inference alike",
        "colour that belongs to what the image is about is shifted too where it fills the frame",
    ),
    "contrast": FailureFactor(
        "the range of luma in the image",
        "stretch contrast in training and at inference alike; vary it in augmentation",
        "values that the camera clipped do not come back",
    ),
    "exposure": FailureFactor(
        "over- or underexposure",
        "vary brightness in augmentation; have images retaken outside the tested range",
        "values that the camera clipped do not come back",
    ),
    "small_lesion": FailureFactor(
        "a masked region that is small in the frame",
        "crop to the masked region or raise the input size",
        "the crop needs a segmentation, whose failures then become misses",
    ),
    "noise": FailureFactor(
        "noise of single pixels",
        "add noise in augmentation; filter before inference",
        "filtering takes away fine structure that separates classes",
    ),
    "blur": FailureFactor(
        "loss of sharpness",
        "add blur in augmentation; measure sharpness and have blurred images retaken",
        "structure that was lost in the picture cannot be sharpened back",
    ),
    "compression": FailureFactor(
        "compression artefacts",
        "store images with a higher quality; add compression in augmentation",
        "images that arrive compressed stay as they are",
    ),
    "label": FailureFactor(
        "a label that may be wrong",
        "have the label read again by an expert before counting it as a failure of the model",
        "labels that everybody gets wrong are not found this way",
    ),
    "class_overlap": FailureFactor(
        "training images that look alike and bear the other label",
        "collect more cases of the rarer class among these; have their labels read again",
        "two classes that look alike stay hard to tell apart from an image",
    ),
    "unlike_training": FailureFactor(
        "an image unlike those of the training role",
        "defer images beyond a distance from training that is frozen beforehand; collect such ones",
        "distance in the features of the model does not see everything that is new",
    ),
    "instability": FailureFactor(
        "a decision that is not stable under meaningless changes",
        "average over flips and turns, and defer where they disagree",
        "the case stays near the boundary between classes",
    ),
}

FACTOR_OF_CORRUPTION: Mapping[str, str] = {
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


def factor(name: str) -> FailureFactor:
    """The factor of that name; a corruption without a row of its own is its own factor."""
    words = name.replace("_", " ")
    unlisted = FailureFactor(
        words,
        f"add {words} in augmentation; have images beyond the tested severity retaken",
        "changes of other kinds and severities were not trained on",
    )
    return FAILURE_FACTORS.get(name, unlisted)


def factor_of(corruption: str) -> str:
    """Name of the factor that a corruption stands for."""
    return FACTOR_OF_CORRUPTION.get(corruption, corruption)
