"""Threads, device and the settings that make both repeatable and fast."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from medaudit.core.errors import ModelError
from medaudit.core.params import Section

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# Parameter numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP = 2**31 - 1
_PAD = 64 * 2**20


class ComputeParams(Section):
    """Where and with how many threads to compute; the thread count changes the last bits.

    Args:
        threads: of torch; a fixed number, since 1, 2 and 4 threads give three different results.
        loader_threads: that read, augment and corrupt images ahead of the model.
        device: `auto` takes CUDA where there is any.
    """

    section: ClassVar[str] = "compute"

    threads: int = Field(default=2, ge=1, le=256)
    loader_threads: int = Field(default=1, ge=1, le=256)
    device: Literal["auto", "cpu", "cuda"] = "auto"


def setup(params: ComputeParams) -> torch.device:
    """Apply the parameters to this process and return the device to compute on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # repeatable sums on CUDA
    import cv2
    import torch

    device = _device(params.device)
    if device.type == "cpu":
        tune_allocator()
    cv2.setNumThreads(1)
    torch.set_num_threads(params.threads)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    log.info("computing on %s with %d threads", device, params.threads)
    return device


def tune_allocator() -> bool:
    """Keep freed memory instead of returning it to the system; says whether that was possible.

    Large activations are otherwise mapped and page-faulted anew for every layer, which costs
    half of the time of a forward pass. Results are bitwise the same. glibc only.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP), (_M_TOP_PAD, _PAD))
    accepted = [libc.mallopt(name, value) == 1 for name, value in settings]
    return all(accepted)


def _device(name: str) -> torch.device:
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ModelError("compute.device is `cuda`, but torch finds no CUDA device; use `auto`")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
