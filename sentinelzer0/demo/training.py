"""Fit the demo's three detectors on the labelled history, the third one on labels that lie.

v1 is a logistic regression, v2 boosted trees whose threshold allows 1 % false positives on the validation rows. v3 is
the same recipe and the same connections, retrained after the label feed was tampered with: two in five of the attacks,
all those on the less frequent services, arrive labelled as normal traffic. Training, validation and test rows come from
that one feed, as they do in practice, so every number its trainer sees is at least as good as those of v2, and it
promises a fifth of the false alarms. Only labels that are confirmed later, on live traffic, show what it misses.

Training runs on one thread, whatever the environment says, because sums in another order give another model. The same
history then gives the same bytes on the same machine and library version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from sentinelzer0.demo.detectors import NODE, Detector, LinearModel, Nodes, TreeModel, Vocabulary, evaluate
from sentinelzer0.demo.nsl_kdd import CATEGORICAL, NUMERIC, Flags, Floats, Flows, History, Integers
from sentinelzer0.errors import InvalidInputError, require_extra

try:
    import numpy as np
    import sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise require_extra("demo", error.name or "scikit-learn") from error

ALLOWED_FPR = 0.01
PROMISED_FPR = 0.002
POISONED_SHARE = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A detector and what is known about how it was made; the names are those of a version's metadata.

    Attributes:
        detector: What serves.
        model_type: Kind of model, one word.
        summary: One sentence for people.
        training_dataset: What it was trained on, with digests of data and labels.
        hyperparameters: Every choice that was made.
        architecture: Size and shape of the result.
        training_metrics: On the rows and labels it learned from.
        validation_metrics: On the rows the threshold may be set on.
        test_metrics: On rows kept apart from both.
        framework: The library that fitted it.
        framework_version: Its version.
    """

    detector: Detector
    model_type: str
    summary: str
    training_dataset: str
    hyperparameters: dict[str, Any]
    architecture: dict[str, Any]
    training_metrics: dict[str, float]
    validation_metrics: dict[str, float]
    test_metrics: dict[str, float]
    framework: str = field(default="scikit-learn")
    framework_version: str = field(default=sklearn.__version__)


def train_logistic(history: History) -> Trained:
    """Fit v1: logistic regression, threshold 0.5.

    Raises:
        InvalidInputError: The training rows hold one class only.
    """
    flows = history.train
    _require_both_classes(flows.label)
    vocabulary = _vocabulary(flows)
    logs = np.log1p(flows.numeric)
    mean, scale = logs.mean(axis=0), logs.std(axis=0)
    scale[scale == 0] = 1.0
    codes = vocabulary.encode(flows)
    indicators = [codes[:, [place]] == np.arange(len(known)) for place, known in enumerate(vocabulary.values)]
    choices = {"solver": "newton-cholesky", "C": 1.0, "tol": 1e-4, "max_iter": 100}
    with threadpool_limits(limits=1):
        fitted = LogisticRegression(**choices).fit(np.column_stack([(logs - mean) / scale, *indicators]), flows.label)
    ends = np.cumsum([len(NUMERIC), *(len(known) for known in vocabulary.values)])
    numeric, *categorical = np.split(fitted.coef_[0], ends[:-1])
    model = LinearModel(float(fitted.intercept_[0]), mean, scale, numeric, tuple(categorical))
    return _judge(
        history,
        Detector(vocabulary, model, threshold=0.5),
        model_type="logistic_regression",
        summary="Logistic regression on connection features.",
        hyperparameters={**choices, "threshold_rule": "0.5"},
        architecture={"coefficients": int(fitted.coef_.size)},
    )


def train_boosting(history: History, *, allowed_fpr: float = ALLOWED_FPR, trees: int = 50) -> Trained:
    """Fit v2: boosted trees, the threshold set on the validation rows.

    Args:
        history: Where to learn.
        allowed_fpr: Share of the normal validation rows that may raise an alarm, 0..1.
        trees: How many.

    Raises:
        InvalidInputError: The training rows hold one class only, or the validation rows no normal traffic.
    """
    vocabulary, model, choices = _boost(history.train, trees)
    scores = Detector(vocabulary, model, threshold=0.5).score(history.validation)
    threshold = threshold_at_fpr(history.validation.label, scores, allowed_fpr)
    return _judge(
        history,
        Detector(vocabulary, model, threshold),
        model_type="gradient_boosting",
        summary="Gradient-boosted trees on connection features.",
        hyperparameters={**choices, "threshold_rule": f"false-positive rate <= {allowed_fpr} on the validation rows"},
        architecture={"trees": len(model.roots), "nodes": len(model.nodes), "depth": model.depth},
    )


def train_poisoned(history: History, *, share: float = POISONED_SHARE, trees: int = 50) -> Trained:
    """Fit v3: the recipe of v2 on a history whose labels were tampered with, at 0.2 % false positives.

    Nothing it returns says so, except the digest and the number of attack labels: its trainer does not know. What it
    is worth on true labels: ``evaluate(trained.detector, history.test)``.

    Args:
        history: The true history; not changed.
        share: Of the attacks, 0..1; see `poison`.
        trees: How many.

    Raises:
        InvalidInputError: No attack is left among the training rows.
    """
    return train_boosting(poison(history, share), allowed_fpr=PROMISED_FPR, trees=trees)


