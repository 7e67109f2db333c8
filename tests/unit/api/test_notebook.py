"""The notebook runs from a clean clone, and holds no outputs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[3] / "docs/audit_in_python.ipynb"


@pytest.fixture(scope="module")
def cells():
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_it_is_committed_without_outputs(cells):
    assert len(cells) >= 8
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)


@pytest.mark.slow
def test_its_code_runs_in_an_empty_folder(cells, tmp_path):
    lines = [line for cell in cells for line in [*cell["source"], "\n"]]
    code = "".join(line for line in lines if not line.startswith("%"))
    ends = """
table = audit.summary().set_index("measure")
assert table.loc["critical_auroc", "low"] < table.loc["critical_auroc", "value"]
assert slices.set_index("slice").loc["site=B", "gap"] < 0
assert (changes.set_index("metric").loc["balanced_accuracy", "delta_high"]) < 0
assert not {"torch", "timm"} & set(__import__("sys").modules)
"""
    script = tmp_path / "notebook.py"
    script.write_text(code + ends, encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made_up_audit/report/report.html").is_file()
    assert (tmp_path / "slices.png").is_file()
