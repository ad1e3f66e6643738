"""The composition root: a path or a URL becomes storage; every use case runs in one transaction of it.

Sole importer of ``sentinelzer0.storage``; what needs SQLAlchemy, which takes longer to import than all the rest, is
loaded when the first workspace opens. ``with kernel.begin(actor, action) as tx:`` commits on a clean exit and
rolls back on any exception; a refusal is then recorded in a transaction of its own and raised.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from sentinelzer0.domain.audit import Outcome
from sentinelzer0.domain.identity import Actor, check_actor
from sentinelzer0.domain.policies import DEFAULT, policy_to_toml
from sentinelzer0.errors import CorruptWorkspaceError, InvalidInputError, LegacyWorkspaceError, RefusedError
from sentinelzer0.storage.blobs import LocalBlobStore
from sentinelzer0.storage.clock import Clock, Ids, SystemClock, fresh_random, random_salt
from sentinelzer0.storage.copying import disk_errors
from sentinelzer0.storage.layout import Layout, check_path, write_json, write_text

if TYPE_CHECKING:
    from sentinelzer0.storage.database import Database
    from sentinelzer0.storage.registry import InstalledPolicy
    from sentinelzer0.storage.transaction import Reader, Transaction

__all__ = [
    "Clock",
    "InstalledPolicy",
    "Kernel",
    "Layout",
    "Reader",
    "SystemClock",
    "Transaction",
    "check_path",
    "disk_errors",
    "load_snapshot",
    "random_salt",
    "replay_log",
    "signed_text",
    "upgrade_schema",
    "workspace_root",
    "write_json",
    "write_text",
]

SYSTEM = Actor("system", "internal")
GENESIS = "workspace:create:done"
_ADDRESS_HINT = "Use a directory or postgresql://host/database?blobs=DIRECTORY."

_LATER = {"InstalledPolicy": "registry", "Reader": "transaction", "Transaction": "transaction"}


def _storage(module: str) -> Any:
    """Return a module of storage that loads a large library, which not every program needs."""
    return import_module(f"sentinelzer0.storage.{module}")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_storage(_LATER[name]), name)


class Kernel:
    """One open workspace: database, blobs, readable files, clock, ids and chance.

    Args:
        location: A directory, or ``postgresql://host/database?blobs=DIRECTORY``.
        clock: Where the time comes from.
        allow_legacy: Open a directory although its files of version 3.3 were not imported or its database is lost
            (the import and the rebuild do).

    Raises:
        LegacyWorkspaceError: The directory holds files of version 3.3 that were not imported.
        CorruptWorkspaceError: The directory holds bytes of models, but no database.
        SchemaVersionError: The database belongs to another release.
        StorageUnavailableError: The database or the directory cannot be opened.
    """

    def __init__(
        self, location: str | os.PathLike[str], *, clock: Clock | None = None, allow_legacy: bool = False
    ) -> None:
        url, root = _locate(location)
        self.clock: Clock = clock or SystemClock()
        self.ids = Ids(self.clock)
        self.random = fresh_random()
        self.layout = Layout(root)
        self.blobs = LocalBlobStore(root, now=self.clock.now)
        with disk_errors(f"Opening {str(root)!r}"):
            known = not url.startswith("sqlite") or self.layout.database.exists()
            if not allow_legacy:
                self._refuse_legacy(known=known)
                self._refuse_lost_database(known=known)
            root.mkdir(parents=True, exist_ok=True)
        self._transaction = _storage("transaction")
        self.database: Database = _storage("database").Database(url)
        self.fast_database: Database = _storage("database").Database(url, durable=False)
        try:
            _storage("creation").ensure_schema(self.database, may_migrate=self.database.is_sqlite)
            self.workspace_id = self._identity() or self._initialise()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def begin(self, actor: str | Actor, action: str, *subjects: str) -> Iterator[Transaction]:
        """Run a use case in one read-write transaction.

        Args:
            actor: Who acts; text means an embedded caller who asserts a name.
            action: What they intend, as ``noun:subject:verb``.
            subjects: The objects concerned, as ``kind:name``.
        """
        who = check_actor(actor)
        try:
            with self.database.writing() as connection:
                tx = self._transaction.Transaction(connection, self.clock, self.ids, who, action, subjects)
                yield tx
                tx.finish()
        except RefusedError as refusal:
            self.refuse(who, action, subjects, refusal)
            raise

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Read one consistent state."""
        with self.database.reading() as connection:
            yield self._transaction.Reader(connection, self.clock.now())

    def record_outcomes(self) -> AbstractContextManager[Reader]:
        """Write outcomes: no audit record, and a commit that survives ``kill -9`` but may be lost with the power."""
        recording: AbstractContextManager[Reader] = self._transaction.Recording(
            self.fast_database.writing(), self.clock
        )
        return recording

    def refuse(self, actor: str | Actor, action: str, subjects: tuple[str, ...], refusal: RefusedError) -> RefusedError:
        """Record a refusal in a transaction of its own and return it, to be raised."""
        with self.database.writing() as connection:
            tx = self._transaction.Transaction(connection, self.clock, self.ids, check_actor(actor), action, subjects)
            tx.record(outcome=Outcome.REFUSED, reason=refusal.message, detail={"code": refusal.code})
            tx.finish()
        return refusal

    def signer(self) -> Any:
        """Return what signs and verifies this workspace's checkpoints (loads the cryptography library)."""
        return _storage("signing").load_signer(self.workspace_id, self.layout.registry / "audit.vkey")

    def signing_key_file(self) -> Path:
        """Return where the private signing key lies, or would lie; nothing is created."""
        path: Path = _storage("signing").key_file(self.workspace_id)
        return path

    def database_problems(self) -> list[str]:
        """Return what is wrong with the database itself, in plain words; empty when it is sound."""
        found: list[str] = _storage("examination").database_problems(self.database)
        return found

    def save_snapshot(self, path: Path) -> None:
        """Write one consistent state of the database into a new SQLite file, on either backend."""
        _storage("snapshot").save(self.database, path)

    def now(self) -> datetime:
        """Return the present, aware, in UTC."""
        return self.clock.now()

    def close(self) -> None:
        """Close every idle database connection."""
        self.database.close()
        self.fast_database.close()

    def _refuse_legacy(self, *, known: bool) -> None:
        root, unfinished = self.layout.root, self.layout.unfinished_import
        if unfinished.exists():
            source = unfinished.read_text(encoding="utf-8").strip() or root
            raise LegacyWorkspaceError(
                f"The import of files of version 3.3 into {str(root)!r} did not finish.",
                hint=f"Run it again, it goes on where it stopped: sentinelzer0 import-legacy {source}",
            )
        traces = [] if known else self.layout.legacy_traces()
        if traces:
            raise LegacyWorkspaceError(
                f"{str(root)!r} holds files of version 3.3, for example {traces[0].name}.",
                hint=f"Take them over, keeping the originals: sentinelzer0 import-legacy {root}",
            )

    def _identity(self) -> str | None:
        """Return the workspace's id, or None when nobody wrote the first record yet."""
        with self.read() as view:
            found: str | None = _storage("creation").read_settings(view.connection).get("workspace_id")
            return found

    def _refuse_lost_database(self, *, known: bool) -> None:
        """Never show a workspace as empty because its database is gone."""
        if not known and self.layout.holds_blobs() and not self.layout.database.exists():
            root = self.layout.root
            raise CorruptWorkspaceError(
                f"{str(root)!r} holds the bytes of models, but its database {self.layout.database.name} is missing.",
                hint=f"Restore a backup, or rebuild it: sentinelzer0 -w {root} doctor --rebuild",
            )

    def _initialise(self) -> str:
        """Write the first record: the workspace's identity and the policy it starts with; returns its id."""
        creation = _storage("creation")
        with self.database.writing() as connection:
            creation.lock(connection)
            if found := creation.read_settings(connection).get("workspace_id"):
                return str(found)
            self._transaction.Reader(connection, self.clock.now()).audit.create_head()
            tx = self._transaction.Transaction(connection, self.clock, self.ids, SYSTEM, GENESIS, ("workspace:this",))
            workspace_id: str = tx.new_id("ws")
            creation.add_settings(connection, {"workspace_id": workspace_id, "created_at": tx.now.isoformat()})
            policy = _storage("registry").InstalledPolicy(
                revision=1,
                digest=DEFAULT.digest,
                name=DEFAULT.name,
                body=policy_to_toml(DEFAULT),
                installed_at=tx.now,
                installed_by=SYSTEM.name,
                reason="a new workspace starts with the default policy",
            )
            tx.policies.put(policy)
            tx.record(reason=policy.reason, detail={"workspace_id": workspace_id})
            tx.finish()
        return workspace_id


