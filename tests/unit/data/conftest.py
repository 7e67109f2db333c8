"""A tiny data set in the layout of HAM10000."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
LESIONS = 5
Write = Callable[..., None]


def picture(seed: int, *, height: int = 30, width: int = 40) -> np.ndarray:
    """A smooth random image; different seeds are unrelated."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def metadata() -> pd.DataFrame:
    """Seven classes of five lesions; every second lesion has two images."""
    rows: list[dict[str, Any]] = []
    for k, name in enumerate(CLASSES):
        for lesion in range(LESIONS):
            for _ in range(1 + lesion % 2):
                rows.append(
                    {
                        "lesion_id": f"HAM_{k}{lesion}",
                        "image_id": f"ISIC_{len(rows):03}",
                        "dx": name,
                        "dx_type": "histo",
                        "age": "50.0",
                        "sex": "unknown" if lesion == 0 else "female",
                        "localization": "back",
                    }
                )
    return pd.DataFrame(rows)


@pytest.fixture
def rows() -> pd.DataFrame:
    return metadata()


@pytest.fixture
def ham(tmp_path: Path, rows: pd.DataFrame) -> Path:
    """The folder: images in two parts, no masks, 7-column metadata."""
    root = tmp_path / "ham"
    for i, name in enumerate(rows["image_id"]):
        part = root / f"HAM10000_images_part_{1 + i % 2}"
        part.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(part / f"{name}.jpg"), picture(i))
    rows.to_csv(root / "HAM10000_metadata.csv", index=False)
    return root


@pytest.fixture
def workplace(tmp_path: Path, ham: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Chdir into a folder whose params.yaml names the tiny data set; call it to set the rest."""

    def setup(**prepare: Any) -> Path:
        settings = {"image_size": 32, **prepare}
        lines = [f"  {key}: {value}" for key, value in settings.items()]
        data = f"data:\n  dataset: ham10000\n  root: {ham}\n"
        (tmp_path / "params.yaml").write_text(
            data + "prepare:\n" + "\n".join(lines) + "\nreport: {privacy: open}\n"
        )
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return setup


@pytest.fixture
def draw() -> Callable[[Path, int], None]:
    """Write a small grey image; different seeds are unrelated, equal seeds are copies."""

    def write(path: Path, seed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(seed)[..., 0])

    return write


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Chdir into a folder with a params.yaml of these `data` and `prepare` sections."""

    def setup(data: dict[str, Any], **prepare: Any) -> Path:
        content = {
            "data": data,
            "prepare": {"image_size": 32, **prepare},
            "report": {"privacy": "open"},
        }
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return setup
