"""The condition under which predictions were made: clean, or a corruption at a severity."""

from __future__ import annotations

from dataclasses import dataclass

CLEAN = "clean"


@dataclass(frozen=True, order=True)
class Condition:
    """A corruption or shift by name with its severity 1..n; severity 0 is the clean image."""

    corruption: str
    severity: int

    def __post_init__(self) -> None:
        if self.severity < 0 or (self.severity == 0) != (self.corruption == CLEAN):
            raise ValueError(
                f"expected `clean` at severity 0 or a corruption at severity 1 and above, "
                f"got {self.corruption!r} at {self.severity}"
            )

    @classmethod
    def clean(cls) -> Condition:
        """The image as it is."""
        return cls(CLEAN, 0)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was done to the image."""
        return self.severity == 0

    @property
    def name(self) -> str:
        """`clean`, or for example `gaussian_blur-2`."""
        return CLEAN if self.is_clean else f"{self.corruption}-{self.severity}"

    @classmethod
    def parse(cls, name: str) -> Condition:
        """The inverse of `name`."""
        if name == CLEAN:
            return cls.clean()
        corruption, _, severity = name.rpartition("-")
        if not corruption or not severity.isdigit():
            raise ValueError(f"expected `clean` or `<corruption>-<severity>`, got {name!r}")
        return cls(corruption, int(severity))
