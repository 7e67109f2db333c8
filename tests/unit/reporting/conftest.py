"""One made-up study for all tests of the report."""

from pathlib import Path

import pytest
import synthetic_evidence

from medaudit.reporting import evidence
from medaudit.reporting.evidence import Evidence


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the stages before the report write."""
    return synthetic_evidence.write_evidence(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def found(study: Path) -> Evidence:
    """The same, read."""
    return evidence.read(study)
