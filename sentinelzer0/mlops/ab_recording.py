"""Recording outcomes and labels of an A/B test: joined by request id, added to the statistics, looked at on a grid.

Everything one call says is committed together or not at all; a commit survives ``kill -9``. What comes after the end
of a test is kept and counted as late, and changes neither statistics nor verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sentinelzer0.domain.ab_tests import Look, StoredTest, TestStatus, comparison_of, decided, next_look
from sentinelzer0.domain.assignment import unit_hash
from sentinelzer0.domain.identity import is_name, subject_of_test
from sentinelzer0.domain.outcomes import (
    MAX_LATENCY_MS,
    Increment,
    Outcome,
    Progress,
    check_confidence,
    check_custom,
    check_label,
    check_latency,
    check_request_id,
    check_success,
)
from sentinelzer0.domain.scalars import plain, shown
from sentinelzer0.errors import ABTestNotFoundError, ConflictError, IllegalTransitionError, InvalidInputError
from sentinelzer0.kernel import SYSTEM, Kernel, Reader

RECORD = "ab_test:outcome:record"
LABEL = "ab_test:outcome:label"
REACH = "ab_test:verdict:reach"

_FIELDS = frozenset(
    {
        "model_version",
        "success",
        "latency_ms",
        "confidence",
        "true_label",
        "predicted_label",
        "custom_metrics",
        "request_id",
        "key",
    }
)
_NO_CUSTOM: Mapping[str, float] = {}
_OVER = frozenset(status.value for status in TestStatus if status.is_over)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of outcomes or of a label.

    Attributes:
        counted: Outcomes that now count.
        duplicates: Outcomes whose request had been recorded before; ignored.
        labelled: Requests whose label now counts, or was replaced.
        late: Outcomes or labels that came after the end of the test; kept beside the others, not counted.
        request_id: Of a single outcome or label: what a later label is joined by.
    """

    counted: int = 0
    duplicates: int = 0
    labelled: int = 0
    late: int = 0
    request_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def checked(
    kernel: Kernel,
    arms: Mapping[str, str],
    version: Any,
    success: Any,
    latency_ms: Any,
    confidence: Any = None,
    true_label: Any = None,
    predicted_label: Any = None,
    custom_metrics: Any = None,
    request_id: Any = None,
    key: Any = None,
) -> Outcome:
    """Return a checked outcome; the arguments are those of ``record_result``.

    Raises:
        InvalidInputError: Something in it is not possible; the message says what.
    """
    try:
        arm = arms[version]
    except (KeyError, TypeError):
        raise InvalidInputError(
            f"{shown(version)} is not in this test.", hint=f"Its arms are {' and '.join(arms)}."
        ) from None
    # The usual values are let through here, because a call for each costs as much as a statement.
    if type(latency_ms) is not float or not 0.0 <= latency_ms <= MAX_LATENCY_MS:
        latency_ms = check_latency(latency_ms)
    if type(confidence) is not float or not 0.0 <= confidence <= 1.0:
        confidence = check_confidence(confidence)
    return Outcome(
        kernel.ids.new("out") if request_id is None else check_request_id(request_id),
        arm,
        1 if success is True else check_success(success),
        latency_ms,
        confidence,
        1 if predicted_label is True else check_label(predicted_label, "predicted_label"),
        1 if true_label is True else check_label(true_label, "true_label"),
        None if key is None else _unit(key),
        _NO_CUSTOM if custom_metrics is None else check_custom(custom_metrics),
    )


def _checked_row(kernel: Kernel, arms: Mapping[str, str], row: Any, own_id: str) -> Outcome:
    if type(row) is not dict and not isinstance(row, Mapping):
        raise InvalidInputError(f"It is a {type(row).__name__}, not a mapping.")
    if not _FIELDS.issuperset(row):
        unknown = sorted(str(name) for name in row if name not in _FIELDS)
        raise InvalidInputError(f"There is no field {unknown[0]!r}.", hint=f"Use: {', '.join(sorted(_FIELDS))}.")
    try:
        version, success, latency = row["model_version"], row["success"], row["latency_ms"]
    except KeyError as missing:
        raise InvalidInputError(
            f"{missing.args[0]} is missing.", hint="Every row needs model_version, success and latency_ms."
        ) from missing
    get = row.get
    return checked(
        kernel,
        arms,
        version,
        success,
        latency,
        get("confidence"),
        get("true_label"),
        get("predicted_label"),
        get("custom_metrics"),
        own_id if get("request_id") is None else row["request_id"],
        get("key"),
    )


