"""Large models through the public API: speed against plain copying and hashing, memory, and the way back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.bench_blobs import copy_and_sync, cores_worth, file_digest, random_file
from benchmarks.measuring import Row, alternating, percentile, seconds, spread
from sentinelzer0.mlops.version_manager import ModelVersionManager
from sentinelzer0.workspace import Workspace

MIB = 1024 * 1024


def create_row(directory: Path, mib: int, rounds: int) -> Row:
    """`create_version` of one file against the slower of copying it and hashing it."""
    source = random_file(directory / "model", mib)
    copies, digests, creates = [], [], []
    for _ in range(rounds):
        copies.append(seconds(lambda: copy_and_sync(source, directory / "copy")))
        (directory / "copy").unlink()
        digests.append(seconds(lambda: file_digest(source)))
        manager = ModelVersionManager(directory / "workspace")
        creates.append(seconds(lambda manager=manager: manager.create_version(source, "v1")))  # type: ignore[misc]
        manager.kernel.close()
        shutil.rmtree(directory / "workspace")
        os.sync()  # what was freed is not written back while the next round is measured
    source.unlink()
    slower = max(median(copies), median(digests))
    speed = slower / median(creates)
    pairs = [max(pair[:2]) / pair[2] for pair in zip(copies, digests, creates, strict=True)]
    return Row(
        f"create_version, one file of {mib} MiB",
        ">= 0.85x",
        f"{speed:.2f}x",
        speed >= 0.85,
        f"{rounds} rounds; copy_file_range + fsync: {spread(copies, 1, 's')}; file_digest: {spread(digests, 1, 's')}; "
        f"create_version: {spread(creates, 1, 's')}; round by round {min(pairs):.2f}x to {max(pairs):.2f}x",
    )


_MEMORY = """
import sys
from pathlib import Path
from sentinelzer0.mlops.version_manager import ModelVersionManager
def peak():  # of this program alone; ru_maxrss would start with the peak of the parent
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
manager = ModelVersionManager(sys.argv[1])
warm = Path(sys.argv[1], "warm")
warm.write_bytes(bytes(2_000_000))
manager.create_version(warm, "warm")
before = peak()
manager.create_version(sys.argv[2], "large")
print((peak() - before) / 1024)
"""


def memory_row(directory: Path, mib: int) -> Row:
    """Growth of the peak memory of a program while it creates a version."""
    source = random_file(directory / "model", mib)
    command = [sys.executable, "-c", _MEMORY, directory / "workspace", source]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    growth = float(done.stdout)
    shutil.rmtree(directory / "workspace")
    source.unlink()
    return Row(
        f"create_version, one file of {mib} MiB, growth of peak memory",
        "< 64 MB",
        f"{growth * MIB / 1e6:.1f} MB",
        growth * MIB < 64e6,
        "VmHWM of a program of its own, after a first small version",
    )


def verify_rows(directory: Path, mib: int, rounds: int) -> list[Row]:
    """`verify_integrity` of one file and of a directory of eight, against `hashlib.file_digest` on one core."""
    with Workspace.open(directory / "workspace") as workspace:
        source = random_file(directory / "model", mib)
        one = workspace.versions.create_version(source, "one").model_path
        source.unlink()
        for number in range(8):
            random_file(directory / "parts" / f"part-{number}", max(1, mib // 8))
        top = workspace.versions.create_version(directory / "parts", "many").model_path
        shutil.rmtree(directory / "parts")
        parts = sorted(top.iterdir())
        file_times = alternating(lambda: workspace.versions.verify_integrity("one"), lambda: file_digest(one), rounds)
        worth = [cores_worth() for _ in range(3)]
        directory_times = alternating(
            lambda: workspace.versions.verify_integrity("many"), lambda: [file_digest(part) for part in parts], rounds
        )
    shutil.rmtree(directory / "workspace")
    file_speed, directory_speed = (median(raw) / median(ours) for ours, raw in (file_times, directory_times))
    cores = len(os.sched_getaffinity(0))
    return [
        Row(
            f"verify_integrity, one file of {mib} MiB",
            ">= 0.95x",
            f"{file_speed:.2f}x",
            file_speed >= 0.95,
            f"{rounds} pairs; file_digest: {spread(file_times[1], 1, 's')}",
        ),
        Row(
            f"verify_integrity, directory of 8 x {max(1, mib // 8)} MiB, {cores} cores",
            ">= 1.7x",
            f"{directory_speed:.2f}x",
            directory_speed >= 1.7,
            f"{rounds} pairs; file_digest one after the other: {spread(directory_times[1], 1, 's')}; two plain threads "
            f"that hash memory reached {median(worth):.2f}x of one just then",
        ),
    ]


def rollback_rows(directory: Path, mib: int, rounds: int) -> list[Row]:
    """`execute_rollback` to a large target whose full verification is fresh."""
    times, verifications = [], set()
    with Workspace.open(directory / "workspace") as workspace:
        for name in ("v1", "v2"):
            workspace.versions.create_version(random_file(directory / "model", mib), name)
            workspace.versions.promote_version(name, "staging")
            workspace.versions.promote_version(name, "production")
        bad, good = "v2", "v1"
        for _ in range(rounds):
            found = []
            times.append(seconds(lambda: found.append(_back(workspace, bad, good))))  # noqa: B023
            verifications.add(str(found[0]).partition("(")[0])
            workspace.rollback.finish_rechecks()  # a full hash follows each, and is fresh for the next
            workspace.rollback.release(bad, "dave", "the cause was found")
            bad, good = good, bad
    shutil.rmtree(directory / "workspace")
    p99 = percentile(times, 99) * 1e3
    return [
        Row(
            f"execute_rollback to a target of {mib} MiB, verified within the hour, p99",
            "< 50 ms",
            f"{p99:.1f} ms",
            p99 < 50 and verifications == {"cached"},
            f"{rounds} rollbacks, {spread(times, 1e3, 'ms')}; verification {', '.join(sorted(verifications))}",
        )
    ]


def _back(workspace: Workspace, bad: str, good: str) -> object:
    event = workspace.rollback.execute_rollback(bad, good, "recall collapsed", triggered_by="carol")
    assert event.success
    return event.details["verification"]
