"""``sz0 outcomes`` as its users meet it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinelzer0.cli.main import main
from sentinelzer0.workspace import Workspace


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = main(list(arguments))
    return int(code or 0), out.getvalue(), err.getvalue()


def test_a_day_of_production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"weights")
    with Workspace.open("models") as workspace:
        workspace.versions.create_version("model.pt", version="v1")

    def data(*arguments: str) -> Any:
        code, out, err = run(monkeypatch, "outcomes", *arguments, "-o", "json")
        assert code == 0, err
        return json.loads(out)["data"]

    assert data("record", "v1", "--latency-ms", "3", "--predicted-label", "attack", "--request-id", "r")["counted"] == 1
    assert data("label", "r", "attack")["labelled"] == 1
    assert "label replaced" in run(monkeypatch, "outcomes", "label", "r", "benign")[1]
    assert "label replaced" in run(monkeypatch, "outcomes", "label", "r", "attack")[1]
    assert "label kept until its outcome comes" in run(monkeypatch, "outcomes", "label", "early", "attack")[1]
    assert "nothing new to record" in run(monkeypatch, "outcomes", "label", "early", "attack")[1]
    priced = ("--segment", "eu", "--custom", "cost=2", "--custom", "tokens=7")
    with Workspace.open("models") as workspace:
        workspace.versions.create_version("model.pt", version="v2")
    assert data("record", "v2", "--latency-ms", "3", *priced)["counted"] == 1
    assert data("stats", "v2")["custom_metrics"] == {"cost": 2.0, "tokens": 7.0}
    assert (
        "--custom cost is 'much'"
        in run(monkeypatch, "outcomes", "record", "v2", "--latency-ms", "3", "--custom", "cost=much")[2]
    )
    rows = [{"model_version": "v1", "success": n > 0, "latency_ms": 5.0} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert data("record-many", "rows.jsonl")["counted"] == 9
    stats = data("stats", "v1")
    assert (stats["total_requests"], stats["failed_requests"], stats["true_positives"]) == (10, 1, 1)
    assert data("stats", "v1", "--since", "2020-01-01")["total_requests"] == 10
    assert data("export", "out.jsonl")["rows"] == len((tmp_path / "out.jsonl").read_text().splitlines()) == 12
    code, _, err = run(monkeypatch, "outcomes", "prune")
    assert (code, "How old" in err) == (2, True)
    monkeypatch.setenv("SENTINELZER0_RETENTION_DAYS", "30")
    assert data("prune")["rows"] == 0
    dry = data("prune", "--older-than", "0", "--dry-run")
    assert (dry["rows"], dry["dry_run"]) == (11, True)
    code, _, err = run(monkeypatch, "outcomes", "prune", "--older-than", "0")
    assert (code, "Delete 11 raw outcomes from before" in err, "--yes" in err) == (2, True, True)
    assert data("export", "still.jsonl")["rows"] == 12
    assert data("prune", "--older-than", "0", "--yes")["rows"] == 11
    assert data("stats", "v1") == stats
    page = run(monkeypatch, "outcomes", "stats", "v1")[1]
    assert "10 requests in production" in page
    assert "1 (10.00%)" in page
    monkeypatch.setenv("SENTINELZER0_RETENTION_DAYS", "soon")
    assert "retention_days is 'soon'" in run(monkeypatch, "outcomes", "prune")[2]
