"""How the commands of ``ab`` find the test that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sentinelzer0.cli.session import Session
from sentinelzer0.errors import ABTestNotFoundError, InvalidInputError

if TYPE_CHECKING:
    from sentinelzer0.mlops.ab_testing import ABTest
    from sentinelzer0.workspace import Workspace

Named = Annotated[str, typer.Argument(metavar="TEST", help="Its id, the unambiguous end of it, or its name.")]


def require_test(workspace: Workspace, typed: str) -> ABTest:
    """Return a test by its id, the end of it, or its name.

    Raises:
        ABTestNotFoundError: There is none.
        InvalidInputError: Several are meant.
    """
    found = workspace.ab_tests.get_test(typed)
    if found is not None:
        return found
    tests = workspace.ab_tests.list_tests()
    named = [test for test in tests if test.test_name == typed]
    if len(named) == 1:
        return named[0]
    if len(named) > 1:
        raise InvalidInputError(
            f"{len(named)} tests are named {typed!r}.",
            hint=f"Use the id: {', '.join(test.test_id for test in named)}",
        )
    full = Session.full_id(typed, tests, "test_id")
    found = workspace.ab_tests.get_test(full)
    if found is None:
        raise ABTestNotFoundError(f"There is no A/B test {typed!r}.", hint="List them: sz0 ab list")
    return found


def id_of(workspace: Workspace, typed: str) -> str:
    """Return the id of a test by its id, the end of it, or its name."""
    return require_test(workspace, typed).test_id
