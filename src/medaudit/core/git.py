"""Ask git, and run nothing that the settings of a repository name."""

import os
import subprocess
from pathlib import Path

from medaudit.core.errors import MedauditError

PACKAGE = Path(__file__).resolve().parents[1]
MOST_SECONDS = 60
# What git would start while it answers: a watcher of files, hooks, a pager, the transport by which
# a partial clone fetches what it lacks. `status` alone may also run filters: see `home`.
QUIET = (
    *("--no-pager", "--no-optional-locks"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "protocol.allow=never"),
)
# The user's own settings, `safe.directory` among them, stay; what points at another repository, as
# git sets it for hooks, does not.
KEPT = "GIT_CONFIG_"


class GitError(MedauditError):
    """Git is absent, refuses, or gives no answer."""


def ask(folder: Path, *words: str) -> str:
    """What git prints.

    Args:
        folder: in a repository. Where it is not known to be our own, ask for what needs no filter
            and no program of its settings: `rev-parse`, `ls-files`, `ls-tree`, `cat-file`.
        words: command and arguments.

    Raises:
        GitError: with git's own words.
    """
    own = {k: v for k, v in os.environ.items() if k.startswith(KEPT) or not k.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - words of ours
            ["git", *QUIET, "-C", str(folder), *words],  # noqa: S607 - as the user would
            env={**own, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=MOST_SECONDS,
        )
    except FileNotFoundError:
        raise GitError("git was not found; install it") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {words[0]} gave no answer in {MOST_SECONDS} s") from None
    if done.returncode:
        raise GitError(done.stderr.strip() or f"git {words[0]} failed")
    return done.stdout


def home(package: Path = PACKAGE) -> Path | None:
    """The checkout that the running code lies in; `None` where it was installed or only unpacked.

    The settings of this repository are those of somebody whose code runs anyway.
    """
    top = package.parents[1]
    # What was installed into a repository, as into its .venv, is no part of it: do not even ask.
    if not (top / "pyproject.toml").is_file():
        return None
    try:
        ask(top, "ls-files", "--error-unmatch", "--", str(package / "__init__.py"))
    except GitError:
        return None
    return top
