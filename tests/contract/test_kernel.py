"""Transactions: all or nothing, never without a record, typed errors from every driver failure, safe under fork."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text

from sentinelzer0.domain.identity import Actor
from sentinelzer0.domain.policies import DEFAULT
from sentinelzer0.errors import (
    ConflictError,
    CorruptWorkspaceError,
    InUseError,
    InvalidInputError,
    InvalidNameError,
    LegacyWorkspaceError,
    RefusedError,
    SchemaVersionError,
    StorageFullError,
    StorageUnavailableError,
    UnauditedWriteError,
    WorkspaceError,
)
from sentinelzer0.kernel import Kernel
from sentinelzer0.mlops.model_registry import ModelRegistry
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.storage import database as database_module
from sentinelzer0.storage.database import Statement
from sentinelzer0.storage.transaction import Reader, Transaction
from sentinelzer0.workspace import Workspace
from tests.processes import in_children
from tests.workspace_state import records, refusals, require_sound, state, tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sentinelzer0.testing import FakeClock


def some_policy(kernel: Kernel) -> Any:
    with kernel.read() as view:
        return view.policies.in_force()


def test_a_new_workspace_starts_with_one_record_that_carries_the_policy(kernel: Kernel) -> None:
    (genesis,) = records(kernel)
    assert (genesis.seq, genesis.action) == (0, "workspace:create:done")
    assert genesis.actor == Actor("system", "internal")
    assert [change["table"] for change in genesis.after] == ["policies"]
    assert genesis.detail == {"workspace_id": kernel.workspace_id}
    assert some_policy(kernel).digest == DEFAULT.digest
    require_sound(kernel)


def test_opening_again_changes_nothing(kernel: Kernel, location: str) -> None:
    before = tables(kernel)
    again = Kernel(location)
    assert again.workspace_id == kernel.workspace_id
    again.close()
    assert tables(kernel) == before


def test_an_exception_rolls_everything_back(kernel: Kernel) -> None:
    before = tables(kernel)
    policy = some_policy(kernel)
    with pytest.raises(ZeroDivisionError), kernel.begin("ana", "policy:rules:install", "policy:x") as tx:
        tx.policies.put(replace(policy, revision=2))
        tx.record()
        raise ZeroDivisionError
    assert tables(kernel) == before


def test_a_refusal_rolls_back_is_recorded_and_raised(kernel: Kernel) -> None:
    before = state(kernel)
    policy = some_policy(kernel)
    with pytest.raises(InUseError), kernel.begin("ana", "policy:rules:install", "policy:x") as tx:
        tx.policies.put(replace(policy, revision=2))
        tx.record()
        raise InUseError("It is in use.")
    assert state(kernel) == before
    record = records(kernel)[-1]
    assert (record.outcome, record.reason, record.after) == ("refused", "It is in use.", ())
    assert (record.actor, record.action, record.subjects) == (
        Actor("ana", "asserted"),
        "policy:rules:install",
        ("policy:x",),
    )
    assert record.detail == {"code": "in_use"}
    require_sound(kernel)


def test_state_never_changes_without_a_record(kernel: Kernel) -> None:
    before = tables(kernel)
    policy = some_policy(kernel)
    with pytest.raises(UnauditedWriteError, match="policies"), kernel.begin("ana", "policy:rules:install") as tx:
        tx.policies.put(replace(policy, revision=2))
    with pytest.raises(UnauditedWriteError), kernel.begin("ana", "policy:rules:install") as tx:
        tx.policies.put(replace(policy, revision=2))
        tx.record()
        tx.policies.put(replace(policy, revision=3))
    for reading in (kernel.read, kernel.record_outcomes):
        with pytest.raises(UnauditedWriteError), reading() as view:
            view.policies.put(replace(policy, revision=2))
    assert tables(kernel) == before


def test_one_transaction_may_make_several_records(kernel: Kernel) -> None:
    with kernel.begin("ana", "a:b:c", "x:1") as tx:
        first = tx.record()
        assert tx.next_seq == first.seq + 1
        second = tx.record("a:b:d", "x:2", "x:2", reason="why", detail={"n": 1})
    assert [record.seq for record in records(kernel)] == [0, 1, 2]
    assert (second.action, second.subjects) == ("a:b:d", ("x:2", "x:2"))
    require_sound(kernel)


def test_a_transaction_has_one_time(kernel: Kernel, clock: FakeClock) -> None:
    with kernel.begin("ana", "a:b:c") as tx:
        clock.advance(hours=1)
        assert tx.record().time == tx.now


@pytest.mark.parametrize("actor", ["", " ", "a\nb", "a\0", "a" * 10_000, None, 7], ids=lambda a: repr(a)[:10])
def test_an_actor_without_an_acceptable_name_does_nothing(kernel: Kernel, actor: Any) -> None:
    before = tables(kernel)
    with pytest.raises(InvalidNameError), kernel.begin(actor, "a:b:c") as tx:
        tx.record()
    assert tables(kernel) == before


def test_a_read_sees_one_state(kernel: Kernel) -> None:
    with kernel.read() as view:
        before = view.audit.counts()
        with kernel.begin("ana", "a:b:c") as tx:
            tx.record()
        assert view.audit.counts() == before
        assert view.audit.head().size == before[0]
    with kernel.read() as view:
        assert view.audit.counts()[0] == before[0] + 1


def test_threads_append_one_after_another(kernel: Kernel) -> None:
    def work(name: str) -> None:
        for _ in range(10):
            with kernel.begin(name, "a:b:c", f"x:{name}") as tx:
                tx.record()

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(kernel)) == 61
    require_sound(kernel)


def test_more_threads_than_connections_wait_or_are_told(kernel: Kernel) -> None:
    """Every thread gets its turn: nobody sees an error of the connection pool."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(40)

    def work() -> None:
        barrier.wait()
        try:
            with kernel.read() as view:
                view.audit.counts()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_many_processes_open_a_new_workspace_at_once(location: str) -> None:
    def open_and_write(number: int) -> None:
        kernel = Kernel(location)
        with kernel.begin(f"p{number}", "a:b:c") as tx:
            tx.record()
        kernel.close()

    in_children(open_and_write, 8)
    kernel = Kernel(location)
    assert len(records(kernel)) == 9
    require_sound(kernel)
    kernel.close()


