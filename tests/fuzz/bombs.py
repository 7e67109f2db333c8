"""Small files that ask for much, and the process that reads them under a limit of memory.

`python bombs.py FOLDER` reads every file of a folder and prints a line for each.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medaudit.core.files import read_json
from medaudit.core.params import read_yaml
from medaudit.core.runner import outcome
from medaudit.data.external_outputs import read_outputs
from medaudit.pixels.decode import decode

if TYPE_CHECKING:
    from collections.abc import Callable

GIGABYTES = 1.5  # beyond what the imports take
READERS: dict[str, Callable[[Path], object]] = {
    **dict.fromkeys((".png", ".jpg", ".bmp", ".tif", ".gif", ".pgm"), decode),
    **dict.fromkeys((".csv", ".gz", ".parquet"), read_outputs),
    ".npy": lambda path: read_outputs(path, names=("a",), ids=path),
    ".json": read_json,
    ".yaml": read_yaml,
}


def drop(folder: Path) -> None:
    """Write all bombs; together they take a few megabytes."""
    for name, content in {**_images(), **_tables(), **_texts()}.items():
        (folder / name).write_bytes(content)
    _repeated(folder / "rows.parquet", "x", rows=1 << 20, groups=12)
    _repeated(folder / "text.parquet", "x" * (1 << 20), rows=100_000, groups=1)


def png(width: int, height: int, *, colour: int = 6) -> bytes:
    """A whole PNG of zeros."""
    packer, row = zlib.compressobj(9), bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour])
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _images() -> dict[str, bytes]:
    progressive, tif = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(progressive, "JPEG", progressive=True)
    content = progressive.getvalue()
    last = content.rindex(b"\xff\xda")
    Image.new("L", (9000, 9000)).save(tif, "TIFF", compression="tiff_adobe_deflate")
    bmp = b"BM" + struct.pack("<IHHI", 64, 0, 0, 54)
    return {
        "169-megapixels.png": png(13_000, 13_000, colour=0),
        "49-megapixels.png": png(7000, 7000),  # the most that is read
        "scans.jpg": content[:last] + content[last:-2] * 600 + content[-2:],
        "81-megapixels.tif": tif.getvalue(),
        "promise.bmp": bmp
        + struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "promise.gif": b"GIF89a"
        + b"\xff" * 4
        + bytes(3)
        + b","
        + bytes(4)
        + b"\xff" * 4
        + b"\x00\x02",
        "promise.pgm": b"P5 100000 100000 255\n",
    }


def _tables() -> dict[str, bytes]:
    return {
        "cells.csv.gz": gzip.compress(b"a,b\n" + b"1,2\n" * (20 << 20), 6),
        "line.csv.gz": gzip.compress(b"a,b\n" + b"1" * (80 << 20), 6),
        "nothing.csv.gz": gzip.compress(b"a,b\n" + b"\n" * (80 << 20), 6),
        "columns.csv": b",".join(b"%d" % k for k in range(100_000)) + b"\n",
        "field.csv": b'a,b\n"' + b"x" * (1 << 18) + b'",1\n',
        "ids.csv": b"a,b\n"
        + b"".join(b"%d%s,1\n" % (k, b"x" * 900) for k in range(9))
        + b"y" * 100_000
        + b",1\n",
    }


def _texts() -> dict[str, bytes]:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1)}\n"
    return {
        "promise.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(8),
        "zeros.npy": _npz(),
        "deep.json": b'{"a": ' + b"[" * (1 << 20),
        "digits.json": b'{"a": ' + b"9" * (1 << 20) + b"}",
        "deep.yaml": b"a: " + b"[" * (1 << 16),
        "wide.yaml": b"a: [" + b"1," * (1 << 15) + b"1]",
        "keys.yaml": b"".join(b"k%d: 1\n" % k for k in range(10_000)),
        "long.yaml": b"a: " + b"x" * (1 << 22),
        "laughs.yaml": b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (k, k, k - 1, k - 1) for k in range(1, 40)),
    }


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, np.zeros(20 << 20))
    return stream.getvalue()


def _repeated(path: Path, text: str, *, rows: int, groups: int) -> None:
    """A parquet file of one text in many rows, which takes a few bytes."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, dtype=np.int8)), [text])
    table = pa.table({"id": column, "x": pa.array(np.zeros(rows))})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(groups):
            writer.write_table(table)


def main(folder: Path) -> None:
    """Read every file, under a limit of memory, and say what came of it and how long it took."""
    outcome(lambda: decode(folder / "49-megapixels.png"))  # what libraries take once
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + int(GIGABYTES * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for path in sorted(folder.iterdir()):
        began = time.process_time()
        told = outcome(lambda path=path: READERS[path.suffix](path))
        seconds = time.process_time() - began
        line = None if told is None else told[1]
        sys.stdout.write(json.dumps({"name": path.name, "seconds": seconds, "line": line}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
