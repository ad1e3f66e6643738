"""``sz0 ab create``, ``edit``, ``share`` and ``assign`` as their users meet them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.cli.main import main
from sentinelzer0.workspace import Workspace


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)["data"]


Run = Callable[..., Done]


@pytest.fixture
def sz0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    Workspace.open("models").close()

    def run(*arguments: str) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code = main(arguments)
        out.flush()
        err.flush()
        return Done(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())

    return run


def test_a_whole_design_can_be_typed(sz0: Run) -> None:
    typed = (
        *("ab", "create", "new model", "v1", "v2", "--split", "0.1", "--arm", "v3=0.2", "--holdout", "0.1"),
        *("--metric", "custom:cost", "--direction", "lower", "--guardrail", "error_rate:0.01"),
        *("--guardrail", "avg_latency_ms:10%", "--guardrail", "custom:tokens:higher:5", "--minimum-effect", "0.5"),
        *("--segment", "lan", "--segment", "vpn", "--slo-ms", "250", "--label-window", "24h", "--end-at-verdict"),
        *("--deadline", "2099-01-31", "--max-samples", "5000", "-o", "json"),
    )
    done = sz0(*typed)
    assert done.code == 0, done.err
    test = done.data
    assert test["arms"] == {"v1": 0.6, "v2": 0.1, "v3": 0.2}
    assert [(g["metric"], g["margin"], g["relative"], g["direction"]) for g in test["guardrails"]] == [
        ("error_rate", 0.01, False, ""),
        ("avg_latency_ms", 0.1, True, ""),
        ("custom:tokens", 5.0, False, "higher"),
    ]
    assert (test["holdout"], test["segments"], test["latency_slo_ms"]) == (0.1, ["lan", "vpn"], 250.0)
    assert (test["label_window_s"], test["minimum_effect"], test["end_at_verdict"]) == (86_400.0, 0.5, True)
    assert (test["deadline"][:19], test["max_samples"]) == ("2099-01-31T23:59:59", 5000)
    assert test["primary_metric"] == "custom:cost"


def test_a_ramp_in_a_shell(sz0: Run) -> None:
    assert sz0("ab", "create", "ramp", "v1", "v2", "--split", "0.01").code == 0
    assert sz0("ab", "edit", "ramp", "--min-samples", "50", "--guardrail", "none", "--deadline", "7d").code == 0
    started = sz0("ab", "start", "ramp", "-o", "json").data
    assert (started["min_samples"], started["guardrails"]) == (50, [])
    assert started["deadline"] is not None
    for share in ("0.05", "0.25"):
        done = sz0("ab", "share", "ramp", share, "--reason", "looks good")
        assert done.code == 0, done.err
    shown = sz0("ab", "show", "ramp", "-o", "json").data
    assert [phase["shares"]["v2"] for phase in shown["phases"]] == [0.01, 0.05, 0.25]
    assigned = sz0("ab", "assign", "ramp", "host-7", "-o", "json").data
    assert assigned["version"] == sz0("ab", "route", "ramp", "host-7", "-o", "json").data["version"]
    assert (assigned["revision"], assigned["key"]) == (3, "host-7")
    assert sz0("ab", "assign", "ramp", "host-7", "--request-id", "r1", "-o", "json").data["request_id"] == "r1"
    said = sz0("ab", "assign", "ramp", "host-7").out
    assert "phase 3" in said
    late = sz0("ab", "edit", "ramp", "--metric", "recall")
    assert late.code != 0
    assert "cannot change" in late.err
    assert "ab share" in late.err


def test_a_shadow_test_in_a_shell(sz0: Run) -> None:
    made = sz0("ab", "create", "dark", "v1", "v2", "--shadow", "-o", "json").data
    assert (made["mode"], made["arms"]) == ("shadow", {"v1": 1.0, "v2": 0.0})


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--arm", "v3"), "--arm"),
        (("--arm", "v2=0.1"), "Two arms"),
        (("--holdout", "0.6"), "sum to 1.1"),
        (("--label-window", "soon"), "no length of time"),
        (("--deadline", "2001-01-01"), "has passed"),
        (("--deadline", "9" * 400 + "d"), "too long"),
        (("--guardrail", "beauty:0.1"), "beauty"),
        (("--guardrail", "error_rate:-0.1"), "margin"),
        (("--guardrail", "error_rate:abc"), "error_rate is 'abc', which is not a number"),
        (("--guardrail", "recall:1"), "lies between 0 and 1"),
        (("--deadline", "yesterday"), "Write a date"),
        (("--salt", "xyz"), "salt is 'xyz'"),
        (("--metric", "slow_rate"), "latency_slo_ms"),
        (("--max-samples", "10"), "max_samples is 10"),
    ],
    ids=str,
)
def test_what_cannot_be_typed(sz0: Run, typed: tuple[str, ...], said: str) -> None:
    done = sz0("ab", "create", "t", "v1", "v2", *typed)
    assert done.code == 2
    assert said in done.err


def test_an_assignment_goes_through_a_shell(sz0: Run) -> None:
    salt = "00000000000000ff"
    made = sz0(
        "ab", "create", "kept", "v1", "v2", "--holdout", "0.3", "--split", "0.3", "--segment", "eu", "--salt", salt
    )
    assert made.code == 0, made.err
    sz0("ab", "start", "kept")
    untold = sz0("ab", "record", "kept", "v1", "--latency-ms", "5")
    assert untold.code == 2
    assert "pass the key or the assignment" in untold.err
    for form in ("json", "jsonl"):
        for host in ("host-1", "host-2", "host-3"):
            routed = sz0("ab", "assign", "kept", host, "-o", form)
            found = routed.data if form == "json" else json.loads(routed.out)
            assert found["request_id"], "a fresh one"
            more = ("--segment", "eu", "--custom", "cost=2.5", "-o", "json")
            typed = ("ab", "record", "kept", found["version"], "--latency-ms", "5", "--assignment", routed.out, *more)
            done = sz0(*typed)
            assert done.code == 0, done.err
            assert done.data["request_id"] == found["request_id"]
    by_revision = ("ab", "record", "kept", "v2", "--latency-ms", "5", "--key", "k", "--revision", "1", "--share", "0.3")
    assert sz0(*by_revision).code == 0
    for wrong, said in (
        (("--assignment", "v1"), "--assignment is not JSON"),
        (("--assignment", "[1]"), "no JSON object"),
        (("--assignment", '{"foo": 1}'), "Pass what assign() returned"),
        (("--share", "0.3"), "without --revision"),
        (("--assignment", "{}", "--revision", "1"), "pass it alone"),
    ):
        refused = sz0("ab", "record", "kept", "v1", "--latency-ms", "5", *wrong)
        assert (refused.code, said in refused.err) == (2, True), refused.err


def test_every_arm_is_named_and_counted(sz0: Run) -> None:
    made = sz0("ab", "create", "three", "v1", "v2", "--split", "0.2", "--arm", "v3=0.1")
    assert "v1 (A) against v2 (B) and v3 (C)" in made.out
    sz0("ab", "start", "three")
    for version in ("v1", "v3", "v3"):
        assert sz0("ab", "record", "three", version, "--latency-ms", "5").code == 0
    sz0("ab", "share", "three", "0.3", "--version", "v3")
    listed = " ".join(sz0("ab", "list").out.split())
    assert "v1 / v2 / v3" in listed
    assert "1 / 0 / 2" in listed
    shown = " ".join(sz0("ab", "show", "three").out.split())
    assert "v1 1, v2 0, v3 2" in shown
    assert "v2 20 %, v3 10 % → v2 20 %, v3 30 %" in shown


def test_two_tests_of_one_name_are_told_apart(sz0: Run) -> None:
    made = [sz0("ab", "create", "dup", "v1", "v2", "-o", "quiet").out.strip() for _ in range(2)]
    said = sz0("ab", "show", "dup")
    assert said.code == 2
    assert "2 tests are named 'dup'" in said.err
    assert all(test_id in "".join(said.err.split()) for test_id in made)
    assert sz0("ab", "show", made[0]).code == 0


def test_a_completed_test_cannot_be_edited(sz0: Run) -> None:
    sz0("ab", "create", "over", "v1", "v2")
    sz0("ab", "start", "over")
    assert sz0("ab", "complete", "over", "--force").code == 0
    late = sz0("ab", "edit", "over", "--metric", "recall")
    assert "It has ended" in late.err
    assert "ab share" not in late.err
