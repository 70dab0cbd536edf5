"""The index: a SQLite file with the results of one source, and how it is opened.

Figures and drift results are rows by series and window, clustered in the order of time, so that a
line over a year is one range of the file. The records themselves are kept compressed
(`packed.py`); columns beside them are what is selected and sorted by.
Several processes may use one index: readers see whole transactions, and the positions of the
source are read inside the transaction that moves them, so that nothing is added twice.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driftline.schemas.errors import DriftlineError

FORMAT: Final = 1
"""Of the tables. An index of another format is emptied and filled again."""
BUSY_S: Final = 60.0
"""How long one process waits for the transaction of another."""

_PAUSE_S: Final = 0.01
_CACHE_KIB: Final = 32 << 10

_TABLES: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE positions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
    witness BLOB NOT NULL, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE unreadable (
    topic TEXT PRIMARY KEY, records INTEGER NOT NULL, example TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE samples (
    sample_id INTEGER PRIMARY KEY, topic TEXT NOT NULL, model_name TEXT NOT NULL,
    model_version TEXT NOT NULL, lane TEXT NOT NULL, sample BLOB NOT NULL,
    UNIQUE (topic, model_name, model_version, lane)
);
CREATE TABLE series (
    series_id INTEGER PRIMARY KEY, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
    segment TEXT NOT NULL, lane TEXT NOT NULL, window TEXT NOT NULL, maturity TEXT NOT NULL,
    kind TEXT NOT NULL DEFAULT '',
    UNIQUE (model_name, model_version, segment, lane, window, maturity)
);
CREATE TABLE figures (
    series_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    complete_at_ms INTEGER NOT NULL, revision INTEGER NOT NULL, provisional INTEGER NOT NULL,
    final INTEGER NOT NULL, n_predictions INTEGER NOT NULL, n INTEGER NOT NULL,
    sample_id INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (series_id, start_ms)
) WITHOUT ROWID;
CREATE TABLE histograms (
    series_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    final INTEGER NOT NULL, sample_id INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (series_id, start_ms)
) WITHOUT ROWID;
CREATE TABLE targets (
    target_id INTEGER PRIMARY KEY, model_name TEXT NOT NULL, model_version TEXT NOT NULL,
    segment TEXT NOT NULL, target TEXT NOT NULL, method TEXT NOT NULL, window TEXT NOT NULL,
    UNIQUE (model_name, model_version, segment, target, method, window)
);
CREATE TABLE drift (
    target_id INTEGER NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
    level TEXT NOT NULL, sample_id INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (target_id, start_ms)
) WITHOUT ROWID;
CREATE TABLE records (
    sequence INTEGER PRIMARY KEY, topic TEXT NOT NULL, key TEXT NOT NULL,
    model_name TEXT NOT NULL, model_version TEXT NOT NULL, at_ms INTEGER, record BLOB NOT NULL
);
CREATE INDEX records_by_model ON records (topic, model_name, model_version, sequence);
CREATE INDEX records_by_key ON records (topic, key, sequence);
"""


class UnusableIndex(DriftlineError):
    """An index cannot be used; the message says what to do."""


class Index:
    """One index. Each thread that writes has its own connection; those of readers are shared out.

    Parameters
    ----------
    path
        The file; it is created if it is not there.

    Raises
    ------
    UnusableIndex
        If the file cannot be written, or is no SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._free: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        with self._reporting():
            connection = self.connection()
            # Fewer, larger pages: neighbours of a series are read together.
            connection.execute("PRAGMA page_size = 16384")
            _keep_readers_apart(connection)
        with self.writing():
            if _format_of(connection) != FORMAT:
                _create_anew(connection)

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread, to write."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open(f"{self.path}")
        return connection

    def reserve(self, readers: int) -> None:
        """Open the connections of so many readers at once: they read on after the file was moved or
        deleted.

        Raises
        ------
        UnusableIndex
            If the file is not there, or no index.
        """
        with self._reporting():
            opened = [self._open_to_read() for _ in range(readers)]
        with self._guard:
            self._free += opened

    def _open_to_read(self) -> sqlite3.Connection:
        # A file that is gone is an error: an empty one in its place would be no index.
        connection = self._open(f"{self.path.resolve().as_uri()}?mode=rw")
        # Only now SQLite opens the file.
        generation(connection)
        return connection

    def _open(self, name: str) -> sqlite3.Connection:
        # One thread at a time uses it.
        connection = sqlite3.connect(
            name,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            uri=name.startswith("file:"),
        )
        with self._guard:
            self._opened.append(connection)
        # The index is a copy: after a power failure it may lack the last transactions.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is kept, or nothing if it raises.

        Raises
        ------
        UnusableIndex
            If the file cannot be written.
        """
        with self._reporting():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # After some errors, such as a full disk, SQLite has done it by itself.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection whose queries all see the same state."""
        with self._guard:
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._open_to_read()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("COMMIT")
            with self._guard:
                self._free.append(connection)

    def changed_by_others(self) -> bool:
        """Whether another connection has changed the index since the last call of this thread."""
        (version,) = self.connection().execute("PRAGMA data_version").fetchone()
        before, self._local.version = getattr(self._local, "version", version), version
        return bool(before != version)

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
            self._free.clear()
        self._local = threading.local()

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnusableIndex(
                f"the index {self.path} cannot be used: {error}; make room, or delete it"
            ) from error


def clear(connection: sqlite3.Connection) -> None:
    """Empty all tables, inside a transaction."""
    _create_anew(connection)


def generation(connection: sqlite3.Connection) -> str:
    """A text that changes when the index is emptied: ids that were read before are void then."""
    found: tuple[str] = connection.execute(
        "SELECT value FROM facts WHERE name = 'generation'"
    ).fetchone()
    return found[0]


def positions(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Topic, partition, and how far it was read."""
    return connection.execute(
        "SELECT topic, partition, position FROM positions ORDER BY topic, partition"
    ).fetchall()


def state(connection: sqlite3.Connection) -> str:
    """A text that changes with every record that is added, and when the index is emptied."""
    content = f"{generation(connection)} {positions(connection)}"
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _keep_readers_apart(connection: sqlite3.Connection) -> None:
    """Let others read while one writes. SQLite does not wait for others that switch it on too."""
    until_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
            time.sleep(_PAUSE_S)


def _format_of(connection: sqlite3.Connection) -> int:
    found: tuple[int] = connection.execute("PRAGMA user_version").fetchone()
    return found[0]


def _create_anew(connection: sqlite3.Connection) -> None:
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    for (name,) in names:
        connection.execute(f'DROP TABLE "{name}"')
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO facts (name, value) VALUES ('generation', ?)", (secrets.token_hex(8),)
    )
    connection.execute(f"PRAGMA user_version = {FORMAT}")
