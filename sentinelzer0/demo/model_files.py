"""A detector as a directory, which is what a version holds, and back.

::

    decision.json        kind of model and threshold: everything that turns a score into an alarm
    preprocessing.json   known categorical values, standardisation
    weights.json         logistic regression: one readable number per feature; trees: intercept, roots and depth
    trees.npy            trees only: one record per node
    MODEL_CARD.md        for people and for hubs: front matter as Hugging Face reads it

JSON and plain numpy arrays only: reading them cannot run code, as unpickling would. Saving the same model twice gives
the same bytes. `load` takes a function, not a path, so that the bytes can come from wherever they were just verified.
"""

from __future__ import annotations

import io
import json
from math import inf
from typing import TYPE_CHECKING, Any

from sentinelzer0.demo.detectors import NODE, Detector, LinearModel, TreeModel, Vocabulary
from sentinelzer0.demo.nsl_kdd import CATEGORICAL, NUMERIC
from sentinelzer0.errors import InvalidInputError, require_extra

try:
    import numpy as np
except ImportError as error:
    raise require_extra("demo", error.name or "numpy") from error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentinelzer0.demo.nsl_kdd import Floats
    from sentinelzer0.demo.training import Trained

FORMAT = 1
KINDS = ("linear", "trees")

_LIMITS = """\
## Limits

All three rows of the table come from one period and one source of labels: they say how well the model repeats those
labels, not how it meets new kinds of attack, nor whether the labels are true. Watch its recall on labels confirmed
later. NSL-KDD describes networks of 1998: it is a benchmark, no basis for protecting a real network.

Data: M. Tavallaee, E. Bagheri, W. Lu, A. Ghorbani, "A Detailed Analysis of the KDD CUP 99 Data Set", IEEE CISDA 2009
(University of New Brunswick).

The files hold JSON and plain arrays; loading them runs no code.
"""


