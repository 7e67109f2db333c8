"""Copy what may be published of the last run into docs/results/PROFILE: numbers, charts, the PDF.

python tools/publish_results.py PROFILE

Refuses a report that shows images of the data set (`report.case_images` must be `withhold`):
licences of medical data rarely allow it. Refuses too what nobody could make again: code that is in
no commit, or a report of another commit than the one that is checked out.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from medaudit.core.layout import STAGES
from medaudit.report import reproduction


def main() -> None:
    """Copy metrics, charts, PDF and parameters, and write the page that describes them."""
    name = sys.argv[1]
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    reason = refusal(params, root=Path())
    if reason:
        sys.exit(reason)
    target = Path("docs/results") / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree("metrics", target / "metrics")
    shutil.copytree("report/figures", target / "figures", ignore=shutil.ignore_patterns("*.png"))
    shutil.copytree("plots", target / "plots")
    shutil.copy2("report/report.pdf", target / "report.pdf")
    shutil.copy2("params.yaml", target / "params.yaml")
    (target / "README.md").write_text(page(name, params), encoding="utf-8")


def refusal(params: dict, root: Path) -> str:
    """Why the last run may not be published; empty where it may."""
    if params["report"]["case_images"] != "withhold":
        return "set report.case_images to withhold and run `dvc repro` before publishing"
    if params["report"].get("privacy", "open") == "open" and not reproduction.drawn(params):
        return "set report.privacy to pseudonymous or aggregate and run `dvc repro` first"
    commit = reproduction.commit(root, params)
    if commit.dirty or not commit.sha:
        return "the code differs from its commit (`git status`): commit it and run `dvc repro`"
    report = (root / "report/report.html").read_text(encoding="utf-8")
    if f"Commit {commit.words}." not in report:
        return f"report/ was not made at {commit.words}: run `dvc repro -f report`"
    return ""


def commands(commit: str, profile: str, params: dict) -> list[str]:
    """What somebody types to get these numbers."""
    return [
        f"git checkout {commit}",
        "make setup && source .venv/bin/activate",
        f"cp -r /where/it/lies {params['data']['root']}",
        f"medaudit use {profile}",
        "dvc add data",
        "dvc exp run -S report.case_images=withhold",
        f"python tools/publish_results.py {profile}",
    ]


def page(name: str, params: dict) -> str:
    """The page: headline numbers, wall clock, machine, versions, commit, commands."""
    runs = {stage: read(Path("runtime") / f"{stage}.json") for stage in STAGES}
    machine = next(run["machine"] for run in runs.values() if run)
    versions = next(run["versions"] for run in runs.values() if run)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    seconds = {stage: run.get("seconds") for stage, run in runs.items()}
    total = sum(value for value in seconds.values() if value)
    lines = [
        f"# {name}",
        "",
        "Every number is from one run of the commands below; no image of the data set is shown.",
        "",
        "[report.pdf](report.pdf) · [metrics](metrics) · [series](plots) · [charts](figures)",
        "",
        "## Headline",
        "",
        *table(("metric", "value", "95 % interval"), headline()),
        "",
        "† few groups carry the number: read the interval with care (docs/results/coverage).",
        "",
        "## Wall clock",
        "",
        *table(
            ("stage", "seconds"),
            [(s, "" if v is None else f"{v:.0f}") for s, v in seconds.items()]
            + [("all", f"{total:.0f} ({total / 60:.1f} min)")],
        ),
        "",
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"Python {machine['python']}.",
        "Versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ".",
        f"Commit of the code: `{commit}`.",
        "",
        "## Commands",
        "",
        *(f"    {line}" for line in commands(commit, name, params)),
        "",
    ]
    return "\n".join(lines)


def headline() -> list[tuple[str, str, str]]:
    """Every metric of the evaluate stage with its interval."""
    rows = Path("plots/evaluate/metrics.csv").read_text(encoding="utf-8").splitlines()
    names = rows[0].split(",")
    found = []
    for row in rows[1:]:
        cell = dict(zip(names, row.split(","), strict=True))
        value, low, high = (shown(cell[key]) for key in ("value", "low", "high"))
        interval = f"{low} to {high}" if cell["low"] else "no interval"
        mark = " †" if cell.get("caution") and cell["low"] else ""
        found.append((cell["metric"], value + mark, interval))
    return found


def shown(cell: str) -> str:
    """A number with three decimals; an empty cell is undefined."""
    return f"{float(cell):.3f}" if cell else "undefined"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(head) + " |",
        "| " + " | ".join("---" for _ in head) + " |",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def read(path: Path) -> dict:
    """A JSON object, or an empty one where the file is absent."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


if __name__ == "__main__":
    main()
