"""From two model files to production, an A/B test and the way back. Run it in an empty directory."""

from __future__ import annotations

from pathlib import Path

from sentinelzer0.errors import ApproverNotAllowedError
from sentinelzer0.workspace import Workspace


def main() -> None:
    with Workspace.open("models") as ws:
        for name, recall in (("v1", 0.91), ("v2", 0.93)):
            Path(f"{name}.bin").write_bytes(f"weights of {name}".encode())
            ws.versions.create_version(f"{name}.bin", name, created_by="ada", test_metrics={"recall": recall})
            ws.registry.register_model(name, registered_by="ada")

        promote(ws, "v1", "staging", "production")
        print("serving:", ws.deployments.current().weights)

        test = ws.ab_tests.create_test("v2 against v1", "v1", "v2", primary_metric="error_rate", created_by="ada")
        ws.ab_tests.start_test(test.test_id, started_by="ada")
        for number in range(2000):
            assigned = ws.ab_tests.assign(test.test_id, key=f"host-{number}")
            answered = number % (5 if assigned.version == "v1" else 50) != 0
            ws.ab_tests.record_result(test.test_id, assigned.version, answered, latency_ms=4.0, assignment=assigned)
        results = ws.ab_tests.complete_test(test.test_id, completed_by="ada")
        print("verdict:", results["decision"]["action"], "-", results["recommendation"])

        promote(ws, "v2", "staging", "production")
        event = ws.rollback.execute_rollback("v2", reason="recall collapsed on new traffic", triggered_by="grace")
        print(f"rolled back to {event.to_version}:", event.details["durations_ms"])

        for deployment in reversed(ws.deployments.history()):
            who, why = deployment.created_by, deployment.reason or deployment.cause
            print(f"{deployment.created_at:%H:%M:%S}  {deployment.version}  by {who}: {why}")
        print("audit log intact:", ws.audit.verify().intact)


def promote(ws: Workspace, version: str, *stages: str) -> None:
    """Ask as ada, try to approve as ada, approve as grace."""
    for stage in stages:
        request = ws.registry.request_promotion(version, stage, requested_by="ada", notes=f"{version} is ready")
        try:
            ws.registry.approve_promotion(request.request_id, approved_by="ada")
        except ApproverNotAllowedError as error:
            print("refused:", error.message)
        ws.registry.approve_promotion(request.request_id, approved_by="grace")


if __name__ == "__main__":
    main()
