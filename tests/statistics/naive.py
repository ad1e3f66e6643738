"""What people do instead: a textbook test on everything so far, at every look, and the true differences to compare with.

The tests here are the ones of any textbook: two proportions with the pooled variance, Welch's t, F1 by the delta
method. They know nothing of looks or of ramps. They serve as the figure beside the product's.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from tests.statistics.streams import Arm, Behaviour, Design, Floats, Streams

UNITS = {
    "error_rate": lambda arm: arm["requests"],
    "avg_latency_ms": lambda arm: arm["requests"],
    "avg_confidence": lambda arm: arm["requests"],
    "f1_score": lambda arm: arm.labelled,
    "recall": lambda arm: arm.labelled,
}
"""How many units each metric rests on, as ``min_samples`` counts them."""


def value(arm: Arm, metric: str) -> Floats:
    """The metric of sums; NaN where it is 0/0."""
    match metric:
        case "error_rate":
            return arm["failures"] / arm["requests"]
        case "recall":
            return arm["tp"] / (arm["tp"] + arm["fn"])
        case "f1_score":
            return 2 * arm["tp"] / (2 * arm["tp"] + arm["fp"] + arm["fn"])
        case "avg_latency_ms":
            return arm["latency"] / arm["requests"]
        case _:
            return arm["confidence"] / arm["requests"]


def p_values(a: Arm, b: Arm, metric: str) -> Floats:
    """The textbook p-value of one metric at every look; 1 where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        match metric:
            case "error_rate":
                p = _two_proportions(a["failures"], a["requests"], b["failures"], b["requests"])
            case "recall":
                p = _two_proportions(a["tp"], a["tp"] + a["fn"], b["tp"], b["tp"] + b["fn"])
            case "f1_score":
                z = (value(b, metric) - value(a, metric)) / np.sqrt(_f1_variance(a) + _f1_variance(b))
                p = 2.0 * special.ndtr(-np.abs(z))
            case _:
                p = _welch(a, b, "latency" if metric == "avg_latency_ms" else "confidence")
    return np.nan_to_num(p, nan=1.0)


def peeked(streams: Streams, metric: str, alpha: float, min_samples: int) -> int:
    """How many tests show p < alpha at a look, once both arms have their minimum: all looks, phases thrown together."""
    a, b = streams.pooled()
    ready = np.minimum(UNITS[metric](a), UNITS[metric](b)) >= min_samples
    return int(np.any((p_values(a, b, metric) < alpha) & ready, axis=1).sum())


def expected_sums(design: Design) -> list[tuple[Arm, Arm]]:
    """For each phase what both arms' sums are on average per request up to each look, shape (looks,)."""
    phases = []
    for looks in design.phases:
        events = slice(looks.start * design.every, looks.stop * design.every)
        arms = []
        for behaviour in (design.a, design.b):
            sums = {}
            for name, rate in expected(design, behaviour).items():
                so_far = np.cumsum(rate[events]) / np.arange(1, events.stop - events.start + 1)
                sums[name] = np.zeros(design.events // design.every)
                sums[name][looks] = so_far[design.every - 1 :: design.every]
                sums[name][looks.stop :] = so_far[-1]
            arms.append(Arm(sums))
        phases.append((arms[0], arms[1]))
    return phases


def expected(design: Design, arm: Behaviour) -> dict[str, Floats]:
    """What one request adds to each sum on average, at every event."""
    failing, attack = arm.failures * design.daytime, design.attacks * design.daytime
    right = attack * arm.recall + (1 - attack) * (1 - arm.false_alarms)
    return {
        "requests": np.ones(design.events),
        "failures": failing,
        "tp": design.labelled * attack * arm.recall,
        "fn": design.labelled * attack * (1 - arm.recall),
        "fp": design.labelled * (1 - attack) * arm.false_alarms,
        "tn": design.labelled * (1 - attack) * (1 - arm.false_alarms),
        "latency": arm.latency_ms * np.exp(arm.sigma**2 / 2) * design.daytime * (1 + 2 * failing),
        "confidence": 1 - arm.doubt * (2 - right),
    }


def _two_proportions(hits_a: Floats, of_a: Floats, hits_b: Floats, of_b: Floats) -> Floats:
    share = (hits_a + hits_b) / (of_a + of_b)
    z = (hits_b / of_b - hits_a / of_a) / np.sqrt(share * (1 - share) * (1 / of_a + 1 / of_b))
    return 2.0 * special.ndtr(-np.abs(z))


def _f1_variance(arm: Arm) -> Floats:
    f1, wrong = value(arm, "f1_score"), arm["fp"] + arm["fn"]
    return (4 * arm["tp"] * (1 - f1) ** 2 + wrong * f1**2) / (2 * arm["tp"] + wrong) ** 2


def _welch(a: Arm, b: Arm, name: str) -> Floats:
    means, squares = [], []
    for arm in (a, b):
        n = arm["requests"]
        means.append(arm[name] / n)
        squares.append((arm[f"{name}_sq"] - arm[name] ** 2 / n) / (n - 1) / n)
    (mean_a, mean_b), (of_a, of_b) = means, squares
    t = (mean_b - mean_a) / np.sqrt(of_a + of_b)
    freedom = (of_a + of_b) ** 2 / (of_a**2 / (a["requests"] - 1) + of_b**2 / (b["requests"] - 1))
    return 2.0 * special.stdtr(freedom, -np.abs(t))
