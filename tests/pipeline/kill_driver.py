"""Run stages one by one, each in a forked child, and kill whatever runs at random moments.

    python kill_driver.py KILLS SECONDS SEED

run in a repository: `KILLS` kills in about `SECONDS`, then to the end. Tells how many struck what.
"""

import importlib
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import yaml

PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]


def outputs(stage: str) -> list[Path]:
    """All that a stage is said to leave."""
    entry = PIPELINE[stage]
    named = [next(iter(each)) for kind in ("metrics", "plots") for each in entry.get(kind, [])]
    return [Path(name) for name in [*entry.get("outs", []), *named]]


def run(stage: str) -> int:
    """What DVC does: remove the outputs, run the stage. In a child, since imports take longer."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for path in outputs(stage):
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
        runner.configure_logging()
        runner.timed(modules[stage].main, stage)
        os._exit(0)
    finally:
        os._exit(1)


def ended(pid: int, until: float) -> int | None:
    """The exit code of a child that ends before a moment of the clock."""
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def main(kills: int, seconds: float, seed: int) -> None:
    """Go through all stages; a killed one begins again."""
    rng, struck = random.Random(seed), Counter()  # noqa: S311 - no secret
    waits = [rng.uniform(0, 2 * seconds / max(kills, 1)) for _ in range(kills)]
    moment = time.monotonic() + waits.pop() if waits else float("inf")
    rest = list(PIPELINE)
    while rest:
        pid = run(rest[0])
        code = ended(pid, moment)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            struck[rest[0]] += 1
            moment = time.monotonic() + waits.pop() if waits else float("inf")
        elif code:
            sys.exit(f"{rest[0]} ended with {code} after {sum(struck.values())} kills")
        else:
            rest.pop(0)
            if not rest and waits:  # faster than thought: once more from the beginning
                rest = list(PIPELINE)
    sys.stdout.write(f"{dict(struck)}\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    from medaudit.core import runner

    modules = {stage: importlib.import_module(f"stages.{stage}") for stage in PIPELINE}
    for late in ("medaudit.model.inference", "medaudit.model.network", "timm", "pandas", "typst"):
        importlib.import_module(late)
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
