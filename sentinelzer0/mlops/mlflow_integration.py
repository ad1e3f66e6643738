"""Runs, parameters, metrics and models in MLflow 3, beside whatever the caller does with MLflow themselves.

- MLflow is imported by the first call that talks to it, never by importing this module or building a tracker.
  Where it is not installed every call is a no-op, one warning is logged and no run has an id.
- Everything goes through an ``MlflowClient``: the caller's active run, tracking URI, registry URI and standard
  output stay as they are.
- Runs form a stack per thread and per asyncio task: a run started while another is active becomes its child. A new
  thread starts with an empty stack; a new task inherits the stack of the one that created it.
- Arguments are checked before anything is sent, so a refused call has logged nothing.
- Metrics are finite numbers. NaN and infinity are refused: MLflow's database would keep infinity as 1.8e308, and
  no comparison or gate can use either.
- Nothing is written to ``./mlruns``: an experiment that the tracker creates in a SQLite database keeps its
  artifacts in ``mlartifacts`` beside that database, and one in another database needs ``artifact_location``.
- A server that is away is noticed within ten seconds on the first call. Later calls wait as long as MLflow's own
  ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` and ``MLFLOW_HTTP_REQUEST_TIMEOUT`` say.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from sentinelzer0.errors import InvalidInputError, SentinelError, SourceChangedError
from sentinelzer0.mlops import mlflow_edge as mlflow
from sentinelzer0.mlops import mlflow_inputs as inputs

__all__ = ["MLflowTracker"]

_METRICS_PER_REQUEST = 1000
_PARAMS_PER_REQUEST = 100

_log = logging.getLogger("sentinelzer0.mlops.mlflow")


class RunStatus(StrEnum):
    """How a run ends, in MLflow's words."""

    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"


@dataclass(slots=True, eq=False)
class _OpenRun:
    """One run on the stack; ``ended`` is seen by every context that inherited the stack."""

    owner: MLflowTracker
    run_id: str
    ended: bool = False


_RUNS: ContextVar[tuple[_OpenRun, ...]] = ContextVar("sentinelzer0_mlflow_runs", default=())


