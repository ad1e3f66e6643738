"""The demo's detectors: connections in, probabilities of an attack out.

A detector is three things that only mean something together, and a version stores all three: the vocabulary that
turns connections into numbers, the weights, and the threshold above which it raises an alarm. Both kinds are plain
arrays evaluated with numpy, so serving needs no pickle and no training library; `training` fits them, `model_files`
stores them and reads them back.

Scores depend on the row alone: the same connection gets the same score in any batch, today and after a reload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from sentinelzer0.demo.nsl_kdd import Flags, Floats, Flows, Integers, Texts
from sentinelzer0.errors import InvalidInputError, require_extra

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:
    raise require_extra("demo", error.name or "numpy") from error

Nodes: TypeAlias = NDArray[np.void]

NODE = np.dtype(
    [
        ("feature", "<i4"),
        ("threshold", "<f8"),
        ("left", "<i4"),
        ("right", "<i4"),
        ("missing_left", "?"),
        ("value", "<f8"),
    ]
)
"""One node of a tree. A leaf points at itself on both sides, so walking on from it changes nothing."""

_WALK_ROWS = 512  # rows walked at a time: their state stays in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The known values of each categorical feature, sorted; a value's number is its place."""

    values: tuple[Texts, ...]

    def encode(self, flows: Flows) -> Integers:
        """Numbers of shape (rows, features); -1 for a value that was never seen in training."""
        codes = np.empty(flows.categorical.shape, dtype=np.int64)
        for place, known in enumerate(self.values):
            column = flows.categorical[:, place]
            found = np.minimum(np.searchsorted(known, column), len(known) - 1)
            codes[:, place] = np.where(known[found] == column, found, -1)
        return codes


@dataclass(frozen=True, slots=True, eq=False)
class LinearModel:
    """Logistic regression on standardised log(1 + x) of the numeric features and one weight per categorical value.

    Attributes:
        intercept: Log odds of an average row without categorical values.
        mean: Shape (numeric features,), of log(1 + x) in training.
        scale: The same for the standard deviation; 1 where it was 0.
        numeric: Shape (numeric features,), weight of each.
        categorical: For each categorical feature the weights of its values; an unknown value weighs nothing.
    """

    intercept: float
    mean: Floats
    scale: Floats
    numeric: Floats
    categorical: tuple[Floats, ...]

    def probabilities(self, numeric: Floats, codes: Integers) -> Floats:
        """Probability of an attack for each row."""
        # A sum over each row's own elements, not a matrix product: BLAS adds in an order that depends on the batch.
        odds = self.intercept + (((np.log1p(numeric) - self.mean) / self.scale) * self.numeric).sum(axis=1)
        for place, weights in enumerate(self.categorical):
            odds += np.append(weights, 0.0)[codes[:, place]]
        return _logistic(odds)


@dataclass(frozen=True, slots=True, eq=False)
class TreeModel:
    """Boosted trees; the categorical numbers are the last features, an unknown value counts as missing.

    Attributes:
        nodes: Every node of every tree, of type `NODE`; children are indexes into this array.
        roots: Index of the root of each tree.
        depth: Longest way from a root to a leaf.
        intercept: Log odds before the first tree.
    """

    nodes: Nodes
    roots: Integers
    depth: int
    intercept: float

    def probabilities(self, numeric: Floats, codes: Integers) -> Floats:
        """Probability of an attack for each row."""
        features = np.column_stack([numeric, np.where(codes < 0, np.nan, codes)])
        parts = [self._log_odds(features[at : at + _WALK_ROWS]) for at in range(0, len(features), _WALK_ROWS)]
        return _logistic(np.concatenate(parts) if parts else np.empty(0))

    def _log_odds(self, features: Floats) -> Floats:
        """Walk every row down every tree at once, one level per step."""
        feature, threshold = self.nodes["feature"].astype(np.intp), self.nodes["threshold"].copy()
        children = np.column_stack([self.nodes["left"], self.nodes["right"]]).astype(np.intp).ravel()
        missing_right = ~self.nodes["missing_left"] if np.isnan(features).any() else None
        flat, row_start = features.ravel(), (np.arange(len(features)) * features.shape[1])[:, None]
        at = np.broadcast_to(self.roots, (len(features), len(self.roots)))
        for _ in range(self.depth):
            value = flat.take(row_start + feature.take(at))
            go_right = value > threshold.take(at)
            if missing_right is not None:
                go_right |= np.isnan(value) & missing_right.take(at)
            at = children.take(2 * at + go_right)
        odds: Floats = self.intercept + self.nodes["value"].take(at).sum(axis=1)
        return odds


