"""How long all intervals of an audit take: evaluate, stress, slice, calibrate, selective.

python -m benchmarks.stats_audits             2,000 test rows, 7 classes, 18 conditions, 20 slices
python -m benchmarks.stats_audits --quick     200 replicates; nothing is written

Synthetic prediction tables go through the very functions that the stages call, with 2,000
replicates; inference, reading and writing are left out. Writes audits.csv.
"""

import argparse
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.stats import machine
from benchmarks.stats_samples import ROWS_PER_GROUP, SHARES, SIGNAL
from medaudit.audits import calibrate, evaluate, selective, slices, stress
from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.selective import SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.audits.stress import StressParams
from medaudit.core.files import write_text
from medaudit.core.findings import Findings
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables.predictions import Condition, PredictionTable, Schema
from medaudit.tables.scoring import Conditions, ScoredPredictions

ROLES = {"calibration": 1000, "test": 2000}
CLASSES = ("nv", "mel", "bkl", "bcc", "akiec", "vasc", "df")
CORRUPTIONS, SEVERITIES = 6, 3
SITES = ("back", "face", "foot", "hand", "scalp", "trunk")
QUANTILES = {"age": 4, "brightness": 4, "contrast": 4}
N_SLICES = len(SITES) + 2 + sum(QUANTILES.values())

# Some of every class, also of the rarest: an audit without would only report NaN.
COMMON_SHARES = (SHARES + 0.01) / (SHARES + 0.01).sum()


def rows(roles: dict[str, int], generator: np.random.Generator) -> pd.DataFrame:
    """Ids, groups and slice columns."""
    n = sum(roles.values())
    numbers = {name: generator.random(n).round(3) for name in QUANTILES}
    return pd.DataFrame(
        {
            "sample_id": [f"s{i:05}" for i in range(n)],
            "group_id": [f"g{int(i / ROWS_PER_GROUP):05}" for i in range(n)],
            "role": np.repeat(list(roles), list(roles.values())),
            "sex": generator.choice(["female", "male"], n),
            "site": generator.choice(SITES, n),
            **numbers,
        }
    )


def truth_and_logits(
    n: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    targets = generator.choice(len(CLASSES), size=n, p=COMMON_SHARES).astype(np.int64)
    logits = generator.normal(size=(1, n, len(CLASSES)))
    logits[0, np.arange(n), targets] += SIGNAL
    return targets, logits.astype(np.float32)


def noisy(
    logits: NDArray[np.float32], scale: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    noise = generator.normal(scale=scale, size=logits.shape)
    return (logits + noise).astype(np.float32)


def tables() -> tuple[PredictionTable, list[PredictionTable], pd.DataFrame]:
    """Clean predictions, 18 conditions with more and more noise, and rows of the train role."""
    generator = np.random.default_rng(0)
    schema = Schema("multiclass", CLASSES, "mel")
    cases = rows(ROLES, generator)
    targets, logits = truth_and_logits(len(cases), generator)
    clean = PredictionTable(
        schema=schema, rows=cases, targets=targets, logits=logits, condition=Condition.clean()
    )
    test = clean.role("test")
    stressed = [
        PredictionTable(
            schema=schema,
            rows=test.rows,
            targets=test.targets,
            logits=noisy(test.logits, 0.5 * severity, generator),
            condition=Condition(f"corruption_{corruption}", severity),
        )
        for corruption in range(CORRUPTIONS)
        for severity in range(1, SEVERITIES + 1)
    ]
    return clean, stressed, rows({"train": 2000}, generator)


def stages(replicates: int) -> dict[str, Callable[[], Findings]]:
    """What each stage does after inference."""
    clean, stressed, train = tables()
    calibration_role = clean.role("calibration")
    points = evaluate.freeze(calibration_role, EvaluateParams())
    test, role = (ScoredPredictions(t, points) for t in (clean.role("test"), calibration_role))
    bootstrap = Bootstrap.of_groups(test.group_ids, IntervalParams(replicates=replicates))
    conditions = Conditions.aligned(test, stressed)
    cuts = SliceParams(columns=("sex", "site"), quantiles=QUANTILES, primary="critical_sensitivity")
    names = tuple(dict.fromkeys(table.condition.corruption for table in stressed))

    def of(audit: ModuleType, data: object, freezing: object, params: object) -> Findings:
        return audit.audit(data, audit.freeze(freezing, params), params, bootstrap)

    return {
        "evaluate": partial(of, evaluate, test, calibration_role, EvaluateParams()),
        "stress": partial(of, stress, conditions, points, StressParams(corruptions=names)),
        "slice": partial(of, slices, test, train, cuts),
        "calibrate": partial(of, calibrate, test, calibration_role, CalibrateParams()),
        "selective": partial(of, selective, test, role, SelectiveParams()),
    }


def table(replicates: int) -> pd.DataFrame:
    """Seconds of every stage, and how many intervals it gave."""
    found = []
    for name, audit in stages(replicates).items():
        start, start_processor = time.perf_counter(), time.process_time()
        findings = audit()
        found.append(
            {
                "stage": name,
                "seconds": round(time.perf_counter() - start, 2),
                "processor_seconds": round(time.process_time() - start_processor, 2),
                "intervals": intervals(findings),
            }
        )
    frame = pd.DataFrame(found)
    whole = frame.drop(columns="stage").sum().round(2)
    return pd.concat([frame, pd.DataFrame([{"stage": "all", **whole}])]).astype({"intervals": int})


def intervals(findings: Findings) -> int:
    """Finite lower ends in all series."""
    return sum(
        int(np.isfinite(pd.to_numeric(frame[column])).sum())
        for frame in findings.series.values()
        for column in frame
        if str(column) in ("lo", "low") or str(column).endswith("_low")
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="200 replicates; nothing is written")
    parser.add_argument("--out", type=Path, default=Path("docs/results/speed"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    found = table(200 if options.quick else 2000)
    print(found.to_string(index=False), f"{N_SLICES} slices", machine(), sep="\n")
    if not options.quick:
        write_text(options.out / "audits.csv", found.to_csv(index=False))


if __name__ == "__main__":
    main()
