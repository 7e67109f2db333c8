"""Audit medical image models: where they break, how badly, and whether they know."""

import os

from medaudit.core import tv_guard

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# Threads that spin while they wait make training ten times slower beside any other busy process.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch at its first allocation
tv_guard.install()

__version__ = "0.2.0"
