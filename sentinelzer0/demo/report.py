"""The report of the story: one HTML file with the charts, made of the workspace and of what the acts measured."""

from __future__ import annotations

from pathlib import Path

from sentinelzer0.demo.act_ab_test import FIRST_SHARE, RAMP_AT, SHARE, TestFacts, guardrails, planned, sentence
from sentinelzer0.demo.act_poisoned import AT_LEAST, MISSED_LIMIT, WINDOW, Caught, LiveFacts
from sentinelzer0.demo.act_proof import ProofFacts
from sentinelzer0.demo.act_tamper import TamperFacts
from sentinelzer0.demo.detectors import evaluate
from sentinelzer0.demo.screen import percent, short
from sentinelzer0.demo.stage import AB_REQUESTS, APPROVER, SYSTEM, Stage
from sentinelzer0.domain.deployments import Cause, Deployment
from sentinelzer0.mlops import __version__
from sentinelzer0.reports import (
    CodeBlock,
    Column,
    ComparisonChart,
    Document,
    Event,
    EventTimeline,
    Fact,
    Facts,
    LineageNode,
    LineageRail,
    LineChart,
    LineSeries,
    Mark,
    MetricRow,
    Paragraph,
    Section,
    Table,
    Threshold,
    Tone,
    TrafficChart,
    TrafficStep,
    Unit,
    Verdict,
    VerdictKind,
    render,
)

NAME = "report.html"
_METRICS = {
    "roc_auc": ("AUC", True),
    "precision": ("Precision", True),
    "recall": ("Recall", True),
    "f1": ("F1 score", True),
    "fpr": ("False-positive rate", False),
}
_CAUSES = {
    Cause.PROMOTION: "approved for production",
    Cause.AB_START: "A/B test starts",
    Cause.AB_SHARE: "v2 gets a larger share",
    Cause.AB_END: "A/B test ends",
    Cause.ROLLBACK: "rollback",
}


def write(stage: Stage, tested: TestFacts, lived: LiveFacts, tampered: TamperFacts, proven: ProofFacts) -> Path:
    """Write the report into the workspace and return its path."""
    caught = lived.caught
    sections = (
        Section("In short", (_figures(tested, caught, tampered, proven),)),
        _ab_section(tested),
        _live_section(lived),
        _traffic_section(stage, lived),
        _versions_section(stage),
        _tamper_section(tampered),
        _proof_section(proven),
    )
    document = Document(
        title="From training to rollback",
        subtitle="Four intrusion detectors on NSL-KDD, two people, one policy: the story of one demo run",
        sections=sections,
        generated_at=stage.workspace.kernel.now(),
        verdict=_verdict(tested, caught),
        settings_digest=proven.audit.root,
        generator=f"SentinelZer0 {__version__}",
    )
    path = stage.root / NAME
    path.write_text(render(document), encoding="utf-8")
    return path


def _verdict(tested: TestFacts, caught: Caught | None) -> Verdict:
    if caught is None:
        return Verdict(VerdictKind.BAD, "v3 missed attacks and was not caught.")
    return Verdict(
        VerdictKind.GOOD,
        f"v2 serves production. v3, trained on poisoned labels, was gone after {caught.requests:,} requests.",
        f"v2 was proven better than v1 after {tested.decided_after:,} live requests. v3 passed every offline gate, "
        "after the one that demands a test was taken away, "
        f"missed {percent(caught.missed / caught.attacks)} of the labelled attacks, and {caught.total_ms:.0f} ms after the "
        "labels that decided, v2 served again.",
        label="Production is healthy",
    )


def _figures(tested: TestFacts, caught: Caught | None, tampered: TamperFacts, proven: ProofFacts) -> Facts:
    refused = sum(happening.refused for happening in proven.happenings)
    items = [
        Fact("A/B verdict after", tested.decided_after, Unit.COUNT, note=f"live requests, {tested.labelled:,} labels"),
        Fact(
            "Uses of the changed file",
            len(tampered.refusals),
            Unit.COUNT,
            note="tried, all refused; the reads among them leave no record",
            tone=Tone.GOOD,
        ),
        Fact("Refused changes on record", refused, Unit.COUNT, note="in the whole story"),
        Fact(
            "Audit records",
            proven.audit.records,
            Unit.COUNT,
            note="intact" if proven.audit.intact else "NOT intact",
            tone=Tone.GOOD if proven.audit.intact else Tone.BAD,
        ),
    ]
    if caught is not None:
        items[1:1] = [
            Fact("v3 served", caught.requests, Unit.COUNT, note=f"requests, {caught.labelled} of them labelled"),
            Fact("Labels to rollback", round(caught.total_ms), Unit.MILLISECONDS, tone=Tone.GOOD),
        ]
    return Facts(tuple(items))


