from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from sentinelzer0.domain.canonical_json import dumps
from sentinelzer0.domain.merkle import root_from_leaves
from sentinelzer0.domain.signed_note import Checkpoint, VerifierKey, sign_note
from sentinelzer0.maintenance import verify_audit_export as verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[..., tuple[int, str]]

SCRIPT = Path(verifier.__file__)
ORIGIN = "example.com/audit"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
VKEY = VerifierKey(ORIGIN, PUBLIC).encode()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

# RFC 8032, section 7.1: secret key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
]


def record(seq: int, **changes: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "time": f"2026-03-{seq + 1:02d}T12:00:00.000000Z",
        "actor": {"name": "alice", "auth": "asserted"},
        "action": "registry:approval:granted",
        "subjects": [f"version:default/v{seq}"],
        "digest": "sha256:" + "0" * 64,
        "after": [],
        "reason": "weekly review",
        "policy": "sha256:" + "1" * 64,
        "outcome": "ok",
        "detail": {"share": 0.25, "requests": 10**6, "tiny": 1e-7},
    } | changes


def deployment(revision: int, weights: dict[str, float], by: str, **changes: Any) -> dict[str, Any]:
    row = {
        "model": "default",
        "environment": "production",
        "revision": revision,
        "weights": weights,
        "created_at": "2026-03-01T12:00:00.000000Z",
        "created_by": by,
        "reason": f"revision {revision}",
    }
    return {"table": "deployments", "row": row | changes}


def sign(lines: list[bytes], key: Ed25519PrivateKey = PRIVATE, origin: str = ORIGIN) -> str:
    body = Checkpoint(origin, len(lines), root_from_leaves(lines)).to_body()
    return sign_note(body, ORIGIN, key.public_key().public_bytes_raw(), key.sign)


@dataclass
class Export:
    folder: Path

    def write(self, records: list[Any], key: Ed25519PrivateKey = PRIVATE) -> list[bytes]:
        """An export as the package makes it: correctly signed, whatever the records say."""
        lines = [item if isinstance(item, bytes) else dumps(item) for item in records]
        self.put(lines)
        (self.folder / "checkpoint.note").write_text(sign(lines, key), encoding="utf-8")
        (self.folder / "audit.vkey").write_text(VKEY + "\n", encoding="utf-8")
        return lines

    def put(self, lines: list[bytes]) -> None:
        (self.folder / "audit.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))

    def note(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path)


@pytest.fixture
def check(export: Export, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(*arguments: str, vkey: str | None = VKEY) -> tuple[int, str]:
        status = verifier.main([str(export.folder), *(["--vkey", vkey] if vkey else []), *arguments])
        return status, capsys.readouterr().out

    return run


def test_an_untouched_export_verifies(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(11)])
    status, out = check()
    assert status == 0
    assert "The checkpoint over 11 records is signed by example.com/audit" in out
    assert "11 records, numbered from 0 without a gap" in out
    assert f"Merkle root is {root_from_leaves(lines).hex()}" in out
    assert out.endswith("The export verifies.\n")
    assert "note" not in out


def test_an_empty_log_verifies(export: Export, check: Check) -> None:
    export.write([])
    assert check()[0] == 0


def test_a_key_from_the_export_itself_is_used_but_warned_about(export: Export, check: Check) -> None:
    export.write([record(0)])
    status, out = check(vkey=None)
    assert status == 0
    assert "taken from the export itself" in out
    (export.folder / "audit.vkey").unlink()
    status, out = check(vkey=None)
    assert status == 1
    assert "There is no verifier key" in out


def test_the_file_alone_with_a_checkpoint_elsewhere_verifies(
    export: Export, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    export.write([record(0)])
    note = tmp_path_factory.mktemp("elsewhere") / "kept.note"
    shutil.move(export.folder / "checkpoint.note", note)
    log = str(export.folder / "audit.ndjson")
    assert verifier.main([log, "--vkey", VKEY, "--checkpoint", str(note)]) == 0
    assert verifier.main([log, "--vkey", VKEY]) == 1
    assert "checkpoint.note" in capsys.readouterr().out


def test_every_flipped_bit_is_detected(export: Export, check: Check) -> None:
    export.write([record(seq) for seq in range(2)])
    path = export.folder / "audit.ndjson"
    intact = path.read_bytes()
    for position in range(0, len(intact), 7):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        assert check()[0] == 1, f"byte {position}"
    path.write_bytes(intact)
    assert check()[0] == 0


def test_a_changed_value_in_valid_json_is_detected(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(5)])
    export.put([line.replace(b"alice", b"mallo") if index == 3 else line for index, line in enumerate(lines)])
    status, out = check()
    assert status == 1
    assert "at least one was changed" in out
    assert "Merkle root is" not in out
    old = export.note("old.note", sign(lines[:2]))
    assert "Not among the first 2" in check("--old-checkpoint", old)[1]


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (lambda lines: [*lines[:2], *lines[3:]], "Line 3 of audit.ndjson is the first bad one: it should be record 2"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "Line 1 of audit.ndjson is the first bad one"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "Line 4 of audit.ndjson is the first bad one"),
        (lambda lines: lines[:-1], "Only 4 of 5 signed records are there"),
        (lambda _lines: [], "Only 0 of 5 signed records are there"),
        (lambda lines: [*lines, dumps(record(5))], "the 1 after them are unsigned"),
        (lambda lines: [*lines[:4], lines[4][:-20]], "Line 5 of audit.ndjson is the first bad one: it is not JSON"),
        (lambda lines: [*lines, b""], "Line 6 of audit.ndjson is the first bad one: it is not JSON"),
    ],
    ids=["dropped", "reordered", "repeated", "last dropped", "all dropped", "appended", "cut", "blank line"],
)
def test_tampered_lines_are_named(
    export: Export, check: Check, tamper: Callable[[list[bytes]], list[bytes]], finding: str
) -> None:
    export.put(tamper(export.write([record(seq) for seq in range(5)])))
    status, out = check()
    assert status == 1
    assert finding in out
    assert "does NOT verify" in out


