"""Did the traffic arrive as it was split? A sequential check for sample-ratio mismatch.

A test whose arms got other numbers of units than their shares explain has lost units somewhere, rarely at random, and
no comparison of what is left can be trusted. Within a phase each unit falls to an arm with the shares of that phase.
Against that, the likelihood is averaged over all other splits: a Dirichlet distribution centred on the shares, half of
it narrow (finds a small loss early), half of it wide (finds a gross one at once). The factor of all units that were split
the same way is a martingale that starts at 1 under the stated shares, and so is the product over the different splits:
exact under ramps, valid at every look, whatever the order.

Where units are missing is asked apart: for each arm and place, "this arm keeps only ``k`` of its units" is averaged
over fixed ``k`` below 1; one ``k`` is followed through all phases of the place, so a loss adds up along a ramp.

Sources:
    Lindon, Malek, "Anytime-valid inference for multinomial count data", NeurIPS 35 (2022): the Dirichlet-multinomial
    test of sample ratios.
    Fabijan et al., "Diagnosing sample ratio mismatch in online controlled experiments", KDD (2019): why a mismatch
    invalidates, alpha, and looking by segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isclose, isfinite, lgamma, log, log1p

from sentinelzer0.errors import InvalidInputError
from sentinelzer0.stats.confidence_sequences import p_value
from sentinelzer0.stats.multiplicity import holm

ALPHA = 0.001
"""A mismatch blocks every verdict, so it is claimed only at one in a thousand."""

CONCENTRATIONS = (100.0, 10_000.0)
"""Of the alternatives about the stated shares: at 50 % they stray by 5 and by 0.5 percentage points. Equal weights."""

KEPT = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
"""Which part of its units an arm may have kept, when the place of a loss is looked for. Equal weights."""


@dataclass(frozen=True, slots=True)
class PhaseSplit:
    """Units by arm while the traffic was split the same way.

    Args:
        shares: Share of the traffic by arm (a holdout is an arm); they add up to 1.
        counts: Units by arm; an arm without a share has share 0, one without a count has none.

    Raises:
        InvalidInputError: The shares do not add up to 1, or a number is negative or not finite.
    """

    shares: Mapping[str, float]
    counts: Mapping[str, int]

    def __post_init__(self) -> None:
        if any(not 0.0 <= share <= 1.0 for share in self.shares.values()):
            raise InvalidInputError(f"Traffic shares lie between 0 and 1, not {dict(self.shares)}.")
        if not isclose(sum(self.shares.values()), 1.0, abs_tol=1e-9):
            raise InvalidInputError(
                f"Traffic shares add up to 1, but {dict(self.shares)} give {sum(self.shares.values())}.",
                hint="Name every arm, and the holdout.",
            )
        if any(not (count >= 0 and isfinite(count)) for count in self.counts.values()):
            raise InvalidInputError(f"Units are counted from 0; these are {dict(self.counts)}.")

    @property
    def units(self) -> int:
        """Units of all arms."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Loss:
    """An arm that is short of units at one place.

    Args:
        where: The name the caller gave the place: a phase, a segment, or everything.
        arm: The arm.
        expected: Units its shares promise, given how many came to all arms there.
        observed: Units that came.
        p_value: Always valid, and corrected (Holm) for all arms at all places that were asked about.
    """

    where: str
    arm: str
    expected: float
    observed: int
    p_value: float


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """What the check found.

    Args:
        ok: Whether the units may have come as the shares say.
        p_value: Always valid.
        alpha: The level it is held against.
        expected: Units by arm the shares promise.
        observed: Units by arm.
        reason: One sentence.
    """

    ok: bool
    p_value: float
    alpha: float
    expected: dict[str, float]
    observed: dict[str, int]
    reason: str


def log_e(phases: Iterable[PhaseSplit]) -> float:
    """Logarithm of the e-value against "units fall to the arms as the shares say".

    Args:
        phases: Units by phase; each phase once, in any order.

    Returns:
        0 without units; infinity when an arm with share 0 has units.
    """
    exponents = [-log(len(CONCENTRATIONS))] * len(CONCENTRATIONS)
    for shares, counts in _merged(phases):
        for i, concentration in enumerate(CONCENTRATIONS):
            exponents[i] += _log_dirichlet_multinomial(shares, counts, concentration)
    return _log_sum(exponents)


def expected(phases: Iterable[PhaseSplit]) -> dict[str, float]:
    """Units by arm the shares promise, given how many came in each phase."""
    units: dict[str, float] = {}
    for phase in phases:
        for arm in _arms([phase]):
            units[arm] = units.get(arm, 0.0) + phase.shares.get(arm, 0.0) * phase.units
    return units


def observed(phases: Iterable[PhaseSplit]) -> dict[str, int]:
    """Units by arm that came, arms without any included."""
    units: dict[str, int] = {}
    for phase in phases:
        for arm in _arms([phase]):
            units[arm] = units.get(arm, 0) + phase.counts.get(arm, 0)
    return units


