"""What is a leaking split worth? HAM10000 split by image against split by lesion.

python -m benchmarks.leakage                 one split, two trainings; 15 minutes on two idle cores
python -m benchmarks.leakage --table-only    the tables again, from the runs that are there

Needs data/ham10000. Images get their roles at random, where a split ignores lesions (`by_image`).
The same draw without leakage is `by_lesion`: train, validation and calibration lose the images of
lesions that also stand in a later role. So that both train on equally many images of every class,
`by_image` loses as many others of that class, drawn at random. Both score the same test images, so
a difference is paired, over resamples of lesions. Each has thresholds of its own calibration role.
Writes leakage.csv (metrics of both and their difference, over all test images, over those with
another image of their lesion in the train role of `by_image`, and over the others) and table.md.
"""

import argparse
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from medaudit.core.files import write_text
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import measures, operating_points, predictions
from medaudit.tables.manifest import ROLES, read_manifest, targets, write_manifest
from medaudit.tables.scoring import ScoredPredictions

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "profiles/ham10000-cpu.yaml"
ARMS = BY_IMAGE, BY_LESION = ("by_image", "by_lesion")
UNUSED = "unused"
SHOWN = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "critical_auroc": "melanoma AUROC",
    "critical_sensitivity": "melanoma sensitivity, frozen threshold",
    "critical_specificity": "melanoma specificity, frozen threshold",
    "log_loss": "log loss",
    "brier_loss": "Brier loss",
    "ece": "ECE (15 bins)",
    "mean_confidence": "mean confidence",
}
PARTS = ("all", "sister in training", "no sister in training")

log = logging.getLogger("leakage")


def roles(manifest: pd.DataFrame, fractions: dict[str, float], seed: int) -> dict[str, np.ndarray]:
    """The role of every row in both arms: same test rows, same number of train rows per class."""
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.repeat(ROLES, counts(len(manifest), fractions)))
    clean = drawn.copy()
    lesions = manifest["group_id"].to_numpy()
    for place, role in enumerate(ROLES[:-1]):
        later = np.isin(lesions, lesions[np.isin(drawn, ROLES[place + 1 :])])
        clean[(drawn == role) & later] = UNUSED
    leaky = drawn.copy()
    classes = targets(manifest)
    for label in np.unique(classes):
        in_train = (drawn == "train") & (classes == label)
        leaking = in_train & (clean == UNUSED)
        others = np.flatnonzero(in_train & ~leaking)
        # Both lose as many: one the images that leak, the other as many that do not.
        leaky[rng.permutation(others)[: leaking.sum()]] = UNUSED
    return {BY_IMAGE: leaky, BY_LESION: clean}


def counts(n: int, fractions: dict[str, float]) -> list[int]:
    """How many rows every role gets, in the order of `ROLES`."""
    ends = np.round(np.cumsum([fractions[role] for role in ROLES]) * n).astype(int)
    return np.diff(ends, prepend=0).tolist()


