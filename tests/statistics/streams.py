"""Streams of simulated A/B tests as operations sees them: ramps, days and nights, labels for a part of the requests.

Every request is drawn one by one and summed up between two looks. What comes out are the sums that the product keeps
(requests, failures, moments, confusion counts), per arm and ramp phase, at every look: exactly what a look at a real
test would read. The arrays have the shape ``(streams, looks)``; sums start again with each phase.

What makes the streams hard on purpose: the first phases hold a handful of requests of B; failures, attacks and
latency follow the time of day, whose beat is not that of the ramp; latencies are log-normal with a tail (sigma 1, a
skewness of 6) and longer for failed requests; confidence is lower where the model errs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sentinelzer0.stats.comparison import Stratum
from sentinelzer0.stats.estimators import ArmStatistics
from sentinelzer0.stats.moments import Confusion, Moments

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]

METRICS = ("error_rate", "f1_score", "recall", "avg_latency_ms", "avg_confidence")
RAMP = ((0.01, 1000), (0.05, 2000), (0.25, 3000), (0.50, 6000))
"""(share of B, events): 600 looks in all, after which B has seen 3,860 requests, half of them labelled."""

_BLOCK = 50
"""Streams drawn at once; what fits the cache."""

NAMES = (
    *("requests", "failures", "tp", "fp", "tn", "fn"),
    *("latency", "latency_sq", "latency_cu", "confidence", "confidence_sq", "confidence_cu"),
)


@dataclass(frozen=True)
class Behaviour:
    """One arm: what it does at noon.

    Attributes:
        failures: Share of requests that fail.
        recall: Share of the attacks that are flagged.
        false_alarms: Share of the benign requests that are flagged.
        latency_ms: Median latency of a request that succeeds.
        sigma: Of the logarithm of the latency.
        doubt: Mean of ``1 - confidence`` where the model is right; it is twice that where it errs.
    """

    failures: float = 0.04
    recall: float = 0.85
    false_alarms: float = 0.05
    latency_ms: float = 20.0
    sigma: float = 1.0
    doubt: float = 0.1


@dataclass(frozen=True)
class Design:
    """How the tests are run and looked at.

    Attributes:
        a: The control.
        b: The challenger; left out, the same as the control.
        ramp: (share of B, events) of each phase.
        every: Events between two looks; divides the events of each phase.
        day: Events of one day.
        swing: How much failures, attacks and latency vary over the day, 0..1.
        labelled: Share of requests whose true label becomes known.
        attacks: Share of requests that are attacks, on average.
    """

    a: Behaviour = field(default_factory=Behaviour)
    b: Behaviour = field(default_factory=Behaviour)
    ramp: tuple[tuple[float, int], ...] = RAMP
    every: int = 20
    day: int = 1700
    swing: float = 0.5
    labelled: float = 0.5
    attacks: float = 0.3

    @cached_property
    def events(self) -> int:
        return sum(events for _, events in self.ramp)

    @cached_property
    def phases(self) -> tuple[slice, ...]:
        """The looks of each phase."""
        ends = np.cumsum([events // self.every for _, events in self.ramp]).tolist()
        return tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))

    @cached_property
    def shares(self) -> Floats:
        """The share of B at every event."""
        return np.repeat([share for share, _ in self.ramp], [events for _, events in self.ramp])

    @cached_property
    def daytime(self) -> Floats:
        """The factor of the time of day at every event; 1 on average over a day."""
        return 1.0 + self.swing * np.sin(2.0 * np.pi * np.arange(self.events) / self.day)

    def with_b(self, **changes: float) -> Design:
        """The same with another challenger."""
        return replace(self, b=replace(self.b, **changes))


@dataclass(frozen=True)
class Arm:
    """The sums of one arm: ``name -> (streams, looks)``, each starting again with each phase."""

    sums: dict[str, Floats]

    def __getitem__(self, name: str) -> Floats:
        return self.sums[name]

    @property
    def labelled(self) -> Floats:
        return self["tp"] + self["fp"] + self["tn"] + self["fn"]

    def at(self, stream: int, look: int) -> ArmStatistics:
        """The statistics of one phase up to a look in it, as the product keeps them."""
        of = {name: float(values[stream, look]) for name, values in self.sums.items()}
        requests = int(of["requests"])
        return ArmStatistics(
            requests=requests,
            failures=int(of["failures"]),
            latency=Moments(requests, of["latency"], of["latency_sq"], of["latency_cu"]),
            confidence=Moments(requests, of["confidence"], of["confidence_sq"], of["confidence_cu"]),
            confusion=Confusion(int(of["tp"]), int(of["fp"]), int(of["tn"]), int(of["fn"])),
        )


@dataclass(frozen=True)
class Streams:
    """A block of simulated tests.

    Attributes:
        design: How they were run.
        a: The control.
        b: The challenger.
    """

    design: Design
    a: Arm
    b: Arm

    @property
    def size(self) -> tuple[int, int]:
        """(streams, looks)."""
        streams, looks = self.a["requests"].shape
        return streams, looks

    def phase_of(self, look: int) -> int:
        """The number of the phase, from 0, that a look falls into."""
        return next(number for number, looks in enumerate(self.design.phases) if look < looks.stop)

    def closed_at(self, look: int) -> list[int]:
        """The looks whose sums make up everything seen: the last one of each finished phase, and this one."""
        return [looks.stop - 1 for looks in self.design.phases[: self.phase_of(look)]] + [look]

    def strata(self, stream: int, look: int) -> list[Stratum]:
        """What ``compare`` is given at one look at one test."""
        return [Stratum(self.a.at(stream, end), self.b.at(stream, end)) for end in self.closed_at(look)]

    def by_phase(self) -> Iterator[tuple[Arm, Arm]]:
        """For each phase both arms at every look: nothing before the phase, its totals after it."""
        for looks in self.design.phases:
            yield _of_phase(self.a, looks), _of_phase(self.b, looks)

    def pooled(self) -> tuple[Arm, Arm]:
        """Both arms with their phases thrown together, as somebody who does not know of ramps adds them up."""
        a, b = (dict.fromkeys(NAMES, 0.0) for _ in range(2))
        for of_a, of_b in self.by_phase():
            for total, part in ((a, of_a), (b, of_b)):
                total.update({name: total[name] + part[name] for name in NAMES})
        return Arm(a), Arm(b)


def simulate(design: Design, streams: int, seed: int) -> Iterator[Streams]:
    """Draw tests in blocks; the same seed gives the same blocks, whatever runs beside them.

    Args:
        design: How the tests are run.
        streams: How many tests.
        seed: Of the block's generators, which are spawned from it.
    """
    for size, child in _blocks(streams, seed):
        yield _draw(design, size, np.random.Generator(np.random.SFC64(child)))


def simulate_splits(design: Design, streams: int, seed: int) -> Iterator[Streams]:
    """Draw only which arm each request goes to: a look's requests of B are binomial. The arms hold ``requests`` alone."""
    shares = design.shares[:: design.every]
    for size, child in _blocks(streams, seed):
        in_b = np.random.Generator(np.random.SFC64(child)).binomial(design.every, shares, (size, len(shares)))
        arms = [Arm({"requests": _running(design, mine)}) for mine in (design.every - in_b, in_b)]
        yield Streams(design, *arms)


