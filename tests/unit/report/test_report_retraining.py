"""The spread of retraining: how it is measured, read and matched to a run."""

import pandas as pd
import pytest

from benchmarks import retraining_chart
from medaudit.core.errors import DataError
from medaudit.report import reproduction

PARAMS = {"train": {"epochs": 2, "seed": 1}, "report": {"title": "A"}}
FREE = reproduction.FREE


def rows(*values, variant="as_it_is", arithmetic="native", metric="accuracy"):
    names = ("variant", "arithmetic", "seed", "stage", "metric", "value")
    return pd.DataFrame(
        [(variant, arithmetic, s, "evaluate", metric, v) for s, v in enumerate(values)],
        columns=names,
    )


def test_the_spread_is_over_seeds_of_the_training_as_it_is():
    found = pd.concat(
        [
            rows(0.6, 0.7, 0.8),
            rows(0.1, variant="ema_0.98"),
            rows(0.2, arithmetic="sse41"),
            rows(9, 9, 9, metric="n"),
            rows(0.5, None, None, metric="recall"),
        ]
    )
    (row,) = retraining_chart.spread(found).to_dict("records")
    assert row == {
        **{"stage": "evaluate", "metric": "accuracy", "seeds": 3},
        **{"mean": pytest.approx(0.7), "sd": pytest.approx(0.1), "low": 0.6, "high": 0.8},
    }


def test_what_is_written_is_read(tmp_path):
    found = pd.concat([rows(0.6, 0.7, 0.8), rows(1, 1, None, metric="macro_f1")])
    retraining_chart.spread(found).to_csv(tmp_path / "a.csv", index=False)
    spread = reproduction.read(tmp_path / "a.csv")
    assert spread.seeds == 3
    assert spread.numbers["evaluate.accuracy"].sd == pytest.approx(0.1)
    assert spread.numbers["evaluate.macro_f1"].seeds == 2


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        ({}, {}),
        ({"report": {"title": "B"}, "compute": {"threads": 1}}, {}),
        ({"train": {"epochs": 2, "seed": 9}}, {}),
        ({"train": {"epochs": 3, "seed": 1}}, {"train.epochs": (2, 3)}),
        ({"train": {"epochs": 2, "seed": 1, "ema": 0.9}}, {"train.ema": (None, 0.9)}),
        ({"train": {"seed": 1}}, {"train.epochs": (2, None)}),
    ],
)
def test_words_seeds_and_threads_are_no_other_parameters(other, apart):
    assert reproduction.unlike(PARAMS, PARAMS | other, free=FREE) == apart


@pytest.mark.parametrize(
    ("text", "told"), [(None, "missing"), ("stage,metric\n", "expected rows with stage, metric")]
)
def test_a_damaged_spread_says_what_to_do(tmp_path, text, told):
    path = tmp_path / "a.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=told):
        reproduction.read(path)
