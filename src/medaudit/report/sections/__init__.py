"""The sections of the report: results to blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medaudit.core.layout import MEASURING_STAGES
from medaudit.report.sections import (
    calibration_and_selection,
    cases,
    deployment,
    found,
    performance,
    planted,
    stress,
    taxonomy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.report.blocks import Block, Context


@dataclass(frozen=True)
class Chapter:
    """How a section is written, and the stages whose numbers it prints.

    `write` gives `None` where no stage gave results for the section.
    """

    write: Callable[[Context], Block | None]
    rests_on: tuple[str, ...]


SECTIONS: tuple[Chapter, ...] = (
    Chapter(performance.data_section, ("prepare", "train", "evaluate")),
    Chapter(taxonomy.section, ("cases",)),
    Chapter(performance.section, ("evaluate", "calibrate")),
    Chapter(stress.section, ("stress", "slice")),
    Chapter(found.section, ("slice",)),
    Chapter(calibration_and_selection.section, ("calibrate", "selective")),
    Chapter(cases.section, ("cases",)),
    Chapter(planted.section, ("prepare", "slice")),
    Chapter(deployment.section, MEASURING_STAGES),
    Chapter(deployment.reproduction_section, ()),
)
