"""Are planted failures found, world after world? Phantoms of other seeds through the pipeline.

python -m benchmarks.power_phantoms                 10 phantoms; 3 minutes each on two idle cores
python -m benchmarks.power_phantoms --table-only    the tables again, from the runs that are there

Every run draws the embedded data with another seed, then runs prepare, train, evaluate and slice of
this tree in a folder of its own under --work. A finished stage is kept, so an interrupted benchmark
goes on where it ended; --work/log.txt holds what the stages print. The parameters are those of
profiles/phantom.yaml, whatever params.yaml says.
Writes phantoms.csv (a row per seed and audit of a plant, and per call that nobody planted), and
phantoms_summary.csv (a row per plant and audit: in how many worlds it was found).
"""

import argparse
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import yaml

from medaudit.audits import planted
from medaudit.core.files import write_text

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "profiles/phantom.yaml"
STAGES = ("prepare", "train", "evaluate", "slice")
SEEDS = tuple(range(2, 12))  # The design of the data was chosen while looking at seed 1.
OUTCOMES = ("found", "missed", "not measured")
LOG = "log.txt"

log = logging.getLogger("power_phantoms")


def world(seed: int, work: Path, *, images: int) -> Path:
    """A folder with the phantom of `seed` and the findings of the stages; done work is kept."""
    folder = work / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROFILE, folder / "params.yaml")
    if not (folder / "data/phantom").exists():  # appears only when it is whole
        words = ("data/phantom", "--n", str(images), "--seed", str(seed), "--workers", "2")
        call("tools.phantom", *words, folder=folder, log_file=work / LOG)
    for stage in STAGES:
        if not (folder / f"metrics/{stage}.json").exists():
            log.info("seed %d: %s", seed, stage)
            call(f"stages.{stage}", folder=folder, log_file=work / LOG)
    return folder


def call(module: str, *words: str, folder: Path, log_file: Path) -> None:
    """A module of this tree as a process in `folder`; what it prints goes to the log."""
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    with log_file.open("a", encoding="utf-8") as out:
        command = [sys.executable, "-m", module, *words]
        subprocess.run(command, cwd=folder, env=known, check=True, stdout=out, stderr=out)


def compared(folder: Path) -> pd.DataFrame:
    """Planted beside found in one world."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    found = planted.read_world(folder, dict(series(folder / "plots")), params)
    if found is None:
        raise FileNotFoundError(f"{folder}: the data hold no planted.json")
    return planted.compare(found)


def series(plots: Path) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Every stage with its tables."""
    for stage in sorted(path for path in plots.iterdir() if path.is_dir()):
        yield stage.name, {path.stem: pd.read_csv(path) for path in sorted(stage.glob("*.csv"))}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """In how many worlds every audit found its plant, and how many calls nobody planted."""
    calls = rows["outcome"] == "unplanted"
    plants = rows[~calls].assign(row=rows["row"].str.replace(r"<=.*", "<=*", regex=True))
    keys = ["plant", "audit", "row"]
    one_hot = pd.get_dummies(plants["outcome"]).reindex(columns=list(OUTCOMES), fill_value=False)
    places = [plants[key].fillna("") for key in keys]
    found = one_hot.astype(int).groupby(places, sort=False).sum()
    beyond = {
        ("(nothing planted there)", "slice/slices", ""): calls.sum(),
        ("(nothing planted explains it)", "slice/slices", ""): (
            calls & rows["plant"].fillna("").eq("")
        ).sum(),
    }
    extra = pd.DataFrame({"called": beyond}).rename_axis(keys)
    worlds = rows["seed"].nunique()
    return pd.concat([found, extra]).reset_index().assign(worlds=worlds)


def write(tables: dict[int, pd.DataFrame], out: Path) -> None:
    """Both tables of the worlds that are finished."""
    rows = pd.concat([table.assign(seed=seed) for seed, table in tables.items()], ignore_index=True)
    rows = rows[["seed", *planted.COLUMNS]].round(6)
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "phantoms.csv", rows.to_csv(index=False))
    write_text(out / "phantoms_summary.csv", summary(rows).to_csv(index=False))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--table-only", action="store_true", help="no run")
    parser.add_argument("--work", type=Path, default=Path(".resume/power_phantoms"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/power"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    tables = {}
    for seed in options.seeds:
        folder = options.work.resolve() / f"seed-{seed}"
        if not options.table_only:
            world(seed, options.work.resolve(), images=options.images)
        if (folder / f"metrics/{STAGES[-1]}.json").exists():
            tables[seed] = compared(folder)
            # After every world, so that an interrupted benchmark leaves what it found.
            write(tables, options.out)


if __name__ == "__main__":
    main()
