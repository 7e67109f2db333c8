"""Recompute the 14 AUCs that were published for CheXNet from its stored probabilities.

python -m benchmarks.published_aucs --cxr FOLDER --out docs/results/published-aucs

FOLDER holds Data_Entry_2017_v2020.csv.gz and chexnet_densenet121_predictions/ with preds.csv.gz and
published_aucs.csv (J. Zech, reproduce-chexnet, 2018). Intervals resample patients; those of an
ordinary bootstrap of images stand beside them.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from medaudit.data.external_outputs import read_outputs
from medaudit.data.external_tables import TruthColumns, read_truth
from medaudit.metrics.ranking import weighted_auroc
from medaudit.stats.bootstrap import Bootstrap, IntervalParams, Measure, positives_and_negatives

ID, GROUP = "Image Index", "Patient ID"
PARAMS = IntervalParams()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cxr", type=Path, required=True, help="folder of the data")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    table = aucs(options.cxr)
    options.out.mkdir(parents=True, exist_ok=True)
    table.round(6).to_csv(options.out / "aucs.csv", index=False, lineterminator="\n")
    print(table.round(4).to_string(index=False))
    print("largest difference from the published value:", table["difference"].abs().max())


def aucs(folder: Path) -> pd.DataFrame:
    """One row per finding: published and recomputed AUC, interval over patients and over images."""
    entries = folder / "Data_Entry_2017_v2020.csv.gz"
    predictions = folder / "chexnet_densenet121_predictions"
    outputs = read_outputs(predictions / "preds.csv.gz", id_column=ID, prefix="prob_")
    columns = TruthColumns(label_list="Finding Labels", id_column=ID)
    truth = read_truth(entries, columns, names=outputs.names, critical=None)
    patients = pd.read_csv(entries).set_index(ID)[GROUP].loc[outputs.ids]
    published = pd.read_csv(predictions / "published_aucs.csv").set_index("label")["auc"]
    place = pd.Series(np.arange(len(truth.ids)), index=truth.ids).loc[outputs.ids].to_numpy()
    positives = truth.targets[place] == 1
    drawn = {
        "patients": Bootstrap.of_groups(patients.to_numpy(), PARAMS),
        "images": Bootstrap.of_groups(outputs.ids, PARAMS),
    }
    rows = []
    for k, name in enumerate(tqdm(outputs.names, desc="findings", disable=None)):
        row: dict[str, object] = {"finding": name, "n_positive": int(positives[:, k].sum())}
        for unit, bootstrap in drawn.items():
            truth_k = positives[:, k]
            statistic = partial(weighted_auroc, outputs.numbers[:, k], truth_k)
            measure = Measure(
                "auroc",
                statistic,
                1,
                denominator=truth_k,
                required_outcomes=positives_and_negatives(truth_k),
                interval_kind="auc",
            )
            estimate = bootstrap.interval(measure)
            if unit == "patients":
                row |= {
                    "n_positive_patients": estimate.n_positive_groups,
                    "published": published[name],
                    "auroc": estimate.value,
                    "difference": estimate.value - published[name],
                }
            row |= {f"{unit}_low": estimate.low, f"{unit}_high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