def checked_rows(kernel: Kernel, arms: Mapping[str, str], rows: Any) -> list[Outcome]:
    """Return checked outcomes.

    Raises:
        InvalidInputError: A row is not possible; the message names it, counted from 0.
    """
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise InvalidInputError(
            f"rows is a {type(rows).__name__}.", hint="Pass a list of mappings, one for each request."
        )
    outcomes: list[Outcome] = []
    base = kernel.ids.new("out")
    for number, row in enumerate(rows):
        try:
            outcomes.append(_checked_row(kernel, arms, row, f"{base}_{number}"))
        except InvalidInputError as error:
            raise type(error)(f"Row {number}: {error.message} Nothing was recorded.", hint=error.hint) from error
    return outcomes


def record(kernel: Kernel, test_id: str, outcomes: Sequence[Outcome]) -> tuple[Recorded, bool]:
    """Count outcomes in one transaction.

    Returns:
        What became of them, and whether the statistics now carry a verdict that is not latched yet.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: The test was not started; on record.
        ConflictError: A request was recorded for the other arm before; on record.
    """
    if not outcomes:
        return Recorded(), False
    try:
        with kernel.record_outcomes() as view:
            rows = view.ab_tests.outcomes
            progress = None if rows.pass_by(test_id, len(outcomes)) else _advance(view, test_id, len(outcomes))
            late = progress is not None and progress.status in _OVER
            fresh, known = outcomes, _NOTHING_KNOWN
            if not rows.insert(test_id, outcomes, view.now, late=late):
                fresh, known = _join(view, test_id, outcomes, late=late)
            labelled = known.moved
            if late:
                rows.add(test_id, _late_by_arm(fresh))
            else:
                labelled += rows.count(test_id, fresh)
                if known.moves:
                    rows.add(test_id, known.moves)
            if idle := len(outcomes) if late else known.duplicates - known.moved:
                progress = _advance(view, test_id, -idle)
            due = progress is not None and not late and progress.events >= progress.next_look
            carries = due and progress is not None and _look(view, test_id, progress.events)
    except (IllegalTransitionError, ConflictError) as refusal:
        raise kernel.refuse(SYSTEM, RECORD, (subject_of_test(test_id),), refusal) from None
    only = outcomes[0].request_id if len(outcomes) == 1 else None
    counted, too_late = (0, len(fresh)) if late else (len(fresh), 0)
    return Recorded(counted, known.duplicates, labelled, too_late, only), carries


def label(kernel: Kernel, test_id: str, request_id: str, true_label: int) -> tuple[Recorded, bool]:
    """Count the true label of a request; it is kept until the outcome comes when that is not there yet.

    Returns:
        As :func:`record`.

    Raises:
        ABTestNotFoundError: There is no such test.
        IllegalTransitionError: The test was not started; on record.
    """
    moves: dict[str, Increment] = {}
    carries = False
    try:
        with kernel.record_outcomes() as view:
            rows = view.ab_tests.outcomes
            progress = _advance(view, test_id, 0)
            late = progress.status in _OVER
            found = rows.find(test_id, request_id)
            if found is None:
                rows.add_label(test_id, request_id, true_label, view.now, late=late)
            elif found.true != true_label:
                rows.set_label(test_id, request_id, true_label)
                move = Increment()
                if not late and found.arm is not None and move.move_label(found.predicted, found.true, true_label):
                    moves[found.arm] = move
                    rows.add(test_id, moves)
                    progress = _advance(view, test_id, 1)
                    carries = progress.events >= progress.next_look and _look(view, test_id, progress.events)
    except IllegalTransitionError as refusal:
        raise kernel.refuse(SYSTEM, LABEL, (subject_of_test(test_id),), refusal) from None
    return Recorded(labelled=len(moves), late=int(late), request_id=request_id), carries


def latch(kernel: Kernel, test_id: str) -> StoredTest | None:
    """Store the verdict that the first decisive look, or the statistics as they are now, carry; it never flips.

    Returns:
        The test if this call reached its verdict, otherwise None.
    """
    with kernel.begin(SYSTEM, REACH, subject_of_test(test_id)) as tx:
        test = tx.ab_tests.get(test_id)
        if test is None or test.winner is not None or not test.status.is_open:
            return None
        after = with_verdict(tx, test)
        if after.winner is None:
            return None
        tx.ab_tests.put(after)
        tx.record(reason=after.verdict["reason"], detail={"verdict": after.verdict})
    return after


