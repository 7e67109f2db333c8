"""Put the embedded data where data.dvc wants them: `make data`.

python -m tools.embedded_data

Files that already lie in data/ are never changed. What is missing comes out of DVC's cache, else
from the remote when there is one, else from the generator; what was generated is held against the
digest in data.dvc before it is moved to data/, and is put into DVC's cache for experiments.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from medaudit.core.errors import DataError
from tools.phantom.generate import generate

DATA = Path("data")
POINTER = Path("data.dvc")
FILES_BESIDE_IMAGES = 4  # each image has a mask; metadata, findings, duplicates, planted failures

OTHER_FILES = (
    "data/ does not hold what data.dvc names, and is left as it is. Your own data: dvc add data. "
    "The embedded data: move data/ away, then make data"
)
OTHER_DATA = (
    "data.dvc names {found} files, the embedded data are {wanted}: so they are your own, and "
    "neither DVC's cache nor a remote has them here: dvc remote add, then dvc pull data.dvc"
)
OTHER_BYTES = (
    "the images that were generated ({found}) are not those of data.dvc ({wanted}): numpy, OpenCV "
    "and Pillow draw them, so install the locked versions (make setup), or go on with other ones: "
    "python -m tools.phantom data/phantom && dvc add data"
)


def main() -> None:
    """Exit 0 when data/ is what data.dvc names, else 1 with one line that says what to do."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded_data", description=__doc__)
    parser.add_argument("--n", type=int, default=1600, help="number of images")
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    asked = parser.parse_args()
    try:
        provide(n=asked.n, seed=asked.seed)
    except DataError as error:
        sys.exit(str(error))


def provide(*, n: int, seed: int) -> None:
    """Bring data/ into the state that data.dvc names.

    Raises:
        DataError: When data/ holds other files, or what data.dvc names cannot be had here.
    """
    if _matches():
        return
    if any(path.is_file() for path in DATA.rglob("*")):
        if digest(DATA) != _named()["md5"]:
            raise DataError(OTHER_FILES)
    elif _dvc("checkout", "--quiet", POINTER) or _pulled():
        return
    else:
        _make(n=n, seed=seed)
    if not _dvc("commit", "--quiet", POINTER):
        raise DataError("data/ is right, but DVC cannot put it into its cache: dvc commit data.dvc")


def digest(folder: Path) -> str:
    """DVC's digest of a folder: MD5 of the sorted list of its files and their MD5."""
    files = (path for path in folder.rglob("*") if path.is_file())
    listed = [
        {
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            "relpath": path.relative_to(folder).as_posix(),
        }
        for path in files
    ]
    listed.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def _make(*, n: int, seed: int) -> None:
    """Generate beside the work tree, compare, and only then move to data/."""
    named = _named()
    if named["nfiles"] != (wanted := 2 * n + FILES_BESIDE_IMAGES):
        raise DataError(OTHER_DATA.format(found=named["nfiles"], wanted=wanted))
    scratch = Path(".dvc/tmp")
    scratch.mkdir(parents=True, exist_ok=True)
    print(f"data: drawing {n} images, a minute on two cores")
    with tempfile.TemporaryDirectory(dir=scratch, prefix="data.") as name:
        made = Path(name) / DATA
        generate(made / "phantom", n=n, seed=seed, workers=os.cpu_count() or 1)
        if (found := digest(made)) != named["md5"]:
            raise DataError(OTHER_BYTES.format(found=found, wanted=named["md5"]))
        shutil.copytree(made, DATA, dirs_exist_ok=True)


def _named() -> dict[str, Any]:
    """What data.dvc says of data/: `md5` and `nfiles`."""
    named: dict[str, Any] = yaml.safe_load(POINTER.read_text(encoding="utf-8"))["outs"][0]
    return named


def _matches() -> bool:
    """Whether DVC finds data/ and its cache as data.dvc says; fast, for it remembers digests."""
    done = subprocess.run(
        ["dvc", "status", "--json", POINTER], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DataError(f"dvc status {POINTER} fails: {done.stderr.strip().splitlines()[-1]}")
    return bool(json.loads(done.stdout) == {})


def _pulled() -> bool:
    """Whether there is a remote and it has the data."""
    remote = subprocess.run(["dvc", "config", "core.remote"], capture_output=True, check=False)
    return remote.returncode == 0 and _dvc("pull", "--quiet", POINTER)


def _dvc(*words: str | Path) -> bool:
    """Whether a command of DVC succeeds; what it prints is not for users here."""
    return subprocess.run(["dvc", *words], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
