"""What weakens the guarantees of a test, in words a person understands; a verdict carries it along.

This module reads. It performs no I/O. Cautions decide nothing: they say which assumption the evidence itself puts in
doubt.
"""

from __future__ import annotations

import re

from sentinelzer0.domain.ab_tests import Mode, StoredTest
from sentinelzer0.domain.guarding import CONTROL, challengers
from sentinelzer0.domain.outcomes import Evidence
from sentinelzer0.domain.readings import requests_by_arm

_CLUSTERED = 1.5
_UNEVEN = 1.5
_ENOUGH = 400


def named(test: StoredTest, sentence: str) -> str:
    """Return a sentence about arms A, B, … as one about the versions behind them; to be done once to a sentence."""
    return re.sub(r"\b[A-G]\b", lambda found: test.arms.get(found[0], found[0]), sentence)


def waiting_labels(test: StoredTest, evidence: Evidence) -> int:
    """Return how many requests have a label that waits for its window."""
    served = (CONTROL,) if test.mode is Mode.SHADOW else tuple(test.arms)
    return sum(evidence.immature(letter) for letter in served)


def cautions(test: StoredTest, evidence: Evidence) -> list[str]:
    """Return what weakens the guarantees of a test's numbers."""
    served = (CONTROL,) if test.mode is Mode.SHADOW else tuple(test.arms)  # a shadow answer is no request of its own
    answered = requests_by_arm(evidence)
    requests = sum(answered.get(letter, 0) for letter in served)
    found = _clustering(test, evidence, served, requests)
    if test.mode is Mode.SHADOW:
        found += _unanswered(test, evidence, requests)
    if evidence.relabelled:
        several = "1 label" if evidence.relabelled == 1 else f"{evidence.relabelled:,} labels"
        found.append(
            f"{several} contradicted an earlier one; the later one counts. Corrected labels are outside what an "
            "always-valid interval promises."
        )
    return found


def _clustering(test: StoredTest, evidence: Evidence, served: tuple[str, ...], requests: int) -> list[str]:
    units = sum(evidence.units(letter) for letter in served)
    if not units or requests <= _CLUSTERED * units:
        return []
    said = (
        f"Each key has {requests / units:.1f} requests on average. The statistics take every request for a unit of "
        "its own; where those of one key resemble each other they claim too much."
    )
    found = [said]
    # Keys seen before are not counted by the sample-ratio check, so what is lost among them would go unnoticed.
    for phase in test.phases:
        shares = {letter: share for letter, share in phase["shares"].items() if letter in served and share > 0.0}
        here = dict.fromkeys(shares, 0)
        for cell in evidence.cells:
            if cell.phase == phase["phase"] and cell.arm in here:
                here[cell.arm] += cell.statistics.requests
        total, fair = sum(here.values()), sum(shares.values())
        for letter, share in shares.items():
            expected = total * share / fair
            if expected >= _ENOUGH and here[letter] * _UNEVEN < expected:
                found.append(
                    f"{test.arms[letter]} has {here[letter]:,} requests in phase {phase['phase']} where {expected:,.0f} "
                    "would be its share: outcomes of keys seen before may be missing."
                )
    return found


def _unanswered(test: StoredTest, evidence: Evidence, requests: int) -> list[str]:
    found = []
    for letter in challengers(test):
        pairs = sum(pair.statistics.pairs for pair in evidence.pairs if pair.arm == letter)
        if pairs < 0.95 * requests:
            found.append(
                f"{test.arms[letter]} has answered {pairs:,} of the {requests:,} requests: if those it left out are "
                "not a random part, the comparison is not fair."
            )
    return found
