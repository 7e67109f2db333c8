"""dvc.yaml, the code and the rooms agree with each other."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools import deps  # noqa: E402

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = tuple(PIPELINE["stages"])
GROUND = {"__init__", "tv_guard", "params", "findings", "errors", "files", "keys", "stage", "py"}
FLOORS = {
    "metrics": 0,
    "stats": 0,
    "tables": 1,
    "audits": 2,
    "data": 3,
    "pixels": 3,
    "model": 4,
    "reporting": 5,
    "commands": 6,
    "cli": 7,
}
FILES = sorted((ROOT / "src/medaudit").rglob("*.py"))


def room(module):
    part = module.split(".")[1] if "." in module else "__init__"
    return "ground" if part in GROUND else part


def modules_imported(file):
    names = deps.imported_names(file)
    return {name for name in names if deps.module_file(name, ROOT) and name != "medaudit"}


def test_there_are_nine_stages_in_order():
    assert STAGES == (
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


@pytest.mark.parametrize("stage", STAGES)
def test_code_deps_are_the_import_closure(stage):
    expected = deps.wanted(PIPELINE)[stage]
    assert PIPELINE["stages"][stage]["deps"] == expected, "run: python tools/deps.py"


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_the_sections_that_the_stage_loads(stage):
    tree = ast.parse((ROOT / f"stages/{stage}.py").read_text(encoding="utf-8"))
    loaded = {
        call.args[0].id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "load"
    }
    module = importlib.import_module(f"stages.{stage}")
    sections = [getattr(module, name).section for name in loaded]
    if "read_params" in ast.unparse(tree):
        sections.append("data")  # whose model depends on the adapter
    assert sorted(PIPELINE["stages"][stage].get("params", [])) == sorted(sections)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_file_is_a_recipe(stage):
    text = (ROOT / f"stages/{stage}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert PIPELINE["stages"][stage]["desc"]
    assert PIPELINE["stages"][stage]["cmd"] == f"python -m stages.{stage}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT / "src")))
def test_a_module_imports_only_from_rooms_below(file):
    own = room("medaudit." + file.relative_to(ROOT / "src/medaudit").parts[0].removesuffix(".py"))
    for name in modules_imported(file):
        other = room(name)
        if other in {own, "ground"} or own == "__init__":
            continue
        allowed = own != "ground" and FLOORS[own] > FLOORS[other]
        assert allowed, f"{file} imports {name}"


def test_every_written_metric_and_plot_is_declared_and_every_declared_one_is_written():
    declared = set()
    for stage in PIPELINE["stages"].values():
        for kind in ("metrics", "plots"):
            declared |= {next(iter(entry)) for entry in stage.get(kind, [])}
    written = {
        path.relative_to(ROOT).as_posix()
        for folder in ("metrics", "plots")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".json", ".csv"}
    }
    assert written == declared


def test_charts_name_templates_and_columns_that_exist():
    for stage in PIPELINE["stages"].values():
        for entry in stage.get("plots", []):
            ((path, properties),) = entry.items()
            assert (ROOT / f".dvc/plots/{properties['template']}.json").is_file(), path
            header = (ROOT / path).read_text(encoding="utf-8").partition("\n")[0].split(",")
            assert {properties["x"], properties["y"]} <= set(header), path


def test_outputs_keep_the_run_cache_usable():
    for name, stage in PIPELINE["stages"].items():
        assert all(isinstance(out, str) for out in stage.get("outs", [])), (
            f"{name}: an out with `cache: false` or `persist` turns the run cache off"
        )


def test_no_code_above_the_task_room_names_a_task():
    from medaudit.tables.tasks import TASKS

    for folder in ("stages", "src/medaudit/audits", "src/medaudit/reporting"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not any(f'"{name}"' in text for name in TASKS), file
