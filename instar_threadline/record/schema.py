"""The tables of the index: a projection of the log that may be thrown away at any time.

Promises nothing about the past: another `GENERATION` means that the tables are dropped and filled
anew.

The id of a message is its instant times `IDS_A_MS` plus a counter, so that ids stand in the order
of time, and "newest first" needs no sort. The text index is a database of its own, filled piece by
piece from the first one: so the two are written side by side.

Its rows are numbered without gaps where messages came in the order of time (`places`), because
the text index keeps differences of row numbers: that halves its work and takes a third of the disk.
A message that is older than one that is there already is `late`: its row is `late_row(id)`, below
all others.

`of_thread` and `by_identity` are indexes of `messages` that are filled once a batch, in their own
order: one entry at a time in the order of time, which is none of theirs, takes six times as long.
"""

from __future__ import annotations

import secrets
from typing import Any

import apsw

from instar_host.store.sqlite import Migration

APPLICATION_ID = 0x1A57_71DE
GENERATION = 3
IDS_A_MS = 64

FTS_HASH_BYTES = 64 << 20
"""Memory for the text index within one transaction; more of it means fewer merges."""

FTS_MERGED_AT_ONCE = 16
"""How many parts of the text index become one: more of them means that less is written again, and
that a search looks into more of them."""

TABLES = """
CREATE TABLE streams(
  direction TEXT PRIMARY KEY,
  place BLOB NOT NULL,
  tally BLOB NOT NULL,
  at INTEGER NOT NULL,
  witness_n INTEGER NOT NULL,
  witness_mac TEXT NOT NULL
) STRICT;
CREATE TABLE messages(
  id INTEGER PRIMARY KEY,
  thread INTEGER NOT NULL,
  identity INTEGER NOT NULL,
  direction TEXT NOT NULL,
  message_id TEXT NOT NULL,
  peer TEXT NOT NULL,
  peer_name TEXT NOT NULL,
  sender TEXT NOT NULL,
  sender_name TEXT NOT NULL,
  text TEXT NOT NULL,
  timestamp TEXT NOT NULL,
  at_ms INTEGER,
  trust_level TEXT NOT NULL,
  outcome TEXT,
  in_reply_to TEXT,
  integrity TEXT NOT NULL,
  status TEXT NOT NULL,
  verified INTEGER NOT NULL,
  conflict INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  folded TEXT
) STRICT;
CREATE TABLE places(place INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE late(n INTEGER PRIMARY KEY, id INTEGER NOT NULL) STRICT;
CREATE TABLE of_thread(
  thread INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (thread, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE by_identity(
  identity INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (identity, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE threads(
  id INTEGER PRIMARY KEY,
  thread_id TEXT NOT NULL UNIQUE,
  peer TEXT NOT NULL,
  peer_name TEXT NOT NULL,
  peer_direction TEXT NOT NULL,
  peer_id INTEGER NOT NULL,
  subject TEXT NOT NULL,
  subject_id INTEGER NOT NULL,
  inbound INTEGER NOT NULL,
  outbound INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  waiting INTEGER NOT NULL,
  waiting_sum INTEGER NOT NULL,
  waits INTEGER NOT NULL,
  waits_sum INTEGER NOT NULL,
  unverified INTEGER NOT NULL,
  bad INTEGER NOT NULL,
  unchained INTEGER NOT NULL,
  conflicts INTEGER NOT NULL,
  mixed INTEGER NOT NULL
) STRICT;
CREATE INDEX threads_by_last ON threads(last_at DESC, subject_id DESC);
CREATE TABLE peers(
  peer TEXT NOT NULL,
  peer_name TEXT NOT NULL,
  PRIMARY KEY (peer, peer_name)
) STRICT, WITHOUT ROWID;
CREATE TABLE unreadable(
  direction TEXT NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  length INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (direction, segment, offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE findings(
  direction TEXT NOT NULL,
  segment INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  n INTEGER NOT NULL,
  kind TEXT NOT NULL,
  finding BLOB NOT NULL,
  PRIMARY KEY (direction, segment, offset, n, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""

WORDS_TABLES = """
CREATE VIRTUAL TABLE words USING fts5(
  text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1'
);
CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
"""

_LATE = 1 << 62  # more than twice the largest id, either way
_NAMES = (
    "streams", "messages", "of_thread", "by_identity", "places", "late", "threads", "peers",
    "unreadable", "findings", "meta",
)  # fmt: skip


def create(connection: apsw.Connection) -> None:
    """Make the tables of the index. Inside a transaction."""
    connection.execute(TABLES)
    set_meta(connection, "generation", GENERATION)
    set_meta(connection, "filling", secrets.randbits(62))


def create_words(connection: apsw.Connection) -> None:
    """Make the text index. Inside a transaction."""
    connection.execute(WORDS_TABLES)
    for name, value in (
        ("hashsize", FTS_HASH_BYTES),
        ("automerge", FTS_MERGED_AT_ONCE),
        ("crisismerge", 2 * FTS_MERGED_AT_ONCE),
    ):
        connection.execute("INSERT INTO words(words, rank) VALUES (?, ?)", (name, value))


def late_row(id_: int) -> int:
    """The row of the text index for a message that came out of turn; in the order of ids, too."""
    return id_ - _LATE


def drop(connection: apsw.Connection) -> None:
    """Remove the tables of the index. Inside a transaction."""
    for name in _NAMES:
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def drop_words(connection: apsw.Connection) -> None:
    """Remove the text index. Inside a transaction."""
    connection.execute("DROP TABLE IF EXISTS words; DROP TABLE IF EXISTS meta")


def meta(connection: apsw.Connection, key: str, place: str = "main") -> int:
    """A number that the database keeps about itself; 0 if it keeps none."""
    there = rows(connection, f"SELECT 1 FROM {place}.sqlite_schema WHERE name = 'meta'")
    if not there:
        return 0
    found = rows(connection, f"SELECT value FROM {place}.meta WHERE key = ?", (key,))
    return int(found[0][0]) if found else 0


def set_meta(connection: apsw.Connection, key: str, value: int) -> None:
    """Keep a number. Inside a transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def rows(connection: apsw.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a query at once: no cursor is left open."""
    return connection.execute(sql, values).fetchall()


MIGRATIONS = (Migration(title="the tables of the index", script=create),)
WORDS_MIGRATIONS = (Migration(title="the text index", script=create_words),)