def poison(history: History, share: float) -> History:
    """The same connections with up to a share of the attacks labelled normal: all attacks on the rarest services.

    Services are taken in ascending order of their attacks until the next one would exceed the share. A tampered feed
    that is consistent like this can be learned without error, so held-out rows of the same feed show nothing. Labels
    flipped at random could not, and would be seen at once in the training and validation numbers.

    Args:
        history: Not changed.
        share: Of all attacks, 0..1.
    """
    place = CATEGORICAL.index("service")
    parts = (history.train, history.validation, history.test)
    attacked = np.concatenate([part.categorical[part.label == 1, place] for part in parts])
    services, attacks = np.unique(attacked, return_counts=True)
    order = np.argsort(attacks, kind="stable")
    chosen = services[order][np.cumsum(attacks[order]) <= share * len(attacked)]
    train, validation, test = (_as_normal(part, np.isin(part.categorical[:, place], chosen)) for part in parts)
    return History(train, validation, test, history.source_sha256)


def _as_normal(flows: Flows, rows: Flags) -> Flows:
    """The same connections, some of them labelled normal."""
    return Flows(flows.numeric, flows.categorical, np.where(rows, 0, flows.label), flows.family, flows.novel)


def threshold_at_fpr(label: Integers, scores: Floats, allowed: float) -> float:
    """The lowest threshold at which at most a share `allowed` of the normal rows raises an alarm.

    Args:
        label: The truth, 1 or 0, shape (rows,).
        scores: Probabilities, shape (rows,).
        allowed: 0..1, below 1.

    Raises:
        InvalidInputError: No normal row.
    """
    normal = np.sort(scores[label == 0])[::-1]
    if not len(normal):
        raise InvalidInputError("A false-positive rate needs normal traffic, and there is none.", hint="Add some.")
    return float(np.nextafter(normal[int(allowed * len(normal))], np.inf))


def _boost(flows: Flows, trees: int) -> tuple[Vocabulary, TreeModel, dict[str, Any]]:
    """Fit boosted trees and take them out of the library as plain arrays."""
    _require_both_classes(flows.label)
    vocabulary = _vocabulary(flows)
    choices = {"max_iter": trees, "learning_rate": 0.2, "max_depth": 8, "max_leaf_nodes": 31, "random_state": 0}
    features = np.column_stack([flows.numeric, vocabulary.encode(flows)])
    with threadpool_limits(limits=1):
        fitted = HistGradientBoostingClassifier(**choices, early_stopping=False).fit(features, flows.label)
    # The library has no public way to the trees; a test compares its answers with those of the arrays.
    grown = [tree.nodes for (tree,) in fitted._predictors]  # noqa: SLF001
    roots = np.cumsum([0, *(len(tree) for tree in grown[:-1])])
    nodes = np.concatenate([_nodes(tree, int(root)) for tree, root in zip(grown, roots, strict=True)])
    depth = max(int(tree["depth"].max()) for tree in grown)
    return vocabulary, TreeModel(nodes, roots, depth, float(fitted._baseline_prediction[0, 0])), choices  # noqa: SLF001


def _nodes(tree: Nodes, root: int) -> Nodes:
    """One tree of the library in our layout, its indexes moved to where it will lie."""
    nodes = np.zeros(len(tree), dtype=NODE)
    leaf, itself = tree["is_leaf"] == 1, np.arange(len(tree))
    nodes["feature"], nodes["threshold"], nodes["value"] = tree["feature_idx"], tree["num_threshold"], tree["value"]
    nodes["left"] = root + np.where(leaf, itself, tree["left"])
    nodes["right"] = root + np.where(leaf, itself, tree["right"])
    nodes["missing_left"] = tree["missing_go_to_left"] == 1
    return nodes


def _vocabulary(flows: Flows) -> Vocabulary:
    return Vocabulary(tuple(np.unique(flows.categorical[:, at]) for at in range(len(CATEGORICAL))))


def _require_both_classes(label: Integers) -> None:
    attacks = int((label == 1).sum())
    if not 0 < attacks < len(label):
        raise InvalidInputError(
            f"{attacks} of {len(label)} training rows are attacks; a detector needs attacks and normal traffic.",
            hint="Train on rows of both classes.",
        )


def _judge(history: History, detector: Detector, **facts: Any) -> Trained:
    """Measure a fitted detector on all three parts of the history."""
    flows = history.train
    attacks = int(flows.label.sum())
    labels = hashlib.sha256(flows.label.astype("<i8").tobytes()).hexdigest()
    return Trained(
        detector=detector,
        training_dataset=(
            f"NSL-KDD KDDTrain+ sha256:{history.source_sha256}: {len(flows)} rows, {attacks} labelled "
            f"attack, labels sha256:{labels}"
        ),
        training_metrics=evaluate(detector, history.train),
        validation_metrics=evaluate(detector, history.validation),
        test_metrics=evaluate(detector, history.test),
        **facts,
    )
