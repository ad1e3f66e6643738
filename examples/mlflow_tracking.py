"""Log a training run and its model to MLflow, and check what comes back.

Run it anywhere: without a server it uses MLflow's own default, a SQLite database in the working directory.

    python examples/mlflow_tracking.py
    MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python examples/mlflow_tracking.py
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from sentinelzer0.mlops import MLflowTracker


def main() -> None:
    """Train by hand, log, register, and compare the registered digest with the file."""
    tracker = MLflowTracker(experiment_name="intrusion-detection")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "detector.json"
        with tracker.start_run("nightly", tags={"team": "soc"}):
            tracker.log_params({"threshold": 0.5, "features": ["src_bytes", "count"]})
            for epoch in range(3):
                with tracker.start_run(f"epoch {epoch}"):
                    tracker.log_metrics({"loss": 1 / (epoch + 1)})
                tracker.log_metrics({"loss": 1 / (epoch + 1)}, step=epoch)
            model.write_text(json.dumps({"threshold": 0.5}), encoding="utf-8")
            where = tracker.log_model(model, registered_model_name="detector")
        print(f"logged to {tracker.tracking_uri} as {where}")
        print(f"its tag sentinelzer0.sha256 is {hashlib.sha256(model.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
