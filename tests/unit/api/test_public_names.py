"""What `import medaudit` offers, and what it leaves alone until it is asked for."""

import subprocess
import sys

import pytest

import medaudit as ma

HEAVY = ("torch", "torchvision", "timm", "pandas", "matplotlib", "sklearn", "scipy", "pyarrow")


def heavy_after(code):
    """Which heavy packages a fresh interpreter has loaded after the code."""
    script = f"{code}\nimport sys\nprint(*[n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_import_is_light():
    assert heavy_after("import medaudit") == set()


def test_metrics_need_neither_torch_nor_data_frames():
    code = "import medaudit as ma\nma.metrics.auroc([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3])"
    assert heavy_after(code) <= {"scipy"}


def test_an_audit_needs_no_torch():
    assert not {"torch", "torchvision", "timm"} & heavy_after("import medaudit as ma\nma.audit")


def test_public_names():
    assert dir(ma) == sorted(ma.__all__)
    for name in ma.__all__:
        assert getattr(ma, name) is not None
    assert ma.audit.__module__ == "medaudit.api"
    assert issubclass(ma.MedauditError, Exception)
    with pytest.raises(AttributeError, match="no attribute 'adit'"):
        _ = ma.adit
