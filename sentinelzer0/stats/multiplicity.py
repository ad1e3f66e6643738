"""Several questions at once: corrections that keep the chance of any wrong answer at one alpha.

* Holm's step-down procedure adjusts p-values under any dependence between them. Applied at each look to
  always-valid p-values it holds at every look, because each of those is a p-value at any stopping time.
* The mean of e-values is an e-value under any dependence, so it tests "none of these is real" as a whole; it stays
  an e-process when each of them is one.

Sources:
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    Vovk and Wang, "E-values: calibration, combination and applications", Annals of Statistics 49 (2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, inf, isnan, log
from typing import TypeVar

from sentinelzer0.errors import InvalidInputError

K = TypeVar("K")


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Adjust p-values so that comparing each with alpha errs anywhere with probability at most alpha.

    Args:
        p_values: One p-value for each hypothesis, in [0, 1].

    Returns:
        The adjusted p-values under the same keys, in the same order; never smaller than the given ones.

    Raises:
        InvalidInputError: A number that is no probability.
    """
    for key, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise InvalidInputError(f"The p-value of {key} is {p}, which is no probability.")
    adjusted: dict[K, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[key]))
        adjusted[key] = largest
    return {key: adjusted[key] for key in p_values}


def e_mean(log_es: Iterable[float]) -> float:
    """Logarithm of the mean of e-values given by their logarithms.

    Args:
        log_es: At least one; ``-inf`` stands for an e-value of 0, ``inf`` for impossible data.

    Raises:
        InvalidInputError: No e-value, or one that is not a number.
    """
    values = list(log_es)
    if not values or any(isnan(value) for value in values):
        raise InvalidInputError(f"The e-values {values} have no mean.")
    largest = max(values)
    if largest in (inf, -inf):
        return largest
    return largest + log(sum(exp(value - largest) for value in values) / len(values))
