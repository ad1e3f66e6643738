"""What all looks at a test have proven together.

This module keeps. It performs no I/O. The laws:

- What was once proven stays proven: limits are cut with those of earlier looks and p-values only fall, which is what
  statements that hold at all looks together allow.
- If a look contradicts what earlier ones left, the effect has drifted: that is said, and the band stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sentinelzer0.domain.guarding import GuardrailReading
from sentinelzer0.domain.readings import Readings, about
from sentinelzer0.stats.comparison import Comparison
from sentinelzer0.stats.running import Running, intersect
from sentinelzer0.stats.wording import HarmState, reason_of, winner_of

NO_BAND = Running()


@dataclass(frozen=True, slots=True)
class Proofs:
    """What earlier looks have proven, for the next one to start from.

    Attributes:
        running: The band each metric of each challenger is left with, by letter and metric.
        harm: The smallest p-value against each guardrail, by letter and metric.
        kept: Guardrails proven to be kept, by letter.
        violated: Guardrails proven to be violated, by letter.
    """

    running: Mapping[str, Mapping[str, Running]] = field(default_factory=dict)
    harm: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    kept: Mapping[str, Sequence[str]] = field(default_factory=dict)
    violated: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def band(self, letter: str, metric: str) -> Running:
        """Return the band one metric of a challenger is left with."""
        return self.running.get(letter, {}).get(metric) or NO_BAND

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        bands = {
            letter: {name: [band.low, band.high, band.p_value, band.drifted] for name, band in of_arm.items()}
            for letter, of_arm in self.running.items()
        }
        return {
            "running": bands,
            "harm": {letter: dict(of_arm) for letter, of_arm in self.harm.items()},
            "kept": {letter: list(names) for letter, names in self.kept.items()},
            "violated": {letter: list(names) for letter, names in self.violated.items()},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Proofs:
        """Build it from :meth:`to_dict`; an empty mapping is the history before the first look."""
        bands = {
            letter: {name: Running(*band) for name, band in of_arm.items()}
            for letter, of_arm in raw.get("running", {}).items()
        }
        kept, violated = raw.get("kept", {}), raw.get("violated", {})
        return cls(bands, raw.get("harm", {}), kept, violated)


def after(now: Readings, before: Proofs) -> Proofs:
    """Return what is proven after a look."""
    bands = {
        letter: {name: intersect(before.band(letter, name), found) for name, found in compared.items()}
        for letter, compared in now.comparisons.items()
    }
    harm = {letter: dict(of_arm) for letter, of_arm in before.harm.items()}
    proven = {
        HarmState.PASSED: {letter: list(names) for letter, names in before.kept.items()},
        HarmState.VIOLATED: {letter: list(names) for letter, names in before.violated.items()},
    }
    for found in now.guardrails:
        name = found.guardrail.metric
        of_arm = harm.setdefault(found.arm, {})
        of_arm[name] = min(found.p_harm, of_arm.get(name, 1.0))
        if found.state in proven and name not in proven[found.state].setdefault(found.arm, []):
            proven[found.state][found.arm].append(name)
    kept, violated = proven[HarmState.PASSED], proven[HarmState.VIOLATED]
    return Proofs(bands, harm, kept, violated)


def as_proven(now: Readings, proofs: Proofs) -> Readings:
    """Return the readings of a look with comparisons and guardrails as proven by all looks so far."""
    compared = {
        letter: {name: _cut(found, proofs.band(letter, name), letter) for name, found in metrics.items()}
        for letter, metrics in now.comparisons.items()
    }
    kept = tuple(_kept(found, proofs) for found in now.guardrails)
    return replace(now, comparisons=compared, guardrails=kept)


def _cut(found: Comparison, band: Running, letter: str) -> Comparison:
    """Return a comparison with the interval that all looks leave; a band that drifted leaves it as it is."""
    if band.drifted or band.interval is None or found.interval is None or band.interval == found.interval:
        return found
    direction, p_value = found.metric.direction, min(found.p_value, band.p_value)
    enough = min(found.samples_a, found.samples_b) >= found.min_samples
    winner = winner_of(direction, band.interval) if enough else None
    reason = about(reason_of(found.metric, winner, band.interval, direction, found.alpha), letter)
    return replace(
        found,
        interval=band.interval,
        p_value=p_value,
        confidence=1.0 - p_value,
        is_significant=winner is not None,
        winner=winner,
        reason=reason if enough else found.reason,
    )


def _kept(found: GuardrailReading, proofs: Proofs) -> GuardrailReading:
    """Return a guardrail as proven by all looks so far; harm goes before the proof that there is none."""
    p = proofs.harm.get(found.arm, {}).get(found.guardrail.metric, 1.0)
    if found.state is not HarmState.VIOLATED and found.guardrail.metric in proofs.violated.get(found.arm, ()):
        words = found.guardrail.measured.words
        reason = f"{found.arm} was proven at an earlier look to make the {words} worse than its margin (p = {p:.2g})."
        return replace(found, state=HarmState.VIOLATED, p_harm=p, reason=reason)
    if found.state is HarmState.PENDING and found.guardrail.metric in proofs.kept.get(found.arm, ()):
        reason = f"The {found.guardrail.measured.words} of {found.arm} was proven at an earlier look to be kept."
        return replace(found, state=HarmState.PASSED, p_harm=p, reason=reason)
    return replace(found, p_harm=p)