def _blocks(streams: int, seed: int) -> Iterator[tuple[int, np.random.SeedSequence]]:
    sizes = [min(_BLOCK, streams - start) for start in range(0, streams, _BLOCK)]
    yield from zip(sizes, np.random.SeedSequence(seed).spawn(len(sizes)), strict=True)


def _draw(design: Design, streams: int, rng: np.random.Generator) -> Streams:
    """Draw every request of some tests, served by the arm that the share in force sends it to."""
    shape = (streams, design.events)
    in_b = rng.random(shape, np.float32) < design.shares.astype(np.float32)
    of = [_event_sums(design, arm, rng, shape) for arm in (design.a, design.b)] if design.a != design.b else None
    shared = _event_sums(design, design.a, rng, shape) if of is None else {}
    arms = []
    for number, mine in enumerate((~in_b, in_b)):
        values = of[number] if of is not None else shared
        arms.append(Arm({name: _summed(design, mine, values[name]) for name in NAMES}))
    return Streams(design, *arms)


def _event_sums(design: Design, arm: Behaviour, rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Floats]:
    """What every request would add to the sums if this arm served it."""
    daytime = design.daytime.astype(np.float32)
    failed = rng.random(shape, np.float32) < arm.failures * daytime
    attack = rng.random(shape, np.float32) < design.attacks * daytime
    flagged = rng.random(shape, np.float32) < np.where(attack, np.float32(arm.recall), np.float32(arm.false_alarms))
    known = rng.random(shape, np.float32) < design.labelled
    latency = np.exp(rng.standard_normal(shape, np.float32) * np.float32(arm.sigma)).astype(np.float64)
    latency *= arm.latency_ms * design.daytime * np.where(failed, 3.0, 1.0)
    # 1 - confidence is 4d u^3: a mean of d, skewed towards certainty, below 1 for d <= .125.
    doubt = np.where(flagged == attack, arm.doubt, 2.0 * arm.doubt)
    confidence = 1.0 - np.minimum(1.0, 4.0 * doubt * rng.random(shape, np.float32) ** 3)
    return {
        "requests": np.ones(shape, np.bool_),
        "failures": failed,
        "tp": known & attack & flagged,
        "fp": known & ~attack & flagged,
        "tn": known & ~attack & ~flagged,
        "fn": known & attack & ~flagged,
        **{f"latency{suffix}": latency**power for suffix, power in (("", 1), ("_sq", 2), ("_cu", 3))},
        **{f"confidence{suffix}": confidence**power for suffix, power in (("", 1), ("_sq", 2), ("_cu", 3))},
    }


def _summed(design: Design, mine: NDArray[np.bool_], values: NDArray[np.generic]) -> Floats:
    """Running sums over the looks of each phase."""
    streams = len(mine)
    kept = (values & mine if values.dtype == np.bool_ else values * mine).reshape(streams, -1, design.every)
    per_look = np.count_nonzero(kept, axis=2) if kept.dtype == np.bool_ else kept.sum(axis=2)
    return _running(design, per_look)


def _running(design: Design, per_look: Integers) -> Floats:
    parts = [np.cumsum(per_look[:, looks], axis=1, dtype=np.float64) for looks in design.phases]
    return np.concatenate(parts, axis=1)


def _of_phase(arm: Arm, looks: slice) -> Arm:
    def spread(values: Floats) -> Floats:
        whole = np.zeros_like(values)
        whole[:, looks] = values[:, looks]
        whole[:, looks.stop :] = values[:, looks.stop - 1 : looks.stop]
        return whole

    return Arm({name: spread(values) for name, values in arm.sums.items()})
