"""The lock files: reading them, and writing those of torch, whose builds share one version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = ROOT / "requirements.lock"
TORCH = ROOT / "requirements-torch.lock"
CUDA = ROOT / "requirements-cuda.lock"
CPU_BUILDS = Path(__file__).with_name("torch_cpu.sha256")
HEADER = "# Written by: make lock\n"


@dataclass(frozen=True)
class Package:
    """One package of a lock: normalised name, exact version, marker or "", SHA-256 of its files."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def text(self) -> str:
        """The block of this package, as pip and uv read it."""
        marker = f" ; {self.marker}" if self.marker else ""
        lines = [
            f"{self.name}=={self.version}{marker}",
            *(f"--hash=sha256:{h}" for h in self.hashes),
        ]
        return " \\\n    ".join(lines) + "\n"


def read(path: Path) -> list[Package]:
    """The packages of a lock, in its order."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> list[Package]:
    """The packages in the text of a lock.

    Raises:
        ValueError: When a line is neither a comment nor an exact version with a hash.
    """
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [_package(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _package(line: str) -> Package:
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?!\S)", line)
    head, _, marker = line.split("--hash")[0].partition(";")
    name, _, version = head.strip().partition("==")
    if not hashes or not re.fullmatch(r"[\w.]+(\+\w+)?", version):
        raise ValueError(f"a lock wants name==version --hash=sha256:..., got {line[:80]!r}")
    return Package(normal(name), version, marker.strip(), tuple(hashes))


def normal(name: str) -> str:
    """A package name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_torch() -> None:
    """Write the lock of torch, and that of the packages which only its CUDA build needs."""
    pin = pinned_torch()
    have = {package.name for package in read(MAIN)} | {"torch"}
    (torch,) = parse(_compiled(pin, "--no-deps"))
    hashes = tuple(sorted({*torch.hashes, *cpu_hashes(torch.version)}))
    builds = Package(torch.name, torch.version, torch.marker, hashes)
    more = [p for p in parse(_compiled(pin, before=CUDA)) if p.name not in have]
    TORCH.write_text(HEADER + builds.text(), encoding="utf-8")
    CUDA.write_text(HEADER + "".join(package.text() for package in more), encoding="utf-8")


def pinned_torch() -> str:
    """The pin of torch in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins: list[str] = settings["tool"]["uv"]["constraint-dependencies"]
    return next(pin for pin in pins if pin.startswith("torch=="))


def cpu_hashes(version: str) -> list[str]:
    """The SHA-256 of the CPU builds, which are published apart from the registry.

    Those of Linux for Python 3.11 to 3.14, as two unrelated public lock files give them; the first
    was computed here as well. A build of the registry is the CPU build on all other systems.
    """
    lines = CPU_BUILDS.read_text(encoding="utf-8").splitlines()
    found = [line.split()[0] for line in lines if f"  torch-{version}+cpu-" in line]
    if not found:
        sys.exit(
            f"{CPU_BUILDS.name} holds no CPU build of torch {version}: take its wheels from there"
        )
    return found


def _compiled(pin: str, *options: str, before: Path | None = None) -> str:
    """What uv locks for a pin, away from pyproject.toml, which describes torch's CPU build.

    Versions of the lock `before` are kept where they still fit.
    """
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    form = ["--generate-hashes", "--no-annotate", "--no-header", "--constraint", str(MAIN)]
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock"
        if before is not None and before.is_file():
            shutil.copy(before, lock)
        done = subprocess.run(
            [*command, *form, *options, "--output-file", str(lock), "-"],
            cwd=folder,
            input=pin,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr.strip())
        return lock.read_text(encoding="utf-8")
