"""A workspace with very many versions: listing them, and opening it."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median

from benchmarks.measuring import Row, alternating, percentile, seconds, spread
from sentinelzer0.domain.versions import Version
from sentinelzer0.kernel import Kernel, Transaction
from sentinelzer0.workspace import Workspace

BLOBS = 16  # a file system counts the hard links of one file in 16 bits
PAGE = 100


def fill(workspace: Workspace, models: Path, count: int) -> None:
    """Add ``count`` versions in one transaction, each with its audit record and its readable file.

    Every version is tagged ``all``, every tenth ``nightly``, the oldest two hundred ``old``.
    """
    models.mkdir()
    kernel = workspace.kernel
    contents = []
    for number in range(BLOBS):
        (models / f"{number}.bin").write_bytes(os.urandom(1000))
        contents.append(kernel.blobs.put(models / f"{number}.bin"))
    with kernel.begin("ann", "version:content:create") as tx:
        for number in range(count):
            content = contents[number % BLOBS]
            tags = ["all"] + ["nightly"] * (number % 10 == 0) + ["old"] * (number < 2 * PAGE)
            _add(tx, f"v{number:06}", content, tuple(tags))
    for number in range(count):
        content = contents[number % BLOBS]
        view = kernel.layout.version_directory("default", f"v{number:06}")
        view.mkdir(parents=True)
        os.link(kernel.blobs.path(content.digest), view / content.filename)


def _add(tx: Transaction, name: str, content: object, tags: tuple[str, ...]) -> None:
    version = Version(
        seq=tx.next_seq,
        model="default",
        version=name,
        digest=content.digest,  # type: ignore[attr-defined]
        kind="file",
        size=content.size,  # type: ignore[attr-defined]
        filename=content.filename,  # type: ignore[attr-defined]
        created_at=tx.now,
        created_by="ann",
        training_metrics={"auc": 0.97, "recall": 0.91, "fpr": 0.02},
        hyperparameters={"learning_rate": 0.1, "trees": 300},
        tags=tags,
    )
    tx.versions.put(version)
    tx.record(None, f"version:default/{name}", digest=version.digest)


def rows(directory: Path, count: int, rounds: int) -> list[Row]:
    """Measure listing and opening with ``count`` versions."""
    with Workspace.open(directory / "full") as workspace:
        fill(workspace, directory / "models", count)
        listing = [_listing_row(workspace, tag, count, rounds) for tag in ("all", "nightly", "old")]
    Kernel(directory / "empty").close()
    full, empty = alternating(
        lambda: Kernel(directory / "full").close(), lambda: Kernel(directory / "empty").close(), rounds
    )
    more = (median(full) - median(empty)) * 1e3
    opening = Row(
        f"opening a workspace with {count:,} versions, beyond an empty one",
        "< 50 ms",
        f"{more:.2f} ms",
        more < 50,
        f"{rounds} pairs; full: {spread(full, 1e3, 'ms')}; empty: {spread(empty, 1e3, 'ms')}",
    )
    return [*listing, opening]


def _listing_row(workspace: Workspace, tag: str, count: int, rounds: int) -> Row:
    found = workspace.versions.list_versions(tags=[tag], limit=PAGE)
    assert [version.version for version in found] == sorted((version.version for version in found), reverse=True)
    times = [seconds(lambda: workspace.versions.list_versions(tags=[tag], limit=PAGE)) for _ in range(rounds)]
    p50 = median(times) * 1e3
    share = {"all": "every", "nightly": "every tenth", "old": "only the oldest"}[tag]
    return Row(
        f"listing {len(found)} of {count:,} versions, newest first, by a tag that {share} version has",
        "< 5 ms",
        f"{p50:.2f} ms",
        p50 < 5 and len(found) == min(PAGE, sum(tag in version.metadata.tags for version in found)),
        f"{rounds} times, p95 {percentile(times, 95) * 1e3:.2f} ms",
    )