def check(phases: Sequence[PhaseSplit], alpha: float = ALPHA) -> SampleRatio:
    """Whether the traffic arrived as it was split, in words too.

    Args:
        phases: Units by phase; each phase once.
        alpha: Probability of ever blaming a sound split, in (0, 1).

    Raises:
        InvalidInputError: The level is out of range.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(f"An error probability lies between 0 and 1, not {alpha}.")
    p = p_value(log_e(phases))
    promised, came = expected(phases), observed(phases)
    return SampleRatio(p > alpha, p, alpha, promised, came, _reason(phases, p, alpha, promised, came))


def loss(phases: Sequence[PhaseSplit], names: Sequence[str]) -> list[Loss]:
    """Where units are missing.

    For "by phase" give each phase its own name; for "by segment" give the splits of one segment, one by phase, the
    same name; for the whole test give all the same name. Ask for all of them in one call, so that the correction
    covers all of them; places may overlap.

    Args:
        phases: Units by arm, one for each name.
        names: The place of each.

    Returns:
        Every arm at every place where fewer units came than promised, the strongest evidence first.

    Raises:
        InvalidInputError: There is not one name for each split.
    """
    if len(phases) != len(names):
        raise InvalidInputError(f"Each split needs the name of its place: {len(phases)} splits, {len(names)} names.")
    places: dict[str, list[PhaseSplit]] = {}
    for phase, name in zip(phases, names, strict=True):
        places.setdefault(name, []).append(phase)
    asked = [(where, arm, splits) for where, splits in places.items() for arm in _arms(splits)]
    evidence = {(where, arm): _log_e_missing(splits, arm) for where, arm, splits in asked}
    adjusted = holm({key: p_value(value) for key, value in evidence.items()})
    losses = []
    for where, arm, splits in asked:
        promised, came = expected(splits)[arm], observed(splits)[arm]
        if came < promised:
            losses.append(Loss(where, arm, promised, came, adjusted[where, arm]))
    return sorted(losses, key=lambda found: -evidence[found.where, found.arm])


def _merged(phases: Iterable[PhaseSplit]) -> list[tuple[Mapping[str, float], dict[str, int]]]:
    """Phases that split alike as one: a pause begins a phase, but a loss goes on adding up through it."""
    merged: dict[frozenset[tuple[str, float]], tuple[Mapping[str, float], dict[str, int]]] = {}
    for phase in phases:
        key = frozenset((arm, share) for arm, share in phase.shares.items() if share)
        _, counts = merged.setdefault(key, (phase.shares, {}))
        for arm, count in phase.counts.items():
            counts[arm] = counts.get(arm, 0) + count
    return list(merged.values())


def _log_dirichlet_multinomial(shares: Mapping[str, float], counts: Mapping[str, int], concentration: float) -> float:
    """The likelihood averaged over ``Dirichlet(concentration * shares)``, against the shares themselves."""
    value = lgamma(concentration) - lgamma(concentration + sum(counts.values()))
    for arm, count in counts.items():
        share = shares.get(arm, 0.0)
        if count and not share:
            return inf
        if count:
            a = concentration * share
            value += lgamma(a + count) - lgamma(a) - count * log(share)
    return value


def _log_e_missing(splits: Sequence[PhaseSplit], arm: str) -> float:
    """Logarithm of the e-value against "no unit of this arm was lost here"."""
    exponents = [-log(len(KEPT))] * len(KEPT)
    for split in splits:
        share = split.shares.get(arm, 0.0)
        if 0.0 < share < 1.0:
            for i, kept in enumerate(KEPT):
                exponents[i] += split.counts.get(arm, 0) * log(kept) - split.units * log1p(share * (kept - 1.0))
    return _log_sum(exponents)


def _reason(
    phases: Sequence[PhaseSplit], p: float, alpha: float, promised: Mapping[str, float], came: Mapping[str, int]
) -> str:
    for phase in phases:
        for arm, count in phase.counts.items():
            if count and not phase.shares.get(arm, 0.0):
                return (
                    f"{arm} got {count:,} units in a phase in which its share is 0, so they were not split as stated."
                )
    if not any(came.values()):
        return "No units yet."
    if p > alpha:
        return "The units came as the traffic was split."
    arm = _furthest(phases, promised, came)
    off = 100.0 * (came[arm] / promised[arm] - 1.0)
    return (
        f"{arm} got {came[arm]:,} units where its share promises {promised[arm]:,.0f} ({off:+.1f} %); "
        f"chance does that less than once in {1.0 / alpha:,.0f} tests."
    )


def _furthest(phases: Sequence[PhaseSplit], promised: Mapping[str, float], came: Mapping[str, int]) -> str:
    """The arm the most standard deviations off; of two equally far, the one that is short."""

    def distance(arm: str) -> tuple[float, bool]:
        variance = sum(phase.units * share * (1.0 - share) for phase in phases if (share := phase.shares.get(arm, 0.0)))
        gap = came[arm] - promised[arm]
        return round(abs(gap) / max(variance, 1.0) ** 0.5, 6), gap < 0.0

    return max(promised, key=distance)


def _arms(phases: Iterable[PhaseSplit]) -> list[str]:
    """Every arm with a share or a count, in the order of first mention."""
    return list(dict.fromkeys(arm for phase in phases for arm in (*phase.shares, *phase.counts)))


def _log_sum(exponents: Sequence[float]) -> float:
    peak = max(exponents)
    return peak if peak == inf else peak + log(sum(exp(x - peak) for x in exponents))
