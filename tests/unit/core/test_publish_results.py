"""What may not be published."""

import subprocess

import pytest

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
