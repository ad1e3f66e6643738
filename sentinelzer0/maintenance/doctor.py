"""The doctor: examines everything the workspace promises, says what to do line by line, mends what is safe to mend.

Safe to mend is what is derived: readable files, metadata files, the tag index, leftovers of a crash. What is the
truth (state, audit log, bytes) is never changed here: it comes back from a backup, or from
:mod:`sentinelzer0.maintenance.rebuild`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from sentinelzer0.domain.identity import Actor, subject_of_version
from sentinelzer0.domain.versions import Version
from sentinelzer0.errors import LegacyWorkspaceError, SentinelError
from sentinelzer0.kernel import SYSTEM, Kernel, write_json
from sentinelzer0.maintenance import content_checks, measurement_checks, operation_checks, state_checks
from sentinelzer0.maintenance.collection import collect
from sentinelzer0.maintenance.report import Check, Report, Status
from sentinelzer0.mlops.integrity import content_of, view_path
from sentinelzer0.mlops.version_facts import immutable_facts

__all__ = ["Check", "Report", "Status", "examine", "examine_at", "repair"]

REPAIR = "workspace:files:repair"
ASIDE = "damaged"


def examine(kernel: Kernel, *, deep: bool = True) -> Report:
    """Examine a workspace.

    Args:
        kernel: The open workspace.
        deep: Also hash every byte of every version, verify the whole audit log and compare every state row with it.
    """
    lines: list[Check] = []

    def run(name: str, check: Callable[[], Check]) -> None:
        try:
            lines.append(check())
        except SentinelError as error:
            lines.append(Check(name, Status.FAIL, error.message, error.hint or state_checks.RESTORE))
        except (ValueError, KeyError, TypeError) as error:
            # A row that was written by something else can be anything; that is what is looked for here.
            lines.append(Check(name, Status.FAIL, f"Something stored cannot be read: {error}.", state_checks.RESTORE))

    versions = _Living(kernel)
    run("database", lambda: state_checks.check_database(kernel))
    if deep:
        run("audit log", lambda: state_checks.check_audit(kernel))
        run("state equals audit log", lambda: state_checks.check_state(kernel))
    run("tag index", lambda: state_checks.check_tags(kernel))
    run("A/B statistics", lambda: measurement_checks.check_measurements(kernel))
    run("bytes", lambda: content_checks.check_bytes(kernel, versions.list(), deep=deep))
    run("readable files", lambda: content_checks.check_views(kernel, versions.list()))
    run("metadata files", lambda: content_checks.check_metadata(kernel, versions.list()))
    run("deployments", lambda: operation_checks.check_deployments(kernel, deep=deep))
    run("approvals", lambda: operation_checks.check_waivers(kernel))
    run("break-glass", lambda: operation_checks.check_break_glass(kernel))
    run("quarantine", lambda: operation_checks.check_quarantine(kernel))
    run("re-hashes", lambda: operation_checks.check_rechecks(kernel))
    run("open requests", lambda: operation_checks.check_requests(kernel))
    run("health", lambda: operation_checks.check_health(kernel))
    run("signing key", lambda: operation_checks.check_signing_key(kernel))
    run("checkpoint", lambda: operation_checks.check_checkpoint(kernel))
    run("unused bytes", lambda: content_checks.check_orphans(kernel))
    run("temporary files", lambda: content_checks.check_temps(kernel))
    run("files of version 3.3", lambda: operation_checks.check_legacy(kernel))
    run("disk", lambda: operation_checks.check_disk(kernel))
    return Report(str(kernel.layout.root), tuple(lines))


def examine_at(location: str | os.PathLike[str], *, deep: bool = True) -> Report:
    """Examine the workspace at a location, also one that is too damaged to be opened.

    Raises:
        LegacyWorkspaceError: The directory holds files of version 3.3 that were not imported.
        InvalidInputError: The location is no directory and no address of a database.
    """
    try:
        kernel = Kernel(location)
    except LegacyWorkspaceError:
        raise
    except SentinelError as error:
        if isinstance(error, ValueError):
            raise
        fix = error.hint if "doctor" not in error.hint else state_checks.RESTORE
        return Report(
            os.fspath(location), (Check("database", Status.FAIL, error.message, fix or state_checks.RESTORE),)
        )
    try:
        return examine(kernel, deep=deep)
    finally:
        kernel.close()


def repair(kernel: Kernel, *, actor: str | Actor = SYSTEM) -> list[str]:
    """Mend what is derived: readable files, metadata files, the tag index, leftovers of a crash.

    A readable file that was changed is moved aside, never deleted. Running it twice does nothing the second time.

    Returns:
        What was done, one sentence each; empty when nothing had to be.
    """
    done: list[str] = []
    subjects: list[str] = []
    for version in content_checks.living_versions(kernel):
        mended = [*_mend_view(kernel, version), *_mend_metadata(kernel, version)]
        if mended:
            done += mended
            subjects.append(subject_of_version(version.model, version.version))
    wrong_tags = state_checks.check_tags(kernel).status is not Status.PASS
    if done or wrong_tags:
        with kernel.begin(actor, REPAIR, "workspace:this") as tx:
            if wrong_tags:
                done.append(
                    f"The tag index was built again: {state_checks.counted(tx.state.rebuild_tag_index(), 'tag')}."
                )
            tx.record(None, "workspace:this", *subjects, detail={"done": done[:1000]})
    temps = collect(kernel, content_checks.CRASHED, temps_only=True, actor=actor).temps
    if temps:
        done.append(f"Removed, of crashed programs: {state_checks.counted(len(temps), 'temporary file')}.")
    return done


class _Living:
    """The living versions, read once, by the first check that needs them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._versions: list[Version] | None = None

    def list(self) -> list[Version]:
        if self._versions is None:
            self._versions = content_checks.living_versions(self._kernel)
        return self._versions


def _mend_view(kernel: Kernel, version: Version) -> list[str]:
    if not content_checks.view_problems(kernel, version) or kernel.blobs.check(content_of(version)):
        return []  # damaged bytes cannot be made readable; the check of the bytes says what to do
    directory = kernel.layout.version_directory(version.model, version.version)
    done = []
    if os.path.lexists(directory):
        aside = _aside(kernel, directory.name)
        directory.rename(aside)
        done.append(f"The changed files of {version.version} were moved to {aside.name}.")
    view_path(kernel, version)
    return [*done, f"The readable files of {version.version} were made again."]


def _aside(kernel: Kernel, name: str) -> Path:
    directory = kernel.layout.root / ASIDE
    directory.mkdir(exist_ok=True)
    return directory / f"{kernel.now():%Y%m%dT%H%M%S%f}-{name}"


def _mend_metadata(kernel: Kernel, version: Version) -> list[str]:
    if not content_checks.metadata_problem(kernel, version):
        return []
    path = kernel.layout.metadata_file(version.model, version.version)
    write_json(path, immutable_facts(version))
    return [f"{path.name} was written again."]
