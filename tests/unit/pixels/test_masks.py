"""Packed masks come back as they went in."""

import numpy as np
import pytest

from medaudit.core.errors import DataError
from medaudit.pixels.packed import MaskReader, lesion, pack, write_masks


def test_round_trip_and_images_without_a_mask(tmp_path):
    mask = np.zeros((30, 30), dtype=np.uint8)
    mask[3:9, 20:28] = 255
    write_masks([pack(mask, 30), pack(None, 30)], tmp_path / "masks.npy")
    reader = MaskReader(tmp_path / "masks.npy", size=30)
    assert np.array_equal(reader[0], mask > 0)
    assert reader[1] is None


def test_shrinking_keeps_pixels_that_are_half_lesion():
    # Blocks of 2 x 2 with 4, 2, 1 and 0 lesion pixels; half counts.
    mask = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]) * np.uint8(255)
    assert np.unpackbits(pack(mask.astype(np.uint8), 2), count=4).tolist() == [1, 1, 0, 0]


def test_without_a_file_no_image_has_a_mask(tmp_path):
    assert MaskReader(tmp_path / "masks.npy", size=30)[5] is None


def test_masks_of_another_size_are_refused(tmp_path):
    write_masks([pack(None, 30)], tmp_path / "masks.npy")
    with pytest.raises(DataError, match="not masks of 64 pixels"):
        MaskReader(tmp_path / "masks.npy", size=64)


def test_ones_are_lesion_where_the_maximum_is_one():
    mask = np.eye(4, dtype=np.uint8)
    assert np.array_equal(lesion(mask), mask == 1)
    assert np.array_equal(pack(mask, 4), pack(mask * np.uint8(255), 4))
    assert not lesion(mask * np.uint8(0)).any()
    assert not lesion(mask * np.uint8(2)).any()  # dark specks of a mask of 0..255


@pytest.mark.parametrize("content", [b"", b"no array", "cut"])
def test_a_broken_file_says_what_to_do(tmp_path, content):
    path = tmp_path / "masks.npy"
    write_masks([pack(None, 30)], path)
    path.write_bytes(path.read_bytes()[:-10] if content == "cut" else content)
    with pytest.raises(DataError, match=r"masks\.npy: not masks .* run the prepare stage again"):
        MaskReader(path, size=30)
