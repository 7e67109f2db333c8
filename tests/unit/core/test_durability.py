"""After a power cut, as far as user space can play it: what was not synced is gone."""

import contextlib
import os
import shutil
import stat

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from medaudit.core import files, findings, keys
from medaudit.core.files import atomic, new_folder, staged, write_text
from medaudit.core.findings import Findings
from medaudit.data.manifest import whole_folder
from medaudit.pixels.packed import write_shards
from medaudit.tables import operating_points, predictions

CHANGES = ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir")


class Disk:
    """Keeps the bytes of every file at its last sync, and the names in every folder at its own.

    A file system may also write names ahead of the bytes: `left(names_ahead=True)`.
    """

    def __init__(self, root, patch):
        self.root = root
        self.files, self.folders, self.held = {}, {}, []
        self.moments = []
        self.asked = None
        for path in [root, *root.rglob("*")]:
            handle = os.open(path, os.O_RDONLY)
            self.keep(handle)
            os.close(handle)
        for name in CHANGES:
            patch.setattr(os, name, self.watched(getattr(os, name), synced=name == "fsync"))

    def keep(self, handle):
        known = os.fstat(handle)
        self.held.append(os.dup(handle))  # so that no other file gets its number
        if stat.S_ISDIR(known.st_mode):
            with os.scandir(handle) as found:
                self.folders[known.st_ino] = {
                    each.name: (each.inode(), each.is_dir()) for each in found
                }
        else:
            self.files[known.st_ino] = os.pread(handle, known.st_size, 0)

    def watched(self, change, *, synced):
        def changed(*arguments, **more):
            self.look()
            result = self.keep(arguments[0]) if synced else change(*arguments, **more)
            self.look()
            return result

        return changed

    def look(self):
        """Ask the test what it makes of a power cut at this moment."""
        asked, self.asked = self.asked, None  # what is asked may change files, too
        if asked is not None:
            for ahead in (False, True):
                asked(self.left(names_ahead=ahead))
            self.asked = asked
            self.moments.append(1)

    def left(self, *, names_ahead):
        """Content by name below the root."""
        return dict(self._below(self.root, self.root.stat().st_ino, "", ahead=names_ahead))

    def _below(self, path, number, prefix, *, ahead):
        names = self.folders.get(number, {})
        if ahead:
            with os.scandir(path) as found:
                names = {each.name: (each.inode(), each.is_dir()) for each in found}
        for name, (inner, is_folder) in names.items():
            if is_folder:
                yield from self._below(path / name, inner, f"{prefix}{name}/", ahead=ahead)
            else:
                yield f"{prefix}{name}", self.files.get(inner, b"")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    root = tmp_path / "disk"
    root.mkdir()

    def make(**before):
        for name, text in before.items():
            (root / name).write_text(text)
        return Disk(root, monkeypatch)

    yield make
    monkeypatch.undo()


def named(left, folder=""):
    """What a reader would find, without temporary names."""
    return {n: c for n, c in left.items() if n.startswith(folder) and not n.startswith(".")}


def replaced(disk):
    """Every state in which a power cut may leave a file that is written over."""
    seen, found = disk(a="old"), set()
    seen.asked = lambda left: found.add(left.get("a"))
    write_text(seen.root / "a", "new and longer")
    seen.asked = None
    return found, [seen.left(names_ahead=ahead)["a"] for ahead in (False, True)]


def test_a_file_is_the_old_one_or_the_new_one(disk):
    found, after = replaced(disk)
    assert found == {b"old", b"new and longer"}
    assert after == [b"new and longer"] * 2


def test_without_a_sync_this_test_would_find_an_empty_file(disk, monkeypatch):
    monkeypatch.setattr(files, "sync", lambda _: None)
    found, after = replaced(disk)
    assert b"" in found
    assert after == [b"old", b""]


def test_a_new_file_in_new_folders_is_absent_or_whole(disk):
    seen, found = disk(), set()
    seen.asked = lambda left: found.add(named(left).get("deep/er/a"))
    write_text(seen.root / "deep/er/a", "text")
    seen.asked = None
    assert found == {None, b"text"}
    assert [named(seen.left(names_ahead=a)) for a in (False, True)] == [{"deep/er/a": b"text"}] * 2


