"""How far do the numbers move when the embedded model is trained again? Seeds and processors.

python -m benchmarks.retraining                the missing runs; 16 minutes on two idle cores
python -m benchmarks.retraining --draw-only    tables and chart again, from the CSV that is there

Every run trains from `params.yaml` with another `train.seed` or another arithmetic and scores the
same test role, in a folder of its own under --work. A finished run is kept, so an interrupted
benchmark goes on where it ended. Arithmetic stands for the kind of processor: `native` is what this
one offers, `avx2` and `sse41` are what torch and oneDNN compute on older ones.
Writes runs.csv, machine.json, table.md, retraining.svg and .png, and the spread between seeds that
`medaudit verify` and the report read to profiles/spread/phantom.csv, with its parameters beside it.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from benchmarks import retraining_chart
from medaudit.core.files import write_json, write_text
from medaudit.core.runner import machine, versions

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (1234, 1, 2, 3, 4)
ARITHMETIC: Mapping[str, Mapping[str, str]] = {
    "native": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "sse41": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
# Decay of the moving average of the weights; 0 is the training as it is.
DECAYS: Mapping[str, float] = {"as_it_is": 0.0, "ema_0.98": 0.98}
AS_IT_IS = "as_it_is"
TABLES = ("slice", "calibrate", "selective")
IMAGES = ("stress", "cases")

log = logging.getLogger("retraining")


@dataclass(frozen=True)
class Run:
    """One training: the arithmetic and `train.seed`."""

    arithmetic: str
    seed: int

    @property
    def folder(self) -> str:
        """A name for the run's folder, which holds one folder per decay."""
        return f"{self.arithmetic}-{self.seed}"


def plan() -> Iterator[tuple[Run, tuple[str, ...]]]:
    """All seeds as this processor computes, then the committed seed in another arithmetic.

    The stages that infer 30 conditions and draw saliency come last: they take the longest.
    """
    native = [Run("native", seed) for seed in SEEDS]
    others = [Run(name, SEEDS[0]) for name in ARITHMETIC if name != "native"]
    yield from ((run, TABLES) for run in (*native, *others))
    yield from ((run, IMAGES) for run in native)


def prepare(work: Path) -> Path:
    """The prepared data that all runs share; made once."""
    folder = work / "prepared"
    if not (folder / "metrics").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy2(ROOT / "params.yaml", folder)
        (folder / "data").symlink_to(ROOT / "data")
        run_stage("prepare", folder, environment={})
    return folder / "artifacts/prepared"


def carry_out(run: Run, stages: tuple[str, ...], prepared: Path, work: Path) -> None:
    """Train, score every variant, and run `stages` for the training as it is.

    What left its numbers is not run again.
    """
    folder, environment = work / run.folder, ARITHMETIC[run.arithmetic]
    begin(run.seed, prepared, folder)
    for name in DECAYS:
        begin(run.seed, prepared, folder / name)
    if not all((folder / name / "artifacts/model").exists() for name in DECAYS):
        pairs = [f"{name}={decay}" for name, decay in DECAYS.items()]
        call("benchmarks.retraining_models", *pairs, folder=folder, environment=environment)
    for name in DECAYS:
        for stage in ("evaluate", *(stages if name == AS_IT_IS else ())):
            run_stage(stage, folder / name, environment=environment)


def begin(seed: int, prepared: Path, folder: Path) -> None:
    """A folder with parameters and prepared data; what an interrupted run left there stays."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    link = folder / "artifacts/prepared"
    if not link.exists():
        link.symlink_to(prepared.resolve())
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["train"]["seed"] = seed
    write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))


def run_stage(stage: str, folder: Path, *, environment: Mapping[str, str]) -> None:
    """One stage of this tree in `folder`, unless it left its numbers there."""
    if not (folder / f"metrics/{stage}.json").exists():
        call(f"stages.{stage}", folder=folder, environment=environment)


def call(module: str, *words: str, folder: Path, environment: Mapping[str, str]) -> None:
    """A module of this tree as a process, with `folder` as the place of inputs and outputs."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, "-m", module, *words]
    known = {**os.environ, "PYTHONPATH": path, **environment}
    subprocess.run(command, cwd=folder, env=known, check=True)


def table(work: Path) -> pd.DataFrame:
    """Every number of the finished stages, a row per run, decay and metric."""
    rows = [
        (variant, run.arithmetic, run.seed, *number)
        for run in dict.fromkeys(run for run, _ in plan())
        for variant in DECAYS
        for number in numbers(work / run.folder / variant / "metrics")
    ]
    names = ["variant", "arithmetic", "seed", "stage", "metric", "value"]
    return pd.DataFrame(rows, columns=names)


def numbers(folder: Path) -> Iterator[tuple[str, str, float | None]]:
    """Stage, name and value of the headline numbers in a folder of metrics."""
    for path in sorted(folder.glob("*.json")):
        for name, value in json.loads(path.read_text(encoding="utf-8")).items():
            if not isinstance(value, str):
                yield path.stem, name, value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draw-only", action="store_true", help="no training")
    parser.add_argument("--work", type=Path, default=Path(".resume/retraining"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/retraining"))
    parser.add_argument("--profile", type=Path, default=Path("profiles/spread/phantom"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    path = options.out / "runs.csv"
    if not options.draw_only:
        prepared = prepare(options.work)
        for run, stages in plan():
            log.info("%s, seed %d: %s", run.arithmetic, run.seed, ", ".join(stages))
            carry_out(run, stages, prepared, options.work)
            # After every run, so that an interrupted benchmark leaves what it found.
            write_text(path, table(options.work).to_csv(index=False))
        write_json(options.out / "machine.json", {**machine(), **versions()})
    retraining_chart.write(
        pd.read_csv(path), options.out, profile=options.profile, params=ROOT / "params.yaml"
    )


if __name__ == "__main__":
    main()
