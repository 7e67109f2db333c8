"""What somebody needs to get the same numbers again, and how far a retraining moves them."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import stats

from medaudit.core import git
from medaudit.core.errors import DataError
from medaudit.core.findings import read_csv, row_dicts
from medaudit.core.layout import PROFILES
from medaudit.core.params import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from medaudit.report.results import Results

# Results that a run itself writes are no change of the code.
CODE = ("src", "stages", "dvc.yaml", "pyproject.toml", "report", ":!report/planted.csv")
# What a run on other data has to change; its commands say how, those of the embedded data do not.
CHOICE = ("params.yaml", "data.dvc")
# Of code that audits predictions made elsewhere.
LIBRARY = ("src", "pyproject.toml")
EMBEDDED = Path("data/phantom")
WORDS = "report."  # the section that changes no number


@dataclass(frozen=True)
class Commit:
    """Where the code stood; empty `sha` of code that lies in no checkout."""

    sha: str
    dirty: bool

    @property
    def words(self) -> str:
        """For the title block."""
        if not self.sha:
            return "not in a git repository"
        return f"{self.sha[:12]}{' with uncommitted changes' if self.dirty else ''}"


def code(root: Path, params: Mapping[str, Any]) -> Commit:
    """The commit of the running code, whatever repository its results lie in.

    Args:
        root: of the run; where it is the checkout of the code, see `commit`.
        params: of the run.
    """
    home = git.home()
    if home is None:
        return Commit("", dirty=False)
    return commit(root, params) if root.resolve() == home else _commit(home, LIBRARY)


def commit(root: Path, params: Mapping[str, Any]) -> Commit:
    """What is checked out at `root`, and whether something differs that `commands` do not say."""
    is_stated = "data" in params and not is_embedded(params)
    return _commit(root, CODE if is_stated else (*CODE, *CHOICE))


def _commit(root: Path, watched: tuple[str, ...]) -> Commit:
    try:
        sha = git.ask(root, "rev-parse", "HEAD").strip()
        return Commit(sha, bool(git.ask(root, "status", "--porcelain", "--", *watched)))
    except git.GitError:  # no repository, or one without a commit
        return Commit("", dirty=False)


def is_embedded(params: Mapping[str, Any]) -> bool:
    """Whether a run is one on the data that come with the repository."""
    return Path(params["data"]["root"]) == EMBEDDED


DRAWN = (
    "The images are drawn by tools/phantom, not photographed: no patient and no histology is "
    "behind them, and failures are planted in them on purpose. Only the layout of files and the "
    "names are borrowed.",
)


def data_set(results: Results) -> str:
    """Name of the data; drawn ones must not pass for those whose layout they take."""
    name = results.preparation.dataset
    return f"embedded drawn images, laid out as {name}" if drawn(results.params) else name


def data_notes(results: Results) -> tuple[str, ...]:
    """What a reader must know of the data."""
    return DRAWN if drawn(results.params) else tuple(results.preparation.notes)


def drawn(params: Mapping[str, Any]) -> bool:
    """Whether the images are the embedded ones."""
    return "data" in params and is_embedded(params)


def commands(found: Commit, params: Mapping[str, Any], *, profiles: Path = PROFILES) -> list[str]:
    """The exact commands; for other data than the embedded, what to put where as well."""
    checkout = f"git checkout {found.sha or 'COMMIT'}"
    if is_embedded(params):
        return [checkout, "make repro"]
    root = Path(params["data"]["root"])
    return [
        checkout,
        "make setup",
        "source .venv/bin/activate",
        f"# put the data set {params['data']['dataset']} at {root}",
        *parameters(params, profiles),
        *([] if root.is_absolute() else [f"dvc add {shlex.quote(root.parts[0])}"]),
        "dvc repro",
    ]


def parameters(params: Mapping[str, Any], profiles: Path) -> list[str]:
    """How `params.yaml` comes about: the nearest profile, and what differs from it."""
    known = {path.stem: read_yaml(path) for path in sorted(profiles.glob("*.yaml"))}
    if not known:
        return []
    apart = {name: different(params, profile) for name, profile in known.items()}
    name = min(apart, key=lambda each: len(apart[each]))
    return [f"medaudit use {name}", *(f"# in params.yaml {line}" for line in apart[name])]


def different(params: Mapping[str, Any], profile: Mapping[str, Any]) -> list[str]:
    """What to change in a profile to get these parameters, one line each."""
    own, other = (
        {name: json.dumps(value) for name, value in leaves(each) if not name.startswith(WORDS)}
        for each in (params, profile)
    )
    wanted = [f"set {name}: {value}" for name, value in own.items() if other.get(name) != value]
    return wanted + [f"remove {name}" for name in other if name not in own]


def machines(results: Results) -> list[str]:
    """The machines that stages ran on, with the stages where there are several."""
    stages: dict[str, list[str]] = {}
    for stage, record in results.runtime.items():
        stages.setdefault(_machine(record["machine"]), []).append(stage)
    if len(stages) < 2:
        return list(stages) or ["not recorded: every stage was restored from the cache"]
    return [f"{machine} ({', '.join(ran)})" for machine, ran in stages.items()]


def versions(results: Results) -> list[tuple[str, str]]:
    """Package versions; several where stages ran under several."""
    found: dict[str, dict[str, None]] = {}
    for record in results.runtime.values():
        for package, version in record["versions"].items():
            found.setdefault(package, {})[version] = None
    return [(package, ", ".join(each)) for package, each in found.items()]


def flat(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameters as dotted names and their values in words."""
    for name, value in leaves(params):
        many = isinstance(value, list)
        yield name, ", ".join(str(each) for each in value) if many else str(value)


