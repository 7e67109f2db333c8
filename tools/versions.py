"""Keep the versions of forward pass and training honest: who edits their source has to decide.

python tools/versions.py           record the source after a VERSION was raised
python tools/versions.py --same    record it although no VERSION was: the results stay the same
python tools/versions.py --list    print the source that every VERSION stands for

Keys of predictions and of training runs hold a VERSION and not the source, so an edit that changes
results must raise it. `tests/versions.json` holds, for each VERSION, digests of the source that it
stands for, and a test compares. Comments, docstrings and annotations do not count.

Guarded are the modules of `model` and `training` and the packed pixels that forward or training
import; of the tasks what turns probabilities into logits; and of the metrics the functions that
the choice of the epoch calls. Not guarded are corruptions and predictors, whose own source is in
the keys.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from medaudit.core import keys  # noqa: E402
from tools import imports  # noqa: E402

RECORD = ROOT / "tests/versions.json"
GUARDED = (
    "src/medaudit/model/",
    "src/medaudit/training/",
    "src/medaudit/pixels/__init__.py",
    "src/medaudit/pixels/packed.py",
)
APART = (
    "src/medaudit/model/predictors.py",  # each is keyed by its own source
    "src/medaudit/model/__init__.py",  # hold the VERSIONs
    "src/medaudit/training/__init__.py",
)


@dataclass(frozen=True)
class Guard:
    """A VERSION and the source that it stands for.

    Args:
        constant: the module that holds VERSION.
        starts: modules from which the guarded ones are found, by their imports.
        table: a module and its table, and the method of the rows, that count beside them.
    """

    constant: str
    starts: tuple[str, ...]
    table: tuple[str, str, str]


GUARDS: Mapping[str, Guard] = {
    "forward": Guard(
        "medaudit.model",
        (
            "src/medaudit/model/compute.py",
            "src/medaudit/model/inference.py",
            "src/medaudit/model/prepared.py",
            "src/medaudit/model/network.py",
        ),
        ("medaudit.tables.tasks", "TASKS", "logits"),
    ),
    "training": Guard(
        "medaudit.training",
        ("src/medaudit/training/train_or_load.py",),
        ("medaudit.training.objectives", "OBJECTIVES", "validation_scores"),
    ),
}


def current(guard: Guard) -> dict[str, object]:
    """`version`, and a digest by file or by definition of what it stands for."""
    files = {file for start in guard.starts for file in imports.closure(Path(start))}
    chosen = sorted(f for f in files if f.startswith(GUARDED) and f not in APART)
    found = {file: keys.module_digest(ROOT / file) for file in chosen}
    module, table, method = guard.table
    for name, row in getattr(importlib.import_module(module), table).items():
        place = (type(row).__module__, f"{type(row).__name__}.{method}")
        found[f"{method} of {name}"] = keys.source_digest([place])
    version = importlib.import_module(guard.constant).VERSION
    return {"version": version, "source": found}


def recorded() -> dict[str, dict]:
    """What `tests/versions.json` holds."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def changed(old: Mapping, new: Mapping) -> list[str]:
    """Guarded source that is new, gone or other than recorded."""
    a, b = old.get("source", {}), new["source"]
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def undecided(old: Mapping, new: Mapping, *, constant: str) -> str | None:
    """What a person has to decide about a VERSION; `None` where its source is as recorded."""
    odd = changed(old, new)
    if old.get("version") != new["version"]:
        return f"VERSION of {constant} is not recorded; run `python tools/versions.py`"
    if not odd:
        return None
    return (
        f"the source behind VERSION of {constant} changed: {', '.join(odd)}. If results change, "
        f"raise VERSION and run `python tools/versions.py`; if they stay the same to the last "
        f"bit, run `python tools/versions.py --same`"
    )


def main() -> None:
    """Record or list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--same", action="store_true", help="source changed, results do not")
    parser.add_argument("--list", action="store_true", help="print what is guarded")
    asked = parser.parse_args()
    old = recorded()
    new = {name: current(guard) for name, guard in GUARDS.items()}
    if asked.list:
        print(json.dumps(new, indent=2))
        return
    told = [
        undecided(old[name], found, constant=GUARDS[name].constant)
        for name, found in new.items()
        if name in old and old[name]["version"] == found["version"] and not asked.same
    ]
    if any(told):
        sys.exit("\n".join(filter(None, told)))
    RECORD.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
    print(f"{RECORD.relative_to(ROOT)}: recorded")


if __name__ == "__main__":
    main()
