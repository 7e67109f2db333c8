"""How time and memory of the bootstrap grow with the number of rows.

python -m benchmarks.stats_growth                time to a million rows, chart, and the memory test
python -m benchmarks.stats_growth --quick        to 10,000 rows; nothing is written
python -m benchmarks.stats_growth --draw-only    the chart again, from the CSV that is there

Growth: time for one class, from 1,000 to 1,000,000 rows. Memory: AUROC, average precision,
sensitivity at a frozen threshold and ECE of 14 labels of 25,596 rows in 2,000 replicates, in a
process of its own; peak resident memory is that of the whole process. Writes growth.csv,
memory.csv, growth.svg and growth.png.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.stats import machine
from benchmarks.stats_samples import predictions, resamples
from medaudit.core.files import atomic, write_text
from medaudit.metrics import calibration, classification, operating, ranking, selective

REPLICATES = 200
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
LABELLED_ROWS, LABELS, LABELLED_REPLICATES = 25_596, 14, 2_000
GREY = "#6b7280"
COLOURS = ("#33638d", "#c1433c", "#228833", "#9a7d0a", "#AA3377", "#66CCEE", "#9A9A9A")
Work = Callable[[NDArray[np.uint16]], NDArray[np.float64]]
LABELLED: dict[str, Callable[..., NDArray[np.float64]]] = {
    "auroc": ranking.weighted_auroc,
    "average_precision": ranking.weighted_average_precision,
    "sensitivity": partial(operating.weighted_sensitivity, threshold=0.2),
    "ece": partial(calibration.weighted_ece, binning="equal_mass"),
}


def works(n: int) -> dict[str, Work]:
    """One class of every family: 11 % positives, and the decision over seven classes."""
    sample = predictions(n)
    scores, ill = sample.probabilities[:, 1], sample.targets == 1
    return {
        "AUROC": partial(ranking.weighted_auroc, scores, ill),
        "average precision": partial(ranking.weighted_average_precision, scores, ill),
        "confusion matrix": partial(
            classification.weighted_confusion, sample.predicted, sample.targets, n_classes=7
        ),
        "ECE": partial(calibration.weighted_ece, sample.confidence, sample.right),
        "AURC": partial(selective.weighted_aurc, sample.risk, sample.confidence),
        "sensitivity": partial(operating.weighted_sensitivity, scores, ill, threshold=0.2),
    }


def seconds(work: Work, weights: NDArray[np.uint16], repeats: int) -> float:
    """Of the processor, not of the clock; the least disturbed of several runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work(weights)
        times.append(time.process_time() - start)
    return min(times)


def growth(rows: tuple[int, ...]) -> pd.DataFrame:
    """Processor seconds of every metric at every number of rows."""
    found: list[dict[str, object]] = []
    for n in tqdm(rows, desc="rows", disable=None):
        start = time.process_time()
        weights = resamples(n, replicates=REPLICATES).weights
        times = {"resampling": time.process_time() - start}
        for name, work in works(n).items():
            times[name] = seconds(work, weights, repeats=9 if n <= 100_000 else 4)
        found += [
            {
                "metric": name,
                "rows": n,
                "replicates": REPLICATES,
                "seconds": round(taken, 6),
                "ns_per_row": round(1e9 * taken / (n * REPLICATES), 3),
            }
            for name, taken in times.items()
        ]
    return pd.DataFrame(found).sort_values(["metric", "rows"])


def all_labels() -> None:
    """The memory test itself; prints one line of JSON."""
    generator = np.random.default_rng(0)
    shares = np.geomspace(0.002, 0.2, LABELS)
    truth = generator.random((LABELLED_ROWS, LABELS)) < shares
    logits = generator.normal(size=truth.shape) + 1.5 * truth + np.log(shares)
    stated = np.round(1 / (1 + np.exp(-logits)), 4)
    before = peak_mb()
    start = time.perf_counter()
    weights = resamples(LABELLED_ROWS, replicates=LABELLED_REPLICATES).weights
    times = {"resampling": time.perf_counter() - start}
    for name, metric in LABELLED.items():
        start = time.perf_counter()
        for scores, ill in zip(stated.T, truth.T, strict=True):
            metric(scores, ill, weights)
        times[name] = time.perf_counter() - start
    facts = {"before_mb": before, "weights_mb": weights.nbytes / 1e6, "peak_mb": peak_mb()}
    print(json.dumps({f"{name}_s": taken for name, taken in times.items()} | facts))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def memory() -> pd.DataFrame:
    """Seconds and megabytes of `all_labels` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.stats_growth", "--all-labels"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout)
    return pd.DataFrame({"quantity": list(facts), "value": [round(x, 2) for x in facts.values()]})


def draw(found: pd.DataFrame, path: Path) -> None:
    """Seconds for 200 replicates over rows, both logarithmic, with a line of slope 1."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    ends: list[tuple[float, str, str]] = []
    for colour, (name, part) in zip(COLOURS, found.groupby("metric"), strict=False):
        axes.plot(part["rows"], part["seconds"], "o-", color=colour, lw=1.2, ms=3)
        ends.append((float(part["seconds"].iloc[-1]), str(name), colour))
    last, lowest = found["rows"].max(), found["rows"].min()
    guide = np.array([lowest, last])
    below = 0.4 * min(ends)[0] / last
    axes.plot(guide, below * guide, "--", color=GREY, lw=1)
    axes.text(last * 1.25, below * last, "in proportion", color=GREY, va="center", fontsize=8)
    label(axes, sorted(ends), last)
    axes.set(xscale="log", yscale="log", xlabel="rows")
    axes.set_ylabel(f"processor seconds for {REPLICATES} replicates")
    axes.set_xlim(lowest * 0.8, last * 14)
    axes.set_xticks([tick for tick in ROWS if np.log10(tick) % 1 == 0])
    axes.minorticks_off()
    axes.spines["bottom"].set_bounds(lowest * 0.8, last)
    axes.set_ylim(top=found["seconds"].max() * 8)
    axes.set_title("Time of the bootstrap of one class against rows", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    for suffix in ("svg", "png"):
        with atomic(path.with_suffix(f".{suffix}")) as part:
            figure.savefig(part, format=suffix, dpi=150, metadata=dates(suffix))


def dates(suffix: str) -> dict[str, None]:
    """No date in the file, so that equal numbers give equal bytes."""
    return {"Date": None} if suffix == "svg" else {}


def label(axes: Axes, ends: list[tuple[float, str, str]], last: float) -> None:
    """Names at the ends of the lines, pushed apart where they would touch."""
    height = 0.0
    for value, name, colour in ends:
        height = max(value, height * 1.8)
        axes.text(last * 1.25, height, name, color=colour, va="center", fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="to 10,000 rows; nothing is written")
    parser.add_argument("--draw-only", action="store_true", help="the chart from growth.csv")
    parser.add_argument(
        "--all-labels", action="store_true", help="the memory test, in this process"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    options = parser.parse_args()
    if options.all_labels:
        return all_labels()
    if options.draw_only:
        return draw(pd.read_csv(options.out / "growth.csv"), options.out / "growth")
    # First, while this process is small: a child starts with the peak of its parent.
    taken = None if options.quick else memory()
    found = growth(ROWS[:3] if options.quick else ROWS)
    print(found.to_string(index=False), machine(), sep="\n")
    if taken is None:
        return None
    print(taken.to_string(index=False))
    write_text(options.out / "growth.csv", found.to_csv(index=False))
    write_text(options.out / "memory.csv", taken.to_csv(index=False))
    return draw(found, options.out / "growth")


if __name__ == "__main__":
    main()