def workspace_root(location: str | os.PathLike[str]) -> Path:
    """Return the directory of a workspace; nothing is opened.

    Raises:
        InvalidInputError: The location is no directory and no address of a database.
    """
    return _locate(location)[1]


def load_snapshot(location: str | os.PathLike[str], path: Path) -> None:
    """Put a saved state into the empty database of a workspace that does not exist yet."""
    database = _storage("database").Database(_locate(location)[0])
    try:
        _storage("snapshot").load(path, database)
    finally:
        database.close()


def replay_log(location: str | os.PathLike[str], bodies: Iterable[str]) -> bytes:
    """Make the database of a workspace again from its audit records and return the root of the log."""
    database = _storage("database").Database(_locate(location)[0])
    try:
        root: bytes = _storage("replay").replay(database, bodies).root()
        return root
    finally:
        database.close()


def signed_text(workspace_id: str, vkey_file: Path, note: str) -> str:
    """Return the text of a note that a workspace signed.

    Args:
        workspace_id: The workspace; if its private key is on this machine, that key counts.
        vkey_file: The verifier key that counts otherwise.
        note: The signed note.

    Raises:
        SentinelError: It is not validly signed.
    """
    text: str = _storage("signing").load_signer(workspace_id, vkey_file).verify(note)
    return text


