"""The command as its users meet it: real processes for the main flow, the same entry point in process for the rest."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sentinelzer0 import errors
from sentinelzer0.cli import session as session_module
from sentinelzer0.cli.exit_codes import EXIT_CODES, MEANING, ExitCode, exit_code_of
from sentinelzer0.cli.main import main, separated
from sentinelzer0.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("v1", "v2")
ESCAPE = "\x1b["


@dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> object:
        return json.loads(self.out)["data"]

    @property
    def error(self) -> dict[str, object]:
        return json.loads(self.err)["error"]


Run = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory with two model files; everything the command reads is in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENTINELZER0_ACTOR", "ayse")
    for index, name in enumerate(MODELS):
        Path(name).write_bytes(bytes([index]) * 5000)
    return tmp_path


@pytest.fixture
def sz0(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the entry point in this process."""

    def run(*arguments: str) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        code = main(arguments)
        out.flush()
        err.flush()
        return Done(code, out.buffer.getvalue().decode(), err.buffer.getvalue().decode())

    return run


def in_a_process(*arguments: str, **environment: str) -> Done:
    """Run the real command."""
    done = subprocess.run(
        [sys.executable, "-m", "sentinelzer0", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def fleet(home: Path) -> Iterator[Workspace]:
    """A workspace in which v1 serves production by approval and v2 is in staging."""
    with Workspace.open("models") as workspace:
        for version, f1 in (("v1", 0.90), ("v2", 0.93)):
            parent = "v1" if version == "v2" else None
            workspace.versions.create_version(
                version, version, "ayse", test_metrics={"f1_score": f1, "latency_ms": 5 - f1}, parent_version=parent
            )
            workspace.registry.register_model(version, registered_by="ayse")
            workspace.versions.promote_version(version, "staging", promoted_by="ayse")
        request = workspace.registry.request_promotion("v1", "production", "ayse")
        workspace.registry.approve_promotion(request.request_id, "mehmet")
        yield workspace


def damage(workspace: Workspace, version: str) -> None:
    """Flip one bit of a version's stored bytes."""
    digest = workspace.versions.get_version(version).metadata.file_hash
    blobs = (workspace.versions.base_dir / "blobs").rglob("*")
    (blob,) = (path for path in blobs if path.name in (digest, digest[2:]))
    blob.chmod(0o644)
    content = bytearray(blob.read_bytes())
    content[100] ^= 1
    blob.write_bytes(content)


def test_the_main_flow_through_the_real_command(home: Path) -> None:
    """From nothing to production and back; every step by its documented exit code."""
    nothing = in_a_process("list")
    assert (nothing.code, nothing.out) == (3, "")
    assert "There is no workspace here" in nothing.err
    assert "sentinelzer0 versions create FILE" in nothing.err
    assert not Path("models").exists(), "reading creates nothing"

    created = in_a_process("versions", "create", "v1", "v1", "-m", "f1_score=0.9", "--output", "json")
    assert created.code == 0, created.err
    assert created.data["metadata"]["test_metrics"] == {"f1_score": 0.9}
    assert in_a_process("register", "v1", "-q").out == "v1\n"
    assert in_a_process("promote", "v1", "staging").code == 0
    request = in_a_process("registry", "request", "v1", "production", "-q").out.strip()

    own = in_a_process("approve", request)
    assert own.code == ExitCode.DENIED
    assert f"error: ayse made request {request} and cannot approve it." in own.err
    assert "Traceback" not in own.err

    approved = in_a_process("approve", request, "--actor", "mehmet", FORCE_COLOR="1")
    assert approved.code == 0
    assert ESCAPE in approved.out
    live = in_a_process(
        "history", "--at", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}.999999", NO_COLOR="1", FORCE_COLOR="1"
    )
    assert ESCAPE not in live.out
    assert "mehmet" in live.out


def test_the_same_scenario_leaves_the_same_audit_trail_as_python(sz0: Run, home: Path) -> None:
    commands = [
        "versions create v1 v1 -m f1_score=0.9 -t nightly --notes first",
        "versions create v2 v2 --parent v1 -p depth=8",
        "register v1 --tag fleet",
        "promote v1 staging --reason ready",
        "registry request v1 production --notes please",
        "approve {request} --actor mehmet --notes fine",
        "versions edit v2 --tag good",
        "promote v2 staging",
        "promote v2 production --actor mehmet --reason urgent",
        "rollback run --to v1 --reason bad --yes --actor mehmet",
        "rollback release v2 --reason understood --actor mehmet",
        "policy set strict --reason audit",
        "versions delete v9",
    ]
    request = ""
    for command in commands:
        done = sz0("-w", "by-command", *command.format(request=request).split(), "-q")
        assert done.code == (3 if command.endswith("v9") else 0), (command, done.err)
        if "request" in command.split()[1:2]:
            request = done.out.strip()
    with Workspace.open("by-python") as ws:
        ws.versions.create_version("v1", "v1", "ayse", test_metrics={"f1_score": 0.9}, tags=["nightly"], notes="first")
        ws.versions.create_version("v2", "v2", "ayse", parent_version="v1", hyperparameters={"depth": 8})
        ws.registry.register_model("v1", registered_by="ayse", tags=["fleet"])
        ws.versions.promote_version("v1", "staging", promoted_by="ayse", reason="ready")
        asked = ws.registry.request_promotion("v1", "production", "ayse", "please")
        ws.registry.approve_promotion(asked.request_id, "mehmet", "fine")
        ws.versions.edit_version("v2", tags=["good"], edited_by="ayse")
        ws.versions.promote_version("v2", "staging", promoted_by="ayse")
        ws.versions.promote_version("v2", "production", promoted_by="mehmet", reason="urgent")
        ws.rollback.execute_rollback("v2", "v1", "bad", triggered_by="mehmet")
        ws.rollback.release("v2", "mehmet", "understood")
        ws.registry.set_policy("strict", set_by="ayse", reason="audit")
        by_python = trail(ws)
    with Workspace.open("by-command") as ws:
        assert trail(ws) == by_python
    assert len(by_python) == 13


def trail(workspace: Workspace) -> list[tuple[object, ...]]:
    """Return the audit trail without ids and times."""
    names = {}
    rows = []
    for record in reversed(workspace.audit.records(limit=1000)):
        subjects = tuple(
            names.setdefault(subject, f"request {len(names)}") if "_01" in subject or "rb_" in subject else subject
            for subject in record.subjects
        )
        after = tuple((change["table"], frozenset(change["row"])) for change in record.after)
        rows.append((record.actor, record.action, subjects, record.digest, record.reason, record.outcome, after))
    return rows


READS = [
    "list",
    "show v1",
    "diff v1 v2",
    "verify",
    "versions lineage v2",
    "versions path v1",
    "registry list",
    "registry show v1",
    "registry pending",
    "registry trail v1",
    "policy show",
    "policy show strict",
    "policy list",
    "policy check strict --version v2",
    "deployments current",
    "history",
    f"deployments at {datetime.now(UTC):%Y-%m-%d}",
    "ab list",
    "rollback history",
    "audit list",
    "audit show 1",
    "audit verify",
    "audit prove 1",
    "audit prove --since 2",
    "config show --origin",
    "doctor",
    "collect --dry-run",
]


@pytest.mark.parametrize("command", READS)
def test_every_reading_command_writes_all_four_forms(sz0: Run, fleet: Workspace, command: str) -> None:
    table = sz0(*command.split())
    assert table.code == 0, table.err
    assert table.out.strip()
    assert ESCAPE not in table.out
    assert not [line for line in table.out.splitlines() if line != line.rstrip()]
    whole = json.loads(sz0(*command.split(), "-o", "json").out)
    assert whole["schema_version"] == session_module.SCHEMA_VERSION
    assert whole["command"].split()[0] in (command.split(maxsplit=1)[0], "versions", "deployments")
    assert ("next_cursor" in whole) == isinstance(whole["data"], list)
    lines = [json.loads(line) for line in sz0(*command.split(), "-o", "jsonl").out.splitlines()]
    assert len(lines) == (len(whole["data"]) if isinstance(whole["data"], list) else 1)
    quiet = sz0(*command.split(), "--quiet")
    assert quiet.code == 0
    assert not quiet.err


@pytest.mark.parametrize(
    "command", ["list", "registry list", "history", "audit list", "policy list", "rollback history"]
)
def test_lists_page_to_the_end_without_loss(sz0: Run, fleet: Workspace, command: str) -> None:
    fleet.versions.promote_version("v2", "archived")
    fleet.registry.set_policy("strict", set_by="ayse", reason="more")
    everything = sz0(*command.split(), "--limit", "100", "-q").out.splitlines()
    pages, cursor = [], []
    while True:
        page = json.loads(sz0(*command.split(), "--limit", "1", *cursor, "-o", "json").out)
        names = sz0(*command.split(), "--limit", "1", *cursor, "-q").out.splitlines()
        pages += names
        if page["next_cursor"] is None:
            break
        cursor = ["--cursor", page["next_cursor"]]
    assert pages == everything
    hint = sz0(*command.split(), "--limit", "1")
    assert ("There is more: add --cursor" in hint.err) == (len(everything) > 1)


REFUSALS = [
    ("show v9", ExitCode.NOT_FOUND, "version_not_found"),
    ("registry show v9", ExitCode.NOT_FOUND, "version_not_found"),
    ("approve apr_nothing", ExitCode.NOT_FOUND, "request_not_found"),
    ("ab show nothing", ExitCode.NOT_FOUND, "ab_test_not_found"),
    ("deployments current --environment lab", ExitCode.NOT_FOUND, "deployment_not_found"),
    ("deployments at 2000-01-01", ExitCode.NOT_FOUND, "deployment_not_found"),
    ("versions create nowhere", ExitCode.NOT_FOUND, "model_file_not_found"),
    ("audit show 9999", ExitCode.NOT_FOUND, "not_found"),
    ("list --cursor v9", ExitCode.NOT_FOUND, "version_not_found"),
    ("promote v2 production", ExitCode.DENIED, "approval_required"),
    ("versions create v1 v1", ExitCode.CONFLICT, "already_exists"),
    ("register v1", ExitCode.CONFLICT, "already_exists"),
    ("promote v1 staging", ExitCode.CONFLICT, "illegal_transition"),
    ("versions delete v1 --yes", ExitCode.CONFLICT, "in_use"),
    ("rollback run v2 --reason x --yes", ExitCode.CONFLICT, "conflict"),
    ("rollback run --reason x --yes", ExitCode.DENIED, "not_known_good"),
    ("versions create v1 ../v3", ExitCode.USAGE, "invalid_name"),
    ("versions create v1 v3 -m f1=high", ExitCode.USAGE, "invalid_input"),
    ("versions create v1 v3 -m f1=nan", ExitCode.USAGE, "invalid_metric"),
    ("versions create v1 v3 -m f1", ExitCode.USAGE, "invalid_input"),
    ("versions delete v2", ExitCode.USAGE, "invalid_input"),
    ("registry break-glass v2 --reason x", ExitCode.USAGE, "invalid_input"),
    ("rollback run --reason x", ExitCode.USAGE, "invalid_input"),
    ("list --status best", ExitCode.USAGE, "invalid_input"),
    ("history --at soon", ExitCode.USAGE, "invalid_input"),
    ("policy check pyproject.toml", ExitCode.NOT_FOUND, "model_file_not_found"),
    ("list --colour", ExitCode.USAGE, "usage"),
    ("list --limit many", ExitCode.USAGE, "usage"),
    ("list --limit 0", ExitCode.USAGE, "usage"),
    ("show", ExitCode.USAGE, "usage"),
    ("ab create f1 v1 v2 --split half", ExitCode.USAGE, "usage"),
    ("lits", ExitCode.USAGE, "usage"),
    ("rollback run", ExitCode.USAGE, "usage"),
    ("rollback check-health v1 -m error_rate=7 -m total_requests=9", ExitCode.USAGE, "invalid_metric"),
]


@pytest.mark.parametrize(("command", "code", "error"), REFUSALS)
def test_a_refusal_is_a_sentence_and_an_exit_code(
    sz0: Run, fleet: Workspace, command: str, code: ExitCode, error: str
) -> None:
    before = fleet.versions.list_versions()
    done = sz0(*command.split(), "-o", "json")
    assert (done.code, done.out) == (code, "")
    assert done.error["code"] == error
    assert done.error["exit_code"] == code
    said = sz0(*command.split())
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    if done.error["hint"]:
        assert "\n next: " in said.err
    assert fleet.versions.list_versions() == before


def test_a_damaged_version_is_exit_code_5_everywhere(sz0: Run, fleet: Workspace) -> None:
    request = fleet.registry.request_promotion("v2", "production", "ayse").request_id
    damage(fleet, "v2")
    verified = sz0("verify", "-o", "json")
    assert verified.code == ExitCode.GATE
    assert {row["version"]: row["intact"] for row in verified.data} == {"v1": True, "v2": False}
    assert "✗ damaged" in sz0("verify", "v2").out
    refused = sz0("approve", request, "--actor", "mehmet", "-o", "json")
    assert (refused.code, refused.error["code"]) == (ExitCode.GATE, "integrity")
    assert sz0("versions", "pull", "v2", "copy").code == ExitCode.GATE
    assert not Path("copy").exists()
    assert not [path for path in Path().iterdir() if path.name.endswith(".partial")]
    assert sz0("doctor").code == ExitCode.FAILURE


def test_every_error_class_has_an_exit_code() -> None:
    def tree(kind: type[errors.SentinelError]) -> Iterator[type[errors.SentinelError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    ours = {kind for kind in tree(errors.SentinelError) if kind.__module__ == errors.__name__}
    assert set(EXIT_CODES) == ours
    assert set(MEANING) == set(ExitCode)
    assert exit_code_of(TimeoutError()) == 124
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert exit_code_of(RuntimeError()) == 1


def test_global_options_may_stand_anywhere() -> None:
    given = {"output": "json", "actor": "x", "quiet": "yes"}
    assert separated(["list", "--tag", "a", "-o", "json", "--actor=x", "-q"]) == (given, ["list", "--tag", "a"])
    assert separated(["show", "--", "-q"]) == ({}, ["show", "--", "-q"])
    with pytest.raises(errors.InvalidInputError, match="--output needs a value"):
        separated(["list", "--output"])


def test_the_settings_file_names_the_workspace(sz0: Run, fleet: Workspace, home: Path) -> None:
    Path("models").rename("elsewhere")
    assert sz0("list").code == ExitCode.NOT_FOUND
    Path("sentinelzer0.toml").write_text('workspace = "elsewhere"\n')
    assert sz0("list", "-q").out.splitlines() == ["v2", "v1"]
    Path("sentinelzer0.toml").write_text('worspace = "elsewhere"\n')
    assert (sz0("list").code, "unknown setting 'worspace'" in sz0("list").err) == (2, True)


def test_a_reading_command_knows_a_workspace_when_it_sees_one(sz0: Run, home: Path) -> None:
    for command in ("history", "verify", "doctor", "audit verify", "ab list", "collect"):
        assert sz0(*command.split()).code == ExitCode.NOT_FOUND
    assert not Path("models").exists()
    assert sz0("versions", "create", "missing-file").code == ExitCode.NOT_FOUND
    assert not Path("models").exists(), "nor does a command that cannot do its work"


def test_a_directory_of_3_3_is_named_and_not_shown_empty(sz0: Run, home: Path) -> None:
    Path("models/metadata").mkdir(parents=True)
    Path("models/metadata/metadata_v1.json").write_text("{}")
    done = sz0("list", "-o", "json")
    assert (done.code, done.error["code"]) == (ExitCode.FAILURE, "legacy_workspace")
    assert "import-legacy" in done.error["hint"]


def test_a_lost_database_is_not_shown_as_an_empty_workspace(sz0: Run, fleet: Workspace) -> None:
    exported = sz0("audit", "export", "models/registry/exports/1")
    assert exported.code == 0, exported.err
    fleet.close()
    for path in Path("models").glob("sentinelzer0.db*"):
        path.unlink()
    lost = sz0("list", "-o", "json")
    assert (lost.code, lost.error["code"]) == (ExitCode.GATE, "corrupt_workspace")
    assert sz0("doctor").code == ExitCode.FAILURE
    rebuilt = sz0("doctor", "--rebuild")
    assert rebuilt.code == 0, rebuilt.out + rebuilt.err
    assert sz0("list", "-q").out.splitlines() == ["v2", "v1"]
    assert sz0("deployments", "current", "-q").out == "v1\n"


def test_backup_and_restore(sz0: Run, fleet: Workspace) -> None:
    assert sz0("backup", "copy", "-q").out == "copy\n"
    assert sz0("restore", "copy", "again").code == ExitCode.USAGE, "nobody was asked"
    restored = sz0("restore", "copy", "again", "--yes")
    assert restored.code == 0, restored.err
    assert sz0("list", "-w", "again", "-q").out == sz0("list", "-q").out
    assert sz0("restore", "copy", "again", "--yes").code == ExitCode.USAGE, "never over something"


def test_the_doctor_mends_what_is_derived(sz0: Run, fleet: Workspace) -> None:
    Path("models/metadata/v1.json").unlink()
    examined = {check["name"]: check for check in sz0("doctor", "--json").data["checks"]}
    assert examined["metadata files"]["status"] != "pass"
    assert examined["metadata files"]["fix"] in sz0("doctor").out
    mended = json.loads(sz0("doctor", "--fix", "--json").out)["data"]
    assert mended["done"]
    assert {check["name"]: check["status"] for check in mended["checks"]}["metadata files"] == "pass"
    assert Path("models/metadata/v1.json").exists()


def test_a_directory_of_3_3_is_taken_over(sz0: Run, home: Path) -> None:
    shutil.copytree(ROOT / "tests/data/legacy_3_3/models", "old")
    done = sz0("import-legacy", "old", "--into", "new", "--timezone", "UTC", "-o", "json")
    assert done.data["imported"]["versions"]
    assert done.code == (0 if done.data["complete"] else ExitCode.FAILURE)
    assert sz0("list", "-w", "new", "-q").out.split()
    again = sz0("import-legacy", "old", "--into", "new", "--timezone", "UTC")
    assert "Nothing new to import" in again.out


def test_the_diff_says_better_and_worse_in_words(sz0: Run, fleet: Workspace) -> None:
    page = sz0("diff", "v1", "v2").out
    assert "▲ +0.03 better" in page
    assert "▼ -0.03 better" in page, "less latency is better"
    assert "equal fields hidden (--all)" in page
    assert "= equal" not in page
    assert "= equal" in sz0("diff", "v1", "v2", "--all").out
    assert "Gates for production (policy default): none" in page
    assert page.splitlines()[-1] == "next: sz0 registry request v2 production"
    alone = json.loads(sz0("diff", "v2", "-o", "json").out)["data"]
    assert (alone["version1"], alone["version2"]) == ("v1", "v2"), "one alone is compared with what serves"
    verdicts = {row["field"]: row["verdict"] for row in alone["fields"]}
    assert (verdicts["f1_score"], verdicts["parent_version"], verdicts["framework"]) == ("better", "changed", "equal")


def test_gates_of_the_policy_are_ticked(sz0: Run, fleet: Workspace) -> None:
    Path("gates.toml").write_text(
        'name = "gated"\n[[gates.metrics]]\nmetric = "f1_score"\nsource = "test_metrics"\nlimit = 0.95\n'
        '[[gates.metrics]]\nmetric = "latency_ms"\nsource = "test_metrics"\ndirection = "lower"\nlimit = 50\n'
    )
    assert sz0("policy", "check", "gates.toml", "--version", "v2").code == ExitCode.GATE
    Path("my own.toml").write_text('name = "default"\n')
    assert "sz0 policy set 'my own.toml' --reason WHY" in sz0("policy", "check", "my own.toml").out
    assert "sz0 policy set strict --reason WHY" in sz0("policy", "check", "strict").out
    assert sz0("policy", "set", "gates.toml", "--reason", "quality").code == 0
    page = sz0("diff", "v1", "v2").out
    assert "✗ f1_score: 0.93 is below the limit 0.95" in page
    assert "✓ latency_ms" in page
    request = sz0("registry", "request", "v2", "production", "-q").out.strip()
    assert sz0("approve", request[-6:], "--actor", "mehmet").code == ExitCode.GATE


def test_pull_writes_checked_bytes_and_no_half_files(sz0: Run, fleet: Workspace) -> None:
    Path("bundle/sub").mkdir(parents=True)
    Path("bundle/weights").write_bytes(b"w" * 3_000_000)
    Path("bundle/sub/run.sh").write_text("#!/bin/sh\n")
    Path("bundle/sub/run.sh").chmod(0o755)
    assert sz0("versions", "create", "bundle", "v3").code == 0
    done = sz0("versions", "pull", "v3", "copy", "--verify", "-o", "json")
    assert done.data["bytes"] == 3_000_010
    assert Path("copy/weights").read_bytes() == Path("bundle/weights").read_bytes()
    assert os.access("copy/sub/run.sh", os.X_OK)
    assert sz0("versions", "pull", "v3", "copy").code == ExitCode.CONFLICT
    assert sz0("versions", "pull", "v1", "single", "-q").out == "single\n"
    assert Path("single").read_bytes() == Path("v1").read_bytes()


def test_an_ab_test_from_design_to_report(sz0: Run, fleet: Workspace) -> None:
    test = sz0("ab", "create", "f1", "v1", "v2", "--min-samples", "20", "-q").out.strip()
    assert sz0("ab", "record", "f1", "v1", "--latency-ms", "3").code == ExitCode.CONFLICT, "not started"
    assert sz0("ab", "start", test[-8:]).code == 0, "the end of an id is enough"
    assert sz0("ab", "route", "f1", "host-7", "-q").out == sz0("ab", "route", "f1", "host-7", "-q").out
    rows = [
        {
            "model_version": version,
            "success": True,
            "latency_ms": 2.0,
            "request_id": f"{version}-{index}",
            "predicted_label": "attack" if version == "v2" or index % 2 else "benign",
            "true_label": "attack",
        }
        for version in MODELS
        for index in range(400)
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sz0("ab", "record-many", "f1", "rows.jsonl", "-o", "json").data["counted"] == 800
    assert sz0("ab", "record-many", "f1", "rows.jsonl", "-o", "json").data["duplicates"] == 800
    one = ("ab", "record", "f1", "v1", "--latency-ms", "3", "--failure", "--request-id", "late")
    assert sz0(*one, "--predicted-label", "attack", "-o", "json").data["counted"] == 1
    assert sz0("ab", "label", "f1", "late", "benign", "-o", "json").data["labelled"] == 1
    results = sz0("ab", "results", "f1")
    assert "Promote v2" in results.out
    assert "●" in results.out
    assert sz0("ab", "complete", "f1", "-q").out == "v2\n"
    wrong = sz0("ab", "report", "f1", "report.pdf", "-o", "json")
    assert (wrong.code, wrong.error["hint"]) == (ExitCode.USAGE, "Name it report.html, report.md or report.json.")
    assert not Path("report.pdf").exists()
    assert sz0("ab", "report", "f1", "report.html").code == 0
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert sz0("ab", "list", "--status", "completed", "-q").out.strip() == test
    Path("rows.jsonl").write_text('{"model_version": "v1"}\n[]\n')
    assert sz0("ab", "record-many", "f1", "rows.jsonl").code == ExitCode.USAGE


@pytest.mark.parametrize("path", [".", "models", "models/.."])
def test_a_directory_that_contains_the_workspace_is_named_as_what_it_is(sz0: Run, fleet: Workspace, path: str) -> None:
    done = sz0("versions", "create", path, "v9", "-o", "json")
    assert done.code == ExitCode.USAGE
    assert "contains the workspace" in done.error["message"]
    assert "v9" not in sz0("list", "-q").out.split()


def test_an_export_is_verified_by_the_script_beside_it(sz0: Run, fleet: Workspace) -> None:
    done = sz0("audit", "export", "export", "-o", "json")
    assert done.code == 0, done.err
    check = [sys.executable, "-I", "export/verify_audit_export.py", "export", "--vkey", done.data["vkey"]]
    assert subprocess.run(check, check=False, capture_output=True).returncode == 0
    log = Path("export/audit.ndjson")
    log.write_text(log.read_text().replace("mehmet", "mallet"))
    assert subprocess.run(check, check=False, capture_output=True).returncode == 1
    assert sz0("audit", "export", "export").code == ExitCode.USAGE


def test_what_steers_a_terminal_is_not_printed(sz0: Run, fleet: Workspace) -> None:
    fleet.versions.edit_version("v1", notes="\x1b[2J\x1b]0;owned\x07 harmless")
    shown = sz0("show", "v1").out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "harmless" in shown


def test_an_ascii_terminal_gets_ascii(home: Path, fleet: Workspace) -> None:
    done = in_a_process("diff", "v1", "v2", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert done.out.isascii()
    assert "^ +0.03 better" in done.out


def test_a_reader_that_stops_early_is_no_error(home: Path, fleet: Workspace) -> None:
    command = f"'{sys.executable}' -m sentinelzer0 audit list -o jsonl | head -n 1; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert not done.stderr


def loaded_by(arguments: Sequence[str]) -> set[str]:
    program = (
        "import sys\nfrom sentinelzer0.cli.main import main\n"
        f"main({list(arguments)!r})\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_neither_database_nor_rich() -> None:
    heavy = {"sqlalchemy", "rich", "pydantic", "cryptography", "alembic", "numpy"}
    assert not loaded_by(["--help"]) & heavy
    assert not loaded_by(["versions", "create", "--help"]) & heavy


def test_a_listing_for_a_program_loads_no_terminal_library(home: Path, fleet: Workspace) -> None:
    loaded = loaded_by(["list", "--limit", "2", "-w", str(home / "models"), "-o", "json"])
    assert "sqlalchemy" in loaded
    assert not loaded & {"rich", "pydantic", "alembic", "numpy"}


@pytest.mark.parametrize("columns", ["40", "60", "80", "120"])
def test_no_column_vanishes_beside_a_long_value(
    sz0: Run, fleet: Workspace, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Two values that differ at their ends are cut at their beginnings; --all and JSON have them whole."""
    same = "connections of the year 2026, as labelled by the team on call, "
    for version in ("v8", "v9"):
        fleet.versions.create_version("v1", version, "ayse", training_dataset=f"{same} part {version}")
    monkeypatch.setenv("COLUMNS", columns)
    shown = sz0("diff", "v8", "v9").out
    assert all(len(row) <= int(columns) for row in shown.splitlines() if not row.startswith("next:")), shown
    assert re.search(r"^training", shown, re.MULTILINE)
    assert "v8" in shown
    assert "changed" in shown
    monkeypatch.delenv("COLUMNS")
    assert max(map(len, sz0("diff", "v8", "v9").out.splitlines())) < 160
    assert f"{same} part v9" in sz0("diff", "v8", "v9", "--all").out
    fields = sz0("diff", "v8", "v9", "-o", "json").data["fields"]
    assert next(row["second"] for row in fields if row["field"] == "training_dataset") == f"{same} part v9"


def test_a_reader_that_has_seen_enough_is_no_failure(fleet: Workspace) -> None:
    """``sz0 history | true`` ends with 0 and without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "sentinelzer0", "deployments", "current"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_comes_next_names_the_workspace_that_was_named(sz0: Run, fleet: Workspace) -> None:
    Path("models").rename("else where")
    assert (
        "next: sz0 --workspace 'else where' registry request v2 production" in sz0("-w", "else where", "diff", "v2").out
    )


def test_a_quarantined_version_is_shown_as_such(sz0: Run, fleet: Workspace) -> None:
    request = fleet.registry.request_promotion("v2", "production", "ayse")
    fleet.registry.approve_promotion(request.request_id, "mehmet")
    fleet.rollback.execute_rollback("v2", reason="misses too much", triggered_by="mehmet")
    row = next(row for row in sz0("list").out.splitlines() if row.startswith("v2"))
    assert "! quarantined" in row
    assert "misses too much" in sz0("show", "v2", "-o", "json").data["quarantine"]
    assert sz0("show", "v1", "-o", "json").data["quarantine"] is None
    assert "next: sz0 rollback release v2" in sz0("diff", "v2").out


def test_nobody_knows_what_will_serve(sz0: Run, fleet: Workspace) -> None:
    future = sz0("history", "--at", "2999-01-01")
    assert future.code == ExitCode.USAGE
    assert "has not come yet" in future.err
    today = sz0("history", "--at", f"{datetime.now(UTC):%Y-%m-%d}", "-o", "json").data
    assert datetime.fromisoformat(today["at"]) <= datetime.now(UTC)


def test_slips_are_named_and_change_nothing(sz0: Run, fleet: Workspace) -> None:
    before = len(fleet.audit.records(limit=100))
    edited = sz0("versions", "edit", "v1")
    assert (edited.code, "Nothing was said to change." in edited.err) == (ExitCode.USAGE, True)
    file = sz0("-w", "v1", "list")
    assert (file.code, "is a file; a workspace is a directory" in file.err) == (ExitCode.USAGE, True)
    missing = sz0("-w", "nowhere", "versions", "create", "v7")
    assert (missing.code, "There is no file or directory 'v7'." in missing.err) == (ExitCode.NOT_FOUND, True)
    assert not Path("nowhere").exists()
    assert len(fleet.audit.records(limit=100)) == before
