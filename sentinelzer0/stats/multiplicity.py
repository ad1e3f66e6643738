"""Several questions at once: a correction that keeps the chance of any wrong answer at one alpha.

Holm's step-down procedure adjusts p-values under any dependence between them. Applied at each look to always-valid
p-values it holds at every look, because each of those is a p-value at any stopping time.

Source:
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

from collections.abc import Mapping
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
