"""The stage as a whole: what it writes, and what it says to bad input."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError, ParamsError
from medaudit.core.files import file_digest
from medaudit.core.findings import read_scalars
from medaudit.data.manifest import whole_folder
from medaudit.pixels.decode import decode, resize
from medaudit.pixels.packed import MaskReader, ShardReader
from medaudit.pixels.statistics import ARTEFACTS, STATISTICS
from medaudit.tables.manifest import read_manifest, read_preparation, targets
from stages import prepare

ROOT = Path(prepare.__file__).parents[1]
Setup = Callable[..., Path]


def prepared(folder: Path) -> Path:
    return folder / "artifacts" / "prepared"


def assert_nothing_written(folder: Path) -> None:
    assert list(folder.glob("artifacts/*")) == []
    assert list(folder.glob("artifacts/.*")) == []
    assert not (folder / "metrics").exists()


def broken(ham: Path, content: bytes, name: str = "ISIC_002") -> Path:
    path = next(ham.glob(f"*/{name}.jpg"))
    path.write_bytes(content)
    return path


def start(folder: Path, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    command = [sys.executable, "-m", "stages.prepare"]
    process: subprocess.Popen[str] = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, **options
    )
    return process


def test_writes_manifest_pixels_and_account(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    prepare.main()
    rows = read_manifest(prepared(folder))
    assert rows["sample_id"].tolist() == [f"ISIC_{i:03}" for i in range(49)]
    assert list(rows)[:8] == [
        "sample_id", "group_id", "role", "target", "age", "sex", "localization", "dx_type",
    ]  # fmt: skip
    assert list(rows)[8:] == [
        *STATISTICS, *ARTEFACTS, "image_width", "image_height", "megapixels", "image_size",
    ]  # fmt: skip
    assert (rows["image_size"] == "40x30").all()
    assert np.bincount(targets(rows)).tolist() == [7] * 7
    reader = ShardReader(prepared(folder) / "pixels")
    assert len(reader) == len(rows)
    for i in (0, 25, 48):
        original = decode(next(ham.glob(f"*/ISIC_{i:03}.jpg")))
        assert np.array_equal(reader[i], resize(original, 32))
    facts = read_preparation(prepared(folder))
    assert facts.image_size == 32
    assert sum(facts.class_counts_train.values()) == (rows["role"] == "train").sum()
    scalars = read_scalars("prepare", root=folder)
    assert (scalars["n_images"], scalars["n_groups"], scalars["imbalance_ratio"]) == (49, 35, 1.0)
    assert len(list((folder / "plots" / "prepare").iterdir())) == 4


def test_the_same_bytes_whatever_the_order_of_the_rows(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    prepare.main()
    first = {path.name: file_digest(path) for path in prepared(folder).rglob("*.*")}
    metadata = ham / "HAM10000_metadata.csv"
    pd.read_csv(metadata, dtype=str)[::-1].to_csv(metadata, index=False)
    prepare.main()
    assert first == {path.name: file_digest(path) for path in prepared(folder).rglob("*.*")}


def test_lesion_area_where_there_are_masks(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[:15] = 255
    (ham / "masks").mkdir()
    cv2.imwrite(str(ham / "masks" / "ISIC_000_segmentation.png"), mask)
    prepare.main()
    area = read_manifest(prepared(folder))["lesion_area"]
    assert area[0] == 0.5
    assert area[1:].isna().all()
    touches = read_manifest(prepared(folder))["touches_border"]
    assert touches[0] == "yes"
    assert touches[1:].isna().all()
    masks = MaskReader(prepared(folder) / "masks.npy", size=32)
    upper = masks[0]
    assert upper is not None
    assert upper[:16].all()
    assert not upper[16:].any()
    assert masks[1] is None


def test_copies_across_lesions_end_in_one_role(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    original = next(ham.glob("*/ISIC_000.jpg")).read_bytes()
    broken(ham, original, "ISIC_030")  # another class and lesion
    (ham / "known_duplicates.csv").write_text("from_img,to_img\nISIC_010.jpg,ISIC_020.jpg\n")
    prepare.main()
    rows = read_manifest(prepared(folder)).set_index("sample_id")
    for one, other in (("ISIC_000", "ISIC_030"), ("ISIC_010", "ISIC_020")):
        assert rows.loc[one, ["group_id", "role"]].equals(rows.loc[other, ["group_id", "role"]])
    scalars = read_scalars("prepare", root=folder)
    assert scalars["n_duplicate_pairs_across_groups"] == 2
    assert scalars["n_duplicate_pairs_labels_differ"] == 2


@pytest.mark.parametrize("content", [b"", b"no image", "half"])
def test_an_unreadable_image_stops_the_run(
    workplace: Setup, ham: Path, content: bytes | str
) -> None:
    folder = workplace()
    whole = next(ham.glob("*/ISIC_002.jpg")).read_bytes()
    path = broken(ham, whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=f"{path}: expected a whole image.*on_bad_image: quarant"):
        prepare.main()
    assert_nothing_written(folder)


def test_an_unreadable_image_is_left_out_when_asked(workplace: Setup, ham: Path) -> None:
    folder = workplace(on_bad_image="quarantine")
    broken(ham, b"")
    next(ham.glob("*/ISIC_004.jpg")).unlink()
    prepare.main()
    rows = read_manifest(prepared(folder))
    assert len(rows) == 47
    assert not {"ISIC_002", "ISIC_004"} & set(rows["sample_id"])
    reader = ShardReader(prepared(folder) / "pixels")
    fifth = decode(next(ham.glob("*/ISIC_005.jpg")))
    assert len(reader) == 47
    assert np.array_equal(reader[3], resize(fifth, 32))  # 0, 1, 3, 5
    ledger = pd.read_csv(folder / "plots" / "prepare" / "ledger.csv")
    assert ledger["rows_in"].tolist()[:3] == [49, 49, 48]
    assert ledger["rows_out"].tolist()[:3] == [49, 48, 47]
    assert ledger["example_ids"].tolist()[1:3] == ["ISIC_004", "ISIC_002"]
    assert read_scalars("prepare", root=folder)["n_rows_left_out"] == 2


def test_a_row_without_image_stops_the_run(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    next(ham.glob("*/ISIC_004.jpg")).unlink()
    with pytest.raises(DataError, match="1 rows have no image file: ISIC_004"):
        prepare.main()
    assert_nothing_written(folder)


def test_an_image_without_row_is_counted(
    workplace: Setup, ham: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = workplace()
    cv2.imwrite(str(ham / "HAM10000_images_part_1" / "stray.jpg"), np.zeros((9, 9, 3), np.uint8))
    prepare.main()
    assert "1 images have no row and are ignored: stray" in caplog.text
    assert read_scalars("prepare", root=folder)["n_images_without_row"] == 1


def test_no_readable_image_at_all(workplace: Setup, ham: Path) -> None:
    folder = workplace(on_bad_image="quarantine")
    for path in ham.glob("*/*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no row with a readable image is left"):
        prepare.main()
    assert_nothing_written(folder)


def test_a_class_with_fewer_groups_than_roles(workplace: Setup, ham: Path) -> None:
    folder = workplace()
    metadata = ham / "HAM10000_metadata.csv"
    rows = pd.read_csv(metadata, dtype=str)
    rows[~rows["lesion_id"].isin(["HAM_33", "HAM_34"])].to_csv(metadata, index=False)
    with pytest.raises(DataError, match=r"classes with fewer groups than the 4 roles .*: df \(3\)"):
        prepare.main()
    assert_nothing_written(folder)


def test_a_metadata_column_with_a_taken_name(workplace: Setup, ham: Path) -> None:
    workplace()
    broken(ham, b"")  # the names come first, before anything is decoded
    metadata = ham / "HAM10000_metadata.csv"
    pd.read_csv(metadata, dtype=str).assign(logits="x").to_csv(metadata, index=False)
    with pytest.raises(DataError, match="names that medaudit gives itself: logits"):
        prepare.main()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_sise": 1}, "unknown key `prepare.image_sise`; did you mean `image_size`"),
        ({"on_bad_image": "ignore"}, "prepare.on_bad_image"),
        ({"fractions": "{train: 0.8}"}, "fractions must add up to 1, not 1.1"),
        ({"image_size": 4}, "prepare.image_size"),
    ],
)
def test_wrong_parameters(workplace: Setup, settings: dict[str, object], message: str) -> None:
    workplace(**settings)
    with pytest.raises(ParamsError, match=message):
        prepare.main()


def test_no_disk_space(workplace: Setup) -> None:
    folder = workplace()

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # the shard takes 150 kB

    process = start(folder, preexec_fn=small_files_only)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "prepare: no space left" in message.splitlines()[-1]
    assert_nothing_written(folder)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interruption_leaves_nothing_half_written(
    workplace: Setup, ham: Path, sent: signal.Signals, code: int
) -> None:
    folder = workplace()
    slow = {path: path.read_bytes() for path in ham.glob("*/ISIC_04?.jpg")}
    _, encoded = cv2.imencode(".jpg", np.zeros((5000, 5000, 3), dtype=np.uint8))
    for path in slow:
        path.write_bytes(encoded.tobytes())
    process = start(folder)
    _wait_for(prepared(folder).parent, ".prepared.*.part/pixels")
    process.send_signal(sent)
    _, message = process.communicate(timeout=60)
    assert process.returncode == code
    assert not prepared(folder).exists()
    assert "Traceback" not in message
    for path, whole in slow.items():
        path.write_bytes(whole)
    prepare.main()
    assert len(read_manifest(prepared(folder))) == 49
    assert {path.name for path in (folder / "artifacts").iterdir()} == {"prepared", "whole"}


def test_two_runs_at_once_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "prepared"
    with whole_folder(target) as first:
        (first / "a").write_text("first")
        with whole_folder(target) as second:
            assert second != first
            (second / "a").write_text("second")
        assert (target / "a").read_text() == "second"
        assert (first / "a").read_text() == "first"
    assert (target / "a").read_text() == "first"
    assert [path.name for path in target.iterdir()] == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


def _wait_for(folder: Path, pattern: str) -> None:
    for _ in range(6000):
        if any(folder.glob(pattern)):
            return
        time.sleep(0.005)
    pytest.fail(f"{folder / pattern} did not appear")
