"""sbom.json: the locked packages as a bill of materials in CycloneDX 1.6."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any
from uuid import UUID

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from tools.supply_chain import licences, locks

TARGET = Path("sbom.json")


def write() -> None:
    """Write sbom.json into the current folder."""
    TARGET.write_text(text(), encoding="utf-8")


def text() -> str:
    """The bill as JSON; the same locks give the same bytes, so it holds no time.

    A package's hashes stand at a reference to its distribution: any of these files is the package.
    Optional are those for development, other machines and CUDA.
    """
    files = (locks.MAIN, locks.TORCH, locks.CUDA)
    packages = {package.name: package for path in files for package in locks.read(path)}
    wanted = shipped()
    components = {name: component(p, optional=name not in wanted) for name, p in packages.items()}
    digest = hashlib.sha256("".join(p.text() for p in packages.values()).encode()).digest()
    bom = Bom(serial_number=UUID(bytes=digest[:16], version=4), components=components.values())
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = root = project()
    bom.register_dependency(root, [components[name] for name in direct() if name in components])
    for name, part in components.items():
        bom.register_dependency(part, [components[n] for n in needed(name) if n in components])
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def component(package: locks.Package, *, optional: bool) -> Component:
    """One package."""
    purl = PackageURL("pypi", None, package.name, package.version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in package.hashes],
    )
    said = licences.licence(package.name)
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        scope=ComponentScope.OPTIONAL if optional else ComponentScope.REQUIRED,
        licenses=[] if said == licences.UNKNOWN else [LicenseExpression(said)],
        external_references=[files],
    )


def project() -> Component:
    """This project."""
    about = settings()
    return Component(
        name=about["name"],
        version=about["version"],
        type=ComponentType.APPLICATION,
        bom_ref=about["name"],
        licenses=[LicenseExpression(about["license"])],
    )


def direct(*, everything: bool = True) -> list[str]:
    """The packages that pyproject.toml names, with those for development or without."""
    about = settings()
    more = about["optional-dependencies"].values() if everything else ()
    lines = [line for lines in (about["dependencies"], *more) for line in lines]
    return sorted({locks.normal(Requirement(line).name) for line in lines})


def shipped() -> set[str]:
    """All that a user of the package needs on this machine."""
    seen: set[str] = set()
    waiting = direct(everything=False)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += needed(name)
    return seen


def needed(name: str) -> list[str]:
    """What an installed package needs on this machine; nothing for one that is not installed."""
    try:
        wanted = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:
        return []
    return sorted({locks.normal(w.name) for w in wanted if not w.marker or w.marker.evaluate()})


def settings() -> dict[str, Any]:
    """The table `project` of pyproject.toml."""
    text = (locks.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    about: dict[str, Any] = tomllib.loads(text)["project"]
    return about