def _ab_section(tested: TestFacts) -> Section:
    results = tested.results
    a, b = results["metrics_a"], results["metrics_b"]
    rows = (
        ("Requests", a["total_requests"], b["total_requests"]),
        ("Attacks flagged", a["true_positives"], b["true_positives"]),
        ("Attacks missed", a["false_negatives"], b["false_negatives"]),
        ("Normal traffic flagged", a["false_positives"], b["false_positives"]),
        ("Normal traffic passed", a["true_negatives"], b["true_negatives"]),
    )
    counts = Table("What the labels said", (Column(" "), Column("v1", Unit.COUNT), Column("v2", Unit.COUNT)), rows)
    kind = VerdictKind.GOOD if results["winner"] == "v2" else VerdictKind.UNDECIDED
    blocks = (
        Verdict(kind, sentence(tested), label="Decided"),
        tested.chart,
        counts,
        Table("Guardrails", (Column("Metric"), Column("State"), Column("Why")), tuple(guardrails(tested))),
        Paragraph(f"{results['srm']['reason']} {planned(tested)}"),
    )
    return Section(
        "v2 against v1",
        tuple(block for block in blocks if block is not None),
        intro=f"{percent(FIRST_SHARE)} of the hosts met v2, {percent(SHARE)} after {RAMP_AT} requests. Half the labels came "
        "more than 200 seconds late, and a request counts when its label had its time to come. The interval holds at "
        "every look at once, so looking early costs nothing and the verdict never flips.",
    )


def _live_section(lived: LiveFacts) -> Section:
    caught = lived.caught
    marks = [Mark(lived.promoted_at, "v3 promoted", APPROVER, reason="every gate passed")]
    if caught is not None:
        marks.append(
            Mark(
                lived.caught_at,
                "rolled back to v2",
                caught.event.triggered_by,
                automatic=True,
                reason=caught.event.reason,
                tone=Tone.BAD,
            )
        )
    series = (
        LineSeries("Production, whatever served", tuple(lived.overall)),
        LineSeries("Had v2 stayed, on the same requests", tuple(lived.reference)),
        LineSeries("Answers of v3 alone", tuple(lived.own)),
    )
    chart = LineChart(
        title=f"Live recall over the last {WINDOW} labelled attacks",
        series=tuple(line for line in series if line.points),
        unit=Unit.PERCENT,
        y_label="recall",
        x_label="live requests after the A/B test",
        threshold=Threshold(1.0 - MISSED_LIMIT, "health limit", bad_above=False),
        marks=tuple(marks),
        y_range=(0.4, 1.0),
    )
    return Section(
        "v3 in production",
        (chart, *_caught_blocks(caught)),
        intro=f"Measured: attacks without an alarm among the last {WINDOW} attacks whose label arrived and which the "
        f"serving version answered. Unhealthy from {percent(MISSED_LIMIT)}; below {AT_LEAST} attacks the health is "
        f"unknown. No check of v2 found more than {percent(lived.worst_of_v2)} missed.",
    )


def _caught_blocks(caught: Caught | None) -> tuple[Facts | Table, ...]:
    if caught is None:
        return ()
    times = caught.event.details["durations_ms"]
    facts = Facts(
        (
            Fact("Decide", round(times["decide"], 1), Unit.MILLISECONDS),
            Fact("Verify v2", round(times["verify"], 1), Unit.MILLISECONDS, note="every byte hashed"),
            Fact("Write", round(times["write"], 1), Unit.MILLISECONDS, note="one transaction, before its commit"),
            Fact("Rollback, all in all", round(caught.rollback_ms, 1), Unit.MILLISECONDS, tone=Tone.GOOD),
        )
    )
    table = Table(
        "v3 and, on the same requests, v2",
        (Column(" "), Column("v3", Unit.COUNT), Column("v2", Unit.COUNT)),
        (
            (f"Missed of the last {caught.attacks} labelled attacks", caught.missed, caught.v2_missed),
            (f"Attacks let through in {caught.requests} requests", caught.let_through, caught.v2_let_through),
        ),
    )
    return (facts, table)


