"""DVC as its users use it, on the small repository."""

import json
import re
import sys

import pytest
import yaml
from documented import apply

from medaudit.core import layout

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

STAGES = list(layout.STAGES)


def ran(done):
    return re.findall(r"Running stage '(\w+)'", done.stdout)


def restored(done):
    return re.findall(r"Stage '(\w+)' is cached", done.stdout)


def test_a_second_repro_does_nothing(built_repo):
    lock = (built_repo.path / "dvc.lock").read_bytes()
    done = built_repo.run("dvc", "repro")
    assert ran(done) == []
    assert "up to date" in done.stdout
    assert (built_repo.path / "dvc.lock").read_bytes() == lock


def test_repro_leaves_what_it_declares(built_repo):
    for stage in STAGES[:-1]:
        scalars = json.loads((built_repo.path / f"metrics/{stage}.json").read_text())
        headline = [name for name in scalars if "_ci_" not in name]
        tested = {name[2:-10] for name in headline if re.fullmatch(r"n_\w+_undecided", name)}
        assert len(tested) <= 4, stage
        of = {
            m: [n for n in headline if re.match(rf"(n|worst|mean)_{m}_|worst_{m}$", n)]
            for m in tested
        }
        assert max(map(len, of.values()), default=0) <= 16, stage
        assert 3 <= len(headline) - sum(map(len, of.values())) <= 30, stage
        assert (built_repo.path / f"runtime/{stage}.json").is_file()
    assert (built_repo.path / "report/report.html").stat().st_size > 50_000
    assert (built_repo.path / "report/report.pdf").read_bytes().startswith(b"%PDF")
    written = {
        path.relative_to(built_repo.path).as_posix()
        for folder, ends in (("metrics", "*.*"), ("plots", "*.*"), ("report", "*.csv"))
        for path in (built_repo.path / folder).rglob(ends)
    }
    listed = built_repo.run("dvc", "ls", ".", "-R", "--dvc-only").stdout.split()
    stages = yaml.safe_load((built_repo.path / "dvc.yaml").read_text())["stages"].values()
    entries = [
        entry for each in stages for kind in ("metrics", "plots") for entry in each.get(kind, [])
    ]
    declared = {next(iter(entry)) for entry in entries}
    assert written == declared
    assert listed


def test_the_work_tree_is_clean_after_the_commit(built_repo):
    assert built_repo.run("git", "status", "--porcelain").stdout == ""


def test_a_slice_parameter_reruns_slice_and_what_reads_it(repo):
    done = repo.run("dvc", "exp", "run", "-S", "slice.min_size=6")
    assert ran(done) == ["slice", "cases", "report"]  # cases names the weak slices


def test_an_edit_of_a_metric_scores_again_without_inference(repo):
    path = repo.path / "src/medaudit/metrics/ranking.py"
    path.write_text(path.read_text() + "\n# a note\n")
    done = repo.run("dvc", "repro")
    assert "evaluate" in ran(done)
    assert "prepare" not in ran(done)
    said = done.stdout + done.stderr
    assert "plain-clean: predictions are at hand" in said
    assert "plain-gaussian_blur-1: predictions are at hand" in said
    assert not re.search(r"(clean|blur-1|jpeg-3): predicted", said)


def test_a_corruption_a_metric_and_a_predictor_reach_the_report_and_dvc(repo):
    """With the code of docs/extending.md and two names in params.yaml, and no other edit."""
    for kind in ("corruption", "metric", "predictor"):
        apply(f"A {kind}, step by step", repo.path)
    repo.params(
        stress={"corruptions": ["gaussian_blur", "jpeg", "salt"]},
        predict={"predictors": ["plain", "mirrored"]},
    )
    done = repo.run("dvc", "repro")
    assert ran(done) == STAGES
    said = done.stdout + done.stderr
    assert "salt-1: plain predicted" in said
    assert "jpeg-3: mirrored predicted" in said
    assert not re.search(r"(clean|blur-1|jpeg-3): plain predicted", said)
    assert "salt" in (repo.path / "report/report.html").read_text()
    assert "youden" in (repo.path / "plots/evaluate/per_class.csv").read_text()
    listed = repo.run("dvc", "ls", ".", "-R", "--dvc-only").stdout.split()
    assert f"{layout.clean_table('mirrored')}" in listed
    assert f"{layout.stress_table('salt-3', 'mirrored')}" in listed
    assert "up to date" in repo.run("dvc", "status").stdout


def test_going_back_is_a_run_cache_hit(repo):
    before = (repo.path / "metrics/slice.json").read_bytes()
    repo.params(slice={"min_size": 7})
    assert "slice" in ran(repo.run("dvc", "repro"))
    repo.params(slice={"min_size": 5})
    done = repo.run("dvc", "repro")
    assert restored(done) == ["slice", "cases", "report"]
    assert ran(done) == []
    assert (repo.path / "metrics/slice.json").read_bytes() == before


def test_an_experiment_can_be_compared(repo):
    repo.run("dvc", "exp", "run", "-S", "train.epochs=2", "-n", "short")
    shown = json.loads(repo.run("dvc", "metrics", "diff", "HEAD", "short", "--json").stdout)
    epochs = shown.get("diff", shown)["metrics/train.json"]["epochs_run"]
    assert (epochs["old"], epochs["new"]) == (1, 2)
    params = repo.run("dvc", "params", "diff", "HEAD", "short").stdout
    assert "train.epochs" in params
    repo.run("dvc", "plots", "diff", "HEAD", "short", "-o", "page")
    page = (repo.path / "page/index.html").read_text()
    assert "risk_coverage" in page
    assert "short" in page


def test_queued_and_temporary_runs_use_the_code_of_their_own_tree(repo):
    path = repo.path / "src/medaudit/audits/slices.py"
    text = path.read_text()
    head = 'scalars: dict[str, Scalar] = {"n_slices": n_slices'
    assert text.count(head) == 1
    path.write_text(text.replace(head, head + ', "own_tree": 1'))
    repo.run("dvc", "exp", "run", "--temp", "-S", "slice.min_size=8", "-n", "temporary")
    repo.run("dvc", "exp", "run", "--queue", "-S", "slice.min_size=9", "-n", "queued")
    repo.run("dvc", "queue", "start")
    repo.run("dvc", "queue", "logs", "queued", "--follow", check=False)
    for name in ("temporary", "queued"):
        shown = repo.run("git", "show", f"{reference(repo, name)}:metrics/slice.json").stdout
        assert json.loads(shown)["own_tree"] == 1, name


def reference(repo, name):
    refs = repo.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    return next(ref for ref in refs if ref.endswith(f"/{name}"))


def test_a_fresh_clone_makes_the_data_and_is_up_to_date(repo, tmp_path):
    clone = repo.clone(tmp_path / "clone")
    clone.run(sys.executable, "-m", "tools.embedded_data", "--n", "150", "--seed", "3")
    assert len(list((clone.path / "data/phantom").rglob("*.jpg"))) == 150
    assert clone.run("git", "status", "--porcelain").stdout == ""
    done = clone.run("dvc", "repro", "--allow-missing", "--dry")
    assert done.stdout.strip().endswith("Data and pipelines are up to date.")
