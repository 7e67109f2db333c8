"""What a folder that may be passed on says, wherever in its files it is said."""

import base64
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

RELEASED = ("metrics", "plots", "report")
_URI = re.compile(rb"data:[\w/+.-]+;base64,([\w+/=]+)")
_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
_PNG = b"\x89PNG\r\n\x1a\n"


def leaks(root: Path, secrets: Iterable[str], *, folders: Iterable[str] = RELEASED) -> set[str]:
    """`file: word` for each of the words that the files below `folders` hold, or are called by."""
    words = sorted(set(secrets))
    found = set()
    for path in files(root, folders):
        name = path.relative_to(root).as_posix()
        for text in (name, *texts(path)):
            found |= {f"{name}: {each}" for each in words if each in text and whole(each, text)}
    return found


def whole(word: str, text: str) -> bool:
    """Whether a word stands there by itself and not as a part of another."""
    return bool(re.search(rf"(?<![0-9A-Za-z]){re.escape(word)}(?![0-9A-Za-z])", text))


def files(root: Path, folders: Iterable[str] = RELEASED) -> list[Path]:
    """All that may be passed on."""
    return [path for each in folders for path in sorted((root / each).rglob("*")) if path.is_file()]


def texts(path: Path) -> Iterator[str]:
    """Everything in a file that could be read, also inside of pictures, streams and addresses."""
    for content in parts(path.read_bytes()):
        yield content.decode("utf-8", "ignore")
        if path.suffix == ".pdf":  # as its titles and descriptions may be
            yield content.decode("utf-16-be", "ignore")
            yield content[1:].decode("utf-16-be", "ignore")
    if path.suffix == ".pdf" and shutil.which("pdftotext"):
        command = ["pdftotext", "-layout", str(path), "-"]
        yield subprocess.run(command, capture_output=True, text=True, check=True).stdout


def parts(content: bytes) -> Iterator[bytes]:
    """The bytes, and those of what they embed: files in addresses, PDF streams, PNG chunks."""
    yield content
    for found in _URI.findall(content):
        yield from parts(base64.b64decode(found))
    if content.startswith(b"%PDF"):
        for stream in _STREAM.findall(content):
            yield inflated(stream)
    if content.startswith(_PNG):
        yield from (inflated(data.partition(b"\0\0")[2]) for _, data in chunks(content))


def chunks(png: bytes) -> Iterator[tuple[str, bytes]]:
    """Type and data of every chunk of a PNG file."""
    at = len(_PNG)
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        yield png[at + 4 : at + 8].decode("latin-1"), png[at + 8 : at + 8 + size]
        at += size + 12


def inflated(data: bytes) -> bytes:
    """Decompressed, as far as it is compressed at all."""
    try:
        return zlib.decompressobj().decompress(data)
    except zlib.error:
        return b""
