"""One made-up study for all tests of the report."""

from pathlib import Path

import pytest
import synthetic_results

from medaudit.report import results
from medaudit.report.results import Results


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the stages before the report write."""
    return synthetic_results.write_results(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def found(study: Path) -> Results:
    """The same, read."""
    return results.read_results(study)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for images with any of four labels, none of them critical."""
    return synthetic_results.write_results(tmp_path_factory.mktemp("labelled"), n_labels=4)


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an audit of given predictions leaves: no data, no model, no images."""
    return synthetic_results.write_audit(tmp_path_factory.mktemp("elsewhere"))
