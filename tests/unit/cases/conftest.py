"""The case study of eight samples, with its controls and its case records."""

import pytest
from case_tables import CLEAN, MEL, NV, PARAMS, POINTS, make, stressed
from evidence_tables import edits_of

from medaudit.cases import case_study
from tests.audit_runs import case_study_of
from tests.prepared_folders import (  # noqa: F401 - fixtures
    one_thread,
    prepared,
    prepared_folder,
)


@pytest.fixture
def clean():
    return make(CLEAN)


@pytest.fixture
def corrupted():
    return [
        stressed("gaussian_blur-1", {"d": (MEL, MEL, 0.6)}),
        stressed("gaussian_blur-2", {"d": (MEL, NV, 0.9)}),
        stressed("brightness_up-1", {"a": (MEL, MEL, 0.7)}),
    ]


@pytest.fixture
def study(clean, corrupted):
    return case_study_of(clean, corrupted, POINTS, PARAMS)


@pytest.fixture
def case_records(study):
    tried = case_study.control_evidence(study, *edits_of(study, study.controls["sample_id"]))
    found = [
        case_study.case_evidence(study, each, *edits_of(study, [each.sample_id]))
        for each in study.cases
    ]
    return tried, [
        case_study.weigh(study, each, rows, tried)
        for each, rows in zip(study.cases, found, strict=True)
    ]
