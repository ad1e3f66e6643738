"""Deployments: which versions serve an environment, as numbered revisions of weights.

This module decides what a revision may say. It performs no I/O. The laws:

- Weights are shares by version, each above 0, that sum to 1.
- A revision follows the highest one by exactly 1; whoever writes second has lost (compare and set).
- A revision is never changed: going back is a new revision.

>>> check_weights({"v1": 0.9, "v2": 0.1})
{'v1': 0.9, 'v2': 0.1}
>>> main_version({"v1": 0.9, "v2": 0.1})
'v1'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sentinelzer0.errors import ConflictError, InvalidInputError


class Cause(StrEnum):
    """Why a revision was made."""

    PROMOTION = "promotion"
    ADOPTION = "adoption"
    BREAK_GLASS = "break_glass"
    AB_START = "ab_start"
    AB_SHARE = "ab_share"
    AB_END = "ab_end"
    ROLLBACK = "rollback"
    RETIREMENT = "retirement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One revision of what serves an environment.

    Attributes:
        weights: Share of traffic by version, each in (0, 1], summing to 1; empty when nothing serves.
        evidence: What justified it: approval or test id, policy, verification.
        audit_seq: Sequence number of the audit record that made it.
    """

    model: str
    environment: str
    revision: int
    weights: dict[str, float]
    cause: Cause
    created_at: datetime
    created_by: str
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    audit_seq: int = 0

    @property
    def version(self) -> str | None:
        """Return the version with the largest share, or None when nothing serves."""
        return main_version(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; times are ISO-8601."""
        return {
            "model": self.model,
            "environment": self.environment,
            "revision": self.revision,
            "version": self.version,
            "weights": dict(self.weights),
            "cause": self.cause.value,
            "created_at": self.created_at.isoformat(),
            "created_by": self.created_by,
            "reason": self.reason,
            "evidence": dict(self.evidence),
            "audit_seq": self.audit_seq,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Deployment:
        """Build a revision from :meth:`to_dict`."""
        row = {name: value for name, value in raw.items() if name != "version"}
        row |= {"cause": Cause(raw["cause"]), "created_at": datetime.fromisoformat(raw["created_at"])}
        return cls(**row)


def check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights without zero shares.

    Raises:
        InvalidInputError: A share outside [0, 1], or a sum that is not 1.
    """
    for version, share in weights.items():
        if not 0.0 <= share <= 1.0:
            raise InvalidInputError(f"The share of {version} is {share!r}.", hint="A share is a number from 0 to 1.")
    total = math.fsum(weights.values())
    if weights and abs(total - 1.0) > 1e-9:
        raise InvalidInputError(f"The shares sum to {total:g}, not 1.", hint="Give all traffic to some version.")
    return {version: float(share) for version, share in weights.items() if share > 0}


def main_version(weights: Mapping[str, float]) -> str | None:
    """Return the version with the largest share; ties go to the first named."""
    return max(weights, key=lambda version: weights[version]) if weights else None


def next_revision(current: Deployment | None, expected: int) -> int:
    """Return the number of the next revision.

    Args:
        current: The highest revision now, or None.
        expected: The revision the caller decided on (0 for none).

    Raises:
        ConflictError: Somebody made another revision in between.
    """
    now = 0 if current is None else current.revision
    if now != expected:
        by = "" if current is None else f" ({current.cause} by {current.created_by})"
        raise ConflictError(
            f"The deployment is at revision {now}{by}, not {expected}.", hint="Look at it again, then decide."
        )
    return now + 1
