"""How much faster the bootstrap is than a metric computed anew for every resample.

python -m benchmarks.stats             2,000 replicates of 2,000 rows and 7 classes: two minutes
python -m benchmarks.stats --quick     fewer replicates; nothing is written

Both sides see the same resamples: rows repeated by the counts for the loop, the counts themselves
for medaudit. The loop runs on a few replicates and its time is scaled to all of them. Each round
times loop and kernel one after the other, on other replicates each time; the table has the median
ratio of the rounds. Values of all replicates that the loop saw must agree within 1e-12, undefined
ones in the same places; otherwise the run fails. Writes ratios.csv.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks import stats_loops as loops
from benchmarks.stats_samples import Predictions, predictions, resamples
from medaudit.core.files import write_text
from medaudit.metrics import calibration, classification, ranking, selective

Kernel = Callable[[Predictions, NDArray[np.uint16]], NDArray[np.float64]]
Loop = Callable[[Predictions, NDArray[np.intp]], float | NDArray[np.float64]]

TOLERANCE = 1e-12


def _each_class(metric: Callable[..., NDArray[np.float64]]) -> Kernel:
    def kernel(sample: Predictions, weights: NDArray[np.uint16]) -> NDArray[np.float64]:
        columns = enumerate(sample.probabilities.T)
        values = [metric(scores, sample.targets == k, weights) for k, scores in columns]
        return np.stack(values, axis=1)

    return kernel


def _from_confusion(metric: Callable[..., NDArray[np.float64]]) -> Kernel:
    def kernel(sample: Predictions, weights: NDArray[np.uint16]) -> NDArray[np.float64]:
        counts = classification.weighted_confusion(
            sample.predicted, sample.targets, weights, n_classes=sample.n_classes
        )
        return metric(counts)

    return kernel


def _ece(sample: Predictions, weights: NDArray[np.uint16]) -> NDArray[np.float64]:
    return calibration.weighted_ece(sample.confidence, sample.right, weights, n_bins=loops.N_BINS)


def _aurc(sample: Predictions, weights: NDArray[np.uint16]) -> NDArray[np.float64]:
    return selective.weighted_aurc(sample.risk, sample.confidence, weights)


KERNELS: dict[str, Kernel] = {
    "auroc": _each_class(ranking.weighted_auroc),
    "average_precision": _each_class(ranking.weighted_average_precision),
    "macro_f1": _from_confusion(classification.macro_f1),
    "balanced_accuracy": _from_confusion(classification.balanced_accuracy),
    "ece": _ece,
    "aurc": _aurc,
}


@dataclass(frozen=True)
class Contest:
    """A kernel, the loop that it replaces, and the ratio asked for (0: shown for comparison)."""

    metric: str
    baseline: str
    loop: Loop
    target: float


CONTESTS = (
    Contest("auroc", "scikit-learn", loops.auroc, 150),
    Contest("average_precision", "scikit-learn", loops.average_precision, 50),
    Contest("macro_f1", "scikit-learn", loops.macro_f1, 50),
    Contest("balanced_accuracy", "scikit-learn", loops.balanced_accuracy, 50),
    Contest("ece", "numpy, a mask a bin", loops.ece_by_masks, 50),
    Contest("ece", "numpy, no inner loop", loops.ece_without_inner_loop, 0),
    Contest("aurc", "Python, case by case", loops.aurc_by_cases, 50),
    Contest("aurc", "numpy, no inner loop", loops.aurc_without_inner_loop, 0),
)


def timed(compute: Callable[[], NDArray[np.float64]]) -> tuple[float, NDArray[np.float64]]:
    start = time.perf_counter()
    values = compute()
    return time.perf_counter() - start, values


def by_loop(loop: Loop, sample: Predictions, weights: NDArray[np.uint16]) -> NDArray[np.float64]:
    everyone = np.arange(weights.shape[1])
    return np.array([loop(sample, np.repeat(everyone, counts)) for counts in weights])


def compete(
    contest: Contest, sample: Predictions, weights: NDArray[np.uint16], chosen: NDArray[np.intp]
) -> dict[str, float]:
    """One round: seconds of both sides for all replicates, and how far apart the values are."""
    slow, expected = timed(lambda: by_loop(contest.loop, sample, weights[chosen]))
    fast, values = timed(lambda: KERNELS[contest.metric](sample, weights))
    np.testing.assert_allclose(values[chosen], expected, rtol=0, atol=TOLERANCE)
    return {
        "loop_s": slow * len(weights) / len(chosen),
        "medaudit_s": fast,
        "difference": float(np.nanmax(np.abs(values[chosen] - expected))),
        "undefined": float(np.isnan(expected).sum()),
    }


def table(
    sample: Predictions, weights: NDArray[np.uint16], *, rounds: int, looped: int
) -> pd.DataFrame:
    """A row for each contest, medians over the rounds."""
    for kernel in KERNELS.values():
        kernel(sample, weights)
    found: dict[int, list[dict[str, float]]] = {i: [] for i in range(len(CONTESTS))}
    for number in tqdm(range(rounds), desc="rounds", disable=None):
        chosen = number * looped + np.arange(looped)
        for i, contest in enumerate(CONTESTS):
            found[i].append(compete(contest, sample, weights, chosen))
    return pd.DataFrame(
        summary(contest, pd.DataFrame(found[i]), len(weights), rounds * looped)
        for i, contest in enumerate(CONTESTS)
    )


def summary(
    contest: Contest, found: pd.DataFrame, replicates: int, looped: int
) -> dict[str, object]:
    ratios = found["loop_s"] / found["medaudit_s"]
    return {
        "metric": contest.metric,
        "baseline": contest.baseline,
        "replicates": replicates,
        "looped": looped,
        "loop_s": round(found["loop_s"].median(), 3),
        "medaudit_s": round(found["medaudit_s"].median(), 4),
        "ratio": round(ratios.median()),
        "ratio_low": round(ratios.min()),
        "ratio_high": round(ratios.max()),
        "target": contest.target or None,
        "difference": f"{found['difference'].max():.0e}",
        "undefined": int(found["undefined"].sum()),
    }


def machine() -> str:
    """Processor, cores, threads of the linear algebra, and what else runs."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in lines.splitlines() if "model name" in line]
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, "
        f"OMP_NUM_THREADS={threads}, load {load}, numpy {np.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds of 5 looped replicates")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--looped", type=int, default=50, help="replicates a loop runs a round")
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    options = parser.parse_args()
    rounds, looped = (2, 5) if options.quick else (options.rounds, options.looped)
    sample = predictions(options.rows)
    weights = resamples(options.rows, replicates=options.replicates).weights
    print(machine())
    found = table(sample, weights, rounds=rounds, looped=looped)
    print(found.to_string(index=False), machine(), sep="\n")
    if not options.quick:
        write_text(options.out / "ratios.csv", found.to_csv(index=False))


if __name__ == "__main__":
    main()
