"""A small made-up study, written by the true audits, for the tests of the report."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from medaudit import findings
from medaudit.audits import calibration, casebook, evaluation, robustness, selection, slices
from medaudit.audits.cases import CasesParams
from medaudit.audits.intervals import IntervalParams
from medaudit.files import write_json
from medaudit.findings import Findings
from medaudit.tables import manifest, operating_points
from medaudit.tables.conditions import Condition
from medaudit.tables.predictions import PredictionTable, Schema

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SHARES = (0.06, 0.08, 0.14, 0.04, 0.16, 0.47, 0.05)
ROLES = {"train": 0.4, "tune": 0.1, "calibration": 0.2, "test": 0.3}
STRENGTHS = {
    "gaussian_noise": 1.4,
    "gaussian_blur": 1.0,
    "jpeg": 0.15,
    "brightness_up": 0.5,
    "brightness_down": 0.6,
    "contrast_up": 0.2,
    "contrast_down": 0.4,
    "colour_cast_warm": 0.7,
    "colour_cast_blue": 0.5,
    "down_up_sampling": 0.3,
}
REPOSITORY = Path(__file__).parents[3]


def rows(n: int, rng: np.random.Generator) -> pd.DataFrame:
    groups = np.sort(rng.integers(0, int(n * 0.7), n))
    names = list(ROLES)
    role = np.array(names)[
        np.searchsorted(np.cumsum(list(ROLES.values()))[:-1], groups / groups.max())
    ]
    return pd.DataFrame(
        {
            "sample_id": [f"TEST_{i:05}" for i in range(n)],
            "group_id": [f"L{g:05}" for g in groups],
            "role": role,
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.integers(4, 18, n) * 5.0),
            "sex": rng.choice(["female", "male", "unknown"], n, p=[0.47, 0.5, 0.03]),
            "localization": rng.choice(["back", "face", "lower extremity", "trunk"], n),
            "dataset": rng.choice(["source_a", "source_b", "source_c"], n, p=[0.45, 0.35, 0.2]),
            "brightness": rng.normal(0.6, 0.1, n),
        }
    )


def clean_table(n: int, schema: Schema) -> PredictionTable:
    rng = np.random.default_rng(3)
    frame = rows(n, rng)
    targets = rng.choice(len(CLASSES), n, p=SHARES)
    logits = rng.normal(size=(n, len(CLASSES)))
    logits[np.arange(n), targets] += np.where(frame["dataset"] == "source_c", 0.8, 2.6)
    logits *= 1.6
    return PredictionTable(schema, frame, targets.astype(np.int64), logits[None].astype(np.float32))


def corrupted(clean: PredictionTable, name: str, severity: int) -> PredictionTable:
    rng = np.random.default_rng([severity, len(name)])
    test = clean.role("test")
    noise = rng.normal(size=test.logits.shape) * severity * STRENGTHS[name]
    noise[..., CLASSES.index("nv")] += severity * STRENGTHS[name]
    logits = (test.logits + noise).astype(np.float32)
    return PredictionTable(
        clean.schema, test.rows, test.targets, logits, condition=Condition(name, severity)
    )


def prepare(clean: PredictionTable) -> Findings:
    truth = np.array(CLASSES)[clean.targets]
    frame = clean.rows.assign(**{"class": truth})
    counts = frame.groupby(["class", "role"]).agg(
        images=("sample_id", "size"), groups=("group_id", "nunique")
    )
    full = pd.MultiIndex.from_product([CLASSES, ROLES], names=["class", "role"])
    n = len(clean)
    series = {
        "class_counts": counts.reindex(full, fill_value=0).reset_index(),
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
        "imbalance_ratio": float(
            frame["class"].value_counts().max() / frame["class"].value_counts().min()
        ),
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
                "split": "tune",
                "loss": 1.8 / epochs**0.4,
                "macro_auroc": 0.95 - 0.4 / epochs,
                "macro_f1": 0.7 - 0.5 / epochs,
            }
        ),
    ]
    curves = pd.concat(parts).sort_values("epoch", kind="stable")
    return Findings({"best_epoch": 7, "epochs_run": 8, "n_parameters": 1234}, {"curves": curves})


def cases(clean, stressed, points, root: Path) -> Findings:
    """The true case book over made-up edits: every edit is noise on the logits."""
    params = CasesParams()
    book = casebook.study([clean, *stressed], points, params)
    edits = {"hair_filled": ("undo", "hair"), "lesion_replaced": ("remove", "context_shortcut")}
    rng = np.random.default_rng(0)

    def tried(ids, judged):
        trials = pd.DataFrame(
            [(i, name, *edits[name]) for i in ids for name in edits],
            columns=["sample_id", "intervention", "kind", "cause"],
        )
        table = judged.scored.table
        place = {s: k for k, s in enumerate(table.sample_ids)}
        base = table.logits[:, [place[i] for i in trials["sample_id"]]]
        return trials, (base + rng.normal(size=base.shape) * 2).astype(np.float32)

    controls = casebook.control_evidence(book, *tried(book.controls["sample_id"], book.test))
    focus = pd.DataFrame(
        {"sample_id": book.controls["sample_id"], "cam_energy": 0.6, "lesion_share": 0.3}
    )
    pages, entries = [], []
    for number, case in enumerate(book.cases, start=1):
        trials, logits = tried([case.sample_id], book.before(case))
        found = casebook.case_evidence(book, case, trials, logits)
        page = casebook.weigh(book, case, found, controls)
        shown = ["image", "cam_predicted", "cam_true"]
        shown += [] if case.condition.is_clean else ["corrupted"]
        images = {what: picture(root, f"{number:02}_{what}.png", number) for what in shown}
        pages.append(page)
        drawn = (
            images,
            {"lesion_share": 0.3, "cam_predicted_energy": 0.2, "cam_true_energy": None},
        )
        entries.append(casebook.entry(book, page, drawn=drawn, questions={}))
    found = casebook.findings(book, pages, controls, focus)
    dossier = casebook.dossier(book, entries, found, questions=dict.fromkeys(edits, "?"))
    write_json(root / "artifacts/cases/cases.json", dossier)
    return found


def picture(root: Path, name: str, number: int) -> str:
    y, x = np.mgrid[:64, :64]
    disc = ((x - 32) ** 2 + (y - 30) ** 2 < (10 + number) ** 2)[..., None]
    pixels = np.where(disc, [120, 80, 70], [220, 180, 160]).astype(np.uint8)
    path = root / "artifacts/cases" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return name


def write_evidence(root: Path, *, large: bool = False, critical: bool = True) -> Path:
    """Write metrics, plots and artifacts of a made-up study into a folder.

    In the small one the replicates just let corrected p-values reach 0.05.
    """
    few = IntervalParams(replicates=200 if large else 400)
    names = list(STRENGTHS)[: 10 if large else 3]
    quantiles = {"age": 4, "brightness": 4} if large else {"brightness": 3}
    columns = ("dataset", "sex", *(("localization",) if large else ()))
    profile = yaml.safe_load((REPOSITORY / "profiles/phantom.yaml").read_text())
    (root / "params.yaml").parent.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(profile, sort_keys=False))
    schema = Schema("multiclass", CLASSES, "mel" if critical else None)
    clean = clean_table(1500 if large else 1000, schema)
    prepared = root / "artifacts/prepared"
    manifest.write_manifest(clean.rows.assign(target=clean.targets), prepared)
    train_counts = np.bincount(clean.role("train").targets, minlength=len(CLASSES))
    counts = dict(zip(CLASSES, train_counts.tolist(), strict=True))
    facts = manifest.Preparation(schema, 112, counts, "made_up", "lesion", ("Made-up test data.",))
    manifest.write_preparation(facts, prepared)
    write_json(root / "artifacts/model/model.json", {"backbone": "tiny_net"})
    points = operating_points.choose(clean.role("calibration"), specificity=0.95)
    operating_points.write(points, root / "artifacts/operating_points.json")
    stressed = [corrupted(clean, name, s) for name in names for s in (1, 2, 3)]
    calibrate = calibration.CalibrateParams(floor_replicates=50)
    slicing = slices.SliceParams(columns=columns, quantiles=quantiles)
    train_rows = clean.role("train").rows
    everything = {
        "prepare": prepare(clean),
        "train": train(),
        "evaluate": evaluation.audit(clean, points, intervals_params=few),
        "stress": robustness.audit(clean, stressed, points, intervals_params=few),
        "slice": slices.audit(clean, points, train_rows, slicing, intervals_params=few),
        "calibrate": calibration.audit(
            clean, calibration.fit(clean, calibrate), calibrate, intervals_params=few
        ),
        "selective": selection.audit(clean, selection.SelectiveParams(), intervals_params=few),
        "cases": cases(clean, stressed, points, root),
    }
    for stage, found in everything.items():
        findings.write(found, stage, root=root)
    machine = {"processor": "Test CPU", "cores": 2, "system": "Linux", "python": "3.11.2"}
    record = {
        "stage": "train",
        "seconds": 75.2,
        "machine": machine,
        "versions": {"torch": "2.13.0"},
    }
    write_json(root / "runtime/train.json", record)
    checklist = REPOSITORY / "report/deployment_checklist.yaml"
    if checklist.exists():
        (root / "report").mkdir(exist_ok=True)
        shutil.copy(checklist, root / "report")
    return root