def prepare(work: Path, params: dict) -> Path:
    """The prepared data that all runs share; made once."""
    folder = work / "prepared"
    if not (folder / "metrics/prepare.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
        (folder / "data").symlink_to(ROOT / "data")
        run_stage("prepare", folder)
    return folder / "artifacts/prepared"


def score(folder: Path, prepared: Path, manifest: pd.DataFrame, params: dict) -> None:
    """Train on the roles of `manifest` in `folder` and predict its test rows; done work is kept."""
    own = folder / "artifacts/prepared"
    if not own.exists():
        own.mkdir(parents=True)
        for part in prepared.iterdir():
            (own / part.name).symlink_to(part.resolve())
        (own / "manifest.parquet").unlink()
    write_manifest(manifest, own)
    write_text(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    for stage in ("train", "evaluate"):
        run_stage(stage, folder)


def run_stage(stage: str, folder: Path) -> None:
    """One stage of this tree in `folder`, unless it left its numbers there."""
    if not (folder / f"metrics/{stage}.json").exists():
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        command = [sys.executable, "-m", f"stages.{stage}"]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)


def read(folder: Path) -> ScoredPredictions:
    """The test role at its frozen thresholds."""
    table = predictions.read(folder / "artifacts/predictions/clean/plain.parquet")
    points = operating_points.read(folder / "artifacts/operating_points.json")
    return ScoredPredictions(table.role("test"), points)


def compared(folders: dict[str, Path]) -> pd.DataFrame:
    """Metrics of both arms and their difference, over all test rows and over two parts."""
    scored = {arm: read(folder) for arm, folder in folders.items()}
    leaky, clean = scored[BY_IMAGE], scored[BY_LESION]
    predictions.align(leaky.table, clean.table)
    trained = read_manifest(folders[BY_IMAGE] / "artifacts/prepared")
    trained = trained.loc[trained["role"] == "train", "group_id"]
    sister = np.isin(leaky.group_ids, trained.to_numpy(dtype=str))
    bootstrap = Bootstrap.of_groups(leaky.group_ids, IntervalParams())
    rows = []
    for name, mask in zip(PARTS, (np.ones(len(sister), bool), sister, ~sister), strict=True):
        own = bootstrap.subset(mask)
        tables = [ScoredPredictions(s.table.where(mask), s.points) for s in (leaky, clean)]
        found = [own.distribution(measures.measures(table)) for table in tables]
        for metric in SHOWN:
            pair = [each[metric] for each in found]
            one, other = (own.interval(each) for each in pair)
            change = own.paired(*pair)
            rows.append(
                {
                    "part": name,
                    "metric": metric,
                    "n": int(mask.sum()),
                    BY_IMAGE: one.value,
                    BY_LESION: other.value,
                    "difference": change.value,
                    "low": change.low,
                    "high": change.high,
                    "method": change.method,
                }
            )
    return pd.DataFrame(rows)


def write_table(rows: pd.DataFrame, path: Path) -> None:
    """Markdown: every split and part, with differences."""
    lines = ["# What a leaking split is worth", "", "Written by `python -m benchmarks.leakage`."]
    for (seed, part), own in rows.groupby(["seed", "part"], sort=False):
        head = f"Split {seed}, {part}: {own['n'].iloc[0]:,} test images"
        lines += ["", f"## {head}", "", "| metric | by image | by lesion | difference |"]
        lines.append("| --- | --- | --- | --- |")
        lines += [
            f"| {SHOWN[row.metric]} | {row.by_image:.3f} | {row.by_lesion:.3f} | {change(row)} |"
            for row in own.itertuples()
        ]
    write_text(path, "\n".join(lines) + "\n")


def change(row) -> str:
    """A difference with its interval, or that it has none."""
    if np.isnan(row.low):
        return f"{row.difference:+.3f} (no interval)"
    return f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=(1,), help="of the split")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--table-only", action="store_true", help="no training")
    parser.add_argument("--work", type=Path, default=Path(".resume/leakage"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/leakage"))
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    params = yaml.safe_load(PROFILE.read_text(encoding="utf-8"))
    params["prepare"]["image_size"] = options.image_size
    params["train"]["epochs"] = options.epochs
    work = options.work.resolve()
    tables = []
    for seed in options.seeds:
        folders = {arm: work / f"seed-{seed}" / arm for arm in ARMS}
        if not options.table_only:
            prepared = prepare(work, params)
            manifest = read_manifest(prepared)
            drawn = roles(manifest, params["prepare"]["fractions"], seed)
            for arm, folder in folders.items():
                log.info("split %d, %s: %d train images", seed, arm, (drawn[arm] == "train").sum())
                score(folder, prepared, manifest.assign(role=drawn[arm]), params)
        tables.append(compared(folders).assign(seed=seed))
        # After every split, so that an interrupted benchmark leaves what it found.
        rows = pd.concat(tables)
        options.out.mkdir(parents=True, exist_ok=True)
        write_text(options.out / "leakage.csv", rows.round(6).to_csv(index=False))
        write_table(rows, options.out / "table.md")


if __name__ == "__main__":
    main()
