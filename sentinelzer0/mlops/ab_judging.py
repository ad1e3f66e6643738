"""Judging a test: looks at its evidence, and the verdict that is latched at the first decisive one.

A look costs the same at a thousand and at a hundred million outcomes: it reads sufficient statistics. What all looks
have proven is kept beside them, so that the next one starts from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sentinelzer0.domain import canonical_json
from sentinelzer0.domain.ab_tests import StoredTest, next_look
from sentinelzer0.domain.decisions import Action, Judgement, judge, latched, verdict_of
from sentinelzer0.domain.guarding import challengers
from sentinelzer0.domain.identity import subject_of_test, subject_of_version
from sentinelzer0.domain.outcomes import Evidence as Measured
from sentinelzer0.domain.outcomes import Look
from sentinelzer0.domain.proofs import Proofs
from sentinelzer0.domain.readings import requests_by_arm
from sentinelzer0.domain.registry import AB_VERDICT, Evidence
from sentinelzer0.domain.versions import Version
from sentinelzer0.kernel import SYSTEM, Kernel, Reader, Transaction
from sentinelzer0.mlops.ab_lookup import evidence_of, require_test

REACH = "ab_test:verdict:reach"
_FORMAT = "sentinelzer0-ab-verdict-1"
_DESIGN = (
    "test_id",
    "test_name",
    "model",
    "arms",
    "phases",
    "holdout",
    "mode",
    "primary_metric",
    "direction",
    "guardrails",
    "segments",
    "min_samples",
    "significance_threshold",
    "minimum_effect",
    "latency_slo_ms",
    "label_window_s",
    "salt",
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A test, what was measured, and what a look at that says.

    Attributes:
        test: The test.
        measured: The sufficient statistics.
        judgement: What they say.
    """

    test: StoredTest
    measured: Measured
    judgement: Judgement

    @property
    def carries_verdict(self) -> bool:
        """Whether there is a verdict to latch."""
        return self.test.status.is_open and not self.test.verdict and self.judgement.decision.is_final


def judged(view: Reader, test_id: object, *, histograms: bool = True) -> Judged:
    """Look at a test as it is now; nothing is kept.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    test = require_test(view, test_id)
    measured = evidence_of(view, test.test_id, histograms=histograms)
    return Judged(test, measured, judge(test, measured, _proofs(view, test.test_id)))


def look(view: Reader, test_id: str, events: int) -> bool:
    """Keep a look and return whether it carries a verdict that is not latched yet."""
    found = judged(view, test_id, histograms=False)
    verdict = _verdict(view, found, events)
    _keep(view, found, events, verdict)
    return verdict is not None


def latch(kernel: Kernel, test_id: str) -> StoredTest | None:
    """Store the verdict that the first decisive look, or the statistics as they are now, carry; it never flips.

    Returns:
        The test if this call reached its verdict, otherwise None.
    """
    with kernel.begin(SYSTEM, REACH, subject_of_test(test_id)) as tx:
        test = tx.ab_tests.get(test_id)
        if test is None or test.verdict or not test.status.is_open:
            return None
        after = with_verdict(tx, test)
        if not after.verdict:
            return None
        evidence = attach_verdict(kernel, tx, after)
        tx.ab_tests.put(after)
        detail = {"verdict": after.verdict, "evidence": evidence}
        tx.record(None, *_concerned(after), reason=after.verdict["reason"], detail=detail)
    return after


def with_verdict(view: Reader, test: StoredTest, *, ending: bool = False) -> StoredTest:
    """Return the test with the verdict its evidence carries, if any, as of the first look that carried it.

    Args:
        view: The transaction that latches it; a look that is the first to carry it is kept.
        test: The test.
        ending: Whether the test ends now.
    """
    if test.verdict:
        return test
    first = view.ab_tests.looks.first_decided(test.test_id)
    if first is not None and first.readings.get("verdict"):
        return latched(test, first.readings["verdict"])
    found = judged(view, test.test_id, histograms=False)
    verdict = _verdict(view, found, found.measured.events, ending=ending)
    if verdict is None:
        return test
    _keep(view, found, found.measured.events, verdict)
    return latched(test, verdict)


def attach_verdict(kernel: Kernel, tx: Transaction, test: StoredTest) -> list[dict[str, Any]]:
    """Attach a test's verdict to its challengers that were versions when it began, as evidence a gate can demand.

    Args:
        kernel: The open workspace.
        tx: The transaction that latches the verdict.
        test: The test with its verdict.

    Returns:
        What was attached, for the audit record.
    """
    versions = {letter: tx.versions.get(test.model, test.arms[letter]) for letter in challengers(test)}
    living = {letter: found for letter, found in versions.items() if found is not None and _was_measured(test, found)}
    if not test.verdict or not living:
        return []
    design = {name: getattr(test, name) for name in _DESIGN}
    content = canonical_json.dumps({"format": _FORMAT, "test": design, "verdict": test.verdict})
    digest = kernel.blobs.put_bytes(content)  # the bytes first, the rows second
    attached = []
    for letter, version in living.items():
        passed = test.verdict["action"] == Action.PROMOTE.value and test.verdict["winner"] == letter
        item = Evidence(
            evidence_id=tx.new_id("ev"),
            model=test.model,
            version=version.version,
            kind=AB_VERDICT,
            passed=passed,
            summary=f"{test.test_name}: {test.verdict['sentence']}",
            digest=digest,
            version_digest=version.digest,
            filename=f"{test.test_id}-verdict.json",
            attached_by=tx.actor.name,
            attached_at=tx.now,
        )
        tx.registry.put_evidence(item)
        attached.append({"version": item.version, "evidence": item.evidence_id, "passed": passed, "digest": digest})
    return attached


def _was_measured(test: StoredTest, version: Version) -> bool:
    """Return whether the outcomes can be this version's: it was there when the test began, and was not deleted."""
    begun = test.started_at or test.created_at
    return version.deleted_at is None and version.created_at <= begun


def _concerned(test: StoredTest) -> tuple[str, ...]:
    versions = (subject_of_version(test.model, name) for name in test.arms.values()) if test.environment else ()
    return (subject_of_test(test.test_id), *versions)


def _keep(view: Reader, found: Judged, events: int, verdict: dict[str, Any] | None) -> None:
    """Keep a look: for charts, for the verdict, and for the next look to start from."""
    test_id, action = found.test.test_id, None if verdict is None else verdict["action"]
    readings = found.judgement.to_readings(found.test, found.measured) | {"verdict": verdict}
    view.ab_tests.looks.add(test_id, Look(events, view.now, action, readings), next_look(events))
    view.streams.set_running(test_id, found.judgement.proofs.to_dict())


def _verdict(view: Reader, found: Judged, events: int, *, ending: bool = False) -> dict[str, Any] | None:
    requests = requests_by_arm(found.measured)
    counted = sum(requests.get(letter, 0) for letter in found.test.arms)
    return verdict_of(found.test, found.judgement, view.now, events=events, requests=counted, ending=ending)


def _proofs(view: Reader, test_id: str) -> Proofs:
    state = view.streams.state(test_id)
    return Proofs.from_dict({} if state is None else state.running)
