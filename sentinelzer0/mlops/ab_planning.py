"""How long a test will take: from a person's numbers, from the incumbent's, or from what the test has seen so far.

Before a test starts the incumbent's numbers are, in this order: those given, those the test's control has shown, those
it has shown in production, and the metrics of its evaluation that were registered with the version. While the test runs they are the control's own,
the rate is the one observed, and what remains until the verdict is said as well.

A promotion waits for the primary metric and for proof that every guardrail is kept; the plan says what each takes, and
which of them takes the longest. A test that does not exist yet is planned as :meth:`create_test` would make it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any

from sentinelzer0.domain.ab_tests import Mode, StoredTest, TestStatus, shares_of_all
from sentinelzer0.domain.assignment import CONTROL
from sentinelzer0.domain.guarding import budget
from sentinelzer0.domain.guardrails import Guardrail, parsed
from sentinelzer0.domain.identity import DEFAULT_MODEL, PRODUCTION
from sentinelzer0.domain.scalars import real, shown
from sentinelzer0.errors import InvalidInputError
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.mlops.ab_lookup import evidence_of, require_test
from sentinelzer0.mlops.ab_plan_guardrails import Guarded, Known, guarded, with_guardrails
from sentinelzer0.stats.comparison import Comparison, Stratum, compare
from sentinelzer0.stats.estimators import (
    AnyMetric,
    ArmStatistics,
    Direction,
    Metric,
    counts_of,
    metric_named,
    moments_of,
)
from sentinelzer0.stats.plan_words import duration
from sentinelzer0.stats.planning import (
    Baseline,
    Remaining,
    Setting,
    baseline_by_hand,
    baseline_of,
    plan,
    remaining,
    signed_effect,
)

_LABELLED = (Metric.ACCURACY, Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE)
_FEW = 20
"""Requests from which on a rate is worth saying."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the arms of a test have shown: one stratum a phase, and requests of all arms since a time."""

    strata: Sequence[Stratum]
    requests: int

    @property
    def control(self) -> ArmStatistics:
        return sum((stratum.a for stratum in self.strata), ArmStatistics())

    @property
    def both(self) -> ArmStatistics:
        return sum((stratum.b for stratum in self.strata), self.control)


def plan_for(
    kernel: Kernel,
    test_id: str | None = None,
    *,
    metric: str | None = None,
    direction: str | None = None,
    baseline: float | None = None,
    minimum_effect: float | None = None,
    relative: bool = False,
    share: float | None = None,
    alpha: float | None = None,
    power: float = 0.8,
    min_samples: int | None = None,
    labelled_share: float | None = None,
    attack_share: float = 0.5,
    standard_deviation: float | None = None,
    rate_per_s: float | None = None,
    version: str | None = None,
    model: str = DEFAULT_MODEL,
    guardrails: Iterable[Guardrail | Mapping[str, Any] | str] | None = None,
) -> dict[str, Any]:
    """Plan a test; whatever is not given is taken from the test, if there is one.

    Args:
        kernel: The open workspace.
        test_id: An existing test, in whatever state; None plans one that does not exist yet.
        metric: What decides.
        direction: Which way a custom metric improves.
        baseline: The incumbent's value of the metric.
        minimum_effect: How much better the challenger has to be; negative for a worsening.
        relative: The effect is a share of the baseline.
        share: Share of the challenger among both arms.
        alpha: Probability of a wrong verdict of the whole test; the primary metric has half of it beside guardrails.
        power: Of the fixed horizon.
        min_samples: Units each arm needs before a verdict.
        labelled_share: Share of the requests that get a true label.
        attack_share: Share of attacks among them, where the incumbent's own numbers do not say.
        standard_deviation: Of a measured metric from request to request, likewise.
        rate_per_s: Requests per second.
        version: The challenger of a test with several; without a test, the incumbent instead of production's version.
        model: The model, without a test.
        guardrails: As for ``create_test``: None means the test's own, or the defaults without a test; () means none.

    Returns:
        The fields of :class:`sentinelzer0.stats.planning.Plan`, and ``test_id``, ``source`` (where the baseline comes
        from), ``seen`` (units of both arms so far), ``remaining`` (None unless the test is open and has begun) and
        ``assumptions``, a list of sentences. ``requests_expected``, ``requests_total``, ``duration_s`` and
        ``duration_max_s`` are those of a promotion: the largest of the primary metric's, kept apart under ``primary``,
        and those of each of the ``guardrails``. ``needs_longest`` names whose is the largest on average. The same
        holds inside ``remaining``. A worsening is found without guardrails.

    Raises:
        ABTestNotFoundError: There is no such test.
        InvalidInputError: A number out of range, or the baseline or the effect is not known.
    """
    numbers = {
        "baseline": baseline,
        "minimum_effect": minimum_effect,
        "share": share,
        "alpha": alpha,
        "power": power,
        "labelled_share": labelled_share,
        "attack_share": attack_share,
        "standard_deviation": standard_deviation,
        "rate_per_s": rate_per_s,
    }
    given = _Given(metric, direction, relative, min_samples, **_checked(numbers))
    with kernel.read() as view:
        if test_id is None:
            test, incumbent = _to_be(view, given, guardrails, version, model)
            found = _of_test(view, test, "B", incumbent, _Seen([], 0), given)
            return found | {"test_id": None}
        test = require_test(view, test_id)
        if guardrails is not None:
            test = replace(test, guardrails=[rail.to_dict() for rail in parsed(guardrails, test.primary_metric)])
        letter = _challenger(test, version)
        return _of_test(view, test, letter, test.model_a, _seen(view, test, letter), given)


