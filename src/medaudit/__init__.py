"""Audit medical image models: where they break, how badly, and whether they know.

    import medaudit as ma
    audit = ma.audit(targets, probabilities, groups=patients, metadata=table)
    audit.summary()
    ma.metrics.auroc(targets, scores, groups=patients)

Everything is imported when it is first used: `import medaudit` by itself costs next to nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING

from medaudit.core import tv_guard

if TYPE_CHECKING:
    from medaudit import metrics
    from medaudit.api import Audit, audit
    from medaudit.core.errors import MedauditError
    from medaudit.stats.intervals import Estimate

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Threads that spin while they wait make training ten times slower beside any other busy process.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch at its first allocation
tv_guard.install()

__version__ = "0.2.0"

__all__ = ["Audit", "Estimate", "MedauditError", "__version__", "audit", "metrics"]

# Public names, and the modules that hold them.
_HOMES = {
    "Audit": "medaudit.api",
    "Estimate": "medaudit.stats.intervals",
    "MedauditError": "medaudit.core.errors",
    "audit": "medaudit.api",
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is first asked for (PEP 562)."""
    if name == "metrics":
        return importlib.import_module("medaudit.metrics")
    if name not in _HOMES:
        raise AttributeError(f"module 'medaudit' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
