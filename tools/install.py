"""Install the locked packages into the environment of this interpreter: `make setup` calls it.

python -m tools.install [torch==2.13.0]      with an argument torch is that one, without a hash

Every package is taken by hash: first the tools that install and build, then with them the rest,
without the isolated builds that would fetch tools of their own. torch stands in a lock of its own,
since its CPU and CUDA builds share a version and only pip knows where this machine takes which.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.supply_chain import locks

TOOLS = {"pip", "setuptools", "uv"}
PIP = [sys.executable, "-m", "pip", "install", "-qq", "--no-compile"]
UV = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python"]
LOCKED = ["--no-deps", "--no-build-isolation", "--require-hashes", "-r"]
CUDA = ("nvidia", "cuda", "triton")
ANOTHER_BUILD = "another build of torch, unchecked: make setup TORCH=torch==..."


class InstallError(Exception):
    """What could not be installed, and why."""


def main(arguments: list[str]) -> int:
    """Exit 0 when everything was installed, else 1 with the reason in the last line."""
    if sys.prefix == sys.base_prefix:
        print("setup: this is no virtual environment; use: make setup", file=sys.stderr)
        return 1
    try:
        everything(Path(sys.prefix), arguments)
    except InstallError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def everything(environment: Path, torch: list[str]) -> None:
    """Install tools, packages, torch and this project, and give DVC a folder of its own."""
    tools = environment / "tools.lock"
    chosen = [package.text() for package in locks.read(locks.MAIN) if package.name in TOOLS]
    tools.write_text("".join(chosen), encoding="utf-8")
    run([*PIP, *LOCKED, str(tools)], "pip, setuptools or uv is not the one of requirements.lock")
    install(locks.MAIN)
    if torch:
        run([*PIP, *torch], f"{torch[0]} could not be had")
    else:
        install_torch()
    project = ["--no-deps", "--no-build-isolation", "--editable", str(locks.ROOT)]
    run([*PIP, *project], "this project could not be built")
    own_dvc_folder(environment / "dvc")


def install(lock: Path) -> None:
    """Install what a lock names: by uv, which is fast, or by pip where uv cannot.

    uv may lack a build for this machine, or not know a registry that only pip is told of. A wrong
    hash is no such case.

    Raises:
        InstallError: When a package is not the one that was locked, or cannot be had.
    """
    reason = f"not every package could be had as {lock.name} names it; nothing of it is used"
    try:
        done = subprocess.run(
            [*UV, sys.executable, *LOCKED, str(lock)], capture_output=True, text=True, check=False
        )
    except OSError:
        run([*PIP, *LOCKED, str(lock)], reason)
        return
    if done.returncode and re.search(r"hash mismatch|--require-hashes", done.stderr.lower()):
        raise InstallError(f"{done.stderr.strip()}\nsetup: {reason}")
    if done.returncode:
        run([*PIP, *LOCKED, str(lock)], reason)


def install_torch() -> None:
    """Install the build of torch that pip takes here, if it is a locked one, and what it needs.

    Told of the hashes while it chooses, pip would pass by a CPU build that lies in a folder and
    take the CUDA build of the registry. So it chooses first.
    """
    (torch,) = locks.read(locks.TORCH)
    pin = f"{torch.name}=={torch.version}"
    with tempfile.TemporaryDirectory(dir=sys.prefix) as folder:
        choose = ["download", "-qq", "--no-deps", "--only-binary", ":all:", "--dest", folder, pin]
        run([*PIP[:3], *choose], f"{pin} could not be had; {ANOTHER_BUILD}")
        found = ", ".join(path.name for path in Path(folder).iterdir())
        source = ["--no-index", "--find-links", folder]
        run(
            [*PIP[:3], "--isolated", *PIP[3:], *source, *LOCKED, str(locks.TORCH)],
            f"{found} is none of the builds of {locks.TORCH.name}; {ANOTHER_BUILD}",
        )
    if wants_cuda():
        install(locks.CUDA)


def run(command: list[str], reason: str) -> None:
    """Run a command; its own words stay visible.

    Raises:
        InstallError: With the reason, when it fails.
    """
    if subprocess.run(command, check=False).returncode:
        raise InstallError(reason)


def wants_cuda() -> bool:
    """Whether the torch that was installed names CUDA packages, as the one for Linux does."""
    script = "from importlib.metadata import requires; print(*requires('torch') or (), sep='\\n')"
    asked = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True
    )
    return any(line.startswith(CUDA) and "extra" not in line for line in asked.stdout.splitlines())


def own_dvc_folder(folder: Path) -> None:
    """Let DVC keep what it remembers in a folder of this user.

    Those are pickles, and by default they lie where every user of the machine may put others. A
    folder inside the environment lasts as long as its DVC, which so never makes it anew, with the
    rights that DVC gives.
    """
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    dvc = [sys.executable, "-m", "dvc", "config", "--local", "--quiet"]
    run([*dvc, "core.site_cache_dir", str(folder)], "DVC cannot be given a folder of its own")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
