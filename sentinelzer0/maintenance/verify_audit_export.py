"""Check an exported audit log without trusting the operator, the database or SentinelZer0 itself.

    python verify_audit_export.py EXPORT_DIR --vkey 'name+0123abcd+AbCd...=' [--old-checkpoint kept.note]
    python verify_audit_export.py EXPORT_DIR --vkey ... --live-at 2026-03-01 --environment production

An export is a directory with ``audit.ndjson`` (line by line the canonical JSON of record 0, 1, 2, ...),
``checkpoint.note`` (a signed note over the Merkle tree of exactly those lines) and ``audit.vkey`` (the verifier key).

This file needs Python 3.11 and nothing else, and repeats on purpose what the package has elsewhere: canonical JSON
(RFC 8785), the Merkle tree (RFC 6962), signed notes (C2SP) and Ed25519 (RFC 8032). A second implementation that
shares no code cannot share a mistake, and it is short enough to be read before it is believed.

Exit status: 0 everything holds, 1 something does not, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import math
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

RECORD_KEYS = frozenset(
    ("seq", "time", "actor", "action", "subjects", "digest", "after", "reason", "policy", "outcome", "detail")
)
MAX_EXACT_INT = 2**53
KEY_BYTES, SIGNATURE_BYTES, KEY_ID_BYTES = 32, 64, 4


class ExportError(Exception):
    """Something in the export is not as it must be; the message is a sentence for the reader."""


def show(text: str) -> str:
    """Text from the export, without characters that could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def read_text(path: Path) -> str:
    """A small text file as UTF-8, line ends untouched."""
    try:
        return path.read_bytes().decode("utf-8")
    except ValueError as error:
        raise ExportError(f"{path} is not text: {error}.") from error


def parse_time(text: str) -> datetime:
    """An ISO 8601 time as UTC; a time without a zone is read as UTC."""
    when = datetime.fromisoformat(text)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def parse_moment(text: str) -> datetime:
    """The moment a person asks about: a bare date stands for the end of that day."""
    when = parse_time(text)
    return when if "T" in text or " " in text else datetime.combine(when, time.max, UTC)


def canonical(value: Any) -> str:
    """The one canonical text (RFC 8785) of a parsed JSON value; ValueError if it has none."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{canonical(key)}:{canonical(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float):
        return canonical_float(value)
    return json.dumps(value, ensure_ascii=False)


def canonical_float(value: float) -> str:
    """A number as ECMAScript prints it, from the shortest digits and the place of the decimal point."""
    if not math.isfinite(value):
        raise ValueError(value)
    sign, numbers, exponent = Decimal(repr(value)).normalize().as_tuple()
    minus, digits, count = "-" if sign and value else "", "".join(map(str, numbers)), len(numbers)
    point = count + int(exponent)
    if count <= point <= 21:  # this limit and -6 are ECMAScript's
        return minus + digits + "0" * (point - count)
    if 0 < point <= 21:
        return minus + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return minus + "0." + "0" * -point + digits
    return minus + digits[0] + ("." + digits[1:] if count > 1 else "") + f"e{point - 1:+d}"


def parse_int(text: str) -> int | float:
    """An integer beyond 2**53 is a float to every reader of canonical JSON."""
    number = int(text)
    return number if abs(number) <= MAX_EXACT_INT else float(text)


P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def point_add(a: Point, b: Point) -> Point:
    """Sum of two points in extended coordinates (complete, so it also doubles)."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    x, y, z, t = f - e, h - g, h + g, f + e
    return x * y % P, z * t % P, y * z % P, x * t % P


def point_multiply(scalar: int, point: Point) -> Point:
    """The point added to itself ``scalar`` times."""
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = point_add(total, point)
        point = point_add(point, point)
        scalar >>= 1
    return total


