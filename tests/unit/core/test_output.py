"""The folder that a command writes never takes the place of anything."""

from pathlib import Path

import pytest

from medaudit.core.errors import ParamsError
from medaudit.core.files import check_free, new_folder


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A folder with the user's work in it, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/old.txt").write_text("earlier results")
    return tmp_path


@pytest.mark.parametrize(
    "out", ["new/..", "runs/../audit", ".", "audit", "thesis.txt", "thesis.txt/a/.."]
)
def test_what_could_hide_other_work_is_refused_before_anything(kept, out):
    with pytest.raises(ParamsError, match="name"):
        check_free(Path(out))
    with pytest.raises(ParamsError), new_folder(Path(out)):
        pytest.fail("the block must not begin")
    assert (kept / "thesis.txt").read_text() == "years of work"
    assert (kept / "audit/old.txt").read_text() == "earlier results"
    assert sorted(path.name for path in kept.iterdir()) == ["audit", "thesis.txt"]


def test_a_link_is_refused(kept):
    (kept / "empty").mkdir()
    (kept / "link").symlink_to(kept / "empty")
    with pytest.raises(ParamsError, match="a link or a mount point"):
        check_free(kept / "link")


def test_a_new_and_an_empty_folder_are_filled(kept):
    for name in ("deep/new", "empty"):
        if name == "empty":
            (kept / name).mkdir()
        with new_folder(kept / name) as folder:
            (folder / "a.txt").write_text("a")
        assert [path.name for path in (kept / name).iterdir()] == ["a.txt"]


def test_what_appears_meanwhile_is_left_alone(kept, caplog):
    with new_folder(kept / "late") as folder:
        (folder / "a.txt").write_text("ours")
        (kept / "late").mkdir()
        (kept / "late/mine.txt").write_text("theirs")
    assert (kept / "late/mine.txt").read_text() == "theirs"
    assert (kept / "late-2/a.txt").read_text() == "ours"
    assert "something has appeared there" in caplog.text


def test_a_failure_leaves_nothing(kept):
    def fail_halfway():
        with new_folder(kept / "new") as folder:
            (folder / "a.txt").write_text("a")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail_halfway()
    assert sorted(path.name for path in kept.iterdir()) == ["audit", "thesis.txt"]
