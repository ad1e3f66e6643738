"""Whatever is passed, the answer is a value or one of this package's errors, and it says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.errors import InvalidInputError, SentinelError, StorageUnavailableError, UnsafeModelError
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.ab_testing import ABTestManager
from sentinelzer0.storage.database import Database
from sentinelzer0.workspace import Workspace


@pytest.mark.parametrize("location", [None, b"models", 5, "", "a\0b", "\ud800", "mysql://host/x", "postgresql://[x"])
def test_no_place_for_a_workspace(location: Any) -> None:
    with pytest.raises(InvalidInputError):
        Workspace.open(location)


def test_a_file_is_no_workspace(model_file: Path) -> None:
    for location in (model_file, f"postgresql://nowhere/x?blobs={model_file}"):
        with pytest.raises(InvalidInputError, match="is a file") as refused:
            Workspace.open(location)
        assert "directory" in refused.value.hint
    assert model_file.read_bytes().startswith(b"weights")


def test_what_is_no_path_is_refused(kernel: Kernel, model_file: Path) -> None:
    ws = Workspace(kernel)
    ws.versions.create_version(model_file, "v1")
    for path in (None, b"x", 5, "", "a\0b"):
        odd: Any = path
        for call in (
            lambda path: ws.registry.set_policy(path, set_by="ayse", reason="stricter"),
            lambda path: ws.registry.attach_evidence("v1", path, "malware-scan", "ayse", passed=True),
            ws.versions.create_version,
            ABTestManager,
        ):
            with pytest.raises(InvalidInputError):
                call(odd)


def test_the_root_of_a_disk_is_no_model(kernel: Kernel) -> None:
    with pytest.raises(UnsafeModelError, match="'/' has no name"):
        Workspace(kernel).versions.create_version("/")


def test_a_database_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    database = Database(f"sqlite:///{tmp_path / 'sentinelzer0.db'}")
    raw, _ = database.lease()
    raw.execute("PRAGMA query_only=ON")
    database.give_back(raw, None, sound=True)
    with pytest.raises(StorageUnavailableError, match="cannot be written") as refused, database.writing() as connection:
        connection.script("DELETE FROM audit_head")
    assert "Even reading needs that" in refused.value.hint
    database.close()


def test_a_report_that_cannot_be_written_says_so(kernel: Kernel, tmp_path: Path, model_file: Path) -> None:
    ab = Workspace(kernel).ab_tests
    test = ab.create_test("t", "v1", "v2")
    for path in (tmp_path, model_file / "report.html"):
        with pytest.raises(StorageUnavailableError, match="Writing"):
            ab.report(test.test_id, path)


def test_a_file_in_the_place_of_the_tests_says_so(kernel: Kernel) -> None:
    kernel.layout.ab_tests.write_text("mine")
    with pytest.raises(StorageUnavailableError, match="ab_tests"):
        Workspace(kernel).ab_tests  # noqa: B018
    assert kernel.layout.ab_tests.read_text() == "mine"


@pytest.mark.parametrize("number", ["x", 2.5, None, True, [], -1, 10**30], ids=str)
def test_a_number_of_a_record(kernel: Kernel, number: Any) -> None:
    audit = Workspace(kernel).audit
    for call in (audit.inclusion_proof, audit.consistency_proof):
        with pytest.raises(SentinelError):
            call(number)


def test_records_before_any_number(kernel: Kernel) -> None:
    audit = Workspace(kernel).audit
    everything = audit.records()
    assert everything
    for subject in (None, "workspace:this"):
        assert audit.records(subject, before=10**30) == audit.records(subject, before=10**400) == everything
        assert audit.records(subject, before=0) == audit.records(subject, before=-(10**30)) == []
        for wrong in ("x", 2.5, True):
            with pytest.raises(InvalidInputError, match="before"):
                audit.records(subject, before=wrong)  # type: ignore[arg-type]


def test_more_tags_than_a_statement_can_hold(kernel: Kernel, model_file: Path) -> None:
    versions = Workspace(kernel).versions
    for number in range(9):
        versions.create_version(model_file, f"v{number}", tags=[f"t{number * 70}", "t5", "t500"])
    tags = [f"t{number}" for number in range(600)]
    assert [v.version for v in versions.list_versions(tags=tags)] == [f"v{number}" for number in range(8, -1, -1)]
    assert [v.version for v in versions.list_versions(tags=tags, limit=2)] == ["v8", "v7"]


def test_a_value_that_no_database_keeps_is_bad_input(kernel: Kernel) -> None:
    with kernel.read() as view:
        for odd in ("a\ud800b",):
            with pytest.raises(InvalidInputError, match="cannot be stored"):
                view.ab_tests.get(odd)
