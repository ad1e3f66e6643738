"""Versions as a user sees them: what comes back, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sentinelzer0.domain.versions import ModelStage
from sentinelzer0.errors import (
    AlreadyExistsError,
    ApprovalRequiredError,
    IllegalTransitionError,
    IntegrityError,
    InUseError,
    InvalidInputError,
    InvalidMetricError,
    InvalidNameError,
    ModelFileNotFoundError,
    NotFoundError,
    QuarantinedError,
    SourceChangedError,
    UnsafeModelError,
    VersionNotFoundError,
)
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelMetadata, ModelVersion, ModelVersionManager, VersionStatus
from tests.workspace_state import records, refusals, require_no_effect, require_sound, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentinelzer0.kernel import Kernel
    from sentinelzer0.testing import FakeClock

ROOT = Path(__file__).resolve().parents[2]
NO_NAMES: list[Any] = [
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "..",
    "",
    " ",
    "x" * 10_000,
    "\u0430",
    "caf\u00e9",
    "cafe\u0301",
    "\ud800",
]
NO_NAMES += [7, b"v1", None, ["v1"], True]


@pytest.fixture
def manager(kernel: Kernel) -> ModelVersionManager:
    return ModelVersionManager(kernel=kernel)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    top = tmp_path / "bundle"
    (top / "sub").mkdir(parents=True)
    (top / "weights.bin").write_bytes(b"w" * 1000)
    (top / "sub" / "threshold.json").write_text('{"threshold": 0.5}')
    return top


# What comes back


def test_the_fields_stand_in_the_order_of_the_contract() -> None:
    assert [f.name for f in fields(ModelMetadata)] == [
        "version",
        "created_at",
        "created_by",
        "framework",
        "framework_version",
        "model_type",
        "architecture",
        "hyperparameters",
        "training_dataset",
        "training_metrics",
        "validation_metrics",
        "test_metrics",
        "file_hash",
        "file_size",
        "status",
        "tags",
        "notes",
        "parent_version",
    ]
    assert [f.name for f in fields(ModelVersion)][:4] == ["version", "status", "metadata", "model_path"]


def test_a_version_with_every_fact(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v0")
    made = manager.create_version(
        model_file,
        "v1",
        "ana",
        {"f1": 0.5},
        {"depth": 3, "nested": {"a": [1, None]}},
        "first\nline",
        ["x", "x", "\u4e09"],
        "v0",
        framework="sklearn",
        framework_version="1.6",
        model_type="tree",
        architecture={"layers": 2},
        validation_metrics={"f1": 1e20, "tiny": 5e-324},
        test_metrics={"f1": -0.0},
        training_dataset="nsl-kdd",
    )
    meta = made.metadata
    assert (made.version, made.status, made.stage) == ("v1", VersionStatus.DEVELOPMENT, ModelStage.NONE)
    assert meta.file_hash == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert meta.file_size == model_file.stat().st_size
    assert meta.created_at.tzinfo is not None
    assert (meta.created_by, meta.notes, meta.tags, meta.parent_version) == (
        "ana",
        "first\nline",
        ["x", "\u4e09"],
        "v0",
    )
    assert made.model_path.read_bytes() == model_file.read_bytes()
    assert manager.get_version("v1") == made
    assert ModelVersion.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert ModelMetadata.from_dict(json.loads(json.dumps(meta.to_dict()))) == meta
    assert meta.to_dict()["created_at"] == meta.created_at.isoformat()
    facts = json.loads((manager.metadata_dir / "v1.json").read_text())
    assert facts["file_hash"] == meta.file_hash
    assert not {"status", "tags", "notes"} & set(facts)
    edited = manager.edit_version("v1", notes="large numbers survive an edit")
    assert edited.metadata.validation_metrics == {"f1": 1e20, "tiny": 5e-324}
    require_sound(manager.kernel)


def test_unset_means_empty(manager: ModelVersionManager, model_file: Path) -> None:
    meta = manager.create_version(model_file).metadata
    unset = meta.to_dict()
    for name in ("version", "created_at", "file_hash", "file_size"):
        del unset[name]
    assert unset.pop("created_by") == "system"
    assert unset.pop("status") == "development"
    assert not any(unset.values())


def test_metadata_takes_its_fields_by_position() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    meta = ModelMetadata("v1", at, "ana", "torch")
    version = ModelVersion("v1", VersionStatus.STAGING, meta, Path("x"))
    assert (meta.framework, version.status) == ("torch", "staging")
    with pytest.raises(FrozenInstanceError):
        meta.notes = "x"  # type: ignore[misc]


def test_generated_names_are_unique_and_sort_by_time(manager: ModelVersionManager, model_file: Path) -> None:
    names = [manager.create_version(model_file).version for _ in range(5)]
    assert sorted(set(names)) == names


def test_a_directory_is_one_version(manager: ModelVersionManager, directory: Path) -> None:
    made = manager.create_version(directory, "v1")
    assert made.metadata.file_size == 1000 + len('{"threshold": 0.5}')
    assert (made.model_path / "sub" / "threshold.json").read_text() == '{"threshold": 0.5}'
    with manager.open_verified("v1") as content:
        assert content.names() == ["sub/threshold.json", "weights.bin"]
        assert content.read("weights.bin") == b"w" * 1000
        with pytest.raises(NotFoundError):
            content.read("other")
    require_sound(manager.kernel)


def test_what_the_caller_gave_stays_his_and_what_he_got_is_a_snapshot(
    manager: ModelVersionManager, model_file: Path
) -> None:
    metrics, parameters, tags = {"f1": 0.5}, {"nested": {"a": [1]}}, ["x"]
    made = manager.create_version(model_file, "v1", training_metrics=metrics, hyperparameters=parameters, tags=tags)
    parameters["nested"]["a"].append(2)
    metrics["f1"] = 0.9
    tags.append("y")
    as_dict = made.to_dict()
    as_dict["metadata"]["hyperparameters"]["nested"]["a"].append(3)
    as_dict["metadata"]["training_metrics"]["f1"] = 7
    assert made.metadata.hyperparameters == {"nested": {"a": [1]}}
    assert made.metadata.training_metrics == {"f1": 0.5}
    later = manager.promote_version("v1", "staging")
    assert (made.status, later.status) == ("development", "staging")
    assert manager.get_version("v1") == later


def test_names_belong_to_a_model(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v1")
    other = manager.create_version(model_file, "v1", model="dns")
    assert other.model == "dns"
    assert [v.model for v in manager.list_versions()] == ["default"]
    assert [v.model for v in manager.list_versions(model="dns")] == ["dns"]
    assert manager.get_version("v1", model="none") is None
    assert other.model_path.exists()
    require_sound(manager.kernel)


def test_the_view_is_live_and_read_only(manager: ModelVersionManager, model_file: Path) -> None:
    view = manager.versions
    assert list(view) == []
    made = manager.create_version(model_file, "v1")
    manager.create_version(model_file, "v2")
    assert list(view) == ["v1", "v2"], "oldest first"
    assert view["v1"] == made
    assert len(view) == 2
    assert "v3" not in view
    assert "v1" in repr(view)
    with pytest.raises(KeyError):
        view["v3"]
    with pytest.raises(TypeError, match="create_version"):
        view["v3"] = made  # type: ignore[index]
    with pytest.raises(TypeError, match="create_version"):
        del view["v1"]  # type: ignore[attr-defined]
    for name in ("base_dir", "versions_dir", "metadata_dir", "versions"):
        with pytest.raises(AttributeError):
            setattr(manager, name, None)


def test_comparison(manager: ModelVersionManager, model_file: Path, tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "bigger").write_bytes(model_file.read_bytes() + b"12345")
    manager.create_version(model_file, "v1", training_metrics={"f1": 0.5, "z": 0.0}, hyperparameters={"a": 1, "b": 2})
    clock.advance(seconds=10)
    manager.create_version(
        tmp_path / "bigger",
        "v2",
        training_metrics={"f1": 0.75, "z": 1.0},
        test_metrics={"f1": 0.7},
        hyperparameters={"a": 1},
    )
    found = manager.compare_versions("v1", "v2")
    assert found["metrics_comparison"]["f1"] == {
        "version1": 0.5,
        "version2": 0.75,
        "diff": 0.25,
        "percent_change": 50.0,
    }
    assert found["metrics_comparison"]["z"]["percent_change"] is None
    assert found["test_metrics_comparison"]["f1"]["version1"] is None
    assert found["hyperparameters_diff"] == {"b": {"version1": 2, "version2": None}}
    assert found["file_size_diff"] == 5
    assert found["created_at_diff"] == pytest.approx(10, abs=0.1)
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(VersionNotFoundError):
        manager.compare_versions("v1", "v3")


def test_lineage(manager: ModelVersionManager, model_file: Path) -> None:
    for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "c")):
        manager.create_version(model_file, name, parent_version=parent)
    found = manager.lineage("b")
    assert [row["version"] for row in found["ancestors"]] == ["a"]
    assert [row["version"] for row in found["descendants"]] == ["c", "d", "e"]
    assert json.loads(json.dumps(found)) == found


# Listing


def test_listing_newest_first_by_status_and_any_tag(manager: ModelVersionManager, model_file: Path) -> None:
    for name, tags in (("v1", ["a"]), ("v2", ["b"]), ("v3", ["a", "b"]), ("v4", []), ("v5", ["c"])):
        manager.create_version(model_file, name, tags=tags)
    manager.promote_version("v3", "staging")
    manager.promote_version("v1", "deprecated")

    def names(*args: Any, **kwargs: Any) -> list[str]:
        return [version.version for version in manager.list_versions(*args, **kwargs)]

    assert names() == ["v5", "v4", "v3", "v2", "v1"]
    assert names(tags=["a"]) == ["v3", "v1"]
    assert names(tags=["a", "b"]) == ["v3", "v2", "v1"]
    assert names(tags=["a", "b", "c"], limit=2) == ["v5", "v3"]
    assert names(tags=["nothing"]) == []
    assert names(tags=[]) == names(tags=None) == names()
    assert names("staging") == names(VersionStatus.STAGING) == ["v3"]
    assert names("development") == ["v5", "v4", "v2"]
    assert names("deprecated") == ["v1"]
    assert names("deprecated", tags=["a", "b"]) == ["v1"]
    assert names("staging", tags=["a"]) == ["v3"]
    assert names(limit=0) == []
    assert names(limit=10**30) == names()
    assert manager.get_latest_version().version == "v5"
    assert manager.get_latest_version("staging").version == "v3"
    assert manager.get_latest_version("production") is None
    manager.edit_version("v3", tags=["z"])
    assert names(tags=["a"]) == ["v1"]
    assert names(tags=["z"]) == ["v3"]
    require_sound(manager.kernel)


def test_pages_neither_repeat_nor_lose_while_others_insert(manager: ModelVersionManager, model_file: Path) -> None:
    old = [f"v{n}" for n in range(7)]
    for name in old:
        manager.create_version(model_file, name)
    seen: list[str] = []
    cursor = None
    for step in range(10):
        page = manager.list_versions(limit=2, cursor=cursor)
        if not page:
            break
        seen += [version.version for version in page]
        cursor = seen[-1]
        manager.create_version(model_file, f"new{step}")
    assert seen == list(reversed(old))


def test_a_page_goes_on_behind_a_version_that_was_deleted(manager: ModelVersionManager, model_file: Path) -> None:
    for name in ("v1", "v2", "v3"):
        manager.create_version(model_file, name)
    manager.delete_version("v2")
    assert [v.version for v in manager.list_versions(cursor="v2")] == ["v1"]


@pytest.mark.parametrize("limit", [-1, 1.5, "5", True, math.nan])
def test_bad_limits(manager: ModelVersionManager, limit: Any) -> None:
    with pytest.raises(InvalidInputError):
        manager.list_versions(limit=limit)


# Unknown names: get_* returns None, verbs raise


def test_unknown_and_impossible_names(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v1")
    for name in ["v2", "V1", *NO_NAMES]:
        assert manager.get_version(name) is None
        assert name not in manager.versions
        for call in (
            lambda name=name: manager.promote_version(name, "staging"),
            lambda name=name: manager.delete_version(name),
            lambda name=name: manager.verify_integrity(name),
            lambda name=name: manager.lineage(name),
            lambda name=name: manager.edit_version(name, notes="x"),
            lambda name=name: manager.compare_versions("v1", name),
            lambda name=name: manager.open_verified(name),
        ):
            require_no_effect(manager.kernel, VersionNotFoundError, call)
    for cursor in ["v2", *(name for name in NO_NAMES if name is not None)]:
        require_no_effect(manager.kernel, VersionNotFoundError, lambda c=cursor: manager.list_versions(cursor=c))
    for model in NO_NAMES:
        assert manager.get_version("v1", model=model) is None
        assert manager.list_versions(model=model) == []
        assert manager.get_production_version(model=model) is None


# Refused creation


def test_names_that_cannot_be_created(manager: ModelVersionManager, model_file: Path) -> None:
    for name in NO_NAMES:
        if name is not None:
            require_no_effect(manager.kernel, InvalidNameError, lambda n=name: manager.create_version(model_file, n))
        require_no_effect(
            manager.kernel, InvalidNameError, lambda n=name: manager.create_version(model_file, "v1", model=n)
        )
    for person in ["", " ", "a/b", "a\nb", "a\0", "..", "x" * 10_000, "p\u0430ypal", None, 7]:
        require_no_effect(
            manager.kernel, InvalidNameError, lambda p=person: manager.create_version(model_file, "v1", p)
        )
    for tags in ["abc", ["a/b"], ["a\0"], [""], [7], [None], ["x" * 10_000], ["p\u0430ypal"], {1, "a"}, 7]:
        require_no_effect(
            manager.kernel, InvalidNameError, lambda t=tags: manager.create_version(model_file, "v1", tags=t)
        )


def test_facts_that_cannot_be_kept(manager: ModelVersionManager, model_file: Path) -> None:
    for value in [math.nan, math.inf, -math.inf, "0.9", None, True, [1.0], 10**400]:
        for which in ("training_metrics", "validation_metrics", "test_metrics"):
            facts = {which: {"f1": value}}
            require_no_effect(
                manager.kernel, InvalidMetricError, lambda f=facts: manager.create_version(model_file, "v1", **f)
            )
    for which, value in itertools.product(
        ("hyperparameters", "architecture"), ([1], {"a": math.nan}, {"a": object()}, {"a": "\ud800"})
    ):
        facts = {which: value}
        require_no_effect(
            manager.kernel, InvalidInputError, lambda f=facts: manager.create_version(model_file, "v1", **f)
        )
    for which, value in itertools.product(
        ("notes", "framework", "framework_version", "model_type", "training_dataset"),
        (None, 7, "a\0b", "\ud800", "x" * 100_001),
    ):
        facts = {which: value}
        require_no_effect(
            manager.kernel, InvalidInputError, lambda f=facts: manager.create_version(model_file, "v1", **f)
        )


def test_twins_of_a_tag_are_one(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v1", tags=["cafe\u0301", "caf\u00e9"])
    assert [v.metadata.tags for v in manager.list_versions(tags=["cafe\u0301"])] == [["caf\u00e9"]]


def test_a_taken_name_is_refused_whoever_took_it(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "Rc1")
    for name in ("Rc1", "rc1", "RC1"):
        require_no_effect(
            manager.kernel,
            AlreadyExistsError,
            lambda n=name: manager.create_version(model_file, n, "eve"),
            recorded=True,
        )
    manager.delete_version("Rc1")
    error = require_no_effect(
        manager.kernel, AlreadyExistsError, lambda: manager.create_version(model_file, "Rc1"), recorded=True
    )
    assert "deleted" in error.message
    assert refusals(manager.kernel)[0] == ("version:content:create", "eve", "already_exists")


def test_parents_must_exist(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "gone")
    manager.delete_version("gone")
    other = model_file.with_name("other")
    other.write_bytes(b"bytes that are not there yet")
    for parent in ["v0", "gone", "v1", *(name for name in NO_NAMES if name is not None)]:
        for name in ("v1", None):
            require_no_effect(
                manager.kernel,
                VersionNotFoundError,
                lambda n=name, p=parent: manager.create_version(other, n, parent_version=p),
            )


def bad_sources(tmp_path: Path) -> Iterator[tuple[str, type[Exception], Any]]:
    (tmp_path / "real").write_bytes(b"x")
    yield "missing", ModelFileNotFoundError, tmp_path / "missing"
    yield "below a file", ModelFileNotFoundError, tmp_path / "real" / "x"
    yield "nul", InvalidInputError, "a\0b"
    yield "empty path", InvalidInputError, ""
    yield "long", ModelFileNotFoundError, "x" * 10_000
    (tmp_path / "empty").touch()
    yield "empty", UnsafeModelError, tmp_path / "empty"
    (tmp_path / "link").symlink_to(tmp_path / "real")
    yield "symlink", UnsafeModelError, tmp_path / "link"
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    yield "dangling symlink", UnsafeModelError, tmp_path / "dangling"
    os.mkfifo(tmp_path / "pipe")
    yield "pipe", UnsafeModelError, tmp_path / "pipe"
    yield "device", UnsafeModelError, "/dev/null"
    for kind in ("symlink", "directory symlink", "pipe", "socket", "nothing", "empty directories"):
        top = tmp_path / f"directory with {kind}"
        (top / "below").mkdir(parents=True)
        if kind not in {"nothing", "empty directories"}:
            (top / "weights").write_bytes(b"x")
        match kind:
            case "symlink":
                (top / "below" / "link").symlink_to("../weights")
            case "directory symlink":
                (top / "link").symlink_to(tmp_path)
            case "pipe":
                os.mkfifo(top / "below" / "pipe")
            case "socket":
                here = Path.cwd()  # the path of a socket must be short
                os.chdir(top)
                with socket.socket(socket.AF_UNIX) as listener:
                    listener.bind("socket")
                os.chdir(here)
        yield kind, UnsafeModelError, top
    for kind, odd in (("newline", b"a\nb"), ("not unicode", b"a\xff")):
        odd_file = tmp_path / os.fsdecode(odd)
        odd_file.write_bytes(b"x")
        yield kind, UnsafeModelError, odd_file


def test_models_that_cannot_be_taken_in(manager: ModelVersionManager, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    for kind, expected, source in bad_sources(tmp_path / "sources"):
        for name in ("v1", None):
            error = require_no_effect(
                manager.kernel,
                expected,
                lambda n=name, s=source: manager.create_version(s, n),  # type: ignore[arg-type]
            )
            if expected is ModelFileNotFoundError:
                assert isinstance(error, FileNotFoundError), kind
    for source in (None, 7, b"model.pt", ["a"]):
        require_no_effect(manager.kernel, InvalidInputError, lambda s=source: manager.create_version(s, "v1"))


UNREADABLE = """
import os, sys
from sentinelzer0.errors import UnsafeModelError
from sentinelzer0.mlops.version_manager import ModelVersionManager
ModelVersionManager(sys.argv[1] + "-first").list_versions()  # loads what loads late, while all of it can be read
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
manager = ModelVersionManager(sys.argv[1])
for source in sys.argv[2:]:
    try:
        manager.create_version(source, "v1")
    except UnsafeModelError as error:
        assert "cannot be read" in error.message, error.message
    else:
        sys.exit(f"{source} was accepted")