def test_a_file_cut_within_its_last_line_is_detected(export: Export, check: Check) -> None:
    export.write([record(seq) for seq in range(3)])
    path = export.folder / "audit.ndjson"
    path.write_bytes(path.read_bytes()[:-1])
    status, out = check()
    assert status == 1
    assert "Line 3 of audit.ndjson is the first bad one: the file ends in the middle of it" in out


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (dumps(record(1)).replace(b'"seq":1', b'"seq": 1'), "not in canonical form"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":0.250'), "not in canonical form"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":1,"share":0.25'), "not in canonical form"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":9007199254740993'), "not in canonical form"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":-0'), "not in canonical form"),
        (dumps(record(1)).replace(b"alice", b"\\u0061lice"), "not in canonical form"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":NaN'), "not JSON"),
        (dumps(record(1)).replace(b'"share":0.25', b'"share":1e999'), "not JSON"),
        (dumps(record(1)).replace(b"alice", b"\\ud800"), "not JSON"),
        (dumps(record(1)).replace(b"alice", b"\xff"), "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not an audit record"),
        (dumps({"seq": 1}), "not an audit record, ['action', 'actor'"),
        (dumps(record(True)), "numbered True"),
        (dumps(record(1, time="yesterday")), "a value is missing or malformed"),
        (dumps(record(1, time=17)), "a value is missing or malformed"),
        (dumps(record(1, time="0001-01-01T00:00:00+14:00")), "a value is missing or malformed"),
    ],
)
def test_signed_lines_that_are_no_proper_records_are_refused(
    export: Export, check: Check, line: bytes, finding: str
) -> None:
    export.write([record(0), line, record(2)])
    status, out = check()
    assert status == 1
    assert f"Line 2 of audit.ndjson is the first bad one: {'it is ' if finding.startswith('not') else ''}" in out
    assert finding in out


def test_a_log_signed_with_another_key_is_refused(export: Export, check: Check) -> None:
    export.write([record(0)], OTHER)
    status, out = check()
    assert status == 1
    assert "is not signed by example.com/audit" in out
    assert check(vkey=VerifierKey(ORIGIN, OTHER.public_key().public_bytes_raw()).encode())[0] == 0


def test_a_forged_signature_under_our_key_id_is_refused(export: Export, check: Check) -> None:
    lines = export.write([record(0)])
    body = Checkpoint(ORIGIN, 1, root_from_leaves(lines)).to_body()
    export.note("checkpoint.note", sign_note(body, ORIGIN, PUBLIC, OTHER.sign))
    status, out = check()
    assert status == 1
    assert "The signature in" in out


def test_a_changed_checkpoint_is_refused(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(3)])
    export.put(lines[:2])
    shorter = Checkpoint(ORIGIN, 2, root_from_leaves(lines[:2])).to_body()
    export.note("checkpoint.note", shorter + "\n" + sign(lines).split("\n\n")[1])
    status, out = check()
    assert status == 1
    assert "changed, or forged" in out


@pytest.mark.parametrize("text", ["", "not a note\n", "a\n\n\u2014 b\n", "a\n\nb c\n", "a\n1\n\n\u2014 x !!!\n"])
def test_a_file_that_is_no_note_is_refused(export: Export, check: Check, text: str) -> None:
    export.write([record(0)])
    export.note("checkpoint.note", text)
    status, out = check()
    assert status == 1
    assert "is not a signed note" in out


