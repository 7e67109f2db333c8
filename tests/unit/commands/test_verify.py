"""`medaudit verify`: worked examples in small repositories."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from medaudit.cli import app
from medaudit.commands import verify
from medaudit.report import reproduction
from medaudit.report.reproduction import Spread, Variation

PARAMS = {"train": {"epochs": 2, "seed": 1}, "report": {"title": "A"}, "compute": {"threads": 2}}
EVALUATE = {"accuracy": 0.70, "macro_auroc": 0.92, "n": 226, "recall": None}
SLICE = {"worst_accuracy": 0.5, "worst_accuracy_slice": "age 1"}
# Of five seeds: with 4 degrees of freedom, P(|t| > 2.776) = 0.05.
ACCURACY = Variation(5, mean=0.71, sd=0.02, low=0.69, high=0.73)
STEADY = Variation(5, mean=1, sd=0.0, low=1, high=1)


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)


def write(folder, *, evaluate=EVALUATE, slices=SLICE, params=PARAMS):
    (folder / "metrics").mkdir(exist_ok=True)
    (folder / "metrics/evaluate.json").write_text(json.dumps(evaluate))
    (folder / "metrics/slice.json").write_text(json.dumps(slices))
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def measure(folder, params=PARAMS):
    spreads = folder / "profiles/spread"
    spreads.mkdir(parents=True)
    (spreads / "small.yaml").write_text(yaml.safe_dump(params))
    (spreads / "small.csv").write_text(
        "stage,metric,seeds,mean,sd,low,high\n"
        "evaluate,accuracy,5,0.71,0.02,0.69,0.73\n"
        "evaluate,macro_auroc,5,0.92,0.005,0.91,0.93\n"
        "slice,worst_accuracy,5,0.5,0.05,0.4,0.6\n"
    )


@pytest.fixture
def repository(tmp_path, monkeypatch):
    write(tmp_path)
    measure(tmp_path)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    done = CliRunner().invoke(app, ["verify", *words])
    return done.exit_code, done.output


def test_equal_numbers(repository):
    code, said = call()
    assert code == 0
    assert said.splitlines() == [
        "5 of 5 headline numbers equal those of HEAD.",
        "This run gives the committed numbers to the last digit.",
    ]


def test_numbers_within_the_spread_are_listed_and_pass(repository):
    write(repository, evaluate={**EVALUATE, "accuracy": 0.73})
    code, said = call()
    table, verdict = said.splitlines()[:-2], said.splitlines()[-2:]
    assert code == 0
    assert table[1].split() == ["evaluate.accuracy", "0.7", "0.73", "+0.03", "0.02", "within"]
    assert len(table) == 2
    assert verdict[0] == (
        "4 of 5 headline numbers equal those of HEAD, 1 differs, all within the spread of "
        "retraining (5 seeds)."
    )
    assert call("--brief") == (0, "\n".join(verdict) + "\n")


def test_numbers_outside_the_spread_come_first_and_fail(repository):
    # sqrt(2) x 0.005 x 2.776 = 0.0196 is where a single comparison would end
    write(repository, evaluate={**EVALUATE, "accuracy": 0.71, "macro_auroc": 0.80})
    code, said = call()
    lines = said.splitlines()
    assert code == 1
    assert lines[1].split()[0] == "evaluate.macro_auroc"
    assert lines[1].endswith("outside")
    assert lines[2].endswith("within")
    assert "2 differ, 1 of them outside the spread" in lines[-2]
    assert "Not explained by retraining: evaluate.macro_auroc;" in lines[-1]


@pytest.mark.parametrize("change", [{"n": 225}, {"recall": 0.1}, {"accuracy": None}, {"new": 1}])
def test_what_no_retraining_moves_has_to_be_equal(repository, change):
    write(repository, evaluate={**EVALUATE, **change})
    assert call()[0] == 1


def test_a_number_that_is_gone_is_told(repository):
    write(repository, evaluate={k: v for k, v in EVALUATE.items() if k != "macro_auroc"})
    code, said = call()
    assert code == 1
    assert "evaluate.macro_auroc" in said


def test_another_worst_slice_is_shown_and_not_judged(repository):
    write(repository, slices={"worst_accuracy": 0.5, "worst_accuracy_slice": "age 2"})
    code, said = call()
    assert code == 0
    assert "age 2" in said
    assert said.splitlines()[-2].startswith("5 of 5")


def test_without_a_measured_spread_numbers_have_to_be_equal(repository):
    for path in (repository / "profiles/spread").iterdir():
        path.unlink()
    assert call()[0] == 0
    write(repository, evaluate={**EVALUATE, "accuracy": 0.700001})
    code, said = call()
    assert code == 1
    assert "was not measured for these parameters" in said


def test_a_spread_of_other_parameters_does_not_judge(repository):
    longer = {**PARAMS, "train": {"epochs": 3, "seed": 1}}
    write(repository, params=longer)
    git(repository, "commit", "-am", "longer")
    write(repository, params=longer, evaluate={**EVALUATE, "accuracy": 0.73})
    assert call()[0] == 1
    write(repository, params=PARAMS)
    assert call("HEAD~1")[0] == 0


def test_other_parameters_are_named_and_not_compared(repository):
    write(repository, params={**PARAMS, "train": {"epochs": 3, "seed": 1}})
    code, said = call()
    assert code == 2
    assert said.startswith("cannot compare with HEAD:")
    assert "train.epochs was 2, is 3" in said
    # Neither words nor threads are another question.
    write(repository, params={**PARAMS, "report": {"title": "B"}, "compute": {"threads": 1}})
    assert call()[0] == 0


def test_other_data_are_not_compared(repository):
    (repository / "data.dvc").write_text("md5: a\n")
    assert call()[0] == 2
    git(repository, "add", "data.dvc")
    git(repository, "commit", "-m", "data")
    assert call()[0] == 0
    (repository / "data.dvc").write_text("md5: b\n")
    code, said = call()
    assert code == 2
    assert "data.dvc is not that of HEAD" in said


@pytest.mark.parametrize("rev", ["v9", "--", "-h x", "HEAD:params.yaml"])
def test_no_such_commit(repository, rev):
    code, said = (
        CliRunner().invoke(app, ["verify", "--", rev]).exit_code,
        verify.verify(rev, brief=True),
    )
    assert (code, said) == (2, 2)


def test_a_stage_that_did_not_run_is_named(repository):
    (repository / "metrics/slice.json").unlink()
    code, said = call()
    assert code == 2
    assert "metrics/slice.json" in said
    assert "dvc repro" in said


@pytest.mark.parametrize("held", [b"{", b"[1]", b"\xff", b'{"a": [1]}', b'{"a": 1, "a": 2}'])
def test_damaged_numbers_are_one_line(repository, caplog, held):
    (repository / "metrics/slice.json").write_bytes(held)
    code, said = call()
    assert code == 1
    assert "metrics" in f"{said}{caplog.text}"
    git(repository, "commit", "-am", "damaged")
    write(repository)
    code, said = call()
    assert code == 1
    assert "metrics" in f"{said}{caplog.text}"


def test_outside_of_a_repository(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert call()[0] == 2


def test_a_commit_without_results(tmp_path, monkeypatch):
    write(tmp_path)
    git(tmp_path, "init")
    git(tmp_path, "add", "params.yaml")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.chdir(tmp_path)
    code, said = call()
    assert code == 2
    assert "no metrics/ in that commit" in said


def test_p_values_of_a_retraining():
    # t = d / (sqrt(2) sd) with 4 degrees of freedom
    at_five_percent = 2.776445 * 2**0.5 * 0.02
    assert ACCURACY.p_value(at_five_percent) == pytest.approx(0.05, abs=1e-6)
    assert ACCURACY.p_value(-at_five_percent) == pytest.approx(0.05, abs=1e-6)
    assert ACCURACY.p_value(0.0) == 1.0


def test_a_number_on_which_five_seeds_agree_may_be_another_in_the_sixth():
    assert STEADY.p_value(0.0) == 1.0
    assert STEADY.p_value(1.0) == pytest.approx(1 / 6)
    spread = Spread(5, {"slice.n_significant": STEADY})
    (found,) = verify.compare({"slice.n_significant": 1}, {"slice.n_significant": 2}, spread)
    assert not found.outside


def test_a_difference_that_one_of_many_numbers_may_have_is_within():
    # Alone p = 0.03 is outside; beside nineteen equal numbers it is what chance brings.
    spread = Spread(5, {f"s.m{i}": ACCURACY for i in range(20)})
    committed = dict.fromkeys(spread.numbers, 0.7)
    moved = 0.7 + 3.3 * 2**0.5 * 0.02
    (alone,) = verify.compare({"s.m0": 0.7}, {"s.m0": moved}, spread)
    assert alone.outside
    assert not any(
        e.outside for e in verify.compare(committed, {**committed, "s.m0": moved}, spread)
    )
    everywhere = dict.fromkeys(committed, moved)
    assert all(e.outside for e in verify.compare(committed, everywhere, spread))


def test_every_committed_spread_can_be_read():
    folder = Path(__file__).resolve().parents[3] / reproduction.SPREADS
    for path in folder.glob("*.yaml"):
        spread = reproduction.measured(yaml.safe_load(path.read_text()), folder)
        assert spread is not None
        assert spread.seeds >= 5


def test_every_kind_of_committed_number_can_be_compared():
    """Also yes and no, of which the stages write some."""
    root = Path(__file__).parents[3]
    stages = [path.stem for path in (root / "metrics").glob("*.json")]
    found = verify._here(root, stages)
    assert len(found) > 100
    assert {type(value) for value in found.values()} >= {bool, int, float, str}


def test_a_list_is_no_number(repository):
    write(repository, evaluate=EVALUATE | {"odd": [1, 2]})
    code, said = call()
    assert code != 0
    assert "expected numbers and words, got others in evaluate.odd" in said
