"""The tracker where MLflow is not installed, and that neither import nor construction ever loads it."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sentinelzer0.errors import MissingExtraError
from sentinelzer0.mlops import mlflow_edge
from sentinelzer0.mlops.mlflow_integration import MLflowTracker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

LOGGER = "sentinelzer0.mlops.mlflow"


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without MLflow, as the import system sees it."""
    find_spec = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else find_spec(name))


@pytest.mark.usefixtures("absent")
def test_every_call_is_a_no_op_and_one_warning_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        tracker = MLflowTracker("http://127.0.0.1:9")
        assert tracker.mlflow_available is False
        assert tracker.is_available() is False
        with tracker.start_run("name", tags={"a": 1}) as run, tracker.start_run():
            assert run.run_id is None
            assert tracker.get_run_id() is None
            tracker.log_params({"a": 1})
            tracker.log_metrics({"a": float("nan")}, step=1)
            assert tracker.log_model(tmp_path / "absent.pt", registered_model_name="m") is None
            tracker.log_artifact(tmp_path / "absent.png")
            tracker.set_tag("a", 1)
        tracker.end_run("FAILED")
        tracker.end_run()
    assert tracker.get_run_id() is None
    assert [(record.name, record.levelname) for record in caplog.records] == [(LOGGER, "WARNING")]
    assert "pip install 'sentinelzer0[mlflow]'" in caplog.text
    assert "mlflow" not in sys.modules


@pytest.mark.usefixtures("absent")
def test_the_block_still_raises_its_own_error() -> None:
    def block() -> None:
        with MLflowTracker().start_run():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()


def test_importing_and_constructing_never_import_mlflow() -> None:
    script = (
        "import sys\n"
        "from sentinelzer0.mlops.mlflow_integration import MLflowTracker\n"
        "tracker = MLflowTracker('http://127.0.0.1:9', 'x')\n"
        "assert tracker.is_available() == tracker.mlflow_available\n"
        "assert (tracker.tracking_uri, tracker.experiment_name) == ('http://127.0.0.1:9', 'x')\n"
        "assert tracker.get_run_id() is None\n"
        "tracker.end_run()\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in {'mlflow', 'sqlalchemy', 'numpy', 'requests'}))\n"
    )
    root = Path(mlflow_edge.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


class _Broken:
    """Finds MLflow and fails to import it, as a package with a missing dependency does."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "mlflow":
            raise ImportError("No module named 'protobuf'")
        return None


def test_a_broken_installation_is_not_taken_for_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = MLflowTracker("http://127.0.0.1:9")
    if not tracker.is_available():
        pytest.skip("MLflow is not installed")
    for name in [name for name in sys.modules if name.split(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match="protobuf") as failure:
        tracker.start_run()
    assert "pip install" in failure.value.hint
