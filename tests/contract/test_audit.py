"""The audit log: complete, provable, and nothing in it can be changed without being seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from sentinelzer0.domain import merkle
from sentinelzer0.domain.signed_note import Checkpoint
from sentinelzer0.errors import InvalidInputError, NotFoundError, SentinelError
from sentinelzer0.kernel import Kernel
from sentinelzer0.maintenance import verify_audit_export
from sentinelzer0.mlops.audit_trail import AuditTrail
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.storage.database import Statement
from tests.workspace_state import folded, records, refusals, require_sound, stored

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def audit(kernel: Kernel, model_file: Path) -> AuditTrail:
    """A log with some history: versions, an approval, a refusal, a deletion."""
    manager = ModelVersionManager(kernel=kernel)
    registry = ModelRegistry(manager)
    for name in ("v1", "v2", "v3"):
        manager.create_version(model_file, name, "ana", {"f1": 1e20}, tags=["x"])
    manager.promote_version("v1", "staging")
    registry.register_model("v1")
    request = registry.request_promotion("v1", "production", "ana").request_id
    with pytest.raises(SentinelError):
        registry.approve_promotion(request, "ana")
    registry.approve_promotion(request, "ben", "good")
    manager.delete_version("v3")
    return AuditTrail(kernel)


def execute(kernel: Kernel, sql: str, **parameters: Any) -> None:
    with kernel.database.writing() as connection:
        connection.run(Statement(text(sql)), parameters)


def test_an_intact_log(audit: AuditTrail, kernel: Kernel) -> None:
    report = audit.verify()
    assert report.intact
    assert report.records == len(records(kernel)) == 10
    assert json.loads(json.dumps(report.to_dict()))["intact"] is True
    assert folded(kernel) == stored(kernel)
    assert refusals(kernel) == [("registry:promotion:approve", "ana", "approver_not_allowed")]
    require_sound(kernel)


def test_browsing(audit: AuditTrail) -> None:
    everything = audit.records()
    assert [r.seq for r in everything] == list(range(9, -1, -1))
    assert audit.records(limit=2) == everything[:2]
    assert audit.records(limit=2, before=8) == everything[2:4]
    assert audit.records(limit=0) == []
    about = audit.records("version:default/v1")
    assert about == [r for r in everything if "version:default/v1" in r.subjects]
    assert audit.records("version:default/v1", limit=1, before=about[0].seq) == about[1:2]
    assert audit.records("version:default/none") == []
    for limit in (-1, 1.5, "1", None, True):
        if limit is not None:
            with pytest.raises(InvalidInputError):
                audit.records(limit=limit)  # type: ignore[arg-type]
    for record in everything:
        assert json.loads(json.dumps(record.to_dict())) == record.to_dict()
        assert record.policy is not None or record.seq == 0
    assert [json.loads(body)["seq"] for body in audit.bodies()] == list(range(10))


TAMPERING: dict[str, Callable[[Kernel], None]] = {
    "body": lambda k: execute(k, "UPDATE audit_records SET body = REPLACE(body, 'good', 'bad!') WHERE seq = 8"),
    "body, not canonical": lambda k: execute(k, "UPDATE audit_records SET body = body || ' ' WHERE seq = 3"),
    "body, not JSON": lambda k: execute(k, "UPDATE audit_records SET body = '{' WHERE seq = 3"),
    "body, another shape": lambda k: execute(k, "UPDATE audit_records SET body = '[1]' WHERE seq = 3"),
    "time": lambda k: execute(k, "UPDATE audit_records SET time = '2020-01-01T00:00:00.000000Z' WHERE seq = 3"),
    "actor": lambda k: execute(k, "UPDATE audit_records SET actor = 'eve' WHERE seq = 3"),
    "action": lambda k: execute(k, "UPDATE audit_records SET action = 'a:b:c' WHERE seq = 3"),
    "outcome": lambda k: execute(k, "UPDATE audit_records SET outcome = 'ok' WHERE seq = 7"),
    "subject gone": lambda k: execute(k, "DELETE FROM audit_subjects WHERE seq = 3"),
    "subject more": lambda k: execute(k, "INSERT INTO audit_subjects (subject, seq) VALUES ('version:default/v9', 3)"),
    "subject renamed": lambda k: execute(k, "UPDATE audit_subjects SET subject = 'x:y' WHERE seq = 3"),
    "subject of no record": lambda k: execute(k, "INSERT INTO audit_subjects (subject, seq) VALUES ('x:y', 99)"),
    "leaf": lambda k: execute(k, "UPDATE audit_nodes SET hash = :h WHERE level = 0 AND position = 3", h=b"0" * 32),
    "inner node": lambda k: execute(
        k, "UPDATE audit_nodes SET hash = :h WHERE level = 2 AND position = 0", h=b"0" * 32
    ),
    "node gone": lambda k: execute(k, "DELETE FROM audit_nodes WHERE level = 1 AND position = 1"),
    "head size": lambda k: execute(k, "UPDATE audit_head SET size = 9"),
    "head": lambda k: execute(k, "UPDATE audit_head SET frontier = :f", f=merkle.Frontier().to_bytes()),
    "head garbage": lambda k: execute(k, "UPDATE audit_head SET frontier = :f", f=b"\xff\x00garbage"),
    "head gone": lambda k: execute(k, "DELETE FROM audit_head"),
    "middle record": lambda k: execute(k, "DELETE FROM audit_records WHERE seq = 3"),
    "first record": lambda k: execute(k, "DELETE FROM audit_records WHERE seq = 0"),
    "last record": lambda k: execute(k, "DELETE FROM audit_records WHERE seq = 9"),
    "all records": lambda k: execute(k, "DELETE FROM audit_records"),
    "renumbered": lambda k: execute(k, "UPDATE audit_records SET seq = 99 WHERE seq = 9"),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_is_seen(audit: AuditTrail, kernel: Kernel, how: str) -> None:
    TAMPERING[how](kernel)
    report = audit.verify()
    assert not report.intact
    assert all(report.problems)
    json.dumps(report.to_dict())


def rewrite_log(kernel: Kernel, bodies: list[str]) -> None:
    """What somebody with full access to the database can do: write another log, consistent in itself."""
    for table in ("audit_records", "audit_subjects", "audit_nodes"):
        execute(kernel, f"DELETE FROM {table}")
    from sentinelzer0.domain.audit import AuditRecord
    from sentinelzer0.storage.audit import AuditRows

    frontier = merkle.Frontier()
    with kernel.database.writing() as connection:
        rows = AuditRows(connection)
        for body in bodies:
            frontier = rows.append(AuditRecord.from_bytes(body), frontier)
        rows.store_head(frontier)


@pytest.mark.parametrize("how", ["last record cut off", "reason changed"])
def test_only_a_checkpoint_shows_a_log_that_was_rewritten_whole(audit: AuditTrail, kernel: Kernel, how: str) -> None:
    bodies = list(audit.bodies())
    forged = bodies[:-1] if how == "last record cut off" else [body.replace("good", "fine") for body in bodies]
    assert forged != bodies
    rewrite_log(kernel, forged)
    assert audit.verify().intact, "in itself it is a log like any other"
    rewrite_log(kernel, bodies)
    audit.checkpoint()
    assert audit.verify().checkpoints == 1
    rewrite_log(kernel, forged)
    report = audit.verify()
    assert "signed checkpoint over 10 records" in " ".join(report.problems)


def test_a_forged_checkpoint_is_seen(audit: AuditTrail, kernel: Kernel) -> None:
    audit.checkpoint()
    (note,) = kernel.layout.checkpoints.glob("*.note")
    text_ = note.read_text()
    for forged in (text_.replace("\n10\n", "\n9\n"), text_[:-8] + "AAAA" + text_[-4:], "", "no note\n"):
        note.write_text(forged)
        assert any(note.name in problem for problem in audit.verify().problems)
    note.write_bytes(b"\xff\xfe")
    assert not audit.verify().intact
    note.write_text(text_)
    assert audit.verify().intact


def test_proofs_verify_against_the_signed_checkpoint(audit: AuditTrail, kernel: Kernel, model_file: Path) -> None:
    old = Checkpoint.from_body(kernel.signer().verify(audit.checkpoint()))
    ModelVersionManager(kernel=kernel).create_version(model_file, "v4")
    new = Checkpoint.from_body(kernel.signer().verify(audit.checkpoint()))
    assert (old.size, new.size) == (10, 11)
    for seq, body in enumerate(audit.bodies()):
        proof = audit.inclusion_proof(seq)
        assert proof["root"] == new.root.hex()
        path = [bytes.fromhex(node) for node in proof["path"]]
        assert merkle.leaf_hash(body.encode()).hex() == proof["leaf"]
        assert merkle.verify_inclusion(merkle.leaf_hash(body.encode()), seq, new.size, path, new.root)
        assert not merkle.verify_inclusion(merkle.leaf_hash(b"another"), seq, new.size, path, new.root)
    proof = audit.consistency_proof(old.size)
    path = [bytes.fromhex(node) for node in proof["path"]]
    assert merkle.verify_consistency(old.size, new.size, old.root, new.root, path)
    assert not merkle.verify_consistency(old.size, new.size, new.root, new.root, path)
    for seq in (-1, 11):
        with pytest.raises(NotFoundError):
            audit.inclusion_proof(seq)
    for size in (0, -1, 12):
        with pytest.raises(NotFoundError):
            audit.consistency_proof(size)
    assert audit.verify().checkpoints == 2


def test_an_export_is_checked_by_the_stand_alone_script(audit: AuditTrail, kernel: Kernel, tmp_path: Path) -> None:
    found = audit.export(tmp_path / "export")
    assert found["records"] == 10
    script = Path(verify_audit_export.__file__)

    def check() -> subprocess.CompletedProcess[str]:
        vkey = kernel.signer().vkey
        command = [sys.executable, "-I", str(script), str(tmp_path / "export"), "--vkey", vkey]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert check().returncode == 0, check().stderr
    log = tmp_path / "export" / "audit.ndjson"
    log.write_text(log.read_text().replace("good", "fine"))
    assert check().returncode == 1


def test_many_readers_verify_while_others_write(kernel: Kernel, model_file: Path) -> None:
    import threading

    manager, done, problems = ModelVersionManager(kernel=kernel), threading.Event(), list[str]()

    def read() -> None:
        while not done.is_set():
            problems.extend(AuditTrail(kernel).verify().problems)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(15):
        manager.create_version(model_file, f"v{number}")
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []


def test_threads_sign_checkpoints_at_once(audit: AuditTrail) -> None:
    import threading

    errors: list[BaseException] = []

    def sign() -> None:
        try:
            for _ in range(5):
                audit.checkpoint()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            errors.append(error)

    threads = [threading.Thread(target=sign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert audit.verify().intact
