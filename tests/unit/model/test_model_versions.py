"""An edit of guarded source fails here until somebody decides whether results change."""

import json
import re
from pathlib import Path

import pytest

from medaudit.metrics import classification
from tools import versions


@pytest.mark.parametrize("name", versions.GUARDS)
def test_guarded_source_is_as_recorded(name: str) -> None:
    guard = versions.GUARDS[name]
    told = versions.undecided(
        versions.recorded()[name], versions.current(guard), constant=guard.constant
    )
    assert told is None, told


@pytest.mark.parametrize("name", versions.GUARDS)
def test_what_decides_is_guarded_and_nothing_of_audits_or_reports(name: str) -> None:
    source = versions.recorded()[name]["source"]
    files = [each for each in source if each.endswith(".py")]
    rooms = tuple(f"src/medaudit/{room}/" for room in ("model", "pixels", "training"))
    assert all(each.startswith(rooms) for each in files)
    ends = {Path(each).name for each in files}
    assert {"inference.py", "network.py", "prepared.py", "packed.py"} <= ends
    assert ("loop.py" in ends) == (name == "training")
    assert not {"corruptions.py", "predictors.py"} & ends
    assert [each for each in source if not each.endswith(".py")]


def test_an_edit_asks_for_a_decision_and_names_the_place() -> None:
    old = versions.recorded()["forward"]
    edited = {"version": old["version"], "source": {**old["source"], "x.py": "1"}}
    told = versions.undecided(old, edited, constant="medaudit.model")
    assert told is not None
    assert re.search(r"medaudit\.model changed: x\.py\. .*raise VERSION.*versions\.py --same", told)
    raised = {**edited, "version": old["version"] + 1}
    told = versions.undecided(old, raised, constant="medaudit.model")
    assert told == ("VERSION of medaudit.model is not recorded; run `python tools/versions.py`")


def test_recording_needs_a_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "versions.json"
    stale = versions.recorded()
    stale["training"]["source"].popitem()
    record.write_text(json.dumps(stale))
    monkeypatch.setattr(versions, "RECORD", record)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    monkeypatch.setattr(versions, "current", lambda guard: CURRENT[guard.constant])
    monkeypatch.setattr("sys.argv", ["versions.py"])
    with pytest.raises(SystemExit, match=r"the source behind VERSION of medaudit\.training"):
        versions.main()
    assert json.loads(record.read_text()) == stale
    monkeypatch.setattr("sys.argv", ["versions.py", "--same"])
    versions.main()
    assert json.loads(record.read_text())["training"] == CURRENT["medaudit.training"]
    assert "recorded" in capsys.readouterr().out


CURRENT = {guard.constant: versions.current(guard) for guard in versions.GUARDS.values()}


def test_the_choice_of_the_epoch_is_guarded_as_far_as_it_calls_metrics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another balanced accuracy counts; a metric that nobody chooses by does not."""
    guard = versions.GUARDS["training"]
    original = Path(classification.__file__)
    copy = tmp_path / "classification.py"

    def scores(text: str) -> str:
        copy.write_text(text)
        monkeypatch.setattr(classification, "__file__", str(copy))
        versions.keys._source.cache_clear()
        versions.keys._file.cache_clear()
        return str(versions.current(guard)["source"]["validation_scores of multiclass"])  # type: ignore[index]

    try:
        text = original.read_text(encoding="utf-8")
        whole = scores(text)
        assert scores(text + "\n\ndef new_metric(matrix):\n    return matrix.sum()\n") == whole
        body = re.search(r"def balanced_accuracy\(.*?\n    return ", text, re.DOTALL)
        assert body is not None
        assert scores(text.replace(body[0], body[0] + "0.5 * ")) != whole
    finally:
        versions.keys._source.cache_clear()
        versions.keys._file.cache_clear()
