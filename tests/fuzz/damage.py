"""Inputs for readers: bytes of a good file that were changed, and texts that trip parsers."""

from __future__ import annotations

import io
import zipfile
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from PIL import Image

# Cells and names that have tripped readers, the terminal, the report, or a spreadsheet.
ODD_TEXTS = (
    *("", " ", "\x00", "a\x00b", "\x1b[2J", "\x0c", "\ufffe", "\uffff", "\u202eabc", "\x85"),
    *("=1+1", "+1", "-1", "@x", "'", '"', ",", ";", "\t", "\n", "\r\n", "a\nb", "../x", "/etc/x"),
    *("nan", "NaN", "inf", "-inf", "1e400", "9" * 30, "9" * 5000, "0x10", "1_0", "-0", "٣", "²"),
    *(
        "x" * 1001,
        "x" * 70_000,
        "é",
        "皮膚",
        "e\u0301",
        "<script>",
        "$5_000$",
        "{{x}}",
        "%s",
        "{0}",
    ),
    *("None", "true", "-1", "0.5", "clean", "test", "train", "sample_id", "logits", "~", "null"),
)
odd_text = st.one_of(
    st.sampled_from(ODD_TEXTS), st.text(max_size=12), st.integers().map(str), st.floats().map(str)
)


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with a few bytes flipped, cut out, doubled, or put in; or bytes of no format."""
    content = bytearray(draw(st.sampled_from((*seeds, b""))))
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 4)))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((1, 2, 4, 8, 64, 1 << 20)))
        match draw(st.sampled_from(("flip", "cut", "double", "insert", "ends"))):
            case "flip" if content:
                content[place % len(content)] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[place : place + length]
            case "double":
                content[place:place] = content[place : place + length]
            case "insert":
                content[place:place] = draw(st.binary(max_size=12))
            case "ends":
                extreme = draw(st.sampled_from((b"\x00", b"\xff", b"\x7f", b"\x80")))
                content[place : place + min(length, 8)] = extreme * min(length, 8)
    return bytes(content)


def mutated(content: bytes, seed: int) -> bytes:
    """A few bytes changed, cut out, doubled, or a digit changed, so that a text stays one."""
    rng = np.random.default_rng(seed)
    held = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at, n = int(rng.integers(max(len(held), 1))), int(rng.integers(1, 40))
        how = int(rng.integers(7))
        if how < 2 and held:
            held[at] ^= 1 << int(rng.integers(8))
        elif how == 2:
            held[at : at + n] = rng.integers(0, 256, n).astype(np.uint8).tobytes()
        elif how == 3:
            del held[at : at + n]
        elif how == 4:
            held[at:at] = held[at : at + n]
        elif how == 5:
            held[at : at + 8] = b"\xff" * int(rng.integers(1, 9))
        else:
            _swap_digits(held, at, rng)
    return bytes(held) or b"\0"


def mutated_inside(content: bytes, seed: int) -> bytes:
    """An archive of which one member is changed, so that its checksum is right."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(held, "w") as target:
        names = source.namelist()
        texts = [name for name in names if name.endswith(("model.json", "data.pkl"))]
        hit = texts[0] if texts and seed % 2 else names[seed % len(names)]
        for name in names:
            member = source.read(name)
            target.writestr(name, mutated(member, seed) if name == hit and member else member)
    return held.getvalue()


def _swap_digits(held: bytearray, at: int, rng: np.random.Generator) -> None:
    """Another digit for the next one, so that texts stay texts."""
    digits = [i for i in range(at, min(at + 4000, len(held))) if 48 <= held[i] <= 57]
    if digits:
        held[digits[0]] = 48 + int(rng.integers(10))


def images() -> dict[str, bytes]:
    """A small image of every kind that is read, and some that are not."""
    grey = np.arange(16 * 12, dtype=np.uint8).reshape(12, 16)
    rgb = np.stack([grey, grey[::-1], 255 - grey], axis=2)
    alpha = np.dstack([rgb, grey])
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "grey.png": (grey, "PNG", {}),
        "wide.png": (grey.astype(np.uint16) * 300, "PNG", {}),
        "alpha.png": (alpha, "PNG", {}),
        "turned.jpg": (rgb, "JPEG", {"exif": exif}),
        "scans.jpg": (rgb, "JPEG", {"progressive": True}),
        "plain.bmp": (rgb, "BMP", {}),
        "raw.tif": (rgb, "TIFF", {}),
        "lzw.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": (rgb, "TIFF", {"compression": "jpeg"}),
        "float.tif": (grey.astype(np.float32), "TIFF", {}),
        "plain.webp": (rgb, "WEBP", {}),
        "alpha.webp": (alpha, "WEBP", {"lossless": True}),
        "moving.gif": (grey, "GIF", {"save_all": True, "append_images": [Image.fromarray(grey)]}),
        "grey.pgm": (grey, "PPM", {}),
        "page.eps": (rgb, "EPS", {}),
        "old.tga": (rgb, "TGA", {}),
    }
    return {name: _saved(array, kind, options) for name, (array, kind, options) in found.items()}


def _saved(array: np.ndarray, kind: str, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def arrays() -> tuple[bytes, ...]:
    """Small `.npy` files, and headers that promise what is not there."""
    found = []
    for array in (np.eye(3), np.arange(9, dtype=">i4").reshape(3, 3), np.array([{}, 1])):
        stream = io.BytesIO()
        np.save(stream, array, allow_pickle=True)
        found.append(stream.getvalue())
    packed = io.BytesIO()
    np.savez_compressed(packed, np.zeros(1000))
    shapes = ("(10**18,)", "(1000000000000, 3)", "(-1, 3)", "(3, 3", "(" * 90, "(3.0, 3)", "(0, 3)")
    kinds = ("|O", "<f99", "|V1000000000000", "<m8[ns]", "<c16", "")
    lies = [*(_header(each, "<f8") for each in shapes), *(_header("(3, 3)", k) for k in kinds)]
    return (*found, packed.getvalue(), *lies)


def _header(shape: str, kind: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(72)


def parquets() -> tuple[bytes, ...]:
    """Small parquet files of usual and unusual columns."""
    usual = pd.DataFrame({"id": ["a", "b", "c"], "x": [0.1, 0.2, 0.7], "y": [0.9, 0.8, 0.3]})
    odd = pd.DataFrame(
        {
            "id": ["a", "b", None],
            "list": [[1], [2, 3], []],
            "day": pd.to_datetime(["2020-01-01", None, "1800-01-01"]),
            "category": pd.Categorical(["u", "v", "u"]),
            "bytes": [b"a", b"\xff", None],
            "decimal": [Decimal("1.5"), None, Decimal(2)],
            "flag": [True, False, None],
        }
    )
    escaped = usual.assign(id=["a", "\x1b", "c"])
    frames = (usual, odd, escaped, usual.set_index("id"), usual.iloc[:0], usual.iloc[[2, 0, 1]])
    return tuple(_parquet(frame, each) for frame in frames for each in ("zstd", "none"))


def _parquet(frame: pd.DataFrame, compression: str) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream, compression=None if compression == "none" else compression)
    return stream.getvalue()
