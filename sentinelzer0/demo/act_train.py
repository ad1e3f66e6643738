"""Act 1: two detectors become versions; the first one goes to production through two people."""

from __future__ import annotations

from sentinelzer0.demo.screen import Mark
from sentinelzer0.demo.stage import APPROVER, TRAINER, Stage
from sentinelzer0.demo.training import Trained, train_boosting, train_logistic
from sentinelzer0.errors import ApproverNotAllowedError
from sentinelzer0.mlops.model_registry import ModelStage

POLICY_FILE = "policy.toml"
POLICY = f"""\
# What this team demands before a detector meets traffic. Anyone may ask; the requester may never approve.
name = "detection-team"

[approval]
targets = ["canary", "production"]
roles = ["approver"]
quorum = 1

[canary]
cap = 0.2

[roles]
approver = ["{TRAINER}", "{APPROVER}"]

[[gates.metrics]]
metric = "roc_auc"
source = "test_metrics"
limit = 0.99
max_regression = 0.001

[[gates.metrics]]
metric = "precision"
source = "test_metrics"
limit = 0.95
max_regression = 0.01

[[gates.metrics]]
metric = "recall"
source = "test_metrics"
limit = 0.95
max_regression = 0.01

[[gates.metrics]]
metric = "fpr"
source = "test_metrics"
direction = "lower"
limit = 0.02
max_regression = 0.001
"""


def play(stage: Stage) -> None:
    """Train v1 and v2, register both, promote v1; its own trainer cannot approve it."""
    screen = stage.screen
    screen.act(
        1,
        "Two detectors, two people",
        f"{TRAINER} trains intrusion detectors on NSL-KDD; {APPROVER} approves what goes live. The team's policy wants "
        "a second person and four metric gates for production, and an approval for any share of the traffic.",
    )
    screen.gap()
    what = "puts the policy detection-team in force"
    stage.set_policy(POLICY_FILE, POLICY, what, "two people and four gates before production")
    with screen.working("Training v1, logistic regression"):
        first = train_logistic(stage.history)
    stage.create("v1", first, parent=None, notes="baseline", tags=["nsl-kdd", "baseline"])
    with screen.working("Training v2, gradient boosting"):
        second = train_boosting(stage.history)
    stage.create("v2", second, parent="v1", notes="boosted trees instead of a linear model", tags=["nsl-kdd"])
    show_metrics(stage, {"v1": first, "v2": second}, "Held-out rows of the labelled history")
    _approve_v1(stage)


def show_metrics(stage: Stage, trained: dict[str, Trained], title: str) -> None:
    """Write the offline numbers of versions side by side."""
    names = {
        "roc_auc": "AUC",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
        "fpr": "false-positive rate",
    }
    rows = [
        [label, *(f"{100 * model.test_metrics[name]:.2f} %" for model in trained.values())]
        for name, label in names.items()
    ]
    stage.screen.table([" ", *(f">{version}" for version in trained)], rows, title=title)
    stage.screen.gap()


def _approve_v1(stage: Stage) -> None:
    registry, screen = stage.workspace.registry, stage.screen
    request = registry.request_promotion("v1", ModelStage.PRODUCTION, TRAINER, "first detector")
    screen.did(TRAINER, "asks for v1 in production: first detector")
    try:
        registry.approve_promotion(request.request_id, TRAINER, "I trained it, it is fine")
    except ApproverNotAllowedError as error:
        stage.refused(TRAINER, "approves it too", error)
    registry.approve_promotion(request.request_id, APPROVER, "metrics and model card read")
    screen.did(APPROVER, "approves: metrics and model card read", Mark.DONE, detail="v1 serves 100 %")