assert manager.list_versions() == []
print("refused")
"""


def test_an_unreadable_model(tmp_path: Path) -> None:
    """As somebody who is not root, because root can read everything."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "secret").write_bytes(b"x")
    (own / "directory").mkdir()
    (own / "directory" / "secret").write_bytes(b"x")
    (own / "closed").mkdir()
    (own / "closed" / "weights").write_bytes(b"x")
    command = [sys.executable, "-c", UNREADABLE, "workspace", "secret", "directory", "closed"]
    for path, mode in (("secret", 0), ("directory/secret", 0), ("closed", 0o300)):
        (own / path).chmod(mode)
    if os.geteuid() == 0:
        for path in (own, *own.rglob("*")):
            os.chown(path, 65534, 65534)
        for parent in own.parents:
            if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/pytest-of-root"):
                parent.chmod(0o755)
    paths = [str(ROOT), *(path for path in sys.path if path)]
    done = subprocess.run(
        command,
        cwd=own,
        env={"PYTHONPATH": os.pathsep.join(paths), "HOME": str(own), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    (own / "closed").chmod(0o700)
    assert done.stdout == "refused\n", done.stderr


def test_a_file_that_changes_while_it_is_copied(manager: ModelVersionManager, tmp_path: Path) -> None:
    source = tmp_path / "changing"
    source.write_bytes(os.urandom(3_000_000))

    def touch(done: int, total: int) -> None:
        with source.open("r+b") as stream:
            stream.write(os.urandom(8))

    require_no_effect(manager.kernel, SourceChangedError, lambda: manager.create_version(source, "v1", progress=touch))
    assert manager.create_version(source, "v1").metadata.file_hash == hashlib.sha256(source.read_bytes()).hexdigest()


def test_progress_counts_to_the_size(manager: ModelVersionManager, directory: Path) -> None:
    steps: list[tuple[int, int]] = []
    manager.create_version(directory, "v1", progress=lambda done, total: steps.append((done, total)))
    assert steps[0][0] == 0
    assert steps[-1] == (1018, 1018)


# Stages


def arrange(manager: ModelVersionManager, model_file: Path, status: str, name: str) -> None:
    manager.create_version(model_file, name)
    path = {
        "new": [],
        "development": ["development"],
        "staging": ["staging"],
        "production": ["staging", "production"],
        "archived": ["archived"],
        "deprecated": ["deprecated"],
    }[status]
    for step in path:
        manager.promote_version(name, step)


def test_the_whole_table_through_the_manager(manager: ModelVersionManager, model_file: Path) -> None:
    legal = {
        "new": {"development", "staging", "archived", "deprecated"},
        "development": {"staging", "archived", "deprecated"},
        "staging": {"production", "development", "archived", "deprecated"},
        "production": {"archived"},
        "archived": {"development", "deprecated"},
        "deprecated": {"archived"},
    }
    for status, targets in legal.items():
        for target in VersionStatus:
            name = f"{status}-{target}"
            arrange(manager, model_file, status, name)
            if status == "production":
                arrange(manager, model_file, "production", f"{name}-successor")  # so that it serves no longer
            if target.value in targets:
                assert manager.promote_version(name, target, promoted_by="ana", reason="why").status is target
                record = records(manager.kernel)[-1]
                assert (record.action, record.reason) == ("version:stage:promote", "why")
                assert record.detail["to"] == target.value
            else:
                require_no_effect(
                    manager.kernel,
                    IllegalTransitionError,
                    lambda n=name, t=target: manager.promote_version(n, t),
                    recorded=True,
                )
    for target in ["none", "", "Production", None, 7, "live"]:
        require_no_effect(manager.kernel, InvalidInputError, lambda t=target: manager.promote_version("new-staging", t))
    require_sound(manager.kernel)


def test_promotion_is_audited_as_unapproved_and_deploys(manager: ModelVersionManager, model_file: Path) -> None:
    arrange(manager, model_file, "production", "v1")
    assert manager.get_production_version().version == "v1"
    record = records(manager.kernel)[-1]
    assert "not registered: waived by policy default" in record.detail["approval"]
    assert {change["table"] for change in record.after} == {"versions", "deployments"}
    arrange(manager, model_file, "production", "v2")
    assert manager.get_production_version().version == "v2", "several may hold the stage: the most recent one"
    assert [v.version for v in manager.list_versions("production")] == ["v2", "v1"]


def test_a_registered_version_needs_its_approval(manager: ModelVersionManager, model_file: Path) -> None:
    arrange(manager, model_file, "staging", "v1")
    ModelRegistry(manager).register_model("v1")
    require_no_effect(
        manager.kernel, ApprovalRequiredError, lambda: manager.promote_version("v1", "production"), recorded=True
    )


def test_what_serves_is_not_archived(manager: ModelVersionManager, model_file: Path) -> None:
    arrange(manager, model_file, "production", "v1")
    require_no_effect(manager.kernel, InUseError, lambda: manager.promote_version("v1", "archived"), recorded=True)


def test_a_quarantined_version_does_not_come_back_by_itself(manager: ModelVersionManager, model_file: Path) -> None:
    from dataclasses import replace

    arrange(manager, model_file, "staging", "v1")
    with manager.kernel.begin("system", "rollback:deployment:execute", "version:default/v1") as tx:
        before = tx.versions.get("default", "v1")
        tx.versions.put(replace(before, quarantined_at=tx.now, quarantine_reason="recall collapsed"), before)
        tx.record()
    error = require_no_effect(
        manager.kernel, QuarantinedError, lambda: manager.promote_version("v1", "production"), recorded=True
    )
    assert "recall collapsed" in error.message


# Integrity


def blob_of(manager: ModelVersionManager, digest: str) -> Path:
    path = manager.kernel.blobs.path(digest)
    path.chmod(0o644)
    return path


def test_damaged_bytes_are_seen_and_go_nowhere(manager: ModelVersionManager, model_file: Path) -> None:
    made = manager.create_version(model_file, "v1")
    assert manager.verify_integrity("v1") is True
    blob = blob_of(manager, made.metadata.file_hash)
    content = bytearray(blob.read_bytes())
    content[7] ^= 1
    blob.write_bytes(content)
    assert manager.verify_integrity("v1") is False
    assert "v1" not in " ".join(manager.integrity_problems("v1")) or manager.integrity_problems("v1")
    for target in ("staging",):
        require_no_effect(
            manager.kernel, IntegrityError, lambda t=target: manager.promote_version("v1", t), recorded=True
        )
    with manager.open_verified("v1") as model, pytest.raises(IntegrityError):
        model.read()
    assert manager.promote_version("v1", "archived").status == "archived", "the way out stays open"


@pytest.mark.parametrize("damage", ["changed", "missing", "extra", "manifest"])
def test_a_damaged_directory(manager: ModelVersionManager, directory: Path, damage: str) -> None:
    made = manager.create_version(directory, "v1")
    weights = hashlib.sha256(b"w" * 1000).hexdigest()
    view = made.model_path
    if damage == "changed":
        blob_of(manager, weights).write_bytes(b"v" * 1000)
    elif damage == "missing":
        blob_of(manager, weights).unlink()
    elif damage == "extra":
        view.chmod(0o755)
        (view / "extra").write_bytes(b"x")
    else:
        blob_of(manager, made.metadata.file_hash).write_bytes(b"{}")
    assert manager.verify_integrity("v1") is False
    assert manager.get_version("v1").version == "v1"
    if damage != "extra":
        with pytest.raises(IntegrityError):
            manager.promote_version("v1", "staging")


def test_a_readable_view_is_rebuilt_when_it_is_missing(manager: ModelVersionManager, model_file: Path) -> None:
    made = manager.create_version(model_file, "v1")
    shutil.rmtree(made.model_path.parent)
    assert manager.get_version("v1").model_path.read_bytes() == model_file.read_bytes()


def test_a_version_counts_although_its_readable_files_cannot_be_written(
    manager: ModelVersionManager, model_file: Path
) -> None:
    """They are written after the commit and can be rebuilt: their failure must not look like a failed creation."""
    manager.metadata_dir.parent.joinpath("metadata").write_bytes(b"in the way")
    manager.versions_dir.write_bytes(b"in the way")
    made = manager.create_version(model_file, "v1")
    assert manager.get_version("v1") == made
    assert manager.verify_integrity("v1") is False, "the view is not there"
    assert manager.delete_version("v1") is True
    assert manager.get_version("v1") is None
    require_sound(manager.kernel)


# Deleting


def test_deleting_leaves_a_tombstone(manager: ModelVersionManager, model_file: Path) -> None:
    made = manager.create_version(model_file, "v1", tags=["x"])
    assert manager.delete_version("v1", deleted_by="ana", reason="stale") is True
    assert manager.get_version("v1") is None
    assert manager.list_versions() == manager.list_versions(tags=["x"]) == []
    assert not made.model_path.exists()
    assert not (manager.metadata_dir / "v1.json").exists()
    with pytest.raises(VersionNotFoundError, match="deleted"):
        manager.delete_version("v1")
    record = records(manager.kernel)[-1]
    assert (record.action, record.actor.name, record.reason) == ("version:content:delete", "ana", "stale")
    require_sound(manager.kernel)


def test_what_is_referenced_is_not_deleted(manager: ModelVersionManager, model_file: Path, clock: FakeClock) -> None:
    registry = ModelRegistry(manager)

    def refused(name: str, *, force: bool = False) -> None:
        require_no_effect(manager.kernel, InUseError, lambda: manager.delete_version(name, force=force), recorded=True)

    manager.create_version(model_file, "parent")
    manager.create_version(model_file, "child", parent_version="parent")
    refused("parent")
    refused("parent", force=True)
    arrange(manager, model_file, "production", "old")
    refused("old")
    refused("old", force=True)
    arrange(manager, model_file, "production", "new")
    refused("old")
    assert manager.delete_version("old", force=True)
    manager.create_version(model_file, "asked")
    registry.register_model("asked")
    registry.request_promotion("asked", "staging", "ana")
    refused("asked")
    refused("asked", force=True)
    clock.advance(days=15)
    assert manager.delete_version("asked"), "an expired request holds nothing back: nobody could close it"
    manager.delete_version("child")
    assert manager.delete_version("parent")
    require_sound(manager.kernel)


def test_shared_bytes_outlive_one_of_their_names(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v1")
    manager.create_version(model_file, "v2")
    manager.delete_version("v1")
    assert manager.verify_integrity("v2")


def test_editing(manager: ModelVersionManager, model_file: Path) -> None:
    manager.create_version(model_file, "v1", tags=["a"], notes="n")
    assert manager.edit_version("v1", tags=["b"], edited_by="ana").metadata.notes == "n"
    assert manager.edit_version("v1", notes="").metadata.tags == ["b"]
    assert manager.edit_version("v1", tags=[]).metadata.tags == []
    require_no_effect(manager.kernel, InvalidNameError, lambda: manager.edit_version("v1", tags=["a/b"]))
    require_no_effect(manager.kernel, InvalidInputError, lambda: manager.edit_version("v1", notes="a\0"))
    assert [record.actor.name for record in records(manager.kernel)[-3:]] == ["ana", "system", "system"]
    require_sound(manager.kernel)


def test_one_name_goes_to_one_of_many_threads(manager: ModelVersionManager, model_file: Path) -> None:
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def create() -> None:
        barrier.wait()
        try:
            manager.create_version(model_file, "v1")
            outcomes.append("made")
        except AlreadyExistsError:
            outcomes.append("refused")

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made"] + ["refused"] * 5
    assert len(refusals(manager.kernel)) == 5
    require_sound(manager.kernel)


def test_a_directory_with_any_name_can_be_a_workspace(tmp_path: Path, model_file: Path) -> None:
    for name in ("a b", "a?b", "a#b", "a%20b", "\u4e09", "a;b=c&d"):
        manager = ModelVersionManager(tmp_path / name)
        manager.create_version(model_file, "v1")
        manager.kernel.close()
        again = ModelVersionManager(base_dir=tmp_path / name)
        assert [v.version for v in again.list_versions()] == ["v1"]
        assert (tmp_path / name / "sentinelzer0.db").exists()
        again.kernel.close()


def test_times_are_those_of_the_clock(manager: ModelVersionManager, model_file: Path, clock: FakeClock) -> None:
    clock.advance(days=3)
    made = manager.create_version(model_file, "v1")
    assert timedelta(0) < clock.now() - made.metadata.created_at < timedelta(seconds=1)
    assert state(manager.kernel)["versions"][0]["created_at"].endswith("Z")