class TrackedRun:
    """A started run. As a context manager it ends the run: FINISHED, or FAILED when the block raises."""

    __slots__ = ("_leave", "_run")

    def __init__(self, run: _OpenRun | None, leave: Callable[[_OpenRun, RunStatus], None]) -> None:
        self._run = run
        self._leave = leave

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run; None where MLflow is not installed."""
        return None if self._run is None else self._run.run_id

    def __enter__(self) -> Self:
        """Return the run; it was started by ``start_run``."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the run and the runs left open inside it.

        Raises:
            StorageUnavailableError: MLflow does not answer; only logged when the block itself raised.
        """
        if self._run is None:
            return
        try:
            self._leave(self._run, RunStatus.FINISHED if kind is None else RunStatus.FAILED)
        except SentinelError as failure:
            if kind is None:
                raise
            _log.warning("The run %s could not be marked as failed: %s", self._run.run_id, failure)


class MLflowTracker:
    """Logs runs to MLflow, or does nothing where MLflow is not installed.

    Args:
        tracking_uri: Where runs go. None: as MLflow decides when the first run starts (``mlflow.set_tracking_uri``,
            then ``MLFLOW_TRACKING_URI``, then MLflow's default, a SQLite database in the working directory).
        experiment_name: The experiment, created by the first run if absent.
        artifact_location: Where that new experiment keeps its artifacts, as a URI that every reader can reach.
            None: the server decides; for a SQLite database, ``mlartifacts`` beside it.

    Raises:
        InvalidInputError: An argument is not usable text.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        experiment_name: str = "SentinelZer0",
        *,
        artifact_location: str | None = None,
    ) -> None:
        if tracking_uri is not None:
            inputs.check_value(tracking_uri, "tracking_uri", inputs.MAX_TAG, required=True)
        if artifact_location is not None:
            inputs.check_value(artifact_location, "artifact_location", inputs.MAX_TAG, required=True)
        self.experiment_name = inputs.check_value(
            experiment_name, "experiment_name", inputs.MAX_EXPERIMENT, required=True
        )
        self._tracking_uri = tracking_uri
        self._artifact_location = artifact_location
        self._available = mlflow.is_installed()
        self._warned = False
        self._lock = threading.Lock()
        self._connection: mlflow.Connection | None = None

    @property
    def mlflow_available(self) -> bool:
        """Whether MLflow is installed."""
        return self._available

    @property
    def tracking_uri(self) -> str | None:
        """Where runs go; None while that was left to MLflow and no run was started."""
        return self._connection.uri if self._connection else self._tracking_uri

    def is_available(self) -> bool:
        """Return whether MLflow is installed. Does not import it and does not contact a server."""
        return self._available

    def start_run(self, run_name: str | None = None, tags: Mapping[str, Any] | None = None) -> TrackedRun:
        """Start a run, as a child of the active one if there is one.

        Use it as a context manager, or call ``end_run`` later.

        Args:
            run_name: Its name; None lets MLflow generate one.
            tags: Tags of the run; values become text.

        Raises:
            InvalidInputError: A name or tag that MLflow cannot keep, or an experiment that was deleted.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return TrackedRun(None, self._leave)
        if run_name is not None:
            inputs.check_value(run_name, "run_name", inputs.MAX_KEY, required=True)
        own = dict(_texts(tags or {}, "tag", inputs.MAX_TAG))
        connection = self._connect()
        parents = self._open_runs()
        if parents:
            own["mlflow.parentRunId"] = parents[-1].run_id
        with mlflow.edge("start a run", connection.uri):
            started = connection.client.create_run(
                connection.experiment_id, tags=connection.with_context(own), run_name=run_name
            )
        run = _OpenRun(self, str(started.info.run_id))
        _RUNS.set((*(other for other in _RUNS.get() if not other.ended), run))
        return TrackedRun(run, self._leave)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters of the active run, 100 to a round trip; values become text of at most 6000 characters.

        Raises:
            InvalidInputError: No active run, a name or value that MLflow cannot keep, or a parameter that the
                run already has with another value; when there are more than 100, earlier round trips stay logged.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return
        run, connection = self._active("log_params")
        param = connection.mlflow.entities.Param
        entries = [(key + value, param(key, value)) for key, value in _texts(params, "param", inputs.MAX_PARAM)]
        for batch in mlflow.batches(entries, _PARAMS_PER_REQUEST):
            with mlflow.edge("log parameters", connection.uri):
                connection.client.log_batch(run.run_id, params=batch, synchronous=True)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log metrics of the active run, 1000 to a round trip.

        Args:
            metrics: Finite real numbers by name; numpy scalars and one-element tensors are taken too.
            step: Position in the training, the same for all; None is 0.

        Raises:
            InvalidMetricError: A value is not a finite real number; nothing was logged.
            InvalidInputError: No active run, a name that MLflow cannot keep, or a step that is not an integer.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return
        run, connection = self._active("log_metrics")
        position = inputs.check_step(step)
        values = [(inputs.check_key(key, "metric"), value) for key, value in inputs.check_mapping(metrics, "metrics")]
        metric, now = connection.mlflow.entities.Metric, connection.now_ms()
        entries = [(key, metric(key, inputs.check_metric(key, value), now, position)) for key, value in values]
        for batch in mlflow.batches(entries, _METRICS_PER_REQUEST):
            with mlflow.edge("log metrics", connection.uri):
                connection.client.log_batch(run.run_id, metrics=batch, synchronous=True)

    def log_model(
        self, model_path: str | os.PathLike[str], artifact_path: str = "model", registered_model_name: str | None = None
    ) -> str | None:
        """Log a model file or directory to the active run, and register it when a name is given.

        A file lands in ``artifact_path/<file name>``, the members of a directory in ``artifact_path``. The SHA-256
        that SentinelZer0 gives the same bytes becomes the run's tag ``sentinelzer0.sha256.<artifact_path>`` and
        the registered version's tag ``sentinelzer0.sha256``. Logging the same bytes again is how to retry.

        Returns:
            ``models:/<name>/<version>`` of the registered version, else ``runs:/<run id>/<artifact_path>``;
            None where MLflow is not installed.

        Raises:
            ModelFileNotFoundError: ``model_path`` does not exist.
            UnsafeModelError: It is empty, unreadable, or holds a symlink or a device.
            SourceChangedError: It changed while it was uploaded; nothing was registered.
            InvalidInputError: No active run, something else is already under ``artifact_path``, or a file name with
                ``#``, ``?`` or ``%``, which MLflow would store under another one.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return None
        run, connection = self._active("log_model")
        folder = inputs.check_model_folder(artifact_path)
        if registered_model_name is not None:
            inputs.check_model_name(registered_model_name)
        source = inputs.read_model(model_path)
        with mlflow.edge(f"log the model {source.path}", connection.uri):
            location = mlflow.upload_model(connection, run.run_id, folder, source)
        if source.changed():
            raise SourceChangedError(
                f"{source.path} changed while it was logged; it was not registered.",
                hint="Log it again under another artifact_path, once nothing writes to it.",
            )
        if registered_model_name is None:
            return f"runs:/{run.run_id}/{folder}"
        with mlflow.edge(f"register {registered_model_name!r}", connection.uri):
            return mlflow.register_model(connection, run.run_id, location, registered_model_name, source.digest)

    def log_artifact(self, artifact_path: str | os.PathLike[str], artifact_dir: str | None = None) -> None:
        """Log a file or a directory to the active run.

        Args:
            artifact_path: The local file or directory.
            artifact_dir: Folder of the run to put it in; None is the top.

        Raises:
            ModelFileNotFoundError: There is no such file or directory.
            InvalidInputError: No active run, ``artifact_dir`` leaves the run's artifacts, or a name with ``#``,
                ``?`` or ``%``, which MLflow would store under another one.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return
        run, connection = self._active("log_artifact")
        path = inputs.check_artifact(artifact_path)
        folder = None if artifact_dir is None else inputs.check_folder(artifact_dir)
        with mlflow.edge(f"log the artifact {path}", connection.uri):
            connection.client.log_artifact(run.run_id, str(path), folder)

    def set_tag(self, key: str, value: Any) -> None:
        """Set a tag of the active run, replacing an earlier value; the value becomes text.

        Raises:
            InvalidInputError: No active run, or a name or value that MLflow cannot keep.
            StorageUnavailableError: MLflow does not answer.
        """
        if self._skips():
            return
        run, connection = self._active("set_tag")
        for name, text in _texts({key: value}, "tag", inputs.MAX_TAG):
            with mlflow.edge("set a tag", connection.uri):
                connection.client.set_tag(run.run_id, name, text, synchronous=True)

    def get_run_id(self) -> str | None:
        """Return the id of the active run of this thread or task; None when there is none."""
        runs = self._open_runs()
        return runs[-1].run_id if runs else None

    def end_run(self, status: str = "FINISHED") -> None:
        """End the active run; does nothing when there is none, so it may be called twice.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.

        Raises:
            InvalidInputError: Another status.
            StorageUnavailableError: MLflow does not answer; the run stays active, so the call can be repeated.
        """
        if self._skips():
            return
        if status not in RunStatus.__members__:
            raise InvalidInputError(f"A run cannot end as {status!r}.", hint=f"Use one of {', '.join(RunStatus)}.")
        runs = self._open_runs()
        if runs:
            self._end(runs[-1], RunStatus(status))

    def _leave(self, run: _OpenRun, status: RunStatus) -> None:
        """End ``run`` and what is still open inside it, innermost first; locally even if MLflow does not answer."""
        runs = self._open_runs()
        leaving = runs[runs.index(run) :] if run in runs else (run,)
        try:
            for each in reversed(leaving):
                self._end(each, status)
        finally:
            for each in leaving:
                each.ended = True

    def _end(self, run: _OpenRun, status: RunStatus) -> None:
        if run.ended:
            return
        connection = self._connect()
        with mlflow.edge(f"end the run {run.run_id}", connection.uri):
            connection.end_run(run.run_id, status.value)
        run.ended = True

    def _skips(self) -> bool:
        """Return whether there is no MLflow to call, and say so once."""
        if not self._available and not self._warned:
            self._warned = True
            _log.warning(
                "mlflow is not installed: nothing is tracked. Install it with: pip install 'sentinelzer0[mlflow]'"
            )
        return not self._available

    def _open_runs(self) -> tuple[_OpenRun, ...]:
        return tuple(run for run in _RUNS.get() if run.owner is self and not run.ended)

    def _active(self, action: str) -> tuple[_OpenRun, mlflow.Connection]:
        runs = self._open_runs()
        if not runs:
            raise InvalidInputError(
                f"{action} needs an active run, and this thread or task has none.",
                hint="Write it inside `with tracker.start_run():`, or call start_run() first.",
            )
        return runs[-1], self._connect()

    def _connect(self) -> mlflow.Connection:
        with self._lock:
            if self._connection is None:
                self._connection = mlflow.connect(self._tracking_uri, self.experiment_name, self._artifact_location)
            return self._connection


def _texts(values: Mapping[str, Any], what: str, limit: int) -> list[tuple[str, str]]:
    """Return names and values as MLflow will keep them, or refuse them all."""
    return [
        (inputs.check_key(key, what), inputs.check_value(str(value), f"{what} {key!r}", limit))
        for key, value in inputs.check_mapping(values, f"{what}s")
    ]
