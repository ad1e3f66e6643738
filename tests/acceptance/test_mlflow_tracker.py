"""The tracker against MLflow itself: a SQLite store in this process, and a real server on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sentinelzer0.domain.manifests import Manifest, ManifestEntry
from sentinelzer0.errors import (
    InvalidInputError,
    InvalidMetricError,
    ModelFileNotFoundError,
    SentinelError,
    SourceChangedError,
    StorageUnavailableError,
    UnsafeModelError,
)
from sentinelzer0.mlops import mlflow_edge, mlflow_inputs
from sentinelzer0.mlops.mlflow_integration import MLflowTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

# MLflow and what it imports raise deprecation warnings of their own.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("mlflow"), pytest.mark.timeout(400)]

SERVER_STARTS_WITHIN = 300  # seconds: the rest of the suite may be using every core


@pytest.fixture(scope="module")
def mlflow() -> Any:
    """MLflow, imported once, with its telemetry off."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    return pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def database(mlflow: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database; creating one takes seconds, so the module shares it."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(database: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The database's URI, with an empty working directory and no setting of MLflow's in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    return f"sqlite:///{database}"


@pytest.fixture
def tracker(uri: str) -> Iterator[MLflowTracker]:
    """A tracker on the SQLite store whose runs are all ended afterwards."""
    tracker = MLflowTracker(uri)
    yield tracker
    while tracker.get_run_id() is not None:
        tracker.end_run()


@pytest.fixture
def client(mlflow: Any, uri: str) -> Any:
    """MLflow's own view of the SQLite store."""
    return mlflow.MlflowClient(tracking_uri=uri)


@pytest.fixture(scope="module")
def server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an MLflow server started for this module."""
    home = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shutil.copy(database, home / "mlflow.db")  # migrating an empty one takes seconds
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += [
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        str(home / "artifacts"),
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # a process less to start
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(url, process, home / "log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SERVER_STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"The MLflow server did not start:\n{log.read_text()[-3000:]}")


def _bundle(parent: Path) -> Path:
    bundle = parent / "bundle"
    (bundle / "sub dir").mkdir(parents=True)
    (bundle / "weights.bin").write_bytes(b"weights" * 1000)
    (bundle / "sub dir" / "schwelle ü;1.json").write_text('{"threshold": 0.5}')
    (bundle / "empty").touch()
    return bundle


def _manifest_digest(directory: Path) -> str:
    return Manifest(
        tuple(
            ManifestEntry(
                path.relative_to(directory).as_posix(),
                hashlib.sha256(path.read_bytes()).hexdigest(),
                path.stat().st_size,
                executable=False,
            )
            for path in directory.rglob("*")
            if path.is_file()
        )
    ).digest()


def test_one_run_from_start_to_end(tracker: MLflowTracker, client: Any) -> None:
    with tracker.start_run("night", tags={"team": "soc", "n": 3}) as run:
        tracker.log_params({"lr": 0.01, "layers": [64, 32], "seed": None})
        tracker.log_metrics({"loss": 0.5}, step=1)
        tracker.log_metrics({"loss": 0.25}, step=2)
        tracker.set_tag("verdict", True)
        assert tracker.get_run_id() == run.run_id
    assert tracker.get_run_id() is None
    stored = client.get_run(run.run_id)
    assert (stored.info.status, stored.info.run_name) == ("FINISHED", "night")
    assert stored.info.end_time >= stored.info.start_time
    assert stored.data.params == {"lr": "0.01", "layers": "[64, 32]", "seed": "None"}
    assert [(m.step, m.value) for m in client.get_metric_history(run.run_id, "loss")] == [(1, 0.5), (2, 0.25)]
    assert {"team": "soc", "n": "3", "verdict": "True"}.items() <= stored.data.tags.items()
    assert stored.data.tags["mlflow.user"]


def test_a_block_that_raises_ends_its_run_and_the_runs_left_open_inside_as_failed(
    tracker: MLflowTracker, client: Any
) -> None:
    def block() -> None:
        with tracker.start_run() as outer:
            ids.append(outer.run_id)
            ids.append(tracker.start_run().run_id)
            raise KeyError("broken")

    ids: list[str | None] = []
    with pytest.raises(KeyError, match="broken"):
        block()
    assert [client.get_run(run_id).info.status for run_id in ids] == ["FAILED", "FAILED"]
    assert tracker.get_run_id() is None


def test_nested_runs_know_their_parent_and_end_in_order(tracker: MLflowTracker, client: Any) -> None:
    outer = tracker.start_run("outer")
    with tracker.start_run("inner") as inner:
        tracker.log_params({"depth": 2})
    tracker.log_params({"depth": 1})
    tracker.end_run("KILLED")
    tracker.end_run()
    assert client.get_run(inner.run_id).data.tags["mlflow.parentRunId"] == outer.run_id
    assert client.get_run(inner.run_id).data.params == {"depth": "2"}
    assert client.get_run(outer.run_id).data.params == {"depth": "1"}
    assert client.get_run(outer.run_id).info.status == "KILLED"


def test_ending_inside_the_block_keeps_the_status_given_there(tracker: MLflowTracker, client: Any) -> None:
    with tracker.start_run() as run:
        tracker.end_run("KILLED")
    assert client.get_run(run.run_id).info.status == "KILLED"


def test_threads_have_stacks_of_their_own_and_tasks_inherit(tracker: MLflowTracker, client: Any) -> None:
    seen: list[str | None] = []
    outer = tracker.start_run()

    def in_thread() -> None:
        seen.append(tracker.get_run_id())
        with tracker.start_run() as run:
            seen.append(run.run_id)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen[0] is None
    assert "mlflow.parentRunId" not in client.get_run(seen[1]).data.tags
    assert tracker.get_run_id() == outer.run_id

    async def child(name: str) -> str | None:
        with tracker.start_run(name) as run:
            await asyncio.sleep(0)
            tracker.log_params({"name": name})
        return run.run_id

    async def both() -> list[str | None]:
        return await asyncio.gather(child("a"), child("b"))

    for name, run_id in zip("ab", asyncio.run(both()), strict=True):
        stored = client.get_run(run_id)
        assert stored.data.params == {"name": name}
        assert stored.data.tags["mlflow.parentRunId"] == outer.run_id


def test_two_trackers_do_not_mix_their_runs(tracker: MLflowTracker, uri: str, client: Any) -> None:
    other = MLflowTracker(uri, "another")
    with tracker.start_run() as first, other.start_run() as second:
        assert (tracker.get_run_id(), other.get_run_id()) == (first.run_id, second.run_id)
        assert "mlflow.parentRunId" not in client.get_run(second.run_id).data.tags
    experiments = {client.get_run(run.run_id).info.experiment_id for run in (first, second)}
    assert experiments == {client.get_experiment_by_name(n).experiment_id for n in ("SentinelZer0", "another")}


def test_the_callers_own_mlflow_is_not_disturbed(
    mlflow: Any, tracker: MLflowTracker, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), dict(os.environ))
    with tracker.start_run():
        tracker.log_metrics({"a": 1})
        (tmp_path / "m.pt").write_bytes(b"x")
        tracker.log_model(tmp_path / "m.pt")
        assert mlflow.active_run() is None
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), dict(os.environ)) == before
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("count", [1, 1000, 2500])
def test_many_metrics_take_one_round_trip_per_thousand(
    tracker: MLflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    sizes: list[int] = []
    with tracker.start_run() as run:
        store = client._tracking_client.store
        log_batch = store.log_batch

        def counting(run_id: str, metrics: list[Any], params: list[Any], tags: list[Any]) -> Any:
            sizes.append(len(metrics))
            return log_batch(run_id, metrics, params, tags)

        monkeypatch.setattr(store, "log_batch", counting)
        tracker.log_metrics({f"m{i}": float(i) for i in range(count)}, step=7)
    assert sizes == [1000] * (count // 1000) + ([count % 1000] if count % 1000 else [])
    assert client.get_run(run.run_id).data.metrics == {f"m{i}": float(i) for i in range(count)}


def test_long_params_are_split_by_size_too(tracker: MLflowTracker, client: Any) -> None:
    params = {f"p{i}": "é" * 6000 for i in range(101)}
    with tracker.start_run() as run:
        tracker.log_params(params)
    assert client.get_run(run.run_id).data.params == params
    groups = list(mlflow_edge.batches([(k + v, k) for k, v in params.items()], 100))
    assert [key for group in groups for key in group] == list(params)
    assert max(len(group) for group in groups) * 6000 * len("\\u00e9") < 1_000_000


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "0.5", None, True, 1j, [1.0], 10**400])
def test_a_metric_that_is_not_a_finite_number_is_refused_and_nothing_is_logged(
    tracker: MLflowTracker, client: Any, value: object
) -> None:
    with tracker.start_run() as run, pytest.raises(InvalidMetricError, match="bad"):
        tracker.log_metrics({"good": 1.0, "bad": value})
    assert client.get_run(run.run_id).data.metrics == {}


def test_numpy_values_are_metrics(tracker: MLflowTracker, client: Any) -> None:
    numpy = pytest.importorskip("numpy")
    with tracker.start_run() as run:
        tracker.log_metrics({"f": numpy.float32(0.5), "i": numpy.int64(2), "a": numpy.array([3.0])}, numpy.int64(4))
        with pytest.raises(InvalidMetricError):
            tracker.log_metrics({"a": numpy.array([1.0, 2.0])})
        with pytest.raises(InvalidMetricError):
            tracker.log_metrics({"a": numpy.bool_(True)})
    assert client.get_run(run.run_id).data.metrics == {"f": 0.5, "i": 2.0, "a": 3.0}
    assert [m.step for m in client.get_metric_history(run.run_id, "f")] == [4]


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.log_params({"a/../b": 1}),
        lambda t: t.log_params({"": 1}),
        lambda t: t.log_params({"a\n": 1}),
        lambda t: t.log_params({"k" * 251: 1}),
        lambda t: t.log_params({3: 1}),
        lambda t: t.log_params({"k": "v" * 6001}),
        lambda t: t.log_params({"k": "\0"}),
        lambda t: t.log_params([("k", 1)]),
        lambda t: t.log_metrics({"a": 1}, step=1.5),
        lambda t: t.log_metrics({"a": 1}, step=True),
        lambda t: t.log_metrics({"a": 1}, step=2**63),
        lambda t: t.log_metrics({"a?": 1}),
        lambda t: t.set_tag("../k", 1),
        lambda t: t.set_tag("k", "v" * 8001),
        lambda t: t.start_run(run_name=""),
        lambda t: t.start_run(run_name="n" * 251),
        lambda t: t.start_run(tags={"\ud800": 1}),
        lambda t: t.end_run("RUNNING"),
        lambda t: t.end_run("done"),
    ],
)
def test_bad_input_is_refused_with_a_clear_error(tracker: MLflowTracker, client: Any, call: Any) -> None:
    with tracker.start_run() as run:
        with pytest.raises(InvalidInputError) as refusal:
            call(tracker)
        assert refusal.value.message
        assert tracker.get_run_id() == run.run_id
    stored = client.get_run(run.run_id)
    assert (stored.data.params, stored.data.metrics) == ({}, {})


def test_a_parameter_cannot_change(tracker: MLflowTracker) -> None:
    with tracker.start_run():
        tracker.log_params({"lr": 1})
        tracker.log_params({"lr": 1})
        with pytest.raises(InvalidInputError, match="lr"):
            tracker.log_params({"lr": 2})


@pytest.mark.parametrize(
    "call",
    [
        lambda t, p: t.log_params({"a": 1}),
        lambda t, p: t.log_metrics({"a": 1}),
        lambda t, p: t.set_tag("a", 1),
        lambda t, p: t.log_model(p),
        lambda t, p: t.log_artifact(p),
    ],
)
def test_logging_without_a_run_says_what_to_do(tracker: MLflowTracker, tmp_path: Path, call: Any) -> None:
    (tmp_path / "m.pt").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="needs an active run") as refusal:
        call(tracker, tmp_path / "m.pt")
    assert "start_run" in refusal.value.hint


def test_the_default_is_mlflows_and_mlruns_is_never_created(mlflow: Any, uri: str, tmp_path: Path) -> None:
    """In a process of its own: the default depends on the working directory at the first use of MLflow."""
    script = (
        "from pathlib import Path\n"
        "from sentinelzer0.mlops.mlflow_integration import MLflowTracker\n"
        "tracker = MLflowTracker()\n"
        "assert tracker.tracking_uri is None\n"
        "Path('m.pt').write_bytes(b'x')\n"
        "with tracker.start_run():\n"
        "    tracker.log_model('m.pt', registered_model_name='m')\n"
        "    tracker.log_artifact('m.pt', 'copies')\n"
        "print(tracker.tracking_uri)\n"
    )
    root = Path(mlflow_edge.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"sqlite:///{tmp_path}/mlflow.db\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pt", "mlartifacts", "mlflow.db"]


def test_left_to_mlflow_the_callers_own_setting_wins_over_the_environment(
    mlflow: Any, uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = MLflowTracker()
    with tracker.start_run():
        assert tracker.tracking_uri == uri
    mlflow.set_tracking_uri(f"{uri}?timeout=7")
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with MLflowTracker().start_run():
            assert tracker.tracking_uri == uri  # decided once, by the first run
        other = MLflowTracker()
        with other.start_run():
            assert other.tracking_uri == f"{uri}?timeout=7"
    finally:
        mlflow.set_tracking_uri(None)
    assert list(tmp_path.iterdir()) == []


def test_artifacts_lie_beside_the_database_or_where_told(database: Path, uri: str, client: Any, tmp_path: Path) -> None:
    (tmp_path / "plot.svg").write_text("<svg/>")
    for name, location, parent in [
        ("../odd name/ü", None, database.parent / "mlartifacts"),
        ("elsewhere", (tmp_path / "there").as_uri(), tmp_path / "there"),
    ]:
        tracker = MLflowTracker(uri, name, artifact_location=location)
        with tracker.start_run() as run:
            tracker.log_artifact(tmp_path / "plot.svg", "figures/loss")
        assert [a.path for a in client.list_artifacts(run.run_id, "figures/loss")] == ["figures/loss/plot.svg"]
        assert len(list(parent.rglob("plot.svg"))) == 1
    assert not (tmp_path / "mlruns").exists()


def test_a_shared_database_needs_a_place_for_artifacts(uri: str) -> None:
    for address in ("postgresql://u:secret@db/mlflow", "mysql+pymysql://u:secret@db/mlflow", "sqlite://"):
        with pytest.raises(InvalidInputError) as refusal:
            mlflow_edge._artifact_location(address, "new")
        assert "artifact_location=" in refusal.value.hint
        assert "secret" not in str(refusal.value)
    assert mlflow_edge._artifact_location("https://mlflow.example.org", "new") is None


def test_a_deleted_experiment_says_how_to_restore_it(uri: str, client: Any) -> None:
    client.delete_experiment(client.create_experiment("gone"))
    with pytest.raises(InvalidInputError, match="gone") as refusal:
        MLflowTracker(uri, "gone").start_run()
    assert "mlflow experiments restore" in refusal.value.hint


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_registered_model_downloads_and_carries_our_digest(
    mlflow: Any, tracker: MLflowTracker, client: Any, tmp_path: Path, kind: str
) -> None:
    _check_registration(mlflow, tracker, client, tmp_path, kind)


def _check_registration(mlflow: Any, tracker: MLflowTracker, client: Any, tmp_path: Path, kind: str) -> None:
    name = f"detector {tmp_path.name}"  # the database is shared by the tests of this module, in any order
    model = _bundle(tmp_path)
    digest = _manifest_digest(model)
    if kind == "file":
        model = tmp_path / "model.pt"
        model.write_bytes(b"\x00weights" * 1000)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    with tracker.start_run() as run:
        assert tracker.log_model(model, "other/place") == f"runs:/{run.run_id}/other/place"
        assert tracker.log_model(model, registered_model_name=name) == f"models:/{name}/1"
        assert tracker.log_model(str(model), registered_model_name=name) == f"models:/{name}/2"
    assert client.get_run(run.run_id).data.tags["sentinelzer0.sha256.model"] == digest
    version = client.get_model_version(name, "1")
    assert (version.run_id, version.status) == (run.run_id, "READY")
    assert version.tags == {"sentinelzer0.sha256": digest}
    mlflow.set_tracking_uri(tracker.tracking_uri)
    try:
        got = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1", dst_path=str(tmp_path / "got")))
    finally:
        mlflow.set_tracking_uri(None)
    if kind == "file":
        assert (got / "model.pt").read_bytes() == model.read_bytes()
    else:
        assert _manifest_digest(got) == digest


def test_another_model_never_lands_on_a_logged_one(tracker: MLflowTracker, client: Any, tmp_path: Path) -> None:
    model, other = tmp_path / "a.pt", tmp_path / "b.pt"
    model.write_bytes(b"a")
    other.write_bytes(b"b")
    with tracker.start_run() as run:
        tracker.log_model(model)
        with pytest.raises(InvalidInputError, match="already has something else"):
            tracker.log_model(other, registered_model_name="never")
        tracker.log_artifact(other, "mixed")
        with pytest.raises(InvalidInputError, match="already has something else"):
            tracker.log_model(model, "mixed")
    assert [a.path for a in client.list_artifacts(run.run_id, "model")] == ["model/a.pt"]
    assert client.search_registered_models("name = 'never'") == []


def test_a_model_that_changes_while_it_is_logged_is_not_registered(
    tracker: MLflowTracker, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _bundle(tmp_path)
    upload = mlflow_edge.upload_model

    def growing(*args: Any) -> str:
        (model / "late.bin").write_bytes(b"late")
        return upload(*args)

    monkeypatch.setattr(mlflow_edge, "upload_model", growing)
    with tracker.start_run(), pytest.raises(SourceChangedError, match="changed"):
        tracker.log_model(model, registered_model_name="changing")
    assert client.search_registered_models("name = 'changing'") == []


def test_models_that_cannot_be_stored_are_refused(tracker: MLflowTracker, tmp_path: Path) -> None:
    good = tmp_path / "good.pt"
    good.write_bytes(b"x")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "link.pt").symlink_to(good)
    (tmp_path / "nothing").mkdir()
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "m.pt").write_bytes(b"x")
    (linked / "out").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    with tracker.start_run():
        for name in ("empty.pt", "link.pt", "nothing", "linked", "pipe"):
            with pytest.raises(UnsafeModelError):
                tracker.log_model(tmp_path / name)
        with pytest.raises(ModelFileNotFoundError):
            tracker.log_model(tmp_path / "absent.pt")
        with pytest.raises(FileNotFoundError):
            tracker.log_artifact(tmp_path / "absent.png")
        with pytest.raises(FileNotFoundError):
            tracker.log_artifact(tmp_path / "pipe")
        for folder in ("../up", "/abs", "", "a//b", "a b", "a\n", ".hidden", "x" * 231):
            with pytest.raises(InvalidInputError):
                tracker.log_model(good, folder)
        for odd in ("a#1", "a?1", "a%41"):
            (tmp_path / odd).write_bytes(b"x")
            (tmp_path / f"dir-{odd}" / odd).mkdir(parents=True)
            (tmp_path / f"dir-{odd}" / odd / "m.pt").write_bytes(b"x")
            for path in (tmp_path / odd, tmp_path / f"dir-{odd}"):
                with pytest.raises(InvalidInputError, match="another name"):
                    tracker.log_model(path)
                with pytest.raises(InvalidInputError, match="another name"):
                    tracker.log_artifact(path)
        for folder in ("../up", "/abs", "", "a/../../b", "a\\b", "\0", "a#b"):
            with pytest.raises(InvalidInputError):
                tracker.log_artifact(good, folder)
        for name in ("", "a/b", "a:b", "..", "n" * 251):
            with pytest.raises(InvalidInputError):
                tracker.log_model(good, registered_model_name=name)


def test_an_unreadable_folder_is_refused_not_left_out(
    tracker: MLflowTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _bundle(tmp_path)
    scandir = os.scandir

    def denied(path: Any) -> Any:  # root may read everything, so permissions alone would not do
        if os.fspath(path).endswith("sub dir"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with tracker.start_run(), pytest.raises(UnsafeModelError, match="Permission denied"):
        tracker.log_model(model)


def test_an_artifact_may_be_a_directory(tracker: MLflowTracker, client: Any, tmp_path: Path) -> None:
    with tracker.start_run() as run:
        tracker.log_artifact(_bundle(tmp_path), "reports")
    names = {a.path for a in client.list_artifacts(run.run_id, "reports/bundle")}
    assert names == {f"reports/bundle/{name}" for name in ("empty", "sub dir", "weights.bin")}


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_server_takes_the_whole_story(
    mlflow: Any, uri: str, server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    tracker = MLflowTracker(server, f"over http {kind}")
    client = mlflow.MlflowClient(tracking_uri=server)
    with tracker.start_run("outer") as outer:
        tracker.log_params({f"p{i}": "é" * 3000 for i in range(110)})
        tracker.log_metrics({"é" * 240 + f" {i}": i for i in range(1100)}, step=3)
        with tracker.start_run() as inner:
            tracker.set_tag("k", "v")
    assert capsys.readouterr().out == ""
    stored = client.get_run(outer.run_id)
    assert (len(stored.data.params), len(stored.data.metrics), stored.info.status) == (110, 1100, "FINISHED")
    assert client.get_run(inner.run_id).data.tags["mlflow.parentRunId"] == outer.run_id
    _check_registration(mlflow, tracker, client, tmp_path, kind)
    assert not (tmp_path / "mlruns").exists()


def test_a_server_that_is_away_is_an_error_with_a_hint_within_seconds(uri: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(StorageUnavailableError) as failure:
            MLflowTracker(f"http://user:secret@{address}").start_run()
    assert time.monotonic() - started < 20
    assert failure.value.hint
    assert "secret" not in str(failure.value)
    assert address in failure.value.message


def test_a_server_that_goes_away_fails_calls_but_never_hides_the_callers_error(
    uri: str, tracker: MLflowTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, client: Any
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused")

    def block() -> None:
        with tracker.start_run():
            monkeypatch.setattr(client._tracking_client.store, "update_run_info", away)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        block()
    assert "could not be marked as failed" in caplog.text
    assert tracker.get_run_id() is None

    monkeypatch.undo()
    run_id = tracker.start_run().run_id
    with monkeypatch.context() as patch:
        patch.setattr(client._tracking_client.store, "update_run_info", away)
        with pytest.raises(StorageUnavailableError, match="could not end the run") as failure:
            tracker.end_run()
        assert failure.value.hint
    assert tracker.get_run_id() == run_id  # so that it can be ended later
    tracker.end_run()
    assert client.get_run(run_id).info.status == "FINISHED"


def test_what_mlflow_refuses_is_an_error_of_ours(uri: str) -> None:
    for address in ("nosuch://host", "./mlruns"):
        with pytest.raises(SentinelError, match="MLflow at"):
            MLflowTracker(address).start_run()


def test_unusable_constructor_arguments_are_refused() -> None:
    for arguments in [{"tracking_uri": ""}, {"tracking_uri": 3}, {"experiment_name": " "}, {"artifact_location": ""}]:
        with pytest.raises(InvalidInputError):
            MLflowTracker(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError):
        mlflow_inputs.check_step("1")
