"""The page of `dvc plots`: whatever names a table holds, they are names there."""

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from tests.pages import check
from tools import plots_page

TOP = Path(__file__).resolve().parents[3]
MARK = "</script><script>document.title='marked'</script>"
HOSTILE = (
    *(MARK, f"--></plaintext></template></textarea></title></style>{MARK}", "<!--<script>"),
    *("<img src=x onerror=\"document.title='marked'\">", "';document.title='marked';'", "\\u003c"),
    *("{plot_divs}", "{scripts}", "<40", "age<50", "a & b", "&lt;", "sex = \N{FEMALE SIGN}"),
)
COLUMN = "part</script><script>document.title='marked'"


@pytest.fixture(params=["with charts", "safe"])
def repository(tmp_path, request, monkeypatch):
    """A repository with our templates and settings, and tables of hostile names."""
    monkeypatch.chdir(tmp_path)
    dvc("init", "--no-scm", "--quiet")
    for name in ("config", "plots", "plots_page.html"):
        source, target = TOP / ".dvc" / name, tmp_path / ".dvc" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    dvc("config", "core.no_scm", "true")
    rows = pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, COLUMN: HOSTILE})
    rows.assign(slice=HOSTILE).to_csv("slices.csv", index=False)
    shares = {"predicted": HOSTILE[::-1], "truth": HOSTILE, "rate": 0.1, "count": 1}
    pd.DataFrame(shares).to_csv("confusion.csv", index=False)
    charts = [
        {"slices.csv": {"template": "interval_rows", "x": "value", "y": "slice", "title": MARK}},
        {"own": {"template": "bars_by_part", "x": "value", "y": {"slices.csv": COLUMN}}},
        {"confusion.csv": {"template": "confusion_rate", "x": "predicted", "y": "truth"}},
    ]
    Path("dvc.yaml").write_text(json.dumps({"plots": charts}))
    if request.param == "with charts":
        monkeypatch.setattr("sys.argv", ["plots_page.py"])
        plots_page.main()
    return request.param


def dvc(*words):
    done = subprocess.run(["dvc", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown():
    dvc("plots", "show", "--out", "page")
    return Path("page/index.html").read_text(encoding="utf-8")


def test_no_name_becomes_markup(repository):
    page = check(shown(), scripts=2 if repository == "with charts" else 0)
    assert page.tags[-1] == "plaintext"
    assert set(page.tags) <= {
        *("html", "head", "meta", "title", "script", "style", "body", "main", "p", "code"),
        "plaintext",
    }
    assert "marked" not in page.text + "".join(page.scripts)
    assert "marked" in page.plaintext


def test_the_charts_are_those_of_dvc(repository):
    """What the script reads of the text, by the same rule, with every name as it was."""
    text = check(shown(), scripts=2 if repository == "with charts" else 0).plaintext
    rule = plots_page.SPECS.removeprefix("/").removesuffix("/gm")
    found = [json.loads(each) for each in re.findall(rule, text, re.MULTILINE)]
    given = json.loads(dvc("plots", "show", "--json"))["data"].values()
    assert sorted(map(json.dumps, found)) == sorted(
        json.dumps(chart["content"]) for charts in given for chart in charts
    )
    assert len(found) == 3
    slices = {row["slice"] for row in found[0]["data"]["values"]}
    assert slices == set(HOSTILE)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="looks at the page in a browser")
def test_a_browser_draws_them_and_runs_nothing_else(repository, tmp_path):
    shown()
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]
    words += [f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    page = (tmp_path / "page/index.html").as_uri()
    done = subprocess.run(["chromium", *words, page], capture_output=True, text=True, check=True)
    assert "<title>medaudit plots</title>" in done.stdout
    charts = done.stdout[: done.stdout.index("<plaintext")]
    assert charts.count('class="chart vega-embed') == (3 if repository == "with charts" else 0)
    assert "Error" not in charts[charts.index("<main") :]
    if repository == "with charts":
        assert "age&lt;50" in charts


def test_the_committed_page_is_the_safe_one_and_is_named():
    text = (TOP / ".dvc/plots_page.html").read_text(encoding="utf-8")
    assert text == plots_page.page([], plots_page.ASK)
    config = configparser.ConfigParser()
    config.read(TOP / ".dvc/config")
    assert config["plots"]["html_template"].strip() == "plots_page.html"


def test_what_would_end_a_script_does_not_stand_in_one():
    text = plots_page.page(["a = '</script><!--<script>'", "b = 1"], "")
    page = check(text, scripts=2)
    assert page.scripts == ["a = '<\\/script><\\!--<script>'", "b = 1"]


def test_no_other_page_is_written():
    """Whoever adds one has to think of its policy, and of `tests/pages.py`."""
    found = [
        path.relative_to(TOP).as_posix()
        for folder in ("src", "stages", "tools", "benchmarks")
        for path in (TOP / folder).rglob("*.*")
        if path.suffix != ".pyc" and "<html" in path.read_text(encoding="utf-8", errors="replace")
    ]
    assert sorted(found) == ["src/medaudit/report/templates/report.html.j2", "tools/plots_page.py"]
