"""Act 4: one bit of a stored file flips, and nothing will touch the versions that contain it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sentinelzer0.demo.live import load
from sentinelzer0.demo.screen import Mark, percent, short
from sentinelzer0.demo.stage import APPROVER, TRAINER, Stage
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
    first = stage.trained["v1"]
    lower = replace(
        first,
        detector=replace(first.detector, threshold=0.3),
        hyperparameters={**first.hyperparameters, "threshold_rule": "0.3"},
        summary="Logistic regression, alarm from a probability of 0.3.",
    )
    stage.create("v4", lower, parent="v1", notes="v1 with a lower alarm threshold", tags=["nsl-kdd"])
    request = registry.request_promotion("v4", ModelStage.PRODUCTION, TRAINER, "a light fallback")
    screen.did(TRAINER, "asks for v4 in production: a light fallback")
    path = _stored_file(stage)
    bit = 8 * (path.stat().st_size // 2) + 2
    _flip(path, bit)
    place = path.relative_to(stage.root)
    screen.did("disk", f"bit {bit:,} of {FILE} flips", Mark.WARNING, detail=short(str(place)))

    def load_v4() -> None:
        with versions.open_verified("v4") as model:
            load(model)

    refusals = []
    if not versions.verify_integrity("v4"):
        problem = short(versions.integrity_problems("v4")[0])
        screen.did("anyone", "verifies v4: not intact", Mark.REFUSED, detail=problem)
        refusals.append(("verifies v4", "anyone", problem))
    attempts: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("service", "loads v4", load_v4),
        (APPROVER, "promotes v4", lambda: registry.approve_promotion(request.request_id, APPROVER, "ok")),
        (APPROVER, "rolls v2 back to v1", lambda: _roll_back(stage)),
    )
    for actor, what, attempt in attempts:
        try:
            attempt()
        except IntegrityError as error:
            stage.refused(actor, what, error)
            refusals.append((what, actor, short(error.message)))
        else:
            screen.did(actor, f"{what}: NOT refused", Mark.WARNING)
    current = stage.workspace.deployments.current()
    serving = (
        "nothing" if current is None else ", ".join(f"{v} {percent(share)}" for v, share in current.weights.items())
    )
    screen.verdict(f"{len(refusals)} of 4 refused; all through it production was {serving}.", good=len(refusals) == 4)
    screen.gap()
    _flip(path, bit)
    intact = versions.verify_integrity("v1") and versions.verify_integrity("v4")
    registry.reject_promotion(request.request_id, APPROVER, "its stored weights had been changed")
    screen.did(APPROVER, "rejects the request for v4: its stored weights had been changed")
    word = "verify again" if intact else "still do NOT verify"
    screen.did("disk", f"the bit is flipped back: v1 and v4 {word}", Mark.DONE if intact else Mark.WARNING)
    return TamperFacts(str(place), bit, tuple(refusals), intact)


def _roll_back(stage: Stage) -> None:
    stage.workspace.rollback.execute_rollback("v2", "v1", "back to the simple model", triggered_by=APPROVER)


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