def test_a_signed_text_that_is_no_checkpoint_is_refused(export: Export, check: Check) -> None:
    export.write([record(0)])
    export.note("checkpoint.note", sign_note("hello\n", ORIGIN, PUBLIC, PRIVATE.sign))
    status, out = check()
    assert status == 1
    assert "a note but not a checkpoint" in out


@pytest.mark.parametrize(
    ("vkey", "finding"),
    [
        ("nonsense", "is not an Ed25519 key"),
        (VKEY[:-4], "is not an Ed25519 key"),
        (VKEY.replace("audit", "other"), "is damaged"),
        ("\u001b[2Jname+00000000+AAAA", "?[2Jname"),
    ],
)
def test_a_bad_verifier_key_is_refused(export: Export, check: Check, vkey: str, finding: str) -> None:
    export.write([record(0)])
    status, out = check(vkey=vkey)
    assert status == 1
    assert finding in out


def test_older_checkpoints_must_be_prefixes(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(9)])
    for size in range(10):
        status, out = check("--old-checkpoint", export.note("old.note", sign(lines[:size])))
        assert status == 0
        assert f"its {size} records are unchanged" in out
    rewritten = [dumps(record(0, reason="another story")), *lines[1:4]]
    status, out = check("--old-checkpoint", export.note("old.note", sign(rewritten)))
    assert status == 1
    assert "not those of the older checkpoint: history changed" in out


def test_a_log_cut_and_signed_again_is_caught_by_an_older_checkpoint(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(4)])
    assert check()[0] == 0
    longer = sign([*lines, dumps(record(4))])
    status, out = check("--old-checkpoint", export.note("old.note", longer))
    assert status == 1
    assert "Only 4 of 5 signed records are there" in out


def test_an_older_checkpoint_must_be_of_the_same_log_and_key(export: Export, check: Check) -> None:
    lines = export.write([record(seq) for seq in range(4)])
    status, out = check("--old-checkpoint", export.note("old.note", sign(lines[:2], OTHER)))
    assert status == 1
    assert "is not signed by" in out
    status, out = check("--old-checkpoint", export.note("old.note", sign(lines[:2], origin="example.com/elsewhere")))
    assert status == 1
    assert "of example.com/elsewhere, another log" in out


def test_a_clock_that_went_backwards_is_only_noted(export: Export, check: Check) -> None:
    export.write([record(0), record(1, time="2026-02-01T00:00:00Z"), record(2)])
    status, out = check()
    assert status == 0
    assert "The clock went backwards 1 times, first at record 1" in out


@pytest.fixture
def history(export: Export) -> Export:
    other_model = deployment(9, {"x1": 1.0}, "eve", model="other")
    staging = deployment(8, {"s1": 1.0}, "eve", environment="staging")
    export.write(
        [
            record(0),
            record(1, after=[deployment(1, {"v1": 1.0}, "bob"), other_model]),
            record(2, after=[staging, {"table": "registry", "row": {"stage": "production"}}]),
            record(3, after=[deployment(2, {"v1": 0.9, "v2": 0.1, "v0": 0}, "carol")], action="deployments:v2:ramped"),
            record(4, after=[deployment(3, {"v3": 1.0}, "mallory")], outcome="refused"),
            record(5, after=[deployment(4, {"v2": 1.0}, "worker", reason="\u001b[31mred")]),
        ]
    )
    return export


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("2026-03-01",), "nothing was deployed"),
        (("2026-03-02T11:59:59Z",), "nothing was deployed"),
        (("2026-03-02T12:00:00Z",), "v1 100 %\n      Revision 1, since 2026-03-01T12:00:00.000000Z, put there by bob"),
        (("2026-03-02",), "v1 100 %\n      Revision 1"),
        (("2026-03-02T14:00:00+02:00",), "v1 100 %\n      Revision 1"),
        (("2026-03-02T13:59:59+02:00",), "nothing was deployed"),
        (("2026-03-04T12:00",), "v1 90 %, v2 10 %\n      Revision 2"),
        (("2026-03-05",), "v1 90 %, v2 10 %\n      Revision 2"),
        (("2026-12-31",), "v2 100 %\n      Revision 4"),
        (("2026-12-31", "--environment", "staging"), "default in staging: s1 100 %"),
        (("2026-12-31", "--model", "other"), "other in production: x1 100 %"),
        (("2026-12-31", "--model", "unknown"), "nothing was deployed"),
    ],
)
def test_what_was_live_at_a_moment(history: Export, check: Check, arguments: tuple[str, ...], answer: str) -> None:
    assert history.folder.is_dir()
    status, out = check("--live-at", *arguments)
    assert status == 0
    assert answer in out


def test_the_highest_revision_is_in_force_whatever_was_recorded_last(export: Export, check: Check) -> None:
    export.write([record(0, after=[deployment(2, {"v2": 1.0}, "bob")]), record(1, after=[deployment(1, {}, "bob")])])
    assert "v2 100 %" in check("--live-at", "2026-12-31")[1]


