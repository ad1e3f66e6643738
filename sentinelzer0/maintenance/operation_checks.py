"""Checks of how the workspace is run: what serves, under which approvals, what waits for a person, which key signs."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from sentinelzer0.domain.audit import AuditRecord
from sentinelzer0.domain.deployments import Deployment
from sentinelzer0.domain.identity import DEFAULT_MODEL
from sentinelzer0.domain.registry import ApprovalRequest, ApprovalStatus
from sentinelzer0.domain.versions import ModelStage, Version
from sentinelzer0.errors import SentinelError
from sentinelzer0.kernel import Kernel, Reader
from sentinelzer0.maintenance.report import Check, Status, verdict
from sentinelzer0.maintenance.state_checks import counted
from sentinelzer0.mlops.approvals import as_of_now
from sentinelzer0.mlops.integrity import hash_in_full

BREAK_GLASS_WINDOW = timedelta(days=30)
FRESH_HEALTH = timedelta(hours=24)
FRESH_CHECKPOINT = timedelta(days=7)
RECHECK_PATIENCE = timedelta(minutes=10)
"""How long the full hash after a rollback may take before its process counts as gone."""
LOW_DISK = 1024**3
"""Bytes below which the disk counts as nearly full."""
_PAGE = 2000


def check_deployments(kernel: Kernel, *, deep: bool) -> Check:
    """Whether everything that serves exists, is intact and is of stage production (or part of an A/B test)."""
    problems: list[str] = []
    with kernel.read() as view:
        served = [(d, name, view.versions.get(d.model, name)) for d in current_deployments(view) for name in d.weights]
        tested = {
            (test.model, name)
            for d, _, _ in served
            for test in view.ab_tests.splitting(d.model, d.environment)
            for name in (test.model_a, test.model_b)
        }
    for deployment, name, version in served:
        where = f"{name}, which serves {deployment.environment},"
        if version is None or version.deleted_at is not None:
            problems.append(f"{where} does not exist")
        elif version.stage is not ModelStage.PRODUCTION and (deployment.model, name) not in tested:
            problems.append(f"{where} is of stage {version.stage}")
        elif deep and (found := hash_in_full(kernel, version)):
            problems.append(f"{where} is not intact: {found[0]}")
    fine = f"There, and where they belong: {counted(len(served), 'serving version')}." if served else "Nothing serves."
    return verdict("deployments", problems, fine, "Go back to a known-good version: sentinelzer0 rollback")


def check_waivers(kernel: Kernel) -> Check:
    """Whether a version of stage production got there without an approval on record."""
    with kernel.read() as view:
        waived = [v for v in _production(view) if view.registry.entry(v.model, v.version) is None]
    problems = [f"{v.version} is in production under a waiver: it was never registered" for v in waived]
    fix = f"Adopt it: sentinelzer0 registry register {_first((v.model, v.version) for v in waived)} --stage production"
    return verdict("approvals", problems, "Every production version is registered.", fix, Status.WARN)


def check_break_glass(kernel: Kernel) -> Check:
    """Whether somebody went past the approvals lately."""
    since = kernel.now() - BREAK_GLASS_WINDOW
    problems = [
        f"{record.actor.name} on {record.time:%Y-%m-%d}: {', '.join(record.subjects)} ({record.reason})"
        for record in _records_since(kernel, since)
        if record.action.endswith(":break-glass") and record.outcome == "ok"
    ]
    fix = "Look at each with: sentinelzer0 audit; request and approve what stays"
    return verdict("break-glass", problems, f"Not used in {BREAK_GLASS_WINDOW.days} days.", fix, Status.WARN)


def check_quarantine(kernel: Kernel) -> Check:
    """Whether versions are quarantined."""
    with kernel.read() as view:
        held = [v for v in view.versions.all() if v.quarantined_at is not None and v.deleted_at is None]
    problems = [
        f"{v.version} since {v.quarantined_at:%Y-%m-%d}: {v.quarantine_reason or 'no reason given'}" for v in held
    ]
    name = _first((v.model, v.version) for v in held)
    fix = f"Once its cause is known: sentinelzer0 rollback release {name} --reason …, or archive it"
    return verdict("quarantine", problems, "No version is quarantined.", fix, Status.WARN)


def check_rechecks(kernel: Kernel) -> Check:
    """Whether the full hash promised by a rollback was done, and acted on when it failed."""
    with kernel.read() as view:
        served = {(d.model, name) for d in current_deployments(view) for name in d.weights}
        since = view.now - RECHECK_PATIENCE
        undone = [event for event in view.rollbacks.unfinished_rechecks() if event.timestamp <= since]
        failed = [
            event
            for event in view.rollbacks.all()
            if str(event.details.get("recheck")).startswith("failed") and (event.model, event.to_version) in served
        ]
    problems = [f"{e.to_version} was not hashed again after {e.event_id}: the process ended before" for e in undone]
    problems += [
        f"{e.to_version} serves, although its re-hash after {e.event_id} {e.details['recheck']}" for e in failed
    ]
    name = _first((event.model, event.to_version or "") for event in (*undone, *failed))
    fix = f"Hash it: sentinelzer0 versions verify {name}; ws.rollback.finish_rechecks() does what was left undone"
    return verdict("re-hashes", problems, "Every full hash promised by a rollback was done.", fix, Status.WARN)


def check_requests(kernel: Kernel) -> Check:
    """Whether requests for approval ran out or became void without a decision."""
    with kernel.read() as view:
        stored = view.registry.requests_with_status(ApprovalStatus.PENDING.value)
        stale = [r for r in (as_of_now(view, item) for item in stored) if r.status is not ApprovalStatus.PENDING]
    problems = [f"{r.request_id} for {r.version} is {r.status} without a decision" for r in stale]
    fix = f"Ask again if it is still wanted: sentinelzer0 registry {_asking(stale[0]) if stale else 'request'}"
    fine = f"Open: {counted(len(stored), 'request')}; none ran out." if stored else "No request is open."
    return verdict("open requests", problems, fine, fix, Status.WARN)


def check_health(kernel: Kernel) -> Check:
    """Whether the health of what serves was checked lately and is good."""
    problems: list[str] = []
    unwell: list[tuple[str, str]] = []
    with kernel.read() as view:
        serving = [(deployment, name) for deployment in current_deployments(view) for name in deployment.weights]
        for deployment, name in serving:
            entry = view.registry.entry(deployment.model, name)
            if entry is None:
                problem = "and has no entry to write its health to"
            elif entry.last_health_check is None or view.now - entry.last_health_check > FRESH_HEALTH:
                problem = "without a health check in 24 h"
            elif entry.health_status != "healthy":
                problem = f"and is {entry.health_status}"
            else:
                continue
            problems.append(f"{name} serves {deployment.environment} {problem}")
            unwell.append((deployment.model, name))
    fix = f"Check it: sentinelzer0 rollback check-health {_first(unwell)}"
    fine = "What serves was found healthy in the last 24 h." if serving else "Nothing serves."
    return verdict("health", problems, fine, fix, Status.WARN)


def check_signing_key(kernel: Kernel) -> Check:
    """Whether the key that signs checkpoints is here, readable by its owner alone, and was used lately."""
    path = kernel.signing_key_file()
    vkey = kernel.layout.registry / "audit.vkey"
    if not path.exists():
        if not vkey.exists():
            return Check("signing key", Status.PASS, "No checkpoint was signed yet; the first one makes the key.")
        fix = "Copy it here from where it is kept, or sign checkpoints there"
        return Check("signing key", Status.WARN, f"The key is not on this machine ({path}).", fix)
    if path.stat().st_mode & 0o077:
        return Check("signing key", Status.FAIL, f"Others may read {path}.", f"Run: chmod 600 {path}")
    try:
        signer = kernel.signer()
    except (SentinelError, OSError) as error:
        return Check("signing key", Status.FAIL, f"{path} cannot be used: {error}", "Restore it from a backup")
    if vkey.exists() and vkey.read_text(encoding="utf-8").strip() != signer.vkey:
        fix = "Restore the key that made the checkpoints, or publish the new one and keep the old checkpoints"
        return Check("signing key", Status.FAIL, f"{path} is not the key of {vkey.name}.", fix)
    return Check("signing key", Status.PASS, f"{path} is there and only its owner may read it.")


def check_checkpoint(kernel: Kernel) -> Check:
    """Whether a recent signed checkpoint covers the log."""
    fix = "Sign one and keep it elsewhere: sentinelzer0 audit checkpoint"
    notes = sorted(kernel.layout.checkpoints.glob("*.note"))
    if not notes:
        return Check("checkpoint", Status.WARN, "No checkpoint was ever signed: nothing anchors the log.", fix)
    size = int(notes[-1].stem) if notes[-1].stem.isdigit() else 0
    with kernel.read() as view:
        now, total = view.now, view.audit.head().size
        uncovered = next((AuditRecord.from_bytes(body) for _, body in view.audit.bodies(size, size + 1)), None)
    if uncovered is not None and now - uncovered.time > FRESH_CHECKPOINT:
        age = (now - uncovered.time).days
        detail = f"Under no signed checkpoint: {counted(total - size, 'record')}, the oldest {counted(age, 'day')} old."
        return Check("checkpoint", Status.WARN, detail, fix)
    return Check("checkpoint", Status.PASS, f"The newest covers {size} of {counted(total, 'record')}.")


def check_legacy(kernel: Kernel) -> Check:
    """Whether files of version 3.3 lie here that were not taken over."""
    left = kernel.layout.legacy_traces()
    with kernel.read() as view:
        known = {
            str(name)
            for record in view.audit.of_subject("workspace:this")
            if record.action == "legacy:files:import"
            for name in record.detail["files"]
        }
    problems = [f"{name} was not imported" for path in left if (name := _relative(kernel, path)) not in known]
    fix = f"Run: sentinelzer0 import-legacy {kernel.layout.root}"
    fine = f"Imported and kept: {counted(len(left), 'file')}." if left else "None are here."
    return verdict("files of version 3.3", problems, fine, fix, Status.WARN)


def check_disk(kernel: Kernel) -> Check:
    """Whether the disk has room."""
    usage = shutil.disk_usage(kernel.layout.root)
    problems = [f"{usage.free} bytes are free"] if usage.free < LOW_DISK else []
    fix = "Free some space, or remove unused bytes: sentinelzer0 collect"
    return verdict(
        "disk", problems, f"{usage.free / 1024**3:.1f} GiB of {usage.total / 1024**3:.1f} are free.", fix, Status.WARN
    )


def current_deployments(view: Reader) -> list[Deployment]:
    """Return the current revision of every model and environment."""
    newest = {(d.model, d.environment): d for d in view.deployments.all()}  # in the order of revisions
    return list(newest.values())


def _first(versions: Iterable[tuple[str, str]]) -> str:
    """Return the first version as it is typed in a command, empty when there is none."""
    model, version = next(iter(versions), (DEFAULT_MODEL, ""))
    return version if model == DEFAULT_MODEL else f"{version} --model {model}"


def _asking(request: ApprovalRequest) -> str:
    """Return the command that asks for the same again."""
    name = _first([(request.model, request.version)])
    if request.target == "canary":
        return f"request-canary {name} {request.share:g}"
    return f"request {name} {request.to_stage}"


def _production(view: Reader) -> list[Version]:
    return [v for v in view.versions.all() if v.stage is ModelStage.PRODUCTION and v.deleted_at is None]


def _records_since(kernel: Kernel, since: datetime) -> list[AuditRecord]:
    """Return the records from a time on, newest first."""
    found: list[AuditRecord] = []
    before: int | None = None
    with kernel.read() as view:
        while page := view.audit.latest(_PAGE, before):
            fresh = [record for record in page if record.time >= since]
            found += fresh
            if len(fresh) < len(page):
                break
            before = page[-1].seq
    return found


def _relative(kernel: Kernel, path: Path) -> str:
    return path.relative_to(kernel.layout.root).as_posix()
