"""Labels that may be wrong: a ranked list of samples whose embeddings speak against their label.

A classifier on embeddings states probabilities for samples of groups that it has not seen. A label
is suspect where another one is more probable than it mostly is for samples that carry it, and the
given one less so (confident learning). A person looks at the list; nothing is relabelled.

The embeddings of train images come from a model that was fitted to these very labels and remembers
wrong ones, so that fewer of them are found there than in the other roles.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits.properties import principal_components
from medaudit.core.findings import Findings, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medaudit.audits.properties import DiscoveryParams
    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.scoring import Names, ScoredPredictions

MAX_COMPONENTS = 50
# Weights of the likelihood against the penalty; the one with the least log loss is taken. A close
# fit is as sure of a wrong label as of a hard image.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
COLUMNS = (
    "rank",
    "sample_id",
    "role",
    "given",
    "suggested",
    "p_given",
    "p_suggested",
    "margin",
    "flagged",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Question:
    """What a label answers, with its possible answers: which class, or whether a label is there.

    Args:
        options: names of the answers.
        given: (n,) number of the answer that each sample was given.
    """

    options: tuple[str, ...]
    given: IntArray


def questions(table: PredictionTable) -> list[Question]:
    """One question where classes exclude each other, else one for every label."""
    if table.targets.ndim == 1:
        return [Question(table.schema.classes, table.targets)]
    return [
        Question((f"no {name}", name), table.targets[:, k])
        for k, name in enumerate(table.schema.classes)
    ]


@dataclass(frozen=True, eq=False)
class LabelModel:
    """Answers to one question by embeddings.

    Args:
        classifier: fitted to all known rows.
        out_of_fold: (n, options) probabilities of the known rows by models that have not seen
            their group.
        usual: (options,) mean probability of an option for known rows that were given it.
    """

    classifier: Any
    out_of_fold: Float64Array
    usual: Float64Array


@dataclass(frozen=True, eq=False)
class FrozenLabels:
    """What is known of labels before the test role is looked at.

    Args:
        known: rows of the other roles; `None` where predictions have no embeddings.
        reduce: principal components of their embeddings.
        models: one per question; `None` where an answer has fewer groups than there are folds.
    """

    known: PredictionTable | None
    reduce: Any = None
    models: tuple[LabelModel | None, ...] = ()


def freeze(known: PredictionTable, params: DiscoveryParams) -> FrozenLabels:
    """Fit the classifier to the roles that are not the test role.

    Args:
        known: their predictions with embeddings.
        params: folds and seed.
    """
    if known.embeddings is None:
        return FrozenLabels(None)
    embeddings = known.embeddings.astype(np.float64)
    reduce = principal_components(embeddings, params, most=MAX_COMPONENTS, whiten=True)
    features = reduce.fit_transform(embeddings)
    models = [_fitted(features, each, known.group_ids, params) for each in questions(known)]
    return FrozenLabels(known, reduce, tuple(models))


def _fitted(
    features: Float64Array, question: Question, group_ids: Names, params: DiscoveryParams
) -> LabelModel | None:
    groups_of = [
        len(np.unique(group_ids[question.given == option]))
        for option in range(len(question.options))
    ]
    if sum(count >= params.folds for count in groups_of) < 2:
        return None
    from sklearn.model_selection import StratifiedGroupKFold

    cuts = StratifiedGroupKFold(params.folds, shuffle=True, random_state=params.seed)
    folds = list(cuts.split(features, question.given, group_ids))
    tried = [_out_of_fold(features, question, folds, strength=each) for each in STRENGTHS]
    best = int(np.argmin([_log_loss(each, question) for each in tried]))
    found = tried[best]
    own = found[np.arange(len(found)), question.given]
    usual = [
        own[question.given == k].mean() if count else np.inf for k, count in enumerate(groups_of)
    ]
    whole = _classifier(STRENGTHS[best]).fit(features, question.given)
    return LabelModel(whole, found, np.array(usual))


def _out_of_fold(
    features: Float64Array,
    question: Question,
    folds: Sequence[tuple[IntArray, IntArray]],
    *,
    strength: float,
) -> Float64Array:
    """Probabilities (n, options) of every row by a classifier fitted to the other folds."""
    found = np.zeros((len(features), len(question.options)))
    for learnt, left in folds:
        model = _classifier(strength).fit(features[learnt], question.given[learnt])
        found[left] = _probabilities(model, features[left], question)
    return found


def _log_loss(stated: Float64Array, question: Question) -> float:
    given = stated[np.arange(len(stated)), question.given]
    return float(-np.log(np.maximum(given, np.finfo(float).tiny)).mean())


def _classifier(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=1000)


def _probabilities(model: Any, features: Float64Array, question: Question) -> Float64Array:
    """Of every option, (n, options); 0 for one that the model has not seen."""
    found = np.zeros((len(features), len(question.options)))
    found[:, model.classes_] = model.predict_proba(features)
    return found


def audit(
    test: ScoredPredictions,
    frozen: FrozenLabels,
    params: DiscoveryParams,
    bootstrap: Bootstrap,  # noqa: ARG001
) -> Findings:
    """Rank the labels of all roles, the most suspect first.

    Args:
        test: predictions of the test role.
        frozen: classifiers from `freeze`.
        params: how many are listed besides those that are flagged.
        bootstrap: not read: ranks are of these samples and estimate nothing.
    """
    if frozen.known is None or test.table.embeddings is None:
        log.info("labels are not checked: the predictions have no embeddings")
        table = pd.DataFrame(columns=list(COLUMNS))
        return Findings(headline(table, n=0), {"label_issues": table})
    features = frozen.reduce.transform(test.table.embeddings.astype(np.float64))
    parts = list(_suspects(test.table, features, frozen, frozen.known))
    ranked = pd.concat(parts) if parts else pd.DataFrame(columns=list(COLUMNS[1:]))
    ranked = ranked.sort_values(["margin", "sample_id"], ascending=[False, True], kind="stable")
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    scalars = headline(ranked, n=len(ranked))
    shown = (ranked["rank"] <= params.listed) | ranked["flagged"].astype(bool)
    return Findings(scalars, {"label_issues": ranked[shown].reset_index(drop=True)})


def _suspects(
    test: PredictionTable, features: Float64Array, frozen: FrozenLabels, known: PredictionTable
) -> Iterator[pd.DataFrame]:
    """Every label of every role with what is suggested in its place, question by question."""
    asked = zip(questions(known), questions(test), frozen.models, strict=True)
    for theirs, ours, model in asked:
        if model is None:
            continue
        yield suspects(known, theirs, model.out_of_fold, model.usual)
        answers = _probabilities(model.classifier, features, ours)
        yield suspects(test, ours, answers, model.usual)


def suspects(
    table: PredictionTable, question: Question, stated: Float64Array, usual: Float64Array
) -> pd.DataFrame:
    """Given and suggested answers with their margins, a row per sample.

    margin = (p_s − t_s) − (p_g − t_g) for the given answer g and the other answer s with the
    largest p_s − t_s, where t is the mean probability of an answer among samples that were given
    it; in [−2, 2], high is suspect. Flagged where p_s ≥ t_s and p_g < t_g.

    Args:
        table: sample ids and roles, n rows.
        question: options and given answers.
        stated: (n, options) probabilities.
        usual: (options,) the t; ∞ for an answer that nobody was given.

    Reference: Northcutt, Jiang & Chuang 2021, JAIR 70, Confident learning (thresholds t).
    """
    rows = np.arange(len(table))
    excess = stated - usual
    others = excess.copy()
    others[rows, question.given] = -np.inf
    suggested = others.argmax(axis=1)
    given_excess, other_excess = excess[rows, question.given], others[rows, suggested]
    return pd.DataFrame(
        {
            "sample_id": table.sample_ids,
            "role": table.rows["role"].to_numpy(),
            "given": _named(question.options, question.given),
            "suggested": _named(question.options, suggested),
            "p_given": stated[rows, question.given],
            "p_suggested": stated[rows, suggested],
            "margin": other_excess - given_excess,
            "flagged": _flags(other_excess >= 0, given_excess < 0),
        }
    )


def _named(options: Sequence[str], numbers: IntArray) -> list[str]:
    return [options[i] for i in numbers]


def _flags(first: BoolArray, second: BoolArray) -> IntArray:
    return np.asarray(first & second, dtype=np.int64)


def headline(ranked: pd.DataFrame, *, n: int) -> dict[str, Scalar]:
    """How many labels were ranked and flagged; `None` where none was."""
    flagged = int(ranked["flagged"].sum()) if n else None
    return {"n_labels_checked": n or None, "n_label_issues_flagged": flagged}
