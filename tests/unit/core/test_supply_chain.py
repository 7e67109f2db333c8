"""Locks hold versions and hashes of everything that the set-up takes."""

import re

import pytest

from tools.supply_chain import locks

LOCKS = (locks.MAIN, locks.TORCH, locks.CUDA)
HASH = "0" * 64


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_locks_name_versions_and_hashes_and_no_place(path):
    text = path.read_text(encoding="utf-8")
    packages = locks.read(path)
    assert packages
    assert len({package.name for package in packages}) == len(packages)
    assert "".join(package.text() for package in packages) == re.sub(r"(?m)^#.*\n", "", text)
    assert not re.search(r"://|index|find-links|file:|@", text)


def test_tools_that_install_and_build_are_locked():
    assert {"pip", "setuptools", "uv"} <= {package.name for package in locks.read(locks.MAIN)}


def test_torch_is_locked_in_every_build():
    (torch,) = locks.read(locks.TORCH)
    assert f"torch=={torch.version}" == locks.pinned_torch()
    cpu = locks.cpu_hashes(torch.version)
    assert len(cpu) == len(set(cpu)) >= 8
    assert set(cpu) < set(torch.hashes)
    assert not {p.name for p in locks.read(locks.CUDA)} & {p.name for p in locks.read(locks.MAIN)}


def test_a_torch_whose_cpu_builds_are_not_known_is_not_locked():
    with pytest.raises(SystemExit, match=r"no CPU build of torch 0\.0\.1"):
        locks.cpu_hashes("0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0",
        f"numpy>=2.0 --hash=sha256:{HASH}",
        f"numpy --hash=sha256:{HASH}",
        f"numpy==2.0 --hash=md5:{HASH}",
        f"numpy==2.0 --hash=sha256:{HASH[1:]}",
        f"numpy @ https://example.org/numpy.whl --hash=sha256:{HASH}",
        "--index-url https://example.org/simple",
    ],
)
def test_a_lock_with_less_than_version_and_hash_is_refused(line):
    with pytest.raises(ValueError, match="a lock wants"):
        locks.parse(line + "\n")
