"""Fail where the metrics in the work tree differ from a commit by more than a tolerance.

python tools/check_metrics.py --atol 1e-3       after `dvc repro -f`, on another kind of machine
"""

import argparse
import json
import subprocess
import sys


def changed(rev: str) -> dict[str, dict[str, dict[str, object]]]:
    """What `dvc metrics diff` says, by file and key."""
    done = subprocess.run(
        ["dvc", "metrics", "diff", rev, "--json"], check=True, capture_output=True, text=True
    )
    content = json.loads(done.stdout or "{}")
    return content.get("diff", content)


def main() -> None:
    """Print every metric that moved too far, and exit 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rev", default="HEAD", help="commit to compare with")
    parser.add_argument("--atol", type=float, default=0.0, help="largest difference allowed")
    options = parser.parse_args()
    moved = []
    for path, keys in changed(options.rev).items():
        for key, pair in keys.items():
            old, new = pair.get("old"), pair.get("new")
            numbers = all(isinstance(value, int | float) for value in (old, new))
            if not numbers or abs(new - old) > options.atol:
                moved.append(f"{path}:{key}: committed {old}, rebuilt {new}")
    print("\n".join([*moved, f"{len(moved)} metrics differ by more than {options.atol}"]))
    sys.exit(bool(moved))


if __name__ == "__main__":
    main()