@pytest.mark.parametrize("make", [new_folder, whole_folder])
def test_a_folder_is_absent_or_whole(disk, make):
    seen, found = disk(), []
    seen.asked = lambda left: found.append(named(left, "out/"))
    with make(seen.root / "out") as folder:
        (folder / "plain.txt").write_text("not synced by who wrote it")
        (folder / "inner").mkdir()
        write_text(folder / "inner/b", "b")
    seen.asked = None
    whole = {"out/plain.txt": b"not synced by who wrote it", "out/inner/b": b"b"}
    assert len(seen.moments) > 10
    assert all(left in ({}, whole, whole | {"out/.lock": b""}) for left in found)
    assert [named(seen.left(names_ahead=ahead)) for ahead in (False, True)] == [whole] * 2


def test_what_stages_leave_is_on_the_disk_when_they_end(disk, table, points):
    seen = disk()
    images = [np.full((4, 4, 3), n, dtype=np.uint8) for n in range(3)]
    findings.write(Findings({"n": 1}, {"s": pd.DataFrame({"x": [1]})}), "prepare", root=seen.root)
    operating_points.write(points, seen.root / "artifacts/operating_points.json")
    predictions.write(table, seen.root / "artifacts/predictions/clean/plain.parquet")
    write_shards(iter(images), seen.root / "artifacts/prepared/pixels", size=4)
    with keys.store("train", "k" * 64, root=seen.root / ".resume") as folder:
        write_text(folder / "checkpoint", "epoch 1")
    real = {
        path.relative_to(seen.root).as_posix(): path.read_bytes()
        for path in seen.root.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }
    for ahead in (False, True):
        left = seen.left(names_ahead=ahead)
        assert {name: left.get(name) for name in real} == real
    assert len(real) == 7


def test_a_sync_that_fails_names_the_file(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space") as caught:
        write_text(tmp_path / "a", "text")
    assert caught.value.filename.startswith(str(tmp_path / ".a."))
    assert list(tmp_path.iterdir()) == []


def part_of(folder, name):
    made = folder / f".{name}.killed.part"
    made.mkdir()
    (made / "half.npy").write_bytes(b"half")
    return made


def test_parts_of_killed_runs_go_with_and_without_a_lock_file(tmp_path):
    dead, older = part_of(tmp_path, "out"), tmp_path / ".out.older.part"
    shutil.copytree(dead, older)
    (older / ".lock").touch()
    other = part_of(tmp_path, "another")
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        assert not dead.exists()
        assert not older.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "out"]


def test_parts_of_living_runs_stay(tmp_path):
    living = part_of(tmp_path, "out")
    with FileLock(living / ".lock"), staged(tmp_path / "out") as first:
        with staged(tmp_path / "out") as second:
            assert first.exists()
            assert second.exists()
        assert living.exists()


def test_a_link_that_is_called_like_a_part_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".out.x.part").symlink_to(tmp_path / "mine")
    with new_folder(tmp_path / "out"):
        pass
    assert list((tmp_path / "mine").iterdir()) == []


def test_temporary_files_of_killed_runs_go_and_those_of_living_ones_stay(tmp_path):
    (tmp_path / ".a.json.killed.part").write_text("{half")
    (tmp_path / ".b.json.killed.part").write_text("of another file")
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(atomic(tmp_path / "a.json"))
        two = stack.enter_context(atomic(tmp_path / "a.json"))
        one.write_text("1")
        two.write_text("2")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.killed.part", "a.json"]
    assert (tmp_path / "a.json").read_text() == "1"  # the last to end


def test_names_that_look_like_patterns(tmp_path):
    (tmp_path / ".ab.x.part").write_text("of a file called ab")
    write_text(tmp_path / "[a]b", "text")
    write_text(tmp_path / "a*", "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ab.x.part", "[a]b", "a*"]
