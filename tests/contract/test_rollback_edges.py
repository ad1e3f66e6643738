"""Rollback where convenience fails, where input is odd, and where versions are deprecated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.rollback_team import Team, team

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["team"]  # a fixture


def foreign_file(directory: Path) -> None:
    directory.write_text("not ours")


def dangling_link(directory: Path) -> None:
    directory.mkdir()
    (directory / "v1.bin").symlink_to("nowhere")


@pytest.mark.parametrize("obstacle", [foreign_file, dangling_link])
def test_readable_files_that_cannot_be_built_stop_no_rollback(team: Team, obstacle: Callable[[Path], None]) -> None:
    team.serve("v1", "v2")
    directory = team.kernel.layout.version_directory("default", "v1")
    team.kernel.blobs.remove_view(directory)
    obstacle(directory)
    event = team.rollback.execute_rollback("v2", "v1", "recall fell")
    assert event.success
    assert team.serving() == {"v1": 1.0}
    assert event.details["target_model_path"] == str(directory / "v1.bin")
    assert team.versions.integrity_problems("v1"), "the obstacle itself is told"


def test_a_missing_readable_file_is_there_after_the_rollback(team: Team) -> None:
    team.serve("v1", "v2")
    team.kernel.blobs.remove_view(team.kernel.layout.version_directory("default", "v1"))
    event = team.rollback.execute_rollback("v2", "v1", "recall fell")
    with open(event.details["target_model_path"], "rb") as stream:  # noqa: PTH123 - the path is text
        assert stream.read() == b"weights of default v1"


def test_the_longest_names_can_be_rolled_back_to_read_and_verified(team: Team) -> None:
    model, first, second = "m" * 128, "a" * 128, "a" * 127 + "b"
    for number, name in enumerate((first, second)):
        path = team.directory / f"{number}.bin"
        path.write_bytes(f"weights {number}".encode())
        team.versions.create_version(path, name, model=model)
        team.versions.promote_version(name, "staging", model=model)
        team.versions.promote_version(name, "production", model=model)
    event = team.rollback.execute_rollback(second, None, "recall fell", model=model)
    assert (event.success, event.to_version) == (True, first)
    for name, content in ((first, b"weights 0"), (second, b"weights 1")):
        version = team.versions.get_version(name, model=model)
        assert version is not None
        assert version.model_path.read_bytes() == content
        assert team.versions.verify_integrity(name, model=model)
        assert len(os.fsencode(version.model_path.parent.name)) <= 200