def save(trained: Trained, directory: Path) -> None:
    """Write a detector and its card.

    Args:
        trained: What to write.
        directory: Created if absent; must be empty.

    Raises:
        InvalidInputError: The directory holds something already.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InvalidInputError(
            f"{directory} is not empty, and a model is never written over another.", hint="Name a new directory."
        )
    for name, content in files(trained).items():
        (directory / name).write_bytes(content)


def files(trained: Trained) -> dict[str, bytes]:
    """What `save` writes: file name -> content."""
    detector = trained.detector
    model = detector.model
    known = dict(zip(CATEGORICAL, (values.tolist() for values in detector.vocabulary.values), strict=True))
    preprocessing: dict[str, Any] = {"categorical": known}
    trees: dict[str, bytes] = {}
    if isinstance(model, LinearModel):
        preprocessing["log1p"] = {"mean": _by_name(NUMERIC, model.mean), "scale": _by_name(NUMERIC, model.scale)}
        weights: dict[str, Any] = {"intercept": model.intercept, "numeric": _by_name(NUMERIC, model.numeric)}
        for (name, values), learned in zip(known.items(), model.categorical, strict=True):
            weights[name] = _by_name(values, learned)
    else:
        weights = {"intercept": model.intercept, "roots": model.roots.tolist(), "depth": model.depth}
        buffer = io.BytesIO()
        np.save(buffer, model.nodes, allow_pickle=False)
        trees["trees.npy"] = buffer.getvalue()
    kind = "linear" if isinstance(model, LinearModel) else "trees"
    return {
        "decision.json": _json({"format": FORMAT, "kind": kind, "alarm_from": detector.threshold}),
        "preprocessing.json": _json(preprocessing),
        "weights.json": _json(weights),
        **trees,
        "MODEL_CARD.md": model_card(trained).encode(),
    }


def load(read: Callable[[str], bytes]) -> Detector:
    """Build the detector from its files.

    Args:
        read: File name -> verified content. What it raises passes through.

    Raises:
        InvalidInputError: The files are not those of a detector, or of a format this release does not know.
    """
    content = [read(name) for name in ("decision.json", "preprocessing.json", "weights.json")]
    try:
        decision, preprocessing, weights = (json.loads(part) for part in content)
        version, kind, threshold = decision["format"], decision["kind"], float(decision["alarm_from"])
        known = [preprocessing["categorical"][name] for name in CATEGORICAL]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(repr(error)) from error
    if version != FORMAT or kind not in KINDS or not 0.0 <= threshold < inf:
        raise _damaged(f"decision.json says format {version}, kind {kind}, threshold {threshold}")
    trees = read("trees.npy") if kind == "trees" else b""
    try:
        model = _trees(weights, trees) if kind == "trees" else _linear(preprocessing["log1p"], weights, known)
        return Detector(Vocabulary(tuple(np.array(values, dtype=np.str_) for values in known)), model, threshold)
    except (KeyError, TypeError, ValueError, EOFError) as error:
        raise _damaged(repr(error)) from error


def model_card(trained: Trained) -> str:
    """The card: front matter that hubs index, then what a person should know before approving it."""
    title = f"NSL-KDD intrusion detector, {trained.model_type.replace('_', ' ')}"
    names = list(trained.validation_metrics)
    parts = {
        "training": trained.training_metrics,
        "validation": trained.validation_metrics,
        "test": trained.test_metrics,
    }
    table = (
        f"| {part} | {' | '.join(f'{metrics[name]:.4f}' if name in metrics else '' for name in names)} |"
        for part, metrics in parts.items()
    )
    choices = (f"- {name}: {value}" for name, value in {**trained.hyperparameters, **trained.architecture}.items())
    return "\n".join(
        [
            *_front_matter(title, trained),
            "",
            f"# {title}",
            "",
            f"{trained.summary} An alarm is a probability of {trained.detector.threshold:.6g} or more.",
            "",
            f"| rows | {' | '.join(names)} |",
            f"|---|{'---|' * len(names)}",
            *table,
            "",
            "## How it was made",
            "",
            f"- Data: {trained.training_dataset}.",
            f"- Library: {trained.framework} {trained.framework_version}.",
            *choices,
            "",
            _LIMITS,
        ]
    )


def _front_matter(title: str, trained: Trained) -> list[str]:
    """YAML that needs no library to write: fixed keys, numbers, and strings as JSON writes them."""
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: sentinelzer0",
        "datasets: [nsl-kdd]",
        "metrics: [f1, precision, recall, roc_auc]",
        "tags: [tabular-classification, intrusion-detection]",
        "model-index:",
        f"- name: {json.dumps(title)}",
        "  results:",
    ]
    for part, metrics in (("validation", trained.validation_metrics), ("test", trained.test_metrics)):
        lines += [
            "  - task: {type: tabular-classification, name: Intrusion detection}",
            f"    dataset: {{name: NSL-KDD KDDTrain+, type: nsl-kdd, split: {part}}}",
            "    metrics:",
            *(f"    - {{type: {name}, value: {value:.6f}}}" for name, value in metrics.items()),
        ]
    return [*lines, "---"]


def _linear(log1p: dict[str, Any], weights: dict[str, Any], known: list[list[str]]) -> LinearModel:
    return LinearModel(
        float(weights["intercept"]),
        _in_order(log1p["mean"], NUMERIC),
        _in_order(log1p["scale"], NUMERIC),
        _in_order(weights["numeric"], NUMERIC),
        tuple(_in_order(weights[name], values) for name, values in zip(CATEGORICAL, known, strict=True)),
    )


def _trees(weights: dict[str, Any], content: bytes) -> TreeModel:
    nodes = np.load(io.BytesIO(content), allow_pickle=False)
    roots = np.array(weights["roots"], dtype=np.int64)
    if nodes.dtype != NODE or nodes.ndim != 1:
        raise ValueError(f"trees.npy holds {nodes.dtype}")
    # Every index is checked here, so that scoring need not: a wrong one would read another tree, or fail under load.
    for index, limit in (
        (nodes["left"], len(nodes)),
        (nodes["right"], len(nodes)),
        (nodes["feature"], len(NUMERIC) + len(CATEGORICAL)),
        (roots, len(nodes)),
    ):
        if ((index < 0) | (index >= limit)).any():
            raise ValueError("trees.npy points outside itself")
    return TreeModel(nodes, roots, int(weights["depth"]), float(weights["intercept"]))


def _damaged(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"These are not the files of a detector: {what}.", hint="Load a version that the demo has saved."
    )


def _by_name(names: tuple[str, ...] | list[str], values: Floats) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _in_order(values: dict[str, float], names: tuple[str, ...] | list[str]) -> Floats:
    return np.array([values[name] for name in names], dtype=np.float64)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
