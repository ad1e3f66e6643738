"""What a promotion waits for beside the primary metric: the proof that every guardrail is kept.

How long a proof takes follows from the control's own numbers. They are, in this order: those it has shown in the test,
those it has shown in production, and the metrics of its evaluation that were registered with the version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentinelzer0.domain.guardrails import Guardrail
from sentinelzer0.kernel import Reader
from sentinelzer0.stats.comparison import Stratum, harm, measure
from sentinelzer0.stats.estimators import AnyMetric, ArmStatistics
from sentinelzer0.stats.plan_words import promotion_sentence
from sentinelzer0.stats.planning import Baseline, Kept, Setting, baseline_by_hand, baseline_of, kept


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the incumbent, best first: from this test, from production, from its registration.

    Attributes:
        view: The open workspace.
        model: The model.
        version: The incumbent; None when there is none yet.
        control: What it has shown as the control of this test.
        attack_share: Share of attacks among labelled requests, where only an evaluation is known.
    """

    view: Reader
    model: str
    version: str | None
    control: ArmStatistics
    attack_share: float

    def in_production(self) -> ArmStatistics:
        """Return what it has shown in production, outside any test."""
        if self.version is None:
            return ArmStatistics()
        now = self.view.now.timestamp()
        return self.view.cells.evidence(f"production/{self.model}", now, histograms=False).arm(self.version)

    def registered(self, metric: AnyMetric) -> float | None:
        """Return the value of its evaluation."""
        found = None if self.version is None else self.view.versions.get(self.model, self.version)
        return None if found is None else found.test_metrics.get(metric.value)

    def of(self, metric: AnyMetric) -> tuple[Baseline, str] | None:
        """Return its numbers and where they come from; None while they are not known."""
        if (in_test := baseline_of(self.control, metric)) is not None:
            return in_test, f"what {self.version}, the control, has shown in this test"
        if (in_production := baseline_of(self.in_production(), metric)) is not None:
            return in_production, f"what {self.version} has shown in production"
        value = self.registered(metric)
        if value is None or metric.is_measured:
            return None
        by_hand = baseline_by_hand(metric, value, attack_share=self.attack_share)
        return by_hand, f"the registered test metrics of {self.version}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """What the guardrails take.

    Attributes:
        whole: From the start.
        remaining: From now on.
        unknown: A sentence for each of which it is not known.
    """

    whole: list[Kept]
    remaining: list[Kept]
    unknown: list[str]


def guarded(
    rails: Sequence[Guardrail], settings: Mapping[str, Setting], known: Known, strata: Sequence[Stratum]
) -> Guarded:
    """Return what the guardrails take.

    Args:
        rails: The guardrails.
        settings: How the test is run, by guarded metric: each has its own level and its own labels.
        known: The control's own numbers.
        strata: Both arms so far.
    """
    found = Guarded([], [], [])
    for rail in rails:
        metric, setting = rail.measured, settings[rail.metric]
        baseline = known.of(metric)
        if baseline is None:
            what = (
                f"The {metric.words} of the control{' and its spread are' if metric.is_measured else ' is'} not known"
            )
            found.unknown.append(f"{what}: what the guardrail {rail.metric} takes is left out.")
            continue
        whole = kept(baseline[0], rail.margin, setting, relative=rail.relative)
        if whole is None:
            said = (
                f"The guardrail {rail.metric} leaves a challenger that is exactly as good no margin to be proven within"
            )
            found.unknown.append(f"{said}: it is left out.")
            continue
        so_far = harm(strata, metric, rail.margin, setting.alpha, setting.min_samples, relative=rail.relative)
        information = measure(strata, metric).found.information
        left = kept(
            baseline[0],
            rail.margin,
            setting,
            relative=rail.relative,
            information=information,
            worse_by=None if so_far.limit_high is None else so_far.worse_by,
            reach=0.0 if so_far.limit_high is None or so_far.worse_by is None else so_far.limit_high - so_far.worse_by,
        )
        found.whole.append(whole)
        found.remaining.append(left or whole)
    return found


def with_guardrails(
    of_primary: dict[str, Any], most: str, metric: AnyMetric, rails: Sequence[Kept], setting: Setting, *, more: bool
) -> dict[str, Any]:
    """Return a plan of which requests and durations are those of a promotion; the primary metric's own stand apart.

    Args:
        of_primary: A plan of the primary metric, or what remains of it.
        most: Its field of the requests in nine of ten tests.
        metric: The primary metric.
        rails: What the guardrails take.
        setting: How the test is run.
        more: The requests come on top of what was seen.
    """
    primary = {name: of_primary[name] for name in ("requests_expected", most, "duration_s", "duration_max_s")}
    found = of_primary | {"primary": primary, "guardrails": [asdict(rail) for rail in rails], "needs_longest": None}
    if not rails:
        return found
    slowest = max(rails, key=lambda rail: rail.requests_expected)
    by_guardrail = slowest.requests_expected > primary["requests_expected"]
    expected = max(primary["requests_expected"], slowest.requests_expected)
    at_most = max(primary[most], *(rail.requests_max for rail in rails))
    longest = f"The guardrail {slowest.metric}" if by_guardrail else f"The primary metric {metric.value}"
    said = promotion_sentence(longest, (expected, at_most), setting.rate_per_s, more=more)
    return found | {
        "requests_expected": expected,
        most: at_most,
        "duration_s": setting.seconds(expected),
        "duration_max_s": setting.seconds(at_most),
        "needs_longest": slowest.metric if by_guardrail else metric.value,
        "sentence": f"{of_primary['sentence']} {said}",
    }
