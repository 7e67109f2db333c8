"""dvc.yaml, the code and the rooms agree with each other."""

import ast
import importlib
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from medaudit.core.layout import STAGES  # noqa: E402
from tools import imports  # noqa: E402

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
# A room imports from rooms on lower floors only.
FLOORS = {
    "core": 0,
    "stats": 1,
    "metrics": 2,
    "tables": 3,
    "audits": 4,
    "data": 5,
    "pixels": 5,
    "model": 6,
    "training": 7,
    "cases": 8,
    "report": 9,
    "api": 10,
    "commands": 11,
    "cli": 12,
}
# Rooms that meet in a stage, over tables, and nowhere else.
STRANGERS = {("data", "audits"), ("pixels", "audits"), ("model", "audits"), ("training", "audits")}
FILES = sorted((ROOT / "src/medaudit").rglob("*.py"))


def room(module):
    return module.split(".")[1] if "." in module else "__init__"


def modules_imported(file):
    names = imports.imported_names(file)
    return {name for name in names if imports.module_file(name, ROOT) and name != "medaudit"}


def test_the_stages_stand_in_one_order():
    assert tuple(PIPELINE["stages"]) == STAGES
    assert {file.stem for file in (ROOT / "stages").glob("*.py")} == {*STAGES, "__init__"}


def test_a_person_can_read_dvc_yaml():
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 250


@pytest.mark.parametrize("stage", STAGES)
def test_rooms_listed_are_rooms_imported(stage):
    deps = PIPELINE["stages"][stage]["deps"]
    listed = [dep for dep in deps if dep.startswith(("src/", "stages/"))]
    assert listed == [f"stages/{stage}.py", *imports.rooms(stage)]


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
    if "findings.write(" in ast.unparse(tree):
        sections.append("report.privacy")  # what it may write below plots/
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
        if other == own or own == "__init__":
            continue
        assert FLOORS[own] > FLOORS[other], f"{file} imports {name}"
        assert (own, other) not in STRANGERS, f"{file} imports {name}"


def test_the_house_has_no_more_modules_than_a_reader_can_hold():
    """A module is a topic: no pile of several, and no splinter of one."""
    modules = [file for file in FILES if file.name != "__init__.py"]
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in modules}
    assert len(modules) <= 150
    assert sum(lines.values()) >= 200 * len(modules)
    assert not {file.name: n for file, n in lines.items() if n > 450}


def test_no_module_imports_in_a_circle():
    graph = {}
    for file in FILES:
        name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
        graph[name.removesuffix(".__init__")] = modules_imported(file)
    done, open_ = set(), []

    def visit(name):
        if name in done or name not in graph:
            return
        assert name not in open_, f"import circle: {' -> '.join([*open_, name])}"
        open_.append(name)
        for other in graph[name]:
            if not f"{name}.".startswith(f"{other}."):  # an import passes through its own packages
                visit(other)
        open_.pop()
        done.add(name)

    for name in graph:
        visit(name)


def test_every_written_metric_and_plot_is_declared_and_every_declared_one_is_written():
    declared = set()
    for stage in PIPELINE["stages"].values():
        for kind in ("metrics", "plots"):
            declared |= {next(iter(entry)) for entry in stage.get(kind, [])}
    written = {
        path.relative_to(ROOT).as_posix()
        for folder in ("metrics", "plots", "report")
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

    for folder in ("stages", "src/medaudit/audits", "src/medaudit/cases", "src/medaudit/report"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not any(f'"{name}"' in text for name in TASKS), file
