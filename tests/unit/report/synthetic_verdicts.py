"""Verdicts, margins and what could have been seen, for made-up tables of the audits.

Tables that hold them already stay as they are. `force` overwrites them with verdicts of one kind,
so that reports can be read in which everything is worse, undecided, or better.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from medaudit.core.findings import Findings
from medaudit.tables import tasks

QUANTILE, POWER, MARGIN = 3.0, 0.84, {"stress": 0.05, "slice": 0.1}
CRITICAL = ("critical_sensitivity", "critical_specificity")
LABELS = ("sensitivity", "specificity")
WHOLE = ("standardised_accuracy", "macro_auroc")
PLANNED = ("dataset",)
"""Columns of slices that were named beforehand."""
WHAT = {"stress": ("conditions", "delta"), "slice": ("slices", "gap")}
SHAPES = {
    "worse": (-0.30, 0.05),
    "better": (0.20, 0.05),
    "within_margin": (0.0, 0.01),
    "undecided": (-0.05, 0.20),
}
"""Difference and half of its interval that give each verdict."""


def judged(found: Findings, stage: str, *, critical: bool) -> Findings:
    """Findings of the stress or slice stage with the columns of the joint tests."""
    name, what = WHAT[stage]
    table = found.series[name]
    if "verdict" in table:
        return found
    table = table.drop(columns=["p_holm", "n_family"], errors="ignore")
    table = table.assign(output=table.get("output"))
    tested = table["metric"].isin((*CRITICAL, *WHOLE) if critical else (*LABELS, *WHOLE))
    if stage == "slice":
        tested &= table["metric"] != "macro_auroc"
    else:
        tested &= table["severity"] > 0
    if "direction" not in table:
        table = table.assign(direction=1)
    return Findings(found.scalars, found.series | {name: joint(table, what, stage, tested)})


def joint(table: pd.DataFrame, what: str, stage: str, tested: pd.Series) -> pd.DataFrame:
    """Simultaneous intervals of three standard errors, and what follows from them."""
    value, low, high = (table[f"{what}{end}"].astype(float) for end in ("", "_low", "_high"))
    error = (high - low) / 2 / 1.96
    known = tested & value.notna() & (error > 0)
    harm = -table["direction"] * value
    margin = MARGIN[stage]
    low, high = (
        low.mask(known, value - QUANTILE * error),
        high.mask(known, value + QUANTILE * error),
    )
    verdict = np.select(
        [harm > QUANTILE * error, harm < -QUANTILE * error, harm + QUANTILE * error < margin],
        ["worse", "better", "within_margin"],
        "undecided",
    )
    planned = table["column"].isin(PLANNED) if "column" in table else pd.Series(True, table.index)
    family = np.where(planned, "confirmatory", "exploratory")
    shrink = {"shrunk": 0.8 * value, "shrunk_low": 0.8 * low, "shrunk_high": 0.8 * high}
    words = {"words": table["slice"].str.replace("=", " is ")} if stage == "slice" else {}
    return table.assign(
        **{f"{what}_low": low, f"{what}_high": high},
        interval=np.where(known, "simultaneous", "marginal"),
        p_value=np.where(known, 0.02, np.nan),
        p_adjusted=np.where(known, np.where(verdict == "worse", 0.0004998, 0.4), np.nan),
        adjustment=np.where(known, "max-T", None),
        family=np.where(known, family, None),
        n_family=int(known.sum()),
        margin=np.where(known, margin, np.nan),
        verdict=np.where(known, verdict, None),
        minimal_detectable=np.where(known, (QUANTILE + POWER) * error, np.nan),
        **(shrink if stage == "slice" else {}),
        **words,
    )


def label_rows(clean, stressed, points) -> pd.DataFrame:
    """Sensitivity and specificity of every output under every condition, with normal intervals."""
    rows = []
    before = rates(clean, points)
    for table in (clean, *stressed):
        under = rates(table, points)
        for (metric, output), (value, n) in under.items():
            first = before[metric, output][0]
            half = 1.96 * np.sqrt(max(value * (1 - value), 0.01) / max(n, 1))
            rows.append(
                {
                    **{"condition": table.condition.name, "metric": metric, "output": output},
                    "corruption": table.condition.corruption,
                    "severity": table.condition.severity,
                    **{"value": value, "low": max(value - half, 0), "high": min(value + half, 1)},
                    **{"n": len(table), "n_groups": len(table), "n_positive": n},
                    **{"n_positive_groups": n, "undefined_share": 0.0, "caution": None},
                    "delta": value - first,
                    "delta_low": value - first - half,
                    "delta_high": value - first + half,
                }
            )
    return pd.DataFrame(rows)


def slice_label_rows(clean, points, columns) -> pd.DataFrame:
    """Sensitivity and specificity of every output in every value of some columns."""
    rows = []
    for column in columns:
        for value in sorted(clean.rows[column].dropna().unique()):
            inside = (clean.rows[column] == value).to_numpy()
            here, rest = rates(clean, points, inside), rates(clean, points, ~inside)
            for (metric, output), (rate, n) in here.items():
                half = 1.96 * np.sqrt(max(rate * (1 - rate), 0.01) / max(n, 1))
                gap = rate - rest[metric, output][0]
                rows.append(
                    {
                        **{"column": column, "slice": f"{column}={value}", "metric": metric},
                        **{"output": output, "value": rate},
                        **{"low": max(rate - half, 0), "high": min(rate + half, 1)},
                        **{"n": int(inside.sum()), "n_groups": int(inside.sum())},
                        **{"n_positive": n, "n_positive_groups": n, "undefined_share": 0.0},
                        **{"gap": gap, "gap_low": gap - half, "gap_high": gap + half},
                        "direction": 1,
                    }
                )
    return pd.DataFrame(rows)


def rates(table, points, chosen=None):
    """Sensitivity and specificity of every output, each with the cases behind it."""
    task = tasks.get(table.schema.task)
    kept = np.ones(len(table), bool) if chosen is None else chosen
    truth = task.positives(table.targets, len(table.schema.classes))[kept]
    called = (task.probabilities(table.logits) > np.asarray(points.thresholds))[kept]
    found = {}
    for k, name in enumerate(table.schema.classes):
        sides = {
            "sensitivity": (truth[:, k], called[:, k]),
            "specificity": (~truth[:, k], ~called[:, k]),
        }
        for metric, (cases, right) in sides.items():
            if cases.any():
                found[metric, name] = (float(right[cases].mean()), int(cases.sum()))
    return found


def evaluated(found: Findings, *, critical: bool) -> Findings:
    """False alarms, predictive values, and where a specificity would lie."""
    if not critical or "critical_ppv" in found.scalars:
        return found
    specificity = found.scalars["critical_specificity"]
    more = {
        "critical_false_alarms_per_100": 100 * (1 - specificity),
        "critical_ppv": 0.62,
        "critical_npv": 0.95,
        "critical_specificity_expected_low": specificity - 0.03,
        "critical_specificity_expected_high": specificity + 0.03,
    }
    ends = {f"{n}_ci_{e}": v * k for n, v in more.items() for e, k in (("low", 0.9), ("high", 1.1))}
    known = {n: v for n, v in ends.items() if "expected" not in n}
    facts = {
        "critical_prevalence": found.scalars["n_critical"] / found.scalars["n"],
        "prevalence_stated": 0,
    }
    return Findings(dict(found.scalars) | more | known | facts, found.series)


def deferred(found: Findings) -> Findings:
    """Paired changes of the frozen deferral, and how well the score finds errors."""
    deferral, per_class = found.series["deferral"], found.series["per_class"]
    if "delta" in deferral and "recall_delta" in per_class:
        return found
    values = {(r["score"], r["metric"]): r["value"] for r in deferral.to_dict("records")}
    summary = found.series["summary"]
    risk = {r["score"]: r["value"] for r in summary[summary["metric"] == "risk"].to_dict("records")}
    before = {
        **{(score, "selective_risk"): value for score, value in risk.items()},
        **{
            (s, "critical_recall_kept"): v for (s, m), v in values.items() if m == "critical_recall"
        },
    }
    first = deferral.apply(lambda row: before.get((row["score"], row["metric"]), np.nan), axis=1)
    delta = deferral["value"] - first
    changes = per_class["recall_kept"] - per_class["recall"]
    lower, higher = int((changes + 0.02 < 0).sum()), int((changes - 0.02 > 0).sum())
    scalars = {
        **{"n_recall_kept_lower": lower, "n_recall_kept_higher": higher},
        **{"failure_auroc": 0.72, "failure_auroc_ci_low": 0.65, "failure_auroc_ci_high": 0.79},
    }
    series = {
        "deferral": deferral.assign(delta=delta, delta_low=delta - 0.02, delta_high=delta + 0.02),
        "per_class": per_class.assign(
            recall_delta=changes,
            recall_delta_low=changes - 0.02,
            recall_delta_high=changes + 0.02,
        ),
    }
    return Findings(dict(found.scalars) | scalars, found.series | series)


def calibrated(found: Findings) -> Findings:
    """The p-value of perfect calibration beside every noise floor."""
    floors = found.series["noise_floor"]
    if "p_value" in floors:
        return found
    return Findings(found.scalars, found.series | {"noise_floor": floors.assign(p_value=0.21)})


def force(root: Path, verdict: str, *, families=("stress", "slice")) -> Path:
    """Overwrite every tested comparison on disk so that all have one verdict."""
    value, half = SHAPES[verdict]
    for stage in families:
        name, what = WHAT[stage]
        path = root / "plots" / stage / f"{name}.csv"
        if not path.exists():
            continue
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        tested = table["verdict"].notna()
        # Not all alike, so that a test can tell rows apart.
        step = np.arange(len(table)) * 1e-5
        middle = table["direction"] * (value + step)
        table = table.astype({"verdict": object})
        for column, content in {
            what: middle,
            f"{what}_low": middle - half,
            f"{what}_high": middle + half,
            "verdict": verdict,
            "minimal_detectable": 1.3 * half,
            "p_adjusted": 0.0004998 if verdict == "worse" else 0.5,
        }.items():
            table[column] = table[column].mask(tested, content)
        table.round(6).to_csv(path, index=False)
    return root


def edit_scalars(root: Path, stage: str, **values: object) -> None:
    """Overwrite headline numbers on disk."""
    path = root / "metrics" / f"{stage}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


DISCOVERED = {
    "error": ["missed mel", "wrong call"],
    "kind": ["rule", "cluster"],
    "slice": ["ruler = no and sex = male", "embedding cluster 1: age at most 45 in 48%"],
    "found_on": ["calibration + validation"] * 2,
    "found_n": [21, 60],
    "error_inside": [0.7, 0.25],
    "error_expected": [0.2, 0.24],
    "gap": [0.5, 0.01],
    "gap_low": [0.3, -0.1],
    "gap_high": [0.7, 0.12],
    "p_adjusted": [0.001, 0.8],
    "minimal_detectable": [0.26, 0.17],
    "n": [81, 137],
    "verdict": ["confirmed", "not confirmed"],
    "sample_ids": ["TEST_00001 TEST_00002", ""],
}
SHORTCUTS = {
    "class": ["mel", "nv", "nv"],
    "property": ["ruler", "age", "sex"],
    "association": [0.74, 0.64, 0.51],
    "association_low": [0.63, 0.57, 0.45],
    "association_high": [0.83, 0.71, 0.56],
    "speaks_for": ["yes", "at most 40", "male"],
    "decodable": [0.97, 0.51, np.nan],
    "decodable_chance_high": [0.6, 0.57, np.nan],
    **{
        f"{side}_{name}": values
        for side, p in (("missed", 0.0005), ("false_alarm", 0.24))
        for name, values in {
            "n": [109, 62, np.nan],
            "inside": [0.63, 0.56, np.nan],
            "expected": [0.15, 0.45, np.nan],
            "gap": [0.48, 0.11, np.nan],
            "gap_low": [0.25, -0.06, np.nan],
            "gap_high": [0.67, 0.28, np.nan],
            "p_adjusted": [p, 0.2, np.nan],
            "minimal_detectable": [0.31, 0.24, np.nan],
        }.items()
    },
    "verdict": ["alarm", "associated", "no association shown"],
}
ROLE_DRIFT = {
    "comparison": ["train against test", "calibration against test", "train against test"],
    "features": ["properties", "properties", "embeddings"],
    "auroc": [0.638, 0.44, 0.7],
    "chance_high": [0.549, 0.561, 0.54],
    "p_adjusted": [0.01, 1.0, 0.01],
    "verdict": ["differ", "no difference shown", "differ"],
    "leading": ["age (AUROC 0.55)", "", ""],
    "caution": ["", "", "train images were fitted"],
}
LABEL_ISSUES = {
    "sample_id": [f"TEST_{i:05d}" for i in range(12)],
    "role": ["test"] * 12,
    "given": ["nv"] * 12,
    "suggested": ["mel"] * 12,
    "p_given": [0.01] * 12,
    "p_suggested": [0.9] * 12,
    "flagged": [1] * 11 + [0],
}


def found_without_a_name(root: Path) -> Path:
    """The four series of what nobody named: one slice confirmed, one alarm, one fair drift."""
    tables = {
        "discovered": DISCOVERED,
        "shortcuts": SHORTCUTS,
        "role_drift": ROLE_DRIFT,
        "label_issues": LABEL_ISSUES,
    }
    for name, columns in tables.items():
        pd.DataFrame(columns).to_csv(root / f"plots/slice/{name}.csv", index=False)
    edit_scalars(root, "slice", n_labels_checked=1000, n_label_issues_flagged=11)
    return root