def test_a_workspace_made_half_by_a_crash_is_finished_when_opened(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died between creating the tables and writing the first record."""
    with monkeypatch.context() as patch:
        patch.setattr(Kernel, "_initialise", lambda self: (_ for _ in ()).throw(ZeroDivisionError))
        with pytest.raises(ZeroDivisionError):
            Kernel(location)
    kernel = Kernel(location)
    assert len(records(kernel)) == 1
    require_sound(kernel)
    kernel.close()


def test_children_of_a_fork_write_and_the_parents_end_loses_nothing(location: str) -> None:
    """A parent that opened the workspace forks, then closes: what children write afterwards is kept."""
    kernel = Kernel(location)
    with kernel.begin("parent", "a:b:c") as tx:
        tx.record()
    ready, go = os.pipe(), os.pipe()

    def write(number: int) -> None:
        with kernel.read() as view:
            view.audit.counts()
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        for _ in range(5):
            with kernel.begin(f"child{number}", "a:b:c") as tx:
                tx.record()

    def release() -> None:
        for _ in range(4):
            os.read(ready[0], 1)
        kernel.close()  # the last connection of this process: an embedded database tidies up here
        os.write(go[1], b"xxxx")

    in_children(write, 4, meanwhile=release)
    for end in (*ready, *go):
        os.close(end)
    assert len(records(kernel)) == 22
    require_sound(kernel)
    kernel.close()


def test_a_child_forked_inside_a_transaction_of_another_thread_is_told(tmp_path: Path) -> None:
    """Its copy of the locks is not real, so it must not touch the file."""
    kernel = Kernel(tmp_path / "workspace")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with kernel.read():
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(20)

    def use(_: int) -> None:
        with pytest.raises(StorageUnavailableError, match="fork"), kernel.read():
            pass

    try:
        in_children(use, 1)
    finally:
        leave.set()
        thread.join()
    with kernel.read() as view:
        assert view.audit.counts() == (1, 0)
    kernel.close()


def test_children_of_a_fork_choose_differently(tmp_path: Path) -> None:
    """Traffic that is split by chance must not be split the same way in every worker."""
    kernel = Kernel(tmp_path / "workspace")
    pipe = os.pipe()
    in_children(lambda _: os.write(pipe[1], kernel.random.randbytes(8)), 4)
    os.close(pipe[1])
    with os.fdopen(pipe[0], "rb") as stream:
        drawn = stream.read()
    assert len({drawn[i : i + 8] for i in range(0, 32, 8)} | {kernel.random.randbytes(8)}) == 5
    kernel.close()


class DriverIntegrityError(sqlite3.IntegrityError):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite3.OperationalError("database or disk is full"), StorageFullError),
        (sqlite3.OperationalError("disk I/O error"), StorageUnavailableError),
        (sqlite3.OperationalError("database is locked"), StorageUnavailableError),
        (sqlite3.OperationalError("attempt to write a readonly database"), StorageUnavailableError),
        (sqlite3.DatabaseError("database disk image is malformed"), CorruptWorkspaceError),
        (sqlite3.DatabaseError("file is not a database"), CorruptWorkspaceError),
        (sqlite3.OperationalError("Could not decode to UTF-8 column 'body' with text 'x'"), CorruptWorkspaceError),
        (sqlite3.IntegrityError("UNIQUE constraint failed: versions.folded"), ConflictError),
        (sqlite3.IntegrityError("UNIQUE constraint failed: fully_locked.not a database"), ConflictError),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), StorageUnavailableError),
    ],
    ids=str,
)
def test_every_error_of_the_driver_becomes_one_of_ours(
    tmp_path: Path, error: sqlite3.Error, expected: type[Exception]
) -> None:
    kernel = Kernel(tmp_path / "workspace")
    with pytest.raises(expected) as caught, kernel.database.writing():
        raise error
    assert caught.value.__cause__ is error
    assert str(error) in str(caught.value) or "locked" in str(error)
    kernel.close()


def test_a_name_with_full_in_it_is_a_conflict_not_a_full_disk(kernel: Kernel) -> None:
    insert = Statement(text("INSERT INTO settings (key, value) VALUES ('full locked', 'no space left')"))
    with kernel.database.writing() as connection:
        connection.run(insert)
    with pytest.raises(ConflictError), kernel.database.writing() as connection:
        connection.run(insert)


def rows_methods(view: Reader) -> list[tuple[str, Callable[[], Any]]]:
    """Every public method of every rows class that takes a statement to the database, with arguments."""
    import inspect

    made: dict[str, Any] = {"model": "m", "version": "v", "environment": "e", "limit": 1, "digest": "d", "lock": False}
    made |= {"frontier": view.audit.head(), "test_id": "t", "request_id": "r", "moment": view.now, "at": view.now}
    made |= {"status": None, "stage": None, "first": 0, "end": 1, "level": 0, "position": 0, "subject": "s"}
    found = []
    for noun in ("audit", "versions", "registry", "policies", "deployments", "rollbacks"):
        rows = getattr(view, noun)
        for name, method in inspect.getmembers(rows, inspect.ismethod):
            needed = [
                p.name for p in inspect.signature(method).parameters.values() if p.default is inspect.Parameter.empty
            ]
            if name.startswith("_") or name == "put" or not set(needed) <= set(made):
                continue
            found.append((f"{noun}.{name}", lambda method=method, needed=needed: method(*(made[n] for n in needed))))
    return found


def test_every_method_of_the_rows_fails_with_a_typed_error_when_the_database_is_gone(kernel: Kernel) -> None:
    with kernel.read() as view:
        names = [name for name, _ in rows_methods(view)]
    assert len(names) > 25
    for name in names:
        with pytest.raises(WorkspaceError) as caught, kernel.read() as view:
            method = dict(rows_methods(view))[name]
            view.connection._raw.close()
            found = method()
            if found is not None and not isinstance(found, list | tuple | set):
                list(found)  # a generator asks when it is read
        assert caught.value.code == "storage_unavailable", name
    with kernel.read() as view:
        assert view.audit.counts() == (1, 0)


@pytest.mark.postgres
def test_a_killed_connection_is_a_typed_error_and_the_next_call_works(
    kernel: Kernel, location: str, model_file: Path
) -> None:
    if kernel.database.is_sqlite:
        return
    manager, registry = ModelVersionManager(kernel=kernel), None
    manager.create_version(model_file, "v1")
    before = state(kernel)
    with pytest.raises(StorageUnavailableError), kernel.begin("ana", "a:b:c") as tx:
        tx.policies.put(replace(tx.policies.in_force(), revision=2))
        tx.record()
        terminate_others(location)
        tx.versions.get("default", "v1")
    assert state(kernel) == before
    with pytest.raises(StorageUnavailableError), kernel.begin("ana", "a:b:c") as tx:
        tx.policies.put(replace(tx.policies.in_force(), revision=2))
        tx.record()
        terminate_others(location)  # the next that notices is the commit
    assert state(kernel) == before
    terminate_others(location)  # between two calls: the pool replaces what died
    registry = ModelRegistry(manager)
    assert registry.register_model("v1").stage == "development"
    require_sound(kernel)


def terminate_others(location: str) -> None:
    with psycopg.connect(location.partition("&blobs")[0]) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError):
        Kernel(f"postgresql://nobody@/none?host={tmp_path}&blobs={tmp_path / 'blobs'}")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for place, error in (
        (tmp_path / "file", InvalidInputError),
        (tmp_path / "file" / "below", StorageUnavailableError),
    ):
        with pytest.raises(error) as caught:
            Kernel(place)
        assert str(place) in str(caught.value)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "sentinelzer0.db").write_bytes(b"not a database, but long enough to be looked at " * 100)
    with pytest.raises(CorruptWorkspaceError):
        Kernel(tmp_path)


def test_a_schema_of_another_release(kernel: Kernel, location: str) -> None:
    with kernel.database.writing() as connection:
        connection.run(Statement(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(SchemaVersionError, match="9999"):
        Kernel(location)


@pytest.mark.parametrize("url", ["mysql://host/db", "http://x", "postgresql://host/db", "postgresql://host/db?blobs="])
def test_addresses_that_are_no_workspace(url: str) -> None:
    with pytest.raises(InvalidInputError):
        Kernel(url)


def test_files_of_version_3_3_are_never_silently_shown_empty(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "metadata_v1.json").write_text("{}")
    with pytest.raises(LegacyWorkspaceError) as caught:
        Kernel(tmp_path)
    assert isinstance(caught.value, ValueError)
    assert "import-legacy" in caught.value.hint
    assert not (tmp_path / "sentinelzer0.db").exists()


def test_a_database_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    kernel = Kernel(tmp_path / "workspace")
    other = sqlite3.connect(tmp_path / "workspace" / "sentinelzer0.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailableError, match="locked"), kernel.begin("ana", "a:b:c") as tx:
        tx.record()
    with kernel.read() as view:
        assert view.audit.counts() == (1, 0), "reading goes on"
    other.close()
    with kernel.begin("ana", "a:b:c") as tx:
        tx.record()
    kernel.close()


def test_a_refusal_that_cannot_be_recorded_is_not_swallowed(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal is only a refusal once it is on record."""
    begin = Transaction.finish

    def fail(self: Transaction) -> None:
        begin(self)
        raise StorageFullError("No space.")

    with pytest.raises(StorageFullError), kernel.begin("ana", "a:b:c"):
        monkeypatch.setattr(Transaction, "finish", fail)
        raise InUseError("It is in use.")
    monkeypatch.undo()
    assert refusals(kernel) == []


def test_the_workspace_offers_every_manager_and_closes(location: str, model_file: Path) -> None:
    with Workspace.open(location) as workspace:
        workspace.versions.create_version(model_file, "v1")
        workspace.registry.register_model("v1")
        assert workspace.deployments.current() is None
        assert workspace.audit.verify().intact
        assert workspace.versions.kernel is workspace.registry.kernel is workspace.kernel
    with Workspace.open(location) as again:
        assert [version.version for version in again.versions.list_versions()] == ["v1"]
    with suppress(RefusedError):
        pass
