"""Compare the headline numbers of this run with those that a commit holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from medaudit.core import git
from medaudit.core.errors import DataError, MedauditError, listed
from medaudit.core.files import parse_json, read_json
from medaudit.core.layout import PARAMS
from medaudit.core.params import parse_yaml, read_yaml
from medaudit.report import reproduction
from medaudit.stats.hypothesis_tests import benjamini_hochberg

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from medaudit.report.reproduction import Spread, Variation

EQUAL_OR_WITHIN, OUTSIDE, NO_COMPARISON = 0, 1, 2
"""Exit codes."""

METRICS, DATA = "metrics", "data.dvc"
ALPHA = 0.05
# Words of the report and threads are no reason not to compare.
FREE = ("report.", "compute.")

Value = float | str | None


class CannotCompareError(MedauditError):
    """The commit or this run lacks what a comparison needs, or they asked different questions."""


@dataclass(frozen=True)
class Difference:
    """A headline number of two runs.

    Args:
        name: `<stage>.<name>`.
        committed: its value in the commit; `None` for undefined.
        here: its value in this run.
        variation: of it between retrainings; `None` where that was not measured.
        outside: whether retraining explains the difference badly.
    """

    name: str
    committed: Value
    here: Value
    variation: Variation | None
    outside: bool

    @property
    def equal(self) -> bool:
        """Whether both runs say the same."""
        return self.committed == self.here

    @property
    def is_text(self) -> bool:
        """A name, such as that of the worst slice; it explains numbers and is not judged."""
        return isinstance(self.committed, str) or isinstance(self.here, str)

    @property
    def judgement(self) -> str:
        """A word for the table; empty where nothing was measured to judge by."""
        if self.variation is None:
            return ""
        return "outside" if self.outside else "within"

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        both = (self.name, _digits(self.committed), _digits(self.here))
        if self.is_text:
            return (*both, "", "", "")
        change = _change(self.committed, self.here)
        sd = "" if self.variation is None else f"{self.variation.sd:.3g}"
        return (*both, change, sd, self.judgement)


def verify(rev: str, *, brief: bool, root: Path = Path()) -> int:
    """Echo what differs and a verdict of two lines; return the exit code.

    Args:
        rev: commit, branch or tag whose `metrics/` are compared with those of the work tree.
        brief: echo the verdict alone.
        root: of the repository.
    """
    try:
        found, spread = differences(rev, root)
    except CannotCompareError as error:
        typer.echo(f"cannot compare with {rev}:\n{error}")
        return NO_COMPARISON
    if not brief:
        for line in rows([each for each in found if not each.equal]):
            typer.echo(line)
    numbers = [each for each in found if not each.is_text]
    typer.echo("\n".join(verdict(numbers, rev, spread)))
    return OUTSIDE if any(each.outside for each in numbers) else EQUAL_OR_WITHIN


def differences(rev: str, root: Path) -> tuple[list[Difference], Spread | None]:
    """Every headline number of the commit and of this run, and the spread that judges them."""
    _check_commit(root, rev)
    _check_same_question(root, rev)
    committed = _committed(root, rev)
    here = _here(root, dict.fromkeys(name.partition(".")[0] for name in committed))
    spread = reproduction.measured(read_yaml(root / PARAMS), root / reproduction.SPREADS)
    return compare(committed, here, spread), spread


def compare(
    committed: Mapping[str, Value], here: Mapping[str, Value], spread: Spread | None
) -> list[Difference]:
    """Judge every number: outside where its difference is too large for a retraining.

    Each difference has a p-value from the measured spread; a number without one has to be equal.
    Benjamini and Hochberg's correction keeps the share of false alarms among the numbers that are
    called outside at 5 %.
    """
    names = list({**committed, **here})
    known = {} if spread is None else spread.numbers
    p_values = [p_value(committed.get(n), here.get(n), known.get(n)) for n in names]
    return [
        Difference(
            name, committed.get(name), here.get(name), known.get(name), outside=bool(p < ALPHA)
        )
        for name, p in zip(names, benjamini_hochberg(p_values), strict=True)
    ]


def p_value(committed: Value, here: Value, variation: Variation | None) -> float:
    """Probability of such a difference by retraining alone; NaN for texts, which are not judged."""
    if isinstance(committed, str) or isinstance(here, str):
        return math.nan
    if committed == here:
        return 1.0
    if committed is None or here is None or variation is None:
        return 0.0
    return variation.p_value(here - committed)


def rows(found: Sequence[Difference]) -> Iterator[str]:
    """A table in plain columns, what lies outside first; nothing where nothing differs."""
    if not found:
        return
    cells = [
        ("number", "committed", "here", "difference", "retraining SD", ""),
        *(each.cells for each in sorted(found, key=lambda each: not each.outside)),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, *others in cells:
        columns = (text.rjust(width) for text, width in zip(others[:-1], widths[1:], strict=False))
        yield "  ".join((name.ljust(widths[0]), *columns, others[-1])).rstrip()


def verdict(found: Sequence[Difference], rev: str, spread: Spread | None) -> tuple[str, str]:
    """What came out, and what that means."""
    apart = [each for each in found if not each.equal]
    count = f"{len(found) - len(apart)} of {len(found)} headline numbers equal those of {rev}"
    if not apart:
        return f"{count}.", "This run gives the committed numbers to the last digit."
    count = f"{count}, {len(apart)} differ{'s' if len(apart) == 1 else ''}"
    outside = [each.name for each in apart if each.outside]
    if spread is None:
        return (
            f"{count} ({listed(outside, limit=3)}).",
            "How far retraining moves them was not measured for these parameters, so all have to "
            "be equal; python -m benchmarks.retraining measures it.",
        )
    where = f"the spread of retraining ({spread.seeds} seeds)"
    if not outside:
        return (
            f"{count}, all within {where}.",
            "Another processor, thread count or library version trains another model; so far may "
            "it move.",
        )
    return (
        f"{count}, {len(outside)} of them outside {where}.",
        f"Not explained by retraining: {listed(outside, limit=3)}; look at what changed since "
        f"{rev}: git diff {rev} -- src params.yaml",
    )


def _check_commit(root: Path, rev: str) -> None:
    """Refuse what names no commit; so that no later word is taken for an option of git either."""
    try:
        _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    except CannotCompareError:
        raise CannotCompareError("no such commit in a git repository here; see `git log`") from None


def _check_same_question(root: Path, rev: str) -> None:
    """Refuse to compare runs of other parameters or other data."""
    params = parse_yaml(_shown(root, rev, str(PARAMS)), f"{rev}:{PARAMS}")
    apart = reproduction.unlike(params, read_yaml(root / PARAMS), free=FREE)
    if apart:
        odd = [f"{n} was {_word(old)}, is {_word(new)}" for n, (old, new) in apart.items()]
        raise CannotCompareError(f"parameters differ: {listed(odd)}; `git diff {rev} params.yaml`")
    path = root / DATA
    here = path.read_text(encoding="utf-8", errors="replace") if path.exists() else None
    if here is not None and here != _shown(root, rev, DATA):
        raise CannotCompareError(f"the data differ: {DATA} is not that of {rev}")


def _committed(root: Path, rev: str) -> dict[str, Value]:
    """The headline numbers in a commit."""
    names = _git(root, "ls-tree", "--name-only", rev, f"{METRICS}/").split()
    if not names:
        raise CannotCompareError(f"no {METRICS}/ in that commit; name one that holds results")
    held = {name: _shown(root, rev, name).encode() for name in names}
    maker = f"the stages of {rev}"
    return _flat({Path(n).stem: parse_json(each, n, maker=maker) for n, each in held.items()})


def _here(root: Path, stages: Iterable[str]) -> dict[str, Value]:
    """The headline numbers of this run, of the stages that the commit knows."""
    paths = {stage: root / METRICS / f"{stage}.json" for stage in stages}
    lacking = [str(path.relative_to(root)) for path in paths.values() if not path.exists()]
    if lacking:
        raise CannotCompareError(f"this run has no {listed(lacking)}; run `dvc repro`")
    return _flat({stage: read_json(path, stage=stage) for stage, path in paths.items()})


def _flat(scalars: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    found = {f"{stage}.{name}": v for stage, held in scalars.items() for name, v in held.items()}
    odd = [name for name, v in found.items() if isinstance(v, list | dict)]
    if odd:
        raise DataError(f"{METRICS}/: expected numbers and words, got others in {listed(odd)}")
    return found


def _shown(root: Path, rev: str, path: str) -> str:
    """A file as it stands in a commit."""
    try:
        return _git(root, "cat-file", "blob", f"{rev}:{path}")
    except CannotCompareError:
        raise CannotCompareError(f"no {path} in that commit; name one that holds results") from None


def _git(root: Path, *words: str) -> str:
    try:
        return git.ask(root, *words)
    except git.GitError as error:
        raise CannotCompareError(str(error)) from None


def _change(committed: Value, here: Value) -> str:
    if isinstance(committed, int | float) and isinstance(here, int | float):
        return f"{here - committed:+.3g}"
    return ""


def _word(value: object) -> str:
    return "absent" if value is None else str(value)


def _digits(value: Value) -> str:
    if value is None:
        return "undefined"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