@dataclass(frozen=True, slots=True)
class _Given:
    """What the caller said."""

    metric: str | None
    direction: str | None
    relative: bool
    min_samples: int | None
    baseline: float | None
    minimum_effect: float | None
    share: float | None
    alpha: float | None
    power: float
    labelled_share: float | None
    attack_share: float
    standard_deviation: float | None
    rate_per_s: float | None


def _checked(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers as floats, those not given as None."""
    found: dict[str, Any] = {}
    for name, value in numbers.items():
        number = None if value is None else real(value)
        if value is not None and (number is None or not isfinite(number)):
            raise InvalidInputError(f"{name} is {shown(value)}.", hint="Pass a finite number.")
        found[name] = number
    return found


def _to_be(
    view: Reader,
    given: _Given,
    guardrails: Iterable[Guardrail | Mapping[str, Any] | str] | None,
    version: str | None,
    model: str,
) -> tuple[StoredTest, str | None]:
    """Return the test that is thought of, and its incumbent."""
    metric = metric_named(given.metric or Metric.F1_SCORE, given.direction)
    if version is None:
        serving = view.deployments.current(model, PRODUCTION)
        version = None if serving is None else serving.version
    share = 0.5 if given.share is None else given.share
    test = StoredTest(
        test_id="",
        test_name="",
        model_a=version or "A",
        model_b="B",
        traffic_split=share,
        status=TestStatus.SETUP,
        created_at=view.now,
        created_by="",
        description="",
        min_samples=100,
        significance_threshold=0.05,
        primary_metric=metric.value,
        salt="",
        model=model,
        arms={CONTROL: version or "A", "B": "B"},
        shares={"B": share},
        ranges=[],
        direction="" if isinstance(metric, Metric) else metric.direction.value,
        guardrails=[rail.to_dict() for rail in parsed(guardrails, metric.value)],
    )
    return test, version


def _of_test(
    view: Reader, test: StoredTest, letter: str, incumbent: str | None, seen: _Seen, given: _Given
) -> dict[str, Any]:
    """Plan with what a test is set up to be and has shown."""
    if given.alpha is not None:
        test = replace(test, significance_threshold=given.alpha)
    metric = test.metric if given.metric is None else metric_named(given.metric, given.direction or test.direction)
    known = Known(view, test.model, incumbent, seen.control, given.attack_share)
    found, source = _baseline(metric, given, known)
    levels, shadow = budget(test), test.mode is Mode.SHADOW
    setting = replace(_setting(test, letter, seen, given, view.now), alpha=levels.primary)
    usual = seen.both if seen.requests >= _FEW else known.in_production()
    setting = replace(setting, labelled_share=_labelled_share(metric, given, usual))
    compared = compare(seen.strata, metric, setting.alpha, setting.min_samples)
    gap = _gap(found, given, test.minimum_effect, compared.difference)
    begun = test.status.is_open and compared.samples_a + compared.samples_b > 0
    guards = Guarded([], [], [])
    if (gap > 0.0) == (metric.direction is Direction.HIGHER):
        rails = [rail for rail in test.guardrail_list if rail.metric != metric.value]
        settings = {
            rail.metric: replace(
                setting, alpha=levels.passing, labelled_share=_labelled_share(rail.measured, given, usual)
            )
            for rail in rails
        }
        guards = guarded(rails, settings, known, seen.strata)
    left = None
    if begun:
        left = with_guardrails(
            _still(found, gap, setting, compared).to_dict(),
            "requests_max",
            metric,
            guards.remaining,
            setting,
            more=True,
        )
    answer = _answer(found, gap, setting, source, given, shadow=shadow)
    answer = with_guardrails(answer, "requests_total", metric, guards.whole, setting, more=False)
    times = ("duration_fixed_s", "duration_s", "duration_max_s")
    return answer | {
        "durations": {name: None if answer[name] is None else duration(answer[name]) for name in times},
        "assumptions": answer["assumptions"] + guards.unknown,
        "significance_threshold": test.significance_threshold,
        "test_id": test.test_id,
        "seen": compared.samples_a + compared.samples_b,
        "remaining": left,
    }


def _still(found: Baseline, gap: float, setting: Setting, compared: Comparison) -> Remaining:
    """Return what the primary metric still needs, with the interval as it is."""
    difference, reach = compared.difference, 0.0
    if difference is not None and compared.interval is not None:
        low, high = compared.interval
        reach = difference - low if gap > 0.0 else high - difference
    return remaining(found, gap, setting, information=compared.information, difference=difference, reach=reach)


def _setting(test: StoredTest, letter: str, seen: _Seen, given: _Given, now: datetime) -> Setting:
    """Return how a test is run, but for the level and the labels, which are a metric's own."""
    shares = shares_of_all(test, test.shares)
    both, arms = shares[CONTROL] + shares[letter], shares[CONTROL] + sum(test.shares.values())
    shadow = test.mode is Mode.SHADOW
    usual = 0.5 if shadow or both <= 0.0 else shares[letter] / both
    return Setting(
        share=usual if given.share is None else given.share,
        alpha=test.significance_threshold,
        power=given.power,
        min_samples=test.min_samples if given.min_samples is None else given.min_samples,
        units_per_request=2 if shadow else 1,
        traffic=1.0 if shadow or both <= 0.0 else min(1.0, both / arms),
        rate_per_s=_rate(test, seen, now) if given.rate_per_s is None else given.rate_per_s,
    )


def _challenger(test: StoredTest, version: str | None) -> str:
    if version is None:
        return next(iter(test.shares))
    letter = test.letter_of(version)
    if letter == CONTROL:
        raise InvalidInputError(f"{version} is the control.", hint=f"Name a challenger: {test.model_b}.")
    return letter


def _seen(view: Reader, test: StoredTest, letter: str) -> _Seen:
    evidence = evidence_of(view, test.test_id, histograms=False)
    requests = sum(cell.statistics.requests for cell in evidence.cells if cell.arm in test.arms)
    return _Seen(evidence.strata(letter) if requests else [], requests)


def _baseline(metric: AnyMetric, given: _Given, known: Known) -> tuple[Baseline, str]:
    """Return the incumbent's numbers and where they come from."""
    value, source = given.baseline, "given"
    if value is None:
        if (found := known.of(metric)) is not None:
            return found
        value, source = known.registered(metric), f"the registered test metrics of {known.version}"
    if value is None:
        raise InvalidInputError(
            f"Nothing is known of the {metric.words} of {known.version or 'the incumbent'} yet.",
            hint="Pass its value: baseline=0.9, or --baseline 0.9.",
        )
    deviation, shown_by_control = given.standard_deviation, baseline_of(known.control, metric)
    if deviation is None and shown_by_control is not None and metric.is_measured:
        deviation = shown_by_control.variance**0.5
    return baseline_by_hand(metric, value, attack_share=given.attack_share, standard_deviation=deviation), source


def _gap(found: Baseline, given: _Given, of_test: float | None, observed: float | None) -> float:
    if given.minimum_effect is not None:
        return signed_effect(found, given.minimum_effect, relative=given.relative)
    if of_test is not None:
        return signed_effect(found, of_test)
    if observed:
        return observed
    raise InvalidInputError(
        "How large the effect has to be is not said.",
        hint="Pass the smallest difference worth having: minimum_effect=0.02, or --effect 0.02.",
    )


def _labelled_share(metric: AnyMetric, given: _Given, both: ArmStatistics | None) -> float:
    """Return which part of the requests counts for the metric, from what was seen if there is enough of it."""
    if given.labelled_share is not None:
        return given.labelled_share if metric in _LABELLED else 1.0
    if both is None or both.requests < _FEW:
        return 1.0
    units = moments_of(both, metric).count if metric.is_measured else counts_of(both, metric).units
    return min(1.0, units / both.requests) if units else 1.0


def _rate(test: StoredTest, seen: _Seen, now: datetime) -> float | None:
    """Return the requests per second since the start of a test that runs, of all its arms."""
    if test.status is not TestStatus.RUNNING or test.started_at is None or seen.requests < _FEW:
        return None
    seconds = (now - test.started_at).total_seconds()
    return seen.requests / seconds if seconds > 0.0 else None


def _answer(
    found: Baseline, gap: float, setting: Setting, source: str, given: _Given, *, shadow: bool = False
) -> dict[str, Any]:
    made = plan(found, gap, setting)
    assumed = ["One request is one unit that was assigned at random; the rates stay what they are."]
    if found.metric.is_measured:
        assumed.append("The challenger's values vary as much as the incumbent's.")
    elif found.metric in (Metric.PRECISION, Metric.RECALL, Metric.F1_SCORE):
        if source.startswith("what"):
            assumed.append("Attacks and alarms stay as frequent as they were.")
        else:
            assumed.append(f"{100 * given.attack_share:g} % of the labelled requests are attacks, as many are flagged.")
    if shadow:
        assumed.append("The answers of both models are independent; where they agree, far fewer requests are enough.")
    return made.to_dict() | {"source": source, "assumptions": assumed}