def carries_new_verdict(kernel: Kernel, test_id: object) -> bool:
    """Return whether an open test's evidence carries a verdict that is not latched yet.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    with kernel.read() as view:
        test = require_test(view, test_id)
        return test.status.is_open and test.winner is None and with_verdict(view, test).winner is not None


def with_verdict(view: Reader, test: StoredTest) -> StoredTest:
    """Return the test with the verdict its evidence carries, if any, as of the first look that carried it."""
    if test.winner is not None:
        return test
    rows = view.ab_tests.outcomes
    look = view.ab_tests.looks.first_decided(test.test_id)
    a, b = (look.a, look.b) if look else rows.look(test.test_id)
    events = look.events if look else rows.events(test.test_id)
    at, requests = look.at if look else view.now, a.requests + b.requests
    return decided(test, comparison_of(test, a, b), at, events=events, requests=requests)


def find_test(view: Reader, test_id: object) -> StoredTest | None:
    """Return a test, or None when there is none of this name, whatever the name is."""
    return view.ab_tests.get(plain(test_id)) if isinstance(test_id, str) and is_name(test_id) else None


def require_test(view: Reader, test_id: object) -> StoredTest:
    """Return a test.

    Raises:
        ABTestNotFoundError: There is no such test.
    """
    test = find_test(view, test_id)
    if test is None:
        raise not_found(test_id)
    return test


def not_found(test_id: object) -> ABTestNotFoundError:
    """Return the error for an unknown test."""
    return ABTestNotFoundError(f"There is no A/B test {shown(test_id)}.", hint="List them: sentinelzer0 ab list")


class _Known(NamedTuple):
    """What a batch says about requests that were known before."""

    moves: dict[str, Increment]
    moved: int = 0
    duplicates: int = 0


_NOTHING_KNOWN = _Known({})


def _join(view: Reader, test_id: str, outcomes: Sequence[Outcome], *, late: bool) -> tuple[Sequence[Outcome], _Known]:
    """Store outcomes one by one; return those that are new, and what the others say about labels."""
    rows = view.ab_tests.outcomes
    fresh: list[Outcome] = []
    moves: dict[str, Increment] = {}
    moved = duplicates = 0
    for number, given in enumerate(outcomes):
        found = rows.find(test_id, given.request_id)
        if found is None:
            rows.insert(test_id, [given], view.now, late=late)
            fresh.append(given)
        elif found.arm is None:
            whole = given if given.true is not None else given._replace(true=found.true)
            rows.fill_in(test_id, whole, view.now, late=late)
            fresh.append(whole)
        elif found.arm != given.arm:
            row = f"Row {number}: request" if len(outcomes) > 1 else "Request"
            raise ConflictError(
                f"{row} {given.request_id!r} was recorded for arm {found.arm} before and cannot be one of arm "
                f"{given.arm}; nothing was recorded.",
                hint="Use another request_id for another request.",
            )
        else:
            duplicates += 1
            if given.true is not None and given.true != found.true:
                rows.set_label(test_id, given.request_id, given.true)
                if not late:
                    move = moves.setdefault(given.arm, Increment())
                    moved += move.move_label(found.predicted, found.true, given.true)
    return fresh, _Known(moves, moved, duplicates)


def _late_by_arm(outcomes: Sequence[Outcome]) -> dict[str, Increment]:
    arms: dict[str, Increment] = {}
    for outcome in outcomes:
        arms.setdefault(outcome.arm, Increment()).late += 1
    return arms


def _advance(view: Reader, test_id: str, more: int) -> Progress:
    progress = view.ab_tests.outcomes.advance(test_id, more)
    if progress is None:
        raise not_found(test_id)
    if progress.status == TestStatus.SETUP.value:
        raise IllegalTransitionError(
            f"The test {test_id} was not started, so nothing can be recorded.",
            hint=f"Start it: sentinelzer0 ab start {test_id}",
        )
    return progress


def _look(view: Reader, test_id: str, events: int) -> bool:
    """Keep a look and return whether it carries a verdict that is not latched yet."""
    test = require_test(view, test_id)
    a, b = view.ab_tests.outcomes.look(test_id)
    winner = comparison_of(test, a, b).winner
    view.ab_tests.looks.add(test_id, Look(events, view.now, winner, a, b), next_look(events))
    return winner is not None and test.winner is None


def _unit(key: Any) -> str:
    unit_hash(key, 0)
    if isinstance(key, bytes):
        return key.decode("utf-8", "backslashreplace")
    return plain(key) if isinstance(key, str) else str(int(key))
