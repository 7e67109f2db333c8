"""AUCs that others published, recomputed from their stored probabilities."""

import os
from pathlib import Path

import pytest

FOLDER = os.environ.get("MEDAUDIT_CXR", "")


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.skipif(not FOLDER, reason="MEDAUDIT_CXR names no folder of chest X-ray data")
def test_the_14_aucs_of_chexnet_to_4_decimals():
    from benchmarks.published_aucs import aucs

    table = aucs(Path(FOLDER))
    assert len(table) == 14
    assert (table["auroc"].round(4) == table["published"].round(4)).all()
    assert (table["patients_low"] < table["auroc"]).all()
    assert (table["auroc"] < table["patients_high"]).all()
