"""The eight sections of the report: evidence to blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from medaudit.reporting.sections import (
    cases,
    data,
    deployment,
    performance,
    reproducing,
    stress,
    taxonomy,
    trust,
)
from medaudit.reporting.series import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.reporting.blocks import Block
    from medaudit.reporting.context import Context


@dataclass(frozen=True)
class Chapter:
    """How a section is written, and the stages whose numbers it prints.

    `write` gives `None` where there is no evidence for the section.
    """

    write: Callable[[Context], Block | None]
    rests_on: tuple[str, ...]


SECTIONS: tuple[Chapter, ...] = (
    Chapter(data.section, ("prepare", "train", "evaluate")),
    Chapter(taxonomy.section, ("cases",)),
    Chapter(performance.section, ("evaluate", "calibrate")),
    Chapter(stress.section, ("stress", "slice")),
    Chapter(trust.section, ("calibrate", "selective")),
    Chapter(cases.section, ("cases",)),
    Chapter(deployment.section, STAGES),
    Chapter(reproducing.section, ()),
)
