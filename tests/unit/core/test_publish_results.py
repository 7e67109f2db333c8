"""What may not be published, and that nothing else is touched."""

import json
import subprocess

import pytest
import yaml

from tools import publish_results

REPORT = {"case_images": "withhold", "privacy": "pseudonymous"}
PARAMS = {"data": {"root": "data/ham"}, "report": REPORT}


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init")
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    say(tmp_path, git(tmp_path, "rev-parse", "HEAD")[:12])
    return tmp_path


def say(folder, commit):
    (folder / "report").mkdir(exist_ok=True)
    (folder / ".git/info/exclude").write_text("report")
    (folder / "report/report.html").write_text(f"<p>Commit {commit}. Machine: one.</p>")


def test_a_clean_run_with_parameters_of_its_own_may_be_published(repository):
    (repository / "params.yaml").write_text("2")
    assert publish_results.refusal(PARAMS, repository) == ""


def test_images_of_patients_may_not(repository):
    shown = PARAMS | {"report": REPORT | {"case_images": "show"}}
    assert "withhold" in publish_results.refusal(shown, repository)


@pytest.mark.parametrize("report", [REPORT | {"privacy": "open"}, {"case_images": "withhold"}])
def test_names_of_patients_may_not_but_drawn_images_have_none(repository, report):
    named = PARAMS | {"report": report}
    assert "report.privacy" in publish_results.refusal(named, repository)
    drawn = named | {"data": {"root": "data/phantom"}}
    assert publish_results.refusal(drawn, repository) == ""


def test_code_in_no_commit_may_not(repository, tmp_path_factory):
    (repository / "dvc.yaml").write_text("2")
    assert "differs from its commit" in publish_results.refusal(PARAMS, repository)
    nowhere = tmp_path_factory.mktemp("nowhere")
    assert "differs from its commit" in publish_results.refusal(PARAMS, nowhere)


@pytest.mark.parametrize("words", ["0123456789ab", "{sha} with uncommitted changes"])
def test_a_report_of_other_code_may_not(repository, words):
    say(repository, words.format(sha=git(repository, "rev-parse", "HEAD")[:12]))
    assert "dvc repro -f report" in publish_results.refusal(PARAMS, repository)


@pytest.fixture
def finished(repository, monkeypatch):
    """A run that may be published as `mine`, with results of an earlier one in place."""
    monkeypatch.chdir(repository)
    (repository / ".git/info/exclude").write_text("*\n")
    for name, content in {
        "params.yaml": yaml.safe_dump(PARAMS),
        "profiles/mine.yaml": "",
        "metrics/evaluate.json": "{}",
        "plots/evaluate/metrics.csv": "metric,value,low,high\naccuracy,0.5,0.4,0.6\n",
        "report/figures/slices.svg": "<svg/>",
        "report/figures/slices.png": "",
        "report/report.pdf": "new",
        "runtime/report.json": json.dumps(
            {
                "seconds": 1,
                "machine": {"processor": "p", "cores": 1, "system": "s", "python": "3"},
                "versions": {},
            }
        ),
        "docs/results/mine/report.pdf": "old",
        "precious/notes.txt": "kept",
    }.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(content)
    return repository


def publish(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["publish_results.py", *words])
    publish_results.main()


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git/" not in path.as_posix()
    }


def test_the_folder_of_a_profile_is_replaced(finished, monkeypatch):
    before = files(finished)
    publish(monkeypatch, "mine")
    after = files(finished / "docs/results/mine")
    assert after.pop("README.md").startswith(b"# mine\n")
    assert set(after) == {
        "params.yaml",
        "report.pdf",
        "metrics/evaluate.json",
        "plots/evaluate/metrics.csv",
        "figures/slices.svg",
    }
    assert after["report.pdf"] == b"new"
    others = {name: text for name, text in files(finished).items() if "docs" not in name}
    assert others == {name: text for name, text in before.items() if "docs" not in name}
    assert [path.name for path in (finished / "docs/results").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "{root}/precious",
            "../../precious",
            "../results/mine",
            "mine/",
            "./mine",
            "mine/metrics",
        ),
        *("", ".", "..", "coverage", "MINE", "mine.yaml", "mine mine"),
    ],
)
def test_what_is_no_profile_is_not_touched(finished, monkeypatch, name):
    before = files(finished)
    with pytest.raises(SystemExit, match=r"expected the name of a profile \(mine\), got"):
        publish(monkeypatch, *name.format(root=finished).split(" "))
    assert files(finished) == before


@pytest.mark.parametrize("lacking", ["report/report.pdf", "plots/evaluate/metrics.csv"])
def test_what_was_published_stays_where_something_is_lacking(finished, monkeypatch, lacking):
    (finished / lacking).unlink()
    before = files(finished)
    with pytest.raises(FileNotFoundError):
        publish(monkeypatch, "mine")
    assert files(finished) == before
    assert [path.name for path in (finished / "docs/results").iterdir()] == ["mine"]


def test_what_may_not_be_published_removes_nothing(finished, monkeypatch):
    (finished / "params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "report": {"case_images": "show"}})
    )
    before = files(finished)
    with pytest.raises(SystemExit, match="withhold"):
        publish(monkeypatch, "mine")
    assert files(finished) == before


def test_a_swap_that_fails_puts_the_old_results_back(finished, monkeypatch):
    def failing(part, folder):
        raise OSError("no")

    monkeypatch.setattr(publish_results, "settle", failing)
    before = files(finished)
    with pytest.raises(OSError, match="no"):
        publish(monkeypatch, "mine")
    assert files(finished) == before


def test_a_link_is_not_followed(finished, monkeypatch):
    (finished / "docs/results/mine").rename(finished / "elsewhere")
    (finished / "docs/results/mine").symlink_to(finished / "elsewhere")
    before = files(finished)
    with pytest.raises(SystemExit, match="a link"):
        publish(monkeypatch, "mine")
    assert files(finished) == before
