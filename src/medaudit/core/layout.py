"""Where everything lies: the nine stages and what they leave, the only list of either in Python.

Paths are relative to the root of a run: the repository, or the folder of `medaudit audit`.
"""

from pathlib import Path

STAGES = (
    "prepare",
    "train",
    "evaluate",
    "stress",
    "slice",
    "calibrate",
    "selective",
    "cases",
    "report",
)
# All that leave metrics and plots, which the report reads.
MEASURING_STAGES = STAGES[:-1]

ARTIFACTS = Path("artifacts")
PREPARED = Path("artifacts/prepared")
PLANTED = PREPARED / "planted.json"  # of a data set with injected failures
MODEL = Path("artifacts/model")
LIVE = Path("artifacts/live")

# Each folder of predictions belongs to one stage, and holds a table or a folder for every predictor
# of `predict.predictors`: one more predictor is one more file, and dvc.yaml stays as it is.
PREDICTIONS = Path("artifacts/predictions")
CLEAN_FOLDER = PREDICTIONS / "clean"
STRESS_FOLDER = PREDICTIONS / "stress"
PLAIN = "plain"  # the predictor that the audits read


def clean_table(predictor: str = PLAIN) -> Path:
    """Predictions of the calibration and test images by one predictor."""
    return CLEAN_FOLDER / f"{predictor}.parquet"


def stress_table(condition: str, predictor: str = PLAIN) -> Path:
    """Predictions of the test images under one condition, such as `jpeg-2`, by one predictor."""
    return STRESS_FOLDER / predictor / f"{condition}.parquet"


CLEAN = clean_table()
# Clean predictions of the train and validation images, with embeddings.
TRAIN_TABLE = PREDICTIONS / "train.parquet"
STRESS = STRESS_FOLDER / PLAIN

OPERATING_POINTS = Path("artifacts/operating_points.json")
CALIBRATORS = Path("artifacts/calibrators.json")
DEFERRAL = Path("artifacts/deferral.json")
CASES = Path("artifacts/cases")
# The series of every stage as they were found, with ids; plots/ holds them as they are released.
WHOLE = Path("artifacts/whole")
PSEUDONYMS = Path("artifacts/pseudonyms.csv")  # whom they stand for
SEALED = Path("artifacts/MANIFEST.sha256")  # digests of what is frozen for deployment

METRICS = Path("metrics")
PLOTS = Path("plots")
REPORT = Path("report")
PLANTED_TABLE = REPORT / "planted.csv"
CHECKLIST = REPORT / "deployment_checklist.yaml"

PARAMS = Path("params.yaml")
PROFILES = Path("profiles")

# Of the pseudonyms of a run; an audit of predictions keeps it below its artifacts/.
PSEUDONYM_KEY = Path(".pseudonym_key")

# Kept between runs and seen by neither git nor DVC: finished work by its content, and wall clocks.
RESUME = Path(".resume")
RUNTIME = Path("runtime")
