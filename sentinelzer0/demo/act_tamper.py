"""Act 4: one bit of a stored file flips, and nothing will touch the versions that contain it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sentinelzer0.demo.detectors import evaluate
from sentinelzer0.demo.live import load
from sentinelzer0.demo.nsl_kdd import History
from sentinelzer0.demo.screen import Mark, percent, short
from sentinelzer0.demo.stage import APPROVER, TRAINER, Stage
from sentinelzer0.demo.training import Trained
from sentinelzer0.errors import IntegrityError
from sentinelzer0.mlops.model_registry import ModelStage

FILE = "weights.json"


@dataclass(frozen=True, slots=True)
class TamperFacts:
    """What was refused.

    Attributes:
        place: The file, relative to the workspace.
        bit: Number of the flipped bit, from the start of the file.
        refusals: What was tried, by whom, and the message.
        intact_again: Whether both versions verify after the bit was flipped back.
    """

    place: str
    bit: int
    refusals: tuple[tuple[str, str, str], ...]
    intact_again: bool


def play(stage: Stage) -> TamperFacts:
    """Flip a bit that two versions share, try everything, flip it back."""
    screen, versions, registry = stage.screen, stage.workspace.versions, stage.workspace.registry
    screen.act(
        4,
        "One flipped bit",
        "v4 is v1 with a lower alarm threshold, so both share the weights, which are stored once. Somebody with access "
        "to the disk flips one bit of them; size and modification time stay the same.",
    )
    screen.gap()
    request_id = _ask_for_v4(stage)
    path = _stored_file(stage)
    bit = 8 * (path.stat().st_size // 2) + 2
    place = str(path.relative_to(stage.root))
    _flip(path, bit)
    screen.did("disk", f"bit {bit:,} of {FILE} flips", Mark.WARNING, detail=short(place))
    refusals = _refusals(stage, request_id)
    current = stage.workspace.deployments.current()
    serving = "" if current is None else ", ".join(f"{v} {percent(share)}" for v, share in current.weights.items())
    screen.verdict(f"{len(refusals)} of 4 refused; production was {serving} all the time.", good=len(refusals) == 4)
    screen.gap()
    _flip(path, bit)
    registry.reject_promotion(request_id, APPROVER, "its stored weights had been changed")
    screen.did(APPROVER, "rejects the request for v4: its stored weights had been changed")
    intact = versions.verify_integrity("v1") and versions.verify_integrity("v4")
    word = "verify again" if intact else "still do NOT verify"
    screen.did("disk", f"the bit is flipped back: v1 and v4 {word}", Mark.DONE if intact else Mark.WARNING)
    return TamperFacts(place, bit, refusals, intact)


def _ask_for_v4(stage: Stage) -> str:
    """Make a version that shares its weights with v1, ask for its promotion, return the request's id."""
    first = stage.trained["v1"]
    lower = _judged(
        stage.history,
        replace(
            first,
            detector=replace(first.detector, threshold=0.3),
            hyperparameters={**first.hyperparameters, "threshold_rule": "0.3"},
            summary="Logistic regression, alarm from a probability of 0.3.",
        ),
    )
    stage.create("v4", lower, parent="v1", notes="v1 with a lower alarm threshold", tags=["nsl-kdd"])
    request = stage.workspace.registry.request_promotion("v4", ModelStage.PRODUCTION, TRAINER, "a light fallback")
    stage.screen.did(TRAINER, "asks for v4 in production: a light fallback")
    return request.request_id


def _judged(history: History, trained: Trained) -> Trained:
    """Return a trained detector with its metrics measured again."""
    parts = (history.train, history.validation, history.test)
    training, validation, test = (evaluate(trained.detector, part) for part in parts)
    return replace(trained, training_metrics=training, validation_metrics=validation, test_metrics=test)


def _refusals(stage: Stage, request_id: str) -> tuple[tuple[str, str, str], ...]:
    """Try to verify, load, promote and roll back; return what was refused, to whom, and why."""
    versions, registry, rollback = stage.workspace.versions, stage.workspace.registry, stage.workspace.rollback
    refusals = []
    for problem in map(short, versions.integrity_problems("v4")[:1]):
        stage.screen.did("anyone", "verifies v4: not intact", Mark.REFUSED, detail=problem)
        refusals.append(("verifies v4", "anyone", problem))

    def load_v4() -> None:
        with versions.open_verified("v4") as model:
            load(model)

    attempts: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("service", "loads v4", load_v4),
        (APPROVER, "promotes v4", lambda: registry.approve_promotion(request_id, APPROVER, "a light fallback")),
        (
            APPROVER,
            "rolls v2 back to v1",
            lambda: rollback.execute_rollback("v2", "v1", "back to the simple model", triggered_by=APPROVER),
        ),
    )
    for actor, what, attempt in attempts:
        try:
            attempt()
        except IntegrityError as error:
            stage.refused(actor, what, error)
            refusals.append((what, actor, short(error.message)))
        else:
            stage.screen.did(actor, f"{what}: NOT refused", Mark.WARNING)
    return tuple(refusals)


def _stored_file(stage: Stage) -> Path:
    """Return the one stored file behind the weights of both versions."""
    with stage.workspace.versions.open_verified("v4") as model:
        manifest = model.manifest
    digest = next(entry.sha256 for entry in manifest.entries if entry.path == FILE) if manifest else ""
    return stage.root / "blobs" / "sha256" / digest[:2] / digest


def _flip(path: Path, bit: int) -> None:
    """Flip one bit in place and put mode and modification time back, as a failing disk or an intruder would."""
    before = path.stat()
    path.chmod(before.st_mode | stat.S_IWUSR)
    with path.open("r+b") as stream:
        stream.seek(bit // 8)
        (byte,) = stream.read(1)
        stream.seek(bit // 8)
        stream.write(bytes([byte ^ 1 << bit % 8]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
