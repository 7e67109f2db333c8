"""Locks, licences and the bill of materials say the same, and what they say is allowed."""

import json
import re
from importlib.metadata import PackageNotFoundError, PathDistribution, version

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tools.supply_chain import licences, locks, sbom

LOCKS = (locks.MAIN, locks.TORCH, locks.CUDA)
HASH = "0" * 64


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_locks_name_versions_and_hashes_and_no_place(path):
    text = path.read_text(encoding="utf-8")
    packages = locks.read(path)
    assert packages
    assert len({package.name for package in packages}) == len(packages)
    assert "".join(package.text() for package in packages) == re.sub(r"(?m)^#.*\n", "", text)
    assert not re.search(r"://|index|find-links|file:|@", text)


def test_tools_that_install_and_build_are_locked():
    assert {"pip", "setuptools", "uv"} <= {package.name for package in locks.read(locks.MAIN)}


def test_torch_is_locked_in_every_build():
    (torch,) = locks.read(locks.TORCH)
    assert f"torch=={torch.version}" == locks.pinned_torch()
    cpu = locks.cpu_hashes(torch.version)
    assert len(cpu) == len(set(cpu)) >= 8
    assert set(cpu) < set(torch.hashes)
    assert not {p.name for p in locks.read(locks.CUDA)} & {p.name for p in locks.read(locks.MAIN)}


def test_a_torch_whose_cpu_builds_are_not_known_is_not_locked():
    with pytest.raises(SystemExit, match=r"no CPU build of torch 0\.0\.1"):
        locks.cpu_hashes("0.0.1")


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0",
        f"numpy>=2.0 --hash=sha256:{HASH}",
        f"numpy --hash=sha256:{HASH}",
        f"numpy==2.0 --hash=md5:{HASH}",
        f"numpy==2.0 --hash=sha256:{HASH[1:]}",
        f"numpy @ https://example.org/numpy.whl --hash=sha256:{HASH}",
        "--index-url https://example.org/simple",
    ],
)
def test_a_lock_with_less_than_version_and_hash_is_refused(line):
    with pytest.raises(ValueError, match="a lock wants"):
        locks.parse(line + "\n")


def test_the_licence_page_is_that_of_the_locks():
    """`make licences` writes it anew."""
    rows = [row if installed(row) else said_before(row) for row in licences.table()]
    assert licences.page(rows) == licences.PAGE.read_text(encoding="utf-8")


def installed(row):
    try:
        return version(row.package).split("+")[0] == row.version
    except PackageNotFoundError:
        return row.package in licences.STATEMENTS["stated"]


def said_before(row):
    """Of a package that is not installed as locked, the licence is that of the page."""
    found = re.search(
        rf"(?m)^\| {row.package} \| {re.escape(row.version)} \| ([^|]*) \|",
        licences.PAGE.read_text(encoding="utf-8"),
    )
    return licences.Row(row.package, row.version, found[1] if found else "missing", row.use)


def test_no_committed_licence_is_unknown_or_unexplained():
    rows = re.findall(
        r"(?m)^\| ([^|]*) \| [^|]* \| ([^|]*) \|", licences.PAGE.read_text(encoding="utf-8")
    )[2:]
    assert len(rows) > 200
    assert [objection for row in rows if (objection := licences.objection(*row))] == []


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("Apache-2.0 OR GPL-2.0-or-later", True),
        ("LGPL-2.1-or-later", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-only OR AGPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND AGPL-3.0-only", False),
        ("GPL-2.0-only WITH GCC-exception-2.0", False),
        ("LicenseRef-Someone", False),
        (licences.UNKNOWN, False),
    ],
)
def test_copyleft_and_nameless_terms_need_an_exception(expression, fine):
    assert (licences.objection("somebody", expression) == "") == fine


def test_what_we_say_of_packages_is_of_locked_ones_and_needed():
    locked = {package.name for path in LOCKS for package in locks.read(path)}
    said = licences.STATEMENTS
    assert set(said["use"]) == set(sbom.direct())
    assert set(said["stated"]) <= locked
    for name in said["exceptions"]:
        assert not licences.permissive(licences.licence(name)), name


BSD = "Redistribution and use in source and binary forms, with or without"


@pytest.mark.parametrize(
    ("metadata", "file", "expected"),
    [
        ("License-Expression: MIT OR Apache-2.0", "", "MIT OR Apache-2.0"),
        ("License: Apache License, Version 2.0", "", "Apache-2.0"),
        ("License: MIT License\n        Copyright somebody", "", "MIT"),
        ("License: Proprietary", "", "unknown"),
        ("Classifier: License :: OSI Approved :: MIT License", "", "MIT"),
        ("Classifier: License :: OSI Approved :: BSD License", "", "unknown"),
        ("License: BSD", BSD, "BSD-2-Clause"),
        ("License: BSD", f"{BSD}\nto endorse or\npromote products", "BSD-3-Clause"),
        (
            "License: BSD",
            f"{BSD}\nBundled:\nPermission is hereby granted, free of charge",
            "BSD-2-Clause",
        ),
        ("License: UNKNOWN", "Apache Software License 2.0", "Apache-2.0"),
        ("Summary: nothing said", "All rights reserved.", "unknown"),
        ("Summary: nothing said", "", "unknown"),
    ],
)
def test_licences_are_read_from_metadata_or_the_file(tmp_path, metadata, file, expected):
    folder = tmp_path / "some-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.4\nName: some\nVersion: 1.0\n{metadata}\n"
    )
    (folder / "LICENSE").write_text(file)
    (folder / "RECORD").write_text("some-1.0.dist-info/LICENSE,,\n")
    assert licences.recognised(PathDistribution(folder)) == expected


@pytest.fixture(scope="module")
def bill():
    return sbom.text()


def test_the_bill_of_materials_obeys_the_schema(bill):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill.replace("library", "book"))


def test_the_bill_of_materials_is_that_of_the_locks(bill):
    parts = {part["name"]: part for part in json.loads(bill)["components"]}
    packages = {package.name: package for path in LOCKS for package in locks.read(path)}
    assert set(parts) == set(packages)
    for name, package in packages.items():
        (files,) = parts[name]["externalReferences"]
        assert parts[name]["version"] == package.version
        assert parts[name]["purl"] == f"pkg:pypi/{name}@{package.version}"
        assert {file["content"] for file in files["hashes"]} == set(package.hashes)
    assert parts["numpy"]["scope"] == "required"
    assert parts["pytest"]["scope"] == "optional"


def test_the_bill_of_materials_tells_who_needs_whom_and_no_time_or_place(bill):
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in json.loads(bill)["dependencies"]}
    assert "pkg:pypi/dvc-data@" in " ".join(needs[next(ref for ref in needs if "/dvc@" in ref)])
    assert any("/torch@" in ref for ref in needs["medaudit"])
    assert sbom.text() == bill
    assert "timestamp" not in bill
    assert re.findall(r'"[^"]*://[^"]*"', bill) == [
        '"http://cyclonedx.org/schema/bom-1.6.schema.json"'
    ]


def test_named_weaknesses_are_of_the_versions_that_are_locked():
    """A version that moved on: look again whether its weakness did, then mend SECURITY.md."""
    page = (locks.ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = page.partition("| package | weakness |")[2].partition("\n\n")[0]
    named = re.findall(r"(?m)^\| ([a-z][\w-]*) ([\d.]+) \|", table)
    locked = {(p.name, p.version) for path in LOCKS for p in locks.read(path)}
    assert {"diskcache", "torch"} <= {name for name, _ in named}
    assert set(named) <= locked
