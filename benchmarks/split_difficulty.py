"""Is this test role harder than another one would be? A linear probe on frozen features tells.

python benchmarks/split_difficulty.py [--splits 4]      after `dvc repro` of a data set

Features are those of EfficientNet-Lite0 with its ImageNet weights, so no training of ours is in
them. The same logistic regression is fitted on the train role and scored on the other roles, and on
other grouped, stratified splits of the same images.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medaudit.model import compute, inference, network
from medaudit.model.prepared import read_prepared

PREPARED = Path("artifacts/prepared")
BACKBONE = "tf_efficientnet_lite0"


def features(prepared):
    device = compute.setup(compute.ComputeParams())
    model = network.create(
        BACKBONE,
        len(prepared.schema.classes),
        weights="bundled",
        dropout=0.0,
        image_size=prepared.image_size,
    )
    model = inference.prepare_model(model, device).eval()
    everything = np.arange(len(prepared.manifest))
    loader = inference.LoaderConfig(32, 1, device)
    return inference.run(
        model, prepared.reader.take, everything, loader=loader, label="probe"
    ).features


def row(name, found, targets, train, test):
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    p = probe.fit(found[train], targets[train]).predict_proba(found[test])
    per_class = [roc_auc_score(targets[test] == k, p[:, k]) for k in range(p.shape[1])]
    cells = [f"{np.mean(per_class):.3f}", *(f"{value:.3f}" for value in per_class)]
    print(f"| {name} | {len(test)} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=4, help="other splits to compare with")
    options = parser.parse_args()
    prepared = read_prepared(PREPARED)
    manifest = prepared.manifest
    targets = prepared.targets(np.arange(len(manifest)))
    found = features(prepared)
    print("| test | n | macro AUROC | " + " | ".join(prepared.schema.classes) + " |")
    print("| --- " * (len(prepared.schema.classes) + 3) + "|")
    train = prepared.positions(["train"])
    for role in ("validation", "calibration", "test"):
        row(f"role {role}", found, targets, train, prepared.positions([role]))
    for seed in range(options.splits):
        folds = StratifiedGroupKFold(6, shuffle=True, random_state=seed)
        fit, score = next(folds.split(found, targets, manifest["group_id"]))
        row(f"another split, seed {seed}", found, targets, fit, score)


if __name__ == "__main__":
    main()
