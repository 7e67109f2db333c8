"""A small made-up study, written by the true audits, for the tests of the report."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import synthetic_verdicts as verdicts
import yaml
from PIL import Image
from synthetic_tables import (
    ROLES,
    STRENGTHS,
    clean_table,
    corrupted,
    schema_of,
    truth_of,
)

from medaudit.audits import calibrate as calibrate_audit
from medaudit.audits import selective
from medaudit.audits.slicing import SliceParams
from medaudit.cases import case_record, case_study
from medaudit.cases.case_selection import CasesParams
from medaudit.core import findings
from medaudit.core.files import write_json
from medaudit.core.findings import Findings
from medaudit.core.layout import CLEAN
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables import manifest, operating_points, predictions
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable
from tests.audit_runs import calibrate, case_study_of, defer, evaluate, slice_up, stress

REPOSITORY = Path(__file__).parents[3]


def prepare(clean: PredictionTable) -> Findings:
    truth, classes = truth_of(clean), clean.schema.classes
    frame = clean.rows
    counted = [
        (name, role, len(part), part["group_id"].nunique())
        for k, name in enumerate(classes)
        for role in ROLES
        for part in [frame[truth[:, k] & (frame["role"] == role)]]
    ]
    n = len(clean)
    series = {
        "class_counts": pd.DataFrame(counted, columns=["class", "role", "images", "groups"]),
        "missing": pd.DataFrame(
            {
                "column": ["age", "sex", "localization", "dataset"],
                "missing": [int(frame["age"].isna().sum()), 0, 0, 0],
                "unknown": [0, int((frame["sex"] == "unknown").sum()), 0, 0],
            }
        ),
        "ledger": pd.DataFrame(
            [
                ("read metadata", "image without row", n + 3, n + 1, 2, "X1 X2"),
                ("find images", "row without image", n + 1, n, 1, "X3"),
                ("decode", "unreadable image", n, n, 0, ""),
                *(
                    ("split", f"not in {role}", n, k, n - k, "")
                    for role, k in frame["role"].value_counts()[list(ROLES)].items()
                ),
            ],
            columns=["step", "reason", "rows_in", "rows_out", "left_out", "example_ids"],
        ),
        "duplicates": pd.DataFrame(
            [("TEST_00001", "TEST_00900", "hash", 2.0, 0.999, True, False)],
            columns=[
                *("first", "second", "origin", "distance", "correlation"),
                *("across_groups", "labels_differ"),
            ],
        ),
    }
    scalars = {
        "n_images": n,
        "n_groups": int(frame["group_id"].nunique()),
        "n_images_largest_group": int(frame["group_id"].value_counts().max()),
        "imbalance_ratio": float(truth.sum(axis=0).max() / truth.sum(axis=0).min()),
        "n_missing_values": int(frame["age"].isna().sum()),
        "n_duplicate_pairs": 1,
        "n_duplicate_pairs_across_groups": 1,
        "n_duplicate_pairs_labels_differ": 0,
        "n_images_without_row": 2,
        "n_rows_left_out": 1,
    }
    return Findings(scalars, series)


def train() -> Findings:
    epochs = np.arange(1, 9)
    parts = [
        pd.DataFrame({"epoch": epochs, "split": "train", "loss": 2.0 / epochs**0.5}),
        pd.DataFrame(
            {
                "epoch": epochs,
                "split": "validation",
                "loss": 1.8 / epochs**0.4,
                "macro_auroc": 0.95 - 0.4 / epochs,
                "macro_f1": 0.7 - 0.5 / epochs,
            }
        ),
    ]
    curves = pd.concat(parts).sort_values("epoch", kind="stable")
    return Findings({"best_epoch": 7, "epochs_run": 8, "n_parameters": 1234}, {"curves": curves})


def cases(clean, stressed, points, root: Path, few: IntervalParams) -> Findings:
    """The true case study over made-up edits: every edit is noise on the logits."""
    params = CasesParams()
    study = case_study_of(clean, stressed, points, params, intervals=few)
    edits = {"hair_filled": ("undo", "hair"), "lesion_replaced": ("remove", "context_shortcut")}
    rng = np.random.default_rng(0)

    def tried(ids, scored):
        trials = pd.DataFrame(
            [(i, name, *edits[name]) for i in ids for name in edits],
            columns=["sample_id", "intervention", "kind", "cause"],
        )
        table = scored.table
        place = {s: k for k, s in enumerate(table.sample_ids)}
        base = table.logits[:, [place[i] for i in trials["sample_id"]]]
        return trials, (base + rng.normal(size=base.shape) * 2).astype(np.float32)

    controls = case_study.control_evidence(study, *tried(study.controls["sample_id"], study.test))
    focus = pd.DataFrame(
        {"sample_id": study.controls["sample_id"], "cam_energy": 0.6, "lesion_share": 0.3}
    )
    case_records, entries = [], []
    for number, case in enumerate(study.cases, start=1):
        trials, logits = tried([case.sample_id], study.before(case))
        found = case_study.case_evidence(study, case, trials, logits)
        record = case_study.weigh(study, case, found, controls)
        shown = ["image", "cam_predicted", "cam_true"]
        shown += [] if case.condition.is_clean else ["corrupted"]
        images = {what: picture(root, f"{number:02}_{what}.png", number) for what in shown}
        case_records.append(record)
        drawn = (
            images,
            {"lesion_share": 0.3, "cam_predicted_energy": 0.2, "cam_true_energy": None},
        )
        entries.append(case_record.case_json(study, record, drawn=drawn, questions={}))
    found = case_study.findings(study, case_records, controls, focus)
    content = case_record.cases_json(study, entries, found, questions=dict.fromkeys(edits, "?"))
    write_json(root / "artifacts/cases/cases.json", content)
    return found


def picture(root: Path, name: str, number: int) -> str:
    y, x = np.mgrid[:64, :64]
    disc = ((x - 32) ** 2 + (y - 30) ** 2 < (10 + number) ** 2)[..., None]
    pixels = np.where(disc, [120, 80, 70], [220, 180, 160]).astype(np.uint8)
    path = root / "artifacts/cases" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return name


def write_results(
    root: Path, *, large: bool = False, critical: bool = True, n_labels: int | None = None
) -> Path:
    """Write metrics, plots and artifacts of a made-up study into a folder.

    In the small one the replicates just let corrected p-values reach 0.05.
    """
    few = IntervalParams(replicates=200 if large else 400)
    names = list(STRENGTHS)[: 10 if large else 3]
    schema = schema_of(n_labels, critical=critical)
    clean = clean_table(1500 if large else 1000, schema)
    write_parameters(root, schema)
    points = write_facts(clean, root)
    stressed = [corrupted(clean, name, s) for name in names for s in (1, 2, 3)]
    everything = {
        "prepare": prepare(clean),
        "train": train(),
        **audited(clean, stressed, points, few, large=large),
        "cases": cases(clean, stressed, points, root, few),
    }
    for stage, found in everything.items():
        findings.write(found, stage, root=root)
    write_machine(root)
    checklist = REPOSITORY / "report/deployment_checklist.yaml"
    (root / "report").mkdir(exist_ok=True)
    shutil.copy(checklist, root / "report")
    return root


def write_audit(root: Path, *, n_labels: int | None = 4, stress: bool = False) -> Path:
    """What an audit of predictions made elsewhere leaves: no data, no model, no images."""
    few = IntervalParams(replicates=200)
    schema = schema_of(n_labels, critical=True)
    clean = clean_table(1000, schema)
    points = write_facts(clean, root)
    write_parameters(root, schema, data=False)
    stressed = [corrupted(clean, "jpeg", 1)] if stress else []
    for stage, found in audited(clean, stressed, points, few, large=False).items():
        findings.write(found, stage, root=root)
    return root


def audited(clean, stressed, points, few: IntervalParams, *, large: bool) -> dict[str, Findings]:
    """The audits that read nothing but prediction tables."""
    methods = ("identity", "temperature", "affine") if large else ("identity", "temperature")
    calibrating = calibrate_audit.CalibrateParams(methods=methods, floor_replicates=50)
    quantiles = {"age": 4, "brightness": 4} if large else {"brightness": 3}
    columns = ("dataset", "sex", *(("localization",) if large else ()))
    named = {"confirmatory": verdicts.PLANNED} if "confirmatory" in SliceParams.model_fields else {}
    slicing = SliceParams(columns=columns, quantiles=quantiles, **named)
    selecting = selective.SelectiveParams()
    same = {"intervals": few}
    critical = clean.schema.critical_class is not None
    cut = slice_up(clean, points, clean.role("train").rows, slicing, **same)
    stages = {
        "evaluate": verdicts.evaluated(evaluate(clean, points, **same), critical=critical),
        "slice": verdicts.judged(
            cut if critical else by_label(cut, "slices", in_slices(clean, points, columns)),
            "slice",
            critical=critical,
        ),
        "calibrate": verdicts.calibrated(calibrate(clean, calibrating, **same)),
        "selective": verdicts.deferred(defer(clean, points, selecting, **same)),
    }
    if stressed:
        found = stress(clean, stressed, points, **same)
        rows = verdicts.label_rows(clean.role("test"), stressed, points)
        found = found if critical else by_label(found, "conditions", rows)
        stages["stress"] = verdicts.judged(found, "stress", critical=critical)
    return stages


def in_slices(clean: PredictionTable, points: OperatingPoints, columns) -> pd.DataFrame:
    """Rates of every output in the slices of the test role."""
    return verdicts.slice_label_rows(clean.role("test"), points, columns)


def by_label(found: Findings, name: str, rows: pd.DataFrame) -> Findings:
    """Findings with rows per output, unless the audit made them."""
    table = found.series[name]
    if "sensitivity" in set(table["metric"]):
        return found
    more = {name: pd.concat([table, rows], ignore_index=True)}
    return Findings(found.scalars, found.series | more)


def write_parameters(root: Path, schema, *, data: bool = True) -> None:
    """Those of the phantom; those of an audit name no data."""
    profile = yaml.safe_load((REPOSITORY / "profiles/phantom.yaml").read_text())
    if not data:
        del profile["data"]
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))


def write_facts(clean: PredictionTable, root: Path) -> OperatingPoints:
    """Manifest, schema, predictions, model card and thresholds."""
    prepared, schema = root / "artifacts/prepared", clean.schema
    manifest.write_manifest(clean.rows.assign(target=list(clean.targets)), prepared)
    predictions.write(clean, root / CLEAN)
    counts = truth_of(clean.role("train")).sum(axis=0).tolist()
    named = dict(zip(schema.classes, counts, strict=True))
    meaning = "lesion" if schema.task == "multiclass" else "patient"
    notes = ("Made-up test data.",)
    facts = manifest.Preparation(schema, 112, named, "made_up", meaning, notes)
    manifest.write_preparation(facts, prepared)
    write_json(root / "artifacts/model/model.json", {"backbone": "tiny_net"})
    points = operating_points.choose(clean.role("calibration"), specificity=0.95)
    operating_points.write(points, root / "artifacts/operating_points.json")
    return points


def write_machine(root: Path) -> None:
    """What one stage noted about its run."""
    machine = {"processor": "Test CPU", "cores": 2, "system": "Linux", "python": "3.11.2"}
    record = {
        "stage": "train",
        "seconds": 75.2,
        "machine": machine,
        "versions": {"torch": "2.13.0"},
    }
    write_json(root / "runtime/train.json", record)
