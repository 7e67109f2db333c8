import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medaudit.core.errors import DataError
from medaudit.pixels import decode as decoding
from medaudit.pixels.decode import decode, decode_mask, resize

RED = np.tile(np.array([200, 30, 60], dtype=np.uint8), (6, 8, 1))


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_rgb_png_comes_back_bit_for_bit(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = decode(saved(tmp_path / "a.png", Image.fromarray(noise)))
    assert image.dtype == np.uint8
    assert np.array_equal(image, noise)


def test_grey_is_repeated(tmp_path: Path) -> None:
    image = decode(saved(tmp_path / "a.png", Image.fromarray(RED[..., 0])))
    assert image.shape == (6, 8, 3)
    assert (image == 200).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    # 65535 / 257 = 255, 32896 / 257 = 128, 1000 / 257 = 3.89 -> 4
    wide = np.array([[0, 1000, 32896, 65535]], dtype=np.uint16)
    image = decode(saved(tmp_path / "a.png", Image.fromarray(wide)))
    assert image[0, :, 1].tolist() == [0, 4, 128, 255]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(RED).convert("CMYK"), quality=95)
    assert np.abs(decode(path).astype(int) - RED).max() <= 8


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    alpha = np.full((6, 8, 1), 255, dtype=np.uint8)
    alpha[0] = 0
    rgba = np.concatenate([RED, alpha], axis=2)
    image = decode(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    assert (image[0] == 255).all()
    assert np.array_equal(image[1:], RED[1:])


def test_palette(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RED).quantize(4))
    assert np.array_equal(decode(path), RED)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = saved(tmp_path / "a.jpg", Image.fromarray(RED), exif=exif)
    assert decode(path).shape == (8, 6, 3)


def test_truncated_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png"):
        path = saved(tmp_path / name, Image.fromarray(noise))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(
            DataError, match=f"{name}: expected a whole image file, got .*truncated"
        ):
            decode(path)


def test_empty_absent_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with pytest.raises(DataError, match=r"a\.jpg: no such image"):
        decode(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg: .* got an empty file"):
        decode(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"a\.jpg: .* got a file of no known image format"):
        decode(path)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(np.ones((4, 4), dtype=np.float32)))
    with pytest.raises(DataError, match="floating point pixels of unknown range"):
        decode(path)


def test_resize_stretches_to_a_square() -> None:
    # Halving both sides by area: each value is the mean of 2 x 2.
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[:2, 0] = 100
    assert resize(image, 2)[..., 0].tolist() == [[50, 0], [0, 0]]
    assert resize(RED, 16).shape == (16, 16, 3)
    assert (resize(RED, 16) == RED[0, 0]).all()


def test_a_folder_and_a_pipe_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    os.mkfifo(tmp_path / "b.jpg")  # opening it would wait for ever
    with pytest.raises(DataError, match=r"a\.jpg: expected a file, got a folder"):
        decode(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"b\.jpg: expected a file, got a pipe"):
        decode(tmp_path / "b.jpg")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_mask_of_any_mode_keeps_its_values(tmp_path: Path, mode: str) -> None:
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[2:4] = 255
    image = Image.fromarray(expected)
    wide = Image.fromarray(expected.astype(np.uint16) * 257)
    path = saved(tmp_path / "a.png", wide if mode == "I;16" else image.convert(mode))
    assert np.array_equal(decode_mask(path), expected)


@pytest.mark.parametrize("below", [0, 255])
def test_what_is_transparent_in_a_mask_is_no_lesion(tmp_path: Path, below: int) -> None:
    alpha = np.zeros((6, 8), dtype=np.uint8)
    alpha[0] = 255
    colour = np.full_like(alpha, below)
    colour[0] = 255
    rgba = np.stack([colour, colour, colour, alpha], axis=2)
    mask = decode_mask(saved(tmp_path / "a.png", Image.fromarray(rgba)))
    assert np.array_equal(mask, alpha)


def test_small_values_of_a_sixteen_bit_mask_stay(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.eye(4, dtype=np.uint16)))
    assert np.array_equal(decode_mask(path), np.eye(4))


def test_postscript_by_the_name_of_an_image_never_reaches_ghostscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, programs = tmp_path / "marker", tmp_path / "bin"
    programs.mkdir()
    fake = programs / "gs"  # stands for Ghostscript and only says that it was started
    fake.write_text(f"#!/bin/sh\n: > {marker}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = tmp_path / "x.jpg"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n%%EOF\n")
    with pytest.raises(DataError, match="no known image format"):
        decode(path)
    assert not marker.exists()


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG that says it has so many pixels, and holds some of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 16), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("size", [(12_000, 12_000), (7072, 7072), (1, 40_000), (0, 5)])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    with pytest.raises(DataError, match=r"pixels|no known image"):
        decode(bomb(tmp_path / "a.png", *size))


def test_a_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(RED), progressive=True)
    content = path.read_bytes()
    last = content.rindex(b"\xff\xda")
    path.write_bytes(content[:last] + content[last:-2] * (decoding.MOST_SCANS + 1) + content[-2:])
    with pytest.raises(DataError, match="scans"):
        decode(path)


def test_a_file_beyond_all_bounds_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="at most 100 bytes"):
        decode(saved(tmp_path / "a.bmp", Image.fromarray(RED)))