def upgrade_schema(location: str | os.PathLike[str]) -> None:
    """Bring the database of a location to this release's schema; opening does that for local databases only.

    Raises:
        SchemaVersionError: The database belongs to a newer release.
        StorageUnavailableError: The database does not answer.
    """
    database = _storage("database").Database(_locate(location)[0])
    try:
        _storage("creation").ensure_schema(database, may_migrate=True)
    finally:
        database.close()


def _locate(location: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return the database URL and the workspace directory of a location.

    Raises:
        InvalidInputError: An unknown scheme, or a server without a directory for the bytes.
    """
    if not isinstance(location, str) or "://" not in location:
        root = _workspace_directory(check_path(location, "The workspace"))
        return f"sqlite:///{root / Layout(root).database.name}", root
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise InvalidInputError(f"{location!r:.60} is no address: {error}.", hint=_ADDRESS_HINT) from error
    if parts.scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InvalidInputError(f"{parts.scheme}:// is not a kind of workspace.", hint=_ADDRESS_HINT)
    options = dict(parse_qsl(parts.query))
    blobs = options.pop("blobs", "")
    if not blobs:
        raise InvalidInputError(
            "The address of the database does not say where the bytes of the models go.",
            hint="Add ?blobs=/a/directory to it.",
        )
    root = _workspace_directory(check_path(unquote(blobs.removeprefix("file://")), "blobs"))
    return urlunsplit(("postgresql+psycopg", parts.netloc, parts.path, urlencode(options), "")), root


def _workspace_directory(given: Path) -> Path:
    root = Path(os.path.abspath(given))  # noqa: PTH100 - symlinks stay as the user wrote them
    if os.path.exists(root) and not os.path.isdir(root):  # noqa: PTH110, PTH112 - these never raise
        raise InvalidInputError(f"{str(root)!r} is a file, not a directory.", hint="Name the workspace directory.")
    return root
