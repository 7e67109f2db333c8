"""The eight sections of the report: evidence to blocks."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from collections.abc import Callable

    from medaudit.reporting.blocks import Block
    from medaudit.reporting.context import Context

SECTIONS: tuple[Callable[[Context], Block], ...] = (
    data.section,
    taxonomy.section,
    performance.section,
    stress.section,
    trust.section,
    cases.section,
    deployment.section,
    reproducing.section,
)
