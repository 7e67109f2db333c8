"""Run stages one by one, each in a forked child, and kill every one at random moments of its work.

    python kill_driver.py KILLS SECONDS SEED

run in a repository. `SECONDS` is JSON: what each stage takes. Tells how many struck what, and how
long each stage took in the end.
"""

import importlib
import json
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


def main(kills: int, seconds: dict[str, float], seed: int) -> None:
    """Go through all stages, each of which is struck as often as any other before it may end.

    Args:
        kills: of all stages together.
        seconds: that each stage takes when nobody kills it; empty: measure that, and kill nothing.
        seed: of the moments.
    """
    rng, struck, took = random.Random(seed), Counter(), {}  # noqa: S311 - no secret
    for number, stage in enumerate(PIPELINE):
        wanted = len(range(number, kills, len(PIPELINE)))
        within = seconds.get(stage, 0.0)
        while struck[stage] < wanted:
            if strike(stage, rng.uniform(0, within)):
                struck[stage] += 1
            else:
                within *= 0.7  # what it found at hand made it faster than that
        began = time.monotonic()
        if code := ended(run(stage), float("inf")):
            sys.exit(f"{stage} ended with {code} after {struck[stage]} kills")
        took[stage] = time.monotonic() - began
    sys.stdout.write(f"{{'struck': {dict(struck)}, 'seconds': {took}}}\n")


def strike(stage: str, seconds: float) -> bool:
    """Kill a stage after so long; whether it was still at work."""
    pid = run(stage)
    code = ended(pid, time.monotonic() + seconds)
    if code is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    elif code:
        sys.exit(f"{stage} ended with {code} before it was killed")
    return code is None


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    from medaudit.core import runner

    modules = {stage: importlib.import_module(f"stages.{stage}") for stage in PIPELINE}
    for late in ("medaudit.model.inference", "medaudit.model.network", "timm", "pandas", "typst"):
        importlib.import_module(late)
    main(int(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