def leaves(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Parameters as dotted names and their values."""
    for name, value in params.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def seeds(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every parameter that is called seed."""
    return [(name, value) for name, value in flat(params) if name.rpartition(".")[2] == "seed"]


def _machine(facts: Mapping[str, Any]) -> str:
    own = ("processor", "cores", "system", "python")
    more = "".join(f", {value}" for name, value in facts.items() if name not in own and value)
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}, "
        f"Python {facts['python']}{more}"
    )


SPREADS = PROFILES / "spread"
COLUMNS = ("stage", "metric", "seeds", "mean", "sd", "low", "high")
# Words, the seed that was varied, and the threads, which do what another seed does.
FREE = ("report.", "train.seed", "compute.")


@dataclass(frozen=True)
class Variation:
    """A headline number over retrainings with several seeds.

    Args:
        seeds: trainings in which the number was defined, at least 2.
        mean: over them.
        sd: standard deviation between them, n - 1 in the denominator.
        low: the smallest.
        high: the largest.
    """

    seeds: int
    mean: float
    sd: float
    low: float
    high: float

    def p_value(self, difference: float) -> float:
        """Probability that two retrainings differ by as much, two-sided, in [0, 1].

        Student's t of `seeds` - 1 degrees: two independent trainings differ by sqrt(2) SD. Where
        all seeds agree, 1 / (`seeds` + 1): one more is the odd one out as often as any of them.
        """
        if difference == 0:
            return 1.0
        if self.sd == 0:
            return 1 / (self.seeds + 1)
        return float(2 * stats.t.sf(abs(difference) / (math.sqrt(2) * self.sd), self.seeds - 1))


@dataclass(frozen=True)
class Spread:
    """Every headline number over retrainings, by `<stage>.<name>`, of a number of seeds."""

    seeds: int
    numbers: Mapping[str, Variation]


def measured(params: Mapping[str, Any], folder: Path = SPREADS) -> Spread | None:
    """The spread that was measured with these parameters, or `None` where none was."""
    for path in sorted(folder.glob("*.yaml")):
        if not unlike(params, read_yaml(path), free=FREE):
            return read(path.with_suffix(".csv"))
    return None


def unlike(
    params: Mapping[str, Any], others: Mapping[str, Any], *, free: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
    """Parameters that differ, by dotted name: the value in each; `None` for one that is absent.

    Names that begin with one of `free` are left out.
    """
    one, two = dict(leaves(params)), dict(leaves(others))
    return {
        name: (one.get(name), two.get(name))
        for name in [*one, *(name for name in two if name not in one)]
        if not name.startswith(free) and one.get(name) != two.get(name)
    }


def read(path: Path) -> Spread:
    """A spread from its CSV file."""
    try:
        rows = read_csv(path, mend="restore it from git")
    except FileNotFoundError:
        raise DataError(f"{path}: missing beside {path.stem}.yaml; restore it from git") from None
    lacking = [name for name in COLUMNS if name not in rows]
    if lacking or rows.empty:
        raise DataError(f"{path}: expected rows with {', '.join(COLUMNS)}; restore it from git")
    measures = ("mean", "sd", "low", "high")
    try:
        numbers = {
            f"{row['stage']}.{row['metric']}": Variation(
                int(row["seeds"]), *(float(row[name]) for name in measures)
            )
            for row in row_dicts(rows)
        }
    except (ValueError, ArithmeticError) as error:
        raise DataError(f"{path}: expected numbers ({error}); restore it from git") from None
    return Spread(max(each.seeds for each in numbers.values()), numbers)
