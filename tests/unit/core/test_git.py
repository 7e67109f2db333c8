"""Git answers, and starts nothing that a repository's settings name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medaudit.commands import verify
from medaudit.core import git

PROGRAMS = ("fsmonitor", "hook", "pager", "clean", "textconv", "diff", "transport", "editor")


def plainly(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *author, *words], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0 or words[0] == "status", done.stderr
    return done.stdout


@pytest.fixture
def foreign(tmp_path):
    """A repository whose settings start a program for everything that git may start one for.

    Each program leaves a file of its name in the folder `marks` beside the repository.
    """
    root, marks = tmp_path / "foreign", tmp_path / "marks"
    root.mkdir()
    plainly(root, "init")
    (root / "a.txt").write_text("a\n")
    (root / "pyproject.toml").write_text("")
    plainly(root, "add", ".")
    plainly(root, "commit", "-m", "first")
    marks.mkdir()
    run = {name: program(tmp_path / f"{name}.sh", marks / name) for name in PROGRAMS}
    for setting, name in {
        "core.fsmonitor": "fsmonitor",
        "core.pager": "pager",
        "core.editor": "editor",
        "core.sshCommand": "transport",
        "filter.x.clean": "clean",
        "diff.x.textconv": "textconv",
        "diff.external": "diff",
    }.items():
        plainly(root, "config", setting, str(run[name]))
    plainly(root, "config", "alias.cat-file", f"!{run['editor']}")
    for hook in ("post-index-change", "reference-transaction", "post-checkout"):
        shutil.copy(run["hook"], root / ".git/hooks" / hook)
    (root / ".gitattributes").write_text("*.txt filter=x diff=x\n")
    # What is lacking would be fetched by a program.
    for setting in ("remote.origin.promisor=true", "remote.origin.url=ssh://nowhere/x"):
        plainly(root, "config", *setting.split("=", 1))
    plainly(root, "config", "core.repositoryFormatVersion", "1")
    plainly(root, "config", "extensions.partialClone", "origin")
    os.utime(root / "a.txt", (1, 1))
    return root


def program(path, mark):
    path.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    path.chmod(0o755)
    return path


def marks(repository):
    return sorted(path.name for path in (repository.parent / "marks").iterdir())


def test_the_repository_would_start_programs(foreign):
    """Else the tests below could not fail."""
    plainly(foreign, "status")
    assert {"fsmonitor", "clean"} <= set(marks(foreign))


@pytest.mark.parametrize(
    "words",
    [
        ("rev-parse", "HEAD"),
        ("rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"),
        ("ls-files", "--error-unmatch", "--", "a.txt"),
        ("ls-tree", "--name-only", "HEAD", "./"),
        ("cat-file", "blob", "HEAD:a.txt"),
    ],
)
def test_what_is_asked_of_any_repository_starts_none(foreign, words):
    assert git.ask(foreign, *words)
    assert marks(foreign) == []


def test_what_a_partial_clone_lacks_is_not_fetched(foreign):
    blob = plainly(foreign, "rev-parse", "HEAD:a.txt").strip()
    (foreign / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for path in (foreign.parent / "marks").iterdir():
        path.unlink()
    with pytest.raises(git.GitError):
        git.ask(foreign, "cat-file", "blob", "HEAD:a.txt")
    assert marks(foreign) == []


def test_status_runs_filters_alone_and_is_asked_of_the_own_checkout_alone(foreign):
    git.ask(foreign, "status", "--porcelain")
    assert marks(foreign) == ["clean"]
    source = Path(git.PACKAGE)
    asked = [
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if 'ask(root, "status"' in path.read_text(encoding="utf-8")
    ]
    assert asked == ["report/reproduction.py"]


def test_nobody_else_starts_git():
    """One place to look at. Tools run in their own checkout, and ask there as well."""
    top = Path(git.PACKAGE).parents[1]
    found = [
        path.relative_to(top).as_posix()
        for folder in ("src", "stages", "tools")
        for path in (top / folder).rglob("*.py")
        if '"git",' in path.read_text(encoding="utf-8").replace('"dvclive", "git"', "")
    ]
    assert found == ["src/medaudit/core/git.py"]


def test_an_environment_that_points_elsewhere_is_not_followed(foreign, tmp_path, monkeypatch):
    own = tmp_path / "own"
    own.mkdir()
    plainly(own, "init")
    plainly(own, "commit", "--allow-empty", "-m", "own")
    expected = plainly(own, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(foreign / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(foreign / ".git/index"))
    monkeypatch.setenv("GIT_TRACE", str(tmp_path / "trace"))
    assert git.ask(own, "rev-parse", "HEAD") == expected
    assert not (tmp_path / "trace").exists()


def test_no_repository_no_git_no_answer(tmp_path, monkeypatch):
    with pytest.raises(git.GitError, match="not a git repository"):
        git.ask(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 20\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setattr(git, "MOST_SECONDS", 0.2)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(git.GitError, match="no answer in"):
            git.ask(tmp_path, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(git.GitError, match="git was not found"):
        git.ask(tmp_path, "rev-parse", "HEAD")


class TestHome:
    def test_of_this_checkout(self):
        top = Path(__file__).resolve().parents[3]
        assert git.home() in {top, None}
        if (top / ".git").exists():
            assert git.home() == top

    def test_code_that_nobody_tracks_has_none(self, foreign):
        package = foreign / "src/medaudit"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        assert git.home(package) is None
        plainly(foreign, "add", "src")
        for path in (foreign.parent / "marks").iterdir():
            path.unlink()
        assert git.home(package) == foreign
        assert marks(foreign) == []

    def test_git_is_not_asked_about_installed_code(self, foreign, monkeypatch):
        package = foreign / ".venv/lib/site-packages/medaudit"
        package.mkdir(parents=True)
        monkeypatch.setattr(git, "ask", lambda *_: pytest.fail("asked"))
        assert git.home(package) is None


def test_an_audit_inside_another_repository_asks_ours_alone(foreign):
    """What `medaudit audit --out` does for the title block, in a process of its own."""
    commit = plainly(foreign, "rev-parse", "HEAD").strip()
    words = (
        "from pathlib import Path; from medaudit.report import reproduction; "
        "print(reproduction.code(Path('out'), {}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=foreign, check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("Commit(sha=")
    assert commit not in done.stdout
    assert marks(foreign) == []


def test_verify_runs_nothing_of_the_repository_that_it_is_called_in(foreign):
    for rev in ("HEAD", "HEAD~1"):
        assert verify.verify(rev, brief=True, root=foreign) == verify.NO_COMPARISON
    assert marks(foreign) == []
