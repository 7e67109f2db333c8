"""The study of eight samples, with its controls and its pages."""

import pytest
from evidence_tables import edits_of
from test_cases import CLEAN, MEL, NV, PARAMS, POINTS, make, stressed

from medaudit.cases import case_study
from tests.audit_runs import study


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
def book(clean, corrupted):
    return study(clean, corrupted, POINTS, PARAMS)


@pytest.fixture
def pages(book):
    tried = case_study.control_evidence(book, *edits_of(book, book.controls["sample_id"]))
    found = [
        case_study.case_evidence(book, each, *edits_of(book, [each.sample_id]))
        for each in book.cases
    ]
    return tried, [
        case_study.weigh(book, each, rows, tried)
        for each, rows in zip(book.cases, found, strict=True)
    ]
