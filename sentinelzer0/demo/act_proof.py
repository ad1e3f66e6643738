"""Act 5: everything that happened can be proven, also to somebody who trusts neither us nor the database."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass

from sentinelzer0.demo.screen import Mark, short
from sentinelzer0.demo.stage import Stage
from sentinelzer0.domain.audit import AuditRecord, Outcome
from sentinelzer0.maintenance import verify_audit_export
from sentinelzer0.mlops.audit_trail import AuditReport

_WORDS = {
    "workspace:create:done": "creates the workspace",
    "policy:rules:install": "puts a policy in force",
    "version:content:create": "creates",
    "version:stage:promote": "moves to staging",
    "registry:entry:register": "registers",
    "ab_test:design:create": "designs the A/B test",
    "ab_test:state:start": "starts the A/B test",
    "ab_test:share:set": "gives v2 a larger share",
    "ab_test:verdict:reach": "reaches the verdict",
    "ab_test:state:complete": "ends the A/B test",
    "rollback:production:execute": "rolls back",
}
_LEFT_OUT = ("registry:entry:register", "version:stage:promote")


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the timeline.

    Attributes:
        record: The audit record.
        what: In words.
        why: The reason given, or the refusal.
    """

    record: AuditRecord
    what: str
    why: str

    @property
    def refused(self) -> bool:
        """Whether it was refused."""
        return self.record.outcome is Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """What the report needs to know.

    Attributes:
        audit: Result of the verification inside.
        export: The export's directory, relative to the workspace.
        verifier_said: What the stand-alone verifier printed.
        happenings: The timeline, oldest first.
    """

    audit: AuditReport
    export: str
    verifier_said: str
    happenings: tuple[Happening, ...]


def play(stage: Stage) -> ProofFacts:
    """Verify, sign, export, let the stand-alone verifier check the export; tell what happened."""
    screen, audit = stage.screen, stage.workspace.audit
    screen.act(
        5,
        "The proof",
        "Every change above, and every refused change, is a record of one Merkle tree; a read, such as a load, is "
        "none. Whoever holds a signed checkpoint can check the export without this package and without trusting the "
        "database.",
    )
    screen.gap()
    audit.checkpoint()
    report = audit.verify()
    screen.did(
        "audit",
        f"verify: {report.records} records {'intact' if report.intact else 'NOT intact'}, "
        f"{report.checkpoints} signed checkpoint",
        Mark.DONE if report.intact else Mark.REFUSED,
        detail=f"root {short(report.root)}",
    )
    export = f"registry/exports/{report.records}"  # where a rebuild looks for it
    said = _check_export(stage, export)
    happenings = timeline(audit.records(limit=10_000))
    _show(stage, happenings)
    return ProofFacts(report, export, said, happenings)


def timeline(records: list[AuditRecord]) -> tuple[Happening, ...]:
    """Return what happened in words, oldest first, without routine: registrations, healthy checks.

    Args:
        records: Newest first.
    """
    found = []
    for record in reversed(records):
        refused = record.outcome is Outcome.REFUSED
        routine = record.action in _LEFT_OUT and not refused
        healthy = record.action == "registry:health:update" and record.detail.get("status") != "unhealthy"
        if not (routine or healthy):
            found.append(Happening(record, _what(record), _why(record)))
    return tuple(found)


def _what(record: AuditRecord) -> str:
    names = [subject.rpartition("/")[2] for subject in record.subjects if subject.startswith("version:")]
    word = _WORDS.get(record.action, record.action.replace(":", " "))
    match record.action:
        case "registry:promotion:request":
            target = record.detail.get("target", "")
            return f"asks for {names[0]}: {_place(target)}"
        case "registry:promotion:approve":
            return f"approves {names[0]}: {_place(record.detail.get('target', ''))}"
        case "registry:promotion:reject":
            return f"rejects {names[0]}"
        case "rollback:production:execute":
            return f"rolls {names[0]} back to {names[1]}" if len(names) > 1 else f"rolls {names[0]} back"
        case "registry:health:update":
            return f"finds {names[0]} unhealthy"
        case "version:content:create" | "version:stage:promote":
            return f"{word} {names[0]}" if names else word
    return word


def _why(record: AuditRecord) -> str:
    verdict = record.detail.get("verdict")
    if not verdict:
        return record.reason
    low, high = verdict["interval"]
    return (
        f"{verdict['action']}; when the verdict was reached, after {verdict['samples_a'] + verdict['samples_b']:,} labels: F1 score "
        f"{verdict['model_b']:.3f} against {verdict['model_a']:.3f}, {low:+.2f} to {high:+.2f} at every look"
    )


def _place(target: str) -> str:
    return "a share" if target == "canary" else target or "production"


def _check_export(stage: Stage, export: str) -> str:
    """Export, and run the stand-alone verifier as a stranger would: its own process, nothing of ours imported."""
    directory = stage.root / export
    stage.workspace.audit.export(directory)
    script = shutil.copy(verify_audit_export.__file__, directory / "verify_audit_export.py")
    key = (stage.root / "registry" / "audit.vkey").read_text(encoding="utf-8").strip()
    done = subprocess.run(  # noqa: S603 - our own script and this very interpreter
        [sys.executable, "-I", script, str(directory), "--vkey", key], capture_output=True, text=True, check=False
    )
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
    stage.screen.did(
        "anyone",
        f"runs {export}/verify_audit_export.py, which imports nothing of ours",
        Mark.DONE if done.returncode == 0 else Mark.REFUSED,
        detail=last,
    )
    return done.stdout + done.stderr


def _show(stage: Stage, happenings: tuple[Happening, ...]) -> None:
    rows = [
        [
            f"{happening.record.time:%H:%M:%S}",
            happening.record.actor.name,
            ("\N{BALLOT X} " if happening.refused else "") + happening.what,
            _cut(("refused: " if happening.refused else "") + happening.why),
        ]
        for happening in happenings
    ]
    stage.screen.table(["time", "who", "what", "why"], rows, wide=3, title="Who, what, why (UTC)")


def _cut(text: str) -> str:
    text = short(text)
    return text if len(text) <= 120 else f"{text[:119]}\N{HORIZONTAL ELLIPSIS}"