def point_decode(data: bytes) -> Point | None:
    """Decode 32 bytes; None when they are not the encoding of a point."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x_squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x_squared, (P + 3) // 8, P)
    if x * x % P != x_squared:
        x = x * SQRT_MINUS_ONE % P
    if x * x % P != x_squared or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def ed25519_verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the key's signature of the message (RFC 8032, section 5.1.7)."""
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    base = point_decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    key, commitment = point_decode(public_key), point_decode(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if base is None or key is None or commitment is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public_key + message).digest(), "little") % ORDER
    left = point_multiply(scalar, base)
    right = point_add(commitment, point_multiply(challenge, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


@dataclass
class Log:
    """What reading the lines gave: their tree (RFC 6962, section 2.1) as perfect subtrees, largest first, and more."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    backwards: list[int] = field(default_factory=list)

    def append(self, line: bytes) -> None:
        """Add a leaf to the tree."""
        node = hashlib.sha256(b"\x00" + line).digest()
        rest = self.size
        while rest & 1:
            node = hashlib.sha256(b"\x01" + self.peaks.pop() + node).digest()
            rest >>= 1
        self.peaks.append(node)
        self.size += 1

    def keep_root(self) -> None:
        """Remember the root hash of the tree as it is now."""
        root = self.peaks[-1] if self.peaks else hashlib.sha256().digest()
        for peak in reversed(self.peaks[:-1]):
            root = hashlib.sha256(b"\x01" + peak + root).digest()
        self.roots[self.size] = root


class Key(NamedTuple):
    """A verifier key."""

    name: str
    id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """What a signed note says about the log."""

    origin: str
    size: int
    root: bytes


def decode(text: str) -> bytes:
    """Decode base64; empty when it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def parse_vkey(text: str) -> Key:
    """Read ``name+keyid+base64`` and check that the key id belongs to the key."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    data = decode(encoded)
    if data[:1] != b"\x01" or len(data) != 1 + KEY_BYTES:
        raise ExportError(f"The verifier key {show(text.strip())} is not an Ed25519 key as name+keyid+base64.")
    if hashlib.sha256(name.encode() + b"\n" + data).digest()[:KEY_ID_BYTES].hex() != key_id:
        raise ExportError(f"The verifier key of {show(name)} is damaged: key id {show(key_id)} is not that of the key.")
    return Key(name, bytes.fromhex(key_id), data[1:])


def split_note(path: Path) -> tuple[str, list[tuple[str, bytes]]]:
    """The signed text and the (key name, key id and signature) pairs of a C2SP signed note."""
    body, blank, block = read_text(path).rpartition("\n\n")
    matches = [re.fullmatch("\u2014 ([^ ]+) ([A-Za-z0-9+/]+=*)", line) for line in block.split("\n")[:-1]]
    signatures = [(match[1], decode(match[2])) for match in matches if match]
    if not blank or not block.endswith("\n") or not matches or not all(matches):
        raise ExportError(f"{path} is not a signed note.")
    return body + "\n", signatures


def read_checkpoint(path: Path, key: Key) -> Checkpoint:
    """Read a checkpoint that must be signed with the key."""
    body, signatures = split_note(path)
    ours = [data[KEY_ID_BYTES:] for name, data in signatures if (name, data[:KEY_ID_BYTES]) == (key.name, key.id)]
    if not ours:
        signers = ", ".join(f"{show(name)} ({data[:KEY_ID_BYTES].hex()})" for name, data in signatures)
        raise ExportError(f"{path} is not signed by {show(key.name)} ({key.id.hex()}), but by {signers}.")
    if not all(ed25519_verify(key.public, body.encode(), signature) for signature in ours):
        raise ExportError(f"The signature in {path} is not one of {show(key.name)}: changed, or forged.")
    match = re.match(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n", body)
    if not match:
        raise ExportError(f"{path} is a note but not a checkpoint: origin, size and root hash are expected.")
    return Checkpoint(match[1], int(match[2]), base64.b64decode(match[3]))


@dataclass
class Question:
    """What was deployed where, and when; and the answer, as far as the records were read."""

    at: datetime
    model: str
    environment: str
    revision: int = -1
    answer: str = "nothing was deployed"

    def see(self, record: dict[str, Any]) -> None:
        """Take a record into account: the highest revision recorded up to the moment asked about is in force."""
        for entry in record["after"]:
            row: dict[str, Any] = entry["row"] if entry["table"] == "deployments" else {"model": None}
            if row["model"] != self.model or row["environment"] != self.environment or row["revision"] <= self.revision:
                continue
            shares = [f"{show(name)} {100 * share:g} %" for name, share in sorted(row["weights"].items()) if share]
            actor = record["actor"]
            self.revision = row["revision"]
            self.answer = (
                f"{', '.join(shares) or 'no version'}\n"
                f"      Revision {self.revision}, since {show(row['created_at'])}, put there by {show(row['created_by'])}"
                f" (recorded for {show(actor['name'])}, authenticated: {show(actor['auth'])}).\n"
                f"      Reason: {show(row['reason'] or 'none given')}.\n"
                f"      Evidence: record {record['seq']}, {show(record['action'])}."
            )


def parse_record(line: bytes, seq: int) -> dict[str, Any]:
    """Parse one line and check that it is the canonical form of record ``seq``."""
    if not line.endswith(b"\n"):
        raise ExportError("the file ends in the middle of it")
    try:
        record = json.loads(line[:-1].decode("utf-8"), parse_int=parse_int)
        text = canonical(record).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ExportError(f"it is not JSON ({show(str(error))})") from error
    if not isinstance(record, dict) or not record.keys() >= RECORD_KEYS:
        missing = sorted(RECORD_KEYS - set(record)) if isinstance(record, dict) else "everything"
        raise ExportError(f"it is not an audit record, {missing} is missing")
    if text != line[:-1]:
        raise ExportError("it is not in canonical form")
    if str(record["seq"]) != str(seq):
        raise ExportError(f"it should be record {seq} but is numbered {show(str(record['seq']))}")
    return record


def read_log(path: Path, sizes: set[int], question: Question | None) -> Log:
    """Check every line; keep the root at the given tree sizes; stop at the first bad line."""
    log, latest = Log(), datetime.min.replace(tzinfo=UTC)
    log.keep_root()
    with path.open("rb") as lines:
        for seq, line in enumerate(lines):
            try:
                record = parse_record(line, seq)
                when = parse_time(record["time"])
                if question and when <= question.at and record["outcome"] == "ok":
                    question.see(record)
            except (ExportError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                what = error if isinstance(error, ExportError) else f"a value is missing or malformed, {error!r}"
                raise ExportError(f"Line {seq + 1} of {path.name} is the first bad one: {what}.") from error
            if when < latest:
                log.backwards.append(seq)
            latest = max(latest, when)
            log.append(line[:-1])
            if log.size in sizes:
                log.keep_root()
    return log


def find_key(options: argparse.Namespace, folder: Path) -> Key:
    """The key to trust, and a warning when it comes from the very place under suspicion."""
    if options.vkey:
        return parse_vkey(options.vkey)
    path = folder / "audit.vkey"
    if not path.exists():
        raise ExportError(f"There is no verifier key: pass --vkey, or put it into {path}.")
    key = parse_vkey(read_text(path))
    print(
        f"note  The verifier key was taken from the export itself ({path.name}). Whoever forged the log could have\n"
        f"      replaced it too: compare key id {key.id.hex()} with what you got elsewhere, or pass --vkey."
    )
    return key


def check_roots(log: Log, current: Checkpoint, old: Checkpoint) -> None:
    """Compare the tree of the records with what the checkpoints state; ``old`` may be ``current`` itself."""
    if old.origin != current.origin:
        raise ExportError(f"The older checkpoint is of {show(old.origin)}, another log.")
    wanted = max(current.size, old.size)
    if log.size < wanted:
        raise ExportError(f"Only {log.size} of {wanted} signed records are there: the end is missing.")
    if old is not current and log.roots[old.size] != old.root:
        raise ExportError(f"The first {old.size} records are not those of the older checkpoint: history changed.")
    if log.roots[current.size] != current.root:
        where = "" if old is current else f" Not among the first {old.size}: those are as in the older checkpoint."
        raise ExportError(f"The records are not those the checkpoint signs: at least one was changed.{where}")
    if log.size > current.size:
        extra = log.size - current.size
        raise ExportError(f"The checkpoint signs {current.size} records; the {extra} after them are unsigned.")


def verify(options: argparse.Namespace) -> None:
    """Check everything, printing what held; raise at the first thing that does not."""
    records: Path = options.export / "audit.ndjson" if options.export.is_dir() else options.export
    path: Path = options.checkpoint or records.parent / "checkpoint.note"
    key = find_key(options, records.parent)
    current = read_checkpoint(path, key)
    print(f"ok    The checkpoint over {current.size} records is signed by {show(key.name)} (key id {key.id.hex()}).")
    old = read_checkpoint(options.old_checkpoint, key) if options.old_checkpoint else current
    question = Question(options.live_at, options.model, options.environment) if options.live_at else None
    log = read_log(records, {current.size, old.size}, question)
    print(f"ok    {log.size} records, numbered from 0 without a gap, each complete and in canonical form.")
    if log.backwards:
        print(f"note  The clock went backwards {len(log.backwards)} times, first at record {log.backwards[0]}.")
    check_roots(log, current, old)
    print(f"ok    Their Merkle root is {current.root.hex()}, as the checkpoint of {show(current.origin)} states.")
    if old is not current:
        print(f"ok    The older checkpoint is signed and is a prefix: its {old.size} records are unchanged.")
    if question:
        print(
            f"At {question.at.isoformat()}, {show(question.model)} in {show(question.environment)}: {question.answer}"
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Check an exported audit log, offline and independently.")
    parser.add_argument("export", type=Path, help="the export directory, or its audit.ndjson")
    parser.add_argument("--checkpoint", type=Path, help="signed checkpoint (default: checkpoint.note beside the log)")
    parser.add_argument("--vkey", help="verifier key, obtained from somewhere you trust")
    parser.add_argument("--old-checkpoint", type=Path, help="a checkpoint kept from earlier: it must be a prefix")
    parser.add_argument(
        "--live-at", type=parse_moment, help="say what was deployed then (a bare date: at its end, UTC)"
    )
    parser.add_argument("--environment", default="production", help="for --live-at (default: production)")
    parser.add_argument("--model", default="default", help="for --live-at (default: default)")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name the terminal cannot show must not stop the check
    try:
        verify(parser.parse_args(arguments))
    except (ExportError, OSError) as error:
        print(f"FAIL  {error}\nThe export does NOT verify. What is not reported above was not checked.")
        return 1
    print("The export verifies.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
