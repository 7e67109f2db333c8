"""Where everything lies: the nine stages and what they leave, the only list of either.

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

PREPARED = Path("artifacts/prepared")
MODEL = Path("artifacts/model")
LIVE = Path("artifacts/live")
PREDICTIONS = Path("artifacts/predictions")
CLEAN = PREDICTIONS / "clean.parquet"
STRESS = PREDICTIONS / "stress"
OPERATING_POINTS = Path("artifacts/operating_points.json")
CALIBRATORS = Path("artifacts/calibrators.json")
DEFERRAL = Path("artifacts/deferral.json")
CASES = Path("artifacts/cases")

METRICS = Path("metrics")
PLOTS = Path("plots")
REPORT = Path("report")
CHECKLIST = REPORT / "deployment_checklist.yaml"

PARAMS = Path("params.yaml")
PROFILES = Path("profiles")

# Kept between runs and seen by neither git nor DVC: finished work by its content, and wall clocks.
RESUME = Path(".resume")
RUNTIME = Path("runtime")
