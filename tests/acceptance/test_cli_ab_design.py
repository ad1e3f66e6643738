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
        (("--metric", "slow_rate"), "latency_slo_ms"),
        (("--max-samples", "10"), "max_samples is 10"),
    ],
    ids=str,
)
def test_what_cannot_be_typed(sz0: Run, typed: tuple[str, ...], said: str) -> None:
    done = sz0("ab", "create", "t", "v1", "v2", *typed)
    assert done.code == 2
    assert said in done.err
