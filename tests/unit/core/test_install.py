"""The set-up takes packages by hash and nothing else; tiny wheels, no network."""

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from tools import install
from tools.supply_chain import locks

UV = Path(sys.executable).with_name("uv")
WRONG = "0" * 64


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels for a registry, and one to install into that is not this environment."""
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    target.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    source = ["--no-index", "--find-links", str(wheels), "--target", str(target)]
    monkeypatch.setattr(install, "PIP", [*install.PIP, *source])
    monkeypatch.setattr(install, "UV", [str(UV), *install.UV[1:-1], *source, "--python"])
    return wheels, target


def wheel(folder, name, version):
    """Write a wheel of one module; return its SHA-256."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    members = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={digest(text)},{len(text)}\n" for file, text in members.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (members | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def lock(path, name, version, *hashes):
    path.write_text(locks.Package(name, version, "", hashes).text(), encoding="utf-8")
    return path


@pytest.fixture(params=["uv", "pip"])
def installer(request, shelf, monkeypatch):
    """By uv with a pip that must not be asked, or by pip where there is no uv."""
    if request.param == "pip":
        monkeypatch.setattr(install, "UV", ["/nowhere/uv"])
    else:
        monkeypatch.setattr(install, "PIP", [sys.executable, "-c", "open('asked', 'w')"])
    return request.param


def test_the_locked_wheel_is_installed(shelf, installer, tmp_path):
    wheels, target = shelf
    right = wheel(wheels, "tiny", "1.0")
    install.install(lock(tmp_path / "a.lock", "tiny", "1.0", WRONG, right))
    assert (target / "tiny.py").is_file()


def test_another_wheel_is_refused_in_one_line(shelf, installer, tmp_path, monkeypatch):
    wheels, target = shelf
    wheel(wheels, "tiny", "1.0")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(install.InstallError) as refused:
        install.install(lock(tmp_path / "a.lock", "tiny", "1.0", WRONG))
    last = str(refused.value).splitlines()[-1]
    assert "not every package could be had as a.lock names it" in last
    assert not list(target.glob("tiny*"))
    assert not (tmp_path / "asked").exists()


def test_a_package_without_a_hash_is_refused(shelf, installer, tmp_path):
    wheels, target = shelf
    wheel(wheels, "tiny", "1.0")
    (tmp_path / "a.lock").write_text("tiny==1.0\n", encoding="utf-8")
    with pytest.raises(install.InstallError):
        install.install(tmp_path / "a.lock")
    assert not list(target.glob("tiny*"))


def test_where_uv_finds_nothing_pip_is_asked(shelf, tmp_path, monkeypatch):
    wheels, target = shelf
    right = wheel(wheels, "tiny", "1.0")
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(
        install, "UV", [word.replace(str(wheels), str(empty)) for word in install.UV]
    )
    install.install(lock(tmp_path / "a.lock", "tiny", "1.0", right))
    assert (target / "tiny.py").is_file()


@pytest.fixture
def torch_lock(tmp_path, monkeypatch):
    path = tmp_path / "requirements-torch.lock"
    monkeypatch.setattr(locks, "TORCH", path)
    monkeypatch.setattr(install, "wants_cuda", lambda: False)
    return path


def test_torch_is_the_build_that_pip_chooses(shelf, torch_lock):
    """The CPU build in a folder, though a build of the registry is locked, too."""
    wheels, target = shelf
    hashes = [wheel(wheels, "torch", version) for version in ("2.13.0", "2.13.0+cpu")]
    lock(torch_lock, "torch", "2.13.0", *hashes)
    install.install_torch()
    assert "+cpu" in (target / "torch.py").read_text()


def test_a_build_of_torch_that_is_not_locked_is_named_and_refused(shelf, torch_lock):
    wheels, target = shelf
    plain = wheel(wheels, "torch", "2.13.0")
    wheel(wheels, "torch", "2.13.0+cu999")
    lock(torch_lock, "torch", "2.13.0", plain)
    with pytest.raises(install.InstallError, match=r"torch-2\.13\.0\+cu999.*is none of the builds"):
        install.install_torch()
    assert not list(target.glob("torch*"))


def test_cuda_packages_are_wanted_beside_a_cuda_build_alone():
    assert install.wants_cuda() == (torch.version.cuda is not None and sys.platform == "linux")


def test_outside_of_an_environment_nothing_is_installed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(install, "everything", lambda *_: pytest.fail("installed"))
    assert install.main([]) == 1
    assert "make setup" in capsys.readouterr().err


@pytest.mark.slow
def test_make_setup_ends_with_the_reason(tmp_path):
    """The target itself, in a folder with a lock whose hash is wrong."""
    root = Path(__file__).resolve().parents[3]
    for name in ("Makefile", "tools/__init__.py", "tools/install.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "tools/supply_chain", tmp_path / "tools/supply_chain")
    for name in ("pyproject.toml", "requirements-torch.lock", "requirements-cuda.lock"):
        (tmp_path / name).write_text("", encoding="utf-8")
    wheel(tmp_path, "uv", "1.0")
    lock(tmp_path / "requirements.lock", "uv", "1.0", WRONG)
    source = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = subprocess.run(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        env=os.environ | source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "setup: pip, setuptools or uv is not the one of requirements.lock" in done.stderr
    assert not (tmp_path / ".venv/.ready").exists()