def test_the_answer_names_person_reason_and_evidence_and_is_safe_to_print(history: Export, check: Check) -> None:
    assert history.folder.is_dir()
    _, out = check("--live-at", "2026-03-04")
    assert "put there by carol (recorded for alice, authenticated: asserted)" in out
    assert "Reason: revision 2." in out
    assert "Evidence: record 3, deployments:v2:ramped." in out
    assert "Reason: ?[31mred." in check("--live-at", "2026-03-06")[1]


def test_a_log_that_does_not_verify_gives_no_answer(history: Export, check: Check) -> None:
    path = history.folder / "audit.ndjson"
    path.write_bytes(path.read_bytes().replace(b"carol", b"david"))
    status, out = check("--live-at", "2026-03-04")
    assert status == 1
    assert "put there by" not in out


@pytest.mark.parametrize(
    "after",
    [[{"table": "deployments"}], ["text"], [{}], "text", [deployment(1, {"v1": "all"}, "bob")], [deployment(1, {}, 7)]],
)
def test_a_malformed_deployment_is_a_bad_line_not_a_crash(export: Export, check: Check, after: Any) -> None:
    export.write([record(0), record(1, after=after)])
    status, out = check("--live-at", "2026-03-04")
    assert status == 1
    assert "Line 2 of audit.ndjson is the first bad one: a value is missing or malformed" in out


def test_a_missing_export_is_a_sentence_not_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verifier.main([str(tmp_path / "absent"), "--vkey", VKEY]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_wrong_usage_is_status_2(check: Check) -> None:
    with pytest.raises(SystemExit) as error:
        check("--live-at", "some day")
    assert error.value.code == 2


def test_it_runs_alone_on_a_bare_interpreter(export: Export, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("alone")
    script = shutil.copy(SCRIPT, folder / "verify.py")
    export.write([record(0, after=[deployment(1, {"v\u0107": 1.0}, "bob")])])
    command = [sys.executable, "-I", "-S", script, str(export.folder), "--vkey", VKEY, "--live-at", "2026-12-31"]
    good = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("The export verifies.\n")
    export.put([])
    bad = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, "")


def test_a_name_the_terminal_cannot_show_does_not_stop_the_check(export: Export) -> None:
    export.write([record(0, after=[deployment(1, {"v\u0107": 1.0}, "bob")])])
    command = [sys.executable, "-S", str(SCRIPT), str(export.folder), "--vkey", VKEY, "--live-at", "2026-12-31"]
    env = {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "v\\u0107 100 %" in done.stdout


def test_it_imports_only_the_standard_library() -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(SCRIPT.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add((node.module or "").partition(".")[0])
    assert "hashlib" in imported
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_ed25519_vectors_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key, text, signed = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
    assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(text) == signed
    assert verifier.ed25519_verify(key, text, signed)
    assert not verifier.ed25519_verify(key, text + b"\x00", signed)
    for position in (0, 31, 32, 63):
        flipped = bytearray(signed)
        flipped[position] ^= 1
        assert not verifier.ed25519_verify(key, text, bytes(flipped))


def test_ed25519_refuses_what_rfc_8032_refuses() -> None:
    _, public, message, signature = (bytes.fromhex(part) for part in RFC_8032[1])
    scalar = int.from_bytes(signature[32:], "little") + verifier.ORDER
    malleable = signature[:32] + scalar.to_bytes(32, "little")
    not_reduced = (verifier.P + 1).to_bytes(32, "little")
    not_on_curve = (2).to_bytes(32, "little")
    minus_zero = (1 | 1 << 255).to_bytes(32, "little")
    assert not verifier.ed25519_verify(public, message, malleable)
    assert not verifier.ed25519_verify(public[:-1], message, signature)
    assert not verifier.ed25519_verify(public, message, signature + b"\x00")
    for point in (not_reduced, not_on_curve, minus_zero):
        assert verifier.point_decode(point) is None
        assert not verifier.ed25519_verify(point, message, signature)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 63), st.integers(0, 255))
def test_ed25519_agrees_with_openssl(seed: bytes, message: bytes, position: int, byte: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key().public_bytes_raw()
    signature = bytearray(private.sign(message))
    signature[position] = byte
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes(signature), message)
        expected = True
    except InvalidSignature:
        expected = False
    assert verifier.ed25519_verify(public, message, bytes(signature)) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=("Cs",))),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from("aZ\ue000\U0001f600\n"), max_size=3), inner),
        max_leaves=15,
    )
)  # fmt: skip
def test_both_canonical_writers_agree(value: Any) -> None:
    data = dumps(value)
    assert verifier.canonical(value).encode() == data
    assert verifier.canonical(json.loads(data, parse_int=verifier.parse_int)).encode() == data
