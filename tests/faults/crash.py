"""Use cases that die on the way: what each needs, what it does, and how to tell whether it happened.

``python -m tests.faults.crash LOCATION DIRECTORY CASE SUBJECT`` runs one in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text

from sentinelzer0.domain.policies import DEFAULT
from sentinelzer0.storage.database import Statement
from sentinelzer0.workspace import Workspace

# Every call that changes a file, and every statement: the process dies before it, and after those that settle it.
CHANGES = frozenset(
    [
        "fsync",
        "fdatasync",
        "rename",
        "replace",
        "link",
        "unlink",
        "remove",
        "rmdir",
        "mkdir",
        "write",
        "writelines",
        "truncate",
        "copy_file_range",
        "sendfile",
        "utime",
        "chmod",
        "execute",
        "executemany",
        "commit",
    ]
)
SETTLES = frozenset(("fsync", "rename", "replace", "link", "commit"))


def die_at(point: int) -> Callable[[], int]:
    """Kill this process when it comes to the given point, counted from 1; returns how to ask for the count."""
    count = 0

    def watch(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event in {"c_call", "c_return"}:
            if getattr(argument, "__name__", "") not in (CHANGES if event == "c_call" else SETTLES):
                return
        elif event != "call" or frame.f_code.co_name not in CHANGES or "psycopg" not in frame.f_code.co_filename:
            return
        count += 1
        if count == point:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(watch)
    sys.setprofile(watch)
    return lambda: count


@dataclass(frozen=True)
class Case:
    """A use case.

    Attributes:
        prepare: Makes the number-th subject (a version, a request, …) and returns its name.
        act: Does it.
        happened: Whether it is done; anything between done and not done fails a law of the workspace.
    """

    prepare: Callable[[Workspace, Path, int], str]
    act: Callable[[Workspace, Path, str], object]
    happened: Callable[[Workspace, str], bool]


def _file(directory: Path, name: str) -> Path:
    path = directory / name
    path.write_bytes(f"weights of {name} ".encode() * 10)
    return path


def _bundle(workspace: Workspace, directory: Path, number: int) -> str:
    top = directory / f"bundle{number}"
    (top / "sub").mkdir(parents=True, exist_ok=True)
    for name in ("a", "sub/b"):
        (top / name).write_text(f"{name} of {number}")
    return top.name


def _source(workspace: Workspace, directory: Path, number: int) -> str:
    return _file(directory, f"model{number}").name


def _created(workspace: Workspace, name: str) -> bool:
    if workspace.versions.get_version(name) is None:
        return False
    assert workspace.versions.integrity_problems(name) == []
    return True


def _staged(workspace: Workspace, directory: Path, number: int) -> str:
    name = f"v{number}"
    workspace.versions.create_version(_file(directory, name), name)
    workspace.versions.promote_version(name, "staging")
    return name


def _status(workspace: Workspace, name: str) -> str:
    found = workspace.versions.get_version(name)
    return "deleted" if found is None else found.status.value


def _serving(workspace: Workspace) -> dict[str, float]:
    current = workspace.deployments.current()
    return {} if current is None else current.weights


def _requested(workspace: Workspace, directory: Path, number: int) -> str:
    name = _staged(workspace, directory, number)
    workspace.registry.register_model(name)
    return workspace.registry.request_promotion(name, "production", "ana").request_id


def _approved(workspace: Workspace, request_id: str) -> bool:
    request = workspace.registry.approval_requests[request_id]
    done = request.status.value == "approved"
    assert (_status(workspace, request.version) == "production") is done
    assert (_serving(workspace) == {request.version: 1.0}) is done
    return done


def _promoted(workspace: Workspace, name: str) -> bool:
    done = _status(workspace, name) == "production"
    assert (_serving(workspace) == {name: 1.0}) is done
    return done


def _in_force(workspace: Workspace, name: str) -> bool:
    with workspace.kernel.read() as view:
        return view.policies.in_force().name == name


def _bad(workspace: Workspace, directory: Path, number: int) -> str:
    if workspace.versions.get_version("good") is None:
        workspace.versions.create_version(_file(directory, "good"), "good")
        workspace.versions.promote_version("good", "staging")
        workspace.versions.promote_version("good", "production")
    name = _staged(workspace, directory, number)
    workspace.versions.promote_version(name, "production")
    return name


def _rolled_back(workspace: Workspace, name: str) -> bool:
    done = _serving(workspace) == {"good": 1.0}
    assert _status(workspace, name) == ("staging" if done else "production")
    assert [event.from_version for event in workspace.rollback.get_rollback_history(1)].count(name) == done
    return done


def _running_test(workspace: Workspace, directory: Path, number: int) -> str:
    tests = workspace.ab_tests.list_tests()
    test = tests[0] if tests else workspace.ab_tests.create_test("t", "a", "b")
    if not tests:
        workspace.ab_tests.start_test(test.test_id)
    return f"{test.test_id}:r{number}"


def _record(workspace: Workspace, directory: Path, subject: str) -> None:
    test_id, _, request_id = subject.partition(":")
    workspace.ab_tests.record_result(test_id, "a", True, 5.0, 0.9, 1, 1, request_id=request_id)


def _recorded(workspace: Workspace, subject: str) -> bool:
    test_id, _, request_id = subject.partition(":")
    count = Statement(text("SELECT COUNT(*), SUM(CASE WHEN request_id = :request_id THEN 1 ELSE 0 END) FROM outcomes"))
    with workspace.kernel.read() as view:
        outcomes, own = view.connection.rows(count, {"request_id": request_id})[0]
    assert workspace.ab_tests.get_test_results(test_id)["metrics_a"]["total_requests"] == outcomes
    return bool(own)


CASES = {
    "create": Case(_source, lambda w, d, name: w.versions.create_version(d / name, name), _created),
    "create_directory": Case(_bundle, lambda w, d, name: w.versions.create_version(d / name, name), _created),
    "promote": Case(_staged, lambda w, d, name: w.versions.promote_version(name, "production"), _promoted),
    "approve": Case(_requested, lambda w, d, request: w.registry.approve_promotion(request, "ben"), _approved),
    "delete": Case(
        _staged, lambda w, d, name: w.versions.delete_version(name), lambda w, name: _status(w, name) == "deleted"
    ),
    "policy": Case(
        lambda w, d, number: f"policy{number}",
        lambda w, d, name: w.registry.set_policy(replace(DEFAULT, name=name), set_by="ana", reason="test"),
        _in_force,
    ),
    "rollback": Case(_bad, lambda w, d, name: w.rollback.execute_rollback(name, "good", "recall fell"), _rolled_back),
    "record": Case(_running_test, _record, _recorded),
}


def run(location: str, directory: Path, case: str, subject: str) -> None:
    """Do one use case in a workspace of one's own."""
    with Workspace.open(location) as workspace:
        CASES[case].act(workspace, directory, subject)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])
