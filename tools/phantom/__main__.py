"""Write a phantom of any size: python -m tools.phantom OUT --n 1600 --seed 1."""

import argparse
import sys
from pathlib import Path

from medaudit.core.errors import DataError
from tools.phantom.generate import generate


def main() -> None:
    """Generate into a new or empty folder; exit 1 with one line when that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m tools.phantom", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write; must be absent or empty")
    parser.add_argument("--n", type=int, default=1600, help="number of images")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same bytes")
    parser.add_argument("--workers", type=int, default=1, help="processes; the bytes stay the same")
    try:
        generate(**vars(parser.parse_args()))
    except DataError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