Model: TypeAlias = LinearModel | TreeModel


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """What serves traffic: vocabulary, weights and threshold.

    Attributes:
        vocabulary: Known categorical values.
        model: Weights.
        threshold: An alarm is raised at this probability and above; between 0 and 1.
    """

    vocabulary: Vocabulary
    model: Model
    threshold: float

    def score(self, flows: Flows) -> Floats:
        """Probability of an attack for each connection."""
        return self.model.probabilities(flows.numeric, self.vocabulary.encode(flows))

    def predict(self, flows: Flows) -> Integers:
        """1 for an alarm, 0 for none, for each connection."""
        return (self.score(flows) >= self.threshold).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a detector said about one batch, and how long it took.

    Attributes:
        rows: The rows of the traffic it was asked about.
        scores: Probability of an attack for each of them.
        predicted: 1 for an alarm, 0 for none.
        latency_ms: Milliseconds for the batch, which is what every request in it waited.
    """

    rows: Integers
    scores: Floats
    predicted: Integers
    latency_ms: float


def serve(
    detector: Detector, flows: Flows, rows: Integers, *, batch: int, timer: Callable[[], float]
) -> Iterator[Answer]:
    """Answer requests in small batches, as a service would, measuring each.

    The time covers encoding, scoring and deciding; fetching the rows is the caller's side and not measured.

    Args:
        detector: Who answers.
        flows: The traffic.
        rows: Which connections, in order of arrival.
        batch: Requests per batch, at least 1.
        timer: Seconds that only grow, such as `time.perf_counter`.

    Raises:
        InvalidInputError: An empty batch.
    """
    if batch < 1:
        raise InvalidInputError(f"A batch of {batch} requests is empty.", hint="Pass batch >= 1.")
    for at in range(0, len(rows), batch):
        chosen = rows[at : at + batch]
        asked = flows.take(chosen)
        start = timer()
        scores = detector.score(asked)
        predicted = (scores >= detector.threshold).astype(np.int64)
        yield Answer(chosen, scores, predicted, (timer() - start) * 1000.0)


def quality(label: Integers, scores: Floats, threshold: float) -> dict[str, float]:
    """How good scores are: f1, precision, recall, roc_auc and fpr, each 0..1.

    What is undefined is left out: precision without an alarm, everything that needs a class that is not there.

    Args:
        label: The truth, 1 or 0, shape (rows,).
        scores: Probabilities, shape (rows,).
        threshold: An alarm is a score at or above it.
    """
    alarm, attack = scores >= threshold, label == 1
    true_alarms, attacks, alarms = int((alarm & attack).sum()), int(attack.sum()), int(alarm.sum())
    normal = len(label) - attacks
    ratios = {
        "f1": (2 * true_alarms, alarms + attacks),
        "precision": (true_alarms, alarms),
        "recall": (true_alarms, attacks),
        "roc_auc": (_ordered_pairs(attack, scores), attacks * normal),
        "fpr": (alarms - true_alarms, normal),
    }
    return {name: float(part / whole) for name, (part, whole) in ratios.items() if whole}


def evaluate(detector: Detector, flows: Flows) -> dict[str, float]:
    """`quality` of a detector on connections whose truth is known, and `recall_novel` where some types are new."""
    scores = detector.score(flows)
    found = quality(flows.label, scores, detector.threshold)
    if flows.novel.any():
        found["recall_novel"] = float((scores[flows.novel] >= detector.threshold).mean())
    return found


def _ordered_pairs(attack: Flags, scores: Floats) -> float:
    """Pairs of an attack and a normal row where the attack scores higher, a tie counting half (Mann-Whitney U)."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    attacks = int(attack.sum())
    return float(rank[place][attack].sum() - attacks * (attacks + 1) / 2)


def _logistic(odds: Floats) -> Floats:
    """Log odds to probabilities; both branches only ever raise e to a negative number."""
    small: Floats = np.exp(-np.abs(odds))
    return np.where(odds >= 0, 1.0, small) / (1.0 + small)
