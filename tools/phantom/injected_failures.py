"""The injected failures as one table of constants; `planted.json` repeats them with the ids."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InjectedFailures:
    """Design of the injected failures.

    Attributes:
        shortcut_class: The class whose images carry a ruler.
        exception_source: The source in which that association does not hold.
        ruler_on_class: Chance of a ruler on the class, in the other sources.
        ruler_elsewhere: Chance of a ruler on other classes, in the other sources.
        exception_ruler_on_class: Chance of a ruler on the class, in the exception source.
        exception_ruler_elsewhere: Chance of a ruler on other classes, in the exception source.
        first_exception_factor: Share of the images of the shortcut class from the exception
            source that the first collection keeps.
        later_share: Share of lesions of a later collection, which is never trained on.
        later_exception_share: Share of it that comes from the exception source.
        later_camera_share: Share of it that comes from the low-contrast source.
        low_contrast_source: A camera that came with the later collection; its images have clearly
            less contrast.
        tiny_share: Share of lesions that are tiny and blurred.
        tiny_radius: Their radius, lowest and highest, in pixels of a canvas of 320 x 240.
        tiny_blur: Blur of their structure in pixels of that canvas.
        mislabelled_share: Share of images that belong to lesions recorded under another class.
        duplicate_share: Share of images that are near-copies under another lesion id.
        duplicates_listed: Share of these pairs that `known_duplicates.csv` names.
        duplicate_crop: Largest crop of a copy, as a share of the width.
        duplicate_gain: Largest change of brightness of a copy, as a share.
        duplicate_quality: JPEG quality of a copy.
    """

    shortcut_class: str = "mel"
    exception_source: str = "rosendahl"
    ruler_on_class: float = 0.95
    ruler_elsewhere: float = 0.02
    exception_ruler_on_class: float = 0.03
    exception_ruler_elsewhere: float = 0.06
    later_share: float = 0.42
    first_exception_factor: float = 0.15
    later_exception_share: float = 0.65
    later_camera_share: float = 0.27
    low_contrast_source: str = "vienna_dias"
    tiny_share: float = 0.09
    tiny_radius: tuple[float, float] = (9.0, 15.0)
    tiny_blur: float = 2.2
    mislabelled_share: float = 0.02
    duplicate_share: float = 16 / 1600
    duplicates_listed: float = 3 / 8
    duplicate_crop: float = 0.004
    duplicate_gain: float = 0.04
    duplicate_quality: int = 76

    def ruler_chance(self, dx: str, source: str) -> float:
        """Chance of a ruler on an image of class `dx` from `source`."""
        ours = dx == self.shortcut_class
        if source == self.exception_source:
            return self.exception_ruler_on_class if ours else self.exception_ruler_elsewhere
        return self.ruler_on_class if ours else self.ruler_elsewhere


INJECTED = InjectedFailures()

MISTAKEN_FOR: dict[str, str] = {"mel": "nv", "nv": "mel", "bkl": "mel", "bcc": "nv", "akiec": "bkl"}
