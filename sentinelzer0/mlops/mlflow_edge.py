"""The edge to MLflow: opening a connection, sending, and turning MLflow's errors into ours.

Nothing here imports MLflow until a connection is opened. `sentinelzer0.mlops.mlflow_integration` is the public
part; its docstring states the rules that users meet.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sentinelzer0.errors import (
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    SentinelError,
    StorageUnavailableError,
)
from sentinelzer0.mlops.mlflow_inputs import SHA256_TAG, ModelSource

# MLflow refuses a log-batch request of more than 1 MB; some of it is spent on the envelope.
_REQUEST_BYTES = 900_000
_ENTRY_BYTES = 150

_PROBE_SECONDS = 10

_PASSWORD = re.compile(r"://[^/@\s]+@")
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})

_ANSWERS: dict[str, type[SentinelError]] = {
    "INVALID_PARAMETER_VALUE": InvalidInputError,
    "BAD_REQUEST": InvalidInputError,
    "RESOURCE_ALREADY_EXISTS": InvalidInputError,
    "RESOURCE_DOES_NOT_EXIST": NotFoundError,
}
_CREDENTIALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection: the imported package, a client of its own, and the experiment's id."""

    mlflow: Any
    client: Any
    uri: str
    experiment_id: str

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the clock with which MLflow stamps its own runs."""
        return int(importlib.import_module("mlflow.utils.time").get_current_time_millis())

    def end_run(self, run_id: str, status: str) -> None:
        """Set the status and the end of a run.

        ``client.set_terminated()`` would print to standard output, and stop the asynchronous logging of a store that
        the caller's own runs share.
        """
        store = self.client._tracking_client.store  # noqa: SLF001 (the public way is described above)
        store.update_run_info(run_id, self.mlflow.entities.RunStatus.from_string(status), self.now_ms(), None)

    def with_context(self, tags: dict[str, str]) -> dict[str, str]:
        """``tags`` with the user, source and commit that ``mlflow.start_run()`` would add; given ones win."""
        found = importlib.import_module("mlflow.tracking.context.registry").resolve_tags(tags)
        return {str(key): str(value) for key, value in found.items()}


def is_installed() -> bool:
    """Whether MLflow can be found. Does not import it."""
    if "mlflow" in sys.modules:
        return True
    return importlib.util.find_spec("mlflow") is not None


def connect(tracking_uri: str | None, experiment_name: str, artifact_location: str | None) -> Connection:
    """Import MLflow, check that the server answers, and find or create the experiment.

    Raises:
        MissingExtraError: MLflow is installed but broken.
        InvalidInputError: A URI that MLflow refuses, a deleted experiment, or one whose artifacts have no place.
        StorageUnavailableError: MLflow does not answer.
    """
    try:
        mlflow: Any = importlib.import_module("mlflow")
    except ImportError as error:
        raise MissingExtraError(
            f"mlflow is installed but cannot be imported: {error}.",
            hint="Repair it with: pip install 'sentinelzer0[mlflow]'",
        ) from error
    uri = str(tracking_uri or mlflow.get_tracking_uri())
    with edge("connect", uri):
        if uri.startswith(("http://", "https://")):
            _probe(uri)
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, mlflow.exceptions.MlflowException, uri, experiment_name, artifact_location)
        return Connection(mlflow, client, uri, experiment)


@contextmanager
def edge(action: str, uri: str) -> Iterator[None]:
    """Turn whatever MLflow raises while doing ``action`` into an error of this package.

    Raises:
        InvalidInputError: MLflow refused the request.
        NotFoundError: MLflow does not know what the request names.
        StorageUnavailableError: Everything else: no answer, no permission, a failure of the store.
    """
    try:
        yield
    except SentinelError:
        raise
    except Exception as error:  # MLflow lets its drivers' errors through: SQLAlchemy, requests, cloud SDKs
        raise _translated(error, action, uri) from error


def _translated(error: Exception, action: str, uri: str) -> SentinelError:
    code = str(getattr(error, "error_code", ""))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    message = f"MLflow at {uri} could not {action}: {lines[0][:500]}"
    message = _PASSWORD.sub("://***@", message)
    answer = _ANSWERS.get(code)
    if answer is not None:
        return answer(message)
    if code in _CREDENTIALS:
        return StorageUnavailableError(
            message, hint="Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    return StorageUnavailableError(
        message, hint="Check that the address is right and the server or database is up, then try again."
    )


def _probe(uri: str) -> None:
    """Ask once, briefly: MLflow itself retries for minutes before it says that nobody listens."""
    rest = importlib.import_module("mlflow.utils.rest_utils")
    credentials = importlib.import_module("mlflow.utils.credentials").get_default_host_creds(uri)
    # Any answer will do: a proxy in front of MLflow need not know /health.
    rest.http_request(credentials, "/health", "GET", max_retries=0, timeout=_PROBE_SECONDS, raise_on_status=False)


def _experiment(client: Any, failure: type[Exception], uri: str, name: str, location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location or _artifact_location(uri, name)))
        except failure as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found.lifecycle_stage != "active":
        raise InvalidInputError(
            f"The MLflow experiment {name!r} was deleted.",
            hint=f"Restore it with: mlflow experiments restore -x {found.experiment_id}, or use another name.",
        )
    return str(found.experiment_id)


def _artifact_location(uri: str, experiment: str) -> str | None:
    """Where a new experiment keeps its artifacts; None leaves it to the store.

    MLflow's own choice for every database is ``./mlruns`` of whoever creates the experiment.
    """
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in _DATABASES:
        return None
    database = uri.partition(":///")[2].partition("?")[0] if scheme == "sqlite" else ""
    if database in {"", ":memory:"}:
        raise InvalidInputError(
            f"The experiment {experiment!r} is new, and the database {_PASSWORD.sub('://***@', uri)} keeps no artifacts.",
            hint="Pass artifact_location= with a URI that every reader can reach, such as 's3://bucket/mlflow'.",
        )
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment)[:40].strip("-")
    folder = f"{readable}-{hashlib.sha256(experiment.encode()).hexdigest()[:12]}".lstrip("-")
    return (Path(database).absolute().parent / "mlartifacts" / folder).as_uri()


def batches(entries: Iterable[tuple[str, Any]], limit: int) -> Iterator[list[Any]]:
    """Group entities into requests of at most ``limit`` entities that stay below MLflow's request size.

    Args:
        entries: For each entity its text, which is what its size depends on, and the entity.
        limit: Most entities in a request.
    """
    batch: list[Any] = []
    total = 0
    for text, entity in entries:
        size = len(json.dumps(text)) + _ENTRY_BYTES
        if batch and (len(batch) == limit or total + size > _REQUEST_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(entity)
        total += size
    if batch:
        yield batch


def upload_model(connection: Connection, run_id: str, folder: str, source: ModelSource) -> str:
    """Put a model into a folder of the run that holds nothing else, and return the folder's URI.

    The digest is tagged first: after an interruption the same bytes may be logged again, others not.

    Raises:
        InvalidInputError: The folder already holds something else.
    """
    client = connection.client
    run = client.get_run(run_id)
    tag = f"{SHA256_TAG}.{folder}"
    known = run.data.tags.get(tag)
    if known != source.digest:
        if known is not None or client.list_artifacts(run_id, folder):
            raise InvalidInputError(
                f"The run {run_id} already has something else under {folder!r}; nothing is overwritten.",
                hint="Choose another artifact_path, or start another run.",
            )
        client.set_tag(run_id, tag, source.digest, synchronous=True)
    upload = client.log_artifacts if source.is_directory else client.log_artifact
    upload(run_id, str(source.path), folder)
    append = importlib.import_module("mlflow.utils.uri").append_to_uri_path
    return str(append(run.info.artifact_uri, folder))


def register_model(connection: Connection, run_id: str, location: str, name: str, digest: str) -> str:
    """Register what lies at ``location`` as the next version of ``name``; return its ``models:/`` URI.

    Unlike ``mlflow.register_model`` this needs no ``MLmodel`` file, so it works for a bare file.
    """
    client = connection.client
    try:
        client.create_registered_model(name)
    except connection.mlflow.exceptions.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(name, location, run_id=run_id, tags={SHA256_TAG: digest})
    return f"models:/{name}/{version.version}"