def _traffic_section(stage: Stage, lived: LiveFacts) -> Section:
    history = list(reversed(stage.workspace.deployments.history()))
    steps = []
    for deployment, position in zip(history, _positions(history, lived), strict=True):
        automatic = deployment.created_by == SYSTEM
        steps.append(
            TrafficStep(
                position,
                tuple(sorted(deployment.weights.items())),
                _CAUSES.get(deployment.cause, deployment.cause.value),
                deployment.created_by,
                automatic=automatic,
                reason=_reason(deployment.reason),
                tone=Tone.BAD if deployment.cause is Cause.ROLLBACK else Tone.NEUTRAL,
            )
        )
    chart = TrafficChart("Who answered", tuple(steps), AB_REQUESTS + lived.served, x_label="live requests")
    return Section(
        "Traffic",
        (chart,),
        intro="Each change is a numbered revision, made by compare-and-set: two controllers cannot both win.",
    )


def _reason(text: str) -> str:
    """Write the reason of a request and the notes of its approval as one line."""
    return "; ".join(part.replace("Approval notes: ", "approved: ", 1) for part in text.splitlines())


def _positions(history: list[Deployment], lived: LiveFacts) -> list[int]:
    """Return after how many live requests each revision was made."""
    found, position = [], 0
    for deployment in history:
        if deployment.cause is Cause.AB_SHARE:
            position = RAMP_AT
        elif deployment.cause is Cause.AB_END:
            position = AB_REQUESTS
        elif deployment.cause is Cause.ROLLBACK:
            position = AB_REQUESTS + lived.caught_at
        elif deployment.version == "v3":
            position = AB_REQUESTS + lived.promoted_at
        found.append(position)
    return found


def _versions_section(stage: Stage) -> Section:
    names = ("v1", "v2", "v3")
    live = {name: evaluate(stage.trained[name].detector, stage.data.test) for name in names}
    offline = {name: stage.trained[name].test_metrics for name in names}
    charts = tuple(
        ComparisonChart(
            title,
            names,
            tuple(
                MetricRow(label, tuple(numbers[name].get(metric) for name in names), Unit.PERCENT, better)
                for metric, (label, better) in _METRICS.items()
            ),
        )
        for title, numbers in (
            ("Offline: held-out rows of the feed each was trained on", offline),
            ("Live: all of KDDTest+, by its true labels", live),
        )
    )
    states = {"v1": "replaced by v2", "v2": "production", "v3": "rolled back, quarantined", "v4": "rejected"}
    tones = {"v2": Tone.GOOD, "v3": Tone.BAD}
    nodes = []
    for version in stage.workspace.versions.list_versions():
        meta = version.metadata
        nodes.append(
            LineageNode(
                version.version,
                (meta.parent_version,) if meta.parent_version else (),
                states.get(version.version, version.stage.value),
                meta.notes,
                meta.created_by,
                meta.created_at,
                tones.get(version.version, Tone.NEUTRAL),
            )
        )
    rail = LineageRail("Lineage", tuple(nodes), frozenset({"v2"}))
    return Section(
        "Versions",
        (*charts, rail),
        intro="Offline, v3 is as good as v2. The truth was in the labels that came later.",
    )


def _tamper_section(tampered: TamperFacts) -> Section:
    table = Table(
        "Attempts while the bit was flipped",
        (Column("Attempt"), Column("By"), Column("Refused because")),
        tampered.refusals,
    )
    again = "Flipped back, both versions verify again." if tampered.intact_again else "It does NOT verify again."
    return Section(
        "One flipped bit",
        (Paragraph(f"Bit {tampered.bit:,} of a file that v1 and v4 share was flipped on disk. {again}"), table),
    )


def _proof_section(proven: ProofFacts) -> Section:
    events = tuple(
        Event(
            happening.record.time,
            happening.what + (" (refused)" if happening.refused else ""),
            happening.record.actor.name,
            automatic=happening.record.actor.name == SYSTEM,
            reason=short(happening.why),
            digest=happening.record.digest or "",
            tone=Tone.BAD if happening.refused or happening.record.action.startswith("rollback") else Tone.NEUTRAL,
        )
        for happening in proven.happenings
    )
    command = f'python {proven.export}/verify_audit_export.py {proven.export} --vkey "$(cat registry/audit.vkey)"'
    figures = Facts(
        (
            Fact("Records", proven.audit.records, Unit.COUNT),
            Fact("Signed checkpoints", proven.audit.checkpoints, Unit.COUNT),
            Fact("Merkle root", proven.audit.root, code=True),
        )
    )
    return Section(
        "Who, what, why",
        (
            EventTimeline("The story as the audit log has it", events),
            figures,
            Paragraph("Check the export in the workspace yourself; the script needs Python and nothing of ours:"),
            CodeBlock(command),
            CodeBlock(proven.verifier_said.strip()),
        ),
    )
