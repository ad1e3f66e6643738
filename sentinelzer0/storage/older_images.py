"""After-images of earlier schemas: what their rows are in this one.

The audit log is never rewritten, so a row that a migration gave new columns has an after-image without them. Both the
migration and whoever reads the log take the missing ones from here, hence they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinelzer0.domain.assignment import allocate, first_ranges


def completed(table: str, image: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an after-image with every column of the present schema."""
    if table == "ab_tests" and "arms" not in image:
        return {**image, **design_of_first_schema(image)}
    return image


def design_of_first_schema(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an A/B test of schema 0001 is in the columns of 0002: two arms, one phase, no rules of its own."""
    share = row["traffic_split"]
    control = max(0.0, round(1.0 - share, 12))
    phases = [{"phase": 1, "at": row["started_at"], "shares": {"A": control, "B": share}}]
    return {
        "arms": {"A": row["model_a"], "B": row["model_b"]},
        "shares": {"B": share},
        "ranges": [list(found) for found in allocate(first_ranges(), {"B": share})],
        "holdout": 0.0,
        "mode": "split",
        "phases": phases if row["started_at"] else [],
        "guardrails": [],
        "segments": [],
        "latency_slo_ms": None,
        "label_window_s": 0.0,
        "minimum_effect": None,
        "direction": "",
        "end_at_verdict": False,
        "deadline": None,
        "duration_s": None,
        "max_samples": None,
    }
